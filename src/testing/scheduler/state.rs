//! The state of a scheduler: its threads, the model of their locks, and the choice of the next thread.

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::Duration;

use super::decision::{Chooser, Decision, DecisionKind, DiskStep};
use super::record::RunEnd;
use super::step::{LastAccess, ObjectKey, Place, Step, StepAction};
use super::stuck::{Stuck, StuckKind, StuckThread};

/// A run is stuck if a thread yields this number of times and no step changes an object meanwhile. The engine spins at
/// most a fifth of it before it waits.
const SPINS_MAX: u32 = 10_000;
/// At most this number of timers of a run fire because a thread spins for a long time. The next such thread spins
/// forever.
const SPIN_TIMERS_MAX: u32 = 16;
/// A run is stuck if this number of timers fire in a row, and only the threads that they wake make steps.
const IDLE_TIMERS_MAX: u32 = 1000;

#[derive(Debug)]
pub(super) struct SchedulerState {
    pub(super) threads: Vec<ThreadState>,
    pub(super) current: usize,
    pub(super) objects: BTreeMap<u64, ObjectState>,
    pub(super) accesses: BTreeMap<(usize, u64), LastAccess>,
    pub(super) chooser: Chooser,
    pub(super) decisions: Vec<Decision>,
    pub(super) steps: Vec<Step>,
    pub(super) disk_steps: Vec<DiskStep>,
    pub(super) fingerprint: u64,
    /// The number of steps that changed something.
    pub(super) changes: u64,
    /// The simulated time since the start of the run.
    pub(super) now: Duration,
    /// The number of timers in a row that fired because nothing else could run.
    pub(super) idle_timers: u32,
    /// The number of timers that fired because a thread spun for a long time.
    pub(super) spin_timers: u32,
    /// True if a timer fires next by default: the running thread may spin until a sleeping thread changes something.
    pub(super) is_timer_due: bool,
    pub(super) end: Option<RunEnd>,
    /// The panics of threads.
    pub(super) panics: Vec<String>,
    /// True while the program runs: an exploration may choose another thread.
    pub(super) may_deviate: bool,
}

#[derive(Debug)]
pub(super) struct ThreadState {
    pub(super) name: String,
    /// `None` until the thread runs.
    pub(super) handle: Option<thread::Thread>,
    pub(super) status: ThreadStatus,
    pub(super) pending: PendingStep,
    /// A hash of the thread's last step and of all steps that happen before it.
    pub(super) last_step_hash: u64,
    /// The number of the thread's steps.
    pub(super) steps_len: u64,
    /// True if the thread yielded, and no other thread continued since.
    pub(super) has_yielded: bool,
    /// The number of yields since an object changed.
    pub(super) spins: u32,
    /// The number of changes at the last yield.
    pub(super) spins_since: u64,
    /// True from the firing of the thread's timer until its wait returns.
    pub(super) timed_out: bool,
    /// True if a timer woke the thread, not a notification.
    pub(super) woken_by_timer: bool,
}

#[derive(Debug, Clone)]
pub(super) struct PendingStep {
    pub(super) action: StepAction,
    pub(super) object: u64,
    pub(super) place: Place,
}

impl fmt::Display for PendingStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.action.fmt_at(&self.place, f)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ThreadStatus {
    /// The thread runs, or makes its pending step when it is chosen.
    Ready,
    /// The thread waits for the write lock of a reader-writer lock.
    WaitingWriter,
    /// The thread waits for a notification.
    Waiting {
        condvar: u64,
        mutex: u64,
        until: Option<Duration>,
        /// The number of steps of the run when the wait began.
        since: usize,
    },
    Sleeping {
        until: Duration,
    },
    Ended,
}

/// An object that the run has used.
#[derive(Debug, Default)]
pub(super) struct ObjectState {
    /// True while a thread holds the lock alone.
    pub(super) is_held: bool,
    pub(super) readers_len: u32,
    pub(super) waiting_writers_len: u32,
    /// The hash of the last change.
    pub(super) last_change: u64,
    /// The sum of the hashes of the reads since the last change.
    pub(super) reads: u64,
}

