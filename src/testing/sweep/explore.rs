//! The exploration: builds the images of a moment, recovers each distinct one once, judges it, goes on with it, and
//! crashes in its recovery in the same way.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::limits::Limits;
use super::record::{Moment, Recorded};
use super::recover::{State, failure_of, go_on, hash_of, recover};
use super::setup::Setup;
use super::shared::{Counters, Interned, Outcome, Shared};
use super::watch::Beat;
use crate::testing::SimDisk;
use crate::testing::oracle::{Death, Verdict};
use crate::testing::plan::{Crash, Site};
use crate::testing::sim_disk::{DiskModel, DiskOperationKind, ImageBuilder, ImageChoice, Recording, Side};
use crate::testing::verdict::{Failure, FailureKind};

/// One worker's view of a sweep.
pub(crate) struct Explorer<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) run: &'a Recorded,
    pub(crate) shared: &'a Shared,
    pub(crate) beat: &'a Beat,
}

/// What one moment came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) images: u64,
    /// Images that nobody had seen before.
    pub(crate) distinct: u64,
    pub(crate) left_out: u128,
    pub(crate) failures: Vec<FailureKind>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.images += other.images;
        self.distinct += other.distinct;
        self.left_out = self.left_out.saturating_add(other.left_out);
        self.failures.extend(&other.failures);
    }
}

/// What an image must recover to.
#[derive(Debug, Clone, Copy)]
enum Expected<'a> {
    /// Whatever the oracle says is legal.
    Legal(Death),
    /// What the recovery that was interrupted came to.
    Same(&'a Interned),
}

/// A case: how it came about, and what was known when the work died.
struct Case<'a> {
    crashes: &'a mut Vec<Crash>,
    known: usize,
    /// Whether all deaths until now were of the process: what the work left not durable still may be.
    is_unsettled: bool,
    depth_left: u32,
}

/// A distinct image of the work, whose recovery is to be crashed in.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    moment: Moment,
    crash: Crash,
}

