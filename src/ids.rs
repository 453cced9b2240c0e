//! The identifiers that an application uses, and random values for the ids that the engine draws itself.

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
    /// What is ranked: a video, an article, a product. Every value is legal, `0` and `u64::MAX` too.
    EntityId(u64)
}
id! {
    /// Who engaged. Every value is legal.
    UserId(u64)
}
id! {
    /// A segment of the audience that gets aggregates of its own. Every value is legal.
    CohortId(u64)
}
id! {
    /// A signal by its place in the schema. Obtain it from [`Schema::signal_id`](crate::Schema::signal_id).
    SignalId(u16)
}

/// A random value, from the randomness that the standard library gives its hash maps. The process id is part of it, since a
/// forked child begins with the same randomness as its parent. Not for secrets.
pub(crate) fn random_u64() -> u64 {
    RandomState::new().hash_one(process::id())
}

/// Two [random values](random_u64) in one.
pub(crate) fn random_u128() -> u128 {
    u128::from(random_u64()) << 64 | u128::from(random_u64())
}
