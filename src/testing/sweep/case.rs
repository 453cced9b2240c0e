//! The case runner: recovers from the disk that a crash left, checks the state, and continues after the recovery.
//!
//! The sweep enumerates cases and stores their results. A replay, a random plan and the comparison of crash modes build
//! single cases. All cases run here.

use std::sync::Arc;

use super::finding::{Failure, FailureKind};
use super::heartbeat::Heartbeat;
use super::journal::OracleSnapshot;
use super::record::RunRecord;
use super::recover::{content_hash, continue_after_recovery, recover};
use super::setup::Setup;
use super::shared::{Counters, InternedState, Recovery, SharedResults};
use super::state::{RecoveredState, failure_of};
use crate::testing::SimDisk;
use crate::testing::oracle::{Counts, CrashKind, Verdict};
use crate::testing::plan::{Crash, CrashMode, Site};
use crate::testing::sim_disk::{ImageBuilder, ImageChoice, Recording, Side};
use crate::testing::workload::Session;

/// The required result of the recovery from an image.
#[derive(Debug, Clone)]
enum Expected {
    /// Any state that is legal for the oracle.
    Legal(CrashKind),
    /// The state of the recovery without an interruption.
    Same(InternedState),
}

/// A case: its crashes, and the required result of the recovery from the last one.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) crashes: Vec<Crash>,
    /// The index in [`RunRecord::snapshots`] of the oracle snapshot at the crash of the work.
    pub(crate) snapshot_index: usize,
    /// True until the first power loss. Until then a power loss can remove undurable writes of the work.
    has_undurable_writes: bool,
    expected: Expected,
}

impl Case {
    /// A crash in the work, or in the session after other crashes.
    pub(crate) fn in_run(run: &RunRecord, crash: Crash, snapshot_index: usize) -> Self {
        let crash_kind = crash_kind_of(&crash.mode);
        let mut crashes = run.crashes.clone();
        crashes.push(crash);
        Self {
            crashes,
            snapshot_index,
            has_undurable_writes: crash_kind == CrashKind::ProcessCrash,
            expected: Expected::Legal(crash_kind),
        }
    }

    /// The nested case with a further crash in the recovery of this case. Without this crash the recovery gives
    /// `state`. `has_returned` is true after the last disk operation of the recovery.
    pub(crate) fn in_recovery(&self, crash: Crash, has_returned: bool, state: &InternedState) -> Self {
        let crash_kind = crash_kind_of(&crash.mode);
        // A recovery syncs recovered data before it returns. An earlier power loss can remove unsynced writes of the
        // work.
        let expected = if self.has_undurable_writes && crash_kind == CrashKind::PowerLoss && !has_returned {
            Expected::Legal(CrashKind::PowerLoss)
        } else {
            Expected::Same(state.clone())
        };
        let mut crashes = self.crashes.clone();
        crashes.push(crash);
        Self {
            crashes,
            snapshot_index: self.snapshot_index,
            has_undurable_writes: self.has_undurable_writes && crash_kind == CrashKind::ProcessCrash,
            expected,
        }
    }

    /// Returns true if a power loss can still remove undurable writes of the work.
    pub(crate) fn has_undurable_writes(&self) -> bool {
        self.has_undurable_writes
    }

    /// The mode of the last crash.
    pub(crate) fn mode(&self) -> &CrashMode {
        match self.crashes.last() {
            Some(crash) => &crash.mode,
            None => unreachable!("every case has a crash"),
        }
    }
}

/// The result of a case.
#[derive(Debug)]
pub(crate) struct CaseOutcome {
    /// A hash of the image and of the session that recovers.
    pub(crate) image: u128,
    /// The failures, in the order of the checks.
    pub(crate) failures: Vec<Failure>,
    /// The recovered state and the oracle's verdict; `None` if a check failed before the continuation.
    pub(crate) state: Option<(InternedState, Arc<Verdict>)>,
    /// The disk operations of the recovery and the ordinal of the first one, if they were requested and the recovery
    /// ran.
    pub(crate) recording: Option<(Recording, u64)>,
    /// The oracle's counts of the state; zeros if the database did not open or the state is not the expected one.
    pub(crate) counts: Counts,
    /// True if no earlier case had this image.
    pub(crate) is_new: bool,
}

/// Runs cases of one recorded run.
#[derive(Clone, Copy)]
pub(crate) struct Runner<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) run: &'a RunRecord,
    pub(crate) shared: &'a SharedResults,
    pub(crate) heartbeat: &'a Heartbeat,
}

