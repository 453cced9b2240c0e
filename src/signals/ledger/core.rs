//! Recording: append to the log, apply to every aggregate, wait for the sync that the policy requires.
//!
//! Invariants:
//!
//! - An event is applied only after its frame is written.
//! - While the gate is held exclusively, every frame of the log is applied completely.
//! - A call is acknowledged only after the sync that the policy requires.
//!
//! A crash during the append leaves the log with the complete frame or without it. A crash after the append leaves the
//! frame in the log; memory is lost, and replay applies the frame again. A thread that panics between the append and
//! the end of the applying leaves memory behind the log: the handle is poisoned, and reads end too.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::state::{LedgerState, PositiveEvent};
use crate::poison::{Memory, Poison};
use crate::states::Change;
use crate::sync::{AtomicBool, Mutex, RwLock, RwLockReadGuard, lock, read, write};
use crate::wal::payload::{Forget, encode_events, encode_forget};
use crate::wal::{FrameBuffer, FrameKind, Log};
use crate::{Durability, EntityId, Error, Options, Receipt, SignalEvent};

/// The buffers of a call. Later calls of the same thread use them again.
#[derive(Debug, Default)]
struct Buffers {
    frame: FrameBuffer,
    changes: Vec<Change<EntityId>>,
    positives: Vec<PositiveEvent>,
}

thread_local! {
    /// The buffers of the thread's last call.
    static SPARE: Cell<Buffers> = Cell::default();
}

impl Buffers {
    fn take() -> Self {
        // The destructor of another thread-local may record after this one was destroyed.
        SPARE.try_with(Cell::take).unwrap_or_default()
    }

    /// Saves the buffers for the next call if their frame has at most `frame_bytes_max` bytes. The other buffers are at
    /// most a few times as large as the frame.
    fn save(self, frame_bytes_max: usize) {
        if self.frame.len() <= frame_bytes_max {
            // If the thread ends, no later call needs them.
            SPARE.try_with(|spare| spare.set(self)).unwrap_or_default();
        }
    }
}

/// The log and the aggregates of its events.
#[derive(Debug)]
pub(crate) struct SignalLedger {
    pub(crate) state: LedgerState,
    pub(crate) log: Log,
    pub(crate) poison: Arc<Poison>,
    durability: Durability,
    spare_frame_bytes_max: usize,
    /// Held shared from an append to the end of its applying. Held exclusively where the end of the log and memory must
    /// agree.
    gate: RwLock<()>,
    /// Held while an entity or a user is being forgotten, and for a fence. So a checkpoint holds all states of an
    /// entity or none. Taken before the gate.
    forgetting: Mutex<()>,
    /// Set while the gate is held exclusively, so that no frame is appended after the end of the log by a close.
    closed: AtomicBool,
}

impl SignalLedger {
    pub(crate) fn new(state: LedgerState, log: Log, poison: Arc<Poison>, options: &Options) -> Self {
        Self {
            state,
            log,
            poison,
            durability: options.durability,
            spare_frame_bytes_max: options.limits.spare_frame_bytes_max,
            gate: RwLock::new(()),
            forgetting: Mutex::new(()),
            closed: AtomicBool::new(false),
        }
    }

