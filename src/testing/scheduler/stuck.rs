//! The finding that a run has no end.

use std::fmt;

/// The reason for which a run has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::testing) enum StuckKind {
    /// No thread can continue, and at least one waits for a lock.
    Deadlock,
    /// No thread can continue. All wait for notifications, timers or the ends of threads.
    LostWakeUp,
    /// A thread yields again and again, and no step changes an object meanwhile.
    EndlessSpin,
    /// The run does not end within [`STEPS_MAX`](super::turns::STEPS_MAX) steps, or all its threads only sleep.
    NoEnd,
    /// The running thread makes no step. It waits for something that the scheduler does not know.
    NoStep,
}

impl fmt::Display for StuckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Deadlock => "deadlock",
            Self::LostWakeUp => "lost wake-up",
            Self::EndlessSpin => "endless spin",
            Self::NoEnd => "no end",
            Self::NoStep => "no step",
        })
    }
}

/// A run without an end, with the place of each thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::testing) struct Stuck {
    pub(in crate::testing) kind: StuckKind,
    pub(in crate::testing) threads: Vec<StuckThread>,
}

/// A thread that has not ended, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::testing) struct StuckThread {
    pub(in crate::testing) name: String,
    pub(in crate::testing) text: String,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StuckKind::Deadlock | StuckKind::LostWakeUp => "no thread can continue",
            StuckKind::EndlessSpin => "a thread yields forever, and nothing changes",
            StuckKind::NoEnd => "the threads make steps and do not end",
            StuckKind::NoStep => {
                "the running thread makes no step; it may use a lock, a channel or a thread of the standard library"
            }
        })?;
        for StuckThread { name, text } in &self.threads {
            write!(f, "\n  {name}: {text}")?;
        }
        Ok(())
    }
}
