//! Reports of sweeps for people and for programs: a matrix for the terminal, JSON, one HTML page, a live line.
//!
//! Owns the sum of any number of sweeps. Invariant: a number that is shown is one that a sweep counted; what a page or
//! file has no room for is named there with its number. A report reads nothing and writes no file: each form is a text,
//! so a crash of the program that keeps one leaves whatever it wrote last.
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

/// Of how many sweeps the crash map is kept; those with findings come before those without.
const MAPS_MAX: usize = 8;
/// How many findings the page and the terminal show in full.
const FINDINGS_SHOWN_MAX: usize = 50;

/// One sweep of a report. Its sites and operations are dropped if there is no room for its map.
#[derive(Debug, Clone)]
struct Swept {
    report: SweepReport,
    sites_len: usize,
    /// Of each site of the map.
    outcomes: Vec<SiteOutcome>,
}

impl Swept {
    fn new(report: SweepReport) -> Self {
        let firsts = report.findings.iter().filter_map(first_site);
        let wrong: BTreeSet<String> = firsts.map(|site| site.to_string()).collect();
        let outcome = |site: &SiteReport| SiteOutcome::of(site, wrong.contains(&site.site.to_string()));
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

/// Where the work died in a failing case, if it did.
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
    continued: u64,
    nested: u64,
    faults: u64,
    findings: u64,
    left_out: LeftOut,
    elapsed: Duration,
    /// The time of all threads that recovered.
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
        let (sum, more) = (&mut self.left_out, &sweep.left_out);
        sum.images = sum.images.saturating_add(more.images);
        sum.nested_images = sum.nested_images.saturating_add(more.nested_images);
        sum.fault_images = sum.fault_images.saturating_add(more.fault_images);
        sum.sites += more.sites;
        sum.recoveries += more.recoveries;
        sum.faults += more.faults;
    }

    /// Recoveries each second.
    fn per_second(&self) -> f64 {
        self.recoveries as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Distinct images recovered each second by each thread.
    fn distinct_per_second_and_thread(&self) -> f64 {
        self.distinct as f64 / self.threads_elapsed.as_secs_f64().max(1e-9)
    }
}

/// Any number of sweeps, to be shown. See the [module](self).
#[derive(Debug, Clone)]
pub struct Report {
    title: String,
    sweeps: Vec<Swept>,
    matrix: Matrix,
    totals: ReportTotals,
    running: Option<Progress>,
}

impl Report {
    /// A report of nothing yet. `title` is what its page is called.
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
        let mut swept = Swept::new(sweep);
        self.matrix.add(&swept.report, &swept.outcomes);
        self.running = None;
        if self.maps().count() >= MAPS_MAX {
            let is_worth_more = !swept.report.findings.is_empty();
            let clean = |it: &&mut Swept| it.has_map() && it.report.findings.is_empty();
            match self.sweeps.iter_mut().rev().find(clean) {
                Some(clean) if is_worth_more => clean.drop_map(),
                _ => swept.drop_map(),
            }
        }
        self.sweeps.push(swept);
    }

    /// Says how far all is while a sweep runs; adding its report ends that.
    pub fn running(&mut self, progress: Progress) {
        self.running = Some(progress);
    }

    /// Whether something was tested and nothing found.
    pub fn is_ok(&self) -> bool {
        self.reason_not_clean().is_none()
    }

    /// The matrix and the findings, for a terminal of 100 columns.
    pub fn terminal(&self) -> String {
        terminal::of(self)
    }

    /// The report as JSON:
    #[doc = include_str!("json.md")]
    pub fn json(&self) -> String {
        json::of(self)
    }

    /// The report as one HTML page that needs nothing else: no file, no network, no script.
    pub fn html(&self) -> String {
        page::page(self)
    }

    fn maps(&self) -> impl Iterator<Item = (usize, &Swept)> {
        self.sweeps.iter().enumerate().filter(|(_, it)| it.has_map())
    }

    /// Each finding with the number of its sweep.
    fn findings(&self) -> impl Iterator<Item = (usize, &Finding)> {
        let sweeps = self.sweeps.iter().enumerate();
        sweeps.flat_map(|(index, it)| it.report.findings.iter().map(move |finding| (index, finding)))
    }

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
