//! The enumeration: builds the images of a moment of the work, and of each moment of a recovery, and runs a case for each.

use std::collections::{BTreeSet, HashSet};

use super::bounds::Bounds;
use super::case::{Case, CaseOutcome, Runner, death_of, disk_of, image_of, recovery_session, site_at};
use super::finding::{Failure, FailureKind};
use super::memory::{Counters, Interned};
use super::next_session::NextSession;
use super::record::{CrashPosition, Recorded, seek};
use super::recover::recover;
use crate::testing::oracle::{Counts, CrashKind};
use crate::testing::plan::{Crash, CrashMode, Site};
use crate::testing::sim_disk::{DiskOperationKind, ImageBuilder, ImageChoice, Recording};
use crate::testing::workload::Random;

/// The counts of one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) images: u64,
    /// Images that no case before had.
    pub(crate) distinct: u64,
    pub(crate) left_out: u128,
    /// The oracle's counts, summed.
    pub(crate) counts: Counts,
    pub(crate) failures: Vec<FailureKind>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.images += other.images;
        self.distinct += other.distinct;
        self.left_out = self.left_out.saturating_add(other.left_out);
        self.counts += other.counts;
        self.failures.extend(&other.failures);
    }
}

/// A distinct image of the work. The sweep crashes in its recovery.
#[derive(Debug, Clone)]
pub(crate) struct NestedCase {
    pub(super) moment: CrashPosition,
    pub(super) crash: Crash,
    /// Equal for equal disks that equal sessions recover.
    pub(super) disk: u128,
}

impl NestedCase {
    /// In the order of the run, the first one of each disk.
    pub(super) fn distinct(mut all: Vec<Self>) -> Vec<Self> {
        let mut known = HashSet::new();
        all.sort_by_key(|nested| (nested.moment.position, nested.moment.known));
        all.retain(|nested| known.insert(nested.disk));
        all
    }

    /// Moves `builder` to the crash. Returns the case.
    pub(super) fn seek(&self, run: &Recorded, builder: &mut ImageBuilder) -> Case {
        seek(builder, self.moment.position);
        Case::in_run(run, self.crash.clone(), self.moment.known)
    }
}

/// A recovery in which the sweep crashes.
struct Interrupted<'a> {
    recording: &'a Recording,
    /// The ordinal of its first disk operation, and the number of operations when open returned.
    start: u64,
    end: u64,
    state: &'a Interned,
    case: &'a Case,
    depth_left: u32,
}

/// The largest number of images of a moment of a session after a crash, for each disk model.
const SESSION_IMAGES_MAX: usize = 4;

/// The number of images of such a session in whose recovery the sweep crashes, if it crashes in recoveries of recoveries.
const SESSION_NESTED_MAX: usize = 2;

/// One worker's view of a sweep.
pub(crate) struct Explorer<'a>(pub(crate) Runner<'a>);

