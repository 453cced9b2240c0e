//! Plans: a plan is the description of one run that crashes.
//!
//! A plan has the work, the durability policy, the sector size of the disk, and the crashes. Each crash has a site and a mode. The text of a plan
//! is one line. The line parses to the same plan:
//!
//! ```text
//! work=standard:7:60 durability=every-synced crash=WalPreAggregate#3 mode=kill crash=disk#17:before mode=power-loss:synced
//! ```
//!
//! | key | value |
//! |---|---|
//! | `work` | `standard:SEED:LEN`, `sessions:SEED:LEN`, `driven:NAME`, or `ops:` and tokens of [`Operation`]s joined by `;` |
//! | `durability` | `every-synced`, `synced-every:MS`, `operating-system` |
//! | `sectors` | the bytes of a sector of the disk; 512 without this key |
//! | `crash` | `POINT#N`: the crossing of the crash point after N earlier crossings of it |
//! | | `disk#ORDINAL:SIDE`: before or after a disk operation |
//! | | `disk#ORDINAL:FAULT`: the disk operation has an [`IoFault`], and the crash is at the return of the call that made it; with `:end` after FAULT, at the end of the run |
//! | | `end`: after the close |
//! | `mode` | `panic`, `abort`, `kill`, or `power-loss:` and an [`ImageChoice`] |
//!
//! Every `crash` has its `mode`. The first crash is in the work. Each further crash is in the session after the crash
//! before it: in the recovery or in a later call. A power loss leaves a new disk, whose operations are numbered from 0.
//! After any other crash the disk is the same: its numbers continue, and undurable writes are still undurable.
//!
//! [`Operation`]: super::workload::Operation

mod text;

#[cfg(test)]
mod tests;

use std::fmt;

pub use text::ParsePlanError;

use super::CrashPoint;
use super::sim_disk::{ImageChoice, IoFault, Side, SimDiskOptions};
use super::workload::Workload;
use crate::Durability;

/// The first word of a replay line.
pub const REPLAY_PREFIX: &str = "tidaldb-replay:";

/// The largest number of crashes of a plan: one in the work, two in the sessions after it.
pub const CRASHES_MAX: usize = 3;

/// The operations of a plan on a database.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Work {
    /// [`Workload::standard`].
    Standard {
        /// The seed.
        seed: u64,
        /// The number of operations.
        operations_len: usize,
    },
    /// [`Workload::sessions`].
    Sessions {
        /// The seed.
        seed: u64,
        /// The number of operations.
        operations_len: usize,
    },
    /// These operations.
    Operations(Workload),
    /// The work of the sweep with this name: a closure, or a workload too long for a line. Only that sweep can replay
    /// it.
    Driven(String),
}

impl Work {
    /// The operations; `None` if only the sweep has them.
    pub fn workload(&self) -> Option<Workload> {
        match self {
            Self::Standard { seed, operations_len } => Some(Workload::standard(*seed, *operations_len)),
            Self::Sessions { seed, operations_len } => Some(Workload::sessions(*seed, *operations_len)),
            Self::Operations(workload) => Some(workload.clone()),
            Self::Driven(_) => None,
        }
    }
}

/// The site of a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Site {
    /// At a crossing of a crash point.
    Point {
        /// The crash point.
        point: CrashPoint,
        /// The number of earlier crossings of this crash point.
        crossing: u64,
    },
    /// Before or after an operation of the disk.
    Disk {
        /// The operation's ordinal.
        ordinal: u64,
        /// The side of the operation.
        side: Side,
    },
    /// After a fault of an operation of the disk.
    Fault {
        /// The operation's ordinal.
        ordinal: u64,
        /// The fault.
        fault: IoFault,
        /// The part of the run that ends before the crash.
        after: FaultEnd,
    },
    /// After the database was closed. Such a plan tests a run without a crash.
    End,
}

/// The part of a run that ends between a fault and the crash after the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultEnd {
    /// The call in which the fault happened.
    Call,
    /// The whole run, with all calls and the close. In a recovery: `open`.
    Run,
}

/// The way in which a run ends at its crash site.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum CrashMode {
    /// A panic unwinds through every destructor.
    Panic,
    /// The process aborts itself.
    Abort,
    /// The process is killed.
    Kill,
    /// The power is lost. The disk then has this image.
    PowerLoss(ImageChoice),
}

