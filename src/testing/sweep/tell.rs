//! From what was explored to what is reported.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::conduct::{Explored, Running};
use super::limits::now;
use super::one;
use super::record::{Moment, Recorded};
use super::report::{Coverage, Finding, LeftOut, SiteReport, SweepReport};
use crate::testing::plan::{Crash, Site};
use crate::testing::sim_disk::DiskOperationKind;
use crate::testing::verdict::Failure;
use crate::testing::{CrashPoint, shrink};

/// For how many findings a smaller case is looked for, and the disk laid out.
const SHRUNK_MAX: usize = 3;

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
                .into_iter()
                .filter(|kind| kind.is_durable() && !disk_operations.contains_key(kind))
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
            gone_on: get(&counters.gone_on),
            nested: get(&counters.nested_recoveries),
            deaths: get(&counters.deaths),
            left_out: LeftOut::default(),
            coverage: Coverage::default(),
            claims_completeness: false,
            findings: Vec::new(),
            findings_len: get(&counters.findings),
            elapsed: now().duration_since(self.shared.started),
            workers: self.shared.limits.workers,
            seed: self.shared.limits.seed,
        }
    }

    pub(super) fn hung(&self, crashes: Vec<Crash>, failure: Failure) -> SweepReport {
        let mut report = self.counted();
        report.findings = self.findings(&[]);
        report.findings_len += 1;
        report.findings.push(self.finding(crashes, failure));
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
            .map(|found| self.finding(found.crashes, found.failure))
            .collect()
    }

    fn finding(&self, crashes: Vec<Crash>, failure: Failure) -> Finding {
        Finding {
            of_own_sweep: !self.setup.is_standard(),
            ..Finding::new(self.plan(crashes), failure)
        }
    }

    /// Looks for smaller cases, and lays out the disks of the first findings.
    pub(super) fn shrink(&self, report: &mut SweepReport) {
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
        Site::End => "the end".to_owned(),
    }
}

/// What the operation of a site does, if it is one of the disk.
fn kind(run: &Recorded, site: Site) -> Option<DiskOperationKind> {
    match site {
        Site::Point { .. } | Site::End => None,
        Site::Disk { ordinal, .. } => run.recording.operations().nth(ordinal as usize).map(|it| it.kind),
    }
}
