//! A plan: which database is fed with what, where it crashes, and how it dies.

use std::fmt;

use tidaldb::Durability;
use tidaldb::testing::CrashPoint;
use tidaldb::testing::workload::STANDARD_SYNC_MS;

/// What keeps checkpoints and collections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Store {
    Embedded,
    Fjall,
    Memory,
}

/// When an acknowledged event is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Policy {
    EverySynced,
    TimedSyncs,
    LeftToOs,
}

/// Which crossing of the point is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    First,
    Middle,
    Last,
}

/// How the process that holds the database ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// A panic that unwinds and is caught; destructors run.
    Panic,
    /// A child process aborts at the point.
    Abort,
    /// A child process is killed while it stands at the point.
    Sigkill,
}

/// Where the operations come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Input {
    /// The kit's standard workload.
    Standard,
    /// The file of events: that of the command line, or the sample.
    Events,
}

/// What a database is and is fed with: what the number of crossings depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Setup {
    pub(crate) store: Store,
    pub(crate) policy: Policy,
    pub(crate) input: Input,
}

/// One crash of one database by one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) setup: Setup,
    pub(crate) point: CrashPoint,
    pub(crate) which: Which,
    pub(crate) death: Death,
}

impl Store {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Fjall => "fjall",
            Self::Memory => "memory",
        }
    }
}

impl Policy {
    pub(crate) const ALL: [Self; 3] = [Self::EverySynced, Self::TimedSyncs, Self::LeftToOs];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::EverySynced => "every-synced",
            Self::TimedSyncs => "timed-syncs",
            Self::LeftToOs => "left-to-os",
        }
    }

    /// Timed syncs in the time of the workload, where the caller does the background work.
    pub(crate) const fn durability(self) -> Durability {
        match self {
            Self::EverySynced => Durability::EverySynced,
            Self::TimedSyncs => Durability::SyncedEvery {
                interval_ms: STANDARD_SYNC_MS,
            },
            Self::LeftToOs => Durability::OperatingSystem,
        }
    }
}

impl Which {
    pub(crate) const ALL: [Self; 3] = [Self::First, Self::Middle, Self::Last];

    const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Middle => "middle",
            Self::Last => "last",
        }
    }

    /// How many crossings pass before this one of `crossings`, which is not 0.
    pub(crate) const fn fire_after(self, crossings: u64) -> u64 {
        match self {
            Self::First => 0,
            Self::Middle => crossings / 2,
            Self::Last => crossings - 1,
        }
    }
}

impl Death {
    pub(crate) const ALL: [Self; 3] = [Self::Panic, Self::Abort, Self::Sigkill];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Abort => "abort",
            Self::Sigkill => "sigkill",
        }
    }
}

impl Setup {
    /// The first part of the names of its cases.
    pub(crate) const fn name(self) -> &'static str {
        match self.input {
            Input::Standard => self.store.name(),
            Input::Events => "events",
        }
    }
}

impl fmt::Display for Plan {
    /// The name of its case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setup,
            point,
            which,
            death,
        } = self;
        write!(
            f,
            "{}/{}/{point}/{}/{}",
            setup.name(),
            setup.policy.name(),
            which.name(),
            death.name()
        )
    }
}
