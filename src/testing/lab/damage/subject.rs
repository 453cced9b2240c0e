//! A database to damage: its files, its whole history, older copies of its files, and the files of another database.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::structure::{FileStructure, PromisedPosition, StoreRecord};
use crate::testing::SimDisk;
use crate::testing::lab::file_format::FileKind;
use crate::testing::model::{CollectionMembers, Model, apply_collection_change};
use crate::testing::sim_disk::{Image, ImageChoice};
use crate::testing::workload::{Operation, PolicyText, Workload};
use crate::{Durability, Error, Options, TidalDb};

/// The directory of the database on the simulated disk.
pub(super) const DB_DIR: &str = "/db";
pub(super) const LOG_DIR: &str = "/db/log";
pub(super) const STORE_DIR: &str = "/db/store";
const OTHER_ID: u128 = 0x6f74_6865_7220_6f6e_6521;
/// The largest number of stored older copies.
const VERSIONS: usize = 8;

/// How the history of a database ends before it is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HistoryEnd {
    /// The process crashes: no header promises the end of the log.
    Crashed,
    /// The database is closed: the files promise the whole history.
    Closed,
}

impl fmt::Display for HistoryEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crashed => "crashed",
            Self::Closed => "closed",
        })
    }
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct DamageSubject {
    pub(super) name: String,
    pub(super) options: Options,
    pub(super) id: u128,
    pub(super) end: HistoryEnd,
    pub(super) image: Image,
    /// The files of the log and the store.
    pub(super) files: Vec<PathBuf>,
    /// Earlier images of the same database.
    pub(super) older: Vec<Image>,
    pub(super) foreign: Image,
    /// The state after each number of frames, without the collections.
    models: Vec<Model>,
    /// The sequence number of each frame.
    sequences: Vec<u64>,
    /// The collections after each number of changes.
    pub(super) collections: Vec<CollectionMembers>,
    /// The sequence number of the store record of each change.
    change_records: Vec<u64>,
    /// By the sequence number that a checkpoint covers: the number of changes before the checkpoint.
    checkpoint_changes: BTreeMap<u64, usize>,
}

impl DamageSubject {
    /// Runs `workload` on a new database with these options, and records its history.
    ///
    /// # Panics
    /// If a call fails, or if a change of a collection does not write the expected record of the store.
    pub(super) fn new(
        workload: &Workload,
        options: &Options,
        durability: Durability,
        end: HistoryEnd,
    ) -> Self {
        let mut subject = Self::empty(options, durability, end);
        subject.foreign = image_after(workload, &subject.options.clone().database_id(OTHER_ID), end);
        let disk = SimDisk::new();
        let db = subject.open(&disk).expect("a new database opens");
        let version_every = workload.operations.len().div_ceil(VERSIONS).max(1);
        for operations in workload.operations.chunks(version_every) {
            subject.older.push(content(&disk));
            subject.apply(operations, &db, &disk);
        }
        subject.finish(db, &disk);
        subject
    }

    /// A database with an empty history.
    pub(super) fn empty(options: &Options, durability: Durability, end: HistoryEnd) -> Self {
        let id = options.database_id.unwrap_or(1);
        let options = options.clone().durability(durability).database_id(id);
        Self {
            name: format!("{}, {end}", PolicyText(durability)),
            id,
            end,
            models: vec![Model::new(&options.schema)],
            collections: vec![CollectionMembers::new()],
            image: Image::new(),
            files: Vec::new(),
            older: Vec::new(),
            foreign: Image::new(),
            options,
            sequences: Vec::new(),
            change_records: Vec::new(),
            checkpoint_changes: BTreeMap::new(),
        }
    }

