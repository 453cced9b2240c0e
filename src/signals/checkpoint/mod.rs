//! Checkpoints: the state as of one sequence number N, written together with N, so that the log can be trimmed up to N.
//!
//! The steps, and the state that a crash during or after each leaves:
//!
//! 1. While no call applies an event (the gate is held): choose N, and begin a fence, which assigns all changes up to N to
//!    this checkpoint. A crash changes nothing on disk.
//! 2. Copy the changed records, shard by shard, and encode them. Writers continue. The first writer that changes a page
//!    after the fence copies the page first. A crash changes nothing on disk.
//! 3. `write_batch`: the old checkpoint, or the new one with its N, never a mixture. The log is complete.
//! 4. `flush`: the new checkpoint. The log is complete, and replay skips its frames up to N.
//! 5. Append the marker to the log: as after step 4, and the log names the checkpoint. A close begins a new segment for the
//!    marker. A crash can leave this segment empty.
//! 6. Trim the log: the segments that N covers completely are removed, the oldest first.
//!
//! An open that changes the bounds of co-engagement makes a checkpoint whose batch holds the new schema too. Step 3
//! leaves the old bounds with the state under them, or the new bounds with the state reduced to them.
//!
//! A failure at any step poisons the handle, because no later fence contains the changes of this one.

pub(crate) mod record;
pub(crate) mod restore;
#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering;

use crate::cohort::CohortEntity;
use crate::entities::FENCE_SHARDS;
use crate::limits::Limits;
use crate::poison::Memory;
use crate::signals::ledger::{LedgerState, SignalLedger};
use crate::states::{PageCopies, SHARDS, StateKey, StateTable};
use crate::storage::{GuardedStorage, WriteBatch, keys};
use crate::sync::{AtomicU64, Mutex, lock};
use crate::wal::Log;
use crate::wal::history::History;
use crate::{EntityId, Error, Schema};

/// Makes one checkpoint at a time, and measures the growth since the last one.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    /// Held for a whole checkpoint.
    running: Mutex<Copies>,
    /// The last sequence number that the last flushed checkpoint covers.
    covered: AtomicU64,
    /// While this is the last sequence number of the log, the last checkpoint covers all changes in the log.
    covered_log_end: AtomicU64,
    /// The bytes of the log at the end of the last checkpoint.
    log_bytes_at_end: AtomicU64,
    /// The bytes of states that the running checkpoint has not stored yet, as [`Growth::state_bytes`]. 0 before the
    /// first checkpoint and after a successful one.
    fenced_bytes: AtomicU64,
    closed_log_bytes_max: u64,
}

/// The memory for copies of pages. All checkpoints use the same memory.
#[derive(Debug)]
struct Copies {
    signals: PageCopies<EntityId>,
    cohorts: PageCopies<CohortEntity>,
}

/// The cause of a checkpoint, which decides if it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckpointTrigger<'a> {
    /// Due if the growth reaches this one. The handle must still be open when an earlier checkpoint has ended: a closed
    /// handle has released its lock, or soon releases it.
    Grown(Growth),
    /// The close of the handle, which still holds its lock. Due if the state has changed or if the log is large.
    Closing,
    /// An open that changes the bounds. Always due. The same batch stores this schema, so replay never applies an older
    /// frame under the new bounds.
    Opening(&'a Schema),
}

/// The growth since the last checkpoint, or the growth at which a checkpoint is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Bytes of the log.
    pub(crate) log_bytes: u64,
    /// The most bytes that the changed states take when stored. The states of a running checkpoint count until they are
    /// stored, because after a crash inside the checkpoint replay must apply their changes.
    pub(crate) state_bytes: u64,
    /// All sealed segments of the log, also older ones than the last checkpoint: an open reads each of them.
    pub(crate) segments_len: u64,
}

impl Growth {
    /// The growth that every growth reaches.
    pub(crate) const ANY: Self = Self {
        log_bytes: 0,
        state_bytes: 0,
        segments_len: 0,
    };

    /// Returns true if at least one field has reached the same field of `least`.
    pub(crate) fn reaches(self, least: Self) -> bool {
        self.log_bytes >= least.log_bytes
            || self.state_bytes >= least.state_bytes
            || self.segments_len >= least.segments_len
    }
}

/// The values that a checkpoint fixes under the gate.
#[derive(Debug, Clone, Copy)]
struct CheckpointFence {
    covered: u64,
    synced: u64,
    /// The history of the log up to the covered frame.
    history: History,
}

impl Checkpointer {
    /// A checkpointer for an opened log: the last checkpoint covers `covered`, and the open replayed `replayed` frames
    /// after it.
    pub(crate) fn new(covered: u64, replayed: u64, state: &LedgerState, log: &Log, limits: Limits) -> Self {
        let covered_log_end = if replayed == 0 {
            log.last_sequence()
        } else {
            covered
        };
        Self {
            running: Mutex::new(Copies {
                signals: state.signals.page_copies(),
                cohorts: state.cohorts.states().page_copies(),
            }),
            covered: AtomicU64::new(covered),
            covered_log_end: AtomicU64::new(covered_log_end),
            log_bytes_at_end: AtomicU64::new(if replayed == 0 { log.log_bytes() } else { 0 }),
            fenced_bytes: AtomicU64::new(0),
            closed_log_bytes_max: limits.closed_log_bytes_max,
        }
    }

    /// The sequence number that the last flushed checkpoint covers; 0 without one.
    pub(crate) fn covered(&self) -> u64 {
        self.covered.load(Ordering::Acquire)
    }

