//! The decoders that need a database around them: of the log, the store and a checkpoint; and the inputs to begin with,
//! which come from a real one.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::{Decoder, FRAME_SEED, mend};
use crate::signals::checkpoint::record as checkpoint_record;
use crate::storage::{FileStore, FileStoreOptions, MemoryStore, StorageEngine, keys};
use crate::testing::CrashPoint;
use crate::testing::SimDisk;
use crate::testing::plan::Plan;
use crate::testing::sim_disk::{Image, ImageChoice};
use crate::testing::workload::{STANDARD_NOW_MS, Workload, standard_schema, tiny_options};
use crate::wal::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use crate::{EntityId, Error, Export, Options, SignalEvent, SignalId, TidalDb, UserId};

/// The id of the database and of its store.
pub(super) const ID: u128 = 0x6675_7a7a;
/// The id of the first opening.
pub(super) const OPENING: u64 = 1;
const DB_DIR: &str = "/db";
const LOG_DIR: &str = "/db/log";
const SEGMENT: &str = "/db/log/00000000000000000001.wal";
const STORE_DIR: &str = "/store";
const STORE_FILE: &str = "/store/00000000000000000001.tdstore";
const SEED: u64 = 7;
const OPERATIONS: usize = 40;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn options(disk: &SimDisk) -> Options {
    tiny_options(standard_schema())
        .database_id(ID)
        .predictable_opening_ids(OPENING)
        .checkpoint_log_bytes(u64::MAX)
        .segment_bytes_max(1 << 16)
        .files(Arc::new(disk.clone()))
}

fn store_of(pairs: &Pairs) -> MemoryStore {
    let store = MemoryStore::new();
    for (key, value) in pairs {
        // A store in memory refuses nothing.
        store.put(key, value).ok();
    }
    store
}

fn pairs_of(store: &MemoryStore) -> Pairs {
    let scan = store.scan_prefix(&[]).into_iter().flatten();
    scan.filter_map(Result::ok).collect()
}

fn content(disk: &SimDisk) -> Image {
    disk.image(&ImageChoice::All)
}

/// What a new database has put into its storage engine, and the disk with its log.
fn new_database() -> &'static (Pairs, Image) {
    static NEW: OnceLock<(Pairs, Image)> = OnceLock::new();
    NEW.get_or_init(|| {
        let (disk, store) = (SimDisk::new(), MemoryStore::new());
        let db = TidalDb::open_with_storage(DB_DIR, options(&disk), Arc::new(store.clone()));
        drop(db.expect("a new database opens"));
        (pairs_of(&store), content(&disk))
    })
}

fn state(db: &TidalDb) -> (Export, u64) {
    let export = db.export().expect("a state that was opened can be read");
    let finite = |scores: &[f64]| scores.iter().all(|score| score.is_finite());
    assert!(export.signals.iter().all(|state| finite(&state.scores)));
    assert!(export.cohorts.iter().all(|cohort| finite(&cohort.state.scores)));
    (export, db.last_sequence())
}

/// A refusal blames the bytes, and leaves them as they were.
fn assert_refusal(error: &Error, is_unchanged: bool) {
    let blames_bytes = !matches!(error, Error::Io { .. } | Error::Poisoned { .. });
    assert!(blames_bytes, "{error}");
    assert!(is_unchanged, "{error}, and yet changed");
}

/// Opens a database, uses it, closes it, and opens it again: whether it opened.
fn opens_and_goes_on(disk: &SimDisk, store: &MemoryStore) -> bool {
    let open = || TidalDb::open_with_storage(DB_DIR, options(disk), Arc::new(store.clone()));
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
    let db = open().expect("what opened once opens again");
    assert_eq!(state(&db), found, "the second opening finds what the first did");
    let cohorts = [crate::CohortId(1)];
    for signal in 0..5 {
        let event = SignalEvent::new(SignalId(signal), EntityId(1), STANDARD_NOW_MS);
        let event = event.with_user(UserId(1)).with_cohorts(&cohorts);
        db.record(&event).expect("what opened takes events");
    }
    let (export, sequence) = state(&db);
    db.close().expect("what opened closes");
    drop(db);
    let db = open().expect("what was closed opens");
    let (after, sequence_after) = state(&db);
    assert_eq!(after, export, "what was closed is found");
    assert!(sequence_after >= sequence);
    true
}

