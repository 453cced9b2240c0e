//! The order of a sweep: record, crash at every moment, let the device die, crash in recoveries, shrink.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::explore::{Explorer, Tally, Ticket, draw_tickets};
use super::limits::now;
use super::one;
use super::record::{Moment, Recorded};
use super::report::{Coverage, Finding, LeftOut, SiteReport, SweepReport};
use super::setup::Setup;
use super::shared::{Counters, Found, Shared};
use super::watch::{Beat, Phase, Progress, Watch};
use super::{CrashSweep, Limits};
use crate::testing::plan::{Crash, Plan, Site};
use crate::testing::sim_disk::{DiskOperationKind, ImageBuilder, ImageChoice, Side};
use crate::testing::verdict::{Failure, FailureKind};
use crate::testing::{CrashPoint, SimDisk, inherit, shrink};
use crate::threads;

/// How often the caller looks whether the workers go on.
const LOOK: Duration = Duration::from_millis(100);
/// For how many findings a smaller case is looked for, and the disk laid out.
const SHRUNK_MAX: usize = 3;

/// A sweep that runs: what its threads share with the caller.
pub(crate) struct Running {
    setup: Setup,
    shared: Shared,
    beats: Vec<Beat>,
    phase: AtomicU8,
}

/// What was explored, before anything is shrunk.
struct Explored {
    run: Recorded,
    moments: Vec<(Moment, Vec<usize>)>,
    tallies: Vec<Option<Tally>>,
    nested: Tally,
    left_out: LeftOut,
    recovery_crossings: BTreeMap<&'static str, u64>,
    recovery_kinds: BTreeMap<DiskOperationKind, u64>,
}

/// Runs a sweep on threads of its own and watches it from this one.
pub(crate) fn run(sweep: &CrashSweep) -> SweepReport {
    let workers = sweep.limits.workers;
    let running = Arc::new(Running::new(sweep.setup.clone(), sweep.limits.clone()));
    let (sender, receiver) = mpsc::channel();
    let (working, shrinks) = (Arc::clone(&running), sweep.shrinks);
    let spawned = threads::spawn("tidaldb-sweep", move || {
        let mut report = working.report(working.explore());
        if shrinks {
            working.shrink(&mut report);
        }
        // Nobody listens any more after a hang.
        sender.send(report).ok();
    });
    let worker = match spawned {
        Ok(worker) => worker,
        Err(error) => panic!("the sweep needs a thread: {error}"),
    };
    let mut watch = Watch::new(sweep.limits.case_time, workers);
    let mut told = now();
    let mut report = loop {
        match receiver.recv_timeout(LOOK) {
            Ok(report) => {
                worker.join().ok();
                break report;
            }
            Err(RecvTimeoutError::Disconnected) => match worker.join() {
                Err(payload) => std::panic::resume_unwind(payload),
                Ok(()) => unreachable!("the worker sends its report before it ends"),
            },
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(crashes) = watch.hanging(&running.beats) {
            running.shared.stop.store(true, Ordering::Relaxed);
            let limit = sweep.limits.case_time;
            let message = format_args!("no end after {limit:?}; its thread is left behind");
            break running.hung(crashes, Failure::new(FailureKind::Hang, message));
        }
        if let Some((interval, tell)) = &sweep.progress
            && now().duration_since(told) >= *interval
        {
            told = now();
            tell(&running.progress());
        }
    };
    report.claims_completeness = sweep.claims_completeness;
    report.elapsed = now().duration_since(running.shared.started);
    report
}

/// The first case of `setup` that goes wrong with `kind`, within `limits`. Runs on the calling thread.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a caller has no further use for them"
)]
pub(crate) fn first_failing(setup: &Setup, limits: Limits, kind: FailureKind) -> Option<Found> {
    let limits = Limits {
        findings_max: 1,
        wanted: Some(kind),
        workers: 1,
        ..limits
    };
    let running = Running::new(setup.clone(), limits);
    drop(running.explore());
    running.shared.found().into_iter().next()
}

impl Running {
    fn new(setup: Setup, limits: Limits) -> Self {
        Self {
            setup,
            beats: (0..limits.workers).map(|_| Beat::default()).collect(),
            shared: Shared::new(limits),
            phase: AtomicU8::new(0),
        }
    }

