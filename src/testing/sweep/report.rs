//! The report of a sweep: its counts, its findings, and the images and sites that were left out.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use super::finding::{FailureKind, Finding};
use crate::testing::CrashPoint;
use crate::testing::oracle::Counts;
use crate::testing::plan::{Plan, Site, Work};
use crate::testing::sim_disk::DiskOperationKind;

/// A site of the work, and the crashes there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiteReport {
    /// The site.
    pub site: Site,
    /// A readable description of the site.
    pub description: String,
    /// The kind of the disk operation, if the site is one side of a disk operation.
    pub kind: Option<DiskOperationKind>,
    /// The index of the crash position of the site. Sites with the same crash position share their images.
    pub crash_position: usize,
    /// The index of the operation of the work that is in flight at the site or, if none is in flight, of the last
    /// operation. `None` during the first opening of the database.
    pub operation: Option<usize>,
    /// The number of completed disk operations at the site.
    pub disk_operations_len: u64,
    /// The number of images of crashes at the site that had a case. Sites with the same crash position share them.
    pub images: u64,
    /// The number of these images that no earlier case had.
    pub distinct: u64,
    /// True if the sweep crashed at the site.
    pub is_explored: bool,
    /// The kinds of the failures at the site, without duplicates.
    pub failures: Vec<FailureKind>,
}

/// The numbers of images, sites and faults that were left out, because of a bound.
///
/// An image is a combination: for each undurable operation it has or lacks the effect of the operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LeftOut {
    /// Images of crashes in the work.
    pub images: u128,
    /// Sites of the work.
    pub sites: usize,
    /// Distinct images of the work without nested cases.
    pub recoveries: usize,
    /// Images of crashes in recoveries.
    pub nested_images: u128,
    /// Faults of disk operations.
    pub faults: usize,
    /// Images of crashes after a fault.
    pub fault_images: u128,
}

impl LeftOut {
    /// Returns true if nothing was left out.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign<&Self> for LeftOut {
    fn add_assign(&mut self, other: &Self) {
        self.images = self.images.saturating_add(other.images);
        self.sites += other.sites;
        self.recoveries += other.recoveries;
        self.nested_images = self.nested_images.saturating_add(other.nested_images);
        self.faults += other.faults;
        self.fault_images = self.fault_images.saturating_add(other.fault_images);
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing was left out");
        }
        let counts = [
            (self.sites as u128, "sites"),
            (self.images, "images of crashes in the work"),
            (self.recoveries as u128, "distinct images without nested cases"),
            (self.nested_images, "images of crashes in recoveries"),
            (self.faults as u128, "faults of disk operations"),
            (self.fault_images, "images of crashes after a fault"),
        ];
        f.write_str("left out: ")?;
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        for (index, (count, unit)) in counts.enumerate() {
            write!(f, "{}{count} {unit}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// The coverage of a sweep: the crash points, kinds of disk operation and sites that it did not reach.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Coverage {
    /// The crash points without a crossing in the work and in the counted recoveries.
    pub points_missed: Vec<CrashPoint>,
    /// The kinds of disk operation that change the disk or make changes durable, and that did not occur.
    pub kinds_missed: Vec<DiskOperationKind>,
    /// The number of sites at which the sweep did not crash.
    pub sites_missed: usize,
}

impl Coverage {
    /// Returns true if the sweep missed no point, kind or site.
    pub fn is_complete(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            return f.write_str("every point, kind of disk operation and site was reached");
        }
        write!(f, "not reached: {} sites", self.sites_missed)?;
        for point in &self.points_missed {
            write!(f, ", {point}")?;
        }
        for kind in &self.kinds_missed {
            write!(f, ", {kind}")?;
        }
        Ok(())
    }
}

/// The report of a sweep: its counts, its findings, and the images and sites that were left out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[must_use = "the findings of a sweep are only in its report"]
pub struct SweepReport {
    /// The work and policy, without crashes.
    pub plan: Plan,
    /// Every site of the work in the order of the run.
    pub sites: Vec<SiteReport>,
    /// The operations of the work, as text, in order.
    pub operations: Vec<String>,
    /// The number of acknowledged operations of the work.
    pub acknowledged: usize,
    /// The number of crossings of each crash point in the work.
    pub crossings: Vec<(CrashPoint, u64)>,
    /// The number of crossings of each crash point in the counted recoveries: at most 64 recoveries with nested cases.
    pub recovery_crossings: Vec<(CrashPoint, u64)>,
    /// The number of disk operations of each kind in the work and in the counted recoveries.
    pub disk_operations: BTreeMap<DiskOperationKind, u64>,
    /// The number of cases. Each has one image.
    pub images: u64,
    /// The number of distinct images.
    pub distinct: u64,
    /// The number of recoveries.
    pub recoveries: u64,
    /// The number of distinct recovered disks with which the sweep continued after recovery.
    pub continued: u64,
    /// The number of crashes in recoveries.
    pub nested: u64,
    /// The number of runs of the work and of recoveries with a fault of the disk.
    pub faults: u64,
    /// The oracle's counts of events, summed over the cases of crashes in the work.
    pub counts: Counts,
    /// The images, sites and faults that were left out.
    pub left_out: LeftOut,
    /// The coverage.
    pub coverage: Coverage,
    /// True if the sweep requires [complete](super::CrashSweep::complete) coverage.
    pub requires_coverage: bool,
    /// The findings, sorted by the number of crashes, then in the order of the work.
    pub findings: Vec<Finding>,
    /// The number of failing cases. Larger than the number of [`findings`](Self::findings) if some were not stored.
    pub findings_len: u64,
    /// The time of the sweep.
    pub elapsed: Duration,
    /// The number of worker threads.
    pub workers: usize,
    /// The seed of the selection among images.
    pub seed: u64,
}

impl SweepReport {
    /// Returns true if the report is clean: the sweep tested something, has no finding, and has the required coverage.
    pub fn is_ok(&self) -> bool {
        self.reason_not_clean().is_none()
    }

