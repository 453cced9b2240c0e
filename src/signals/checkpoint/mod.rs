//! Checkpoints: the state as of one sequence number N, written together with N, so that the log up to N can go.
//!
//! Steps, and what a crash after each leaves:
//!
//! 1. Under the gate: fix N, declare what changed up to now to be this checkpoint's. Nothing on disk.
//! 2. Copy it, shard by shard, and encode it; writers go on. A writer that is first to change a page copies the page
//!    aside before it does. Nothing on disk.
//! 3. `write_batch`: the old checkpoint or the new one with its N, never a mixture; the whole log.
//! 4. `flush`: the new checkpoint; the whole log, of which replay skips the frames up to N.
//! 5. The log's marker: the same, confirmed. A close begins a new segment for it, which may be left behind empty.
//! 6. Trimming: whole segments that N covers go, oldest first.
//!
//! An open that changes the bounds of co-engagement makes a checkpoint whose batch holds the new schema too: step 3 leaves
//! the old bounds and the state made under them, or the new bounds and the state brought within them.
//!
//! A failure at any step poisons the handle, because declared changes are not declared again.

pub(crate) mod record;
pub(crate) mod restore;
#[cfg(test)]
mod tests;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cohort::CohortEntity;
use crate::entities::FENCE_SHARDS;
use crate::limits::Limits;
use crate::lock::lock;
use crate::poison::Memory;
use crate::signals::ledger::{LedgerState, SignalLedger};
use crate::states::{PageCopies, SHARDS, StateKey, StateTable};
use crate::storage::{GuardedStorage, WriteBatch, keys};
use crate::wal::Log;
use crate::wal::history::History;
use crate::{EntityId, Error, Schema};

/// Makes one checkpoint at a time, and knows the last one.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    /// Held for a whole checkpoint.
    running: Mutex<Copies>,
    /// The last sequence number that the last flushed checkpoint covers.
    covered: AtomicU64,
    /// The log's last sequence number after the last checkpoint: as long as it stays, no frame is new.
    settled: AtomicU64,
    /// The log's bytes after the last checkpoint.
    settled_bytes: AtomicU64,
    /// The bytes that the running checkpoint has to store and is not known to have stored, as [`Growth::state_bytes`].
    fenced_bytes: AtomicU64,
    closed_log_bytes_max: u64,
}

/// The memory that pages are copied to, used again by every checkpoint.
#[derive(Debug)]
struct Copies {
    signals: PageCopies<EntityId>,
    cohorts: PageCopies<CohortEntity>,
}

/// When a checkpoint is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckpointTrigger<'a> {
    /// If this much has gathered, and the handle is open once an earlier checkpoint has ended: a closed one has given its
    /// lock away, or is about to.
    Grown(Growth),
    /// Whatever the log has grown by, by the call that closes the handle, which still holds its lock.
    Closing,
    /// Always. For an open that changes the bounds: the same batch stores this schema, so replay never applies an older
    /// frame under the new bounds.
    Opening(&'a Schema),
}

/// The growth since the last checkpoint, or the growth at which a checkpoint is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Bytes of the log.
    pub(crate) log_bytes: u64,
    /// The most bytes that the changed states take when stored. The states of a running checkpoint count until they are stored,
    /// because a crash in the middle of it leaves them to replay.
    pub(crate) state_bytes: u64,
    /// Segments of the log that take no more frames.
    pub(crate) segments_len: u64,
}

impl Growth {
    /// Anything at all.
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
    /// One that goes on after a checkpoint that covers `covered`, of a log that holds `replayed` frames beyond it.
    pub(crate) fn new(covered: u64, replayed: u64, state: &LedgerState, log: &Log, limits: Limits) -> Self {
        let settled = if replayed == 0 {
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
            settled: AtomicU64::new(settled),
            settled_bytes: AtomicU64::new(if replayed == 0 { log.log_bytes() } else { 0 }),
            fenced_bytes: AtomicU64::new(0),
            closed_log_bytes_max: limits.closed_log_bytes_max,
        }
    }

    /// The sequence number that the last flushed checkpoint covers; 0 without one.
    pub(crate) fn covered(&self) -> u64 {
        self.covered.load(Ordering::Acquire)
    }

    /// How many bytes the log has grown by since the last checkpoint.
    pub(crate) fn bytes_since(&self, log: &Log) -> u64 {
        log.log_bytes()
            .saturating_sub(self.settled_bytes.load(Ordering::Relaxed))
    }

    /// The growth since the last checkpoint.
    pub(crate) fn growth(&self, ledger: &SignalLedger) -> Growth {
        Growth {
            log_bytes: self.bytes_since(&ledger.log),
            state_bytes: ledger.state.changed_bytes() + self.fenced_bytes.load(Ordering::Relaxed),
            segments_len: ledger.log.sealed_len(),
        }
    }

    /// Makes a checkpoint if one is `due` and anything has changed since the last one. It checks this once an earlier
    /// checkpoint has ended. Returns the last sequence number that the last checkpoint covers then.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by this one; `Closed`.
    pub(crate) fn checkpoint(
        &self,
        ledger: &SignalLedger,
        storage: &GuardedStorage,
        due: CheckpointTrigger<'_>,
    ) -> Result<u64, Error> {
        let poison = &ledger.poison;
        let mut copies = lock(&self.running);
        let least = match due {
            CheckpointTrigger::Grown(growth) => {
                ledger.check_open()?;
                growth
            }
            CheckpointTrigger::Closing | CheckpointTrigger::Opening(_) => Growth::ANY,
        };
        poison.check_write()?;
        // An open can change the state without a frame: it removes forgotten entries of co-engagement.
        let nothing_new = ledger.log.last_sequence() == self.settled.load(Ordering::Acquire)
            && ledger.state.changed_bytes() == 0;
        // A close leaves little for the next open to read, even when a checkpoint has just been made.
        let worthwhile = match due {
            CheckpointTrigger::Grown(_) => false,
            CheckpointTrigger::Closing => ledger.log.log_bytes() > self.closed_log_bytes_max,
            CheckpointTrigger::Opening(_) => true,
        };
        if (nothing_new && !worthwhile) || !self.growth(ledger).reaches(least) {
            return Ok(self.covered());
        }
        poison.attempt("checkpoint", Memory::Intact, || {
            poison.check_owner()?;
            let fence = self.begin(ledger)?;
            let mut batch = collect(ledger, fence, &mut copies)?;
            if let CheckpointTrigger::Opening(schema) = due {
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

            if due == CheckpointTrigger::Closing {
                ledger.log.rotate_covered(fence.covered)?;
            }
            let marker = ledger.log.append_checkpoint(fence.covered)?;
            if marker == fence.covered + 1 {
                self.settled.store(marker, Ordering::Release);
            }
            ledger.log.trim(fence.covered)?;
            self.settled_bytes
                .store(ledger.log.log_bytes(), Ordering::Relaxed);
            Ok(fence.covered)
        })
    }

    /// Fixes N and declares what changed up to N, while no event is between its append and the end of its applying.
    fn begin(&self, ledger: &SignalLedger) -> Result<CheckpointFence, Error> {
        ledger.at_rest(|| {
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

/// Copies what was declared, shard by shard, and encodes it into one batch with N.
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
