//! The report of a schedule sweep.

use std::fmt;
use std::time::Duration;

use super::finding::ScheduleFinding;
use super::sweep::ScheduleSweep;

/// The reason for which a schedule sweep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScheduleSweepEnd {
    /// Every schedule within the bounds ran, or an equal one.
    Complete,
    /// The given number of [random](ScheduleSweep::random) schedules ran.
    Sampled,
    /// [`schedules_max`](ScheduleSweep::schedules_max) ended the sweep.
    SchedulesMax,
    /// [`time`](ScheduleSweep::time) ended the sweep.
    Time,
    /// The sweep ended at its finding.
    Finding,
}

impl fmt::Display for ScheduleSweepEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Complete => "no finding, complete",
            Self::Sampled => "no finding, random schedules",
            Self::SchedulesMax => "no finding, ended by schedules_max",
            Self::Time => "no finding, ended by time",
            Self::Finding => "1 finding",
        })
    }
}

/// The counts of a schedule sweep, and its finding.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[must_use = "the finding of a sweep is only in its report"]
pub struct ScheduleReport {
    /// The bounds, the program and its settings; see [`ScheduleSweep::description`].
    pub description: String,
    /// The number of runs, without those of the shrinking. Random runs can be equal.
    pub schedules: u64,
    /// The number of runs with a fault of the disk; part of `schedules`.
    pub faults: u64,
    /// The number of distinct runs. Runs are equal if all conflicting steps have the same order.
    pub distinct: u64,
    /// The number of choices that were not explored because an equal one was. One choice can stand for many schedules.
    pub pruned: u64,
    /// The number of steps of all runs.
    pub steps: u64,
    /// The largest number of threads of a run, those of the engine included.
    pub threads: usize,
    /// The number of distinct recovered images.
    pub images: u64,
    /// The number of judged pairs of an image and the calls before the crash.
    pub judged: u64,
    /// The number of images that were left out because of [`images_max`](ScheduleSweep::images_max). An image is a
    /// combination: for each undurable operation it has or lacks the effect of the operation.
    pub left_out: u128,
    /// True if the program has a database, whose images are judged. False for
    /// [`of_threads`](ScheduleSweep::of_threads).
    pub has_database: bool,
    /// The reason for which the sweep ended.
    pub end: ScheduleSweepEnd,
    /// The time of the sweep.
    pub elapsed: Duration,
    /// The first finding, at which the sweep ended.
    pub finding: Option<Box<ScheduleFinding>>,
}

impl ScheduleReport {
    pub(super) fn new(sweep: &ScheduleSweep) -> Self {
        Self {
            description: sweep.description(),
            schedules: 0,
            faults: 0,
            distinct: 0,
            pruned: 0,
            steps: 0,
            threads: 0,
            images: 0,
            judged: 0,
            left_out: 0,
            has_database: sweep.threads.is_none(),
            end: match sweep.bounds.random {
                Some(_) => ScheduleSweepEnd::Sampled,
                None => ScheduleSweepEnd::Complete,
            },
            elapsed: Duration::ZERO,
            finding: None,
        }
    }

    /// Adds the finding, at which the sweep ends.
    pub(super) fn end_at(&mut self, finding: ScheduleFinding) {
        self.end = ScheduleSweepEnd::Finding;
        self.finding = Some(Box::new(finding));
    }

    /// Returns true if the report is clean: the sweep tested something and has no finding.
    pub fn is_ok(&self) -> bool {
        self.reason_not_clean().is_none()
    }

    /// Panics if the report is not clean: the sweep has a finding or tested nothing. A sweep tests nothing if all its runs
    /// are equal, or if it has a database and recovered no image.
    ///
    /// # Panics
    /// With the report, which contains the finding and its replay line.
    #[track_caller]
    pub fn expect_clean(&self) {
        if let Some(reason) = self.reason_not_clean() {
            panic!("{reason}\n{self}");
        }
    }

    /// The reason why the report is not clean; `None` if it is clean.
    fn reason_not_clean(&self) -> Option<&'static str> {
        if self.finding.is_some() {
            Some("a failing schedule")
        } else if self.distinct < 2 {
            Some(
                "the sweep tests nothing: its runs are equal. A program needs two threads that use the database or the \
                 same primitives",
            )
        } else if self.has_database && self.images == 0 {
            Some("the sweep tests nothing: no image was recovered")
        } else {
            None
        }
    }
}

impl fmt::Display for ScheduleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} schedules ({} with a fault), {} equal choices not explored, {} threads",
            self.description, self.schedules, self.faults, self.pruned, self.threads
        )?;
        if self.has_database {
            let Self {
                images,
                judged,
                left_out,
                ..
            } = self;
            write!(f, ", {images} images, {judged} judged, {left_out} left out")?;
        }
        write!(f, ", {:.1} s: {}", self.elapsed.as_secs_f64(), self.end)?;
        let mut finding = self.finding.iter();
        finding.try_for_each(|finding| write!(f, "\n{finding}"))
    }
}
