//! The calls that change the store's files, and their locks.
//!
//! | lock | held | calls that wait for it |
//! |---|---|---|
//! | compaction | for the steps of one call | the repair, a close, and a write if the files are over their limit |
//! | syncing | for a sync of the tail or of the directory, until its failure is recorded | flush, close, the end of a compaction, and a write if the tail is full |
//! | writer | for one write to the tail, or to read or change the list of files; see below | every write |
//! | index | to read or change memory | every call |
//!
//! Threads take them in this order. The first call repairs the store under the writer's lock. Under this lock, a
//! promise and a rotation also sync the records that other threads wrote during the previous sync.
//!
//! The docs of `log`, `running_compaction` and `recovery` list the states after a crash.

use std::sync::atomic::Ordering;

use super::bounds::SizeLevel;
use super::compaction::CompactionGoal;
use super::data_file::create;
use super::format::KeyChange;
use super::log::{StoreLog, TailState};
use super::store::{FileStore, LogState};
use crate::Error;
use crate::limits::{STORAGE_KEY_BYTES_MAX, STORE_BATCH_BYTES_MAX};
use crate::poison::Memory;
use crate::sync::{self, lock, try_lock};

/// The result of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AppendResult {
    /// The record is written, and nothing must be compacted.
    Written,
    /// The record is written, and the call must compact this many bytes of files.
    NeedsCompaction(u64),
    /// Nothing is written.
    TailFull,
}

