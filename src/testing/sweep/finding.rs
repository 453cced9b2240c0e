//! Findings: the failure of a case, with the line and the test that replay the case.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use crate::testing::plan::{CrashMode, Plan, Site};
use crate::testing::sim_disk::DiskModel;

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The case tests nothing: the run did not reach the plan's site, or the plan cannot run there.
    NeverReached,
    /// An unwatched thread changed the files. The sweep cannot crash on such a thread.
    Unwatched,
    /// The database does not open, or its state cannot be read.
    Refused,
    /// A promised event, member or frame is missing.
    Lost,
    /// An event is counted twice.
    Doubled,
    /// A frame is present in part.
    Half,
    /// The state is not legal, and no single event explains it.
    Wrong,
    /// A second open gives another state, or makes a repair again.
    NotIdempotent,
    /// The recovery in a nested case gives another state than the recovery without an interruption.
    Diverged,
    /// The work, or a write, close or reopening after the recovery, fails; or the state after it is wrong.
    CannotContinue,
    /// A second open of an open database succeeded.
    NotLocked,
    /// A lock, an open file, a thread or a useless segment remains after the database was dropped or closed.
    LeftBehind,
    /// The drop of the handle, or a refused call on a poisoned handle, changed the disk; or a disk operation came after the
    /// release of the lock of the directory.
    DropWrote,
    /// The engine acknowledged an operation that a power loss could remove, against the policy.
    AcknowledgedBeforeDurable,
    /// A thread changed the disk after the failed device had refused one of its calls.
    ContinuedAfterFault,
    /// The engine acknowledged a call although a disk operation of this or of an earlier call had failed.
    AcknowledgedAfterFault,
    /// The run or the recovery panicked.
    Panicked,
    /// The case did not end in time, or no thread of a schedule can continue.
    Hang,
    /// Crash modes left different files or states. Either the kit has a bug, or the work is not deterministic.
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
        Self::CannotContinue,
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

    /// The name in reports.
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
            Self::CannotContinue => "cannot continue",
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
    /// The case. Its plan has no crash if the case fails without a crash.
    pub plan: Plan,
    /// The failure.
    pub failure: Failure,
    /// A smaller case that fails in the same way, if one was found.
    pub shrunk: Option<Plan>,
    /// The file-system models under which the power losses of the shrunk case (or else of the case) are possible. All
    /// models if the case has only process crashes, which lose no write. Empty if unknown, for example for a case that
    /// hangs.
    pub models: Vec<DiskModel>,
    /// The directory with real files that hold the content of the disk before the last recovery.
    pub image_dir: Option<PathBuf>,
    /// True if the sweep has its own work, options, storage or files, which the replay line does not contain.
    pub has_own_setup: bool,
    /// True if the failure is one of a comparison. Then only [`compare_crash_modes`](super::compare_crash_modes) finds
    /// it again.
    pub is_mode_comparison: bool,
}

impl Finding {
    pub(crate) fn new(plan: Plan, failure: Failure) -> Self {
        Self {
            plan,
            failure,
            shrunk: None,
            models: Vec::new(),
            image_dir: None,
            has_own_setup: false,
            is_mode_comparison: false,
        }
    }

    /// The line that replays the shrunk case, or the case if there is no shrunk case. The line of a case without a
    /// crash runs the work to its end.
    pub fn replay_line(&self) -> String {
        let plan = self.replayed_plan();
        if plan.crashes.is_empty() {
            return plan.clone().crash(Site::End, CrashMode::Kill).replay_line();
        }
        plan.replay_line()
    }

    /// The plan of the replay line.
    fn replayed_plan(&self) -> &Plan {
        self.shrunk.as_ref().unwrap_or(&self.plan)
    }

    /// The names of [`models`](Self::models) as text; `None` if they are unknown.
    pub fn models_text(&self) -> Option<String> {
        if self.models == DiskModel::ALL {
            return Some("every file system".to_owned());
        }
        let names: Vec<_> = self.models.iter().map(|model| model.name).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// The source of a test, to paste into a crate. The test fails as long as the case fails. For a sweep with its own
    /// work, options, storage or files, the test needs a function `sweep` that makes that sweep.
    pub fn test_to_paste(&self) -> String {
        let line = self.replay_line();
        if self.is_mode_comparison {
            let call = if self.has_own_setup {
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
        let replay = if self.has_own_setup {
            "sweep().replay"
        } else {
            "tidaldb::testing::replay"
        };
        format!(
            "#[test]\nfn a_replayed_case_has_no_finding_{name}() {{\n    {replay}({line:?}).unwrap();\n}}"
        )
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
            writeln!(f, "files before the last recovery: {}", dir.display())?;
        }
        write!(f, "{}", self.test_to_paste())
    }
}

impl Error for Finding {}
