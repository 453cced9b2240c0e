//! The run of a sweep: its thread, the check of the heartbeats, the shrinking of findings, and the report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::CrashSweep;
use super::bounds::now;
use super::finding::{Failure, FailureKind, Finding};
use super::heartbeat::HeartbeatMonitor;
use super::phases::{PhaseResults, RunningSweep};
use super::record::{CrashPosition, RunRecord};
use super::replay::{models_of_plan, write_image_files};
use super::report::{Coverage, LeftOut, SiteReport, SweepReport};
use super::setup::Setup;
use super::shrink::shrink;
use crate::testing::CrashPoint;
use crate::testing::oracle::Counts;
use crate::testing::plan::{Crash, Site};
use crate::testing::sim_disk::DiskOperationKind;
use crate::testing::threads;

/// The time between two checks of the heartbeats.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The longest time of the shrinking of all findings.
const SHRINKING_TIME: Duration = Duration::from_secs(90);
/// The largest number of findings that are shrunk and whose images are written as files.
const SHRUNK_MAX: usize = 3;

impl CrashSweep {
    /// Runs the sweep on its own threads. The calling thread checks their heartbeats.
    ///
    /// # Panics
    /// If the operating system cannot start a thread, or if the kit itself has a fault.
    pub fn run(&self) -> SweepReport {
        let workers = self.bounds.workers;
        let running = Arc::new(RunningSweep::new(self.setup.clone(), self.bounds.clone()));
        let (sender, receiver) = mpsc::channel();
        let (working, shrinks) = (Arc::clone(&running), self.shrinks);
        let spawned = threads::spawn("tidaldb-sweep", move || {
            let mut report = working.report(&working.explore());
            // After a hang there is no receiver.
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
        let mut monitor = HeartbeatMonitor::new(self.bounds.case_time, workers);
        let mut last_progress = now();
        let mut report = loop {
            match receiver.recv_timeout(CHECK_INTERVAL) {
                Ok(report) if self.shrinks && !report.findings.is_empty() => {
                    // Shrinking has no heartbeat. If it hangs, the report has no shrunk cases.
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
            if let Some(crashes) = monitor.find_hang(&running.heartbeats) {
                running.shared.stop.store(true, Ordering::Relaxed);
                let case_time = self.bounds.case_time;
                let message =
                    format_args!("the case did not end within {case_time:?}; its thread is left running");
                break running.report_hang(crashes, Failure::new(FailureKind::Hang, message));
            }
            if let Some((interval, show_progress)) = &self.progress
                && now().duration_since(last_progress) >= *interval
            {
                last_progress = now();
                show_progress(&running.progress());
            }
        };
        report.requires_coverage = self.requires_coverage;
        report.elapsed = now().duration_since(running.shared.started);
        report
    }
}

impl RunningSweep {
    pub(super) fn report(&self, results: &PhaseResults) -> SweepReport {
        let PhaseResults {
            run,
            positions,
            all_statistics,
            left_out,
            ..
        } = results;
        let mut sites: Vec<SiteReport> = run
            .sites
            .iter()
            .map(|(site, position)| SiteReport {
                site: *site,
                description: description(run, *site),
                kind: kind(run, *site),
                crash_position: 0,
                operation: run.snapshots[position.snapshot_index].operation,
                disk_operations_len: position.operations_len,
                images: 0,
                distinct: 0,
                is_explored: false,
                failures: Vec::new(),
            })
            .collect();
        for (crash_position, ((_, indexes), statistics)) in positions.iter().zip(all_statistics).enumerate() {
            for index in indexes {
                let site = &mut sites[*index];
                site.crash_position = crash_position;
                let Some(statistics) = statistics else { continue };
                site.images = statistics.images;
                site.distinct = statistics.distinct;
                site.is_explored = true;
                site.failures.clone_from(&statistics.failures);
            }
        }
        let counted =
            |count: &dyn Fn(CrashPoint) -> u64| CrashPoint::ALL.map(|point| (point, count(point))).to_vec();
        let in_work = |point| run.crossings.iter().filter(|it| it.point == point).count() as u64;
        let in_recoveries = |point: CrashPoint| {
            let count = results.recovery_crossings.get(point.name());
            count.copied().unwrap_or(0)
        };
        let mut disk_operations = results.recovery_kinds.clone();
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
        let last = run.snapshots.last();
        let mut counts = Counts::default();
        for statistics in all_statistics.iter().flatten() {
            counts += statistics.counts;
        }
        SweepReport {
            sites,
            operations: run.operations.iter().map(ToString::to_string).collect(),
            acknowledged: last.map_or(0, |snapshot| snapshot.acknowledged),
            crossings,
            recovery_crossings,
            disk_operations,
            counts,
            left_out: left_out.clone(),
            coverage,
            findings: self.findings_with_models(&run.sites),
            ..self.counts_report()
        }
    }

    /// A report with only the counts so far.
    fn counts_report(&self) -> SweepReport {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
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
            continued: get(&counters.continued),
            nested: get(&counters.nested_recoveries),
            faults: get(&counters.faults),
            counts: Counts::default(),
            left_out: LeftOut::default(),
            coverage: Coverage::default(),
            requires_coverage: false,
            findings: Vec::new(),
            findings_len: get(&counters.findings),
            elapsed: now().duration_since(self.shared.started),
            workers: self.shared.bounds.workers,
            seed: self.shared.bounds.seed,
        }
    }

    /// The report of a sweep with a hang: the counts and findings so far, and a finding for the hang.
    pub(super) fn report_hang(&self, crashes: Vec<Crash>, failure: Failure) -> SweepReport {
        let mut report = self.counts_report();
        report.findings = self.findings(&[]);
        report.findings_len += 1;
        report.findings.push(self.finding(crashes, failure));
        report
    }

    fn findings_with_models(&self, sites: &[(Site, CrashPosition)]) -> Vec<Finding> {
        let mut findings = self.findings(sites);
        for finding in &mut findings {
            finding.models = models_of_plan(&self.setup, &finding.plan);
        }
        findings
    }

    /// The findings, sorted by the number of crashes, then in the order of the work.
    fn findings(&self, sites: &[(Site, CrashPosition)]) -> Vec<Finding> {
        let mut found = self.shared.failed_cases();
        found.sort_by_key(|found| {
            let first = found.crashes.first();
            let order = first.map(|crash| {
                // Runs with a fault come last, in the order of their operations.
                let index = sites.iter().position(|(site, _)| *site == crash.site);
                (index.is_none(), index, fault_ordinal(crash.site))
            });
            (found.crashes.len(), order)
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

/// Shrinks the first findings, and writes their images as files.
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
        finding.image_dir = write_image_files(&setup.for_plan(plan), plan);
        if finding.shrunk.is_some() {
            finding.models = models_of_plan(setup, plan);
        }
    }
}

fn fault_ordinal(site: Site) -> Option<u64> {
    match site {
        Site::Fault { ordinal, .. } => Some(ordinal),
        Site::Point { .. } | Site::Disk { .. } | Site::End => None,
    }
}

/// A readable description of a site.
fn description(run: &RunRecord, site: Site) -> String {
    match site {
        Site::Point { point, .. } => point.name().to_owned(),
        Site::Disk { ordinal, side } => match run.recording.operations().nth(ordinal as usize) {
            Some(operation) => format!("{side} {operation}"),
            None => side.to_string(),
        },
        Site::Fault { .. } | Site::End => "the end".to_owned(),
    }
}

/// The kind of the disk operation of a site, if the site is one side of a disk operation.
fn kind(run: &RunRecord, site: Site) -> Option<DiskOperationKind> {
    match site {
        Site::Point { .. } | Site::Fault { .. } | Site::End => None,
        Site::Disk { ordinal, .. } => run.recording.operations().nth(ordinal as usize).map(|it| it.kind),
    }
}
