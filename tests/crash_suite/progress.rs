//! The time limit of a run, and its progress line.

use std::time::{Duration, Instant};

use tidaldb::testing::report::{LiveLine, LiveStatus};

/// The time limit of a run, and the line on standard error that shows its progress.
#[derive(Debug)]
pub(crate) struct TimeBudget {
    live: LiveLine,
    started: Instant,
    time: Option<Duration>,
}

impl TimeBudget {
    /// Starts a run now. Without `time` the run has no limit.
    pub(crate) fn new(time: Option<Duration>, quiet: bool) -> Self {
        Self {
            live: if quiet {
                LiveLine::silent()
            } else {
                LiveLine::stderr()
            },
            started: Instant::now(),
            time,
        }
    }

    /// Returns true if the share of the time limit is over. `share` is from 0 to 1.
    pub(crate) fn is_over(&self, share: f64) -> bool {
        self.time
            .is_some_and(|time| self.started.elapsed() >= time.mul_f64(share))
    }

    /// Shows that `done` of `all` equal parts of a step are done. An `all` of 0 means that the number is unknown.
    pub(crate) fn show(&self, step: &str, done: u64, all: u64) {
        let elapsed = self.started.elapsed();
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

    /// Shows the number of cases that have ended. The caller calls it after each case.
    pub(crate) fn show_cases(&self, ended: u64, all: u64, failed: u64) {
        if ended == all {
            return self.live.clear();
        }
        let elapsed = self.started.elapsed();
        let status = match self.time {
            Some(time) => {
                let step = format!("{ended} cases done, {} left;", all - ended);
                LiveStatus::of_time(step, elapsed, time)
            }
            None => LiveStatus::of_parts("cases", ended, all, elapsed).count(ended, "cases"),
        };
        self.live.show(&status.findings(failed));
    }

    /// Prints a line above the progress line.
    pub(crate) fn print(&self, line: &str) {
        self.live.print(line);
    }

    /// Removes the progress line.
    pub(crate) fn clear(&self) {
        self.live.clear();
    }
}
