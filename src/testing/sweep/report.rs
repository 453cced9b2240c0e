//! The report of a sweep: its counts, its findings, and the images and sites that it left out.

use std::collections::BTreeMap;
use std::fmt;
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
    /// Where it is.
    pub site: Site,
    /// What happens there, for people.
    pub what: String,
    /// What the operation does, if it is a side of a disk operation.
    pub kind: Option<DiskOperationKind>,
    /// The number of its moment. Sites with the same one share their images.
    pub moment: usize,
    /// The operation of the work in flight there or, if none is, the last one, by its number; `None` while the database
    /// is first opened.
    pub operation: Option<usize>,
    /// How many operations of the disk are done there.
    pub position: u64,
    /// Images of crashes there that were tried. Sites that share a moment share them.
    pub images: u64,
    /// Those that no site before had.
    pub distinct: u64,
    /// True if crashes here were tried.
    pub is_explored: bool,
    /// The kinds of failures that were found, each once.
    pub failures: Vec<FailureKind>,
}

/// What was not tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LeftOut {
    /// Combinations of fates of what was not durable, beyond the bound on images.
    pub images: u128,
    /// Sites of the work.
    pub sites: usize,
    /// Distinct images of the work whose recovery was not crashed in.
    pub recoveries: usize,
    /// Combinations of fates in recoveries.
    pub nested_images: u128,
    /// Faults of disk operations under the running work that were not tried.
    pub faults: usize,
    /// Combinations of fates at the ends of runs with a fault.
    pub fault_images: u128,
}

impl LeftOut {
    /// Returns true if nothing was left out.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nothing() {
            return f.write_str("nothing was left out");
        }
        let counts = [
            (self.sites as u128, "sites"),
            (self.images, "combinations of what was not durable"),
            (
                self.recoveries as u128,
                "images whose recovery was not crashed in",
            ),
            (self.nested_images, "combinations in recoveries"),
            (self.faults as u128, "faults of the disk under the running work"),
            (self.fault_images, "combinations after faults of the disk"),
        ];
        f.write_str("left out: ")?;
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        for (index, (count, what)) in counts.enumerate() {
            write!(f, "{}{count} {what}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// What no run reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Coverage {
    /// Points that were not crossed, neither in the work nor in a recovery.
    pub points_missed: Vec<CrashPoint>,
    /// Kinds of disk operation, of those that change something or make it durable, that were not done.
    pub kinds_missed: Vec<DiskOperationKind>,
    /// Sites at which no crash was tried.
    pub sites_missed: usize,
}

impl Coverage {
    /// Returns true if everything was reached.
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

/// What a sweep did, found, and left out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[must_use = "a sweep says what it found in its report"]
pub struct SweepReport {
    /// The work and policy, without crashes.
    pub plan: Plan,
    /// Every site of the work in the order of the run.
    pub sites: Vec<SiteReport>,
    /// The operations of the work, as text, in order.
    pub operations: Vec<String>,
    /// Operations of the work that were acknowledged.
    pub acknowledged: usize,
    /// Crossings in the work, by point.
    pub crossings: Vec<(CrashPoint, u64)>,
    /// Crossings in the recoveries that were crashed in, by point.
    pub recovery_crossings: Vec<(CrashPoint, u64)>,
    /// Operations of the disk in the work, and in the recoveries that were crashed in, by kind.
    pub disk_operations: BTreeMap<DiskOperationKind, u64>,
    /// Images that were built.
    pub images: u64,
    /// Images that differ.
    pub distinct: u64,
    /// Recoveries that were made.
    pub recoveries: u64,
    /// Recovered disks, each once, that were opened again, written to, closed and reopened.
    pub gone_on: u64,
    /// Crashes in recoveries.
    pub nested: u64,
    /// Runs of the work and of recoveries with a fault of the disk.
    pub faults: u64,
    /// The events, summed over the crashes in the work: each state that was judged counts.
    pub counts: Counts,
    /// What was not tried.
    pub left_out: LeftOut,
    /// What was not reached.
    pub coverage: Coverage,
    /// True if the sweep claims to be complete: then a site that was not reached is a failure.
    pub claims_completeness: bool,
    /// The findings: those without a crash first, then by depth, within a depth in the order of the work.
    pub findings: Vec<Finding>,
    /// Failing cases; more than [`findings`](Self::findings) if some were not kept.
    pub findings_len: u64,
    /// The time that the sweep took.
    pub elapsed: Duration,
    /// The number of threads that recovered.
    pub workers: usize,
    /// The seed of the choice among images.
    pub seed: u64,
}

impl SweepReport {
    /// Returns true if the sweep tested something, found nothing, and is as complete as it claims.
    pub fn is_ok(&self) -> bool {
        self.why_not().is_none()
    }

    /// Recoveries each second.
    pub fn per_second(&self) -> f64 {
        self.recoveries as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Fails unless the sweep tested something, found nothing, and is as complete as it claims.
    ///
    /// # Panics
    /// With everything that was found, and the lines that reproduce it.
    #[track_caller]
    pub fn expect_clean(&self) {
        if let Some(why) = self.why_not() {
            panic!("{why}\n{self}");
        }
    }

    /// The reason why the report is not clean; none if it is.
    pub(crate) fn why_not(&self) -> Option<String> {
        if !self.findings.is_empty() {
            Some(format!("{} failing cases", self.findings_len))
        } else if self.acknowledged == 0 {
            Some("the sweep tests nothing: no operation was acknowledged".to_owned())
        } else if self.distinct == 0 {
            Some("the sweep tests nothing: no image was recovered".to_owned())
        } else if self.sites.iter().all(|site| !site.is_explored) {
            Some("the sweep tests nothing: no site of the work was crashed at".to_owned())
        } else if matches!(self.plan.work, Work::Sessions { .. })
            && !self
                .operations
                .iter()
                .any(|operation| operation.starts_with("reopen:"))
        {
            Some("the sweep tests no second session: the work is too short for a reopening".to_owned())
        } else if self.crossings.iter().all(|(_, count)| *count == 0) {
            Some("the sweep tests nothing: no crash point was crossed".to_owned())
        } else if self.claims_completeness && !self.coverage.is_complete() {
            Some(format!("the sweep is not complete: {}", self.coverage))
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
            self.gone_on,
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