    fn progress(&self) -> Progress {
        let phase = Phase::ALL[usize::from(self.phase.load(Ordering::Relaxed))];
        Progress::of(&self.shared, phase)
    }

    fn enter(&self, phase: Phase, steps: usize) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.shared.counters.done.store(0, Ordering::Relaxed);
        self.shared.counters.total.store(steps, Ordering::Relaxed);
    }

    fn explore(&self) -> Explored {
        self.enter(Phase::Record, 1);
        self.beats[0].begin(&[]);
        let run = Recorded::of_work(&self.setup, &SimDisk::new());
        for failure in &run.failures {
            self.shared.find(Vec::new(), failure.clone());
        }
        let moments = run.moments();
        let mut left_out = LeftOut::default();
        let (tallies, mut tickets) = self.crash_everywhere(&run, &moments);
        for ((_, sites), tally) in moments.iter().zip(&tallies) {
            match tally {
                Some(tally) => left_out.images = left_out.images.saturating_add(tally.left_out),
                None => left_out.sites += sites.len(),
            }
        }
        left_out.deaths = self.die(&run);
        let depth = self.shared.limits.depth;
        let mut explored = Explored {
            run,
            moments,
            tallies,
            nested: Tally::default(),
            left_out,
            recovery_crossings: BTreeMap::new(),
            recovery_kinds: BTreeMap::new(),
        };
        if depth == 0 {
            explored.left_out.recoveries = tickets.len();
        } else {
            explored.left_out.recoveries = draw_tickets(&mut tickets, &self.shared.limits);
            self.cover_recoveries(&mut explored, &tickets);
            let (nested, undone) = self.crash_recoveries(&explored.run, &tickets);
            explored.left_out.recoveries += undone;
            explored.left_out.nested_images = nested.left_out;
            explored.nested = nested;
        }
        explored
    }

    /// Lets the workers do the steps `0..len`, each taking the next one.
    fn each_step<T: Send>(
        &self,
        len: usize,
        step: impl Fn(&Beat, &mut T, usize) + Sync,
        new: impl Fn() -> T + Sync,
    ) -> Vec<T> {
        let next = AtomicUsize::new(0);
        let work = |beat: &Beat| {
            let mut own = new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= len || self.shared.is_over() {
                    break;
                }
                step(beat, &mut own, index);
                self.shared.counters.done.fetch_add(1, Ordering::Relaxed);
            }
            beat.rest();
            own
        };
        let Some((first, others)) = self.beats.split_first() else {
            unreachable!("a sweep has at least one worker")
        };
        thread::scope(|scope| {
            let others: Vec<_> = others
                .iter()
                .map(|beat| scope.spawn(inherit(|| work(beat))))
                .collect();
            let mut all = vec![work(first)];
            for other in others {
                match other.join() {
                    Ok(own) => all.push(own),
                    Err(payload) => std::panic::resume_unwind(payload),
                }
            }
            all
        })
    }

    fn crash_everywhere(
        &self,
        run: &Recorded,
        moments: &[(Moment, Vec<usize>)],
    ) -> (Vec<Option<Tally>>, Vec<Ticket>) {
        self.enter(Phase::Crash, moments.len());
        let new = || (run.recording.images(), Vec::new(), Vec::new());
        let done = self.each_step(
            moments.len(),
            |beat, (builder, tallies, tickets), index| {
                let (moment, sites) = &moments[index];
                let explorer = self.explorer(run, beat);
                // A crossing tells people more than the operation of the disk that it stands beside.
                let site = sites.iter().map(|site| run.sites[*site].0);
                let site = site.min_by_key(|site| matches!(site, Site::Disk { .. }));
                if let Some(site) = site {
                    let tally = explorer.moment(builder, *moment, site, tickets);
                    tallies.push((index, tally));
                }
            },
            new,
        );
        let mut all = vec![None; moments.len()];
        let mut all_tickets = Vec::new();
        for (_, tallies, tickets) in done {
            for (index, tally) in tallies {
                all[index] = Some(tally);
            }
            all_tickets.extend(tickets);
        }
        (all, all_tickets)
    }

    /// Lets the device die under the running work. Gives how many deaths are left out.
    fn die(&self, run: &Recorded) -> usize {
        let ordinals = run.recording.len();
        let deaths: Vec<(u64, Side)> = (0..ordinals)
            .flat_map(|ordinal| Side::ALL.map(|side| (ordinal, side)))
            .collect();
        let wanted = self.shared.limits.deaths_max.min(deaths.len());
        self.enter(Phase::Die, wanted);
        let done = self.each_step(
            wanted,
            |beat, done, step| {
                // Spread over the whole run.
                let (ordinal, side) = deaths[step * deaths.len() / wanted];
                let site = Site::Disk { ordinal, side };
                let crash = Crash {
                    site,
                    image: ImageChoice::All,
                };
                beat.begin(std::slice::from_ref(&crash));
                if let Err(failure) = one::die(&self.setup, run, site) {
                    self.shared.find(vec![crash], failure);
                }
                Counters::add(&self.shared.counters.deaths);
                *done += 1;
            },
            || 0,
        );
        deaths.len() - done.into_iter().sum::<usize>()
    }

    fn crash_recoveries(&self, run: &Recorded, tickets: &[Ticket]) -> (Tally, usize) {
        self.enter(Phase::Nested, tickets.len());
        let done = self.each_step(
            tickets.len(),
            |beat, (builder, sum, done): &mut (ImageBuilder, Tally, usize), step| {
                let tally = self.explorer(run, beat).nested(builder, &tickets[step]);
                sum.add(&tally);
                *done += 1;
            },
            || (run.recording.images(), Tally::default(), 0),
        );
        let mut all = Tally::default();
        let mut done_len = 0;
        for (_, tally, done) in done {
            all.add(&tally);
            done_len += done;
        }
        (all, tickets.len() - done_len)
    }

    /// Counts what a few of the recoveries cross and do.
    fn cover_recoveries(&self, explored: &mut Explored, tickets: &[Ticket]) {
        for ticket in tickets.iter().take(RECOVERIES_COUNTED) {
            if self.shared.is_over() {
                break;
            }
            let recorded = self.explorer(&explored.run, &self.beats[0]).recorded(ticket);
            for crossing in &recorded.crossings {
                *explored
                    .recovery_crossings
                    .entry(crossing.point.name())
                    .or_default() += 1;
            }
            for operation in recorded.recording.operations() {
                *explored.recovery_kinds.entry(operation.kind).or_default() += 1;
            }
        }
        self.beats[0].rest();
    }

    fn explorer<'a>(&'a self, run: &'a Recorded, beat: &'a Beat) -> Explorer<'a> {
        Explorer {
            setup: &self.setup,
            run,
            shared: &self.shared,
            beat,
        }
    }

    fn plan(&self, crashes: Vec<Crash>) -> Plan {
        Plan {
            work: self.setup.work.clone(),
            durability: self.setup.durability,
            crashes,
        }
    }
}

