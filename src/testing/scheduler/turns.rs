//! The scheduler: runs one of its threads at a time, and chooses the next one at each step.
//!
//! Owns the state of the threads of one run, and a model of the locks that they hold. Invariants: only the thread
//! `current` runs; every other thread is parked, or is on its way to park. A lock of the model is held exactly while the
//! thread holds the lock of the standard library, except within a step.
//!
//! Each step is a decision if more than one thread can run. The *default* is to continue with the same thread, or with
//! the next one if the thread cannot run or yields. All other choices are deviations; a schedule is a list of them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::decision::Chooser;
use super::record::{RunEnd, ScheduledRun};
use super::state::{PendingStep, SchedulerState, ThreadStatus, mix};
use super::step::{DISK, ObjectKey, Place, StepAction, THREAD_NUMBERS};
use super::stuck::StuckKind;

/// The largest number of threads of a run.
pub(in crate::testing) const THREADS_MAX: usize = 32;
/// The largest number of steps of a run.
pub(in crate::testing) const STEPS_MAX: usize = 2_000_000;

/// See the [module](self).
#[derive(Debug)]
pub(in crate::testing) struct Scheduler {
    /// The number of the run in this process.
    run: u64,
    state: Mutex<SchedulerState>,
    ended: Condvar,
}

