//! Atomics whose accesses are steps. Under a scheduler one thread runs at a time, so every access is sequentially
//! consistent: the scheduler does not find a fault that only a weaker memory order causes.

use std::panic::Location;
use std::sync::atomic::Ordering;

use crate::testing::scheduler::scheduled_thread::ScheduledThread;
use crate::testing::scheduler::step::{ObjectKey, StepAction};

/// Makes the step of an access, on a thread of a scheduler.
fn step(key: &ObjectKey, action: StepAction, location: &'static Location<'static>) {
    if let Some(thread) = ScheduledThread::current() {
        thread.step(action, Some(key), location);
    }
}

/// Defines an atomic with the methods that every type has.
macro_rules! atomic {
    ($(#[$doc:meta])* $name:ident, $value:ty) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            key: ObjectKey,
            value: std::sync::atomic::$name,
        }

        impl $name {
            /// An atomic with this value.
            pub const fn new(value: $value) -> Self {
                Self {
                    key: ObjectKey::new(),
                    value: std::sync::atomic::$name::new(value),
                }
            }

            /// The value.
            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                step(&self.key, StepAction::Load, Location::caller());
                self.value.load(order)
            }

            /// Sets the value.
            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                step(&self.key, StepAction::Store, Location::caller());
                self.value.store(value, order);
            }

            /// Sets the value, and returns the value before.
            #[track_caller]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                step(&self.key, StepAction::Update, Location::caller());
                self.value.swap(value, order)
            }

            /// Sets the value to `new` if it is `current`. Returns the value before.
            ///
            /// # Errors
            /// The value, if it is not `current`.
            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                step(&self.key, StepAction::Update, Location::caller());
                self.value.compare_exchange(current, new, success, failure)
            }

            /// The value.
            pub fn into_inner(self) -> $value {
                self.value.into_inner()
            }
        }
    };
}

/// Adds the arithmetic of integers to an atomic.
macro_rules! arithmetic {
    ($name:ident, $value:ty) => {
        impl $name {
            /// Adds `value`, wrapping around, and returns the value before.
            #[track_caller]
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                step(&self.key, StepAction::Update, Location::caller());
                self.value.fetch_add(value, order)
            }

            /// Subtracts `value`, wrapping around, and returns the value before.
            #[track_caller]
            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                step(&self.key, StepAction::Update, Location::caller());
                self.value.fetch_sub(value, order)
            }

            /// Sets the maximum of the value and `value`, and returns the value before.
            #[track_caller]
            pub fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                step(&self.key, StepAction::Update, Location::caller());
                self.value.fetch_max(value, order)
            }
        }
    };
}

atomic!(
    /// [`std::sync::atomic::AtomicBool`] with steps.
    AtomicBool,
    bool
);
atomic!(
    /// [`std::sync::atomic::AtomicU8`] with steps.
    AtomicU8,
    u8
);
atomic!(
    /// [`std::sync::atomic::AtomicU32`] with steps.
    AtomicU32,
    u32
);
atomic!(
    /// [`std::sync::atomic::AtomicU64`] with steps.
    AtomicU64,
    u64
);
atomic!(
    /// [`std::sync::atomic::AtomicUsize`] with steps.
    AtomicUsize,
    usize
);
atomic!(
    /// [`std::sync::atomic::AtomicI64`] with steps.
    AtomicI64,
    i64
);
arithmetic!(AtomicU8, u8);
arithmetic!(AtomicU32, u32);
arithmetic!(AtomicU64, u64);
arithmetic!(AtomicUsize, usize);
arithmetic!(AtomicI64, i64);
