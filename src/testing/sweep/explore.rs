//! The enumeration of cases: builds the images of each crash position of the work and of each crash position of a
//! recovery, and runs a case for each image.

use std::collections::{BTreeSet, HashSet};

use super::bounds::Bounds;
use super::case::{Case, CaseOutcome, Runner, crash_kind_of, disk_of, image_of, recovery_session, site_at};
use super::finding::{Failure, FailureKind};
use super::next_session::NextSession;
use super::record::{CrashPosition, RunRecord, seek};
use super::recover::recover;
use super::shared::{Counters, InternedState};
use crate::testing::oracle::{Counts, CrashKind};
use crate::testing::plan::{Crash, CrashMode, Site};
use crate::testing::sim_disk::{DiskOperationKind, ImageBuilder, ImageChoice, Recording};
use crate::testing::workload::Random;

/// The run statistics: the counts of the cases that ran at one crash position, in one nested case, or after one fault.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunStatistics {
    /// The number of cases. Each has one image.
    pub(crate) images: u64,
    /// The number of images that no earlier case had.
    pub(crate) distinct: u64,
    /// The number of images that a bound excluded.
    pub(crate) left_out: u128,
    /// The oracle's counts, summed over the cases.
    pub(crate) counts: Counts,
    /// The kinds of failures.
    pub(crate) failures: Vec<FailureKind>,
}

impl RunStatistics {
    pub(crate) fn add(&mut self, other: &Self) {
        self.images += other.images;
        self.distinct += other.distinct;
        self.left_out = self.left_out.saturating_add(other.left_out);
        self.counts += other.counts;
        self.failures.extend(&other.failures);
    }
}

/// A crash whose recovery the sweep interrupts by further crashes. Each has another disk.
#[derive(Debug, Clone)]
pub(crate) struct NestedCase {
    pub(super) position: CrashPosition,
    pub(super) crash: Crash,
    /// A hash of the disk after the crash and of the session that recovers.
    pub(super) disk: u128,
}

impl NestedCase {
    /// Sorts the cases in the order of the run, and removes all cases except the first of each disk.
    pub(super) fn distinct(mut all: Vec<Self>) -> Vec<Self> {
        let mut disks = HashSet::new();
        all.sort_by_key(|nested| (nested.position.operations_len, nested.position.snapshot_index));
        all.retain(|nested| disks.insert(nested.disk));
        all
    }

    /// Moves `builder` to the crash. Returns the case.
    pub(super) fn seek(&self, run: &RunRecord, builder: &mut ImageBuilder) -> Case {
        seek(builder, self.position.operations_len);
        Case::in_run(run, self.crash.clone(), self.position.snapshot_index)
    }
}

/// A recovery in which the sweep crashes.
struct InterruptedRecovery<'a> {
    recording: &'a Recording,
    /// The ordinal of the first disk operation of the recovery.
    start: u64,
    /// The number of disk operations when `open` returned.
    end: u64,
    /// The state that the recovery gives without an interruption.
    state: &'a InternedState,
    case: &'a Case,
    /// The number of recoveries in which further crashes are possible, this one included.
    depth_left: u32,
}

/// The largest number of images of a crash position in a session after a crash, for each disk model.
const SESSION_IMAGES_MAX: usize = 4;

/// The largest number of nested cases of such a session, if the sweep crashes in two nested recoveries.
const SESSION_NESTED_MAX: usize = 2;

/// Runs the cases of one worker of a sweep.
pub(crate) struct Explorer<'a>(pub(crate) Runner<'a>);