impl Scheduler {
    pub(in crate::testing) fn new(run: u64, chooser: Chooser) -> Arc<Self> {
        let state = SchedulerState::new(chooser);
        Arc::new(Self {
            run,
            state: Mutex::new(state),
            ended: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, SchedulerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of the run, and takes its record. The run is stuck if no step comes within `step_time_max`.
    pub(in crate::testing) fn record(&self, step_time_max: Duration) -> ScheduledRun {
        let mut state = self.lock();
        while state.end.is_none() {
            let steps_len = state.steps.len();
            let waited = self
                .ended
                .wait_timeout_while(state, step_time_max, |state| state.end.is_none());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.end.is_none() && state.steps.len() == steps_len {
                self.set_stuck(&mut state, Some(StuckKind::NoStep));
            }
        }
        let state = &mut *state;
        let end = match &state.end {
            Some(end) => end.clone(),
            None => unreachable!("the wait ends with the run"),
        };
        ScheduledRun {
            end,
            accesses: std::mem::take(&mut state.accesses).into_iter().collect(),
            decisions: std::mem::take(&mut state.decisions),
            steps: std::mem::take(&mut state.steps),
            disk_steps: std::mem::take(&mut state.disk_steps),
            thread_names: state.threads.iter().map(|thread| thread.name.clone()).collect(),
            panics: std::mem::take(&mut state.panics),
            fingerprint: state.fingerprint,
            schedule_fits: state.chooser.fits(),
        }
    }

    /// The simulated time since the start of the run.
    pub(in crate::testing) fn now(&self) -> Duration {
        self.lock().now
    }

    /// Makes a step of the running thread. Returns when the thread is chosen and the step is made.
    pub(in crate::testing) fn step(
        &self,
        thread: usize,
        action: StepAction,
        key: Option<&ObjectKey>,
        place: Place,
    ) {
        let mut state = self.lock();
        let object = key.map_or(0, |key| state.id_of(key, self.run, thread));
        drop(self.step_on(state, thread, action, object, place));
    }

    /// Makes a step on the disk, on the calls of the program, or on no object.
    pub(in crate::testing) fn step_with(&self, thread: usize, action: StepAction, object: u64, place: Place) {
        drop(self.step_on(self.lock(), thread, action, object, place));
    }

    fn step_on<'a>(
        &'a self,
        mut state: MutexGuard<'a, SchedulerState>,
        thread: usize,
        action: StepAction,
        object: u64,
        place: Place,
    ) -> MutexGuard<'a, SchedulerState> {
        state.threads[thread].pending = PendingStep {
            action,
            object,
            place,
        };
        if action == StepAction::Yield {
            state.threads[thread].has_yielded = true;
            if state.has_spun_long(thread) && !state.make_timer_due(thread) {
                return self.stop(state, StuckKind::EndlessSpin);
            }
        }
        if state.steps.len() > STEPS_MAX {
            return self.stop(state, StuckKind::NoEnd);
        }
        state = self.switch(state, thread);
        if action == StepAction::WriteLock && !state.objects.entry(object).or_default().is_free() {
            // The attempt blocks new readers.
            state.record_step(thread);
            state.object(object).waiting_writers_len += 1;
            state.threads[thread].status = ThreadStatus::WaitingWriter;
            state = self.switch(state, thread);
            state.threads[thread].status = ThreadStatus::Ready;
            state.object(object).waiting_writers_len -= 1;
        }
        state.perform(thread);
        state
    }

    /// Tries to take a lock. Returns true if it was free.
    pub(in crate::testing) fn try_lock(&self, thread: usize, key: &ObjectKey, place: Place) -> bool {
        let mut state = self.lock();
        let object = state.id_of(key, self.run, thread);
        let mut state = self.step_on(state, thread, StepAction::TryLock, object, place);
        let lock = state.object(object);
        let is_free = lock.is_free();
        lock.is_held = true;
        is_free
    }

    /// Waits for a notification, at most until the simulated time `until`. `release` releases the mutex, which is free
    /// from then on, and held again on return. Returns true if the time has come.
    pub(in crate::testing) fn wait(
        &self,
        thread: usize,
        (condvar, mutex): (&ObjectKey, &ObjectKey),
        until: Option<Duration>,
        place: Place,
        release: impl FnOnce(),
    ) -> bool {
        let mut state = self.lock();
        let condvar = state.id_of(condvar, self.run, thread);
        let mutex = state.id_of(mutex, self.run, thread);
        let mut state = self.step_on(state, thread, StepAction::Wait { mutex }, condvar, place.clone());
        release();
        state.threads[thread].pending = PendingStep {
            action: StepAction::Unlock,
            object: mutex,
            place: place.clone(),
        };
        state.perform(thread);
        let since = state.steps.len();
        state.threads[thread].pending = PendingStep {
            action: StepAction::Lock,
            object: mutex,
            place,
        };
        state.threads[thread].status = ThreadStatus::Waiting {
            condvar,
            mutex,
            until,
            since,
        };
        state = self.switch(state, thread);
        state.perform(thread);
        std::mem::take(&mut state.threads[thread].timed_out)
    }

    /// Makes the step of a notification, and wakes the waiting threads.
    pub(in crate::testing) fn notify(
        &self,
        thread: usize,
        action: StepAction,
        key: &ObjectKey,
        place: Place,
    ) {
        let mut state = self.lock();
        let condvar = state.id_of(key, self.run, thread);
        let mut state = self.step_on(state, thread, action, condvar, place);
        let mut waiting = state.waiting_for(condvar);
        if action == StepAction::NotifyOne && waiting.len() > 1 {
            let chosen = state.choose_woken(thread, &waiting);
            waiting = vec![chosen];
        }
        let cause = state.threads[thread].last_step_hash;
        for woken in waiting {
            let woken = &mut state.threads[woken];
            woken.status = ThreadStatus::Ready;
            woken.last_step_hash = mix(woken.last_step_hash, cause);
            woken.woken_by_timer = false;
        }
    }

    /// Lets simulated time pass.
    pub(in crate::testing) fn sleep(&self, thread: usize, time: Duration, place: Place) {
        let mut state = self.step_on(self.lock(), thread, StepAction::Sleep, 0, place);
        let until = state.now.saturating_add(time);
        state.threads[thread].status = ThreadStatus::Sleeping { until };
        let mut state = self.switch(state, thread);
        state.threads[thread].timed_out = false;
    }

    /// Makes the step of spawning. Returns the index of the new thread.
    pub(in crate::testing) fn register(&self, parent: usize, name: &str, place: Place) -> usize {
        let mut state = self.step_on(self.lock(), parent, StepAction::Spawn, THREAD_NUMBERS, place);
        let id = mix(state.threads[parent].last_step_hash, 0x0073_7061_776e);
        assert!(
            state.threads.len() < THREADS_MAX,
            "a scheduled program has at most {THREADS_MAX} threads"
        );
        state.add_thread(name, id)
    }

    /// The first step of a thread, on that thread.
    pub(in crate::testing) fn begin(&self, thread: usize) {
        let mut state = self.lock();
        state.threads[thread].handle = Some(thread::current());
        let mut state = self.wait_turn(state, thread);
        state.perform(thread);
    }

    /// The last step of a thread, after which it is not scheduled any more. `panic` is the message of the panic that ended
    /// the thread, if any.
    pub(in crate::testing) fn end(&self, thread: usize, panic: Option<&str>) {
        let mut state = self.lock();
        if let Some(panic) = panic {
            let text = format!("thread {}: {panic}", state.threads[thread].name);
            state.panics.push(text);
        }
        state.threads[thread].pending = PendingStep {
            action: StepAction::End,
            object: 0,
            place: Place::Text("".into()),
        };
        state.perform(thread);
        state.threads[thread].status = ThreadStatus::Ended;
        let mut threads = state.threads.iter();
        if threads.all(|thread| thread.status == ThreadStatus::Ended) {
            state.end = Some(RunEnd::Completed);
            self.ended.notify_all();
            return;
        }
        match state.choose(thread) {
            Some(next) => state.hand_over(next),
            None => self.set_stuck(&mut state, None),
        }
    }

    /// Allows or forbids deviations at later decisions.
    pub(in crate::testing) fn set_may_deviate(&self, may_deviate: bool) {
        self.lock().may_deviate = may_deviate;
    }

    /// Ends a thread that the operating system refused to start.
    pub(in crate::testing) fn cancel(&self, thread: usize) {
        self.lock().threads[thread].status = ThreadStatus::Ended;
    }

    /// Mixes the outcome of the running thread's last step into the fingerprint.
    pub(in crate::testing) fn note_outcome(&self, thread: usize, outcome: u64) {
        let mut state = self.lock();
        let event = mix(state.threads[thread].last_step_hash, outcome);
        state.threads[thread].last_step_hash = event;
        state.object(DISK).last_change = event;
        state.fingerprint = state.fingerprint.wrapping_add(event);
    }

    /// Chooses the next thread. Returns when `thread` is chosen.
    fn switch<'a>(
        &'a self,
        mut state: MutexGuard<'a, SchedulerState>,
        thread: usize,
    ) -> MutexGuard<'a, SchedulerState> {
        match state.choose(thread) {
            Some(next) if next == thread => state,
            Some(next) => {
                state.hand_over(next);
                self.wait_turn(state, thread)
            }
            None => {
                self.set_stuck(&mut state, None);
                Self::park_forever(state)
            }
        }
    }

    fn wait_turn<'a>(
        &'a self,
        mut state: MutexGuard<'a, SchedulerState>,
        thread: usize,
    ) -> MutexGuard<'a, SchedulerState> {
        while state.current != thread || state.end.is_some() {
            drop(state);
            thread::park();
            state = self.lock();
        }
        state
    }

    /// Ends the run. Its threads stay parked.
    fn stop<'a>(
        &'a self,
        mut state: MutexGuard<'a, SchedulerState>,
        kind: StuckKind,
    ) -> MutexGuard<'a, SchedulerState> {
        self.set_stuck(&mut state, Some(kind));
        Self::park_forever(state)
    }

    fn set_stuck(&self, state: &mut SchedulerState, kind: Option<StuckKind>) {
        state.end = Some(RunEnd::Stuck(state.stuck(kind)));
        self.ended.notify_all();
    }

    fn park_forever(state: MutexGuard<'_, SchedulerState>) -> MutexGuard<'_, SchedulerState> {
        drop(state);
        loop {
            thread::park();
        }
    }
}
