//! What became of a run that was to crash, as types that cannot be mistaken for one another.
//!
//! A run that completed and a run that crashed are different types. A run that was to crash and did not is an error, and
//! its message says what was crossed instead: a test that crashes nothing does not pass.
//!
//! Results that a test must look at are `#[must_use]`. Where unused results are errors, this compiles,
//! ```
//! #![deny(unused_must_use)]
//! use tidaldb::testing::{CrashPoint, CrashSweep, Plan, SimDisk, conformance, oracle};
//! # fn all(check: &conformance::Conformance, oracle: &oracle::Oracle, db: &tidaldb::TidalDb, disk: &SimDisk) {
//! let _ = CrashSweep::standard(7, 4).run();
//! let _ = tidaldb::testing::run_plan(&Plan::standard(7, 4));
//! let _ = tidaldb::testing::run_to_crash(CrashPoint::WalPreAggregate, 0, || ());
//! let _ = check.check();
//! let _ = oracle.check(oracle::Death::PowerLoss, db);
//! let _ = disk.life_after_death();
//! # }
//! ```
//! and none of these does:
//! ```compile_fail
//! #![deny(unused_must_use)]
//! tidaldb::testing::CrashSweep::standard(7, 4).run();
//! ```
//! ```compile_fail
//! #![deny(unused_must_use)]
//! tidaldb::testing::run_plan(&tidaldb::testing::Plan::standard(7, 4));
//! ```
//! ```compile_fail
//! #![deny(unused_must_use)]
//! tidaldb::testing::run_to_crash(tidaldb::testing::CrashPoint::WalPreAggregate, 0, || ());
//! ```
//! ```compile_fail
//! #![deny(unused_must_use)]
//! fn dropped(check: &tidaldb::testing::conformance::Conformance) {
//!     check.check();
//! }
//! ```
//! ```compile_fail
//! #![deny(unused_must_use)]
//! fn dropped(oracle: &tidaldb::testing::oracle::Oracle, db: &tidaldb::TidalDb) {
//!     oracle.check(tidaldb::testing::oracle::Death::PowerLoss, db);
//! }
//! ```
//! ```compile_fail
//! #![deny(unused_must_use)]
//! fn dropped(disk: &tidaldb::testing::SimDisk) {
//!     disk.life_after_death();
//! }
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use super::{
    CrashInjector, CrashPoint, Crossing, CrossingRecorder, UnwatchedListener, run_with_crash, scoped_recorder,
};
use crate::testing::text::panic_text;

/// What was crossed, how often, on which thread.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Crossed {
    counts: BTreeMap<(&'static str, String), u64>,
    unwatched: BTreeMap<(&'static str, String), u64>,
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

    /// Returns true if no crash point was crossed on the threads that were watched.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

fn count<'a>(crossings: impl IntoIterator<Item = &'a Crossing>) -> BTreeMap<(&'static str, String), u64> {
    let mut counts = BTreeMap::new();
    for crossing in crossings {
        let thread = match &crossing.thread_name {
            Some(name) => name.clone(),
            None => format!("{:?}", crossing.thread),
        };
        *counts.entry((crossing.point.name(), thread)).or_default() += 1;
    }
    counts
}

impl fmt::Display for Crossed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, counts: &BTreeMap<(&str, String), u64>| {
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
    /// What was crossed until then, that crossing included.
    pub crossed: Crossed,
}

/// A run that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Completed<T> {
    /// What it returned.
    pub value: T,
    /// What it crossed.
    pub crossed: Crossed,
}

/// Why a run did not end with its crash.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyNot {
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
    pub why: WhyNot,
    /// What was crossed instead.
    pub crossed: Crossed,
    /// What the run returned, if it did.
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
        let Self { point, crossing, .. } = self;
        match &self.why {
            WhyNot::NeverFired => write!(
                f,
                "no crash at {point}#{crossing}: it was never crossed that often"
            )?,
            WhyNot::NothingCrossed => write!(f, "no crash at {point}#{crossing}: the run tests nothing")?,
            WhyNot::OnAnotherThread(thread) => write!(
                f,
                "the crash at {point}#{crossing} ended thread {thread} and not the run"
            )?,
            WhyNot::Swallowed => write!(f, "the crash at {point}#{crossing} was caught inside the run")?,
            WhyNot::ReplacedByPanic(message) => write!(
                f,
                "the crash at {point}#{crossing} was replaced by another panic: {message}"
            )?,
        }
        write!(f, "; {}", self.crossed)
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
    let not = |why, value| {
        Err(NotCrashed {
            point,
            crossing,
            why,
            crossed: crossed.clone(),
            value,
        })
    };
    match outcome {
        Ok(Err(_)) => Ok(Crashed {
            point,
            crossing,
            crossed,
        }),
        Ok(Ok(value)) if !injector.has_fired() => {
            let why = if crossings.is_empty() {
                WhyNot::NothingCrossed
            } else {
                WhyNot::NeverFired
            };
            not(why, Some(value))
        }
        Ok(Ok(value)) => {
            let fired = crossings
                .iter()
                .find(|it| it.point == point && it.ordinal == Some(crossing));
            let elsewhere = fired.filter(|it| it.thread != thread::current().id());
            let why = match elsewhere {
                Some(it) => WhyNot::OnAnotherThread(
                    it.thread_name
                        .clone()
                        .unwrap_or_else(|| format!("{:?}", it.thread)),
                ),
                None => WhyNot::Swallowed,
            };
            not(why, Some(value))
        }
        Err(payload) if injector.has_fired() => not(WhyNot::ReplacedByPanic(panic_text(&*payload)), None),
        Err(payload) => resume_unwind(payload),
    }
}

/// A run that was to cross crash points and crossed none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestsNothing {
    crossed: Crossed,
}

impl fmt::Display for TestsNothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the run tests nothing: {}", self.crossed)
    }
}

impl Error for TestsNothing {}

/// Runs `f` to its end and lists what it crossed on the calling thread and those that inherit from it.
///
/// # Errors
/// [`TestsNothing`] if it crossed nothing.
pub fn run_to_end<T>(f: impl FnOnce() -> T) -> Result<Completed<T>, TestsNothing> {
    let recorder = CrossingRecorder::new();
    let listener = UnwatchedListener::new();
    let value = {
        let _recording = scoped_recorder(&recorder);
        f()
    };
    let crossed = Crossed {
        counts: count(&recorder.crossings()),
        unwatched: count(&listener.heard()),
    };
    if crossed.is_empty() {
        return Err(TestsNothing { crossed });
    }
    Ok(Completed { value, crossed })
}