impl Explorer<'_> {
    /// Runs a case for each image of one crash position. Adds a nested case for each image to `nested`.
    pub(crate) fn crash_at(
        &self,
        builder: &mut ImageBuilder,
        position: CrashPosition,
        site: Site,
        images_max: usize,
        nested: &mut Vec<NestedCase>,
    ) -> RunStatistics {
        let mut statistics = RunStatistics::default();
        seek(builder, position.operations_len);
        let bounds = &self.0.shared.bounds;
        for mode in modes(builder, bounds, images_max, &mut statistics.left_out) {
            if self.0.shared.is_stopped() {
                statistics.left_out += 1;
                continue;
            }
            let crash_kind = crash_kind_of(&mode);
            let crash = Crash { site, mode };
            let case = Case::in_run(self.0.run, crash.clone(), position.snapshot_index);
            let outcome = self.run(builder, &case, false, &mut statistics);
            // After a process crash the disk may hold undurable writes. A crash in the recovery can lose them, which is
            // not possible after a power loss with the same image. So the nested case needs another key.
            let has_undurable = crash_kind == CrashKind::ProcessCrash && !builder.undurable().is_empty();
            let disk = if has_undurable {
                !outcome.image
            } else {
                outcome.image
            };
            nested.push(NestedCase {
                position,
                crash,
                disk,
            });
        }
        statistics
    }

    /// Crashes in the recovery from the image of `nested` and, if `continues` is true, in the calls after the recovery.
    pub(crate) fn crash_nested(
        &self,
        builder: &mut ImageBuilder,
        nested: &NestedCase,
        depth_left: u32,
        continues: bool,
    ) -> RunStatistics {
        let mut statistics = RunStatistics::default();
        let case = nested.seek(self.0.run, builder);
        let disk = disk_of(builder, case.mode());
        self.0.heartbeat.begin(&case.crashes);
        let start = disk.operations_len();
        let snapshot = &self.0.run.snapshots[case.snapshot_index];
        // If this recovery fails, the case of the image has already reported the failure.
        let Ok(next) = NextSession::record(self.0.setup, &disk, builder, snapshot, &case.crashes) else {
            return statistics;
        };
        for failure in &next.run.failures {
            self.add_failure(&case.crashes, failure.clone(), &mut statistics);
        }
        let interrupted = InterruptedRecovery {
            recording: &next.run.recording,
            start,
            end: next.opened_at,
            state: &self.0.shared.intern(next.state.clone()),
            case: &case,
            depth_left,
        };
        self.crash_in_recovery(&interrupted, &mut statistics);
        if continues {
            self.crash_after_open(&next, depth_left, &mut statistics);
        }
        statistics
    }

    /// Crashes in the calls after the recovery.
    fn crash_after_open(&self, next: &NextSession, depth_left: u32, statistics: &mut RunStatistics) {
        let explorer = Explorer(Runner {
            run: &next.run,
            ..self.0
        });
        let mut builder = next.run.recording.images();
        let mut nested = Vec::new();
        for (position, site) in next.crash_positions() {
            if self.0.shared.is_stopped() {
                statistics.left_out += 1;
                continue;
            }
            statistics.add(&explorer.crash_at(&mut builder, position, site, SESSION_IMAGES_MAX, &mut nested));
        }
        if depth_left > 1 {
            nested = NestedCase::distinct(nested);
            Random::new(self.0.shared.bounds.seed).shuffle(&mut nested);
            for nested in nested.iter().take(SESSION_NESTED_MAX) {
                statistics.add(&explorer.crash_nested(&mut builder, nested, depth_left - 1, true));
            }
        }
    }

    /// Records the recovery from the image of `nested`, with its crossings.
    pub(crate) fn record_recovery(&self, nested: &NestedCase) -> RunRecord {
        let mut builder = self.0.run.recording.images();
        seek(&mut builder, nested.position.operations_len);
        let image = builder.image_hash(&image_of(&nested.crash.mode));
        let snapshot = &self.0.run.snapshots[nested.position.snapshot_index];
        let session = recovery_session(snapshot, image);
        let disk = builder.disk_with_image(&image_of(&nested.crash.mode));
        self.0.heartbeat.begin(std::slice::from_ref(&nested.crash));
        RunRecord::of(&disk, snapshot.clone(), |_| {
            recover(self.0.setup, &disk, &session)
        })
        .0
    }

    /// Runs a case, and adds its outcome to `statistics`.
    pub(super) fn run(
        &self,
        builder: &ImageBuilder,
        case: &Case,
        records: bool,
        statistics: &mut RunStatistics,
    ) -> CaseOutcome {
        let mut outcome = self.0.run(builder, case, records);
        statistics.images += 1;
        statistics.distinct += u64::from(outcome.is_new);
        statistics.counts += outcome.counts;
        for failure in outcome.failures.drain(..) {
            self.add_failure(&case.crashes, failure, statistics);
        }
        outcome
    }

    /// Stores a failing case, unless `statistics` has a failure of this kind.
    pub(super) fn add_failure(&self, crashes: &[Crash], failure: Failure, statistics: &mut RunStatistics) {
        if !statistics.failures.contains(&failure.kind) {
            statistics.failures.push(failure.kind);
            self.0.shared.store_failed_case(crashes.to_vec(), failure);
        }
    }

    /// Crashes at every disk operation of a recovery.
    fn crash_in_recovery(&self, interrupted: &InterruptedRecovery<'_>, statistics: &mut RunStatistics) {
        let InterruptedRecovery {
            recording,
            start,
            end,
            ..
        } = *interrupted;
        let bounds = &self.0.shared.bounds;
        let mut builder = recording.images();
        // The ordinal of the last operation before the builder, if every image of the previous position had a case.
        // Then every image without this operation had a case there.
        let mut last_operation = None;
        for (position, operation) in (start..=end).zip([None].into_iter().chain(kinds(recording, start))) {
            seek(&mut builder, position);
            // The required result changes when the recovery returns, so every image has a case again.
            if interrupted.case.has_undurable_writes() && position == end {
                last_operation = None;
            }
            let is_sync = operation.is_some_and(DiskOperationKind::is_sync);
            let mut left_out = 0;
            let modes = modes(&builder, bounds, bounds.nested_images_max, &mut left_out);
            statistics.left_out = statistics.left_out.saturating_add(left_out);
            for mode in modes {
                if last_operation.is_some_and(|ordinal| is_sync || !image_of(&mode).can_contain(ordinal)) {
                    continue;
                }
                if self.0.shared.is_stopped() {
                    statistics.left_out += 1;
                    continue;
                }
                self.crash_in_recovery_at(&builder, mode, interrupted, statistics);
            }
            last_operation = (left_out == 0).then_some(position);
        }
    }

    /// Crashes in a recovery at the builder's position, and then in the recovery from that crash.
    fn crash_in_recovery_at(
        &self,
        builder: &ImageBuilder,
        mode: CrashMode,
        interrupted: &InterruptedRecovery<'_>,
        statistics: &mut RunStatistics,
    ) {
        let position = builder.position();
        let site = site_at(position, interrupted.start);
        let has_returned = position == interrupted.end;
        let case = interrupted
            .case
            .in_recovery(Crash { site, mode }, has_returned, interrupted.state);
        let depth_left = interrupted.depth_left - 1;
        let outcome = self.run(builder, &case, depth_left > 0, statistics);
        if let (Some((state, _)), Some((recording, start))) = (&outcome.state, &outcome.recording) {
            let deeper = InterruptedRecovery {
                recording,
                start: *start,
                end: recording.len(),
                state,
                case: &case,
                depth_left,
            };
            self.crash_in_recovery(&deeper, statistics);
        }
        Counters::increment(&self.0.shared.counters.nested_recoveries);
    }
}