    /// Records the valid `events` of one call as one frame, and returns its receipt.
    ///
    /// # Errors
    /// `Poisoned`; wrapped in `OutcomeUnknown` once the frame may be in the log.
    pub(crate) fn record_signal(&self, events: &[SignalEvent<'_>]) -> Result<Receipt, Error> {
        let mut buffers = Buffers::take();
        let Buffers {
            frame,
            changes,
            positives,
        } = &mut buffers;
        encode_events(events, frame.begin());
        frame.finish(FrameKind::Events);
        changes.clear();
        changes.extend(events.iter().map(Change::from));
        positives.clear();
        positives.extend(self.state.positives_of(events));
        let sequence = {
            let _shared = self.enter_gate()?;
            let sequence = self
                .log
                .append(frame, |_| self.state.enqueue_positives(positives))?;
            self.apply(sequence, || {
                #[cfg(any(test, feature = "test-utils"))]
                crate::testing::check_crash_point(crate::testing::CrashPoint::WalPreAggregate);

                self.state.apply_signals(changes)?;

                #[cfg(any(test, feature = "test-utils"))]
                crate::testing::check_crash_point(crate::testing::CrashPoint::WalPostAggregate);

                self.apply_cohorts(events)?;
                if positives.is_empty() {
                    return Ok(());
                }
                self.state.apply_positives()
            })?;
            sequence
        };
        buffers.save(self.spare_frame_bytes_max);
        self.acknowledge(sequence)
    }

    fn apply_cohorts(&self, events: &[SignalEvent<'_>]) -> Result<(), Error> {
        for event in events {
            for &cohort in event.cohorts {
                self.state
                    .apply_cohort(cohort, event.entity, event.signal, event.weight, event.at_ms)?;
            }
        }
        Ok(())
    }

    /// Forgets an entity or a user as one frame, and returns its receipt. Memory forgets exactly the events that are
    /// before the frame in the log, for all readers at the same time. Writers wait only for this. The memory is freed
    /// in steps.
    ///
    /// # Errors
    /// `Poisoned`; wrapped in `OutcomeUnknown` once the frame may be in the log.
    pub(crate) fn forget(&self, forget: Forget) -> Result<Receipt, Error> {
        let mut frame = FrameBuffer::default();
        encode_forget(forget, frame.begin());
        frame.finish(FrameKind::Forget);
        let sequence = {
            let _forgetting = lock(&self.forgetting);
            let sequence = self.exclusively(|| {
                self.check_open()?;
                let sequence = self.log.append(&mut frame, |_| {})?;
                self.apply(sequence, || self.state.begin_forget(forget))?;
                Ok(sequence)
            })?;
            self.apply(sequence, || self.state.finish_forget(forget))?;
            sequence
        };
        self.acknowledge(sequence)
    }

    /// Waits until no event is between its append and the end of its applying, and refuses later ones. Returns true for
    /// the first call.
    pub(crate) fn close(&self) -> bool {
        let _exclusive = write(&self.gate);
        !self.closed.swap(true, Ordering::AcqRel)
    }

    /// Checks that the ledger is open.
    ///
    /// # Errors
    /// `Closed` after a call of [`close`](Self::close).
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    /// Takes the gate shared, for the events of one call.
    ///
    /// # Errors
    /// `Closed`, `Poisoned`.
    fn enter_gate(&self) -> Result<RwLockReadGuard<'_, ()>, Error> {
        let shared = read(&self.gate);
        self.check_open()?;
        self.poison.check_write()?;
        Ok(shared)
    }

    /// Runs `body` while no event is between its append and the end of its applying, and no entity or user is being
    /// forgotten.
    ///
    /// # Errors
    /// `Poisoned`, or the error of `body`.
    pub(crate) fn while_idle<T>(&self, body: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let _forgetting = lock(&self.forgetting);
        self.exclusively(body)
    }

    /// Runs `body` while no event is between its append and the end of its applying.
    ///
    /// # Errors
    /// `Poisoned`, or the error of `body`.
    fn exclusively<T>(&self, body: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let _exclusive = write(&self.gate);
        self.poison.check_write()?;
        body()
    }

    /// Waits for the sync that the policy requires, then returns the receipt of the frame `sequence`.
    fn acknowledge(&self, sequence: u64) -> Result<Receipt, Error> {
        let receipt = self.log.receipt(sequence);
        if self.durability == Durability::EverySynced {
            let synced = self.log.sync_to(sequence);
            synced.map_err(|error| error.with_unknown_outcome(Some(receipt)))?;
        }
        Ok(receipt)
    }

    /// Applies the frame `sequence`, which is in the log, to the aggregates.
    ///
    /// # Errors
    /// `Poisoned` within `OutcomeUnknown`: memory is behind the log or half changed, and reads have ended too.
    fn apply(&self, sequence: u64, apply: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        // Also after a failure of another thread, because memory must match the log.
        let applied = self.poison.complete("apply", Memory::HalfChanged, || {
            apply().map_err(|error| self.poison.fail_unreadable(error))
        });
        applied.map_err(|error| error.with_unknown_outcome(Some(self.log.receipt(sequence))))
    }
}
