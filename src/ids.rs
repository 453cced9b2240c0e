//! The identifiers that an application uses, and random values for the ids that the engine chooses.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::process;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// An item that the application ranks: a video, an article, a product. Every value is legal, also `0` and
    /// `u64::MAX`.
    EntityId(u64)
}
id! {
    /// A user that engages with entities. Every value is legal.
    UserId(u64)
}
id! {
    /// A part of the audience with its own aggregates. Every value is legal.
    CohortId(u64)
}
id! {
    /// A signal by its position in the schema. [`Schema::signal_id`](crate::Schema::signal_id) returns it.
    SignalId(u16)
}

/// A random value, from the random keys of the standard library's hash maps. It depends on the process id too, because
/// a forked child begins with the same random keys as its parent. Not for secrets.
pub(crate) fn random_u64() -> u64 {
    RandomState::new().hash_one(process::id())
}

/// Two [random values](random_u64) as one number.
pub(crate) fn random_u128() -> u128 {
    u128::from(random_u64()) << 64 | u128::from(random_u64())
}
