//! The threads of a scheduler: the thread-local that makes a thread scheduled, and the start and end of a run.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::decision::Chooser;
use super::record::{RunEnd, ScheduledRun};
use super::step::{CALLS, DISK, ObjectKey, Place, StepAction};
use super::turns::Scheduler;
use crate::testing::crash_injector::{CrossingRecorder, inherit, scoped_recorder};
use crate::testing::text::panic_text;

thread_local! {
    /// True while the thread is scheduled. Without a destructor, so code of other destructors can read it.
    static IS_SCHEDULED: Cell<bool> = const { Cell::new(false) };
    static CURRENT: RefCell<Option<ScheduledThread>> = const { RefCell::new(None) };
}

/// The calling thread, as a thread of a scheduler.
#[derive(Debug, Clone)]
pub(in crate::testing) struct ScheduledThread {
    scheduler: Arc<Scheduler>,
    index: usize,
}

impl ScheduledThread {
    /// The calling thread, if it is scheduled.
    #[inline]
    pub(in crate::testing) fn current() -> Option<Self> {
        if IS_SCHEDULED.get() {
            CURRENT
                .try_with(|current| current.borrow().clone())
                .ok()
                .flatten()
        } else {
            None
        }
    }

    /// Makes a step. Returns when this thread is chosen.
    pub(in crate::testing) fn step(
        &self,
        action: StepAction,
        key: Option<&ObjectKey>,
        location: &'static Location<'static>,
    ) {
        self.scheduler
            .step(self.index, action, key, Place::Code(location));
    }

    /// Tries to take a lock. Returns true if it was free.
    pub(in crate::testing) fn try_lock(&self, key: &ObjectKey, location: &'static Location<'static>) -> bool {
        self.scheduler.try_lock(self.index, key, Place::Code(location))
    }

    /// Waits for a notification; see [`Scheduler::wait`].
    pub(in crate::testing) fn wait(
        &self,
        keys: (&ObjectKey, &ObjectKey),
        until: Option<Duration>,
        location: &'static Location<'static>,
        release: impl FnOnce(),
    ) -> bool {
        self.scheduler
            .wait(self.index, keys, until, Place::Code(location), release)
    }

    /// Wakes threads that wait for a notification.
    pub(in crate::testing) fn notify(
        &self,
        action: StepAction,
        key: &ObjectKey,
        location: &'static Location<'static>,
    ) {
        self.scheduler
            .notify(self.index, action, key, Place::Code(location));
    }

    /// Lets simulated time pass.
    pub(in crate::testing) fn sleep(&self, time: Duration, location: &'static Location<'static>) {
        self.scheduler.sleep(self.index, time, Place::Code(location));
    }

    /// The simulated time since the start of the run.
    pub(in crate::testing) fn now(&self) -> Duration {
        self.scheduler.now()
    }

    /// Makes the step of spawning a thread.
    pub(in crate::testing) fn register_spawned(
        &self,
        name: &str,
        location: &'static Location<'static>,
    ) -> SpawnedThread {
        let index = self.scheduler.register(self.index, name, Place::Code(location));
        SpawnedThread {
            thread: Some(Self {
                scheduler: Arc::clone(&self.scheduler),
                index,
            }),
            index,
        }
    }

    /// Makes the step at the beginning or the end of a call.
    pub(in crate::testing) fn call_step(&self, action: StepAction, text: &Arc<str>) {
        let place = Place::Text(Arc::clone(text));
        self.scheduler.step_with(self.index, action, CALLS, place);
    }

    /// Allows or forbids deviations at later decisions.
    pub(in crate::testing) fn set_may_deviate(&self, may_deviate: bool) {
        self.scheduler.set_may_deviate(may_deviate);
    }

    /// Runs `body` as this thread.
    fn run<T>(self, body: impl FnOnce() -> T) -> T {
        let (scheduler, index) = (Arc::clone(&self.scheduler), self.index);
        CURRENT.set(Some(self));
        IS_SCHEDULED.set(true);
        scheduler.begin(index);
        let result = catch_unwind(AssertUnwindSafe(body));
        IS_SCHEDULED.set(false);
        CURRENT.set(None);
        let panic = result.as_ref().err().map(|payload| panic_text(&**payload));
        scheduler.end(index, panic.as_deref());
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }
}

