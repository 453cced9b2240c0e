//! Opens damaged files and says whether what comes of it is legal.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::anatomy::{Anatomy, Kind, Promise};
use super::subject::{DB_DIR, LOG_DIR, Subject, content};
use crate::testing::SimDisk;
use crate::testing::model::matches_collections;
use crate::testing::sim_disk::{DiskOperationKind, Image, SimDiskOptions};
use crate::testing::verdict::panic_message;
use crate::{EntityId, Error, Export, SignalEvent, SignalId, TidalDb};

/// Where a fault may lie that has no sequence number: in the header of a segment.
const SEGMENT_HEADER_BYTES: u64 = 80;
/// What opening may ask the disk for, beside what grows with the files.
const CALLS_FIXED: u64 = 40;
const CALLS_PER_FILE: u64 = 8;
/// The least that a value takes in a file; each may be read alone.
const BYTES_PER_CALL: u64 = 8;
const READS_PER_BYTE: u64 = 4;
const READ_FIXED_BYTES: u64 = 1024;

/// What became of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// Opened with all there was.
    Whole,
    /// Opened with a beginning of it.
    Shorter,
    /// Refused, with this error.
    Refused(&'static str),
}

/// What the files of an image promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Floor {
    sequence: u64,
    changes: usize,
}

/// Judges the cases of one subject; shared by all threads.
#[derive(Debug)]
pub(super) struct Judge {
    /// What each file of the sound image promises.
    sound: BTreeMap<PathBuf, (u128, Floor)>,
}

impl Judge {
    pub(super) fn new(subject: &Subject) -> Self {
        let files = subject.image.files().filter_map(|(path, bytes)| {
            let floor = floor_of(subject, path, bytes)?;
            Some((path.to_path_buf(), (hash(bytes), floor)))
        });
        Self {
            sound: files.collect(),
        }
    }

    /// Opens `image` and says what is wrong with what comes of it, if anything is.
    pub(super) fn judge(&self, subject: &Subject, image: &Image, goes_on: bool) -> Result<Outcome, String> {
        open_and_look(subject, image, goes_on, |db| {
            check_state(subject, self.floor(subject, image), db)
        })
    }

    fn floor(&self, subject: &Subject, image: &Image) -> Floor {
        let floors = image.files().map(|(path, bytes)| match self.sound.get(path) {
            Some((sound, floor)) if *sound == hash(bytes) => *floor,
            _ => floor_of(subject, path, bytes).unwrap_or_default(),
        });
        floors.fold(Floor::default(), Floor::and)
    }
}

impl Floor {
    /// What both promise.
    fn and(self, other: Self) -> Self {
        Self {
            sequence: self.sequence.max(other.sequence),
            changes: self.changes.max(other.changes),
        }
    }
}

/// Opens `image` as `subject` is opened, and says what is wrong with what comes of it, if anything is. `check` looks at the
/// state if it opens.
pub(super) fn open_and_look(
    subject: &Subject,
    image: &Image,
    goes_on: bool,
    check: impl FnOnce(&TidalDb) -> Result<Outcome, String>,
) -> Result<Outcome, String> {
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let options = SimDiskOptions {
            records_reads: true,
            ..SimDiskOptions::default()
        };
        let disk = SimDisk::with_options(image, options);
        let opened = subject.open(&disk);
        check_effort(&disk, image)?;
        match opened {
            Ok(db) => {
                let outcome = check(&db)?;
                check_reopening(subject, &disk, db, goes_on)?;
                Ok(outcome)
            }
            Err(error) => check_refusal(&disk, image, &error).map(Outcome::Refused),
        }
    }));
    judged.unwrap_or_else(|payload| Err(format!("panicked: {}", panic_message(&*payload))))
}

/// Says what is wrong with the state of `db` as a beginning of the history of `subject` that is no shorter than `floor`.
pub(super) fn check_state(subject: &Subject, floor: Floor, db: &TidalDb) -> Result<Outcome, String> {
    let found = db.export().map_err(|error| format!("no export: {error}"))?;
    let sequence = db.last_sequence();
    let (model, frames) = subject.state_at(sequence);
    if !model.matches_frames(&found) {
        let first = model.compare(&found).into_iter().next();
        let first = first.map_or_else(String::new, |difference| difference.to_string());
        return Err(format!(
            "opened to sequence {sequence}, and not to its state: {first}"
        ));
    }
    if sequence < floor.sequence {
        return Err(format!(
            "opened to sequence {sequence}, and {} is promised as synced",
            floor.sequence
        ));
    }
    let changes = changes_len(subject, &found).ok_or("opened to collections that there never were")?;
    // The same collections may come again: the later time counts.
    if changes < floor.changes {
        return Err(format!(
            "opened to {changes} changes of collections, and {} are promised as synced",
            floor.changes
        ));
    }
    let is_whole = frames == subject.frames_len() && changes + 1 == subject.collections.len();
    Ok(if is_whole {
        Outcome::Whole
    } else {
        Outcome::Shorter
    })
}

