//! The matrix: crash points and kinds of disk operation by what became of the crashes there.

use std::collections::BTreeMap;

use super::Outcome;
use crate::testing::CrashPoint;
use crate::testing::plan::Site;
use crate::testing::sim_disk::DiskOperationKind;
use crate::testing::sweep::SweepReport;

/// One line of the matrix. Sites are crossings of a point, or both sides of the disk operations of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) recovered: u64,
    pub(crate) findings: u64,
    pub(crate) left_out: u64,
    /// How often it came up in the work.
    pub(crate) in_work: u64,
    /// How often it came up in the recoveries that were counted.
    pub(crate) in_recoveries: u64,
}

impl Counts {
    pub(crate) fn is_reached(&self) -> bool {
        self.in_work + self.in_recoveries > 0
    }

    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Recovered | Outcome::Known => self.recovered += 1,
            Outcome::Finding => self.findings += 1,
            Outcome::LeftOut => self.left_out += 1,
        }
    }
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    /// A line for each of the eight points, in their order.
    pub(crate) points: [(CrashPoint, Counts); CrashPoint::ALL.len()],
    /// A line for each kind that changes something or makes it durable, and for whatever else was done.
    pub(crate) kinds: BTreeMap<DiskOperationKind, Counts>,
}

impl Default for Matrix {
    fn default() -> Self {
        let durable = DiskOperationKind::ALL
            .into_iter()
            .filter(|kind| kind.is_durable());
        Self {
            points: CrashPoint::ALL.map(|point| (point, Counts::default())),
            kinds: durable.map(|kind| (kind, Counts::default())).collect(),
        }
    }
}

impl Matrix {
    fn point(&mut self, point: CrashPoint) -> &mut Counts {
        let line = self.points.iter_mut().find(|(it, _)| *it == point);
        match line {
            Some((_, counts)) => counts,
            None => unreachable!("the matrix has a line for every point"),
        }
    }

    pub(crate) fn add(&mut self, sweep: &SweepReport, outcomes: &[Outcome]) {
        for (site, outcome) in sweep.sites.iter().zip(outcomes) {
            match (site.site, site.kind) {
                (Site::Point { point, .. }, _) => self.point(point).count(*outcome),
                (Site::Disk { .. }, Some(kind)) => self.kinds.entry(kind).or_default().count(*outcome),
                (Site::Disk { .. }, None) | (Site::End, _) => {}
            }
        }
        for (point, count) in &sweep.crossings {
            self.point(*point).in_work += count;
        }
        for (point, count) in &sweep.recovery_crossings {
            self.point(*point).in_recoveries += count;
        }
        // The sweep counts the work and the recoveries together.
        for (kind, count) in &sweep.disk_operations {
            let sides = sweep.sites.iter().filter(|site| site.kind == Some(*kind)).count();
            let in_work = (sides as u64).div_ceil(2).min(*count);
            let counts = self.kinds.entry(*kind).or_default();
            counts.in_work += in_work;
            counts.in_recoveries += count - in_work;
        }
    }
}