    /// The growth since the last checkpoint.
    pub(crate) fn growth(&self, ledger: &SignalLedger) -> Growth {
        let log_bytes = ledger.log.log_bytes();
        Growth {
            log_bytes: log_bytes.saturating_sub(self.log_bytes_at_end.load(Ordering::Relaxed)),
            state_bytes: ledger.state.changed_bytes() + self.fenced_bytes.load(Ordering::Relaxed),
            segments_len: ledger.log.sealed_len(),
        }
    }

    /// Waits for an earlier checkpoint, and makes one if `trigger` finds it due. Returns the sequence number that the
    /// last checkpoint covers.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by this one; `Closed`.
    pub(crate) fn checkpoint(
        &self,
        ledger: &SignalLedger,
        storage: &GuardedStorage,
        trigger: CheckpointTrigger<'_>,
    ) -> Result<u64, Error> {
        let poison = &ledger.poison;
        let mut copies = lock(&self.running);
        if let CheckpointTrigger::Grown(_) = trigger {
            ledger.check_open()?;
        }
        poison.check_write()?;
        // No checkpoint is running, so the growth contains only changes that no fence has captured.
        let growth = self.growth(ledger);
        // An open can change the state without a frame: it removes forgotten entries of co-engagement.
        let has_changes = growth.state_bytes > 0
            || ledger.log.last_sequence() != self.covered_log_end.load(Ordering::Acquire);
        let is_due = match trigger {
            CheckpointTrigger::Grown(least) => has_changes && growth.reaches(least),
            // After a close the log is small, so that the next open reads little, also if nothing changed since a
            // checkpoint.
            CheckpointTrigger::Closing => has_changes || ledger.log.log_bytes() > self.closed_log_bytes_max,
            CheckpointTrigger::Opening(_) => true,
        };
        if !is_due {
            return Ok(self.covered());
        }
        poison.attempt("checkpoint", Memory::Intact, || {
            poison.check_owner()?;
            let fence = self.begin_fence(ledger)?;
            let mut batch = collect(ledger, fence, &mut copies)?;
            if let CheckpointTrigger::Opening(schema) = trigger {
                put(&mut batch, keys::SCHEMA.to_vec(), schema.encode());
            }

            #[cfg(any(test, feature = "test-utils"))]
            crate::testing::check_crash_point(crate::testing::CrashPoint::CheckpointPreFlush);

            storage.write("write_batch", |engine| engine.write_batch(batch))?;
            storage.flush()?;
            self.covered.store(fence.covered, Ordering::Release);
            self.fenced_bytes.store(0, Ordering::Relaxed);

            #[cfg(any(test, feature = "test-utils"))]
            crate::testing::check_crash_point(crate::testing::CrashPoint::CheckpointPostFlush);

            if trigger == CheckpointTrigger::Closing {
                ledger.log.rotate_covered(fence.covered)?;
            }
            let marker = ledger.log.append_checkpoint(fence.covered)?;
            if marker == fence.covered + 1 {
                self.covered_log_end.store(marker, Ordering::Release);
            }
            ledger.log.trim(fence.covered)?;
            self.log_bytes_at_end
                .store(ledger.log.log_bytes(), Ordering::Relaxed);
            Ok(fence.covered)
        })
    }

    /// Fixes N, and begins a fence with all changes up to N. Meanwhile no event is between its append and the end of
    /// its applying.
    fn begin_fence(&self, ledger: &SignalLedger) -> Result<CheckpointFence, Error> {
        ledger.while_idle(|| {
            let state = &ledger.state;
            self.fenced_bytes.store(state.changed_bytes(), Ordering::Relaxed);
            state
                .begin_fence()
                .map_err(|error| ledger.poison.fail_unreadable(error))?;
            let (covered, history) = ledger.log.position();
            Ok(CheckpointFence {
                covered,
                synced: ledger.log.durable_sequence(),
                history,
            })
        })
    }
}

/// Copies the records that the fence captured, shard by shard, and encodes them into one batch with N.
fn collect(ledger: &SignalLedger, fence: CheckpointFence, copies: &mut Copies) -> Result<WriteBatch, Error> {
    let mut batch = WriteBatch::new();
    collect_state(&ledger.state, copies, &mut batch).map_err(|error| ledger.poison.fail_unreadable(error))?;
    put(
        &mut batch,
        keys::CHECKPOINT.to_vec(),
        record::encode(fence.covered, fence.synced, fence.history),
    );
    Ok(batch)
}

fn collect_state(state: &LedgerState, copies: &mut Copies, batch: &mut WriteBatch) -> Result<(), Error> {
    collect_pages(&state.signals, &mut copies.signals, batch)?;
    collect_pages(state.cohorts.states(), &mut copies.cohorts, batch)?;
    for shard in 0..FENCE_SHARDS {
        for record in state.change_co_engagement(|index| index.take_fenced(shard))? {
            let key = record.key();
            match record.value() {
                Some(value) => put(batch, key, value),
                None => batch.delete(key),
            }
        }
    }
    Ok(())
}

fn collect_pages<K: StateKey>(
    table: &StateTable<K>,
    copies: &mut PageCopies<K>,
    batch: &mut WriteBatch,
) -> Result<(), Error> {
    for shard in 0..SHARDS {
        let mut more = true;
        while more {
            more = table.take_fenced(shard, copies)?;
            for (key, value) in copies.records(shard) {
                put(batch, key, value);
            }
        }
    }
    Ok(())
}

fn put(batch: &mut WriteBatch, key: Vec<u8>, value: Vec<u8>) {
    let sealed = keys::seal(&key, value);
    batch.put(key, sealed);
}
