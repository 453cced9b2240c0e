//! What is damaged: the files of a small database whose whole history is known, older copies of them, and those of
//! another database.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::anatomy::{Anatomy, PromisedPosition, StoreRecord};
use crate::testing::SimDisk;
use crate::testing::lab::file_format::FileKind;
use crate::testing::model::{CollectionMembers, Model, apply_collection_change};
use crate::testing::sim_disk::{Image, ImageChoice};
use crate::testing::workload::{Operation, Workload};
use crate::{Durability, Error, Options, TidalDb};

/// Where the database is on the simulated disk.
pub(super) const DB_DIR: &str = "/db";
pub(super) const LOG_DIR: &str = "/db/log";
pub(super) const STORE_DIR: &str = "/db/store";
const OTHER_ID: u128 = 0x6f74_6865_7220_6f6e_6521;
/// How many older copies are kept.
const VERSIONS: usize = 8;

/// How the history of a database ends before it is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HistoryEnd {
    /// The process crashes: nothing promises the end of the log.
    Died,
    /// The database is closed: everything is promised.
    Closed,
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
    /// The state after each number of frames, but for the collections.
    models: Vec<Model>,
    /// The sequence number of each frame.
    sequences: Vec<u64>,
    /// The collections after each number of changes.
    pub(super) collections: Vec<CollectionMembers>,
    /// The store's record of each change.
    change_records: Vec<u64>,
    /// How many changes a checkpoint that covers so much comes after.
    checkpoint_changes: BTreeMap<u64, usize>,
}

impl DamageSubject {
    /// Runs `workload` on a new database of these options and keeps what follows from it.
    ///
    /// # Panics
    /// If a call fails that must not, or a change of a collection is not the record of the store that it must be.
    pub(super) fn new(
        workload: &Workload,
        options: &Options,
        durability: Durability,
        end: HistoryEnd,
    ) -> Self {
        let mut subject = Self::empty(options, durability, end);
        subject.foreign = finished(workload, &subject.options.clone().database_id(OTHER_ID), end);
        let disk = SimDisk::new();
        let db = subject.open(&disk).expect("a new database opens");
        let version_every = workload.operations.len().div_ceil(VERSIONS).max(1);
        for operations in workload.operations.chunks(version_every) {
            subject.older.push(content(&disk));
            subject.record(operations, &db, &disk);
        }
        subject.finish(db, &disk);
        subject
    }

    /// A database that nothing was done to.
    pub(super) fn empty(options: &Options, durability: Durability, end: HistoryEnd) -> Self {
        let id = options.database_id.unwrap_or(1);
        let options = options.clone().durability(durability).database_id(id);
        Self {
            name: format!("{durability:?}, {end:?}"),
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

    /// Does `operations` on `db`, the open database on `disk`, and keeps what follows from them.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub(super) fn record(&mut self, operations: &[Operation], db: &TidalDb, disk: &SimDisk) {
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
                    "{operation} is record {record:?}"
                );
                let mut collections = self.collections[changes_before].clone();
                apply_collection_change(&mut collections, operation);
                self.collections.push(collections);
                self.change_records.push(record.sequence);
            }
            self.note_checkpoints(disk, changes_before);
        }
    }

    /// Ends the use of `db`, and keeps the files.
    pub(super) fn finish(&mut self, db: TidalDb, disk: &SimDisk) {
        if self.end == HistoryEnd::Closed {
            db.close().expect("closing on a sound disk succeeds");
            self.note_checkpoints(disk, self.change_records.len());
        }
        drop(db);
        self.image = content(disk);
        let paths = self.image.files().map(|(path, _)| path.to_path_buf());
        self.files = paths.filter(|path| FileKind::of(path).is_some()).collect();
    }

    fn note_checkpoints(&mut self, disk: &SimDisk, changes_len: usize) {
        let anatomies = self.anatomies(&content(disk)).into_iter();
        for promise in anatomies.flat_map(|anatomy| anatomy.promises) {
            if let PromisedPosition::Checkpoint(covered) = promise {
                self.checkpoint_changes.entry(covered).or_insert(changes_len);
            }
        }
    }

    fn anatomies(&self, image: &Image) -> Vec<Anatomy> {
        let files = image.files();
        files
            .filter_map(|(path, bytes)| Some(Anatomy::of(FileKind::of(path)?, bytes, self.id)))
            .collect()
    }

    fn records(&self, disk: &SimDisk) -> Vec<StoreRecord> {
        let anatomies = self.anatomies(&content(disk)).into_iter();
        anatomies.flat_map(|anatomy| anatomy.records).collect()
    }

    pub(super) fn open(&self, disk: &SimDisk) -> Result<TidalDb, Error> {
        TidalDb::open(DB_DIR, self.options.clone().files(Arc::new(disk.clone())))
    }

    /// The state after every frame with a number up to `sequence`, but for the collections, and how many these are.
    pub(super) fn state_at(&self, sequence: u64) -> (&Model, usize) {
        let len = self.sequences.partition_point(|&frame| frame <= sequence);
        (&self.models[len], len)
    }

    pub(super) fn frames_len(&self) -> usize {
        self.sequences.len()
    }

    /// How many changes of collections are there if the store holds every record up to this one.
    pub(super) fn changes_of_records(&self, record: u64) -> usize {
        self.change_records.partition_point(|&change| change <= record)
    }

    /// How many changes of collections are there if a checkpoint that covers this is.
    pub(super) fn changes_of_checkpoint(&self, covered: u64) -> usize {
        self.checkpoint_changes.get(&covered).copied().unwrap_or(0)
    }
}

/// The files of a database after `workload`.
fn finished(workload: &Workload, options: &Options, end: HistoryEnd) -> Image {
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

/// Each policy with each end of a history.
pub(super) fn histories() -> impl Iterator<Item = (Durability, HistoryEnd)> + Clone {
    let policies = [Durability::EverySynced, Durability::OperatingSystem];
    policies
        .into_iter()
        .flat_map(|policy| [HistoryEnd::Died, HistoryEnd::Closed].map(|end| (policy, end)))
}
