//! The log of a database: appending, group commit, trimming.
//!
//! Invariants: frames are written in the order of their sequence numbers, under one lock, so that when an append
//! returns every earlier frame is written too; `durable_sequence` is never ahead of what a sync has returned for;
//! after the first failure nothing is written, synced or removed any more.
//!
//! What a crash leaves: an appended frame is there after a process crash, and after a power loss once a sync for it
//! returned. Trimming removes whole segments, oldest first, that the flushed checkpoint covers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use super::appender::{Appender, Sealed, remove, sync_dir};
use super::frame::{FrameBuffer, FrameKind};
use super::group_commit::GroupCommit;
use crate::Error;
use crate::codec::Write;
use crate::lock::lock_brief;
use crate::poison::{Memory, Poison};

pub(crate) use super::appender::LogOptions;

/// How often a thread that is about to sync gives way to others.
const COMPANY_TURNS_MAX: u32 = 8;

/// The log. Shared by all threads of a handle.
#[derive(Debug)]
pub(crate) struct Log {
    options: LogOptions,
    poison: Arc<Poison>,
    tail: Mutex<Tail>,
    commits: GroupCommit,
    /// The last sequence number when the log was opened.
    opened_sequence: u64,
    last_sequence: AtomicU64,
    durable_sequence: AtomicU64,
    /// Bytes in segments that are not trimmed.
    untrimmed_bytes: AtomicU64,
}

#[derive(Debug)]
struct Tail {
    appender: Appender,
    sealed: VecDeque<Sealed>,
}

impl Log {
    /// A log that goes on with `appender`, an empty segment, after the segments `sealed`, all of them synced.
    pub(crate) fn new(
        options: LogOptions,
        poison: Arc<Poison>,
        appender: Appender,
        sealed: Vec<Sealed>,
    ) -> Self {
        let last_sequence = appender.next_sequence() - 1;
        let untrimmed_bytes = appender.end() + sealed.iter().map(|segment| segment.end).sum::<u64>();
        Self {
            options,
            poison,
            tail: Mutex::new(Tail {
                appender,
                sealed: sealed.into(),
            }),
            commits: GroupCommit::default(),
            opened_sequence: last_sequence,
            last_sequence: AtomicU64::new(last_sequence),
            durable_sequence: AtomicU64::new(last_sequence),
            untrimmed_bytes: AtomicU64::new(untrimmed_bytes),
        }
    }

    /// Appends a finished frame and gives its sequence number; it and every earlier frame are written on return.
    ///
    /// `in_order` is called with the sequence number under the log's lock, that is, in log order.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by this one; wrapped in `AfterAppend` if the frame may be in the log.
    pub(crate) fn append(&self, frame: &mut FrameBuffer, in_order: impl FnOnce(u64)) -> Result<u64, Error> {
        let mut tail = self.lock_tail()?;
        self.poison.check_write()?;
        let _unwinding = self.poison.on_unwind("append", Memory::Whole);
        if tail.appender.is_full_for(frame) {
            let sealed = tail.appender.rotate().map_err(|error| self.poison.fail(error))?;
            self.raise_durable(sealed.last_sequence);
            self.went_on_in_a_new_segment(&mut tail, sealed);
        }
        let start = tail.appender.end();
        let sequence = tail.appender.next_sequence();
        tail.appender
            .append(frame, self.durable_sequence.load(Ordering::Acquire))
            .map_err(|error| Error::AfterAppend {
                sequence,
                source: Box::new(self.poison.fail(error)),
            })?;
        self.untrimmed_bytes
            .fetch_add(tail.appender.end() - start, Ordering::Relaxed);
        self.last_sequence.store(sequence, Ordering::Release);
        in_order(sequence);
        Ok(sequence)
    }

    fn went_on_in_a_new_segment(&self, tail: &mut Tail, sealed: Sealed) {
        tail.sealed.push_back(sealed);
        self.untrimmed_bytes
            .fetch_add(tail.appender.end(), Ordering::Relaxed);
    }

    /// Appends the marker of a flushed checkpoint that covers every frame up to `covered`.
    pub(crate) fn append_checkpoint(&self, covered: u64) -> Result<u64, Error> {
        let mut frame = FrameBuffer::default();
        frame.begin().put_u64(covered);
        frame.finish(FrameKind::Checkpoint);
        self.append(&mut frame, |_| {})
    }

