//! The run of a sweep: its thread, the watch over it, the smaller cases, and the report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::CrashSweep;
use super::bounds::now;
use super::finding::{Failure, FailureKind, Finding};
use super::heartbeat::Watch;
use super::phases::{Explored, Running};
use super::record::{CrashPosition, Recorded};
use super::replay::{lay_out, models_of};
use super::report::{Coverage, LeftOut, SiteReport, SweepReport};
use super::setup::Setup;
use super::shrink::shrink;
use crate::testing::CrashPoint;
use crate::testing::oracle::Counts;
use crate::testing::plan::{Crash, Site};
use crate::testing::sim_disk::DiskOperationKind;
use crate::threads;

/// The time between two looks at the heartbeats.
const LOOK: Duration = Duration::from_millis(100);
/// The longest time that the search for smaller cases takes.
const SHRINKING_TIME: Duration = Duration::from_secs(90);
/// The number of findings that are shrunk and whose disk is laid out.
const SHRUNK_MAX: usize = 3;

/// Runs a sweep on its own threads, and watches them from the calling thread.
pub(crate) fn run(sweep: &CrashSweep) -> SweepReport {
    let workers = sweep.bounds.workers;
    let running = Arc::new(Running::new(sweep.setup.clone(), sweep.bounds.clone()));
    let (sender, receiver) = mpsc::channel();
    let (working, shrinks) = (Arc::clone(&running), sweep.shrinks);
    let spawned = threads::spawn("tidaldb-sweep", move || {
        let mut report = working.report(&working.explore());
        // After a hang nothing receives it.
        sender.send(report.clone()).ok();
        if shrinks && !report.findings.is_empty() {
            shrink_findings(&working.setup, &mut report);
            sender.send(report).ok();
        }
    });
    let worker = match spawned {
        Ok(worker) => worker,
        Err(error) => panic!("the sweep needs a thread: {error}"),
    };
    let mut watch = Watch::new(sweep.bounds.case_time, workers);
    let mut told = now();
    let mut report = loop {
        match receiver.recv_timeout(LOOK) {
            Ok(report) if sweep.shrinks && !report.findings.is_empty() => {
                // Nothing watches the search for smaller cases. If one hangs, there is none.
                break receiver.recv_timeout(SHRINKING_TIME).unwrap_or(report);
            }
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
        if let Some(crashes) = watch.hanging(&running.heartbeats) {
            running.memory.stop.store(true, Ordering::Relaxed);
            let limit = sweep.bounds.case_time;
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
    report.elapsed = now().duration_since(running.memory.started);
    report
}

impl Running {
    pub(super) fn report(&self, explored: &Explored) -> SweepReport {
        let Explored {
            run,
            moments,
            tallies,
            left_out,
            ..
        } = explored;
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
                .iter()
                .copied()
                .filter(|kind| kind.changes_disk() && *kind != DiskOperationKind::PowerLoss)
                .filter(|kind| !disk_operations.contains_key(kind))
                .collect(),
            sites_missed: sites.iter().filter(|site| !site.is_explored).count(),
        };
        let last = run.known.last();
        let mut counts = Counts::default();
        for tally in tallies.iter().flatten() {
            counts += tally.counts;
        }
        SweepReport {
            sites,
            operations: run.operations.iter().map(ToString::to_string).collect(),
            acknowledged: last.map_or(0, |known| known.acknowledged),
            crossings,
            recovery_crossings,
            disk_operations,
            counts,
            left_out: left_out.clone(),
            coverage,
            findings: self.findings_of(&run.sites),
            ..self.counted()
        }
    }

    /// A report of what was counted so far, and nothing else.
    fn counted(&self) -> SweepReport {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.memory.counters;
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
            gone_on: get(&counters.continued),
            nested: get(&counters.nested_recoveries),
            faults: get(&counters.faults),
            counts: Counts::default(),
            left_out: LeftOut::default(),
            coverage: Coverage::default(),
            claims_completeness: false,
            findings: Vec::new(),
            findings_len: get(&counters.findings),
            elapsed: now().duration_since(self.memory.started),
            workers: self.memory.bounds.workers,
            seed: self.memory.bounds.seed,
        }
    }

    pub(super) fn hung(&self, crashes: Vec<Crash>, failure: Failure) -> SweepReport {
        let mut report = self.counted();
        report.findings = self.findings(&[]);
        report.findings_len += 1;
        report.findings.push(self.finding(crashes, failure));
        report
    }

    fn findings_of(&self, sites: &[(Site, CrashPosition)]) -> Vec<Finding> {
        let mut findings = self.findings(sites);
        for finding in &mut findings {
            finding.models = models_of(&self.setup, &finding.plan);
        }
        findings
    }

    /// The findings by depth, and within a depth in the order of the work.
    fn findings(&self, sites: &[(Site, CrashPosition)]) -> Vec<Finding> {
        let mut found = self.memory.failed_cases();
        found.sort_by_key(|found| {
            let first = found.crashes.first();
            let place = first.map(|crash| {
                // Runs with a fault come last, in the order of their operations.
                let place = sites.iter().position(|(site, _)| *site == crash.site);
                (place.is_none(), place, fault_ordinal(crash.site))
            });
            (found.crashes.len(), place)
        });
        found
            .into_iter()
            .map(|found| self.finding(found.crashes, found.failure))
            .collect()
    }

    fn finding(&self, crashes: Vec<Crash>, failure: Failure) -> Finding {
        self.setup.finding(self.plan(crashes), failure)
    }
}

/// Looks for smaller cases, and lays out the disks of the first findings.
fn shrink_findings(setup: &Setup, report: &mut SweepReport) {
    let mut kinds = Vec::new();
    for finding in &mut report.findings {
        if kinds.len() == SHRUNK_MAX {
            break;
        }
        if kinds.contains(&finding.failure.kind) {
            continue;
        }
        kinds.push(finding.failure.kind);
        finding.shrunk = shrink(setup, &finding.plan, finding.failure.kind);
        let plan = finding.shrunk.as_ref().unwrap_or(&finding.plan);
        finding.image_dir = lay_out(&setup.for_plan(plan), plan);
        finding.models = models_of(setup, plan);
    }
}

fn fault_ordinal(site: Site) -> Option<u64> {
    match site {
        Site::Fault { ordinal, .. } => Some(ordinal),
        Site::Point { .. } | Site::Disk { .. } | Site::End => None,
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
        Site::Fault { .. } | Site::End => "the end".to_owned(),
    }
}

/// What the operation of a site does, if it is one of the disk.
fn kind(run: &Recorded, site: Site) -> Option<DiskOperationKind> {
    match site {
        Site::Point { .. } | Site::Fault { .. } | Site::End => None,
        Site::Disk { ordinal, .. } => run.recording.operations().nth(ordinal as usize).map(|it| it.kind),
    }
}
