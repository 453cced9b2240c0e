//! The scheduler: runs one of its threads at a time, and chooses the next one at each step.
//!
//! Owns the state of the threads of one run, and a model of the locks that they hold. Invariants: only the thread
//! `current` runs; every other thread is parked, or is on its way to park. A lock of the model is held exactly while the
//! thread holds the lock of the standard library, except within a step.
//!
//! Each step is a decision if more than one thread can run. The *default* is to continue with the same thread, or with
//! the next one if the thread cannot run or yields. All other choices are deviations; a schedule is a list of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::decision::{Chooser, Decision, DecisionKind, DiskStep};
use super::step::{Action, DISK, ObjectKey, Place, Step, THREAD_NUMBERS};
use super::stuck::{Stuck, StuckKind, StuckThread};

/// The largest number of threads of a run.
pub(in crate::testing) const THREADS_MAX: usize = 32;
/// A thread that yields this number of times while no other thread changes anything spins forever. The engine spins at
/// most a fifth of it before it waits.
const SPINS_MAX: u32 = 10_000;
/// The number of times in a run that a timer fires because a thread spins for a long time. The next such thread spins
/// forever.
const SPIN_TIMERS_MAX: u32 = 16;
/// If only timers fire this number of times in a row, no other thread can continue.
const IDLE_TIMERS_MAX: u32 = 1000;
/// The largest number of steps of a run.
const STEPS_MAX: usize = 2_000_000;

/// The reason for which a run ended.
#[derive(Debug, Clone)]
pub(in crate::testing) enum RunEnd {
    /// Every thread has ended.
    Completed,
    /// No thread can continue. The threads stay parked until the process ends.
    Stuck(Stuck),
}

/// The record of a run.
#[derive(Debug)]
pub(in crate::testing) struct RunRecord {
    pub(in crate::testing) end: RunEnd,
    pub(in crate::testing) decisions: Vec<Decision>,
    pub(in crate::testing) steps: Vec<Step>,
    /// The changes of the disk, in order.
    pub(in crate::testing) disk_steps: Vec<DiskStep>,
    pub(in crate::testing) thread_names: Vec<String>,
    /// The last accesses of each thread to each object, while decisions are explored.
    pub(in crate::testing) accesses: Vec<((usize, u64), LastAccess)>,
    /// The hash of the run's steps and their order.
    pub(in crate::testing) fingerprint: u64,
    /// False if a deviation of the schedule did not fit the run.
    pub(in crate::testing) schedule_fits: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub(in crate::testing) struct Scheduler {
    /// The number of the run in this process.
    run: u64,
    state: Mutex<SchedulerState>,
    ended: Condvar,
}

#[derive(Debug)]
struct SchedulerState {
    threads: Vec<ThreadState>,
    current: usize,
    objects: BTreeMap<u64, ObjectState>,
    accesses: BTreeMap<(usize, u64), LastAccess>,
    chooser: Chooser,
    decisions: Vec<Decision>,
    steps: Vec<Step>,
    disk_steps: Vec<DiskStep>,
    fingerprint: u64,
    /// The number of steps that changed something.
    changes: u64,
    /// The simulated time since the start of the run.
    now: Duration,
    /// The number of timers in a row that fired because nothing else could run.
    idle_timers: u32,
    /// The number of timers that fired because a thread spun for a long time.
    spin_timers: u32,
    /// True if a timer fires next by default: the running thread may spin until a sleeping thread changes something.
    is_timer_due: bool,
    end: Option<RunEnd>,
    /// True while the program runs, and false while the database is opened or checked.
    is_explored: bool,
}

#[derive(Debug)]
struct ThreadState {
    name: String,
    /// `None` until the thread runs.
    handle: Option<thread::Thread>,
    status: ThreadStatus,
    pending: PendingStep,
    /// The hash of the thread's last step, which depends on all steps that came before it for a reason.
    last_event: u64,
    /// The number of the thread's steps.
    events: u64,
    has_yielded: bool,
    spins: u32,
    /// The number of changes at the last yield.
    spins_since: u64,
    timed_out: bool,
    woken_by_timer: bool,
}

#[derive(Debug, Clone)]
struct PendingStep {
    action: Action,
    object: u64,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ThreadStatus {
    /// The thread runs, or makes its pending step when it is chosen.
    Ready,
    /// The thread waits for a lock for readers and writers, to write.
    WaitingWriter,
    /// The thread waits for a notification, in the order of the numbers.
    Waiting {
        condvar: u64,
        mutex: u64,
        until: Option<Duration>,
        number: usize,
    },
    Sleeping {
        until: Duration,
    },
    Ended,
}

/// An object that the run has used.
#[derive(Debug, Default)]
struct ObjectState {
    /// True while a thread holds the lock alone.
    is_held: bool,
    readers_len: u32,
    waiting_writers_len: u32,
    /// The hash of the last change.
    last_change: u64,
    /// The sum of the hashes of the reads since the last change.
    reads: u64,
}

/// The last accesses of a thread to an object, as the number of the thread's steps up to it. 0 for no access.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::testing) struct LastAccess {
    pub(in crate::testing) read: u64,
    pub(in crate::testing) change: u64,
    /// A part of the changes.
    pub(in crate::testing) try_lock: u64,
}

impl LastAccess {
    /// The last access of the thread that conflicts with an action of another thread.
    pub(in crate::testing) fn conflicting(&self, action: Action) -> u64 {
        if action.is_unlock() {
            self.try_lock
        } else if action.only_reads() {
            self.change
        } else {
            self.change.max(self.read)
        }
    }