/// How many recoveries are recorded with their crossings.
const RECOVERIES_COUNTED: usize = 64;

impl Running {
    #[expect(clippy::needless_pass_by_value, reason = "it is consumed field by field")]
    fn report(&self, explored: Explored) -> SweepReport {
        let Explored {
            run,
            moments,
            tallies,
            left_out,
            ..
        } = &explored;
        let mut sites: Vec<SiteReport> = run
            .sites
            .iter()
            .map(|(site, moment)| SiteReport {
                site: *site,
                what: what(run, *site),
                kind: kind(run, *site),
                moment: 0,
                operation: run.known[moment.known].operation,
                position: moment.position,
                images: 0,
                distinct: 0,
                is_explored: false,
                failures: Vec::new(),
            })
            .collect();
        for (moment, ((_, numbers), tally)) in moments.iter().zip(tallies).enumerate() {
            for number in numbers {
                let site = &mut sites[*number];
                site.moment = moment;
                let Some(tally) = tally else { continue };
                site.images = tally.images;
                site.distinct = tally.distinct;
                site.is_explored = true;
                site.failures.clone_from(&tally.failures);
            }
        }
        let counted =
            |count: &dyn Fn(CrashPoint) -> u64| CrashPoint::ALL.map(|point| (point, count(point))).to_vec();
        let in_work = |point| run.crossings.iter().filter(|it| it.point == point).count() as u64;
        let in_recoveries = |point: CrashPoint| {
            let count = explored.recovery_crossings.get(point.name());
            count.copied().unwrap_or(0)
        };
        let mut disk_operations = explored.recovery_kinds.clone();
        for operation in run.recording.operations() {
            *disk_operations.entry(operation.kind).or_default() += 1;
        }
        let (crossings, recovery_crossings) = (counted(&in_work), counted(&in_recoveries));
        let coverage = Coverage {
            points_missed: CrashPoint::ALL
                .into_iter()
                .filter(|point| in_work(*point) + in_recoveries(*point) == 0)
                .collect(),
            kinds_missed: DiskOperationKind::ALL
                .into_iter()
                // The engine cuts no file: what it shortens it writes anew.
                .filter(|kind| kind.is_durable() && *kind != DiskOperationKind::SetLen)
                .filter(|kind| !disk_operations.contains_key(kind))
                .collect(),
            sites_missed: sites.iter().filter(|site| !site.is_explored).count(),
        };
        let last = run.known.last();
        SweepReport {
            sites,
            operations: run.operations.iter().map(ToString::to_string).collect(),
            acknowledged: last.map_or(0, |known| known.acknowledged),
            crossings,
            recovery_crossings,
            disk_operations,
            left_out: left_out.clone(),
            coverage,
            findings: self.findings(&run.sites),
            ..self.counted()
        }
    }

