//! The recorder: lists every crossing made on the threads it watches, of all points, without a crash.
//!
//! The recording run of an enumeration uses it to learn which crashes there are. Invariant: the ordinal of a
//! crossing is the `fire_after_n` with which an injector for its point, in the same run, fires at exactly
//! that crossing.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use super::point::CrashPoint;
use crate::lock::lock;

/// One crossing of a crash point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossing {
    /// The point that was crossed.
    pub point: CrashPoint,
    /// How many crossings of the same point came before it, all watched threads together. `None` for one that
    /// no injector would have counted: made while the thread was panicking, or on a thread that nobody
    /// watches.
    pub ordinal: Option<u64>,
    /// The thread that crossed it.
    pub thread: ThreadId,
    /// That thread's name, if it has one.
    pub thread_name: Option<String>,
}

impl Crossing {
    /// A crossing by the calling thread.
    pub(super) fn here(point: CrashPoint, ordinal: Option<u64>) -> Self {
        let thread = thread::current();
        Self {
            point,
            ordinal,
            thread: thread.id(),
            thread_name: thread.name().map(str::to_owned),
        }
    }

    /// The thread's name, or else its id.
    pub(super) fn thread_text(&self) -> String {
        let id = || format!("{:?}", self.thread);
        self.thread_name.clone().unwrap_or_else(id)
    }
}

/// Records the crossings of all points on every thread whose slot it is in, and on those that inherit it.
///
/// It stands beside the slot's injector and changes nothing of what that does. A kit asks
/// [`watches_this_thread`](Self::watches_this_thread) in each call that reaches its device: a thread that
/// works on the plan's files and is not watched makes the plan void, because a crash on it would never be
/// explored.
///
/// # Examples
/// ```
/// use tidaldb::testing::{CrashPoint, CrossingRecorder, check_crash_point, scoped_recorder};
///
/// let recorder = CrossingRecorder::new();
/// {
///     let _recording = scoped_recorder(&recorder);
///     check_crash_point(CrashPoint::WalPreAggregate);
///     check_crash_point(CrashPoint::WalPostAggregate);
///     check_crash_point(CrashPoint::WalPreAggregate);
/// }
/// let ordinals: Vec<_> = recorder.crossings().into_iter().map(|it| (it.point, it.ordinal)).collect();
/// assert_eq!(
///     ordinals,
///     [
///         (CrashPoint::WalPreAggregate, Some(0)),
///         (CrashPoint::WalPostAggregate, Some(0)),
///         (CrashPoint::WalPreAggregate, Some(1)),
///     ]
/// );
/// ```
#[derive(Default)]
pub struct CrossingRecorder {
    recorded: Mutex<RecordedCrossings>,
    then: Option<Box<dyn Fn(CrashPoint) + Send + Sync>>,
}

impl fmt::Debug for CrossingRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrossingRecorder")
            .field("recorded", &self.recorded)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct RecordedCrossings {
    crossings: Vec<Crossing>,
    /// The next ordinal of each point.
    ordinals: [u64; CrashPoint::ALL.len()],
}

impl CrossingRecorder {
    /// A recorder that has recorded nothing and watches no thread yet: see
    /// [`scoped_recorder`](super::scoped_recorder).
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// One that calls `then` after it recorded a crossing, on the thread of the crossing: to look at something
    /// there, or to let other threads go first. It may cross points itself, and must not panic. A crossing of a
    /// thread that is panicking is recorded only.
    pub fn calling(then: impl Fn(CrashPoint) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            then: Some(Box::new(then)),
            ..Self::default()
        })
    }

    /// Everything recorded so far, in one order over all threads.
    pub fn crossings(&self) -> Vec<Crossing> {
        lock(&self.recorded).crossings.clone()
    }

    /// The number of crossings recorded so far.
    pub fn crossings_len(&self) -> usize {
        lock(&self.recorded).crossings.len()
    }

    #[cold]
    pub(super) fn record(&self, point: CrashPoint) {
        let mut recorded = lock(&self.recorded);
        let next = &mut recorded.ordinals[point as usize];
        let ordinal = (!thread::panicking()).then_some(*next);
        *next += u64::from(ordinal.is_some());
        recorded.crossings.push(Crossing::here(point, ordinal));
        drop(recorded);
        if let Some(then) = self.then.as_ref().filter(|_| ordinal.is_some()) {
            then(point);
        }
    }
}