impl Explorer<'_> {
    /// Tries the images of one moment of the work. Gives a ticket for each disk that nobody had seen before.
    pub(crate) fn moment(
        &self,
        builder: &mut ImageBuilder,
        moment: Moment,
        site: Site,
        tickets: &mut Vec<Ticket>,
    ) -> Tally {
        let mut tally = Tally::default();
        seek(builder, moment.position);
        let limits = &self.shared.limits;
        let choices = choices(builder, limits.images_max, limits.seed, &mut tally.left_out);
        for choice in choices {
            if self.shared.is_over() {
                tally.left_out += 1;
                continue;
            }
            let death = death_of(&choice);
            let mut crashes = vec![Crash { site, image: choice }];
            let mut case = Case {
                is_unsettled: death == Death::ProcessCrash,
                crashes: &mut crashes,
                known: moment.known,
                depth_left: 0,
            };
            let image = self.visit(builder, &mut case, Expected::Legal(death), &mut tally);
            // The disk of a process that died holds more than its image as long as something on it is not durable.
            let is_more = death == Death::ProcessCrash && !builder.undurable().is_empty();
            let disk = if is_more { !image } else { image };
            if self.shared.nests_first(disk)
                && let Some(crash) = crashes.pop()
            {
                tickets.push(Ticket { moment, crash });
            }
        }
        tally
    }

    /// Crashes in the recovery from the image of `ticket`.
    pub(crate) fn nested(&self, builder: &mut ImageBuilder, ticket: &Ticket) -> Tally {
        let mut tally = Tally::default();
        seek(builder, ticket.moment.position);
        let mut crashes = vec![ticket.crash.clone()];
        let mut case = Case {
            is_unsettled: death_of(&ticket.crash.image) == Death::ProcessCrash,
            crashes: &mut crashes,
            known: ticket.moment.known,
            depth_left: self.shared.limits.depth,
        };
        let disk = disk_of(builder, &ticket.crash.image);
        self.beat.begin(case.crashes);
        let start = disk.operations_len();
        // What is wrong with the image itself was found before.
        if let Ok(state) = recover(self.setup, &disk) {
            let state = self.shared.intern(state);
            self.inside(&disk.recording(), start, &state, &mut case, &mut tally);
        }
        tally
    }

    /// The recovery from the image of `ticket`, with its crossings.
    pub(crate) fn recorded(&self, ticket: &Ticket) -> Recorded {
        let mut builder = self.run.recording.images();
        seek(&mut builder, ticket.moment.position);
        let disk = SimDisk::holding(builder.image(&ticket.crash.image));
        self.beat.begin(std::slice::from_ref(&ticket.crash));
        let oracle = self.run.known[ticket.moment.known].oracle.clone();
        Recorded::of(&disk, oracle, |_| recover(self.setup, &disk)).0
    }

    /// Builds the image of the last crash of `case`, recovers it unless that was done before, and judges the outcome.
    /// Gives the hash of the image.
    fn visit(
        &self,
        builder: &ImageBuilder,
        case: &mut Case<'_>,
        expected: Expected<'_>,
        tally: &mut Tally,
    ) -> u128 {
        let Some(Crash { image: choice, .. }) = case.crashes.last() else {
            unreachable!("a case is made with a crash")
        };
        let hash = builder.image_hash(choice);
        tally.images += 1;
        let counters = &self.shared.counters;
        Counters::add(&counters.images);
        if let Some(outcome) = self.shared.outcome_of(hash) {
            self.judge(&outcome, case, expected, tally);
            return hash;
        }
        self.beat.begin(case.crashes);
        // The disk of a process that died is needed as it is only where its recovery is crashed in.
        let goes_inside = case.depth_left > 0;
        let disk = if goes_inside {
            disk_of(builder, choice)
        } else {
            SimDisk::holding(builder.image(choice))
        };
        let start = disk.operations_len();
        let outcome: Outcome = match recover(self.setup, &disk) {
            Ok(state) => Ok(self.shared.intern(state)),
            Err(failure) => Err(Arc::new(failure)),
        };
        Counters::add(&counters.recoveries);
        if self.shared.keep_outcome(hash, &outcome) {
            tally.distinct += 1;
            Counters::add(&counters.distinct);
        }
        let verdict = self.judge(&outcome, case, expected, tally);
        if let (Ok(state), Some(verdict)) = (&outcome, verdict) {
            let recording = goes_inside.then(|| disk.recording());
            if self.shared.limits.goes_on && self.shared.goes_on_first(hash_of(&disk)) {
                Counters::add(&counters.gone_on);
                let oracle = self.run.known[case.known].oracle.clone();
                if let Err(failure) = go_on(self.setup, &disk, &state.state, oracle, &verdict) {
                    self.fail(case, failure, tally);
                }
            }
            if let Some(recording) = recording {
                self.inside(&recording, start, state, case, tally);
            }
        }
        hash
    }

    /// Crashes at every operation of a recovery that came to `state`.
    fn inside(
        &self,
        recording: &Recording,
        start: u64,
        state: &Interned,
        case: &mut Case<'_>,
        tally: &mut Tally,
    ) {
        if case.depth_left == 0 {
            return;
        }
        let limits = &self.shared.limits;
        let end = recording.len();
        let mut builder = recording.images();
        // The operation that a new image must hold; none where nothing is known of the instant before.
        let mut since = None;
        for (position, operation) in (start..=end).zip([None].into_iter().chain(kinds(recording, start))) {
            seek(&mut builder, position);
            // What is expected changes when the recovery returns.
            if case.is_unsettled && position == end {
                since = None;
            }
            let is_sync = operation.is_some_and(DiskOperationKind::is_sync);
            let mut left_out = 0;
            let choices = choices(&builder, limits.nested_images_max, limits.seed, &mut left_out);
            tally.left_out = tally.left_out.saturating_add(left_out);
            for choice in choices {
                let is_repeated = since.is_some_and(|ordinal| is_sync || !choice.keeps(ordinal));
                if is_repeated {
                    continue;
                }
                if self.shared.is_over() {
                    tally.left_out += 1;
                    continue;
                }
                self.inside_at(&builder, choice, start, end, state, case, tally);
            }
            since = (left_out == 0).then_some(position);
        }
    }

    /// Crashes in a recovery with this choice, where the builder stands.
    #[expect(
        clippy::too_many_arguments,
        reason = "the loop's body, and the loop's variables"
    )]
    fn inside_at(
        &self,
        builder: &ImageBuilder,
        choice: ImageChoice,
        start: u64,
        end: u64,
        state: &Interned,
        case: &mut Case<'_>,
        tally: &mut Tally,
    ) {
        let position = builder.position();
        let death = death_of(&choice);
        // Until it returns, a recovery promises no more than the work did.
        let expected = if case.is_unsettled && death == Death::PowerLoss && position < end {
            Expected::Legal(Death::PowerLoss)
        } else {
            Expected::Same(state)
        };
        case.crashes.push(Crash {
            site: site_at(position, start),
            image: choice,
        });
        let mut deeper = Case {
            is_unsettled: case.is_unsettled && death == Death::ProcessCrash,
            crashes: &mut *case.crashes,
            known: case.known,
            depth_left: case.depth_left - 1,
        };
        self.visit(builder, &mut deeper, expected, tally);
        Counters::add(&self.shared.counters.nested_recoveries);
        case.crashes.pop();
    }

    /// Says whether the outcome is what it must be; gives the oracle's verdict if it is.
    fn judge(
        &self,
        outcome: &Outcome,
        case: &Case<'_>,
        expected: Expected<'_>,
        tally: &mut Tally,
    ) -> Option<Arc<Verdict>> {
        let interned = match outcome {
            Ok(interned) => interned,
            Err(failure) => {
                self.fail(case, (**failure).clone(), tally);
                return None;
            }
        };
        let death = match expected {
            Expected::Legal(death) => death,
            Expected::Same(same) => {
                if same.id != interned.id {
                    self.fail(case, diverged(&same.state, &interned.state), tally);
                    return None;
                }
                // The state was legal then. For the prefix that it is, the milder death is as good.
                Death::PowerLoss
            }
        };
        let verdict = self.verdict(case.known, interned, death);
        if verdict.is_ok() {
            return Some(verdict);
        }
        self.fail(case, failure_of(&verdict), tally);
        None
    }

    fn verdict(&self, known: usize, interned: &Interned, death: Death) -> Arc<Verdict> {
        if let Some(verdict) = self.shared.judged(known, interned.id, death) {
            return verdict;
        }
        let verdict = Arc::new(interned.state.judged_by(&self.run.known[known].oracle, death));
        self.shared.keep_judged(known, interned.id, death, &verdict);
        verdict
    }

    fn fail(&self, case: &Case<'_>, failure: Failure, tally: &mut Tally) {
        if !tally.failures.contains(&failure.kind) {
            tally.failures.push(failure.kind);
            self.shared.find(case.crashes.clone(), failure);
        }
    }
}

