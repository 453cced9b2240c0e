//! Opens damaged files and checks that the result is legal.

use std::path::Path;

use super::structure::{FileStructure, PromisedPosition};
use super::subject::{DB_DIR, DamageSubject, LOG_DIR, content};
use crate::testing::SimDisk;
use crate::testing::faults::lock_file;
use crate::testing::lab::file_format::FileKind;
use crate::testing::model::matches_collections;
use crate::testing::sim_disk::{DiskOperationKind, Image, SimDiskOptions};
use crate::testing::text::catch_as_text;
use crate::{EntityId, Error, Export, SignalEvent, SignalId, TidalDb};

/// The number of calls that an open may make in addition to the calls for each file and for its bytes.
const CALLS_FIXED: u64 = 40;
const CALLS_PER_FILE: u64 = 8;
/// The smallest value in a file has this size, and the engine may read each value with a separate call.
const BYTES_PER_CALL: u64 = 8;
const READS_PER_BYTE: u64 = 4;
const READ_FIXED_BYTES: u64 = 1024;

/// The result of opening an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OpenResult {
    /// Opened with the whole history.
    Whole,
    /// Opened with a prefix of the history.
    Shorter,
    /// Refused with this error.
    Refused(&'static str),
}

/// The further checks of an opened case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterOpen {
    /// Opens the database again.
    Reopen,
    /// Also records an event and reads it back.
    Record,
}

/// The promises of the files of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PromisedMinimum {
    /// Frames up to this sequence number are promised.
    sequence: u64,
    /// This many changes of collections are promised.
    changes: usize,
}

/// Opens `image` and checks the result. `Err` is the failure as text.
pub(super) fn check_image(
    subject: &DamageSubject,
    image: &Image,
    then: AfterOpen,
) -> Result<OpenResult, String> {
    let minimum = promised_minimum(subject, image.files());
    open_and_check(subject, image, then, |db| check_state(subject, minimum, db))
}

/// Opens `image` with the options of `subject` and checks the result. `check` gets the database if it opens. `Err` is
/// the failure as text.
pub(super) fn open_and_check(
    subject: &DamageSubject,
    image: &Image,
    then: AfterOpen,
    check: impl FnOnce(&TidalDb) -> Result<OpenResult, String>,
) -> Result<OpenResult, String> {
    let checked = catch_as_text(|| {
        let options = SimDiskOptions {
            records_reads: true,
            ..SimDiskOptions::default()
        };
        let disk = SimDisk::with_options(image, options);
        let opened = subject.open(&disk);
        check_effort(&disk, image)?;
        match opened {
            Ok(db) => {
                let result = check(&db)?;
                check_reopening(subject, &disk, db, then)?;
                Ok(result)
            }
            Err(error) => check_refusal(&disk, image, &error).map(OpenResult::Refused),
        }
    });
    checked.flatten()
}

/// Checks that the state of `db` is the state after a prefix of the history of `subject`, and includes `minimum`.
pub(super) fn check_state(
    subject: &DamageSubject,
    minimum: PromisedMinimum,
    db: &TidalDb,
) -> Result<OpenResult, String> {
    let found = db.export().map_err(|error| format!("no export: {error}"))?;
    let sequence = db.last_sequence();
    let (model, frames) = subject.state_at(sequence);
    if !model.matches_frames(&found) {
        let first = model.compare(&found).into_iter().next();
        let first = first.map_or_else(String::new, |difference| difference.to_string());
        return Err(format!(
            "opened at sequence number {sequence}, but the state differs: {first}"
        ));
    }
    if sequence < minimum.sequence {
        return Err(format!(
            "opened at sequence number {sequence}, but {} is promised as synced",
            minimum.sequence
        ));
    }
    let changes = changes_len(subject, &found).ok_or("opened with collections that the history never had")?;
    if changes < minimum.changes {
        return Err(format!(
            "opened with {changes} changes of collections, but {} are promised as synced",
            minimum.changes
        ));
    }
    let is_whole = frames == subject.frames_len() && changes + 1 == subject.collections.len();
    Ok(if is_whole {
        OpenResult::Whole
    } else {
        OpenResult::Shorter
    })
}

/// The promises of the files of `subject` among `files`.
pub(super) fn promised_minimum<'a>(
    subject: &DamageSubject,
    files: impl Iterator<Item = (&'a Path, &'a [u8])>,
) -> PromisedMinimum {
    let mut minimum = PromisedMinimum::default();
    let promises = files.flat_map(|(path, bytes)| {
        FileKind::of(path).map_or_else(Vec::new, |kind| {
            FileStructure::of(kind, bytes, subject.id).promises
        })
    });
    for promise in promises {
        let changes = match promise {
            PromisedPosition::Frames(sequence) => {
                minimum.sequence = minimum.sequence.max(sequence);
                continue;
            }
            PromisedPosition::Records(record) => subject.changes_of_records(record),
            PromisedPosition::Checkpoint(covered) => subject.changes_of_checkpoint(covered),
        };
        minimum.changes = minimum.changes.max(changes);
    }
    minimum
}

