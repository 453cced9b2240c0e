//! A run that must crash: it returns the crash, or an error with the crossings. So a test that does not crash fails.
//!
//! Owns the counts of crossings and the reasons why a run did not crash. Invariant: [`run_to_crash`] returns `Ok` only
//! if the injected crash ended the run on the calling thread.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use super::{
    CrashInjector, CrashPoint, Crossing, CrossingRecorder, UnwatchedListener, run_with_crash, scoped_recorder,
};
use crate::testing::text::panic_text;

/// The number of crossings of each point on each thread.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CrossingCounts {
    counts: CountsByThread,
    unwatched: CountsByThread,
}

impl CrossingCounts {
    /// Counts these crossings.
    pub fn of<'a>(crossings: impl IntoIterator<Item = &'a Crossing>) -> Self {
        Self {
            counts: count(crossings),
            unwatched: BTreeMap::new(),
        }
    }

    /// The number of crossings of `point` on watched threads.
    pub fn count(&self, point: CrashPoint) -> u64 {
        let counts = self.counts.iter().filter(|((name, _), _)| *name == point.name());
        counts.map(|(_, count)| count).sum()
    }
}

/// The number of crossings, by the names of the point and the thread.
type CountsByThread = BTreeMap<(&'static str, String), u64>;

fn count<'a>(crossings: impl IntoIterator<Item = &'a Crossing>) -> CountsByThread {
    let mut counts = BTreeMap::new();
    for crossing in crossings {
        let key = (crossing.point.name(), crossing.thread_text());
        *counts.entry(key).or_default() += 1;
    }
    counts
}

impl fmt::Display for CrossingCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, counts: &CountsByThread| {
            for (index, ((point, thread), count)) in counts.iter().enumerate() {
                let separator = if index == 0 { "" } else { ", " };
                write!(f, "{separator}{point} {count} times on thread {thread}")?;
            }
            Ok(())
        };
        if self.counts.is_empty() {
            f.write_str("no crash point was crossed")?;
        } else {
            f.write_str("crossings: ")?;
            list(f, &self.counts)?;
        }
        if !self.unwatched.is_empty() {
            f.write_str("; crossings on unwatched threads, which can belong to other tests: ")?;
            list(f, &self.unwatched)?;
        }
        Ok(())
    }
}

/// The crash of a run that crashed at the requested crossing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Crashed {
    /// The crash point.
    pub point: CrashPoint,
    /// The number of crossings of the point before the crash.
    pub crossing: u64,
    /// The crossings of the run, including the one that crashed.
    pub crossings: CrossingCounts,
}

/// The reason why a run did not end with the requested crash.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotCrashedReason {
    /// The run crossed the point too few times.
    NeverFired,
    /// The run crossed no crash point.
    NothingCrossed,
    /// The crash ended another thread. This is the thread's name.
    OnAnotherThread(String),
    /// Code inside the run caught the crash.
    CaughtInsideRun,
    /// Another panic ended the run after the crash. This is its message.
    ReplacedByPanic(String),
}

/// The error of a run that did not end with the requested crash.
pub struct NotCrashed<T> {
    /// The requested crash point.
    pub point: CrashPoint,
    /// The requested number of crossings of the point before the crash.
    pub crossing: u64,
    /// The reason why the run did not crash.
    pub reason: NotCrashedReason,
    /// The crossings of the run.
    pub crossings: CrossingCounts,
    /// The value that the run returned, if it returned.
    pub value: Option<T>,
}

impl<T> fmt::Debug for NotCrashed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `expect` prints the debug form, so this is the readable text.
        write!(f, "{self}")
    }
}

impl<T> fmt::Display for NotCrashed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crash = format!("crash at {}#{}", self.point, self.crossing);
        let end = match &self.reason {
            NotCrashedReason::NeverFired => format!("no {crash}: the run crossed the point too few times"),
            NotCrashedReason::NothingCrossed => format!("no {crash}, so the run tests nothing"),
            NotCrashedReason::OnAnotherThread(thread) => {
                format!("the {crash} ended thread {thread} instead of the run")
            }
            NotCrashedReason::CaughtInsideRun => format!("the {crash} was caught inside the run"),
            NotCrashedReason::ReplacedByPanic(text) => {
                format!("the {crash} was replaced by another panic: {text}")
            }
        };
        write!(f, "{end}; {}", self.crossings)
    }
}

impl<T> Error for NotCrashed<T> {}

/// Runs `f` and crashes it at the crossing of `point` that follows `crossing` other crossings of `point`.
///
/// # Errors
/// [`NotCrashed`] if `f` did not end with this crash.
///
/// # Panics
/// If `f` panics before the crash. The panic has the payload of `f`.
///
/// # Examples
/// ```
/// use tidaldb::testing::{CrashPoint, NotCrashedReason, check_crash_point, run_to_crash};
///
/// let append = || check_crash_point(CrashPoint::WalPreAggregate);
/// let crashed = run_to_crash(CrashPoint::WalPreAggregate, 0, append)?;
/// assert_eq!(crashed.crossings.count(CrashPoint::WalPreAggregate), 1);
///
/// let Err(not_crashed) = run_to_crash(CrashPoint::WalPreAggregate, 1, append) else { unreachable!() };
/// assert_eq!(not_crashed.reason, NotCrashedReason::NeverFired);
/// println!("{not_crashed}"); // ... crossings: WalPreAggregate 1 times on thread main
/// # Ok::<(), tidaldb::testing::NotCrashed<()>>(())
/// ```
pub fn run_to_crash<T>(
    point: CrashPoint,
    crossing: u64,
    f: impl FnOnce() -> T,
) -> Result<Crashed, NotCrashed<T>> {
    let injector = CrashInjector::new(point, crossing);
    let recorder = CrossingRecorder::new();
    let listener = UnwatchedListener::new();
    let outcome = {
        let _recording = scoped_recorder(&recorder);
        catch_unwind(AssertUnwindSafe(|| run_with_crash(&injector, f)))
    };
    let recorded = recorder.crossings();
    let crossings = CrossingCounts {
        counts: count(&recorded),
        unwatched: count(&listener.crossings()),
    };
    let fired = recorded
        .iter()
        .find(|it| it.point == point && it.ordinal == Some(crossing));
    let on_another_thread = fired.filter(|it| it.thread != thread::current().id());
    let (reason, value) = match outcome {
        Ok(Err(_)) => {
            return Ok(Crashed {
                point,
                crossing,
                crossings,
            });
        }
        Ok(Ok(value)) => {
            let reason = match on_another_thread {
                _ if recorded.is_empty() && !injector.has_fired() => NotCrashedReason::NothingCrossed,
                _ if !injector.has_fired() => NotCrashedReason::NeverFired,
                Some(it) => NotCrashedReason::OnAnotherThread(it.thread_text()),
                None => NotCrashedReason::CaughtInsideRun,
            };
            (reason, Some(value))
        }
        Err(payload) if injector.has_fired() => {
            (NotCrashedReason::ReplacedByPanic(panic_text(&*payload)), None)
        }
        Err(payload) => resume_unwind(payload),
    };
    Err(NotCrashed {
        point,
        crossing,
        reason,
        crossings,
        value,
    })
}
