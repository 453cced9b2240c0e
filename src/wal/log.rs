//! The log of a database: appending, group commit, trimming.
//!
//! Invariants:
//! - Frames are written in the order of their sequence numbers, under one lock. So when an append returns, every
//!   earlier frame is written too.
//! - `durable_sequence` is never ahead of the frames that a finished sync covers.
//! - One sync of the log's files and directory runs at a time. Its failure is recorded before the next sync starts,
//!   because a file system reports a failed write-back only once.
//! - After the first failure nothing is written, synced or removed any more.
//!
//! An appended frame survives a process crash. It survives a power loss once a sync that covers it has returned. A trim
//! removes whole segments that the flushed checkpoint covers, oldest first; a crash leaves some of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::appender::{Appender, SealedSegment, remove, sync_dir};
use super::frame::{FrameBuffer, FrameKind};
use super::group_commit::GroupCommit;
use super::history::History;
use crate::codec::Write;
use crate::poison::{Memory, Poison};
use crate::sync::{AtomicU64, Mutex, lock, lock_brief, yield_now};
use crate::{Error, Receipt};

pub(crate) use super::appender::LogOptions;

/// The most times that a leader of a group commit lets other threads run before its sync.
const YIELDS_MAX: u32 = 8;

/// The log. Shared by all threads of a handle.
#[derive(Debug)]
pub(crate) struct Log {
    options: LogOptions,
    poison: Arc<Poison>,
    /// Taken before `syncing` by a thread that needs both.
    tail: Mutex<Tail>,
    /// Held for a sync of the log, until its result is recorded.
    syncing: Mutex<()>,
    commits: GroupCommit,
    /// The id of this opening.
    opening: u64,
    /// The last sequence number when the log was opened.
    opened_sequence: u64,
    last_sequence: AtomicU64,
    durable_sequence: AtomicU64,
    /// Bytes in segments that are not trimmed.
    untrimmed_bytes: AtomicU64,
    /// The number of segments that take no more frames and are not trimmed.
    sealed_len: AtomicU64,
}

#[derive(Debug)]
struct Tail {
    appender: Appender,
    sealed: VecDeque<SealedSegment>,
}

impl Log {
    /// A log with an empty open segment. The sealed segments come before it and are synced.
    pub(crate) fn new(
        options: LogOptions,
        poison: Arc<Poison>,
        (appender, sealed): (Appender, Vec<SealedSegment>),
    ) -> Self {
        let last_sequence = appender.next_sequence() - 1;
        let opening = appender.opening();
        let untrimmed_bytes = appender.end() + sealed.iter().map(|segment| segment.end).sum::<u64>();
        Self {
            sealed_len: AtomicU64::new(sealed.len() as u64),
            options,
            poison,
            tail: Mutex::new(Tail {
                appender,
                sealed: sealed.into(),
            }),
            syncing: Mutex::new(()),
            commits: GroupCommit::default(),
            opening,
            opened_sequence: last_sequence,
            last_sequence: AtomicU64::new(last_sequence),
            durable_sequence: AtomicU64::new(last_sequence),
            untrimmed_bytes: AtomicU64::new(untrimmed_bytes),
        }
    }

    /// Appends a finished frame and returns its sequence number. The frame and every earlier frame are written on
    /// return.
    ///
    /// `in_order` is called with the sequence number under the log's lock, so its calls come in log order.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by this one; wrapped in `OutcomeUnknown` if the frame may be in the log.
    pub(crate) fn append(&self, frame: &mut FrameBuffer, in_order: impl FnOnce(u64)) -> Result<u64, Error> {
        let mut tail = lock_brief(&self.tail);
        if tail.appender.is_full_for(frame) {
            self.rotate(&mut tail)?;
        }
        self.poison.check_write()?;
        let sequence = tail.appender.next_sequence();
        let appended = self.poison.complete("append", Memory::Intact, || {
            let start = tail.appender.end();
            tail.appender
                .append(frame, self.durable_sequence.load(Ordering::Acquire))?;
            self.untrimmed_bytes
                .fetch_add(tail.appender.end() - start, Ordering::Relaxed);
            self.last_sequence.store(sequence, Ordering::Release);
            in_order(sequence);
            Ok(sequence)
        });
        appended.map_err(|error| error.with_unknown_outcome(Some(self.receipt(sequence))))
    }

    /// The receipt of a frame that this opening appended.
    pub(crate) fn receipt(&self, sequence: u64) -> Receipt {
        Receipt::new(self.opening, sequence)
    }

    /// Syncs the open segment, which makes every frame durable, and continues in a new segment.
    fn rotate(&self, tail: &mut Tail) -> Result<(), Error> {
        self.sync_alone("rotate", || {
            let sealed = tail.appender.rotate()?;
            self.raise_durable(sealed.last_sequence);
            tail.sealed.push_back(sealed);
            self.sealed_len.fetch_add(1, Ordering::Relaxed);
            self.untrimmed_bytes
                .fetch_add(tail.appender.end(), Ordering::Relaxed);
            Ok(())
        })
    }

    /// Runs one sync of the files or the directory of the log at a time. A failure is recorded before the next sync
    /// starts.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by the failure of `sync`.
    fn sync_alone<T>(
        &self,
        operation: &'static str,
        sync: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _guard = lock(&self.syncing);
        self.poison.attempt(operation, Memory::Intact, || {
            self.poison.check_owner()?;
            sync()
        })
    }

    /// Waits for a running sync. If writing has ended before the call, no later sync starts.
    pub(crate) fn wait_for_sync(&self) {
        drop(lock(&self.syncing));
    }

