//! The live progress of a long run: one line that is rewritten in a terminal, and a new line every ten seconds
//! elsewhere. A crash of the run leaves the lines that were printed.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::text::{clock, counted, cut, grouped, rate};
use crate::testing::sweep::{Phase, Progress};

/// The longest line. A longer line would wrap and could not be rewritten.
const COLUMNS_MAX: usize = 79;
/// The least time between lines that are not rewritten.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// The progress of a run: the content of a [`LiveLine`].
///
/// Its text is `step 77% | 1,234 images | 99 images/s | 0 findings | 3:21 left`.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveStatus {
    step: String,
    done: u64,
    total: u64,
    counts: String,
    findings: u64,
    elapsed: Duration,
    left: Option<Duration>,
}

impl LiveStatus {
    /// A run of `total` equal parts. The first `done` parts took the time `elapsed`.
    pub fn of_parts(step: impl Into<String>, done: u64, total: u64, elapsed: Duration) -> Self {
        let share_left = total.saturating_sub(done) as f64 / done.max(1) as f64;
        let left = (done > 0).then(|| elapsed.mul_f64(share_left.min(1e6)));
        Self {
            step: step.into(),
            done,
            total,
            counts: String::new(),
            findings: 0,
            elapsed,
            left,
        }
    }

    /// A run that ends after `time`.
    pub fn of_time(step: impl Into<String>, elapsed: Duration, time: Duration) -> Self {
        let millis = |time: Duration| time.as_millis() as u64;
        Self {
            left: Some(time.saturating_sub(elapsed)),
            ..Self::of_parts(step, millis(elapsed), millis(time), elapsed)
        }
    }

    /// Adds a count of `unit`, and its rate since the start of the run.
    #[must_use]
    pub fn count(mut self, count: u64, unit: &str) -> Self {
        let per_second = rate(count as f64 / self.elapsed.as_secs_f64().max(1e-3));
        let count = grouped(count);
        self.counts = format!("{} | {count} {unit} | {per_second} {unit}/s", self.counts);
        self
    }

    /// Sets the number of findings. Default: 0.
    #[must_use]
    pub fn findings(mut self, findings: u64) -> Self {
        self.findings = findings;
        self
    }
}

impl fmt::Display for LiveStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.done.min(self.total) * 100 / self.total.max(1);
        let findings = counted(self.findings, "finding", "findings");
        write!(f, "{} {percent}%{} | {findings}", self.step, self.counts)?;
        match self.left {
            Some(left) => write!(f, " | {} left", clock(left)),
            None => Ok(()),
        }
    }
}

impl From<&Progress> for LiveStatus {
    fn from(progress: &Progress) -> Self {
        let step = match progress.phase {
            Phase::Record => "recording",
            Phase::Crash => "crashing",
            Phase::Fault => "failing",
            Phase::Nested => "nested",
        };
        let (distinct, recovered) = (grouped(progress.distinct), rate(progress.per_second));
        let (done, total) = (progress.done as u64, progress.total as u64);
        Self {
            counts: format!(" | {distinct} distinct | {recovered} recovered/s"),
            findings: progress.findings,
            left: progress.time_left,
            ..Self::of_parts(step, done, total, progress.elapsed)
        }
    }
}

/// Shows the progress of a run. If writing to the output fails, the run continues without the line.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use tidaldb::testing::CrashSweep;
/// use tidaldb::testing::report::LiveLine;
///
/// let live = std::sync::Arc::new(LiveLine::stderr());
/// let showing = live.clone();
/// let report = CrashSweep::standard(7, 4)
///     .depth(0)
///     .progress(Duration::from_millis(200), move |progress| showing.show(&progress.into()))
///     .run();
/// live.clear();
/// # report.expect_clean();
/// ```
pub struct LiveLine {
    is_rewritten: bool,
    shown: Mutex<ShownLine>,
}

struct ShownLine {
    out: Box<dyn Write + Send>,
    /// The time of the last status.
    last: Option<Duration>,
}

impl LiveLine {
    /// A line on standard error. The line is rewritten if standard error is a terminal.
    pub fn stderr() -> Self {
        Self::to(Box::new(io::stderr()), io::stderr().is_terminal())
    }

    /// A line on any output. With `is_rewritten` the line is rewritten, otherwise at most one line is printed every ten
    /// seconds.
    pub fn to(out: Box<dyn Write + Send>, is_rewritten: bool) -> Self {
        Self {
            is_rewritten,
            shown: Mutex::new(ShownLine { out, last: None }),
        }
    }

    /// A line that shows nothing.
    pub fn silent() -> Self {
        Self::to(Box::new(io::sink()), false)
    }

    /// Shows the progress of the run.
    pub fn show(&self, status: &LiveStatus) {
        let line = cut(&status.to_string(), COLUMNS_MAX);
        let mut shown = self.lock();
        if self.is_rewritten {
            write!(shown.out, "\r{line}\x1b[K").ok();
        } else if shown
            .last
            .is_none_or(|last| status.elapsed >= last + PLAIN_INTERVAL)
        {
            writeln!(shown.out, "{line}").ok();
        } else {
            return;
        }
        shown.last = Some(status.elapsed);
        shown.out.flush().ok();
    }

    /// Prints a permanent line, such as a finding.
    pub fn print(&self, line: &str) {
        self.clear();
        let mut shown = self.lock();
        writeln!(shown.out, "{line}").ok();
        shown.out.flush().ok();
    }

    /// Clears a rewritten line, so that other text can be printed.
    pub fn clear(&self) {
        let mut shown = self.lock();
        if self.is_rewritten && shown.last.is_some() {
            write!(shown.out, "\r\x1b[K").ok();
            shown.out.flush().ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, ShownLine> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LiveLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveLine")
            .field("is_rewritten", &self.is_rewritten)
            .finish_non_exhaustive()
    }
}
