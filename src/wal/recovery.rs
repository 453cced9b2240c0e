//! Reading the log back at open: every frame beyond the checkpoint once, a torn tail told from corruption.
//!
//! Reading changes nothing on disk. [`Recovered::repair`] then writes the last segment anew, without its torn tail.
//! [`Recovered::resume`] makes the next segment and removes what is left over. A crash at any step leaves a log that reads
//! back the same. Between the two the opening is made durable in storage: a crash there leaves the repaired log, whose last
//! segment is of the opening before.
//!
//! Why anew: nobody has promised yet that the last segment is synced, and syncing what was read back would not make it
//! so. After a sync that failed, a file system may still read back what it has lost, and sync it without an error.
//!
//! What makes a bad frame corruption rather than a torn tail is a promise: somebody wrote down, after the fact, that
//! it had been synced. Promises are the synced sequence in the header of any later valid frame, the end that the
//! header of the next segment gives for this one, and the checkpoint's record of what was synced.
//!
//! A segment or a checkpoint of another history of the database is refused. Histories are computed from the header of the
//! first segment that is read, and compared with the header of each later segment, and at the covered frame with the
//! checkpoint. If a power loss took the covered frame out of the log, the next segment begins with the checkpoint's history.
//! The openings in storage tell the last segment of another history from one that a crash left.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::appender::{Appender, LogOptions, Predecessor, Sealed, remove, sync_dir};
use super::frame::{FRAME_ALIGN, FRAME_HEADER_BYTES, FrameHeader, FrameKind};
use super::history::{History, KnownOpenings};
use super::segment::{
    SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName, parse_name, segment_name, temporary_name,
};
use crate::Error;
use crate::fs::{FileAccess, OpenMode, read_full_at, read_whole, write_all_at};
use crate::limits::{FRAME_PAYLOAD_BYTES_MAX, SEGMENT_BYTES_MAX};
use crate::torn_tail::TornTail;

// A segment is longer than its option says only for the sake of a single frame.
const _: () = assert!(
    (SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + FRAME_PAYLOAD_BYTES_MAX) as u64 <= SEGMENT_BYTES_MAX
);

/// What storage knows about the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Covered {
    /// The checkpoint holds every frame up to this sequence number; 0 without a checkpoint.
    pub(crate) sequence: u64,
    /// Every frame up to this one was synced when the checkpoint was made: a promise.
    pub(crate) synced: u64,
    /// The history of the log up to the covered frame.
    pub(crate) history: History,
    /// Whether there must be a log: storage was told that its first segment exists.
    pub(crate) log_exists: bool,
}

/// A frame to replay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: FrameKind,
    pub(crate) payload: &'a [u8],
}

