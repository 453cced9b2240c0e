//! Compaction: keeps the files within their limit, twice the live data and one segment.
//!
//! A compaction replaces adjacent sealed files, chosen by `choice`, in steps of `run`. Nothing is moved to the tail, so cold data
//! is not rewritten because of other data.
//!
//! Each write does a share of the compaction: the steps for eight times the bytes that it wrote and made garbage, and at least
//! one; the end of a compaction counts as one. It compacts if the files are over [`StoreBounds::bytes_ahead`], a compaction is in progress, or
//! replaced files are left. This keeps the files within the limit: near the limit some file has an eighth to reclaim, so that
//! the share of a write reclaims as much as it wrote. If the files are over the limit all the same, the write continues until
//! they are not. That happens after a batch longer than a segment, which is one file, and if other threads left much. A write
//! takes at most twice its own share, so that shares that other threads left are spread over later writes.
//!
//! A write that finds another thread compacting leaves its share to later writes, and one that finds another thread syncing
//! leaves the end of a compaction to a later write, unless the files are over the limit. So a write waits for another thread's
//! sync only if the files are over the limit, the tail is full, or the sync began just then.
//!
//! Steps of one compaction are made by one thread at a time, under a lock of their own. They take the writer's lock only to
//! read and to change the list of files. Before the new file is renamed the tail is synced: the file lacks entries that later
//! records outdated. A failed sync is known to every thread before another sync of the tail or of the directory begins.
//!
//! Replaced files are removed when no reader has them; open removes the rest.

use std::sync::TryLockError;

use super::choice::{Level, StoreBounds, choose};
use super::data_file::sync_names;
use super::log::StoreLog;
use super::run::CompactionRun;
use super::store::FileStore;
use crate::Error;
use crate::lock::{self, lock};
use crate::poison::Memory;

/// How far a call compacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompactionGoal {
    /// A share: so many bytes of files, or a little more because of shares that other threads left.
    Share(u64),
    /// Until the files are within their limit.
    WithinLimit,
    /// As `WithinLimit`, and until no compaction is in progress.
    Finished,
}

impl CompactionGoal {
    fn is_share(self) -> bool {
        matches!(self, Self::Share(_))
    }
}

impl FileStore {
    /// Compacts as far as `goal` says.
    pub(super) fn compact(&self, goal: CompactionGoal) -> Result<(), Error> {
        let mut run = match self.compaction.try_lock() {
            Ok(run) => run,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if goal.is_share() && self.level()? < Level::Over => return Ok(()),
            Err(TryLockError::WouldBlock) => lock(&self.compaction),
        };
        self.poison
            .attempt("compact", Memory::Intact, || self.compact_to(&mut run, goal))
    }

    fn compact_to(&self, run: &mut Option<CompactionRun>, goal: CompactionGoal) -> Result<(), Error> {
        let limits = &self.setting.limits;
        let step_bytes = limits.store_step_bytes as u64;
        let mut left_bytes = match goal {
            CompactionGoal::Share(bytes) => {
                let bytes_max = bytes.max(step_bytes).saturating_mul(2);
                self.with_log(|log| Ok(log.take_share(bytes_max)))?
                    .max(step_bytes)
            }
            CompactionGoal::WithinLimit | CompactionGoal::Finished => 0,
        };
        self.remove_replaced(limits.store_removals_len_max)?;
        loop {
            let level = self.level()?;
            if level < Level::Over && left_bytes == 0 && (goal != CompactionGoal::Finished || run.is_none()) {
                break;
            }
            // Another thread syncs, which may take long: what needs a sync is left to a later write.
            let must_not_sync = level < Level::Over && goal.is_share() && self.is_syncing();
            let Some(started) = run else {
                if level == Level::Low {
                    break;
                }
                *run = self.begin_run(level)?;
                if run.is_none() {
                    // The rest of the garbage is in the tail.
                    let file_bytes_max = self.file_bytes_max()?;
                    let is_needed = |log: &StoreLog| match level {
                        Level::Over => !log.is_empty_tail(),
                        _ => log.is_worth_sealing(file_bytes_max),
                    };
                    if must_not_sync || !self.with_log(|log| Ok(is_needed(log)))? {
                        break;
                    }
                    self.rotate_if(is_needed)?;
                }
                continue;
            };
            left_bytes = left_bytes.saturating_sub(started.step(&self.index)?);
            self.note_temporary(started)?;
            if started.is_copied() {
                if must_not_sync {
                    break;
                }
                self.finish(run)?;
                // Its syncs are as dear as a step.
                left_bytes = left_bytes.saturating_sub(step_bytes);
            }
        }
        if !goal.is_share()
            || self
                .bounds()?
                .are_exceeded_by(self.with_log(|log| Ok(log.total_bytes()))?)
        {
            self.remove_replaced(usize::MAX)?;
        }
        if goal == CompactionGoal::Finished {
            // A power loss after a close brings no file back.
            self.sync_alone("close", || sync_names(&self.setting))?;
        }
        Ok(())
    }

