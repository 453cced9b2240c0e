//! The recorder: lists the crossings of all points on the threads that it watches. It does not crash.
//!
//! A sweep records one run without crashes to find all crash positions. Invariant: an injector for the point of a
//! crossing, with the crossing's ordinal as `fire_after_n`, fires at exactly this crossing in a run with the same
//! crossings.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use super::point::CrashPoint;
use crate::testing::lock::lock;

/// One crossing of a crash point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossing {
    /// The point that was crossed.
    pub point: CrashPoint,
    /// The number of earlier crossings of the same point on all watched threads. `None` if no injector can count the
    /// crossing: the thread was panicking or is not watched.
    pub ordinal: Option<u64>,
    /// The thread of the crossing.
    pub thread: ThreadId,
    /// The thread's name, if it has one.
    pub thread_name: Option<String>,
}

impl Crossing {
    /// A crossing of the calling thread.
    pub(super) fn by_this_thread(point: CrashPoint, ordinal: Option<u64>) -> Self {
        let thread = thread::current();
        Self {
            point,
            ordinal,
            thread: thread.id(),
            thread_name: thread.name().map(str::to_owned),
        }
    }

    /// The thread's name, or its id if it has no name.
    pub(super) fn thread_text(&self) -> String {
        let id = || format!("{:?}", self.thread);
        self.thread_name.clone().unwrap_or_else(id)
    }
}

/// Records the crossings of all points on every thread with the recorder in its slot. Threads inherit it with the slot.
///
/// A slot can have a recorder and an injector. The recorder does not change the effect of the injector. A test disk can
/// call [`watches_this_thread`](Self::watches_this_thread) in each of its calls. If an unwatched thread calls the disk,
/// the sweep is incomplete, because it never crashes that thread.
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
    callback: Option<Box<dyn Fn(CrashPoint) + Send + Sync>>,
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
    /// An empty recorder that watches no thread. [`scoped_recorder`](super::scoped_recorder) puts it into a slot.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// An empty recorder that calls `callback` after each recorded crossing, on the thread of the crossing. The
    /// callback can inspect the state, or wait for other threads. It can cross points, and must not panic. It is not
    /// called for a crossing on a panicking thread.
    pub fn with_callback(callback: impl Fn(CrashPoint) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            callback: Some(Box::new(callback)),
            ..Self::default()
        })
    }

    /// The crossings recorded so far, in one order over all threads.
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
        recorded.crossings.push(Crossing::by_this_thread(point, ordinal));
        drop(recorded);
        if let Some(callback) = self.callback.as_ref().filter(|_| ordinal.is_some()) {
            callback(point);
        }
    }
}