pub(super) fn mix(hash: u64, value: u64) -> u64 {
    let mut mixed = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= mixed >> 32;
    mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

/// The bit of a thread in a set of threads.
pub(in crate::testing) fn bit(thread: usize) -> u32 {
    1 << thread
}

impl ObjectState {
    /// Returns true if no thread holds the lock.
    pub(super) fn is_free(&self) -> bool {
        !self.is_held && self.readers_len == 0
    }
}

impl SchedulerState {
    /// The state before the first step of the first thread.
    pub(super) fn new(chooser: Chooser) -> Self {
        let mut state = Self {
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
            panics: Vec::new(),
            may_deviate: false,
        };
        state.add_thread("main", 1);
        state
    }

    pub(super) fn add_thread(&mut self, name: &str, id: u64) -> usize {
        self.threads.push(ThreadState {
            name: name.to_owned(),
            handle: None,
            status: ThreadStatus::Ready,
            pending: PendingStep {
                action: StepAction::Begin,
                object: 0,
                place: Place::Text("".into()),
            },
            last_step_hash: id,
            steps_len: 0,
            has_yielded: false,
            spins: 0,
            spins_since: 0,
            timed_out: false,
            woken_by_timer: false,
        });
        self.threads.len() - 1
    }

    /// The id of an object. The first thread that uses the object determines it. If other threads exist then, another
    /// schedule can give the object another id.
    pub(super) fn id_of(&mut self, key: &ObjectKey, run: u64, thread: usize) -> u64 {
        let mut threads = self.threads.iter().enumerate();
        let is_alone = threads.all(|(index, other)| index == thread || other.status == ThreadStatus::Ended);
        let thread = &self.threads[thread];
        key.id(run, !is_alone, || mix(thread.last_step_hash, thread.steps_len))
    }

    pub(super) fn object(&mut self, id: u64) -> &mut ObjectState {
        self.objects.entry(id).or_default()
    }

    pub(super) fn hand_over(&mut self, next: usize) {
        self.current = next;
        if let Some(handle) = &self.threads[next].handle {
            handle.unpark();
        }
    }

    /// Returns true if the thread can make its pending step.
    pub(super) fn is_enabled(&self, thread: usize) -> bool {
        let ThreadState { status, pending, .. } = &self.threads[thread];
        let object = self.objects.get(&pending.object);
        match (status, pending.action) {
            (ThreadStatus::Ready, StepAction::Lock) | (ThreadStatus::WaitingWriter, _) => {
                object.is_none_or(ObjectState::is_free)
            }
            (ThreadStatus::Ready, StepAction::ReadLock) => {
                object.is_none_or(|lock| !lock.is_held && lock.waiting_writers_len == 0)
            }
            (ThreadStatus::Ready, StepAction::Join(other)) => {
                self.threads[other].status == ThreadStatus::Ended
            }
            (ThreadStatus::Ready, _) => true,
            _ => false,
        }
    }

    /// The time at which the timer of the thread fires.
    pub(super) fn timer(&self, thread: usize) -> Option<Duration> {
        match self.threads[thread].status {
            ThreadStatus::Waiting { until, .. } => until,
            ThreadStatus::Sleeping { until } => Some(until),
            _ => None,
        }
    }

    /// The first thread after `from`, in the order of the indices, for which `is_chosen` returns true.
    pub(super) fn next_after(&self, from: usize, is_chosen: impl Fn(usize) -> bool) -> Option<usize> {
        let len = self.threads.len();
        (1..=len)
            .map(|distance| (from + distance) % len)
            .find(|&thread| is_chosen(thread))
    }

    /// Chooses the thread that makes its step next. `None` if no thread can.
    pub(super) fn choose(&mut self, from: usize) -> Option<usize> {
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
                steps_len: self.threads.iter().map(|thread| thread.steps_len).collect(),
                step: self.steps.len(),
                candidates: enabled | timers,
                default,
                chosen: default,
                fingerprint: self.fingerprint,
                may_deviate: self.may_deviate,
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
    pub(super) fn fire_timer(&mut self, thread: usize) -> bool {
        self.now = self.timer(thread).into_iter().fold(self.now, Duration::max);
        // The end of a wait has another result after a notification than before it.
        let object = match self.threads[thread].status {
            ThreadStatus::Waiting { condvar, .. } => condvar,
            _ => 0,
        };
        let after = PendingStep {
            action: StepAction::Timer,
            object,
            place: self.threads[thread].pending.place.clone(),
        };
        let before = std::mem::replace(&mut self.threads[thread].pending, after);
        self.record_step(thread);
        let fired = &mut self.threads[thread];
        fired.pending = before;
        fired.status = ThreadStatus::Ready;
        fired.timed_out = true;
        fired.woken_by_timer = true;
        self.is_enabled(thread)
    }

    pub(super) fn decide(&mut self, mut decision: Decision) -> usize {
        if decision.candidates.count_ones() < 2 {
            return decision.default;
        }
        decision.chosen = self.chooser.choose(self.decisions.len() as u64, &decision);
        let chosen = decision.chosen;
        self.decisions.push(decision);
        chosen
    }

    /// The threads that wait for a notification, the one that waits longest first.
    pub(super) fn waiting_for(&self, wanted: u64) -> Vec<usize> {
        let waiting = self.threads.iter().enumerate();
        let mut waiting: Vec<_> = waiting
            .filter_map(|(index, thread)| match thread.status {
                ThreadStatus::Waiting { condvar, since, .. } if condvar == wanted => Some((since, index)),
                _ => None,
            })
            .collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, index)| index).collect()
    }

    /// Chooses the thread that a notification wakes.
    pub(super) fn choose_woken(&mut self, thread: usize, waiting: &[usize]) -> usize {
        let chosen = self.decide(Decision {
            kind: DecisionKind::Wake,
            steps_len: Vec::new(),
            step: self.steps.len(),
            candidates: waiting.iter().copied().map(bit).sum(),
            default: waiting[0],
            chosen: waiting[0],
            fingerprint: self.fingerprint,
            may_deviate: self.may_deviate,
        });
        // Which thread was woken is a part of the history of the one that woke it.
        let event = mix(self.threads[thread].last_step_hash, chosen as u64);
        self.threads[thread].last_step_hash = event;
        self.fingerprint = self.fingerprint.wrapping_add(event);
        chosen
    }

    /// Makes the pending step of the thread.
    pub(super) fn perform(&mut self, thread: usize) {
        let PendingStep { action, object, .. } = self.threads[thread].pending;
        if action == StepAction::ChangeFile {
            self.disk_steps.push(DiskStep {
                step: self.steps.len(),
                fingerprint: self.fingerprint,
                may_deviate: self.may_deviate,
            });
        }
        match action {
            StepAction::Lock | StepAction::WriteLock => self.object(object).is_held = true,
            StepAction::Unlock | StepAction::WriteUnlock => self.object(object).is_held = false,
            StepAction::ReadLock => self.object(object).readers_len += 1,
            StepAction::ReadUnlock => self.object(object).readers_len -= 1,
            StepAction::Join(other) => {
                let cause = self.threads[other].last_step_hash;
                let thread = &mut self.threads[thread];
                thread.last_step_hash = mix(thread.last_step_hash, cause);
            }
            _ => {}
        }
        if !self.threads[thread].woken_by_timer {
            self.idle_timers = 0;
        }
        self.record_step(thread);
    }

    /// Adds the pending step of the thread to the run.
    pub(super) fn record_step(&mut self, thread: usize) {
        let PendingStep {
            action,
            object: id,
            place,
        } = self.threads[thread].pending.clone();
        // The steps before determine the object, so its id is no part of the hash.
        let before = mix(self.threads[thread].last_step_hash, action.code());
        let event = if id == 0 {
            before
        } else {
            let object = self.object(id);
            let only_reads = action.only_reads() || (action == StepAction::TryLock && !object.is_free());
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
            if self.may_deviate {
                let number = self.threads[thread].steps_len + 1;
                let last = self.accesses.entry((thread, id)).or_default();
                if only_reads && action != StepAction::TryLock {
                    last.read = number;
                } else {
                    last.change = number;
                }
            }
            event
        };
        if id != 0 && !action.only_reads() && action != StepAction::TryLock {
            self.changes += 1;
        }
        let state = &mut self.threads[thread];
        state.last_step_hash = event;
        state.steps_len += 1;
        self.fingerprint = self.fingerprint.wrapping_add(event);
        self.steps.push(Step {
            thread,
            action,
            object: id,
            place,
        });
    }

    /// Counts a yield. Returns true if the thread has yielded too often without any change.
    pub(super) fn has_spun_long(&mut self, thread: usize) -> bool {
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
    pub(super) fn make_timer_due(&mut self, thread: usize) -> bool {
        let has_timer = (0..self.threads.len()).any(|thread| self.timer(thread).is_some());
        self.is_timer_due = has_timer && self.spin_timers < SPIN_TIMERS_MAX;
        self.spin_timers += 1;
        self.threads[thread].spins = 0;
        self.is_timer_due
    }

    /// The places of the threads of a run that cannot continue.
    pub(super) fn stuck(&self, kind: Option<StuckKind>) -> Stuck {
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
                    _ => thread.pending.to_string(),
                },
            })
            .collect();
        // A thread of the engine that waits for work is no cause of a deadlock.
        let is_locking = |thread: &ThreadState| match thread.status {
            ThreadStatus::Ready => !matches!(thread.pending.action, StepAction::Join(_)),
            ThreadStatus::WaitingWriter => true,
            _ => false,
        };
        let only_sleeps = |thread: &ThreadState| {
            matches!(thread.status, ThreadStatus::Ended | ThreadStatus::Sleeping { .. })
        };
        let kind = kind.unwrap_or(if self.threads.iter().any(is_locking) {
            StuckKind::Deadlock
        } else if self.threads.iter().all(only_sleeps) {
            StuckKind::NoEnd
        } else {
            StuckKind::LostWakeUp
        });
        Stuck { kind, threads }
    }
}