/// A thread that the scheduler awaits and that does not run yet.
#[derive(Debug)]
pub(in crate::testing) struct SpawnedThread {
    /// `None` once it runs.
    thread: Option<ScheduledThread>,
    index: usize,
}

impl SpawnedThread {
    pub(in crate::testing) fn index(&self) -> usize {
        self.index
    }

    /// Runs `body` on the calling thread, which is the new thread.
    pub(in crate::testing) fn run<T>(mut self, body: impl FnOnce() -> T) -> T {
        match self.thread.take() {
            Some(thread) => thread.run(body),
            None => unreachable!("a spawned thread runs once"),
        }
    }
}

impl Drop for SpawnedThread {
    /// Ends the thread if the operating system refused it. The calling thread is the one that spawned it.
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.scheduler.cancel(thread.index);
        }
    }
}

/// Runs `body` without steps. It must not panic, and must take no lock that another scheduled thread can hold.
pub(in crate::testing) fn unscheduled<T>(body: impl FnOnce() -> T) -> T {
    let was_scheduled = IS_SCHEDULED.replace(false);
    let result = body();
    IS_SCHEDULED.set(was_scheduled);
    result
}

/// Makes the step of a file call, if the calling thread is scheduled. `action` is one of those of files.
pub(in crate::testing) fn file_step(kind: &'static str, action: StepAction, path: &Arc<Path>) {
    if let Some(thread) = ScheduledThread::current() {
        let place = Place::File(kind, Arc::clone(path));
        let object = if action == StepAction::CheckFile { 0 } else { DISK };
        thread.scheduler.step_with(thread.index, action, object, place);
    }
}

/// Notes that the last file call of the calling thread, if it is scheduled, had the injected fault with this hash.
/// Different faults leave different disks, also if the call returns the same error.
pub(in crate::testing) fn note_fault(hash: u64) {
    if let Some(thread) = ScheduledThread::current() {
        thread.scheduler.note_outcome(thread.index, hash);
    }
}

/// The number of runs of the process.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// A run is stuck if its running thread makes no step for this time. The scheduler cannot see locks of the standard
/// library.
const STEP_TIME_MAX: Duration = Duration::from_secs(30);

/// Runs `body` as the first thread of a new scheduler. Returns the record of the run, and the result of `body` if the
/// every thread ended: its value, or the payload of its panic.
pub(in crate::testing) fn run<T: Send + 'static>(
    chooser: Chooser,
    body: impl FnOnce() -> T + Send + 'static,
) -> (ScheduledRun, Option<std::thread::Result<T>>) {
    run_within(STEP_TIME_MAX, chooser, body)
}

/// Like [`run`], with another limit of the time without a step.
pub(super) fn run_within<T: Send + 'static>(
    step_time_max: Duration,
    chooser: Chooser,
    body: impl FnOnce() -> T + Send + 'static,
) -> (ScheduledRun, Option<std::thread::Result<T>>) {
    let run = 1 + RUNS.fetch_add(1, Ordering::Relaxed);
    let scheduler = Scheduler::new(run, chooser);
    let first = ScheduledThread {
        scheduler: Arc::clone(&scheduler),
        index: 0,
    };
    let recorder = CrossingRecorder::with_callback(|point| {
        if let Some(thread) = ScheduledThread::current() {
            let place = Place::Text("".into());
            thread
                .scheduler
                .step(thread.index, StepAction::Cross(point), None, place);
        }
    });
    let body = inherit(move || {
        let _recording = scoped_recorder(&recorder);
        first.run(body)
    });
    let spawned = std::thread::Builder::new()
        .name("tidaldb-scheduled".to_owned())
        .spawn(body);
    let handle = match spawned {
        Ok(handle) => handle,
        Err(error) => panic!("cannot start a thread: {error}"),
    };
    let record = scheduler.record(step_time_max);
    let result = match record.end {
        RunEnd::Completed => Some(handle.join()),
        RunEnd::Stuck(_) => None,
    };
    (record, result)
}
