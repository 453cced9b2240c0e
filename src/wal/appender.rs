//! The open segment: appends frames, writes zeros ahead of them, and creates the next segment.
//!
//! The log's lock guards it. Invariant: a segment is synced before the header of its successor is written. So the end
//! of the segment that this header promises is true.
//!
//! | step | a crash during it leaves |
//! |---|---|
//! | append | whole frames, then perhaps a torn frame |
//! | preallocation | fewer or more zeros after the frames |
//! | rotation, up to the sync of the old segment | the old segment, as after an append |
//! | rotation, after it | the old segment whole and durable; nothing, a temporary file or an empty segment after it |

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::FrameBuffer;
use super::history::History;
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name, temporary_name};
use crate::Error;
use crate::fs::{File, FileAccess, OpenMode, join, write_all_at};
use crate::limits::ZEROS_BYTES_MAX;

static ZEROS: [u8; ZEROS_BYTES_MAX] = [0; ZEROS_BYTES_MAX];

/// The place, the identity and the sizes of a log's segments.
#[derive(Debug, Clone)]
pub(crate) struct LogOptions {
    pub(crate) files: Arc<dyn FileAccess>,
    /// The directory of the log.
    pub(crate) dir: PathBuf,
    pub(crate) database_id: u128,
    /// A segment of this size takes no further frame.
    pub(crate) segment_bytes_max: u64,
    /// The number of zeros that are written ahead at a time; 0 turns preallocation off.
    pub(crate) preallocate_bytes: u64,
    /// The most bytes of zeros in one write.
    pub(crate) zeros_bytes_max: usize,
}

/// The part of the log that a new segment follows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Predecessor {
    /// The first sequence number of the previous segment, 0 if none exists.
    pub(crate) first_sequence: u64,
    /// The offset at which the synced frames of the previous segment end.
    pub(crate) end: u64,
    /// The history of the log up to the new segment.
    pub(crate) history: History,
}

impl Predecessor {
    /// The predecessor of the first segment.
    pub(crate) const NONE: Self = Self {
        first_sequence: 0,
        end: 0,
        history: History::NONE,
    };
}

/// A segment that takes no more frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SealedSegment {
    pub(crate) path: PathBuf,
    /// The last sequence number in it.
    pub(crate) last_sequence: u64,
    /// The offset at which its frames end.
    pub(crate) end: u64,
}

/// The segment that takes frames.
#[derive(Debug)]
pub(crate) struct Appender {
    options: LogOptions,
    file: Arc<dyn File>,
    path: PathBuf,
    first_sequence: u64,
    next_sequence: u64,
    seed: u32,
    /// The id of this opening.
    opening: u64,
    /// The history of the log up to the last frame.
    history: History,
    /// The offset of the next frame.
    end: u64,
    /// The end of the written bytes of the file: frames, then zeros.
    allocated_end: u64,
}

impl Appender {
    /// Creates the segment of `opening` that begins with `first_sequence`. It is durable under its name on return.
    ///
    /// # Errors
    /// `Io`. The directory then holds no new file, a temporary file, or the empty segment, whose name may not be
    /// durable.
    pub(crate) fn create(
        options: LogOptions,
        opening: u64,
        first_sequence: u64,
        predecessor: Predecessor,
    ) -> Result<Self, Error> {
        let header = SegmentHeader {
            database_id: options.database_id,
            first_sequence,
            previous_first: predecessor.first_sequence,
            previous_end: predecessor.end,
            opening,
            history: predecessor.history,
        };
        let bytes = header.encode();
        let (_, seed) = SegmentHeader::decode(&bytes, &options.dir, options.database_id)?;
        let temporary = join(&options.dir, temporary_name(first_sequence));
        let path = join(&options.dir, segment_name(first_sequence));
        let file = options
            .files
            .open(&temporary, OpenMode::Create)
            .map_err(|error| Error::io("create segment", &temporary, error))?;
        let mut appender = Self {
            file,
            path: temporary,
            first_sequence,
            next_sequence: first_sequence,
            seed,
            opening,
            history: predecessor.history,
            end: 0,
            allocated_end: 0,
            options,
        };
        appender.write("write segment header", &bytes)?;
        appender.end = SEGMENT_HEADER_BYTES as u64;
        appender.allocated_end = appender.end;
        appender.preallocate(appender.end)?;
        appender.sync()?;
        let temporary = std::mem::replace(&mut appender.path, path);
        let files = &appender.options.files;
        files
            .rename(&temporary, &appender.path)
            .map_err(|error| Error::io("rename segment", &temporary, error))?;
        sync_dir(files.as_ref(), &appender.options.dir)?;
        Ok(appender)
    }

