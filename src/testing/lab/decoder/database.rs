//! The decoders that need a database: those of the log, the store and a checkpoint.
//!
//! Each decoder puts the bytes onto a new simulated disk or into a new store, opens the database, and uses it. Bytes
//! that a decoder refuses must stay unchanged.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::repair::{self, ID, OPENING};
use crate::signals::checkpoint::record as checkpoint_record;
use crate::storage::{FileStore, FileStoreOptions, MemoryStore, StorageEngine, keys};
use crate::testing::SimDisk;
use crate::testing::sim_disk::{Image, ImageChoice};
use crate::testing::workload::{STANDARD_NOW_MS, standard_schema, tiny_options};
use crate::wal::segment::{SegmentHeader, segment_name};
use crate::{EntityId, Error, Export, Options, SignalEvent, SignalId, TidalDb, UserId};

const DB_DIR: &str = "/db";
const LOG_DIR: &str = "/db/log";
pub(super) const SEGMENT: &str = "/db/log/00000000000000000001.wal";
const STORE_DIR: &str = "/store";
pub(super) const STORE_FILE: &str = "/store/00000000000000000001.tdstore";

pub(super) type StoredPairs = Vec<(Vec<u8>, Vec<u8>)>;

fn options(disk: &SimDisk) -> Options {
    tiny_options(standard_schema())
        .database_id(ID)
        .predictable_opening_ids(OPENING)
        .checkpoint_log_bytes(u64::MAX)
        .segment_bytes_max(1 << 16)
        .files(Arc::new(disk.clone()))
}

pub(super) fn open_with(disk: &SimDisk, store: &MemoryStore) -> Result<TidalDb, Error> {
    TidalDb::open_with_storage(DB_DIR, options(disk), Arc::new(store.clone()))
}

pub(super) fn new_store(disk: &SimDisk, segment_bytes_max: u64) -> Result<FileStore, Error> {
    let options = FileStoreOptions {
        segment_bytes_max,
        store_id: Some(ID),
    };
    FileStore::open(Arc::new(disk.clone()), STORE_DIR, &options)
}

fn store_of(pairs: &StoredPairs) -> MemoryStore {
    let store = MemoryStore::new();
    for (key, value) in pairs {
        // A store in memory does not fail.
        store.put(key, value).ok();
    }
    store
}

pub(super) fn pairs_of(store: &MemoryStore) -> StoredPairs {
    let scan = store.scan_prefix(&[]).into_iter().flatten();
    scan.filter_map(Result::ok).collect()
}

pub(super) fn content(disk: &SimDisk) -> Image {
    disk.image(&ImageChoice::All)
}

/// The pairs in the storage engine of a new database, and the disk with its log.
fn new_database() -> &'static (StoredPairs, Image) {
    static NEW: OnceLock<(StoredPairs, Image)> = OnceLock::new();
    NEW.get_or_init(|| {
        let (disk, store) = (SimDisk::new(), MemoryStore::new());
        drop(open_with(&disk, &store).expect("a new database opens"));
        (pairs_of(&store), content(&disk))
    })
}

fn state(db: &TidalDb) -> (Export, u64) {
    let export = db.export().expect("the state of an open database can be read");
    let signal_scores = export.signals.iter().flat_map(|state| &state.scores);
    let cohort_scores = export.cohorts.iter().flat_map(|cohort| &cohort.state.scores);
    assert!(signal_scores.chain(cohort_scores).all(|score| score.is_finite()));
    (export, db.last_sequence())
}

/// Asserts that a refusal names damage as its cause, and that the bytes are unchanged.
fn assert_refusal(error: &Error, is_unchanged: bool) {
    let is_damage = !matches!(error, Error::Io { .. } | Error::Poisoned { .. });
    assert!(is_damage, "{error}");
    assert!(is_unchanged, "a refused file or store was changed: {error}");
}

