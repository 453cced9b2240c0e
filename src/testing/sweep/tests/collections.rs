//! Workloads on collections only: crashes while blocks are divided, joined and emptied, and the limits of a block.

use std::sync::Arc;

use super::*;
use crate::limits::Limits;
use crate::storage::{BatchOperation, FileStore, FileStoreOptions, MemoryStore, StorageEngine, keys};
use crate::testing::faults::{ForwardingStorage, StorageOperation};
use crate::testing::lock::lock;
use crate::testing::workload::{Random, Workload, large_options, standard_schema, tiny_options};
use crate::{Options, TidalDb};

/// A workload on two collections that grow and then shrink. Some ids are neighbours, and some are at the ends of the
/// range.
fn work(seed: u64, changes_len: u64) -> Workload {
    const IDS: [u64; 16] = [
        0,
        1,
        2,
        3,
        4,
        5,
        40,
        42,
        44,
        300,
        301,
        1 << 40,
        u64::MAX - 9,
        u64::MAX - 2,
        u64::MAX - 1,
        u64::MAX,
    ];
    let mut random = Random::new(seed);
    let names = [b"a".to_vec(), b"ab".to_vec()];
    let mut operations: Vec<_> = names.iter().cloned().map(Operation::CreateCollection).collect();
    for number in 0..changes_len {
        let (name, id) = (random.pick(&names).clone(), EntityId(*random.pick(&IDS)));
        let additions_of_8 = if 2 * number < changes_len { 7 } else { 1 };
        operations.push(if random.below(8) < additions_of_8 {
            Operation::AddToCollection(name, id)
        } else {
            Operation::RemoveFromCollection(name, id)
        });
    }
    operations.extend(names.map(Operation::DeleteCollection));
    Workload { operations }
}

fn open(disk: &SimDisk, options: Options) -> TidalDb {
    let opened = TidalDb::open("/db", options.files(Arc::new(disk.clone())));
    opened.expect("the database recovers")
}

/// The number of blocks in the store.
fn blocks_len(disk: &SimDisk) -> usize {
    let options = large_options();
    let store_options = FileStoreOptions {
        segment_bytes_max: options.store_segment_bytes_max,
        store_id: options.database_id,
    };
    let image = disk.image(&ImageChoice::All);
    let files = Arc::new(SimDisk::from_image(&image));
    let store = FileStore::open(files, "/db/store", &store_options).expect("the store opens");
    let blocks = store
        .scan_prefix(keys::COLLECTION_BLOCKS)
        .expect("the store is sound");
    blocks.count()
}

/// The numbers of changes in `work` that divide a block, join two blocks, and empty a block.
fn blocks_changed(work: &Workload) -> [usize; 3] {
    use BatchOperation::{Delete, Put};
    let changed = Arc::new(Mutex::new([0; 3]));
    let counted = Arc::clone(&changed);
    let engine = ForwardingStorage::new(Arc::new(MemoryStore::new()), move |call| {
        let of_blocks = |key: &[u8]| key.starts_with(keys::COLLECTION_BLOCKS);
        let kind = match &call.operation {
            StorageOperation::WriteBatch(batch) => match batch.operations() {
                [Put { .. }, Put { key, .. }] if of_blocks(key) => Some(0),
                [Put { .. }, Delete { key }] if of_blocks(key) => Some(1),
                _ => None,
            },
            StorageOperation::Delete { key } if of_blocks(key) => Some(2),
            _ => None,
        };
        if let Some(kind) = kind {
            lock(&counted)[kind] += 1;
        }
        call.forward()
    });
    let options = tiny_options(standard_schema()).files(Arc::new(SimDisk::new()));
    let db = TidalDb::open_with_storage("/db", options, Arc::new(engine)).expect("the database opens");
    for operation in &work.operations {
        operation.apply_or_refuse(&db).expect("the disk is sound");
    }
    *lock(&changed)
}

#[test]
fn divided_joined_and_emptied_blocks_survive_every_crash_under_every_policy() {
    for durability in [
        Durability::EverySynced,
        Durability::SyncedEvery {
            interval_ms: STANDARD_SYNC_MS,
        },
        Durability::OperatingSystem,
    ] {
        let work = work(SEED, 100);
        let changed = blocks_changed(&work);
        assert!(
            changed.iter().all(|len| *len > 1),
            "numbers of divided, joined and emptied blocks: {changed:?}"
        );
        let sweep = CrashSweep::of(work)
            .durability(durability)
            .images_max(16)
            .nested_max(100)
            .faults_max(150);
        let report = sweep.run();
        println!("{report}");
        report.expect_clean();
    }
}

/// Makes a collection of these members, which fill one block. Adds `more`, which divides the block. Then removes the
/// three quarters with the lower ids, so that the blocks are joined. Loses the power after the sync of each step.
fn divide_and_join(members: &[EntityId], more: EntityId) {
    let options = || large_options().durability(Durability::OperatingSystem);
    let disk = SimDisk::new();
    let db = open(&disk, options());
    db.create_collection("large").expect("the call succeeds");
    for member in members {
        assert!(db.add_to_collection("large", *member).expect("the call succeeds"));
    }
    db.sync().expect("the sync succeeds");
    let lose_power = |disk: &SimDisk, db: TidalDb| {
        drop(db);
        let disk = SimDisk::from_image(&disk.image(&ImageChoice::Synced));
        let db = open(&disk, options());
        (disk, db)
    };
    let members_of = |db: &TidalDb| db.collection_members("large").expect("the collection exists");
    let (disk, db) = lose_power(&disk, db);
    assert_eq!(blocks_len(&disk), 1);
    assert_eq!(members_of(&db), members);

    assert!(db.add_to_collection("large", more).expect("the call succeeds"));
    let (disk, db) = lose_power(&disk, db);
    assert_eq!(members_of(&db), members, "the last member was not synced");
    assert!(db.add_to_collection("large", more).expect("the call succeeds"));
    db.sync().expect("the sync succeeds");
    let (disk, db) = lose_power(&disk, db);
    assert_eq!(blocks_len(&disk), 2);
    let mut all = members.to_vec();
    all.push(more);
    assert_eq!(members_of(&db), all);

    let removed_len = all.len() * 3 / 4;
    for member in &all[..removed_len] {
        assert!(
            db.remove_from_collection("large", *member)
                .expect("the call succeeds")
        );
    }
    db.sync().expect("the sync succeeds");
    let (disk, db) = lose_power(&disk, db);
    assert_eq!(blocks_len(&disk), 1);
    assert_eq!(members_of(&db), all[removed_len..]);
}

#[test]
fn a_block_with_more_bytes_than_the_limit_is_divided_and_joined_and_survives_power_losses() {
    let bytes_max = Limits::default().collection_block_bytes_max as u64;
    // Every second id is a member. Each is a run of one id, which takes two bytes.
    let members: Vec<_> = (0..bytes_max / 2).map(|number| EntityId(2 * number)).collect();
    divide_and_join(&members, EntityId(bytes_max));
}

#[test]
fn a_block_with_more_ids_than_the_limit_is_divided_and_joined_and_survives_power_losses() {
    let ids_max = Limits::default().collection_block_ids_max;
    let members: Vec<_> = (0..ids_max).map(EntityId).collect();
    divide_and_join(&members, EntityId(ids_max));
}