    /// Returns true if `frame` must go to a new segment. A segment takes at least one frame, of any size.
    pub(crate) fn is_full_for(&self, frame: &FrameBuffer) -> bool {
        self.next_sequence > self.first_sequence
            && self.end + frame.len() as u64 > self.options.segment_bytes_max
    }

    /// Appends `frame` with the next sequence number, in one write.
    ///
    /// # Errors
    /// `Io`. Any part of the frame may be in the file, so this segment must take no other frame.
    pub(crate) fn append(&mut self, frame: &mut FrameBuffer, synced_sequence: u64) -> Result<(), Error> {
        self.preallocate(self.end + frame.len() as u64)?;
        let bytes = frame.seal(self.next_sequence, synced_sequence, self.seed);
        self.write("append to segment", bytes)?;
        self.end += bytes.len() as u64;
        self.history = self.history.after_frame(self.opening, bytes);
        self.allocated_end = self.allocated_end.max(self.end);
        self.next_sequence += 1;
        Ok(())
    }

    /// Syncs this segment and continues in its successor. Returns this segment.
    ///
    /// # Errors
    /// `Io`. If the sync failed, frames that were not durable before may be lost. If the [creation](Self::create) of
    /// the successor failed, this segment is durable. In both cases this segment must take no other frame: a successor
    /// may exist.
    pub(crate) fn rotate(&mut self) -> Result<SealedSegment, Error> {
        self.sync()?;
        let predecessor = Predecessor {
            first_sequence: self.first_sequence,
            end: self.end,
            history: self.history,
        };
        let sealed = SealedSegment {
            path: self.path.clone(),
            last_sequence: self.next_sequence - 1,
            end: self.end,
        };
        *self = Self::create(
            self.options.clone(),
            self.opening,
            self.next_sequence,
            predecessor,
        )?;
        Ok(sealed)
    }

    /// Returns true if this segment holds frames and `sequence` is the last of them.
    pub(crate) fn ends_with(&self, sequence: u64) -> bool {
        self.next_sequence > self.first_sequence && self.next_sequence == sequence + 1
    }

    /// Writes zeros ahead if `needed_end` lies beyond the allocated bytes. A sync then has no metadata to write.
    fn preallocate(&mut self, needed_end: u64) -> Result<(), Error> {
        let step = self.options.preallocate_bytes;
        if step == 0 || (needed_end <= self.allocated_end && self.allocated_end > SEGMENT_HEADER_BYTES as u64)
        {
            return Ok(());
        }
        let limit = needed_end.max(self.options.segment_bytes_max);
        let target = needed_end.saturating_add(step).min(limit);
        while self.allocated_end < target {
            let len = (target - self.allocated_end).min(self.options.zeros_bytes_max as u64);
            write_all_at(self.file.as_ref(), &ZEROS[..len as usize], self.allocated_end)
                .map_err(|error| Error::io("preallocate segment", &self.path, error))?;
            self.allocated_end += len;
        }
        Ok(())
    }

    fn write(&self, operation: &'static str, bytes: &[u8]) -> Result<(), Error> {
        write_all_at(self.file.as_ref(), bytes, self.end)
            .map_err(|error| Error::io(operation, &self.path, error))
    }

    fn sync(&self) -> Result<(), Error> {
        self.file
            .sync()
            .map_err(|error| Error::io("sync segment", &self.path, error))
    }

    /// The sequence number of the next frame.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// The id of this opening.
    pub(crate) fn opening(&self) -> u64 {
        self.opening
    }

    /// The history of the log up to the last frame.
    pub(crate) fn history(&self) -> History {
        self.history
    }

    /// The offset at which the frames end.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// A handle that syncs this segment without the log's lock.
    pub(crate) fn handle(&self) -> SegmentHandle {
        SegmentHandle {
            file: Arc::clone(&self.file),
            path: self.path.clone(),
            last_sequence: self.next_sequence - 1,
        }
    }
}

/// The segment at one point in time, for a sync.
#[derive(Debug)]
pub(crate) struct SegmentHandle {
    file: Arc<dyn File>,
    path: PathBuf,
    /// The last frame that was written at that time. Every frame of earlier segments is synced already.
    pub(crate) last_sequence: u64,
}

impl SegmentHandle {
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file
            .sync()
            .map_err(|error| Error::io("sync segment", &self.path, error))
    }
}

pub(crate) fn sync_dir(files: &dyn FileAccess, dir: &Path) -> Result<(), Error> {
    files
        .sync_dir(dir)
        .map_err(|error| Error::io("sync directory", dir, error))
}

/// Removes a file, unless it is missing already.
pub(crate) fn remove(files: &dyn FileAccess, path: &Path) -> Result<(), Error> {
    match files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}