/// What a judge says of the state of an open database whose files are those of `image`.
#[cfg(test)]
pub(super) fn check_state_against(subject: &Subject, image: &Image, db: &TidalDb) -> Result<Outcome, String> {
    check_state(subject, floor_of_files(subject, image.files()), db)
}

fn hash(bytes: &[u8]) -> u128 {
    let mut image = Image::new();
    image.insert_file("/file", bytes);
    image.hash()
}

/// What the files of `subject` among these promise.
pub(super) fn floor_of_files<'a>(
    subject: &Subject,
    files: impl Iterator<Item = (&'a Path, &'a [u8])>,
) -> Floor {
    let floors = files.filter_map(|(path, bytes)| floor_of(subject, path, bytes));
    floors.fold(Floor::default(), Floor::and)
}

fn floor_of(subject: &Subject, path: &Path, bytes: &[u8]) -> Option<Floor> {
    let anatomy = Anatomy::of(Kind::of(path)?, bytes, subject.id);
    let mut floor = Floor::default();
    for promise in anatomy.promises {
        match promise {
            Promise::Frames(sequence) => floor.sequence = floor.sequence.max(sequence),
            Promise::Records(record) => floor.changes = floor.changes.max(subject.changes_of_records(record)),
            Promise::Checkpoint(covered) => {
                floor.changes = floor.changes.max(subject.changes_of_checkpoint(covered));
            }
        }
    }
    Some(floor)
}

/// After how many changes the collections are these, the most if it is more than one number.
fn changes_len(subject: &Subject, found: &Export) -> Option<usize> {
    let mut states = subject.collections.iter().enumerate().rev();
    states
        .find(|(_, state)| matches_collections(state, found))
        .map(|(len, _)| len)
}

/// Opening asks for no more than the files' size allows.
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
            "opening {bytes} bytes in {files} files took {calls} calls, {calls_max} allowed, and read {read_bytes} \
             bytes, {read_max} allowed"
        ));
    }
    Ok(())
}

/// A refusal says where, and leaves every byte as it was.
pub(super) fn check_refusal(disk: &SimDisk, image: &Image, error: &Error) -> Result<&'static str, String> {
    // In the place of a file there may be a description, as that of a record in storage.
    let is_in = |path: &Path| path.starts_with(DB_DIR) || path.to_string_lossy().starts_with("the ");
    let (name, path) = match error {
        Error::Corrupt {
            path,
            offset,
            sequence,
            ..
        } => {
            let needs_sequence = path.starts_with(LOG_DIR) && *offset >= SEGMENT_HEADER_BYTES;
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
        other => return Err(format!("refused with an error that does not say where: {other}")),
    };
    if !is_in(path) {
        return Err(format!("refused for a file that is not the database's: {error}"));
    }
    let mut before = image.clone();
    before.insert_file(Path::new(DB_DIR).join("LOCK"), []);
    let after = content(disk);
    if after.hash() != before.hash() {
        let differences = after.differences(&before).join("; ");
        return Err(format!("refused ({error}), and yet changed: {differences}"));
    }
    Ok(name)
}

/// What was opened opens again to the same state, and takes further writes.
fn check_reopening(subject: &Subject, disk: &SimDisk, db: TidalDb, goes_on: bool) -> Result<(), String> {
    let state = |db: &TidalDb| {
        let export = db.export().map_err(|error| format!("no export: {error}"))?;
        Ok::<_, String>((export, db.last_sequence()))
    };
    let refused = |error: Error| format!("opened once, and not again: {error}");
    let before = state(&db)?;
    drop(db);
    let db = subject.open(disk).map_err(refused)?;
    if state(&db)? != before {
        return Err("the second opening found another state than the first".to_owned());
    }
    if !goes_on {
        return Ok(());
    }
    let at_ms = subject.options.clock.now_ms();
    let event = SignalEvent::new(SignalId(0), EntityId(1), at_ms);
    let receipt = db
        .record(&event)
        .map_err(|error| format!("opened, and takes no event: {error}"))?;
    let after = state(&db)?.0;
    drop(db);
    let db = subject.open(disk).map_err(refused)?;
    if receipt.sequence != before.1 + 1 || state(&db)? != (after, receipt.sequence) {
        return Err("what was recorded after opening was not found again".to_owned());
    }
    Ok(())
}