impl CrashMode {
    /// Returns true if the crash loses no write: only the process ends, and all its writes are on the disk.
    pub fn keeps_writes(&self) -> bool {
        !matches!(self, Self::PowerLoss(_))
    }
}

/// One crash: its site and its mode.
#[derive(Debug, Clone, PartialEq)]
pub struct Crash {
    /// The site at which the run crashes.
    pub site: Site,
    /// The way in which the run ends there.
    pub mode: CrashMode,
}

/// One run that crashes. See the [module](self).
///
/// # Examples
/// ```
/// use tidaldb::testing::{CrashPoint, Plan, run_plan};
///
/// let plan = Plan::standard(7, 60).crash_at(CrashPoint::CheckpointPostFlush, 0);
/// assert_eq!(
///     plan.to_string(),
///     "work=standard:7:60 durability=every-synced crash=CheckpointPostFlush#0 mode=kill"
/// );
/// assert_eq!(plan.to_string().parse::<Plan>()?, plan);
///
/// // Crashes at the site, recovers, and checks every promise of the engine. A run that does not crash is an error.
/// let recovered = run_plan(&plan)?;
/// assert!(recovered.events() > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The operations on the database.
    pub work: Work,
    /// The policy of the database.
    pub durability: Durability,
    /// The bytes of a sector of the disk. Writes tear at the borders of sectors.
    pub sector_bytes: u32,
    /// The crashes: the first in the work, each further one in the session after the crash before it. At most
    /// [`CRASHES_MAX`].
    pub crashes: Vec<Crash>,
}

impl Plan {
    /// A plan of this work without a crash. The policy is [`Durability::EverySynced`].
    pub fn new(work: Work) -> Self {
        Self {
            work,
            durability: Durability::EverySynced,
            sector_bytes: SimDiskOptions::default().sector_bytes,
            crashes: Vec::new(),
        }
    }

    /// A [plan without a crash](Self::new) for [`Workload::standard`].
    pub fn standard(seed: u64, operations_len: usize) -> Self {
        Self::new(Work::Standard { seed, operations_len })
    }

    /// A [plan without a crash](Self::new) for [`Workload::sessions`].
    pub fn sessions(seed: u64, operations_len: usize) -> Self {
        Self::new(Work::Sessions { seed, operations_len })
    }

    /// A [plan without a crash](Self::new) for these operations.
    pub fn operations(workload: Workload) -> Self {
        Self::new(Work::Operations(workload))
    }

    /// The same plan on a disk with sectors of `sector_bytes` bytes.
    #[must_use]
    pub fn sector_bytes(self, sector_bytes: u32) -> Self {
        Self { sector_bytes, ..self }
    }

    /// The same plan under another policy.
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// Adds a kill of the process at a crossing of `point`, after `crossing` earlier crossings of it. The first crash
    /// is in the work, each further crash in the session after the crash before it.
    #[must_use]
    pub fn crash_at(self, point: CrashPoint, crossing: u64) -> Self {
        self.crash(Site::Point { point, crossing }, CrashMode::Kill)
    }

    /// Adds a crash.
    #[must_use]
    pub fn crash(mut self, site: Site, mode: CrashMode) -> Self {
        self.crashes.push(Crash { site, mode });
        self
    }

    /// Changes the mode of the last crash to a power loss that leaves `image`.
    #[must_use]
    pub fn leaving(mut self, image: ImageChoice) -> Self {
        if let Some(last) = self.crashes.last_mut() {
            last.mode = CrashMode::PowerLoss(image);
        }
        self
    }

    /// The line that replays the plan: see [`replay`](super::replay()).
    pub fn replay_line(&self) -> String {
        format!("{REPLAY_PREFIX} {self}")
    }
}

impl fmt::Display for CrashMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic => f.pad("panic"),
            Self::Abort => f.pad("abort"),
            Self::Kill => f.pad("kill"),
            Self::PowerLoss(image) => write!(f, "power-loss:{image}"),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Point { point, crossing } => write!(f, "{point}#{crossing}"),
            Self::Disk { ordinal, side } => write!(f, "disk#{ordinal}:{side}"),
            Self::Fault {
                ordinal,
                fault,
                after,
            } => match after {
                FaultEnd::Call => write!(f, "disk#{ordinal}:{fault}"),
                FaultEnd::Run => write!(f, "disk#{ordinal}:{fault}:end"),
            },
            Self::End => f.write_str("end"),
        }
    }
}
