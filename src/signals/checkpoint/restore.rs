//! Loads a checkpoint into empty aggregates. Each record is checked against its storage key.
//!
//! Writes nothing, so a crash here leaves the disk as it was.

use super::record;
use crate::Error;
use crate::entities::CoEngagementIndex;
use crate::signals::hot::TIME_NONE;
use crate::signals::ledger::LedgerState;
use crate::storage::{StorageEngine, keys};
use crate::wal::history::History;
use crate::wal::recovery::CheckpointRecord;

/// Loads the checkpoint of `storage` into the empty `state`. Returns the checkpoint
/// record: without a checkpoint, a record that covers no frame.
///
/// # Errors
/// `CorruptValue`, `UnsupportedVersion`, or the error of the storage engine. After an error the state must not be used.
pub(crate) fn load(state: &mut LedgerState, storage: &dyn StorageEngine) -> Result<CheckpointRecord, Error> {
    let Some(sealed) = storage.get(keys::CHECKPOINT)? else {
        return Ok(CheckpointRecord {
            sequence: 0,
            synced: 0,
            history: History::NONE,
            log_exists: false,
        });
    };
    let corrupt = |key: &[u8], what| Error::CorruptValue {
        key: key.to_vec(),
        what,
    };
    let checkpoint = record::decode(keys::unseal(keys::CHECKPOINT, &sealed)?, keys::CHECKPOINT)?;
    let mut newest_ms = TIME_NONE;
    restore_each(storage, keys::STATES, |key, value| {
        let restored = state.signals.restore_page(key, value);
        newest_ms = newest_ms.max(restored.map_err(|what| corrupt(key, what))?);
        Ok(())
    })?;
    restore_each(storage, keys::COHORT_STATES, |key, value| {
        let restored = state.cohorts.states_mut().restore_page(key, value);
        newest_ms = newest_ms.max(restored.map_err(|what| corrupt(key, what))?);
        Ok(())
    })?;
    let co_engagement = state.co_engagement_mut();
    for prefix in keys::CO_ENGAGEMENT {
        restore_each(storage, prefix, |key, value| {
            let time_ms = co_engagement.restore(key, value)?;
            newest_ms = newest_ms.max(time_ms.unwrap_or(TIME_NONE));
            Ok(())
        })?;
    }
    // A record from which forgotten entries were removed counts as changed: the next checkpoint stores it.
    state.change_co_engagement(CoEngagementIndex::finish_restore)??;
    state.note_event_time(newest_ms);
    Ok(checkpoint)
}

/// Calls `restore` with the key and the value of each record under `prefix`.
fn restore_each(
    storage: &dyn StorageEngine,
    prefix: &[u8],
    mut restore: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    for pair in storage.scan_prefix(prefix)? {
        let (key, sealed) = pair?;
        restore(&key, keys::unseal(&key, &sealed)?)?;
    }
    Ok(())
}
