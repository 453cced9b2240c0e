//! The report of a schedule sweep.

use std::fmt;
use std::time::Duration;

use super::finding::ScheduleFinding;

/// The counts of a schedule sweep, and its finding.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use]
pub struct ScheduleReport {
    /// The program and its settings, as in a replay line.
    pub program: String,
    /// The number of runs. Each has another schedule or another fault.
    pub schedules: u64,
    /// The number of runs with a fault; part of `schedules`.
    pub with_fault: u64,
    /// The number of distinct runs. Runs are equal if their steps on each object have the same order.
    pub distinct: u64,
    /// The number of choices that were not explored because an equal one was.
    pub pruned: u64,
    /// The number of steps of all runs.
    pub steps: u64,
    /// The largest number of threads, those of the engine included.
    pub threads: usize,
    /// The number of distinct recovered images.
    pub images: u64,
    /// The number of judged pairs of an image and the calls before the crash.
    pub judged: u64,
    /// The number of combinations of undurable operations that the limit of images excluded.
    pub left_out: u128,
    /// True if every schedule within the bounds ran.
    pub is_complete: bool,
    /// The time of the sweep.
    pub time: Duration,
    /// The first finding, at which the sweep ended.
    pub finding: Option<Box<ScheduleFinding>>,
}

impl ScheduleReport {
    pub(super) fn new(program: String) -> Self {
        Self {
            program,
            schedules: 0,
            with_fault: 0,
            distinct: 0,
            pruned: 0,
            steps: 0,
            threads: 0,
            images: 0,
            judged: 0,
            left_out: 0,
            is_complete: true,
            time: Duration::ZERO,
            finding: None,
        }
    }

    /// Checks that the sweep has no finding, and that threads and images were explored.
    ///
    /// # Panics
    /// If the sweep has a finding, ran only one schedule, or recovered no image.
    pub fn expect_clean(&self) {
        if let Some(finding) = &self.finding {
            panic!("{finding}");
        }
        assert!(
            self.schedules > 1 && self.images > 0,
            "the sweep tests nothing: {self}. Does the program have two threads that call the database?"
        );
    }
}

impl fmt::Display for ScheduleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match (&self.finding, self.is_complete) {
            (Some(_), _) => "1 finding",
            (None, true) => "0 wrong, complete",
            (None, false) => "0 wrong, ended at a limit",
        };
        write!(
            f,
            "{}: {} schedules ({} with a fault), {} equal ones not run, {} threads, {} images, {} judged, {:.1} s: {end}",
            self.program,
            self.schedules,
            self.with_fault,
            self.pruned,
            self.threads,
            self.images,
            self.judged,
            self.time.as_secs_f64()
        )?;
        self.finding
            .iter()
            .try_for_each(|finding| write!(f, "\n{finding}"))
    }
}