    /// A report of what was counted so far, and nothing else.
    fn counted(&self) -> SweepReport {
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        SweepReport {
            plan: self.plan(Vec::new()),
            sites: Vec::new(),
            operations: Vec::new(),
            acknowledged: 0,
            crossings: Vec::new(),
            recovery_crossings: Vec::new(),
            disk_operations: BTreeMap::new(),
            images: get(&counters.images),
            distinct: get(&counters.distinct),
            recoveries: get(&counters.recoveries),
            gone_on: get(&counters.gone_on),
            nested: get(&counters.nested_recoveries),
            deaths: get(&counters.deaths),
            left_out: LeftOut::default(),
            coverage: Coverage::default(),
            claims_completeness: false,
            findings: Vec::new(),
            findings_len: get(&counters.findings),
            elapsed: now().duration_since(self.shared.started),
            seed: self.shared.limits.seed,
        }
    }

    fn hung(&self, crashes: Vec<Crash>, failure: Failure) -> SweepReport {
        let mut report = self.counted();
        report.findings = self.findings(&[]);
        report.findings_len += 1;
        report.findings.push(Finding::new(self.plan(crashes), failure));
        report
    }

    /// The findings in the order of the work, then of depth.
    fn findings(&self, sites: &[(Site, Moment)]) -> Vec<Finding> {
        let mut found = self.shared.found();
        found.sort_by_key(|found| {
            let first = found.crashes.first();
            let place = first.map(|crash| sites.iter().position(|(site, _)| *site == crash.site));
            (found.crashes.len(), place)
        });
        found
            .into_iter()
            .map(|found| Finding::new(self.plan(found.crashes), found.failure))
            .collect()
    }

    /// Looks for smaller cases, and lays out the disks of the first findings.
    fn shrink(&self, report: &mut SweepReport) {
        let mut kinds = Vec::new();
        for finding in &mut report.findings {
            if kinds.len() == SHRUNK_MAX {
                break;
            }
            if kinds.contains(&finding.failure.kind) {
                continue;
            }
            kinds.push(finding.failure.kind);
            finding.shrunk = shrink::shrink(&self.setup, &finding.plan, finding.failure.kind);
            let plan = finding.shrunk.as_ref().unwrap_or(&finding.plan);
            finding.image_dir = one::lay_out(&self.setup.for_plan(plan), plan);
        }
    }
}

/// What happens at a site, for people.
fn what(run: &Recorded, site: Site) -> String {
    match site {
        Site::Point { point, .. } => point.name().to_owned(),
        Site::Disk { ordinal, side } => match run.recording.operations().nth(ordinal as usize) {
            Some(operation) => format!("{side} {operation}"),
            None => side.to_string(),
        },
    }
}

/// What the operation of a site does, if it is one of the disk.
fn kind(run: &Recorded, site: Site) -> Option<DiskOperationKind> {
    match site {
        Site::Point { .. } => None,
        Site::Disk { ordinal, .. } => run.recording.operations().nth(ordinal as usize).map(|it| it.kind),
    }
}
