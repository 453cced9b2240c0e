//! Recovery of the log at open: replays each frame after the checkpoint once, and separates a torn tail from
//! corruption.
//!
//! Recovery has four steps. After a crash the next open starts again with the first step. [`read`] and [`Recovered`] do
//! all steps except the third.
//!
//! | step | a crash during or after it leaves |
//! |---|---|
//! | [`read`] | the unchanged log |
//! | [`Recovered::repair`] copies the last segment without its torn tail, and replaces the segment by the copy | the old last segment, perhaps with a temporary file, or the durable copy |
//! | the caller makes the record of this opening durable in storage | the repaired log, whose last segment is of an earlier opening |
//! | [`Recovered::resume`] creates the segment of this opening, then removes covered segments and temporary files | the repaired log, perhaps with that segment, and some of the files to remove |
//!
//! The last segment is copied because no promise covers it, and a sync of the old file does not make it durable: after
//! a failed sync, a file system may still read back the lost bytes, and report success for the next sync.
//!
//! A bad frame is corruption if a promise covers it. Otherwise it is a torn tail. A promise is written after the sync.
//! The promises are the synced sequence number in the header of a later valid frame, the end of this segment in the
//! header of the next segment, and the synced sequence number in the checkpoint.
//!
//! A segment or a checkpoint of another history of the database is refused. Histories are computed from the header of
//! the first segment that is read. They are compared with the header of each later segment, and at the covered frame
//! with the checkpoint. If a power loss removed the covered frame from the log, the next segment begins with the
//! checkpoint's history. The last segment must be of an opening that storage has recorded: another opening belongs to
//! another history.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::appender::{Appender, LogOptions, Predecessor, SealedSegment, remove, sync_dir};
use super::frame::{FRAME_ALIGN, FRAME_HEADER_BYTES, FrameHeader, FrameKind};
use super::history::{History, StoredOpenings};
use super::segment::{
    SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName, parse_name, segment_name, temporary_name,
};
use crate::Error;
use crate::fs::{File, FileAccess, OpenMode, join, list_if_present, read_full_at, read_whole, write_all_at};
use crate::limits::{FRAME_PAYLOAD_BYTES_MAX, SEGMENT_BYTES_MAX};
use crate::torn_tail::TornTail;

// A segment exceeds `segment_bytes_max` only if it holds a single frame.
const _: () = assert!(
    (SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + FRAME_PAYLOAD_BYTES_MAX) as u64 <= SEGMENT_BYTES_MAX
);

/// The checkpoint record in storage: its statements about the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckpointRecord {
    /// The checkpoint covers every frame up to this sequence number; 0 without a checkpoint.
    pub(crate) sequence: u64,
    /// Every frame up to this number was synced when the checkpoint was made: a promise.
    pub(crate) synced: u64,
    /// The history of the log up to the covered frame.
    pub(crate) history: History,
    /// True if a log must exist: storage has recorded that its first segment was created.
    pub(crate) log_exists: bool,
}

/// A frame to replay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: FrameKind,
    pub(crate) payload: &'a [u8],
}

/// The reason why a frame could not be replayed.
#[derive(Debug)]
pub(crate) enum ReplayError {
    /// The content of the frame is not valid.
    Frame(&'static str),
    /// An aggregate failed.
    State(Error),
}

impl From<&'static str> for ReplayError {
    fn from(what: &'static str) -> Self {
        Self::Frame(what)
    }
}

impl From<Error> for ReplayError {
    fn from(error: Error) -> Self {
        Self::State(error)
    }
}

/// The result of [`read`]: the log before any change on disk.
#[derive(Debug)]
pub(crate) struct Recovered {
    options: LogOptions,
    /// The segments that are not removed. All of them except the last are synced.
    retained: Vec<SealedSegment>,
    /// The segments to remove: those that the checkpoint covers, and the last one if it holds no frame.
    obsolete: Vec<PathBuf>,
    temporary: Vec<PathBuf>,
    last: Option<LastSegment>,
    predecessor: Predecessor,
    /// The opening that made the last segment, even if that segment holds no frame; `None` without a segment.
    pub(crate) last_opening: Option<u64>,
    /// The last segment and the offset of its last frame; `None` if it holds no frame.
    pub(crate) last_frame: Option<(PathBuf, u64)>,
    pub(crate) torn_tail: Option<TornTail>,
    pub(crate) segments_found: usize,
    /// The last sequence number of the log or the checkpoint, whichever is later.
    pub(crate) last_sequence: u64,
}

