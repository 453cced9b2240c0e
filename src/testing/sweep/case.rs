//! The case runner: recovers from the disk that a crash left, judges the state, and continues after the recovery.
//!
//! The sweep enumerates cases and remembers their results; a replay, a random plan and the comparison of crash modes build
//! single cases. All of them run here.

use std::sync::Arc;

use super::finding::{Failure, FailureKind};
use super::heartbeat::Heartbeat;
use super::journal::OracleSnapshot;
use super::memory::{Counters, Interned, Recovery, SweepMemory};
use super::record::Recorded;
use super::recover::{continue_after_recovery, hash_of, recover};
use super::setup::Setup;
use super::state::{RecoveredState, failure_of};
use crate::testing::SimDisk;
use crate::testing::oracle::{Counts, CrashKind, Verdict};
use crate::testing::plan::{Crash, CrashMode, Site};
use crate::testing::sim_disk::{ImageBuilder, ImageChoice, Recording, Side};
use crate::testing::workload::Session;

/// The required result of the recovery from an image.
#[derive(Debug, Clone)]
enum Expected {
    /// Any state that the oracle calls legal.
    Legal(CrashKind),
    /// The state that the interrupted recovery came to.
    Same(Interned),
}

/// A case: its crashes, and the required result of the recovery from the last one.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) crashes: Vec<Crash>,
    /// The knowledge when the work crashed, by its number in [`Recorded::known`].
    pub(crate) known: usize,
    /// True until the first power loss: a later one may still take undurable writes of the work.
    is_unsettled: bool,
    expected: Expected,
}

impl Case {
    /// A crash in the work, or in the session after other crashes.
    pub(crate) fn in_run(run: &Recorded, crash: Crash, known: usize) -> Self {
        let death = death_of(&crash.mode);
        let mut crashes = run.crashes.clone();
        crashes.push(crash);
        Self {
            crashes,
            known,
            is_unsettled: death == CrashKind::ProcessCrash,
            expected: Expected::Legal(death),
        }
    }

    /// A further crash, in the recovery from this case, which comes to `state` if nothing interrupts it. `returned` is
    /// true after its last disk operation.
    pub(crate) fn in_recovery(&self, crash: Crash, returned: bool, state: &Interned) -> Self {
        let death = death_of(&crash.mode);
        // A recovery syncs recovered data before it returns. A power loss before that may take unsynced writes of the work.
        let expected = if self.is_unsettled && death == CrashKind::PowerLoss && !returned {
            Expected::Legal(CrashKind::PowerLoss)
        } else {
            Expected::Same(state.clone())
        };
        let mut crashes = self.crashes.clone();
        crashes.push(crash);
        Self {
            crashes,
            known: self.known,
            is_unsettled: self.is_unsettled && death == CrashKind::ProcessCrash,
            expected,
        }
    }

    /// True while a power loss may still take undurable writes of the work.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.is_unsettled
    }

    /// The mode of the last crash.
    pub(crate) fn mode(&self) -> &CrashMode {
        match self.crashes.last() {
            Some(crash) => &crash.mode,
            None => unreachable!("a case is made with a crash"),
        }
    }
}

/// The result of a case.
#[derive(Debug)]
pub(crate) struct CaseOutcome {
    /// Equal for equal images that equal sessions recover.
    pub(crate) image: u128,
    /// The failures, in the order in which they were found.
    pub(crate) failures: Vec<Failure>,
    /// The state and the verdict on it; none if the case has a failure before the continuation.
    pub(crate) state: Option<(Interned, Arc<Verdict>)>,
    /// The recovery's disk operations, and the ordinal of the first, if they were asked for and the recovery ran.
    pub(crate) recording: Option<(Recording, u64)>,
    /// The oracle's counts of the state; zeros if the database did not open or the state is not the expected one.
    pub(crate) counts: Counts,
    /// True if no case before had this image.
    pub(crate) is_new: bool,
}

/// Runs cases of one recorded run.
#[derive(Clone, Copy)]
pub(crate) struct Runner<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) run: &'a Recorded,
    pub(crate) memory: &'a SweepMemory,
    pub(crate) heartbeat: &'a Heartbeat,
}