/// What a crash of this choice is. The death of the process loses nothing that was written.
pub(crate) fn death_of(choice: &ImageChoice) -> Death {
    match choice {
        ImageChoice::All => Death::ProcessCrash,
        _ => Death::PowerLoss,
    }
}

/// The disk that a crash with this choice leaves.
pub(crate) fn disk_of(builder: &ImageBuilder, choice: &ImageChoice) -> SimDisk {
    match choice {
        ImageChoice::All => builder.disk(),
        _ => SimDisk::holding(builder.image(choice)),
    }
}

/// The kinds of the operations from `start` on.
fn kinds(recording: &Recording, start: u64) -> impl Iterator<Item = Option<DiskOperationKind>> + '_ {
    let operations = recording.operations().skip(start as usize);
    operations.map(|operation| Some(operation.kind))
}

/// Goes to the instant at which `position` operations are done.
pub(crate) fn seek(builder: &mut ImageBuilder, position: u64) {
    if builder.seek(position, Side::Before).is_err() {
        unreachable!("a moment of a run lies in its recording");
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

/// The choices of both disk models, each once; adds what is left out.
fn choices(builder: &ImageBuilder, choices_max: usize, seed: u64, left_out: &mut u128) -> Vec<ImageChoice> {
    let mut all: Vec<ImageChoice> = Vec::new();
    for model in DiskModel::ALL {
        let chosen = builder.choices(model, choices_max, seed);
        *left_out = left_out.saturating_add(chosen.left_out);
        all.extend(chosen);
    }
    // Nothing and everything come first in both.
    let mut known = BTreeSet::new();
    all.retain(|choice| known.insert(choice.clone()));
    all
}

fn diverged(expected: &State, found: &State) -> Failure {
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

/// Which of the images are crashed in: all of them, or those that the seed draws.
pub(crate) fn draw_tickets(tickets: &mut Vec<Ticket>, limits: &Limits) -> usize {
    let mut random = crate::testing::workload::Random::new(limits.seed);
    random.shuffle(tickets);
    let left_out = tickets.len().saturating_sub(limits.nested_max);
    tickets.truncate(limits.nested_max);
    left_out
}