/// The number of changes after which the collections are those of `found`. If the history had the same collections more
/// than once, the highest number counts.
fn changes_len(subject: &DamageSubject, found: &Export) -> Option<usize> {
    let mut states = subject.collections.iter().enumerate().rev();
    states
        .find(|(_, state)| matches_collections(state, found))
        .map(|(len, _)| len)
}

/// Checks that the open made no more calls and read no more bytes than the size of the files allows.
fn check_effort(disk: &SimDisk, image: &Image) -> Result<(), String> {
    let recording = disk.recording();
    let reads = recording
        .operations()
        .filter(|operation| operation.kind == DiskOperationKind::Read);
    let read_bytes: u64 = reads.map(|operation| operation.len).sum();
    let (calls, bytes, files) = (recording.len(), image.bytes_len(), image.files().count() as u64);
    let calls_max = CALLS_FIXED + CALLS_PER_FILE * files + bytes / BYTES_PER_CALL;
    let read_max = READ_FIXED_BYTES + READS_PER_BYTE * bytes;
    if calls > calls_max || read_bytes > read_max {
        return Err(format!(
            "opening {bytes} bytes in {files} files made {calls} calls, with {calls_max} allowed, and read \
             {read_bytes} bytes, with {read_max} allowed"
        ));
    }
    Ok(())
}

/// Checks that a refusal names the position and left every byte unchanged. Returns the name of the error.
pub(super) fn check_refusal(disk: &SimDisk, image: &Image, error: &Error) -> Result<&'static str, String> {
    // Instead of a path the error may have a description that begins with "the", for example of a record in storage.
    let is_in = |path: &Path| path.starts_with(DB_DIR) || path.to_string_lossy().starts_with("the ");
    let (name, path) = match error {
        Error::Corrupt {
            path,
            offset,
            sequence,
            ..
        } => {
            let needs_sequence =
                path.starts_with(LOG_DIR) && *offset >= FileKind::Segment.layout().header_bytes as u64;
            if needs_sequence && sequence.is_none() {
                return Err(format!("refused without a sequence number: {error}"));
            }
            ("Corrupt", path)
        }
        Error::BadMagic { path } => ("BadMagic", path),
        Error::UnsupportedVersion { path, .. } => ("UnsupportedVersion", path),
        Error::ForeignDatabase { path, .. } => ("ForeignDatabase", path),
        Error::ForeignHistory { path, .. } => ("ForeignHistory", path),
        Error::SegmentMissing { path, .. } => ("SegmentMissing", path),
        Error::StorageMissing { path } => ("StorageMissing", path),
        other => return Err(format!("refused with an error that names no position: {other}")),
    };
    if !is_in(path) {
        return Err(format!("refused for a file outside of the database: {error}"));
    }
    let mut before = image.clone();
    before.insert_file(lock_file(Path::new(DB_DIR)), []);
    let after = content(disk);
    if after.hash() != before.hash() {
        let differences = after.differences(&before).join("; ");
        return Err(format!("refused ({error}), but files changed: {differences}"));
    }
    Ok(name)
}

/// Checks that the database opens again to the same state. With `AfterOpen::Record`, also checks that it records an
/// event.
fn check_reopening(
    subject: &DamageSubject,
    disk: &SimDisk,
    db: TidalDb,
    then: AfterOpen,
) -> Result<(), String> {
    let state = |db: &TidalDb| {
        let export = db.export().map_err(|error| format!("no export: {error}"))?;
        Ok::<_, String>((export, db.last_sequence()))
    };
    let refused = |error: Error| format!("opened once, but not again: {error}");
    let before = state(&db)?;
    drop(db);
    let db = subject.open(disk).map_err(refused)?;
    if state(&db)? != before {
        return Err("the second open recovered another state than the first".to_owned());
    }
    if then == AfterOpen::Reopen {
        return Ok(());
    }
    let at_ms = subject.options.clock.now_ms();
    let event = SignalEvent::new(SignalId(0), EntityId(1), at_ms);
    let receipt = db
        .record(&event)
        .map_err(|error| format!("opened, but records no event: {error}"))?;
    let after = state(&db)?.0;
    drop(db);
    let db = subject.open(disk).map_err(refused)?;
    if receipt.sequence != before.1 + 1 || state(&db)? != (after, receipt.sequence) {
        return Err("an event recorded after the open was not recovered".to_owned());
    }
    Ok(())
}