impl Runner<'_> {
    /// Runs a case. `builder` stands at the last crash. An image that was recovered before is only judged. `records` asks
    /// for the disk operations of the recovery.
    pub(crate) fn run(&self, builder: &ImageBuilder, case: &Case, records: bool) -> CaseOutcome {
        let counters = &self.memory.counters;
        Counters::add(&counters.images);
        let image = builder.image_hash(&image_of(case.mode()));
        let known = &self.run.known[case.known];
        // A recovery depends on the image and on the session that recovers.
        let key = image ^ u128::from(known.recovery.key).rotate_left(64);
        let mut judged = CaseOutcome {
            image: key,
            failures: Vec::new(),
            state: None,
            recording: None,
            counts: Counts::default(),
            is_new: false,
        };
        if let Some(recovery) = self.memory.recovery_of(key) {
            self.judge(&recovery, case, &mut judged);
            return judged;
        }
        self.heartbeat.begin(&case.crashes);
        // A crash inside the recovery needs the undurable writes of the disk; otherwise the image is enough.
        let disk = if records {
            disk_of(builder, case.mode())
        } else {
            builder.disk_with_image(&image_of(case.mode()))
        };
        let start = disk.operations_len();
        let recovery: Recovery = match recover(self.setup, &disk, &recovery_session(known, image)) {
            Ok(state) => Ok(self.memory.intern(state)),
            Err(failure) => Err(Arc::new(failure)),
        };
        Counters::add(&counters.recoveries);
        if self.memory.keep_recovery(key, &recovery) {
            judged.is_new = true;
            Counters::add(&counters.distinct);
        }
        self.judge(&recovery, case, &mut judged);
        if judged.state.is_some() {
            judged.recording = records.then(|| (disk.recording(), start));
            self.continue_on(&disk, case, image, &mut judged);
        }
        judged
    }

    /// Compares the state with the required one, and asks the oracle.
    fn judge(&self, recovery: &Recovery, case: &Case, judged: &mut CaseOutcome) {
        let interned = match recovery {
            Ok(interned) => interned,
            Err(failure) => return judged.failures.push((**failure).clone()),
        };
        let death = match &case.expected {
            Expected::Legal(death) => *death,
            Expected::Same(same) if same.id != interned.id && !same.state.is_same(&interned.state) => {
                return judged.failures.push(diverged(&same.state, &interned.state));
            }
            // The state was legal before. A power loss allows the prefix that it is.
            Expected::Same(_) => CrashKind::PowerLoss,
        };
        let verdict = self.memory.verdict(self.run.id, case.known, interned, death, || {
            interned
                .state
                .judged_by(&self.run.known[case.known].oracle, death)
        });
        judged.counts = verdict.counts;
        if verdict.is_ok() {
            judged.state = Some((interned.clone(), verdict));
        } else {
            judged.failures.push(failure_of(&verdict));
        }
    }

    /// Continues after the recovery on `disk`, once for each recovered disk.
    fn continue_on(&self, disk: &SimDisk, case: &Case, image: u128, judged: &mut CaseOutcome) {
        let Some((state, verdict)) = &judged.state else {
            return;
        };
        if !self.memory.bounds.continues || !self.memory.continues_first(hash_of(disk)) {
            return;
        }
        Counters::add(&self.memory.counters.continued);
        let known = &self.run.known[case.known];
        let session = recovery_session(known, image);
        let mut home = self.setup.on_disk(disk, session);
        let continued = continue_after_recovery(self.setup, &mut home, &state.state, known, verdict, &[]);
        judged.failures.extend(continued.err());
    }
}

/// The session that recovers from an image. The hash of the image decides whether its clock tells the time of the crash, an
/// earlier or a later one.
pub(crate) fn recovery_session(known: &OracleSnapshot, image: u128) -> Session {
    const CENTURY_MS: i64 = 36_525 * 86_400_000;
    const MOVES_MS: [i64; 5] = [0, 1, CENTURY_MS, -1, -CENTURY_MS];
    let moved_ms = MOVES_MS[(image % MOVES_MS.len() as u128) as usize];
    known.recovery.at(known.now_ms.saturating_add(moved_ms))
}

/// The oracle's name for a crash of this mode.
pub(crate) fn death_of(mode: &CrashMode) -> CrashKind {
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
        "the recovery that was not interrupted came to sequence {}, this one to {}{}",
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
