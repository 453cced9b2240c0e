//! Findings: the failure of a case, and its replay.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use crate::testing::plan::{CrashMode, ParsePlanError, Plan, Site};
use crate::testing::sim_disk::DiskModel;
use crate::testing::text::error_chain;

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The case tests nothing: the run did not reach the plan's site, or the plan cannot be run there.
    NeverReached,
    /// An unwatched thread changed the files. Crashes on it are not explored.
    Unwatched,
    /// The database does not open, or its state cannot be read.
    Refused,
    /// A promised event, member or frame is missing.
    Lost,
    /// An event counts twice.
    Doubled,
    /// A frame is present in part.
    Half,
    /// The state is not legal, and no single event explains it.
    Wrong,
    /// A second open gives another state, or repairs something again.
    NotIdempotent,
    /// A recovery after a crash inside recovery gives another state.
    Diverged,
    /// The work, or a write, close or reopen after recovery, fails; or the state after it is wrong.
    CannotGoOn,
    /// A second open of an open database succeeded.
    NotLocked,
    /// A lock, an open file, a thread or a useless segment is left after the database was dropped or closed.
    LeftBehind,
    /// Dropping the handle, or a rejected call on a poisoned handle, changed the disk.
    DropWrote,
    /// The engine acknowledged an operation that a power loss could take away, against the policy.
    AcknowledgedBeforeDurable,
    /// A thread changed something after the failed device had refused one of its calls.
    ContinuedAfterFault,
    /// The engine acknowledged a call although a disk operation of it or of an earlier one had failed.
    AcknowledgedAfterFault,
    /// The run or the recovery panicked.
    Panicked,
    /// The case did not end in time.
    Hang,
    /// Crash modes that must leave the same left different states: a fault of the kit, or the work is not deterministic.
    ModesDisagree,
}

impl FailureKind {
    /// Every kind, in the order of the declaration.
    pub const ALL: &'static [Self] = &[
        Self::NeverReached,
        Self::Unwatched,
        Self::Refused,
        Self::Lost,
        Self::Doubled,
        Self::Half,
        Self::Wrong,
        Self::NotIdempotent,
        Self::Diverged,
        Self::CannotGoOn,
        Self::NotLocked,
        Self::LeftBehind,
        Self::DropWrote,
        Self::AcknowledgedBeforeDurable,
        Self::ContinuedAfterFault,
        Self::AcknowledgedAfterFault,
        Self::Panicked,
        Self::Hang,
        Self::ModesDisagree,
    ];

    /// The name, as reports print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NeverReached => "never reached",
            Self::Unwatched => "unwatched thread",
            Self::Refused => "does not open",
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::Half => "half",
            Self::Wrong => "wrong",
            Self::NotIdempotent => "not idempotent",
            Self::Diverged => "diverged",
            Self::CannotGoOn => "cannot go on",
            Self::NotLocked => "not locked",
            Self::LeftBehind => "left behind",
            Self::DropWrote => "drop wrote",
            Self::AcknowledgedBeforeDurable => "acknowledged before durable",
            Self::ContinuedAfterFault => "continued after fault",
            Self::AcknowledgedAfterFault => "acknowledged after fault",
            Self::Panicked => "panicked",
            Self::Hang => "hang",
            Self::ModesDisagree => "crash modes disagree",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The failure of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// A description for people.
    pub message: String,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl Error for Failure {}

/// A failing case.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct Finding {
    /// The case. Without a crash if it went wrong without one.
    pub plan: Plan,
    /// The failure.
    pub failure: Failure,
    /// A smaller case that goes wrong in the same way, if there is one.
    pub shrunk: Option<Plan>,
    /// The models of file systems under which the power losses of the shrunk case (else of the case) can happen. All models if
    /// it has only process crashes, which keep all writes. Empty if unknown, for example for a case that hangs.
    pub models: Vec<DiskModel>,
    /// Where the disk before the last recovery was laid out as real files.
    pub image_dir: Option<PathBuf>,
    /// True if the sweep has work, options, storage or files of its own, which the line does not hold.
    pub of_own_sweep: bool,
    /// True if crash modes were compared. Then only [`compare_crash_modes`](super::compare_crash_modes) finds it again.
    pub of_comparison: bool,
}