pub(super) fn log(bytes: &[u8]) -> bool {
    let (pairs, image) = new_database();
    let mut image = image.clone();
    image.insert_file(SEGMENT, mend::segment(bytes));
    opens_and_goes_on(&SimDisk::from_image(&image), &store_of(pairs))
}

pub(super) fn checkpoint(bytes: &[u8]) -> bool {
    let (pairs, image) = new_database();
    let (store, mut image) = (store_of(pairs), image.clone());
    let pairs = mend::pairs(bytes);
    let is_empty = pairs.is_empty();
    for (key, value) in pairs {
        if key == keys::CHECKPOINT
            && let Ok(covered) = checkpoint_record::decode(&value, &key)
        {
            // The log goes on after what is covered.
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
    opens_and_goes_on(&SimDisk::from_image(&image), &store) && !is_empty
}

pub(super) fn store(bytes: &[u8]) -> bool {
    let mut image = Image::new();
    image.insert_file(STORE_FILE, mend::store_file(bytes));
    let disk = SimDisk::from_image(&image);
    let options = FileStoreOptions {
        segment_bytes_max: 512,
        store_id: Some(ID),
    };
    let open = || FileStore::open(Arc::new(disk.clone()), STORE_DIR, &options);
    let all = |store: &FileStore| {
        let scan = store.scan_prefix(&[]).expect("the index is whole");
        scan.collect::<Result<Pairs, _>>()
            .expect("what was found valid can be read")
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
    let stats = store.stats().expect("nobody panicked");
    assert!(
        stats.total_bytes <= 2 * stats.live_bytes + options.segment_bytes_max,
        "{stats:?}"
    );
    drop(store);
    let store = open().expect("what opened once opens again");
    assert_eq!(all(&store), found, "the second opening finds what the first did");
    for round in 0..8 {
        store
            .put(b"more", &[round; 100])
            .expect("what opened takes writes");
    }
    assert_eq!(store.get(b"more").ok().flatten().as_deref(), Some(&[7; 100][..]));
    bytes.len() >= 72
}

/// A database after the standard workload, with a checkpoint: what its engine has, and its disk.
fn used_database() -> (Pairs, Image) {
    let (disk, store) = (SimDisk::new(), MemoryStore::new());
    let db = TidalDb::open_with_storage(DB_DIR, options(&disk), Arc::new(store.clone()));
    let db = db.expect("a new database opens");
    for operation in &Workload::standard(SEED, OPERATIONS).operations {
        operation
            .apply_or_refuse(&db)
            .expect("an operation on a sound disk succeeds");
    }
    let image = content(&disk);
    db.checkpoint().expect("a checkpoint on a sound disk succeeds");
    (pairs_of(&store), image)
}

pub(super) fn seeds(decoder: Decoder) -> Vec<Vec<u8>> {
    let (pairs, image) = used_database();
    let unsealed = |prefix: &[u8]| -> Pairs {
        let of_prefix = pairs.iter().filter(|(key, _)| key.starts_with(prefix));
        of_prefix
            .map(|(key, value)| (key.clone(), value[..value.len() - 4].to_vec()))
            .collect()
    };
    let values = |prefix: &[u8]| unsealed(prefix).into_iter().map(|(_, value)| value).collect();
    let pages = |prefix: &[u8]| {
        let whole = unsealed(prefix).into_iter();
        // A page that is not its shard's first needs those before it.
        let first = whole.filter(|(key, _)| key.ends_with(&[0; 4]));
        first
            .map(|(key, value)| [&key[prefix.len()..], &value].concat())
            .collect()
    };
    let segment = image.file(SEGMENT).unwrap_or_default();
    let plain = Workload::standard(SEED, OPERATIONS);
    match decoder {
        Decoder::SegmentHeader => vec![segment[..SEGMENT_HEADER_BYTES].to_vec()],
        Decoder::Frame => frames(segment)
            .into_iter()
            .map(|frame| mend::frame(&frame, FRAME_SEED))
            .filter(|frame| decoder.run(frame))
            .collect(),
        Decoder::Events => frames(segment)
            .into_iter()
            .filter(|frame| frame[4] == 1)
            .map(|frame| frame[32..].to_vec())
            .collect(),
        Decoder::Log => {
            let end = SEGMENT_HEADER_BYTES + frames(segment).iter().map(Vec::len).sum::<usize>();
            // Mending begins a segment anew: one with a checkpoint marker is for a store that has the checkpoint.
            let half = SEGMENT_HEADER_BYTES + frames(segment).iter().take(6).map(Vec::len).sum::<usize>();
            [half, end]
                .map(|end| segment[..end].to_vec())
                .into_iter()
                .filter(|bytes| decoder.run(bytes))
                .collect()
        }
        Decoder::Store => vec![store_file()],
        Decoder::Checkpoint => vec![mend::from_pairs(&unsealed(&[]))],
        Decoder::Schema => values(keys::SCHEMA),
        Decoder::Identity => values(keys::IDENTITY),
        Decoder::CheckpointRecord => values(keys::CHECKPOINT),
        Decoder::StatePage => pages(keys::STATES),
        Decoder::CohortPage => pages(keys::COHORT_STATES),
        Decoder::CoEngagement => {
            let records = keys::CO_ENGAGEMENT.into_iter().flat_map(unsealed);
            vec![mend::from_pairs(&records.collect::<Vec<_>>())]
        }
        Decoder::Plan => {
            let plan = Plan::standard(SEED, OPERATIONS).crash_at(CrashPoint::WalPreAggregate, 3);
            let other = Plan::operations(Workload::standard(SEED, 5)).crash_at(CrashPoint::CoEngagementUpdate, 0);
            let images = ["drop:7,900=2o3n", "prefix:3=3n1g", "only:4", "random:5"];
            let images = images.map(|image| {
                let crash = format!("crash=disk#5:after mode=power-loss:{image}");
                format!("work=driven:a%20b durability=synced-every:5 {crash}")
            });
            let plans = [plan.replay_line(), other.replay_line()].into_iter();
            plans.chain(images).map(String::into_bytes).collect()
        }
        Decoder::Workload => vec![plain.to_string().into_bytes()],
        Decoder::EventFile => [
            "at_ms,signal,entity,user\n1700000000000,view,7,42\n1700000000500,like,7,\n",
            "# a comment\nat_ms\tsignal\tentity\tuser\tweight\tcohorts\n1700000000000\tview\t7\t42\t2.5\t1;2\n",
            "1700000000000,view,7,42\n",
        ]
        .map(|text| text.as_bytes().to_vec())
        .into_iter()
        .filter(|text| decoder.run(text))
        .collect(),
    }
}

/// The frames of a segment.
fn frames(segment: &[u8]) -> Vec<Vec<u8>> {
    let (mut frames, mut at) = (Vec::new(), SEGMENT_HEADER_BYTES);
    while let Some(len) = segment.get(at..).and_then(|bytes| bytes.first_chunk()) {
        let len = u32::from_le_bytes(*len) as usize;
        let Some(frame) = segment.get(at..at + 32 + len).filter(|_| len > 0) else {
            break;
        };
        frames.push(frame.to_vec());
        at += frame.len();
    }
    frames
}

/// The file of a store with a few records.
fn store_file() -> Vec<u8> {
    let disk = SimDisk::new();
    let options = FileStoreOptions {
        segment_bytes_max: 4096,
        store_id: Some(ID),
    };
    let store = FileStore::open(Arc::new(disk.clone()), STORE_DIR, &options).expect("a new store opens");
    for round in 0..6_u8 {
        store
            .put(&[round % 4; 3], &[round; 20])
            .expect("a sound disk takes writes");
    }
    store.delete(&[1; 3]).expect("a sound disk takes writes");
    store.flush().expect("a sound disk syncs");
    let image = content(&disk);
    image.file(Path::new(STORE_FILE)).unwrap_or_default().to_vec()
}