    /// Goes on in a new segment if a flushed checkpoint covers every frame up to `covered` and none came after, so that
    /// all before can be trimmed and the next open has little to read.
    ///
    /// It syncs both segments while it holds the log's lock: only for who closes, when no writer can be held up.
    pub(crate) fn begin_anew(&self, covered: u64) -> Result<(), Error> {
        let mut tail = self.lock_tail()?;
        self.poison.check_write()?;
        let _unwinding = self.poison.on_unwind("append", Memory::Whole);
        if tail.appender.ends_with(covered) {
            let sealed = tail.appender.rotate().map_err(|error| self.poison.fail(error))?;
            self.raise_durable(sealed.last_sequence);
            self.went_on_in_a_new_segment(&mut tail, sealed);
        }
        Ok(())
    }

    /// Syncs, appends the marker of an orderly end, which promises all before it as synced, and syncs that too.
    ///
    /// A log that nothing was appended to since it was opened is left as it is: its last segment's header promises all
    /// before it already, and being empty it makes room for the next one.
    pub(crate) fn append_close(&self) -> Result<(), Error> {
        let last_sequence = self.last_sequence();
        if last_sequence == self.opened_sequence {
            return Ok(());
        }
        self.sync_to(last_sequence)?;
        let mut frame = FrameBuffer::default();
        frame.begin();
        frame.finish(FrameKind::Close);
        let sequence = self.append(&mut frame, |_| {})?;
        self.sync_to(sequence)
    }

    /// Waits until every frame up to `sequence` is durable. Threads that wait at the same time share one sync.
    ///
    /// # Errors
    /// `Poisoned`, by an earlier failure or by that of the shared sync.
    pub(crate) fn sync_to(&self, sequence: u64) -> Result<(), Error> {
        debug_assert!(
            sequence <= self.last_sequence(),
            "only written frames can be waited for"
        );
        self.commits.commit(
            || self.durable_sequence() >= sequence,
            || self.poison.check_write(),
            |served| self.wait_for_company(served),
            || self.sync_for_all(),
        )
    }

    /// Syncs what is written by now, and tells how many frames that made durable.
    fn sync_for_all(&self) -> Result<u64, Error> {
        let _unwinding = self.poison.on_unwind("sync", Memory::Whole);
        let durable = self.durable_sequence();
        let segment = self.lock_tail()?.appender.handle();
        segment.sync().map_err(|error| self.poison.fail(error))?;
        self.raise_durable(segment.last_sequence);
        Ok(segment.last_sequence.saturating_sub(durable))
    }

    /// Lets other threads run until as many frames wait as the last sync served, for a few turns at most: those whom it
    /// woke are on their way to append again, and a sync costs the same for all of them as for one.
    fn wait_for_company(&self, expected_len: u64) {
        for _ in 0..COMPANY_TURNS_MAX {
            // In this order: a rotation may make more durable than the last frame of a moment ago.
            let durable = self.durable_sequence();
            if expected_len <= 1 || self.last_sequence() - durable >= expected_len {
                return;
            }
            thread::yield_now();
        }
    }

    /// Removes the segments that hold nothing beyond `covered`, oldest first, and makes that durable.
    pub(crate) fn trim(&self, covered: u64) -> Result<usize, Error> {
        let mut removed = 0;
        loop {
            self.poison.check_write()?;
            let segment = {
                let mut tail = self.lock_tail()?;
                match tail.sealed.front() {
                    Some(segment) if segment.last_sequence <= covered => tail.sealed.pop_front(),
                    _ => None,
                }
            };
            let Some(segment) = segment else { break };
            remove(self.options.files.as_ref(), &segment.path).map_err(|error| self.poison.fail(error))?;
            self.untrimmed_bytes.fetch_sub(segment.end, Ordering::Relaxed);
            removed += 1;
        }
        if removed > 0 {
            sync_dir(self.options.files.as_ref(), &self.options.dir)
                .map_err(|error| self.poison.fail(error))?;
        }
        Ok(removed)
    }

    /// The sequence number of the last frame that is written.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.last_sequence.load(Ordering::Acquire)
    }

    /// The sequence number up to which every frame is synced.
    pub(crate) fn durable_sequence(&self) -> u64 {
        self.durable_sequence.load(Ordering::Acquire)
    }

    /// How many bytes of frames and headers there are in segments that are not trimmed.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.untrimmed_bytes.load(Ordering::Relaxed)
    }

    fn raise_durable(&self, sequence: u64) {
        self.durable_sequence.fetch_max(sequence, Ordering::AcqRel);
    }

    fn lock_tail(&self) -> Result<MutexGuard<'_, Tail>, Error> {
        lock_brief(&self.tail).map_err(|_| self.poison.fail(Error::Panicked { operation: "append" }))
    }
}
