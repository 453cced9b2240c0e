//! The end of a run that was to crash: a crash, or an error with the crossings instead. So a test that crashes
//! nothing does not pass.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use super::{
    CrashInjector, CrashPoint, Crossing, CrossingRecorder, UnwatchedListener, run_with_crash, scoped_recorder,
};
use crate::testing::text::panic_text;

/// How often each point was crossed on each thread.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Crossed {
    counts: CrossingCounts,
    unwatched: CrossingCounts,
}

impl Crossed {
    /// The counts of some crossings.
    pub fn of<'a>(crossings: impl IntoIterator<Item = &'a Crossing>) -> Self {
        Self {
            counts: count(crossings),
            unwatched: BTreeMap::new(),
        }
    }

    /// How often `point` was crossed on the threads that were watched.
    pub fn count(&self, point: CrashPoint) -> u64 {
        let counts = self.counts.iter().filter(|((name, _), _)| *name == point.name());
        counts.map(|(_, count)| count).sum()
    }
}

/// By the point's and the thread's name.
type CrossingCounts = BTreeMap<(&'static str, String), u64>;

fn count<'a>(crossings: impl IntoIterator<Item = &'a Crossing>) -> CrossingCounts {
    let mut counts = BTreeMap::new();
    for crossing in crossings {
        let key = (crossing.point.name(), crossing.thread_text());
        *counts.entry(key).or_default() += 1;
    }
    counts
}

impl fmt::Display for Crossed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, counts: &CrossingCounts| {
            for (index, ((point, thread), count)) in counts.iter().enumerate() {
                let separator = if index == 0 { "" } else { ", " };
                write!(f, "{separator}{point} {count} times on thread {thread}")?;
            }
            Ok(())
        };
        if self.counts.is_empty() {
            f.write_str("nothing was crossed")?;
        } else {
            f.write_str("crossed were: ")?;
            list(f, &self.counts)?;
        }
        if !self.unwatched.is_empty() {
            f.write_str("; on unwatched threads, perhaps of other tests: ")?;
            list(f, &self.unwatched)?;
        }
        Ok(())
    }
}

/// A run that ended where it was to crash.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Crashed {
    /// At which point.
    pub point: CrashPoint,
    /// How many crossings of the point came before.
    pub crossing: u64,
    /// The crossings until then, that one included.
    pub crossed: Crossed,
}

/// Why a run did not end with its crash.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotCrashedReason {
    /// The point was not crossed often enough.
    NeverFired,
    /// Nothing was crossed at all.
    NothingCrossed,
    /// The crash ended another thread, of this name.
    OnAnotherThread(String),
    /// The crash unwound and the run caught it.
    Swallowed,
    /// Another panic took its place; this is its message.
    ReplacedByPanic(String),
}

/// A run that was to crash and did not end that way.
pub struct NotCrashed<T> {
    /// Where it was to crash.
    pub point: CrashPoint,
    /// At which crossing.
    pub crossing: u64,
    /// Why it did not.
    pub why: NotCrashedReason,
    /// The crossings instead.
    pub crossed: Crossed,
    /// The value that the run returned, if it returned.
    pub value: Option<T>,
}

impl<T> fmt::Debug for NotCrashed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `expect` prints this form: a person reads it.
        write!(f, "{self}")
    }
}

impl<T> fmt::Display for NotCrashed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crash = format!("crash at {}#{}", self.point, self.crossing);
        let end = match &self.why {
            NotCrashedReason::NeverFired => format!("no {crash}: it was never crossed that often"),
            NotCrashedReason::NothingCrossed => format!("no {crash}: the run tests nothing"),
            NotCrashedReason::OnAnotherThread(thread) => {
                format!("the {crash} ended thread {thread} and not the run")
            }
            NotCrashedReason::Swallowed => format!("the {crash} was caught inside the run"),
            NotCrashedReason::ReplacedByPanic(text) => {
                format!("the {crash} was replaced by another panic: {text}")
            }
        };
        write!(f, "{end}; {}", self.crossed)
    }
}

impl<T> Error for NotCrashed<T> {}

/// Runs `f` until it crashes at the crossing of `point` that has `crossing` crossings before it.
///
/// # Errors
/// [`NotCrashed`] if it did not end by that crash, whatever else it did.
///
/// # Panics
/// With the panic of `f`, if it panicked before it was to crash.
///
/// # Examples
/// ```
/// use tidaldb::testing::{CrashPoint, WhyNot, check_crash_point, run_to_crash};
///
/// let append = || check_crash_point(CrashPoint::WalPreAggregate);
/// let crashed = run_to_crash(CrashPoint::WalPreAggregate, 0, append)?;
/// assert_eq!(crashed.crossed.count(CrashPoint::WalPreAggregate), 1);
///
/// let Err(not_crashed) = run_to_crash(CrashPoint::WalPreAggregate, 1, append) else { unreachable!() };
/// assert_eq!(not_crashed.why, WhyNot::NeverFired);
/// println!("{not_crashed}"); // ... crossed were: WalPreAggregate 1 times on thread main
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
    let crossings = recorder.crossings();
    let crossed = Crossed {
        counts: count(&crossings),
        unwatched: count(&listener.heard()),
    };
    let fired = crossings
        .iter()
        .find(|it| it.point == point && it.ordinal == Some(crossing));
    let elsewhere = fired.filter(|it| it.thread != thread::current().id());
    let (why, value) = match outcome {
        Ok(Err(_)) => {
            return Ok(Crashed {
                point,
                crossing,
                crossed,
            });
        }
        Ok(Ok(value)) => {
            let why = match elsewhere {
                _ if crossings.is_empty() && !injector.has_fired() => NotCrashedReason::NothingCrossed,
                _ if !injector.has_fired() => NotCrashedReason::NeverFired,
                Some(it) => NotCrashedReason::OnAnotherThread(it.thread_text()),
                None => NotCrashedReason::Swallowed,
            };
            (why, Some(value))
        }
        Err(payload) if injector.has_fired() => {
            (NotCrashedReason::ReplacedByPanic(panic_text(&*payload)), None)
        }
        Err(payload) => resume_unwind(payload),
    };
    Err(NotCrashed {
        point,
        crossing,
        why,
        crossed,
        value,
    })
}