impl Runner<'_> {
    /// Runs a case. `builder` is at the position of the last crash. If an earlier case recovered the same image, this
    /// case uses the stored recovery. If `records` is true, the outcome contains the disk operations of the recovery.
    pub(crate) fn run(&self, builder: &ImageBuilder, case: &Case, records: bool) -> CaseOutcome {
        let counters = &self.shared.counters;
        Counters::increment(&counters.images);
        let image = builder.image_hash(&image_of(case.mode()));
        let snapshot = &self.run.snapshots[case.snapshot_index];
        // A recovery depends on the image and on the session that recovers.
        let key = image ^ u128::from(snapshot.recovery.key).rotate_left(64);
        let mut outcome = CaseOutcome {
            image: key,
            failures: Vec::new(),
            state: None,
            recording: None,
            counts: Counts::default(),
            is_new: false,
        };
        if let Some(recovery) = self.shared.stored_recovery(key) {
            self.check_state(&recovery, case, &mut outcome);
            return outcome;
        }
        self.heartbeat.begin(&case.crashes);
        // A crash inside the recovery needs the undurable writes of the disk; otherwise the image is enough.
        let disk = if records {
            disk_of(builder, case.mode())
        } else {
            builder.disk_with_image(&image_of(case.mode()))
        };
        let start = disk.operations_len();
        let recovery: Recovery = match recover(self.setup, &disk, &recovery_session(snapshot, image)) {
            Ok(state) => Ok(self.shared.intern(state)),
            Err(failure) => Err(Arc::new(failure)),
        };
        Counters::increment(&counters.recoveries);
        if self.shared.store_recovery(key, &recovery) {
            outcome.is_new = true;
            Counters::increment(&counters.distinct);
        }
        self.check_state(&recovery, case, &mut outcome);
        if outcome.state.is_some() {
            outcome.recording = records.then(|| (disk.recording(), start));
            self.continue_after_recovery(&disk, case, image, &mut outcome);
        }
        outcome
    }

    /// Compares the state with the required state, and checks it with the oracle.
    fn check_state(&self, recovery: &Recovery, case: &Case, outcome: &mut CaseOutcome) {
        let interned = match recovery {
            Ok(interned) => interned,
            Err(failure) => return outcome.failures.push((**failure).clone()),
        };
        let crash_kind = match &case.expected {
            Expected::Legal(crash_kind) => *crash_kind,
            Expected::Same(same) if same.id != interned.id && !same.state.is_same(&interned.state) => {
                return outcome.failures.push(diverged(&same.state, &interned.state));
            }
            // The state of the recovery without an interruption was legal. The check for a power loss allows every
            // legal prefix.
            Expected::Same(_) => CrashKind::PowerLoss,
        };
        let verdict = self
            .shared
            .verdict(self.run.id, case.snapshot_index, interned, crash_kind, || {
                interned
                    .state
                    .check_against(&self.run.snapshots[case.snapshot_index].oracle, crash_kind)
            });
        outcome.counts = verdict.counts;
        if verdict.is_ok() {
            outcome.state = Some((interned.clone(), verdict));
        } else {
            outcome.failures.push(failure_of(&verdict));
        }
    }

    /// Continues after the recovery on `disk`, once for each recovered disk.
    fn continue_after_recovery(&self, disk: &SimDisk, case: &Case, image: u128, outcome: &mut CaseOutcome) {
        let Some((state, verdict)) = &outcome.state else {
            return;
        };
        if !self.shared.bounds.continues || !self.shared.is_first_continuation(content_hash(disk)) {
            return;
        }
        Counters::increment(&self.shared.counters.continued);
        let snapshot = &self.run.snapshots[case.snapshot_index];
        let session = recovery_session(snapshot, image);
        let mut location = self.setup.location_on_disk(disk, session);
        let continued =
            continue_after_recovery(self.setup, &mut location, &state.state, snapshot, verdict, &[]);
        outcome.failures.extend(continued.err());
    }
}

/// The session that recovers from an image. Its clock shows the time of the crash, an earlier time or a later time. The
/// hash of the image selects one of these.
pub(crate) fn recovery_session(snapshot: &OracleSnapshot, image: u128) -> Session {
    const CENTURY_MS: i64 = 36_525 * 86_400_000;
    const MOVES_MS: [i64; 5] = [0, 1, CENTURY_MS, -1, -CENTURY_MS];
    let moved_ms = MOVES_MS[(image % MOVES_MS.len() as u128) as usize];
    snapshot.recovery.at(snapshot.now_ms.saturating_add(moved_ms))
}

/// The oracle's crash kind of this crash mode.
pub(crate) fn crash_kind_of(mode: &CrashMode) -> CrashKind {
    if mode.keeps_writes() {
        CrashKind::ProcessCrash
    } else {
        CrashKind::PowerLoss
    }
}

/// The image that a crash of this mode leaves.
pub(crate) fn image_of(mode: &CrashMode) -> ImageChoice {
    match mode {
        CrashMode::PowerLoss(image) => image.clone(),
        _ => ImageChoice::All,
    }
}

/// The disk that a crash of this mode leaves.
pub(crate) fn disk_of(builder: &ImageBuilder, mode: &CrashMode) -> SimDisk {
    match mode {
        CrashMode::PowerLoss(image) => builder.disk_with_image(image),
        _ => builder.disk(),
    }
}

/// The site of a position in a recovery whose first operation has the ordinal `start`.
pub(crate) fn site_at(position: u64, start: u64) -> Site {
    if position > start {
        Site::Disk {
            ordinal: position - 1,
            side: Side::After,
        }
    } else {
        Site::Disk {
            ordinal: position,
            side: Side::Before,
        }
    }
}

fn diverged(expected: &RecoveredState, found: &RecoveredState) -> Failure {
    let message = format!(
        "the recovery without an interruption ends at sequence {}, this recovery at {}{}",
        expected.last_sequence,
        found.last_sequence,
        if expected.last_sequence == found.last_sequence {
            ", with another state"
        } else {
            ""
        }
    );
    Failure::new(FailureKind::Diverged, message)
}
