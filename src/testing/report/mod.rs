//! Reports of sweeps, for readers and for programs: a matrix for the terminal, JSON, one HTML page, and a live line.
//!
//! Owns the totals of any number of sweeps. Invariant: every number in a report is a count of a sweep or a sum of such
//! counts. A form that omits items shows the number of omitted items. A report reads and writes no file. Each form is a
//! text, so after a crash of the program a file has the text that the program wrote last.
//!
//! # Examples
//! ```
//! use tidaldb::testing::report::Report;
//! use tidaldb::testing::CrashSweep;
//!
//! let mut report = Report::new("my workload");
//! report.add(CrashSweep::standard(7, 4).depth(0).run());
//! println!("{}", report.terminal());
//! let (page, json) = (report.html(), report.json());
//! # assert!(report.is_ok() && page.starts_with("<!doctype html>") && json.starts_with('{'));
//! ```

mod findings;
mod html;
mod json;
mod live;
mod map;
mod matrix;
mod page;
pub(crate) mod table;
mod terminal;
pub(crate) mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use super::plan::Site;
use super::sweep::{Finding, LeftOut, Progress, SiteReport, SweepReport};
use matrix::{Matrix, SiteOutcome};

pub use live::{LiveLine, LiveStatus};

/// The number of sweeps whose crash map is stored. Sweeps with findings take precedence.
const MAPS_MAX: usize = 8;
/// The number of findings that the page and the terminal show in full.
const FINDINGS_SHOWN_MAX: usize = 50;

/// One sweep of a report. If the report has no room for its map, its sites and operations are dropped.
#[derive(Debug, Clone)]
struct ReportedSweep {
    report: SweepReport,
    sites_len: usize,
    /// The outcome of each site of the map.
    outcomes: Vec<SiteOutcome>,
}

impl ReportedSweep {
    fn new(report: SweepReport) -> Self {
        let firsts = report.findings.iter().filter_map(first_site);
        let failing: BTreeSet<String> = firsts.map(|site| site.to_string()).collect();
        let outcome = |site: &SiteReport| SiteOutcome::of(site, failing.contains(&site.site.to_string()));
        let outcomes = report.sites.iter().map(outcome).collect();
        Self {
            sites_len: report.sites.len(),
            outcomes,
            report,
        }
    }

    fn has_map(&self) -> bool {
        !self.outcomes.is_empty()
    }

    fn drop_map(&mut self) {
        self.report.sites = Vec::new();
        self.report.operations = Vec::new();
        self.outcomes = Vec::new();
    }
}

/// The site at which the work crashed in a failing case. `None` for a case without a crash.
fn first_site(finding: &Finding) -> Option<Site> {
    finding.plan.crashes.first().map(|crash| crash.site)
}

/// The sums over every sweep.
#[derive(Debug, Clone, Default)]
struct ReportTotals {
    sites: u64,
    acknowledged: u64,
    images: u64,
    distinct: u64,
    recoveries: u64,
    /// Recovered databases that continued after recovery.
    continued: u64,
    nested: u64,
    faults: u64,
    findings: u64,
    left_out: LeftOut,
    elapsed: Duration,
    /// The sum of the times of all threads that recovered.
    threads_elapsed: Duration,
}

impl ReportTotals {
    fn add(&mut self, sweep: &SweepReport) {
        self.sites += sweep.sites.len() as u64;
        self.acknowledged += sweep.acknowledged as u64;
        self.images += sweep.images;
        self.distinct += sweep.distinct;
        self.recoveries += sweep.recoveries;
        self.continued += sweep.continued;
        self.nested += sweep.nested;
        self.faults += sweep.faults;
        self.findings += sweep.findings_len;
        self.elapsed += sweep.elapsed;
        self.threads_elapsed += sweep.elapsed * sweep.workers as u32;
        self.left_out += &sweep.left_out;
    }

    /// The number of recoveries per second.
    fn per_second(&self) -> f64 {
        self.recoveries as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The number of distinct images that each thread recovers per second.
    fn distinct_per_second_and_thread(&self) -> f64 {
        self.distinct as f64 / self.threads_elapsed.as_secs_f64().max(1e-9)
    }
}

/// A report of any number of sweeps. See the [module](self).
#[derive(Debug, Clone)]
pub struct Report {
    title: String,
    sweeps: Vec<ReportedSweep>,
    matrix: Matrix,
    totals: ReportTotals,
    running: Option<Progress>,
}

impl Report {
    /// An empty report. `title` is the title of its page.
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            sweeps: Vec::new(),
            matrix: Matrix::default(),
            totals: ReportTotals::default(),
            running: None,
        }
    }

    /// Adds a sweep that has ended.
    pub fn add(&mut self, sweep: SweepReport) {
        self.totals.add(&sweep);
        let mut reported = ReportedSweep::new(sweep);
        self.matrix.add(&reported.report, &reported.outcomes);
        self.running = None;
        if self.maps().count() >= MAPS_MAX {
            let has_findings = !reported.report.findings.is_empty();
            let is_clean = |it: &&mut ReportedSweep| it.has_map() && it.report.findings.is_empty();
            match self.sweeps.iter_mut().rev().find(is_clean) {
                Some(clean) if has_findings => clean.drop_map(),
                _ => reported.drop_map(),
            }
        }
        self.sweeps.push(reported);
    }

    /// Sets the progress of a running sweep. [`add`](Self::add) removes it.
    pub fn running(&mut self, progress: Progress) {
        self.running = Some(progress);
    }

    /// Returns true if a sweep tested something and no sweep has a finding.
    pub fn is_ok(&self) -> bool {
        self.reason_not_clean().is_none()
    }

    fn maps(&self) -> impl Iterator<Item = (usize, &ReportedSweep)> {
        self.sweeps.iter().enumerate().filter(|(_, it)| it.has_map())
    }

    /// Each finding with the number of its sweep.
    fn findings(&self) -> impl Iterator<Item = (usize, &Finding)> {
        let sweeps = self.sweeps.iter().enumerate();
        sweeps.flat_map(|(index, it)| it.report.findings.iter().map(move |finding| (index, finding)))
    }

    /// The reason why the report is not clean. `None` if it is clean.
    fn reason_not_clean(&self) -> Option<String> {
        if self.totals.findings > 0 {
            return Some(text::counted(self.totals.findings, "finding", "findings"));
        }
        if self.sweeps.is_empty() {
            return Some("no sweep has ended".to_owned());
        }
        self.sweeps.iter().find_map(|it| it.report.reason_not_clean())
    }
}

impl From<SweepReport> for Report {
    fn from(sweep: SweepReport) -> Self {
        let mut report = Self::new(&sweep.plan.work.to_string());
        report.add(sweep);
        report
    }
}
