//! The time of a run, and its progress.

use std::time::{Duration, Instant};

use tidaldb::testing::report::{LiveLine, LiveStatus};

/// The time that a run may take, and the line on standard error that shows its progress.
#[derive(Debug)]
pub(crate) struct TimeBudget {
    live: LiveLine,
    begun: Instant,
    time: Option<Duration>,
}

impl TimeBudget {
    /// A run that begins now. Without `time` it may take any time.
    pub(crate) fn new(time: Option<Duration>, quiet: bool) -> Self {
        Self {
            live: if quiet {
                LiveLine::silent()
            } else {
                LiveLine::stderr()
            },
            begun: Instant::now(),
            time,
        }
    }

    /// Returns true if this share of the time is over.
    pub(crate) fn is_over(&self, share: f64) -> bool {
        self.time
            .is_some_and(|time| self.begun.elapsed() >= time.mul_f64(share))
    }

    /// Shows that `done` of `all` equal parts of a step are done. `all` is 0 if their number is not known.
    pub(crate) fn show(&self, step: &str, done: u64, all: u64) {
        let elapsed = self.begun.elapsed();
        let status = match self.time {
            Some(time) => {
                let of = if all > 0 {
                    format!(" of {all}")
                } else {
                    String::new()
                };
                LiveStatus::of_time(format!("{step}: {done}{of};"), elapsed, time)
            }
            None => LiveStatus::of_parts(step, done, all, elapsed).count(done, "done"),
        };
        self.live.show(&status);
    }

    /// Shows the number of cases that have ended. Called after each case.
    pub(crate) fn show_cases(&self, ended: u64, all: u64, failed: u64) {
        if ended == all {
            return self.live.clear();
        }
        let elapsed = self.begun.elapsed();
        let status = match self.time {
            Some(time) => {
                let step = format!("{ended} cases done, {} left;", all - ended);
                LiveStatus::of_time(step, elapsed, time)
            }
            None => LiveStatus::of_parts("cases", ended, all, elapsed).count(ended, "cases"),
        };
        self.live.show(&status.findings(failed));
    }

    /// Prints a line that stays.
    pub(crate) fn print(&self, line: &str) {
        self.live.print(line);
    }

    /// Removes the line of the progress.
    pub(crate) fn clear(&self) {
        self.live.clear();
    }
}