/// The last segment.
#[derive(Debug)]
struct LastSegment {
    first_sequence: u64,
    path: PathBuf,
    /// The header and the valid frames.
    content: Vec<u8>,
}

/// The segments in the directory, by first sequence number, and the temporary files.
fn list(options: &LogOptions) -> Result<(Vec<u64>, Vec<PathBuf>), Error> {
    let mut segments = Vec::new();
    let mut temporary = Vec::new();
    for name in list_if_present(options.files.as_ref(), &options.dir)? {
        match parse_name(&name) {
            SegmentName::Segment(first_sequence) => segments.push(first_sequence),
            SegmentName::Temporary => temporary.push(options.dir.join(name)),
            SegmentName::Foreign => {}
        }
    }
    segments.sort_unstable();
    temporary.sort_unstable();
    Ok((segments, temporary))
}

/// Returns true if the directory of the log holds a segment; a missing directory holds none.
pub(crate) fn has_segments(files: &dyn FileAccess, dir: &Path) -> Result<bool, Error> {
    let mut names = list_if_present(files, dir)?.into_iter();
    Ok(names.any(|name| matches!(parse_name(&name), SegmentName::Segment(_))))
}

/// Reads the log and calls `replay` for every frame after the covered one, once, in order. One of the stored `openings`
/// must have made the last segment.
///
/// The replayed frames are durable once [`Recovered::repair`] has returned.
///
/// # Errors
/// `SegmentMissing`, `Corrupt`, `BadMagic`, `UnsupportedVersion`, `ForeignDatabase`, `ForeignHistory`, `Io`, or the
/// error of `replay`; nothing on disk was changed.
pub(crate) fn read(
    options: &LogOptions,
    checkpoint: CheckpointRecord,
    openings: StoredOpenings,
    mut replay: impl FnMut(Frame<'_>) -> Result<(), ReplayError>,
) -> Result<Recovered, Error> {
    let (first_sequences, temporary) = list(options)?;
    if first_sequences.is_empty() && checkpoint.log_exists {
        return Err(missing(options, checkpoint.sequence + 1));
    }
    let segments = read_headers(options, &first_sequences, openings, checkpoint)?;
    // If the checkpoint covers frame N, a segment whose successor begins at or before N + 1 holds no frame to replay.
    let obsolete_len = segments
        .partition_point(|(_, header)| header.first_sequence <= checkpoint.sequence + 1)
        .saturating_sub(1);
    let (obsolete, needed) = segments.split_at(obsolete_len);
    let mut recovered = Recovered {
        retained: Vec::new(),
        obsolete: obsolete.iter().map(|(path, _)| path.clone()).collect(),
        temporary,
        last: None,
        predecessor: Predecessor {
            history: checkpoint.history,
            ..Predecessor::NONE
        },
        last_opening: segments.last().map(|(_, header)| header.opening),
        last_frame: None,
        torn_tail: None,
        segments_found: segments.len(),
        last_sequence: checkpoint.sequence,
        options: options.clone(),
    };
    let mut before: Option<SegmentScan> = None;
    for (index, (path, header)) in needed.iter().enumerate() {
        let segment = LoadedSegment::load(options, path, header.first_sequence)?;
        check_continuity(options, before.as_ref(), &segment, checkpoint)?;
        check_history(before.as_ref(), &segment, checkpoint)?;
        let next = needed.get(index + 1);
        let limit = next
            .map(|(_, next)| promised_end(options, header, next))
            .transpose()?;
        let scan = segment.scan(limit, checkpoint, &mut replay)?;
        if scan.last_sequence >= recovered.last_sequence {
            recovered.last_sequence = scan.last_sequence;
            recovered.predecessor.history = scan.history;
        }
        if next.is_some() {
            recovered.retained.push(segment.to_sealed(&scan));
        } else {
            recovered.take_last_segment(segment, &scan);
        }
        before = Some(scan);
    }
    check_opening(segments.last(), openings, recovered.last_sequence)?;
    Ok(recovered)
}

/// The error for the frame `sequence`, whose segment is needed and missing.
fn missing(options: &LogOptions, sequence: u64) -> Error {
    Error::SegmentMissing {
        path: options.dir.clone(),
        sequence,
    }
}

/// The paths and headers of the segments that begin with these sequence numbers.
fn read_headers(
    options: &LogOptions,
    first_sequences: &[u64],
    openings: StoredOpenings,
    checkpoint: CheckpointRecord,
) -> Result<Vec<(PathBuf, SegmentHeader)>, Error> {
    let Some((&last, before)) = first_sequences.split_last() else {
        return Ok(Vec::new());
    };
    let last = read_header(options, last)?;
    // This check comes first, because the segments of another history may look damaged.
    check_opening(Some(&last), openings, checkpoint.sequence)?;
    let before = before.iter().map(|&first| read_header(options, first));
    before.chain([Ok(last)]).collect()
}

/// Checks that one of the stored `openings` may have made the last segment of a log that ends with `last_sequence`.
fn check_opening(
    last: Option<&(PathBuf, SegmentHeader)>,
    openings: StoredOpenings,
    last_sequence: u64,
) -> Result<(), Error> {
    match last {
        Some((path, header)) if !openings.allows(header.opening, last_sequence) => {
            let what = "storage has no record of the opening that made this segment";
            Err(Error::foreign_history(path, what))
        }
        _ => Ok(()),
    }
}

/// Checks that `segment` follows the segment of `before` without a gap after the checkpoint.
fn check_continuity(
    options: &LogOptions,
    before: Option<&SegmentScan>,
    segment: &LoadedSegment,
    checkpoint: CheckpointRecord,
) -> Result<(), Error> {
    let first = segment.header.first_sequence;
    let expected = before.map_or(checkpoint.sequence, |scan| {
        scan.last_sequence.max(checkpoint.sequence)
    }) + 1;
    if first > expected {
        return Err(missing(options, expected));
    }
    if before.is_some_and(|scan| scan.last_sequence + 1 != first && first > checkpoint.sequence + 1) {
        return Err(Error::corrupt(
            &segment.path,
            0,
            Some(first),
            "the segment overlaps the one before",
        ));
    }
    Ok(())
}

/// Checks that `segment` was created after the frames before it, if the history of these frames is available.
fn check_history(
    before: Option<&SegmentScan>,
    segment: &LoadedSegment,
    checkpoint: CheckpointRecord,
) -> Result<(), Error> {
    let follows_checkpoint = segment.header.first_sequence == checkpoint.sequence + 1;
    let expected = match before {
        Some(scan) => Some(scan.history),
        None => follows_checkpoint.then_some(checkpoint.history),
    };
    match expected {
        Some(history) if history != segment.header.history => Err(Error::foreign_history(
            &segment.path,
            "the segment before it holds other events",
        )),
        _ => Ok(()),
    }
}

/// The end of the frames of the segment with `header`, from the header of the `next` segment.
///
/// # Errors
/// `SegmentMissing` if `next` follows another segment.
fn promised_end(options: &LogOptions, header: &SegmentHeader, next: &SegmentHeader) -> Result<u64, Error> {
    if next.previous_first != header.first_sequence {
        return Err(missing(options, next.first_sequence.saturating_sub(1)));
    }
    Ok(next.previous_end)
}

/// Reads the header of the segment whose name has `first_sequence`. Also returns its path.
fn read_header(options: &LogOptions, first_sequence: u64) -> Result<(PathBuf, SegmentHeader), Error> {
    let path = join(&options.dir, segment_name(first_sequence));
    let file = open(options, &path)?;
    let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
    let read = read_full_at(file.as_ref(), &mut bytes, 0)
        .map_err(|error| Error::io("read segment", &path, error))?;
    let (header, _) = decode_header(&bytes[..read], &path, options, first_sequence)?;
    Ok((path, header))
}

fn open(options: &LogOptions, path: &Path) -> Result<Arc<dyn File>, Error> {
    options
        .files
        .open(path, OpenMode::Read)
        .map_err(|error| Error::io("open segment", path, error))
}

/// Decodes the header at the front of `bytes`. It must be the header of the segment whose name has `first_sequence`.
/// Also returns the seed for the frames.
fn decode_header(
    bytes: &[u8],
    path: &Path,
    options: &LogOptions,
    first_sequence: u64,
) -> Result<(SegmentHeader, u32), Error> {
    let (header, seed) = SegmentHeader::decode(bytes, path, options.database_id)?;
    if header.first_sequence != first_sequence {
        let what = "the segment's name and header have different sequence numbers";
        return Err(Error::corrupt(path, 0, Some(header.first_sequence), what));
    }
    Ok((header, seed))
}

/// A segment's content in memory.
struct LoadedSegment {
    path: PathBuf,
    header: SegmentHeader,
    seed: u32,
    bytes: Vec<u8>,
}

/// The result of reading the frames of a segment.
struct SegmentScan {
    /// The last sequence number in it, or the number before its first.
    last_sequence: u64,
    /// The offset at which its valid frames end.
    end: u64,
    /// The offset of its last valid frame.
    last_frame: Option<u64>,
    /// The history of the log up to its last valid frame.
    history: History,
}

impl LoadedSegment {
    fn load(options: &LogOptions, path: &Path, first_sequence: u64) -> Result<Self, Error> {
        let file = open(options, path)?;
        let read_error = |error| Error::io("read segment", path, error);
        if file.len().map_err(read_error)? > SEGMENT_BYTES_MAX {
            let what = "the segment is longer than the largest legal segment";
            return Err(Error::corrupt(path, SEGMENT_BYTES_MAX, None, what));
        }
        let bytes = read_whole(file.as_ref()).map_err(read_error)?;
        let (header, seed) = decode_header(&bytes, path, options, first_sequence)?;
        Ok(Self {
            path: path.to_path_buf(),
            header,
            seed,
            bytes,
        })
    }

    /// Reads the frames up to `limit`, the end that the next segment promises, or up to the first bad frame.
    fn scan(
        &self,
        limit: Option<u64>,
        checkpoint: CheckpointRecord,
        replay: &mut impl FnMut(Frame<'_>) -> Result<(), ReplayError>,
    ) -> Result<SegmentScan, Error> {
        let mut offset = SEGMENT_HEADER_BYTES;
        let mut sequence = self.header.first_sequence;
        let mut history = self.header.history;
        let mut last_frame = None;
        while limit != Some(offset as u64) {
            let Some((header, payload)) = self.frame_at(offset, sequence) else {
                self.check_torn(offset, sequence, limit, checkpoint)?;
                break;
            };
            let (at, this) = (offset as u64, sequence);
            let corrupt = |what| Error::corrupt(&self.path, at, Some(this), what);
            let kind = header
                .kind()
                .ok_or_else(|| corrupt("the frame's kind is unknown"))?;
            if header.synced_sequence >= sequence {
                return Err(corrupt("the frame promises that itself was synced"));
            }
            history = history.after_frame(self.header.opening, &self.bytes[offset..]);
            if sequence == checkpoint.sequence && history != checkpoint.history {
                let what = "the checkpoint in storage covers other events";
                return Err(Error::foreign_history(&self.path, what));
            }
            if sequence > checkpoint.sequence {
                replay(Frame { kind, payload }).map_err(|error| match error {
                    ReplayError::Frame(what) => corrupt(what),
                    ReplayError::State(error) => error,
                })?;
            }
            last_frame = Some(at);
            offset += header.frame_len();
            sequence += 1;
            if limit.is_some_and(|limit| offset as u64 > limit) {
                return Err(corrupt(
                    "the frame reaches beyond the end that the next segment promises",
                ));
            }
        }
        Ok(SegmentScan {
            last_sequence: sequence - 1,
            end: offset as u64,
            last_frame,
            history,
        })
    }

    fn frame_at(&self, offset: usize, sequence: u64) -> Option<(FrameHeader, &[u8])> {
        let bytes = self.bytes.get(offset..)?;
        let header = FrameHeader::decode(bytes, self.seed)?;
        if header.sequence != sequence {
            return None;
        }
        Some((header, header.payload(bytes)?))
    }

    /// Fails if a promise covers the bad frame at `offset`, which should have the number `sequence`.
    fn check_torn(
        &self,
        offset: usize,
        sequence: u64,
        limit: Option<u64>,
        checkpoint: CheckpointRecord,
    ) -> Result<(), Error> {
        let corrupt = |what| Err(Error::corrupt(&self.path, offset as u64, Some(sequence), what));
        if limit.is_some() {
            return corrupt("the frame is bad, but the next segment promises that it was synced");
        }
        if checkpoint.synced >= sequence && self.bytes[offset..].iter().all(|byte| *byte == 0) {
            return corrupt(
                "the log ends before this sequence, but the checkpoint promises that it was synced",
            );
        }
        if checkpoint.synced >= sequence {
            return corrupt("the frame is bad, but the checkpoint promises that it was synced");
        }
        let mut at = offset;
        while at + FRAME_HEADER_BYTES <= self.bytes.len() {
            let promised = FrameHeader::decode(&self.bytes[at..], self.seed)
                .is_some_and(|later| later.sequence > sequence && later.synced_sequence >= sequence);
            if promised {
                return corrupt("the frame is bad, but a later frame promises that it was synced");
            }
            at += FRAME_ALIGN;
        }
        Ok(())
    }

    fn to_sealed(&self, scan: &SegmentScan) -> SealedSegment {
        SealedSegment {
            path: self.path.clone(),
            last_sequence: scan.last_sequence,
            end: scan.end,
        }
    }
}

impl Recovered {
    /// Takes the last segment. It is retained without its torn tail if it holds a frame. Otherwise it is obsolete.
    fn take_last_segment(&mut self, mut segment: LoadedSegment, scan: &SegmentScan) {
        let header = &segment.header;
        if scan.last_sequence < header.first_sequence {
            // The segment of this opening follows the segment before the empty one.
            self.predecessor.first_sequence = header.previous_first;
            self.predecessor.end = header.previous_end;
            self.obsolete.push(segment.path.clone());
        } else {
            let tail = &segment.bytes[scan.end as usize..];
            if !tail.is_empty() {
                self.torn_tail = Some(TornTail::new(&segment.path, scan.end, tail));
            }
            self.predecessor.first_sequence = header.first_sequence;
            self.predecessor.end = scan.end;
            self.retained.push(segment.to_sealed(scan));
            self.last_frame = scan.last_frame.map(|offset| (segment.path.clone(), offset));
        }
        segment.bytes.truncate(scan.end as usize);
        self.last = Some(LastSegment {
            first_sequence: segment.header.first_sequence,
            path: segment.path,
            content: segment.bytes,
        });
    }

    /// Replaces the last segment by a durable copy without its torn tail.
    ///
    /// A segment without a frame is copied too: after a failed directory sync its name may be lost. Once storage has
    /// recorded a later opening, the log must not lose the opening that made this segment.
    ///
    /// # Errors
    /// `Io`; the last segment is the old one or the copy.
    pub(crate) fn repair(&self) -> Result<(), Error> {
        match &self.last {
            Some(last) => last.rewrite(&self.options),
            None => Ok(()),
        }
    }

    /// Creates the segment of `opening`, which takes the next frame, and removes covered segments and temporary files.
    /// Expects that the log is [repaired](Self::repair) and that storage has recorded the opening.
    ///
    /// Returns the new segment and the retained segments before it.
    ///
    /// # Errors
    /// `Io`; the log holds the same frames, and the new segment may exist.
    pub(crate) fn resume(self, opening: u64) -> Result<(Appender, Vec<SealedSegment>), Error> {
        let files = Arc::clone(&self.options.files);
        let dir = self.options.dir.clone();
        let first_sequence = self.last_sequence + 1;
        let appender = Appender::create(self.options, opening, first_sequence, self.predecessor)?;
        // The new segment may have the name of an empty one or of a temporary file.
        let reused = [
            join(&dir, segment_name(first_sequence)),
            join(&dir, temporary_name(first_sequence)),
        ];
        let mut removed = false;
        for path in self
            .obsolete
            .iter()
            .chain(&self.temporary)
            .filter(|path| !reused.contains(path))
        {
            remove(files.as_ref(), path)?;
            removed = true;
        }
        if removed {
            sync_dir(files.as_ref(), &dir)?;
        }
        Ok((appender, self.retained))
    }

    /// The number of temporary files that [`resume`](Self::resume) removes.
    pub(crate) fn temporary_len(&self) -> usize {
        self.temporary.len()
    }
}

impl LastSegment {
    /// Replaces the segment by a copy. The copy is durable under its name on return, because the header of the next
    /// segment promises its frames.
    fn rewrite(&self, options: &LogOptions) -> Result<(), Error> {
        let temporary = join(&options.dir, temporary_name(self.first_sequence));
        let failed = |operation| {
            let temporary = &temporary;
            move |error| Error::io(operation, temporary, error)
        };
        let file = options
            .files
            .open(&temporary, OpenMode::Create)
            .map_err(failed("create segment"))?;
        write_all_at(file.as_ref(), &self.content, 0).map_err(failed("copy the last segment to"))?;
        file.sync().map_err(failed("sync segment"))?;
        options
            .files
            .rename(&temporary, &self.path)
            .map_err(failed("rename segment"))?;
        sync_dir(options.files.as_ref(), &options.dir)
    }
}