    fn note_temporary(&self, run: &CompactionRun) -> Result<(), Error> {
        self.with_log(|log| {
            log.set_temporary_bytes(run.end());
            Ok(())
        })
    }

    /// Begins the next compaction, if any files are worth it.
    fn begin_run(&self, level: Level) -> Result<Option<CompactionRun>, Error> {
        // The choice looks at every file, so it is made without a lock that writes take.
        let sealed = self.with_log(|log| Ok(log.sealed()))?;
        let Some(chosen) = choose(&sealed, self.setting.segment_bytes_max, level) else {
            return Ok(None);
        };
        let files = sealed[chosen].to_vec();
        drop(sealed);
        let number = self.with_log(|log| Ok(log.take_number()))?;
        let run = CompactionRun::begin(&self.setting, number, files)?;
        self.note_temporary(&run)?;
        Ok(Some(run))
    }

    /// Puts the new file in the place of the files of the run, of which nothing is left to copy.
    fn finish(&self, run: &mut Option<CompactionRun>) -> Result<(), Error> {
        let Some(mut run) = run.take() else { return Ok(()) };
        self.sync_alone("compact", || {
            let tail = self.with_log(|log| {
                log.record_digest_sum()?;
                Ok(log.tail_state())
            })?;
            run.seal(tail.last_sequence, tail.history)?;
            self.sync_tail(&tail)?;
            let compacted = run.rename()?;
            self.with_log(|log| {
                log.replace(compacted);
                Ok(())
            })
        })
    }

    /// Removes up to `len_max` replaced files that no reader has. Looks at no more than a few others.
    ///
    /// The directory is not synced: a removal that a power loss takes back is done again by open.
    fn remove_replaced(&self, len_max: usize) -> Result<(), Error> {
        let mut held_len = 0;
        let replaced_len = self.with_log(|log| Ok(log.replaced_len()))?;
        for _ in 0..replaced_len.min(len_max) {
            let Some(removed) = self.with_log(|log| Ok(log.take_removable()))? else {
                held_len += 1;
                if held_len >= self.setting.limits.store_removals_len_max {
                    break;
                }
                continue;
            };
            let file = removed.file;
            file.close();
            self.setting
                .access
                .remove(file.path())
                .map_err(|source| Error::io("remove", file.path(), source))?;
        }
        Ok(())
    }

    /// The length at which the tail takes no more records.
    pub(super) fn file_bytes_max(&self) -> Result<u64, Error> {
        Ok(self.bounds()?.file_bytes_max())
    }

    fn level(&self) -> Result<Level, Error> {
        self.with_log(|log| self.level_of(log))
    }

    /// The level of the files that are not replaced: the others go without a compaction.
    pub(super) fn level_of(&self, log: &StoreLog) -> Result<Level, Error> {
        Ok(self.bounds()?.level(log.needed_bytes()))
    }

    fn bounds(&self) -> Result<StoreBounds, Error> {
        Ok(StoreBounds {
            live_bytes: lock::read(&self.index).get()?.live_bytes(),
            segment_bytes_max: self.setting.segment_bytes_max,
        })
    }
}
