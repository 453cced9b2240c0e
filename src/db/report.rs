//! The recovery report and the statistics of a handle.

use std::sync::Arc;

use crate::storage::FileStoreRecovery;
pub use crate::torn_tail::TornTail;
use crate::{Error, Receipt};

/// The report of an opening: the checkpoint and log that it found, the frames that it replayed, and the tail that it
/// truncated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// True if this call created the database.
    pub created: bool,
    /// The id of this opening. All its receipts have this id.
    pub opening: u64,
    /// The earlier openings, latest first, at most 32, each with its last surviving call. An opening that ended before
    /// it made its log segment is left out: it accepted no call.
    pub earlier_openings: Vec<EarlierOpening>,
    /// The loaded checkpoint holds every frame up to this sequence number; 0 without one.
    pub checkpoint_sequence: u64,
    /// Segments of the log that the opening found.
    pub segments_found: usize,
    /// Frames beyond the checkpoint that were replayed; markers do not count.
    pub frames_replayed: u64,
    /// Events in those frames.
    pub events_replayed: u64,
    /// The last sequence number in the log or the checkpoint; 0 without one.
    pub last_sequence: u64,
    /// The truncated tail of the log, if it had one: a part of a frame after a crash, or preallocated zeros.
    pub torn_tail: Option<TornTail>,
    /// Temporary files of the log that a crash had left. The opening removed them.
    pub leftovers_removed: usize,
    /// The recovery of the embedded store; `None` with another storage engine.
    pub store: Option<FileStoreRecovery>,
}

/// An earlier opening, and its last call that survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlierOpening {
    /// The id of that opening, see [`Receipt::opening`].
    pub opening: u64,
    /// A call of that opening is in the database if its sequence number is at most this one. Otherwise it is lost.
    pub survived_sequence: u64,
}

impl RecoveryReport {
    /// Returns `Some(true)` if the call with this receipt is in the database, `Some(false)` if it is lost. Returns
    /// `None` for a receipt of this opening, and of an opening that is not in
    /// [`earlier_openings`](Self::earlier_openings).
    pub fn survived(&self, receipt: Receipt) -> Option<bool> {
        let mut earlier = self.earlier_openings.iter();
        let opening = earlier.find(|earlier| earlier.opening == receipt.opening)?;
        Some(receipt.sequence <= opening.survived_sequence)
    }
}

/// The statistics of a handle at the time of the call.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Statistics {
    /// The sequence number of the last written frame.
    pub last_sequence: u64,
    /// Every frame up to this sequence number is durable.
    pub durable_sequence: u64,
    /// The last sequence number that the last flushed checkpoint covers; 0 without one.
    pub checkpoint_sequence: u64,
    /// Bytes in the log that are not trimmed.
    pub log_bytes: u64,
    /// Segments of the log that are not trimmed. At 65 segments a checkpoint is due. At 257 segments writers wait for
    /// it.
    pub log_segments_len: u64,
    /// The growth of the log since the last checkpoint, in bytes.
    pub log_bytes_since_checkpoint: u64,
    /// The most bytes that a checkpoint takes to store all changes since the last one: see
    /// [`Options::checkpoint_state_bytes`](crate::Options::checkpoint_state_bytes).
    pub state_bytes_since_checkpoint: u64,
    /// Events that were too old for a window ring and not counted in it, summed over the rings of entities and cohorts,
    /// since the handle was opened. Replayed events count. A ring retains one bucket more than declared.
    pub late_drops: u64,
    /// Events of acknowledged calls that were ahead of the clock and were recorded at the time of the clock, since the
    /// handle was opened: see [`TidalDb::record`](crate::TidalDb::record).
    pub events_set_back: u64,
    /// The newest event time, in milliseconds since the Unix epoch: of the restored states, and of all events that were
    /// replayed or recorded since. `None` without an event, and if no event is later than `i64::MIN`.
    ///
    /// A value later than now means that the clock was wrong when an event was recorded. `forget_entity` does not lower
    /// the value. A checkpoint and a reopening after it do, if no other state has that time.
    pub newest_event_ms: Option<i64>,
    /// The number of pairs of entity and signal that have a state.
    pub states_len: usize,
    /// The number of triples of cohort, entity and signal that have a state.
    pub cohort_states_len: usize,
    /// Forgotten items that may still have entries in memory, among the related items of others or in rings of users:
    /// see [`TidalDb::forget_entity`](crate::TidalDb::forget_entity).
    pub tombstones_len: usize,
    /// Memory that the states of entities and cohorts take, in bytes.
    pub states_bytes: usize,
    /// Memory that the collections take, in bytes.
    pub collections_bytes: u64,
    /// Memory that the index of the storage engine takes, in bytes, estimated; 0 if the engine has no estimate.
    pub storage_index_bytes: u64,
    /// The first failure, if the handle is poisoned.
    pub poison: Option<Arc<Error>>,
}