/// The kinds of the disk operations from the ordinal `start` on.
fn kinds(recording: &Recording, start: u64) -> impl Iterator<Item = Option<DiskOperationKind>> + '_ {
    let operations = recording.operations().skip(start as usize);
    operations.map(|operation| Some(operation.kind))
}

/// The crash modes at the builder's position for all models, without duplicates. Adds the number of excluded images to
/// `left_out`.
pub(super) fn modes(
    builder: &ImageBuilder,
    bounds: &Bounds,
    images_max: usize,
    left_out: &mut u128,
) -> Vec<CrashMode> {
    let mut all: Vec<ImageChoice> = Vec::new();
    for &model in &bounds.models {
        let chosen = builder.choices(model, images_max, bounds.seed);
        *left_out = left_out.saturating_add(chosen.left_out);
        all.extend(chosen);
    }
    // Every model has the image without undurable writes and the image with all writes.
    let mut distinct = BTreeSet::new();
    all.retain(|choice| distinct.insert(choice.clone()));
    let mode = |choice| match choice {
        // A kill of the process loses no write.
        ImageChoice::All => CrashMode::Kill,
        choice => CrashMode::PowerLoss(choice),
    };
    all.into_iter().map(mode).collect()
}

/// Keeps at most `nested_max` of the cases, which the seed selects. Returns the number of excluded cases.
pub(crate) fn select_nested_cases(nested: &mut Vec<NestedCase>, bounds: &Bounds) -> usize {
    Random::new(bounds.seed).shuffle(nested);
    let left_out = nested.len().saturating_sub(bounds.nested_max);
    nested.truncate(bounds.nested_max);
    left_out
}