    /// The number of recoveries each second.
    pub fn per_second(&self) -> f64 {
        self.recoveries as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Panics if the report is not clean: the sweep tested nothing, has findings, or lacks required coverage.
    ///
    /// # Panics
    /// With the report, which contains the findings and their replay lines.
    #[track_caller]
    pub fn expect_clean(&self) {
        if let Some(reason) = self.reason_not_clean() {
            panic!("{reason}\n{self}");
        }
    }

    /// The reason why the report is not clean; `None` if it is clean.
    pub(crate) fn reason_not_clean(&self) -> Option<String> {
        if !self.findings.is_empty() {
            Some(format!("{} failing cases", self.findings_len))
        } else if self.acknowledged == 0 {
            Some("the sweep tests nothing: no operation was acknowledged".to_owned())
        } else if self.distinct == 0 {
            Some("the sweep tests nothing: no image was recovered".to_owned())
        } else if self.sites.iter().all(|site| !site.is_explored) {
            Some("the sweep tests nothing: it crashed at no site of the work".to_owned())
        } else if matches!(self.plan.work, Work::Sessions { .. })
            && !self
                .operations
                .iter()
                .any(|operation| operation.starts_with("reopen:"))
        {
            let reason = "the sweep tests no second session: the work is too short for a reopening; use more operations";
            Some(reason.to_owned())
        } else if self.crossings.iter().all(|(_, count)| *count == 0) {
            Some("the sweep tests nothing: no crash point was crossed".to_owned())
        } else if self.requires_coverage && !self.coverage.is_complete() {
            Some(format!(
                "the coverage of the sweep is not complete: {}",
                self.coverage
            ))
        } else {
            None
        }
    }
}

impl fmt::Display for SweepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}\n")?;
        }
        writeln!(
            f,
            "{} sites, {} images, {} distinct, {} recoveries, {} crashes in recoveries, {} faults of the disk, \
             {} continued, in {:.1} s: {:.0} recoveries a second",
            self.sites.len(),
            self.images,
            self.distinct,
            self.recoveries,
            self.nested,
            self.faults,
            self.continued,
            self.elapsed.as_secs_f64(),
            self.per_second()
        )?;
        for (index, (point, count)) in self.crossings.iter().enumerate() {
            write!(
                f,
                "{}{point} {count}",
                if index == 0 { "crossings: " } else { ", " }
            )?;
        }
        f.write_str("\n")?;
        for (index, (kind, count)) in self.disk_operations.iter().enumerate() {
            write!(
                f,
                "{}{kind} {count}",
                if index == 0 { "disk operations: " } else { ", " }
            )?;
        }
        write!(f, "\n{}\n{}; seed {}", self.coverage, self.left_out, self.seed)
    }
}
