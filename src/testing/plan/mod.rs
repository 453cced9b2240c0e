//! Plans: one run that crashes, as a value: what is done, where it dies, what the death leaves.
//!
//! A plan is printed as one line and parses back to the same plan:
//!
//! ```text
//! work=standard:7:60 durability=every-synced crash=WalPreAggregate#3 image=all crash=disk#17:before image=synced
//! ```
//!
//! | key | value |
//! |---|---|
//! | `work` | `standard:SEED:LEN`, `driven:NAME`, or `ops:` and tokens of [`Operation`](super::workload::Operation)s joined by `;` |
//! | `durability` | `every-synced`, `synced-every:MS`, `operating-system` |
//! | `crash` | `POINT#N`: the crossing of the point with N before it; `disk#ORDINAL:SIDE`; or `end`, when all is done |
//! | `image` | an [`ImageChoice`] |
//!
//! Every `crash` has its `image`. The first is in the work; each further one is in the recovery from the one before.
//! Ordinals are those of the disk: an image is a new disk, but after `image=all` it is the process that died, and the
//! disk goes on as it is, with what was not durable still not durable.

mod text;

#[cfg(test)]
mod tests;

use std::fmt;

pub use text::ParsePlanError;

use super::CrashPoint;
use super::sim_disk::{ImageChoice, Side};
use super::workload::Workload;
use crate::Durability;

/// What a failure's replay line begins with.
pub const REPLAY_PREFIX: &str = "tidaldb-replay:";

/// How many crashes a plan has at most: one in the work, two in recoveries.
pub const CRASHES_MAX: usize = 3;

/// What a plan does to a database before it dies.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// [`Workload::standard`].
    Standard {
        /// The seed.
        seed: u64,
        /// How many operations.
        operations_len: usize,
    },
    /// These operations.
    Operations(Workload),
    /// A closure that the sweep was given, by the name it was given with. Only that sweep can replay it.
    Driven(String),
}

impl Work {
    /// The operations, unless a closure makes them up.
    pub fn workload(&self) -> Option<Workload> {
        match self {
            Self::Standard { seed, operations_len } => Some(Workload::standard(*seed, *operations_len)),
            Self::Operations(workload) => Some(workload.clone()),
            Self::Driven(_) => None,
        }
    }
}

/// Where a run dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Site {
    /// At a crossing of a crash point.
    Point {
        /// The point.
        point: CrashPoint,
        /// How many crossings of it came before.
        crossing: u64,
    },
    /// Before or after an operation of the disk.
    Disk {
        /// The operation's ordinal.
        ordinal: u64,
        /// On which side of it.
        side: Side,
    },
    /// When everything is done and the database closed. What goes wrong without a crash is found on the way there.
    End,
}

/// One death: where, and what it left.
#[derive(Debug, Clone, PartialEq)]
pub struct Crash {
    /// Where.
    pub site: Site,
    /// What it left. [`ImageChoice::All`] is the death of the process: the disk goes on as it is. Every other choice is
    /// a loss of power.
    pub image: ImageChoice,
}

/// One run that crashes. See the [module](self).
///
/// # Examples
/// ```
/// use tidaldb::testing::{CrashPoint, Plan};
///
/// let plan = Plan::standard(7, 60).crash_at(CrashPoint::CheckpointPostFlush, 0);
/// assert_eq!(
///     plan.to_string(),
///     "work=standard:7:60 durability=every-synced crash=CheckpointPostFlush#0 image=all"
/// );
/// assert_eq!(plan.to_string().parse::<Plan>()?, plan);
///
/// // Crashes there, recovers, and checks every promise of the engine. Never true of a run that did not crash.
/// let recovered = plan.run()?;
/// assert!(recovered.events() > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What is done.
    pub work: Work,
    /// The policy of the database.
    pub durability: Durability,
    /// The deaths, the first in the work, each further one in the recovery from the one before. At most
    /// [`CRASHES_MAX`].
    pub crashes: Vec<Crash>,
}

impl Plan {
    /// A plan of this work that does not crash yet, with every event synced.
    pub fn new(work: Work) -> Self {
        Self {
            work,
            durability: Durability::EverySynced,
            crashes: Vec::new(),
        }
    }

    /// [`new`](Self::new) for a standard workload.
    pub fn standard(seed: u64, operations_len: usize) -> Self {
        Self::new(Work::Standard { seed, operations_len })
    }

    /// [`new`](Self::new) for these operations.
    pub fn operations(workload: Workload) -> Self {
        Self::new(Work::Operations(workload))
    }

    /// The same plan under another policy.
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// The process also dies at the crossing of `point` that has `crossing` crossings before it: in the work if it is
    /// the first death, else in the recovery from the one before.
    #[must_use]
    pub fn crash_at(self, point: CrashPoint, crossing: u64) -> Self {
        self.crash(Site::Point { point, crossing }, ImageChoice::All)
    }

    /// It also dies at `site` and leaves `image`.
    #[must_use]
    pub fn crash(mut self, site: Site, image: ImageChoice) -> Self {
        self.crashes.push(Crash { site, image });
        self
    }

    /// What the last death leaves, in the place of what was chosen until now.
    #[must_use]
    pub fn leaving(mut self, image: ImageChoice) -> Self {
        if let Some(last) = self.crashes.last_mut() {
            last.image = image;
        }
        self
    }

    /// The line that reproduces the plan: see [`replay`](super::replay()).
    pub fn replay_line(&self) -> String {
        format!("{REPLAY_PREFIX} {self}")
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Point { point, crossing } => write!(f, "{point}#{crossing}"),
            Self::Disk { ordinal, side } => write!(f, "disk#{ordinal}:{side}"),
            Self::End => f.write_str("end"),
        }
    }
}
