//! Compaction: the files stay within their limit, twice the live data and one segment.
//!
//! A compaction replaces adjacent sealed files, which `choice` chooses, in the steps of `running_compaction`. It moves
//! nothing to the tail, so cold data is not rewritten because of other data. The
//! docs of `running_compaction` list the states after a crash.
//!
//! A write compacts if the files are over [`StoreBounds::high_bytes`], if a compaction is in progress, or if replaced
//! files are left. Its share is the steps for eight times the bytes that it wrote and made garbage, and at least one
//! step. The end of a compaction counts as one step. This bounds the files: near the limit a compaction of some file
//! reclaims an eighth of it, so that the share of a write reclaims as many bytes as the write added. If the files are
//! over the limit nevertheless, the write continues until they are within it. This happens after a batch longer than a
//! segment, which is one file, and if other threads left large shares. A write takes at most twice its own share, so
//! that later writes divide the shares that other threads left.
//!
//! Unless the files are over the limit, a write does not wait for another thread that compacts, and leaves its share to
//! later writes. It does not wait for another thread that syncs either, and leaves the end of a compaction to a later
//! write. So a write waits for another thread's sync only if the files are over the limit, if the tail is full, or if
//! the sync began after the write looked for one.
//!
//! One thread at a time makes the steps of a compaction, under a separate lock. A step takes the writer's lock only to
//! read and to change the list of files. Before the new file is renamed the tail is synced: the file lacks entries that
//! later records outdated. A failed sync is recorded before another sync of the tail or of the directory begins.
//!
//! A replaced file is removed when no reader refers to it; open removes the rest.

use super::bounds::{SizeLevel, StoreBounds};
use super::choice::choose;
use super::data_file::sync_names;
use super::log::StoreLog;
use super::running_compaction::RunningCompaction;
use super::store::FileStore;
use crate::Error;
use crate::poison::Memory;
use crate::sync::{self, lock, try_lock};

/// The point at which a call stops to compact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompactionGoal {
    /// The call has read this many bytes of files, or up to twice as many if other threads left shares.
    Share(u64),
    /// The files are within their limit.
    WithinLimit,
    /// The files are within their limit, and no compaction is in progress.
    Finished,
}

impl CompactionGoal {
    fn is_share(self) -> bool {
        matches!(self, Self::Share(_))
    }
}

impl FileStore {
    /// Compacts until `goal` is reached.
    pub(super) fn compact(&self, goal: CompactionGoal) -> Result<(), Error> {
        let mut running = match try_lock(&self.compaction) {
            Some(running) => running,
            None if goal.is_share() && self.level()? < SizeLevel::OverLimit => return Ok(()),
            None => lock(&self.compaction),
        };
        self.poison
            .attempt("compact", Memory::Intact, || self.compact_to(&mut running, goal))
    }

    fn compact_to(&self, running: &mut Option<RunningCompaction>, goal: CompactionGoal) -> Result<(), Error> {
        let limits = &self.settings.limits;
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
            if level < SizeLevel::OverLimit
                && left_bytes == 0
                && (goal != CompactionGoal::Finished || running.is_none())
            {
                break;
            }
            // A sync of another thread may take long: a later write does the work that needs a sync.
            let must_not_sync = level < SizeLevel::OverLimit && goal.is_share() && self.is_syncing();
            let Some(compaction) = running else {
                if level == SizeLevel::Low {
                    break;
                }
                *running = self.begin_compaction(level)?;
                if running.is_none() {
                    // The remaining garbage is in the tail.
                    let file_bytes_max = self.file_bytes_max()?;
                    let is_needed = |log: &StoreLog| match level {
                        SizeLevel::OverLimit => !log.is_empty_tail(),
                        _ => log.is_worth_sealing(file_bytes_max),
                    };
                    if must_not_sync || !self.with_log(|log| Ok(is_needed(log)))? {
                        break;
                    }
                    self.rotate_if(is_needed)?;
                }
                continue;
            };
            left_bytes = left_bytes.saturating_sub(compaction.step(&self.index)?);
            self.note_temporary_bytes(compaction)?;
            if compaction.is_copied() {
                if must_not_sync {
                    break;
                }
                self.finish_compaction(running)?;
                // The syncs cost about as much as a step.
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
            // After this sync a power loss restores no removed file.
            self.sync_alone("close", || sync_names(&self.settings))?;
        }
        Ok(())
    }

    fn note_temporary_bytes(&self, compaction: &RunningCompaction) -> Result<(), Error> {
        self.with_log(|log| {
            log.set_temporary_bytes(compaction.end());
            Ok(())
        })
    }

    /// Begins the next compaction. Returns `None` if `choose` finds no files for it.
    fn begin_compaction(&self, level: SizeLevel) -> Result<Option<RunningCompaction>, Error> {
        // The choice reads the sizes of every file, so it holds no lock that a write takes.
        let sealed = self.with_log(|log| Ok(log.sealed()))?;
        let Some(chosen) = choose(&sealed, self.settings.segment_bytes_max, level) else {
            return Ok(None);
        };
        let files = sealed[chosen].to_vec();
        drop(sealed);
        let number = self.with_log(|log| Ok(log.take_number()))?;
        let compaction = RunningCompaction::begin(&self.settings, number, files)?;
        self.note_temporary_bytes(&compaction)?;
        Ok(Some(compaction))
    }

    /// Replaces the original files, which were all read, by the new file.
    fn finish_compaction(&self, running: &mut Option<RunningCompaction>) -> Result<(), Error> {
        let Some(mut compaction) = running.take() else {
            return Ok(());
        };
        self.sync_alone("compact", || {
            let tail = self.with_log(|log| {
                log.record_digest_sum()?;
                Ok(log.tail_state())
            })?;
            compaction.seal(tail.last_sequence, tail.history)?;
            self.sync_tail(&tail)?;
            let compacted = compaction.rename()?;
            self.with_log(|log| {
                log.replace(compacted);
                Ok(())
            })
        })
    }

    /// Removes up to `len_max` replaced files that no reader refers to. Stops after a few files that a reader refers
    /// to.
    ///
    /// The directory is not synced: if a power loss restores a file, open removes it again.
    fn remove_replaced(&self, len_max: usize) -> Result<(), Error> {
        let mut in_use_len = 0;
        let replaced_len = self.with_log(|log| Ok(log.replaced_len()))?;
        for _ in 0..replaced_len.min(len_max) {
            let Some(removed) = self.with_log(|log| Ok(log.take_removable()))? else {
                in_use_len += 1;
                if in_use_len >= self.settings.limits.store_removals_len_max {
                    break;
                }
                continue;
            };
            let file = removed.file;
            file.close();
            self.settings
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

    fn level(&self) -> Result<SizeLevel, Error> {
        self.with_log(|log| self.level_of(log))
    }

    /// The level of the files that are not replaced. Replaced files are removed without a compaction.
    pub(super) fn level_of(&self, log: &StoreLog) -> Result<SizeLevel, Error> {
        Ok(self.bounds()?.level(log.needed_bytes()))
    }

    fn bounds(&self) -> Result<StoreBounds, Error> {
        Ok(StoreBounds {
            live_bytes: sync::read(&self.index).get()?.live_bytes(),
            segment_bytes_max: self.settings.segment_bytes_max,
        })
    }
}
