//! The finding that the threads of a run cannot continue.

use std::fmt;

/// The reason for which the threads of a run cannot continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::testing) enum StuckKind {
    /// Each thread waits for a lock or for the end of another thread.
    Deadlock,
    /// A thread waits for a notification, and no thread is left that can send it.
    LostWakeUp,
    /// A thread yields forever, while no other thread changes anything.
    EndlessSpin,
    /// The run made two million steps.
    TooManySteps,
}

impl fmt::Display for StuckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Deadlock => "deadlock",
            Self::LostWakeUp => "lost wake-up",
            Self::EndlessSpin => "endless spin",
            Self::TooManySteps => "no end",
        })
    }
}

/// A run whose threads cannot continue, with the place of each thread.
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
        f.write_str("no thread can continue")?;
        for StuckThread { name, text } in &self.threads {
            write!(f, "\n  {name}: {text}")?;
        }
        Ok(())
    }
}
