//! A value that is set once, whose accesses are steps.

use std::panic::Location;

use crate::testing::scheduler::scheduled_thread::ScheduledThread;
use crate::testing::scheduler::step::{ObjectKey, StepAction};

/// [`std::sync::OnceLock`] with steps.
#[derive(Debug)]
pub struct OnceLock<T> {
    key: ObjectKey,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    /// An unset value.
    pub const fn new() -> Self {
        Self {
            key: ObjectKey::new(),
            value: std::sync::OnceLock::new(),
        }
    }

    /// The value, if it is set.
    #[track_caller]
    pub fn get(&self) -> Option<&T> {
        if let Some(thread) = ScheduledThread::current() {
            thread.step(StepAction::Load, Some(&self.key), Location::caller());
        }
        self.value.get()
    }

    /// The value. If it is not set, sets it to the result of `first`, which must make no step: use no lock, atomic, file
    /// or thread.
    #[track_caller]
    pub fn get_or_init(&self, first: impl FnOnce() -> T) -> &T {
        if let Some(thread) = ScheduledThread::current() {
            thread.step(StepAction::Update, Some(&self.key), Location::caller());
        }
        self.value.get_or_init(first)
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}