impl FileStore {
    /// Runs the repair, unless an earlier call did.
    pub(super) fn repair(&self) -> Result<(), Error> {
        if self.is_repaired.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut writer = lock(&self.writer);
        if matches!(*writer, LogState::Unrepaired(_))
            && let LogState::Unrepaired(pending) = std::mem::replace(&mut *writer, LogState::Failed)
        {
            self.poison.attempt("open", Memory::Intact, || {
                let log = pending.repair(&self.settings, &self.index)?;
                self.note_sizes(&log);
                *writer = LogState::Open(log);
                Ok(())
            })?;
            drop(writer);
            // The option of this open may limit files to fewer bytes than the option of earlier openings.
            self.compact(CompactionGoal::WithinLimit)?;
            self.promise("open")?;
            self.is_repaired.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Writes `changes` as one record. Then does the share of this write of the compaction.
    pub(super) fn commit(&self, changes: &[KeyChange<'_>]) -> Result<(), Error> {
        check(changes)?;
        self.poison.check_write()?;
        self.repair()?;
        if changes.is_empty() {
            return Ok(());
        }
        loop {
            match self.append(changes)? {
                AppendResult::Written => return Ok(()),
                AppendResult::NeedsCompaction(share_bytes) => {
                    return self.compact(CompactionGoal::Share(share_bytes));
                }
                AppendResult::TailFull => {
                    let file_bytes_max = self.file_bytes_max()?;
                    self.rotate_if(|log| log.is_full(file_bytes_max))?;
                }
            }
        }
    }

    /// Appends a record and applies it to the index, unless the tail is full.
    fn append(&self, changes: &[KeyChange<'_>]) -> Result<AppendResult, Error> {
        let mut writer = lock(&self.writer);
        self.poison.attempt("write_batch", Memory::Intact, || {
            let log = writer.log()?;
            if log.is_full(self.file_bytes_max()?) {
                return Ok(AppendResult::TailFull);
            }
            let (file, offset, written_bytes) = log.append(changes)?;
            let garbage_bytes = sync::write(&self.index)
                .change(|index| Ok(index.apply(changes.iter().copied(), &file, offset)))?;
            let share_factor = self.settings.limits.store_share_factor;
            let share_bytes = share_factor.saturating_mul(written_bytes + garbage_bytes);
            log.add_share(share_bytes);
            self.note_sizes(log);
            if log.has_compaction_work() || self.level_of(log)? > SizeLevel::Low {
                return Ok(AppendResult::NeedsCompaction(share_bytes));
            }
            log.take_share(u64::MAX);
            Ok(AppendResult::Written)
        })
    }

    /// Reads or changes the files under the writer's lock. A failure ends writing before the lock is released.
    pub(super) fn with_log<R>(
        &self,
        change: impl FnOnce(&mut StoreLog) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut writer = lock(&self.writer);
        let log = writer.log()?;
        let result = self
            .poison
            .attempt("change the log", Memory::Intact, || change(log));
        self.note_sizes(log);
        result
    }

    /// Runs one sync of the tail or the directory at a time. A failure is recorded before the next sync starts, because
    /// a file system reports a failed write-back only once.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by the failure of `sync`.
    pub(super) fn sync_alone(
        &self,
        operation: &'static str,
        sync: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let _guard = lock(&self.syncing);
        self.poison.attempt(operation, Memory::Intact, sync)
    }

    /// Returns true if a thread is in [`sync_alone`](Self::sync_alone).
    pub(super) fn is_syncing(&self) -> bool {
        try_lock(&self.syncing).is_none()
    }

    /// Syncs the tail and notes that the records up to `tail.last_sequence` are durable. Only within
    /// [`sync_alone`](Self::sync_alone).
    pub(super) fn sync_tail(&self, tail: &TailState) -> Result<(), Error> {
        if tail.is_synced {
            return Ok(());
        }
        tail.sync()?;
        self.with_log(|log| {
            log.set_synced(tail.last_sequence);
            Ok(())
        })
    }

    /// Seals the tail and creates a new one, if `is_needed` still returns true. During the first sync other threads
    /// write, unless the tail is full. While the new file is created they wait.
    pub(super) fn rotate_if(&self, is_needed: impl Fn(&StoreLog) -> bool) -> Result<(), Error> {
        self.sync_alone("rotate", || {
            let tail = self.with_log(|log| Ok(is_needed(log).then(|| log.tail_state())))?;
            let Some(tail) = tail else { return Ok(()) };
            self.sync_tail(&tail)?;
            let header = self.with_log(|log| {
                sync_rest(log)?;
                Ok(log.seal())
            })?;
            let handle = create(&self.settings, header.number, &header.encode())?;
            self.with_log(|log| {
                log.continue_in(&header, handle);
                Ok(())
            })
        })
    }

    /// Syncs, then appends a promise record and syncs it. Does nothing if every record is promised.
    pub(super) fn promise(&self, operation: &'static str) -> Result<(), Error> {
        self.sync_alone(operation, || {
            let tail = self.with_log(|log| Ok((!log.all_promised()).then(|| log.tail_state())))?;
            let Some(tail) = tail else { return Ok(()) };
            self.sync_tail(&tail)?;
            let promise = self.with_log(|log| {
                sync_rest(log)?;
                log.append_promise()?;
                Ok(log.tail_state())
            })?;
            self.sync_tail(&promise)?;
            self.with_log(|log| {
                log.set_promised(promise.last_sequence);
                Ok(())
            })
        })
    }

    fn note_sizes(&self, log: &StoreLog) {
        self.total_bytes.store(log.total_bytes(), Ordering::Relaxed);
        self.files_len.store(log.files_len() as u64, Ordering::Relaxed);
    }
}

/// Syncs, under the writer's lock, the records that other threads wrote during the previous sync.
fn sync_rest(log: &mut StoreLog) -> Result<(), Error> {
    let tail = log.tail_state();
    if !tail.is_synced {
        tail.sync()?;
        log.set_synced(tail.last_sequence);
    }
    Ok(())
}

/// Fails if a key or the batch exceeds a limit.
fn check(changes: &[KeyChange<'_>]) -> Result<(), Error> {
    let mut batch_bytes = 0;
    for change in changes {
        if change.key.is_empty() {
            return Err(Error::invalid(
                "key",
                "empty",
                "a storage key must have at least one byte",
            ));
        }
        check_limit(
            "storage key bytes",
            STORAGE_KEY_BYTES_MAX as u64,
            change.key.len() as u64,
        )?;
        batch_bytes += change.entry_len() as u64;
    }
    check_limit("storage batch bytes", STORE_BATCH_BYTES_MAX, batch_bytes)
}

fn check_limit(what: &'static str, limit: u64, found: u64) -> Result<(), Error> {
    if found > limit {
        return Err(Error::LimitExceeded { what, limit, found });
    }
    Ok(())
}
