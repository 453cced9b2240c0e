//! Live progress: one line that is rewritten where somebody watches, a line now and then where nobody does.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::text::{clock, counted, cut, grouped, rate};
use crate::testing::sweep::{Phase, Progress};

/// A line that is longer would wrap, and could not be rewritten.
const COLUMNS_MAX: usize = 79;
/// How much time lies between lines that are not rewritten.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Shows how far a sweep is. Nothing that cannot be written is an error: it is only for people.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use tidaldb::testing::CrashSweep;
/// use tidaldb::testing::report::{LiveLine, progress_line};
///
/// let live = std::sync::Arc::new(LiveLine::stderr());
/// let showing = live.clone();
/// let report = CrashSweep::standard(7, 4)
///     .depth(0)
///     .progress(Duration::from_millis(200), move |progress| {
///         showing.show(&progress_line(progress), progress.elapsed);
///     })
///     .run();
/// live.clear();
/// # report.expect_clean();
/// ```
pub struct LiveLine {
    is_rewritten: bool,
    shown: Mutex<Shown>,
}

struct Shown {
    out: Box<dyn Write + Send>,
    last: Option<Duration>,
}

impl LiveLine {
    /// On standard error: rewritten if that is a terminal.
    pub fn stderr() -> Self {
        Self::to(Box::new(io::stderr()), io::stderr().is_terminal())
    }

    /// On any output: rewritten, or a line now and then.
    pub fn to(out: Box<dyn Write + Send>, is_rewritten: bool) -> Self {
        let shown = Mutex::new(Shown { out, last: None });
        Self { is_rewritten, shown }
    }

    /// Shows `line`; `at` is the time since the beginning.
    pub fn show(&self, line: &str, at: Duration) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let line = cut(line, COLUMNS_MAX);
        if self.is_rewritten {
            write!(shown.out, "\r{line}\x1b[K").ok();
        } else if shown.last.is_none_or(|last| at >= last + PLAIN_INTERVAL) {
            writeln!(shown.out, "{line}").ok();
        } else {
            return;
        }
        shown.last = Some(at);
        shown.out.flush().ok();
    }

    /// Takes a rewritten line away, so that something else can be printed.
    pub fn clear(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_rewritten && shown.last.is_some() {
            write!(shown.out, "\r\x1b[K").ok();
            shown.out.flush().ok();
        }
    }
}

impl fmt::Debug for LiveLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveLine")
            .field("is_rewritten", &self.is_rewritten)
            .finish_non_exhaustive()
    }
}

/// How far a sweep is, in a line of fewer than 80 columns.
pub fn progress_line(progress: &Progress) -> String {
    let left = progress.time_left.map(clock);
    let left = left.map_or_else(String::new, |left| format!(" | {left} left"));
    format!(
        "{} | {} distinct | {} recovered/s | {}{left}",
        step(progress),
        grouped(progress.distinct),
        rate(progress.per_second),
        counted(progress.findings, "finding", "findings"),
    )
}

/// What a sweep is doing, and how much of that is done.
fn step(progress: &Progress) -> String {
    let name = match progress.phase {
        Phase::Record => "recording",
        Phase::Crash => "crashing",
        Phase::Die => "killing",
        Phase::Nested => "nested",
    };
    let percent = progress.done * 100 / progress.total.max(1);
    format!("{name} {percent}%")
}