impl Explorer<'_> {
    /// Runs a case for each image of one moment of the work. Adds each to `nested`.
    pub(crate) fn moment(
        &self,
        builder: &mut ImageBuilder,
        moment: CrashPosition,
        site: Site,
        images_max: usize,
        nested: &mut Vec<NestedCase>,
    ) -> Tally {
        let mut tally = Tally::default();
        seek(builder, moment.position);
        let bounds = &self.0.memory.bounds;
        for mode in modes(builder, bounds, images_max, &mut tally.left_out) {
            if self.0.memory.is_over() {
                tally.left_out += 1;
                continue;
            }
            let death = death_of(&mode);
            let crash = Crash { site, mode };
            let case = Case::in_run(self.0.run, crash.clone(), moment.known);
            let judged = self.run(builder, &case, false, &mut tally);
            // After a process crash the disk may hold undurable writes. Then its recovery can be crashed in another way than
            // that of a power loss with the same image, so it needs another key.
            let has_undurable = death == CrashKind::ProcessCrash && !builder.undurable().is_empty();
            let disk = if has_undurable {
                !judged.image
            } else {
                judged.image
            };
            nested.push(NestedCase { moment, crash, disk });
        }
        tally
    }

    /// Crashes in the recovery from the image of `nested`, and, if `continues`, in the calls after it.
    pub(crate) fn nested(
        &self,
        builder: &mut ImageBuilder,
        nested: &NestedCase,
        depth_left: u32,
        continues: bool,
    ) -> Tally {
        let mut tally = Tally::default();
        let case = nested.seek(self.0.run, builder);
        let disk = disk_of(builder, case.mode());
        self.0.heartbeat.begin(&case.crashes);
        let start = disk.operations_len();
        let known = &self.0.run.known[case.known];
        // The case of this image has reported a recovery that fails.
        let Ok(next) = NextSession::record(self.0.setup, &disk, builder, known, &case.crashes) else {
            return tally;
        };
        for failure in &next.run.failures {
            self.keep(&case.crashes, failure.clone(), &mut tally);
        }
        let interrupted = Interrupted {
            recording: &next.run.recording,
            start,
            end: next.opened_at,
            state: &self.0.memory.intern(next.state.clone()),
            case: &case,
            depth_left,
        };
        self.inside(&interrupted, &mut tally);
        if continues {
            self.after_open(&next, depth_left, &mut tally);
        }
        tally
    }

    /// Crashes in the calls after the recovery.
    fn after_open(&self, next: &NextSession, depth_left: u32, tally: &mut Tally) {
        let explorer = Explorer(Runner {
            run: &next.run,
            ..self.0
        });
        let mut builder = next.run.recording.images();
        let mut nested = Vec::new();
        for (moment, site) in next.moments() {
            if self.0.memory.is_over() {
                tally.left_out += 1;
                continue;
            }
            tally.add(&explorer.moment(&mut builder, moment, site, SESSION_IMAGES_MAX, &mut nested));
        }
        if depth_left > 1 {
            nested = NestedCase::distinct(nested);
            Random::new(self.0.memory.bounds.seed).shuffle(&mut nested);
            for nested in nested.iter().take(SESSION_NESTED_MAX) {
                tally.add(&explorer.nested(&mut builder, nested, depth_left - 1, true));
            }
        }
    }

    /// The recovery from the image of `nested`, with its crossings.
    pub(crate) fn recorded(&self, nested: &NestedCase) -> Recorded {
        let mut builder = self.0.run.recording.images();
        seek(&mut builder, nested.moment.position);
        let image = builder.image_hash(&image_of(&nested.crash.mode));
        let known = &self.0.run.known[nested.moment.known];
        let session = recovery_session(known, image);
        let disk = builder.disk_with_image(&image_of(&nested.crash.mode));
        self.0.heartbeat.begin(std::slice::from_ref(&nested.crash));
        Recorded::of(&disk, known.clone(), |_| recover(self.0.setup, &disk, &session)).0
    }

    /// Runs a case and counts its result.
    pub(super) fn run(
        &self,
        builder: &ImageBuilder,
        case: &Case,
        records: bool,
        tally: &mut Tally,
    ) -> CaseOutcome {
        let mut judged = self.0.run(builder, case, records);
        tally.images += 1;
        tally.distinct += u64::from(judged.is_new);
        tally.counts += judged.counts;
        for failure in judged.failures.drain(..) {
            self.keep(&case.crashes, failure, tally);
        }
        judged
    }

    pub(super) fn keep(&self, crashes: &[Crash], failure: Failure, tally: &mut Tally) {
        if !tally.failures.contains(&failure.kind) {
            tally.failures.push(failure.kind);
            self.0.memory.keep_failed(crashes.to_vec(), failure);
        }
    }

    /// Crashes at every operation of a recovery.
    fn inside(&self, interrupted: &Interrupted<'_>, tally: &mut Tally) {
        let Interrupted {
            recording,
            start,
            end,
            ..
        } = *interrupted;
        let bounds = &self.0.memory.bounds;
        let mut builder = recording.images();
        // The newest operation that the images before could not hold. An image without it was tried before; none if nothing
        // was tried before.
        let mut since = None;
        for (position, operation) in (start..=end).zip([None].into_iter().chain(kinds(recording, start))) {
            seek(&mut builder, position);
            // What is expected changes when the recovery returns.
            if interrupted.case.is_unsettled() && position == end {
                since = None;
            }
            let is_sync = operation.is_some_and(DiskOperationKind::is_sync);
            let mut left_out = 0;
            let modes = modes(&builder, bounds, bounds.nested_images_max, &mut left_out);
            tally.left_out = tally.left_out.saturating_add(left_out);
            for mode in modes {
                if since.is_some_and(|ordinal| is_sync || !image_of(&mode).can_contain(ordinal)) {
                    continue;
                }
                if self.0.memory.is_over() {
                    tally.left_out += 1;
                    continue;
                }
                self.inside_at(&builder, mode, interrupted, tally);
            }
            since = (left_out == 0).then_some(position);
        }
    }

    /// Crashes in a recovery at the builder's position, then in the recovery from that crash.
    fn inside_at(
        &self,
        builder: &ImageBuilder,
        mode: CrashMode,
        interrupted: &Interrupted<'_>,
        tally: &mut Tally,
    ) {
        let position = builder.position();
        let site = site_at(position, interrupted.start);
        let returned = position == interrupted.end;
        let case = interrupted
            .case
            .in_recovery(Crash { site, mode }, returned, interrupted.state);
        let depth_left = interrupted.depth_left - 1;
        let judged = self.run(builder, &case, depth_left > 0, tally);
        if let (Some((state, _)), Some((recording, start))) = (&judged.state, &judged.recording) {
            let deeper = Interrupted {
                recording,
                start: *start,
                end: recording.len(),
                state,
                case: &case,
                depth_left,
            };
            self.inside(&deeper, tally);
        }
        Counters::add(&self.0.memory.counters.nested_recoveries);
    }
}

/// The kinds of the operations from `start` on.
fn kinds(recording: &Recording, start: u64) -> impl Iterator<Item = Option<DiskOperationKind>> + '_ {
    let operations = recording.operations().skip(start as usize);
    operations.map(|operation| Some(operation.kind))
}

/// The crash modes at the builder's position for all models, each once. Adds the images that are left out.
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
    // Models begin with nothing and everything.
    let mut known = BTreeSet::new();
    all.retain(|choice| known.insert(choice.clone()));
    let mode = |choice| match choice {
        // A killed process leaves everything that it wrote.
        ImageChoice::All => CrashMode::Kill,
        choice => CrashMode::PowerLoss(choice),
    };
    all.into_iter().map(mode).collect()
}

/// Keeps the cases that the seed draws, at most as many as the limit. Returns how many are left out.
pub(crate) fn draw_nested(nested: &mut Vec<NestedCase>, bounds: &Bounds) -> usize {
    Random::new(bounds.seed).shuffle(nested);
    let left_out = nested.len().saturating_sub(bounds.nested_max);
    nested.truncate(bounds.nested_max);
    left_out
}