    /// Applies `operations` to `db`, the open database on `disk`, and records their effects.
    ///
    /// # Panics
    /// For the same reasons as [`new`](Self::new).
    pub(super) fn apply(&mut self, operations: &[Operation], db: &TidalDb, disk: &SimDisk) {
        let mut model = self.models[self.models.len() - 1].clone();
        for operation in operations {
            let records_before = self.records(disk).iter().map(|record| record.sequence).max();
            let changes_before = self.change_records.len();
            let receipt = operation
                .apply_or_refuse(db)
                .expect("an operation on a sound disk succeeds");
            if let Some(receipt) = receipt {
                model.apply(operation);
                self.models.push(model.clone());
                self.sequences.push(receipt.sequence);
            }
            let records = self.records(disk);
            let written = records
                .iter()
                .find(|record| record.sequence == records_before.unwrap_or(0) + 1);
            if operation.is_collection_change()
                && let Some(record) = written
            {
                assert!(
                    matches!(record.first_key.first(), Some(0x40 | 0x41)),
                    "{operation} wrote record {record:?}"
                );
                let mut collections = self.collections[changes_before].clone();
                apply_collection_change(&mut collections, operation);
                self.collections.push(collections);
                self.change_records.push(record.sequence);
            }
            self.track_checkpoints(disk, changes_before);
        }
    }

    /// Closes or drops `db`, and stores the image of its files.
    pub(super) fn finish(&mut self, db: TidalDb, disk: &SimDisk) {
        if self.end == HistoryEnd::Closed {
            db.close().expect("closing on a sound disk succeeds");
            self.track_checkpoints(disk, self.change_records.len());
        }
        drop(db);
        self.image = content(disk);
        let paths = self.image.files().map(|(path, _)| path.to_path_buf());
        self.files = paths.filter(|path| FileKind::of(path).is_some()).collect();
    }

    fn track_checkpoints(&mut self, disk: &SimDisk, changes_len: usize) {
        let structures = self.structures(&content(disk)).into_iter();
        for promise in structures.flat_map(|structure| structure.promises) {
            if let PromisedPosition::Checkpoint(covered) = promise {
                self.checkpoint_changes.entry(covered).or_insert(changes_len);
            }
        }
    }

    fn structures(&self, image: &Image) -> Vec<FileStructure> {
        let files = image.files();
        files
            .filter_map(|(path, bytes)| Some(FileStructure::of(FileKind::of(path)?, bytes, self.id)))
            .collect()
    }

    fn records(&self, disk: &SimDisk) -> Vec<StoreRecord> {
        let structures = self.structures(&content(disk)).into_iter();
        structures.flat_map(|structure| structure.records).collect()
    }

    pub(super) fn open(&self, disk: &SimDisk) -> Result<TidalDb, Error> {
        TidalDb::open(DB_DIR, self.options.clone().files(Arc::new(disk.clone())))
    }

    /// The state after every frame up to `sequence`, without the collections, and the number of these frames.
    pub(super) fn state_at(&self, sequence: u64) -> (&Model, usize) {
        let len = self.sequences.partition_point(|&frame| frame <= sequence);
        (&self.models[len], len)
    }

    pub(super) fn frames_len(&self) -> usize {
        self.sequences.len()
    }

    /// The number of changes of collections in the records of the store up to this sequence number.
    pub(super) fn changes_of_records(&self, record: u64) -> usize {
        self.change_records.partition_point(|&change| change <= record)
    }

    /// The number of changes of collections before the checkpoint that covers this sequence number.
    pub(super) fn changes_of_checkpoint(&self, covered: u64) -> usize {
        self.checkpoint_changes.get(&covered).copied().unwrap_or(0)
    }
}

/// The files of a database after `workload`.
fn image_after(workload: &Workload, options: &Options, end: HistoryEnd) -> Image {
    let disk = SimDisk::new();
    let db = TidalDb::open(DB_DIR, options.clone().files(Arc::new(disk.clone())));
    let db = db.expect("a new database opens");
    for operation in &workload.operations {
        let applied = operation.apply_or_refuse(&db);
        applied.expect("an operation on a sound disk succeeds");
    }
    if end == HistoryEnd::Closed {
        db.close().expect("closing on a sound disk succeeds");
    }
    content(&disk)
}

pub(super) fn content(disk: &SimDisk) -> Image {
    disk.image(&ImageChoice::All)
}

/// Each combination of a policy and an end of a history.
pub(super) fn histories() -> impl Iterator<Item = (Durability, HistoryEnd)> + Clone {
    let policies = [Durability::EverySynced, Durability::OperatingSystem];
    policies
        .into_iter()
        .flat_map(|policy| [HistoryEnd::Crashed, HistoryEnd::Closed].map(|end| (policy, end)))
}
