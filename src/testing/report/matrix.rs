//! The matrix: for each crash point and each kind of disk operation, the numbers of sites by the outcome of the crashes
//! there.

use std::collections::BTreeMap;

use crate::testing::CrashPoint;
use crate::testing::plan::Site;
use crate::testing::sim_disk::DiskOperationKind;
use crate::testing::sweep::{SiteReport, SweepReport};

/// The outcome of the crashes at a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SiteOutcome {
    /// Every image recovered to a legal state.
    Recovered,
    /// Like [`Recovered`](Self::Recovered), and every image is a duplicate of an image of an earlier site.
    Duplicate,
    /// Some check failed.
    Finding,
    /// No crash was tried.
    LeftOut,
}

impl SiteOutcome {
    pub(super) const ALL: [Self; 4] = [Self::Recovered, Self::Duplicate, Self::Finding, Self::LeftOut];

    /// The symbol, the name, the JSON value and the class of the style sheet.
    pub(super) const fn texts(self) -> [&'static str; 4] {
        match self {
            Self::Recovered => ["✓", "recovered", "recovered", "r"],
            Self::Duplicate => ["=", "recovered, duplicate images", "duplicate", "k"],
            Self::Finding => ["✗", "finding", "finding", "f"],
            Self::LeftOut => ["–", "left out", "left_out", "o"],
        }
    }

    /// The outcome at `site`. `has_finding` is true if the work of a finding crashed there.
    pub(super) fn of(site: &SiteReport, has_finding: bool) -> Self {
        if has_finding || !site.failures.is_empty() {
            Self::Finding
        } else if !site.is_explored || site.images == 0 {
            Self::LeftOut
        } else if site.distinct == 0 {
            Self::Duplicate
        } else {
            Self::Recovered
        }
    }
}

/// The key of a crash point on the page. Each of the eight points has one digit.
pub(super) fn point_key(point: CrashPoint) -> char {
    let number = CrashPoint::ALL.iter().position(|it| *it == point);
    number.map_or('?', |number| char::from(b'1' + number as u8))
}

/// The key of a disk operation on the page.
pub(super) fn kind_key(kind: DiskOperationKind) -> char {
    match kind {
        DiskOperationKind::Open => 'o',
        DiskOperationKind::Read => 'g',
        DiskOperationKind::Len => 'n',
        DiskOperationKind::List => 'i',
        DiskOperationKind::Create => 'c',
        DiskOperationKind::Write => 'w',
        DiskOperationKind::Sync => 's',
        DiskOperationKind::Rename => 'r',
        DiskOperationKind::Remove => 'x',
        DiskOperationKind::CreateDir => 'd',
        DiskOperationKind::SyncDir => 'S',
        DiskOperationKind::Lock => 'l',
        DiskOperationKind::PowerLoss => 'p',
    }
}

/// One line of the matrix. Its sites are the crossings of a point, or both sides of the disk operations of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SiteCounts {
    pub(super) recovered: u64,
    pub(super) findings: u64,
    pub(super) left_out: u64,
    /// The number of crossings or operations in the work.
    pub(super) in_work: u64,
    /// The number of crossings or operations in the recoveries in which the sweep crashed.
    pub(super) in_recoveries: u64,
}

impl SiteCounts {
    pub(super) fn is_reached(&self) -> bool {
        self.in_work + self.in_recoveries > 0
    }

    /// The counts in the order of the columns: in the work, recovered, findings, left out, in recoveries.
    pub(super) fn numbers(&self) -> [u64; 5] {
        [
            self.in_work,
            self.recovered,
            self.findings,
            self.left_out,
            self.in_recoveries,
        ]
    }

    fn count(&mut self, outcome: SiteOutcome) {
        match outcome {
            SiteOutcome::Recovered | SiteOutcome::Duplicate => self.recovered += 1,
            SiteOutcome::Finding => self.findings += 1,
            SiteOutcome::LeftOut => self.left_out += 1,
        }
    }
}

/// One half of the matrix: the crash points or the kinds of disk operation.
pub(super) struct MatrixTable<'a> {
    /// The name of the JSON field of the table, and the name of the field of its lines that holds the name.
    pub(super) fields: [&'static str; 2],
    pub(super) caption: &'static str,
    pub(super) remark: &'static str,
    /// Key, name and counts.
    pub(super) lines: Vec<(char, String, &'a SiteCounts)>,
}

/// The lines of both halves. See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct Matrix {
    /// A line for each of the eight points, in their order.
    pub(super) points: [(CrashPoint, SiteCounts); CrashPoint::ALL.len()],
    /// A line for each kind that changes content or makes it durable, and for every other kind that occurred.
    pub(super) kinds: BTreeMap<DiskOperationKind, SiteCounts>,
}

impl Default for Matrix {
    fn default() -> Self {
        let kinds = DiskOperationKind::ALL
            .iter()
            .copied()
            .filter(|kind| kind.changes_disk() && *kind != DiskOperationKind::PowerLoss);
        Self {
            points: CrashPoint::ALL.map(|point| (point, SiteCounts::default())),
            kinds: kinds.map(|kind| (kind, SiteCounts::default())).collect(),
        }
    }
}

impl Matrix {
    pub(super) fn tables(&self) -> [MatrixTable<'_>; 2] {
        let points = self.points.iter();
        let points = points.map(|(point, counts)| (point_key(*point), point.to_string(), counts));
        let kinds = self.kinds.iter();
        let kinds = kinds.map(|(kind, counts)| (kind_key(*kind), kind.to_string(), counts));
        [
            MatrixTable {
                fields: ["points", "point"],
                caption: "Crash points",
                remark: "Each line counts the crossings in the work by the outcome of the crashes at them. The \
                         last column counts the crossings in the recoveries in which the sweep crashed.",
                lines: points.collect(),
            },
            MatrixTable {
                fields: ["disk_operations", "kind"],
                caption: "Disk operations",
                remark: "Each operation has two sites, before and after it. The outcomes count sites.",
                lines: kinds.collect(),
            },
        ]
    }

    fn point(&mut self, point: CrashPoint) -> &mut SiteCounts {
        let line = self.points.iter_mut().find(|(it, _)| *it == point);
        let (_, counts) = line.expect("the matrix has a line for every point");
        counts
    }

    pub(super) fn add(&mut self, sweep: &SweepReport, outcomes: &[SiteOutcome]) {
        for (site, outcome) in sweep.sites.iter().zip(outcomes) {
            match (site.site, site.kind) {
                (Site::Point { point, .. }, _) => self.point(point).count(*outcome),
                (Site::Disk { .. }, Some(kind)) => self.kinds.entry(kind).or_default().count(*outcome),
                (Site::Disk { .. }, None) | (Site::Fault { .. } | Site::End, _) => {}
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