    /// The later of both accesses.
    pub(in crate::testing) fn max(self, other: Self) -> Self {
        Self {
            read: self.read.max(other.read),
            change: self.change.max(other.change),
            try_lock: self.try_lock.max(other.try_lock),
        }
    }
}

fn mix(hash: u64, value: u64) -> u64 {
    let mut mixed = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= mixed >> 32;
    mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

fn bit(thread: usize) -> u32 {
    1 << thread
}

impl Scheduler {
    pub(in crate::testing) fn new(run: u64, chooser: Chooser) -> Arc<Self> {
        let mut state = SchedulerState {
            threads: Vec::new(),
            current: 0,
            objects: BTreeMap::new(),
            accesses: BTreeMap::new(),
            chooser,
            decisions: Vec::new(),
            steps: Vec::new(),
            disk_steps: Vec::new(),
            fingerprint: 0,
            changes: 0,
            now: Duration::ZERO,
            idle_timers: 0,
            spin_timers: 0,
            is_timer_due: false,
            end: None,
            is_explored: false,
        };
        state.add_thread("main", 1);
        Arc::new(Self {
            run,
            state: Mutex::new(state),
            ended: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, SchedulerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of the run, and takes its record.
    pub(in crate::testing) fn record(&self) -> RunRecord {
        let state = self.lock();
        let mut state = self
            .ended
            .wait_while(state, |state| state.end.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let end = match &state.end {
            Some(end) => end.clone(),
            None => unreachable!("the wait ends with the run"),
        };
        RunRecord {
            end,
            accesses: std::mem::take(&mut state.accesses).into_iter().collect(),
            decisions: std::mem::take(&mut state.decisions),
            steps: std::mem::take(&mut state.steps),
            disk_steps: std::mem::take(&mut state.disk_steps),
            thread_names: state.threads.iter().map(|thread| thread.name.clone()).collect(),
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
        action: Action,
        key: Option<&ObjectKey>,
        place: Place,
    ) {
        let mut state = self.lock();
        let object = key.map_or(0, |key| state.id_of(key, self.run, thread));
        drop(self.step_on(state, thread, action, object, place));
    }

    /// Makes a step on the disk, on the calls of the program, or on no object.
    pub(in crate::testing) fn step_with(&self, thread: usize, action: Action, object: u64, place: Place) {
        drop(self.step_on(self.lock(), thread, action, object, place));
    }

    fn step_on<'a>(
        &'a self,
        mut state: MutexGuard<'a, SchedulerState>,
        thread: usize,
        action: Action,
        object: u64,
        place: Place,
    ) -> MutexGuard<'a, SchedulerState> {
        state.threads[thread].pending = PendingStep {
            action,
            object,
            place,
        };
        if action == Action::Yield {
            state.threads[thread].has_yielded = true;
            if state.has_spun_long(thread) && !state.make_timer_due(thread) {
                return self.stop(state, StuckKind::EndlessSpin);
            }
        }
        if state.steps.len() > STEPS_MAX {
            return self.stop(state, StuckKind::TooManySteps);
        }
        state = self.switch(state, thread);
        if action == Action::WriteLock && !state.objects.entry(object).or_default().is_free() {
            // The attempt blocks new readers.
            state.make_event(thread);
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
        let mut state = self.step_on(state, thread, Action::TryLock, object, place);
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
        let mut state = self.step_on(state, thread, Action::Wait, condvar, place.clone());
        release();
        state.threads[thread].pending = PendingStep {
            action: Action::Unlock,
            object: mutex,
            place: place.clone(),
        };
        state.perform(thread);
        let number = state.steps.len();
        state.threads[thread].pending = PendingStep {
            action: Action::Lock,
            object: mutex,
            place,
        };
        state.threads[thread].status = ThreadStatus::Waiting {
            condvar,
            mutex,
            until,
            number,
        };
        state = self.switch(state, thread);
        state.perform(thread);
        std::mem::take(&mut state.threads[thread].timed_out)
    }

    /// Makes the step of a notification, and wakes the waiting threads.
    pub(in crate::testing) fn notify(&self, thread: usize, action: Action, key: &ObjectKey, place: Place) {
        let mut state = self.lock();
        let condvar = state.id_of(key, self.run, thread);
        let mut state = self.step_on(state, thread, action, condvar, place);
        let mut waiting = state.waiting_for(condvar);
        if action == Action::NotifyOne && waiting.len() > 1 {
            let chosen = state.choose_woken(thread, &waiting);
            waiting = vec![chosen];
        }
        let cause = state.threads[thread].last_event;
        for woken in waiting {
            let woken = &mut state.threads[woken];
            woken.status = ThreadStatus::Ready;
            woken.last_event = mix(woken.last_event, cause);
            woken.woken_by_timer = false;
        }
    }

    /// Lets simulated time pass.
    pub(in crate::testing) fn sleep(&self, thread: usize, time: Duration, place: Place) {
        let mut state = self.step_on(self.lock(), thread, Action::Sleep, 0, place.clone());
        let until = state.now.saturating_add(time);
        state.threads[thread].status = ThreadStatus::Sleeping { until };
        let mut state = self.switch(state, thread);
        state.threads[thread].timed_out = false;
    }

    /// Makes the step of spawning. Returns the index of the new thread.
    pub(in crate::testing) fn register(&self, parent: usize, name: &str, place: Place) -> usize {
        let mut state = self.step_on(self.lock(), parent, Action::Spawn, THREAD_NUMBERS, place);
        let id = mix(state.threads[parent].last_event, 0x0073_7061_776e);
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

    /// The last step of a thread, after which it is not scheduled any more.
    pub(in crate::testing) fn end(&self, thread: usize) {
        let mut state = self.lock();
        state.threads[thread].pending = PendingStep {
            action: Action::End,
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

    /// Sets if the decisions from now on are explored.
    pub(in crate::testing) fn set_explored(&self, is_explored: bool) {
        self.lock().is_explored = is_explored;
    }

    /// Ends a thread that the operating system refused to start.
    pub(in crate::testing) fn cancel(&self, thread: usize) {
        self.lock().threads[thread].status = ThreadStatus::Ended;
    }

    /// Mixes the outcome of the running thread's last step into the fingerprint.
    pub(in crate::testing) fn note_outcome(&self, thread: usize, outcome: u64) {
        let mut state = self.lock();
        let event = mix(state.threads[thread].last_event, outcome);
        state.threads[thread].last_event = event;
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
                self.park_forever(state)
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
        self.park_forever(state)
    }

    fn set_stuck(&self, state: &mut SchedulerState, kind: Option<StuckKind>) {
        state.end = Some(RunEnd::Stuck(state.stuck(kind)));
        self.ended.notify_all();
    }

    fn park_forever<'a>(&'a self, state: MutexGuard<'a, SchedulerState>) -> MutexGuard<'a, SchedulerState> {
        drop(state);
        loop {
            thread::park();
        }
    }
}

impl ObjectState {
    /// Returns true if no thread holds the lock.
    fn is_free(&self) -> bool {
        !self.is_held && self.readers_len == 0
    }
}

impl SchedulerState {
    fn add_thread(&mut self, name: &str, id: u64) -> usize {
        self.threads.push(ThreadState {
            name: name.to_owned(),
            handle: None,
            status: ThreadStatus::Ready,
            pending: PendingStep {
                action: Action::Begin,
                object: 0,
                place: Place::Text("".into()),
            },
            last_event: id,
            events: 0,
            has_yielded: false,
            spins: 0,
            spins_since: 0,
            timed_out: false,
            woken_by_timer: false,
        });
        self.threads.len() - 1
    }

    /// The id of an object. The first thread that uses the object determines it.
    fn id_of(&mut self, key: &ObjectKey, run: u64, thread: usize) -> u64 {
        let thread = &self.threads[thread];
        key.id(run, || mix(thread.last_event, thread.events))
    }

    fn object(&mut self, id: u64) -> &mut ObjectState {
        self.objects.entry(id).or_default()
    }

    fn hand_over(&mut self, next: usize) {
        self.current = next;
        if let Some(handle) = &self.threads[next].handle {
            handle.unpark();
        }
    }

    /// Returns true if the thread can make its pending step.
    fn is_enabled(&self, thread: usize) -> bool {
        let ThreadState { status, pending, .. } = &self.threads[thread];
        let object = self.objects.get(&pending.object);
        match (status, pending.action) {
            (ThreadStatus::Ready, Action::Lock) => object.is_none_or(ObjectState::is_free),
            (ThreadStatus::Ready, Action::ReadLock) => {
                object.is_none_or(|lock| !lock.is_held && lock.waiting_writers_len == 0)
            }
            (ThreadStatus::Ready, Action::Join(other)) => self.threads[other].status == ThreadStatus::Ended,
            (ThreadStatus::Ready, _) => true,
            (ThreadStatus::WaitingWriter, _) => object.is_none_or(ObjectState::is_free),
            _ => false,
        }
    }

    /// The time at which the timer of the thread fires.
    fn timer(&self, thread: usize) -> Option<Duration> {
        match self.threads[thread].status {
            ThreadStatus::Waiting { until, .. } => until,
            ThreadStatus::Sleeping { until } => Some(until),
            _ => None,
        }
    }

    /// The first thread after `from`, in the order of the indices, for which `is_chosen` returns true.
    fn next_after(&self, from: usize, is_chosen: impl Fn(usize) -> bool) -> Option<usize> {
        let len = self.threads.len();
        (1..=len)
            .map(|distance| (from + distance) % len)
            .find(|&thread| is_chosen(thread))
    }

    /// Chooses the thread that makes its step next. `None` if no thread can.
    fn choose(&mut self, from: usize) -> Option<usize> {
        loop {
            let all = 0..self.threads.len();
            let enabled = all.clone().filter(|&thread| self.is_enabled(thread));
            let enabled: u32 = enabled.map(bit).sum();
            let timers = all.filter(|&thread| self.timer(thread).is_some());
            let timers: u32 = timers.map(bit).sum();
            let is_enabled = |thread| enabled & bit(thread) != 0;
            let continues = is_enabled(from) && !self.threads[from].has_yielded;
            let default = if continues {
                Some(from)
            } else if std::mem::take(&mut self.is_timer_due) {
                None
            } else {
                self.next_after(from, |thread| {
                    is_enabled(thread) && !self.threads[thread].has_yielded
                })
                .or_else(|| self.next_after(from, is_enabled))
            };
            let first_timer = (0..self.threads.len())
                .filter_map(|thread| Some((self.timer(thread)?, thread)))
                .min()
                .map(|(_, thread)| thread);
            let default = default.or(first_timer)?;
            let chosen = self.decide(Decision {
                kind: DecisionKind::Next {
                    from,
                    continues,
                    has_yielded: is_enabled(from) && !continues,
                    timers: if enabled == 0 { 0 } else { timers },
                    object: self.threads[from].pending.object,
                    action: self.threads[from].pending.action,
                },
                events: self.threads.iter().map(|thread| thread.events).collect(),
                step: self.steps.len(),
                candidates: enabled | timers,
                default,
                chosen: default,
                fingerprint: self.fingerprint,
                is_explored: self.is_explored,
            });
            self.threads[chosen].has_yielded = false;
            if timers & bit(chosen) == 0 {
                return Some(chosen);
            }
            if enabled == 0 {
                self.idle_timers += 1;
                if self.idle_timers > IDLE_TIMERS_MAX {
                    return None;
                }
            }
            if self.fire_timer(chosen) {
                return Some(chosen);
            }
        }
    }

    /// Fires the timer of the thread. Returns true if the thread can continue.
    fn fire_timer(&mut self, thread: usize) -> bool {
        self.now = self.timer(thread).into_iter().fold(self.now, Duration::max);
        // The end of a wait has another result after a notification than before it.
        let object = match self.threads[thread].status {
            ThreadStatus::Waiting { condvar, .. } => condvar,
            _ => 0,
        };
        let after = PendingStep {
            action: Action::Timer,
            object,
            place: self.threads[thread].pending.place.clone(),
        };
        let before = std::mem::replace(&mut self.threads[thread].pending, after);
        self.make_event(thread);
        let fired = &mut self.threads[thread];
        fired.pending = before;
        fired.status = ThreadStatus::Ready;
        fired.timed_out = true;
        fired.woken_by_timer = true;
        self.is_enabled(thread)
    }

    fn decide(&mut self, mut decision: Decision) -> usize {
        if decision.candidates.count_ones() < 2 {
            return decision.default;
        }
        decision.chosen = self.chooser.choose(self.decisions.len() as u64, &decision);
        let chosen = decision.chosen;
        self.decisions.push(decision);
        chosen
    }

    /// The threads that wait for a notification, the one that waits longest first.
    fn waiting_for(&self, wanted: u64) -> Vec<usize> {
        let waiting = self.threads.iter().enumerate();
        let mut waiting: Vec<_> = waiting
            .filter_map(|(index, thread)| match thread.status {
                ThreadStatus::Waiting { condvar, number, .. } if condvar == wanted => Some((number, index)),
                _ => None,
            })
            .collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, index)| index).collect()
    }

    /// Chooses the thread that a notification wakes.
    fn choose_woken(&mut self, thread: usize, waiting: &[usize]) -> usize {
        let chosen = self.decide(Decision {
            kind: DecisionKind::Wake,
            events: Vec::new(),
            step: self.steps.len(),
            candidates: waiting.iter().copied().map(bit).sum(),
            default: waiting[0],
            chosen: waiting[0],
            fingerprint: self.fingerprint,
            is_explored: self.is_explored,
        });
        // Which thread was woken is a part of the history of the one that woke it.
        let event = mix(self.threads[thread].last_event, chosen as u64);
        self.threads[thread].last_event = event;
        self.fingerprint = self.fingerprint.wrapping_add(event);
        chosen
    }

    /// Makes the pending step of the thread.
    fn perform(&mut self, thread: usize) {
        let PendingStep { action, object, .. } = self.threads[thread].pending;
        if action == Action::ChangeFile {
            self.disk_steps.push(DiskStep {
                step: self.steps.len(),
                fingerprint: self.fingerprint,
                is_explored: self.is_explored,
            });
        }
        match action {
            Action::Lock | Action::WriteLock => self.object(object).is_held = true,
            Action::Unlock | Action::WriteUnlock => self.object(object).is_held = false,
            Action::ReadLock => self.object(object).readers_len += 1,
            Action::ReadUnlock => self.object(object).readers_len -= 1,
            Action::Join(other) => {
                let cause = self.threads[other].last_event;
                let thread = &mut self.threads[thread];
                thread.last_event = mix(thread.last_event, cause);
            }
            _ => {}
        }
        if !self.threads[thread].woken_by_timer {
            self.idle_timers = 0;
        }
        self.make_event(thread);
    }

    /// Adds the pending step of the thread to the run.
    fn make_event(&mut self, thread: usize) {
        let PendingStep {
            action,
            object: id,
            place,
        } = self.threads[thread].pending.clone();
        let before = mix(mix(self.threads[thread].last_event, action.code()), id);
        let event = if id == 0 {
            before
        } else {
            let object = self.object(id);
            let only_reads = action.only_reads() || (action == Action::TryLock && !object.is_free());
            let event = mix(before, object.last_change);
            let event = if only_reads {
                object.reads = object.reads.wrapping_add(event);
                event
            } else {
                let event = mix(event, object.reads);
                object.last_change = event;
                object.reads = 0;
                event
            };
            if self.is_explored {
                let number = self.threads[thread].events + 1;
                let last = self.accesses.entry((thread, id)).or_default();
                if only_reads && action != Action::TryLock {
                    last.read = number;
                } else {
                    last.change = number;
                }
                if action == Action::TryLock {
                    last.try_lock = number;
                }
            }
            event
        };
        if id != 0 && !action.only_reads() && action != Action::TryLock {
            self.changes += 1;
        }
        let state = &mut self.threads[thread];
        state.last_event = event;
        state.events += 1;
        self.fingerprint = self.fingerprint.wrapping_add(event);
        self.steps.push(Step {
            thread,
            action,
            object: id,
            place,
        });
    }

    /// Counts a yield. Returns true if the thread has yielded too often without any change.
    fn has_spun_long(&mut self, thread: usize) -> bool {
        let changes = self.changes;
        let thread = &mut self.threads[thread];
        if thread.spins_since != changes {
            thread.spins_since = changes;
            thread.spins = 0;
        }
        thread.spins += 1;
        thread.spins > SPINS_MAX
    }

    /// Lets a timer fire because this thread spins. Returns false if no thread has one, or too many fired already.
    fn make_timer_due(&mut self, thread: usize) -> bool {
        let has_timer = (0..self.threads.len()).any(|thread| self.timer(thread).is_some());
        self.is_timer_due = has_timer && self.spin_timers < SPIN_TIMERS_MAX;
        self.spin_timers += 1;
        self.threads[thread].spins = 0;
        self.is_timer_due
    }

    /// The places of the threads of a run that cannot continue.
    fn stuck(&self, kind: Option<StuckKind>) -> Stuck {
        let threads = self
            .threads
            .iter()
            .filter(|thread| thread.status != ThreadStatus::Ended);
        let threads: Vec<_> = threads
            .map(|thread| StuckThread {
                name: thread.name.clone(),
                text: match thread.status {
                    ThreadStatus::Waiting { until, .. } => {
                        let limit = until.map_or("no time limit", |_| "a time limit");
                        format!(
                            "waits for a notification, with {limit}, at {}",
                            thread.pending.place
                        )
                    }
                    ThreadStatus::Sleeping { .. } => format!("sleeps at {}", thread.pending.place),
                    _ => format!("{} {}", thread.pending.action, thread.pending.place),
                },
            })
            .collect();
        // A thread of the engine that waits for work is no cause of a deadlock.
        let is_locking = |thread: &ThreadState| match thread.status {
            ThreadStatus::Ready => !matches!(thread.pending.action, Action::Join(_)),
            ThreadStatus::WaitingWriter => true,
            _ => false,
        };
        let kind = kind.unwrap_or(if self.threads.iter().any(is_locking) {
            StuckKind::Deadlock
        } else {
            StuckKind::LostWakeUp
        });
        Stuck { kind, threads }
    }
}