/// Opens a database, uses it, closes it, and opens it again. Returns true if it opened.
fn opens_and_continues(disk: &SimDisk, store: &MemoryStore) -> bool {
    let open = || open_with(disk, store);
    let (before, stored) = (content(disk), pairs_of(store));
    let db = match open() {
        Ok(db) => db,
        Err(error) => {
            let mut locked = before;
            locked.insert_file(format!("{DB_DIR}/LOCK"), []);
            assert_refusal(&error, content(disk) == locked && pairs_of(store) == stored);
            return false;
        }
    };
    let found = state(&db);
    drop(db);
    let db = open().expect("a database that opened once opens again");
    assert_eq!(state(&db), found, "both openings recover the same state");
    let cohorts = [crate::CohortId(1)];
    for signal in 0..5 {
        let event = SignalEvent::new(SignalId(signal), EntityId(1), STANDARD_NOW_MS);
        let event = event.with_user(UserId(1)).with_cohorts(&cohorts);
        db.record(&event).expect("an open database records events");
    }
    let (export, sequence) = state(&db);
    db.close().expect("an open database closes");
    drop(db);
    let db = open().expect("a closed database opens");
    let (after, sequence_after) = state(&db);
    assert_eq!(after, export, "the state of a closed database is recovered");
    assert!(sequence_after >= sequence);
    true
}

pub(super) fn log(bytes: &[u8]) -> bool {
    let (pairs, image) = new_database();
    let mut image = image.clone();
    image.insert_file(SEGMENT, repair::segment(bytes));
    opens_and_continues(&SimDisk::from_image(&image), &store_of(pairs))
}

pub(super) fn checkpoint(bytes: &[u8]) -> bool {
    let (pairs, image) = new_database();
    let (store, mut image) = (store_of(pairs), image.clone());
    let pairs = repair::pairs(bytes);
    let is_empty = pairs.is_empty();
    for (key, value) in pairs {
        if key == keys::CHECKPOINT
            && let Ok(covered) = checkpoint_record::decode(&value, &key)
        {
            // The log continues after the frames that the checkpoint covers.
            let header = SegmentHeader {
                database_id: ID,
                first_sequence: covered.sequence + 1,
                previous_first: 0,
                previous_end: 0,
                opening: OPENING,
                history: covered.history,
            };
            image.remove(LOG_DIR);
            let name = segment_name(header.first_sequence);
            image.insert_file(Path::new(LOG_DIR).join(name), header.encode());
        }
        store.put(&key, &keys::seal(&key, value)).ok();
    }
    opens_and_continues(&SimDisk::from_image(&image), &store) && !is_empty
}

pub(super) fn store(bytes: &[u8]) -> bool {
    let mut image = Image::new();
    image.insert_file(STORE_FILE, repair::store_file(bytes));
    let disk = SimDisk::from_image(&image);
    let segment_bytes_max = 512;
    let open = || new_store(&disk, segment_bytes_max);
    let all = |store: &FileStore| {
        let scan = store.scan_prefix(&[]).expect("no thread panicked");
        scan.collect::<Result<StoredPairs, _>>()
            .expect("a recovered record can be read")
    };
    let store = match open() {
        Ok(store) => store,
        Err(error) => {
            assert_refusal(&error, content(&disk) == image);
            return false;
        }
    };
    let found = all(&store);
    for (key, value) in &found {
        assert_eq!(store.get(key).ok().flatten().as_ref(), Some(value));
    }
    let stats = store.stats().expect("no thread panicked");
    assert!(
        stats.total_bytes <= 2 * stats.live_bytes + segment_bytes_max,
        "{stats:?}"
    );
    drop(store);
    let store = open().expect("a store that opened once opens again");
    assert_eq!(all(&store), found, "both openings recover the same pairs");
    for round in 0..8 {
        store
            .put(b"more", &[round; 100])
            .expect("an open store accepts writes");
    }
    assert_eq!(store.get(b"more").ok().flatten().as_deref(), Some(&[7; 100][..]));
    bytes.len() >= 152
}
