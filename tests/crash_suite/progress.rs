//! Progress while cases run.

use std::time::Instant;

use tidaldb::testing::report::{LiveLine, LiveStatus};

/// Shows how far the run is, on standard error.
#[derive(Debug)]
pub(crate) struct SuiteProgress {
    live: LiveLine,
    begun: Instant,
    all: usize,
    ended: u64,
    failed: u64,
}

impl SuiteProgress {
    pub(crate) fn new(all: usize, quiet: bool) -> Self {
        Self {
            live: if quiet {
                LiveLine::silent()
            } else {
                LiveLine::stderr()
            },
            begun: Instant::now(),
            all,
            ended: 0,
            failed: 0,
        }
    }

    /// Counts a case that has ended.
    pub(crate) fn ended(&mut self, name: &str, passed: bool) {
        self.ended += 1;
        if !passed {
            self.failed += 1;
            self.live.print(&format!("test {name} ... FAILED"));
        }
        let all = self.all as u64;
        if self.ended == all {
            self.live.clear();
            return;
        }
        let status = LiveStatus::of_parts("cases", self.ended, all, self.begun.elapsed());
        self.live
            .show(&status.count(self.ended, "cases").findings(self.failed));
    }
}