/// Why a frame could not be replayed.
#[derive(Debug)]
pub(crate) enum ReplayError {
    /// Its content is at fault.
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

/// A log that was read back, before anything is changed on disk.
#[derive(Debug)]
pub(crate) struct Recovered {
    options: LogOptions,
    /// Segments to keep, all but the last one synced.
    kept: Vec<Sealed>,
    /// Segments that the checkpoint covers, and the last one if it holds no frame.
    obsolete: Vec<PathBuf>,
    temporary: Vec<PathBuf>,
    last: Option<LastSegment>,
    predecessor: Predecessor,
    /// The opening that made the last segment, also if that holds no frame; `None` without a segment.
    pub(crate) opening: Option<u64>,
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
    /// The header and the valid frames, if there are any.
    content: Vec<u8>,
}

/// The segments in the directory, by first sequence number, and the temporary files. A missing directory holds none.
fn list(options: &LogOptions) -> Result<(Vec<u64>, Vec<PathBuf>), Error> {
    let names = names(options.files.as_ref(), &options.dir)?;
    let mut segments = Vec::new();
    let mut temporary = Vec::new();
    for name in names {
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

/// Whether there is any segment in the directory of the log; a missing directory holds none.
pub(crate) fn has_segments(files: &dyn FileAccess, dir: &Path) -> Result<bool, Error> {
    let mut names = names(files, dir)?.into_iter();
    Ok(names.any(|name| matches!(parse_name(&name), SegmentName::Segment(_))))
}

fn names(files: &dyn FileAccess, dir: &Path) -> Result<Vec<String>, Error> {
    match files.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|error| Error::io("list", dir, error)),
    }
}

/// Reads the log and hands every frame beyond `covered` to `replay`, once, in order. One of the `known` openings must have
/// made the last segment.
///
/// What is replayed is durable once [`Recovered::repair`] returned.
///
/// # Errors
/// `SegmentMissing`, `Corrupt`, `BadMagic`, `UnsupportedVersion`, `ForeignDatabase`, `ForeignHistory`, `Io`, or what
/// `replay` returns; nothing on disk was changed.
pub(crate) fn read(
    options: &LogOptions,
    covered: Covered,
    known: KnownOpenings,
    mut replay: impl FnMut(Frame<'_>) -> Result<(), ReplayError>,
) -> Result<Recovered, Error> {
    let (segments, temporary) = list(options)?;
    let missing = |sequence| Error::SegmentMissing {
        path: options.dir.clone(),
        sequence,
    };
    if segments.is_empty() && covered.log_exists {
        return Err(missing(covered.sequence + 1));
    }
    let newest = match segments.last() {
        Some(&first) => Some(read_header(options, first)?),
        None => None,
    };
    let check_opening = |last_sequence| match &newest {
        Some((path, header)) if !known.allow(header.opening, last_sequence) => {
            let what = "its opening is not the last one that the storage knows";
            Err(Error::foreign_history(path, what))
        }
        _ => Ok(()),
    };
    // Before the frames, which may be taken for corrupt ones if they are another history's.
    check_opening(covered.sequence)?;
    // A segment whose successor begins at or before N + 1 holds nothing beyond the checkpoint.
    let needed = segments
        .partition_point(|first| *first <= covered.sequence + 1)
        .saturating_sub(1);
    let mut obsolete = Vec::new();
    for &first in &segments[..needed] {
        // It will be removed, so it must be this log's.
        let (path, _) = read_header(options, first)?;
        obsolete.push(path);
    }
    let mut recovered = Recovered {
        kept: Vec::new(),
        obsolete,
        temporary,
        last: None,
        predecessor: Predecessor {
            history: covered.history,
            ..Predecessor::NONE
        },
        opening: newest.as_ref().map(|(_, header)| header.opening),
        torn_tail: None,
        segments_found: segments.len(),
        last_sequence: covered.sequence,
        options: options.clone(),
    };
    let mut before: Option<SegmentScan> = None;
    for (index, &first_sequence) in segments[needed..].iter().enumerate() {
        let is_last = needed + index + 1 == segments.len();
        let segment = LoadedSegment::load(options, first_sequence)?;
        check_continuity(options, before.as_ref(), &segment, covered)?;
        check_history(before.as_ref(), &segment, covered)?;
        let limit = match segments.get(needed + index + 1) {
            Some(&successor) => {
                Some(promised_end(options, first_sequence, successor)?.ok_or_else(|| {
                    // The segment that knew where this one ends is gone.
                    missing(successor.saturating_sub(1))
                })?)
            }
            None => None,
        };
        let scan = segment.scan(limit, covered, &mut replay)?;
        if scan.last_sequence >= recovered.last_sequence {
            recovered.last_sequence = scan.last_sequence;
            recovered.predecessor.history = scan.history;
        }
        if is_last {
            recovered.finish_with(segment, &scan);
        } else {
            recovered.kept.push(segment.sealed(&scan));
        }
        before = Some(scan);
    }
    check_opening(recovered.last_sequence)?;
    Ok(recovered)
}

/// Checks that `segment` follows `before` without a hole above the checkpoint.
fn check_continuity(
    options: &LogOptions,
    before: Option<&SegmentScan>,
    segment: &LoadedSegment,
    covered: Covered,
) -> Result<(), Error> {
    let first = segment.header.first_sequence;
    let expected = before.map_or(covered.sequence, |scan| scan.last_sequence.max(covered.sequence)) + 1;
    if first > expected {
        return Err(Error::SegmentMissing {
            path: options.dir.clone(),
            sequence: expected,
        });
    }
    if before.is_some_and(|scan| scan.last_sequence + 1 != first && first > covered.sequence + 1) {
        return Err(Error::corrupt(
            &segment.path,
            0,
            Some(first),
            "the segment overlaps the one before",
        ));
    }
    Ok(())
}

/// Checks that `segment` was made after the frames that are before it, as far as these are known.
fn check_history(
    before: Option<&SegmentScan>,
    segment: &LoadedSegment,
    covered: Covered,
) -> Result<(), Error> {
    let follows_checkpoint = segment.header.first_sequence == covered.sequence + 1;
    let expected = match before {
        Some(scan) => Some(scan.history),
        None => follows_checkpoint.then_some(covered.history),
    };
    match expected {
        Some(history) if history != segment.header.history => Err(Error::foreign_history(
            &segment.path,
            "it was made after other events than those before it",
        )),
        _ => Ok(()),
    }
}

/// Where the header of the segment `successor` says that the frames of segment `first` end; `None` if it follows
/// another segment.
fn promised_end(options: &LogOptions, first: u64, successor: u64) -> Result<Option<u64>, Error> {
    let (_, header) = read_header(options, successor)?;
    Ok((header.previous_first == first).then_some(header.previous_end))
}

/// The header of the segment that is named by `first_sequence`, and its path.
fn read_header(options: &LogOptions, first_sequence: u64) -> Result<(PathBuf, SegmentHeader), Error> {
    let path = options.dir.join(segment_name(first_sequence));
    let file = options
        .files
        .open(&path, OpenMode::Read)
        .map_err(|error| Error::io("open segment", &path, error))?;
    let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
    let read = read_full_at(file.as_ref(), &mut bytes, 0)
        .map_err(|error| Error::io("read segment", &path, error))?;
    let (header, _) = decode_header(&bytes[..read], &path, options, first_sequence)?;
    Ok((path, header))
}

/// The header at the front of `bytes`, and the seed for the frames; it must be that of the segment that is named by
/// `first_sequence`.
fn decode_header(
    bytes: &[u8],
    path: &Path,
    options: &LogOptions,
    first_sequence: u64,
) -> Result<(SegmentHeader, u32), Error> {
    let (header, seed) = SegmentHeader::decode(bytes, path, options.database_id)?;
    if header.first_sequence != first_sequence {
        let what = "the segment's name and its header differ";
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

/// What was found in a segment.
struct SegmentScan {
    /// The last sequence number in it, or the one before its first.
    last_sequence: u64,
    /// Where its valid frames end.
    end: u64,
    /// The history of the log up to there.
    history: History,
}

impl LoadedSegment {
    fn load(options: &LogOptions, first_sequence: u64) -> Result<Self, Error> {
        let path = options.dir.join(segment_name(first_sequence));
        let file = options
            .files
            .open(&path, OpenMode::Read)
            .map_err(|error| Error::io("open segment", &path, error))?;
        let read_error = |error| Error::io("read segment", &path, error);
        if file.len().map_err(read_error)? > SEGMENT_BYTES_MAX {
            let what = "the segment is longer than any can be";
            return Err(Error::corrupt(&path, SEGMENT_BYTES_MAX, None, what));
        }
        let bytes = read_whole(file.as_ref()).map_err(read_error)?;
        let (header, seed) = decode_header(&bytes, &path, options, first_sequence)?;
        Ok(Self {
            path,
            header,
            seed,
            bytes,
        })
    }

    /// Reads the frames up to `limit`, where the next segment promises that they end, or up to the first bad one.
    fn scan(
        &self,
        limit: Option<u64>,
        covered: Covered,
        replay: &mut impl FnMut(Frame<'_>) -> Result<(), ReplayError>,
    ) -> Result<SegmentScan, Error> {
        let mut offset = SEGMENT_HEADER_BYTES;
        let mut sequence = self.header.first_sequence;
        let mut history = self.header.history;
        while limit != Some(offset as u64) {
            let Some((header, payload)) = self.frame_at(offset, sequence) else {
                self.check_torn(offset, sequence, limit, covered)?;
                break;
            };
            let (at, this) = (offset as u64, sequence);
            let corrupt = |what| Error::corrupt(&self.path, at, Some(this), what);
            let kind = header
                .kind()
                .ok_or_else(|| corrupt("the frame's kind is unknown"))?;
            if header.synced_sequence >= sequence {
                return Err(corrupt("the frame promises itself as synced"));
            }
            history = history.after_frame(self.header.opening, &self.bytes[offset..]);
            if sequence == covered.sequence && history != covered.history {
                let what = "its events are not those that the checkpoint in storage holds";
                return Err(Error::foreign_history(&self.path, what));
            }
            if sequence > covered.sequence {
                replay(Frame { kind, payload }).map_err(|error| match error {
                    ReplayError::Frame(what) => corrupt(what),
                    ReplayError::State(error) => error,
                })?;
            }
            offset += header.frame_len();
            sequence += 1;
            if limit.is_some_and(|limit| offset as u64 > limit) {
                return Err(corrupt(
                    "the frame reaches beyond the end that the next segment gives",
                ));
            }
        }
        Ok(SegmentScan {
            last_sequence: sequence - 1,
            end: offset as u64,
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

    /// Whether the bad frame at `offset`, which should have been `sequence`, may be a torn one.
    fn check_torn(
        &self,
        offset: usize,
        sequence: u64,
        limit: Option<u64>,
        covered: Covered,
    ) -> Result<(), Error> {
        let corrupt = |what| Err(Error::corrupt(&self.path, offset as u64, Some(sequence), what));
        if limit.is_some() {
            return corrupt("a frame is bad that the next segment promises as synced");
        }
        if covered.synced >= sequence {
            return corrupt("a frame is bad that the checkpoint promises as synced");
        }
        let mut at = offset;
        while at + FRAME_HEADER_BYTES <= self.bytes.len() {
            let promised = FrameHeader::decode(&self.bytes[at..], self.seed)
                .is_some_and(|later| later.sequence > sequence && later.synced_sequence >= sequence);
            if promised {
                return corrupt("a frame is bad that a later frame promises as synced");
            }
            at += FRAME_ALIGN;
        }
        Ok(())
    }

    fn sealed(&self, scan: &SegmentScan) -> Sealed {
        Sealed {
            path: self.path.clone(),
            last_sequence: scan.last_sequence,
            end: scan.end,
        }
    }
}

impl Recovered {
    /// Takes the last segment: kept if it holds a frame, and its tail beyond the last one is to be cut.
    fn finish_with(&mut self, mut segment: LoadedSegment, scan: &SegmentScan) {
        let header = &segment.header;
        if scan.last_sequence < header.first_sequence {
            // Its successor takes over what it knew of the segment before.
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
            self.kept.push(segment.sealed(scan));
        }
        segment.bytes.truncate(scan.end as usize);
        self.last = Some(LastSegment {
            first_sequence: segment.header.first_sequence,
            path: segment.path,
            content: segment.bytes,
        });
    }

    /// Makes the last segment durable without its torn tail.
    ///
    /// One that holds no frame is written anew too: after a directory sync that failed, its name may be lost. The log must
    /// not fall back behind the opening that made it once storage knows a later opening.
    ///
    /// # Errors
    /// `Io`; a later open starts from the same log.
    pub(crate) fn repair(&self) -> Result<(), Error> {
        match &self.last {
            Some(last) => last.rewrite(&self.options),
            None => Ok(()),
        }
    }

    /// Makes the segment of `opening`, which takes the next frame, and removes what is left over. The log is
    /// [repaired](Self::repair), and storage knows the opening.
    ///
    /// Gives that segment and the ones before it that are not covered.
    ///
    /// # Errors
    /// `Io`; a later open starts from the same log.
    pub(crate) fn resume(self, opening: u64) -> Result<(Appender, Vec<Sealed>), Error> {
        let files = Arc::clone(&self.options.files);
        let dir = self.options.dir.clone();
        let first_sequence = self.last_sequence + 1;
        let appender = Appender::create(self.options, opening, first_sequence, self.predecessor)?;
        // The new segment may have taken the name of an empty one, or of a leftover.
        let kept = [
            dir.join(segment_name(first_sequence)),
            dir.join(temporary_name(first_sequence)),
        ];
        let mut removed = false;
        for path in self
            .obsolete
            .iter()
            .chain(&self.temporary)
            .filter(|path| !kept.contains(path))
        {
            remove(files.as_ref(), path)?;
            removed = true;
        }
        if removed {
            sync_dir(files.as_ref(), &dir)?;
        }
        Ok((appender, self.kept))
    }

    /// How many leftovers [`resume`](Self::resume) removes.
    pub(crate) fn leftovers(&self) -> usize {
        self.temporary.len()
    }
}

impl LastSegment {
    /// Puts a copy of the segment in its place, durable under its name on return.
    ///
    /// The directory is synced here already: the next segment's header promises the frames of the copy.
    fn rewrite(&self, options: &LogOptions) -> Result<(), Error> {
        let temporary = options.dir.join(temporary_name(self.first_sequence));
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