impl Finding {
    pub(crate) fn new(plan: Plan, failure: Failure) -> Self {
        Self {
            plan,
            failure,
            shrunk: None,
            models: Vec::new(),
            image_dir: None,
            of_own_sweep: false,
            of_comparison: false,
        }
    }

    /// The line that replays it: the shrunk case if there is one. A case that went wrong without a crash is replayed to the
    /// end of the work.
    pub fn replay_line(&self) -> String {
        let plan = self.replayed();
        if plan.crashes.is_empty() {
            return plan.clone().crash(Site::End, CrashMode::Kill).replay_line();
        }
        plan.replay_line()
    }

    /// The case that the replay line has.
    fn replayed(&self) -> &Plan {
        self.shrunk.as_ref().unwrap_or(&self.plan)
    }

    /// The names of [`models`](Self::models) as text; none if they are unknown.
    pub fn models_text(&self) -> Option<String> {
        if self.models == DiskModel::ALL {
            return Some("every file system".to_owned());
        }
        let names: Vec<_> = self.models.iter().map(|model| model.name).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// A test to paste that fails as long as the case does, and passes afterwards. For a sweep with parts of its own the
    /// test needs a function `sweep` that makes that sweep.
    pub fn test_to_paste(&self) -> String {
        let line = self.replay_line();
        if self.of_comparison {
            let call = if self.of_own_sweep {
                "sweep().compare_crash_modes"
            } else {
                "tidaldb::testing::compare_crash_modes"
            };
            return format!(
                "#[test]\nfn crash_modes_agree() {{\n    let plan: tidaldb::testing::Plan = {line:?}.parse().unwrap();\n    \
                 drop({call}(&plan, concat!(module_path!(), \"::crash_modes_agree\")).unwrap());\n}}"
            );
        }
        let name = self.failure.kind.name().replace(' ', "_");
        let replay = if self.of_own_sweep {
            "sweep().replay"
        } else {
            "tidaldb::testing::replay"
        };
        format!("#[test]\nfn a_replayed_crash_is_not_{name}() {{\n    {replay}({line:?}).unwrap();\n}}")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.failure)?;
        writeln!(f, "{}", self.plan.replay_line())?;
        if let Some(shrunk) = &self.shrunk {
            writeln!(f, "shrunk to\n{}", shrunk.replay_line())?;
        }
        if let Some(models) = self.models_text() {
            writeln!(f, "happens on {models}")?;
        }
        if let Some(dir) = &self.image_dir {
            writeln!(f, "the disk before recovery: {}", dir.display())?;
        }
        write!(f, "{}", self.test_to_paste())
    }
}

impl Error for Finding {}

/// Why a replay failed.
#[non_exhaustive]
pub enum ReplayFailure {
    /// The line is not a plan.
    NotAPlan(ParsePlanError),
    /// The plan was run and something is wrong.
    Found(Box<Finding>),
}

impl ReplayFailure {
    /// The finding, if the plan was run.
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            Self::NotAPlan(_) => None,
            Self::Found(finding) => Some(finding),
        }
    }
}

impl fmt::Debug for ReplayFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `unwrap` prints this form: a person reads it.
        f.write_str(&error_chain(self))
    }
}

impl fmt::Display for ReplayFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPlan(_) => f.write_str("the line is not a plan"),
            Self::Found(finding) => write!(f, "{finding}"),
        }
    }
}

impl Error for ReplayFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotAPlan(error) => Some(error),
            Self::Found(_) => None,
        }
    }
}

impl From<ParsePlanError> for ReplayFailure {
    fn from(error: ParsePlanError) -> Self {
        Self::NotAPlan(error)
    }
}

impl From<Box<Finding>> for ReplayFailure {
    fn from(finding: Box<Finding>) -> Self {
        Self::Found(finding)
    }
}