    /// Appends the marker of a flushed checkpoint that covers every frame up to `covered`.
    pub(crate) fn append_checkpoint(&self, covered: u64) -> Result<u64, Error> {
        let mut frame = FrameBuffer::default();
        frame.begin().put_u64(covered);
        frame.finish(FrameKind::Checkpoint);
        self.append(&mut frame, |_| {})
    }

    /// Continues in a new segment if no frame came after `covered`, the last frame that a flushed checkpoint covers.
    /// Then all earlier segments can be trimmed, and the next open has little to read.
    ///
    /// It syncs both segments while it holds the log's lock. So only a close calls it: no writer waits then.
    pub(crate) fn rotate_covered(&self, covered: u64) -> Result<(), Error> {
        let mut tail = lock_brief(&self.tail);
        if tail.appender.ends_with(covered) {
            self.rotate(&mut tail)?;
        }
        Ok(())
    }

    /// Syncs, appends the close marker, and syncs the marker. The marker promises that all earlier frames are synced.
    /// It also holds the result of `collections`, the digest of the collections in storage.
    ///
    /// If nothing was appended since the log was opened and storage did not change, the log stays unchanged. The header
    /// of its last segment promises all frames already, and the next open reuses that empty segment.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by this one.
    pub(crate) fn append_close(
        &self,
        storage_changed: bool,
        collections: impl FnOnce() -> Result<u64, Error>,
    ) -> Result<(), Error> {
        let last_sequence = self.last_sequence();
        if last_sequence == self.opened_sequence && !storage_changed {
            return Ok(());
        }
        // The frame belongs to no call of the application, so no error with an unknown outcome results.
        self.poison.attempt("close", Memory::Intact, || {
            self.sync_to(last_sequence)?;
            let mut frame = FrameBuffer::default();
            frame.begin().put_u64(collections()?);
            frame.finish(FrameKind::Close);
            let sequence = self.append(&mut frame, |_| {})?;
            self.sync_to(sequence)
        })
    }

    /// Waits until every frame up to `sequence` is durable. Threads that wait at the same time share one sync.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by the failure of the shared sync.
    pub(crate) fn sync_to(&self, sequence: u64) -> Result<(), Error> {
        debug_assert!(
            sequence <= self.last_sequence(),
            "a call waits only for written frames"
        );
        self.commits.commit(
            || self.durable_sequence() >= sequence,
            || self.poison.check_write(),
            |last_synced_len| self.wait_for_more_frames(last_synced_len),
            || self.sync_for_all(),
        )
    }

    /// Syncs all written frames. Returns the number of frames that were not durable before.
    fn sync_for_all(&self) -> Result<u64, Error> {
        let durable = self.durable_sequence();
        let segment = lock_brief(&self.tail).appender.handle();
        self.sync_alone("sync", || {
            // A rotation meanwhile may have synced this segment already.
            if self.durable_sequence() < segment.last_sequence {
                segment.sync()?;
                self.raise_durable(segment.last_sequence);
            }
            Ok(())
        })?;
        Ok(segment.last_sequence.saturating_sub(durable))
    }

    /// Lets other threads run until as many frames wait as the last sync made durable, at most [`YIELDS_MAX`] times.
    /// The threads that the last sync woke append again, and one sync costs the same for all of them as for one.
    fn wait_for_more_frames(&self, expected_len: u64) {
        for _ in 0..YIELDS_MAX {
            // `durable` is read first. Otherwise a rotation between the reads could make it larger than
            // `last_sequence`.
            let durable = self.durable_sequence();
            if expected_len <= 1 || self.last_sequence() - durable >= expected_len {
                return;
            }
            yield_now();
        }
    }

    /// Removes the segments that hold no frame after `covered`, oldest first, and makes the removal durable. Returns
    /// their number.
    pub(crate) fn trim(&self, covered: u64) -> Result<usize, Error> {
        let mut removed = 0;
        while let Some(segment) = self.take_covered(covered) {
            self.poison.attempt("trim", Memory::Intact, || {
                remove(self.options.files.as_ref(), &segment.path)
            })?;
            self.untrimmed_bytes.fetch_sub(segment.end, Ordering::Relaxed);
            self.sealed_len.fetch_sub(1, Ordering::Relaxed);
            removed += 1;
        }
        if removed > 0 {
            self.sync_alone("trim", || {
                sync_dir(self.options.files.as_ref(), &self.options.dir)
            })?;
        }
        Ok(removed)
    }

    /// Takes the oldest segment out of the list, if it holds no frame after `covered`.
    fn take_covered(&self, covered: u64) -> Option<SealedSegment> {
        let mut tail = lock_brief(&self.tail);
        let is_covered = tail.sealed.front()?.last_sequence <= covered;
        if is_covered { tail.sealed.pop_front() } else { None }
    }

    /// The sequence number of the last written frame, and the history of the log up to it.
    pub(crate) fn position(&self) -> (u64, History) {
        let tail = lock_brief(&self.tail);
        (tail.appender.next_sequence() - 1, tail.appender.history())
    }

    /// The sequence number of the last written frame.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.last_sequence.load(Ordering::Acquire)
    }

    /// The sequence number up to which every frame is synced.
    pub(crate) fn durable_sequence(&self) -> u64 {
        self.durable_sequence.load(Ordering::Acquire)
    }

    /// The number of bytes of frames and headers in segments that are not trimmed.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.untrimmed_bytes.load(Ordering::Relaxed)
    }

    /// The number of segments that take no more frames and are not trimmed.
    pub(crate) fn sealed_len(&self) -> u64 {
        self.sealed_len.load(Ordering::Relaxed)
    }

    fn raise_durable(&self, sequence: u64) {
        self.durable_sequence.fetch_max(sequence, Ordering::AcqRel);
    }
}
