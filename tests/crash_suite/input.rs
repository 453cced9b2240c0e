//! The operations of the kit's standard workloads.

use std::fmt;
use std::sync::OnceLock;

use tidaldb::testing::CrashSweep;
use tidaldb::testing::workload::{Operation, SessionEnd, Workload, standard_schema, tiny_options};

/// The seed of the standard workload.
pub(crate) const SEED: u64 = 0x7469_6461_6c64_6221;
/// The number of its operations.
const STANDARD_LEN: usize = 160;

/// The workload of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Input {
    /// The kit's standard workload.
    Standard,
    /// The kit's standard workload in several sessions.
    Sessions,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => write!(f, "the standard workload of seed {SEED:#x}"),
            Self::Sessions => write!(f, "the workload in sessions of seed {SEED:#x}"),
        }
    }
}

/// Operations on the standard schema.
#[derive(Debug)]
pub(crate) struct InputOperations {
    name: &'static str,
    pub(crate) all: Vec<Operation>,
}

impl InputOperations {
    /// A sweep over these operations.
    pub(crate) fn sweep(&self) -> CrashSweep {
        let operations = self.all.clone();
        CrashSweep::named(self.name, Workload { operations }).options(|| tiny_options(standard_schema()))
    }
}

/// The operations of an input, generated once for each process.
pub(crate) fn operations(input: Input) -> &'static InputOperations {
    static STANDARD: OnceLock<InputOperations> = OnceLock::new();
    static SESSIONS: OnceLock<InputOperations> = OnceLock::new();
    match input {
        Input::Sessions => SESSIONS.get_or_init(sessions),
        Input::Standard => STANDARD.get_or_init(standard),
    }
}

fn standard() -> InputOperations {
    let mut all = Workload::standard(SEED, STANDARD_LEN).operations;
    // The workload of this seed has no call that the database must refuse, so one is added.
    let refused = all.iter().enumerate().find_map(too_far_ahead);
    if let Some((index, refused)) = refused {
        all.insert(index, refused);
    }
    InputOperations {
        name: "standard",
        all,
    }
}

/// The workload in several sessions. Each ends by a close, a drop or a kill: on real files there is no power loss.
fn sessions() -> InputOperations {
    let mut all = Workload::sessions(SEED, STANDARD_LEN).operations;
    for operation in &mut all {
        if let Operation::Reopen(reopening) = operation
            && let SessionEnd::PowerLoss(_) = reopening.end
        {
            reopening.end = SessionEnd::Kill;
        }
    }
    InputOperations {
        name: "sessions",
        all,
    }
}

/// The operation with the time of its last event at the maximum, which the database refuses. `None` if it has no
/// events.
fn too_far_ahead((index, operation): (usize, &Operation)) -> Option<(usize, Operation)> {
    let mut refused = operation.clone();
    let Operation::Record { events, .. } = &mut refused else {
        return None;
    };
    events.last_mut()?.at_ms = i64::MAX;
    Some((index, refused))
}
