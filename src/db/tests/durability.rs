//! The calls that survive a power loss, and the order in which writes must become durable.

use std::sync::{Arc, Mutex};

use super::*;
use crate::storage::{BatchOperation, MemoryStore, keys};
use crate::testing::faults::{ForwardingStorage, StorageOperation};
use crate::testing::sim_disk::DiskOperationKind;
use crate::testing::{CrashAction, CrashInjector, CrashPoint, run_with_crash};

#[test]
fn an_acknowledged_event_is_durable_when_every_event_is_synced() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..40 {
        record(&db, i).unwrap();
        assert_eq!(disk.undurable(), [], "after event {i}");
        assert_eq!(db.durable_sequence(), db.last_sequence());
    }
    assert!(log_files(&content(&disk)).len() > 3, "there were rotations");
    let reopened = open(&crashed(&disk, &ImageChoice::Synced), Durability::EverySynced).unwrap();
    assert_eq!(reopened.export().unwrap(), state_after(40));
}

#[test]
fn a_change_of_a_collection_is_durable_when_every_event_is_synced() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    db.create_collection("saved").unwrap();
    assert_eq!(disk.undurable(), []);
    db.add_to_collection("saved", EntityId(3)).unwrap();
    assert_eq!(disk.undurable(), []);
    db.add_to_collection("saved", EntityId(4)).unwrap();
    db.remove_from_collection("saved", EntityId(3)).unwrap();
    assert_eq!(disk.undurable(), []);
    let reopened = open(&crashed(&disk, &ImageChoice::Synced), Durability::EverySynced).unwrap();
    assert_eq!(reopened.collection_members("saved").unwrap(), [EntityId(4)]);
    reopened.delete_collection("saved").unwrap();
    assert!(reopened.collections().unwrap().is_empty());
}

#[test]
fn a_sync_makes_events_and_collections_durable_under_every_policy() {
    for policy in POLICIES {
        let disk = SimDisk::new();
        let db = open(&disk, policy).unwrap();
        db.create_collection("saved").unwrap();
        for i in 0..5 {
            record(&db, i).unwrap();
        }
        db.sync().unwrap();
        assert_eq!(disk.undurable(), [], "{policy:?}");
        assert_eq!(db.durable_sequence(), db.last_sequence());
        record(&db, 5).unwrap();
        let reopened = open(&crashed(&disk, &ImageChoice::Synced), policy).unwrap();
        let survived = if policy == Durability::EverySynced { 6 } else { 5 };
        let mut expected = state_after(survived);
        expected.collections.push(crate::CollectionExport {
            name: b"saved".to_vec(),
            members: Vec::new(),
        });
        assert_eq!(reopened.export().unwrap(), expected, "{policy:?}");
    }
}

#[test]
fn the_timed_sync_of_the_caller_covers_events_and_collections() {
    let disk = SimDisk::new();
    let policy = Durability::SyncedEvery { interval_ms: 1000 };
    let options = options(&disk, policy).clock(Arc::new(TestClock::stepping(NOW_MS, 400)));
    let db = TidalDb::open(PATH, options).unwrap();
    db.create_collection("saved").unwrap();
    record(&db, 0).unwrap();
    assert_eq!(db.durable_sequence(), 0, "the interval is not over");
    record(&db, 1).unwrap();
    assert_eq!(
        db.durable_sequence(),
        1,
        "the first event is synced before the second one"
    );
    let reopened = open(&crashed(&disk, &ImageChoice::Synced), policy).unwrap();
    assert_eq!(reopened.collections().unwrap(), [b"saved"]);
}

#[test]
fn a_segment_is_synced_before_its_successor_takes_a_frame() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::OperatingSystem).unwrap();
    let mut rotations = 0;
    for i in 0..60 {
        let before = log_files(&content(&disk)).len();
        let sequence = record(&db, i).unwrap();
        if log_files(&content(&disk)).len() > before {
            rotations += 1;
            let crashed = crashed(&disk, &ImageChoice::Synced);
            let reopened = open(&crashed, Durability::OperatingSystem).unwrap();
            assert!(
                reopened.last_sequence() >= sequence - 1,
                "the old segment is complete"
            );
            assert_eq!(reopened.export().unwrap(), state_after(reopened.last_sequence()));
        }
    }
    assert!(rotations > 3);
}

#[test]
fn sequence_numbers_that_a_checkpoint_covers_are_not_used_again_after_a_power_loss() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::OperatingSystem).unwrap();
    for i in 0..6 {
        record(&db, i).unwrap();
    }
    let covered = db.checkpoint().unwrap();
    assert_eq!((covered, db.durable_sequence()), (6, 6));
    // The log was never synced: the power loss removes its frames. The checkpoint stays.
    let disk = crashed(&disk, &ImageChoice::Synced);
    let db = open(&disk, Durability::OperatingSystem).unwrap();
    assert_eq!(db.export().unwrap(), state_after(6));
    assert_eq!(db.last_sequence(), 6);
    assert_eq!(record(&db, 6).unwrap(), 7);
    let reopened = open(&crashed(&disk, &ImageChoice::All), Durability::OperatingSystem).unwrap();
    assert_eq!(reopened.recovery_report().events_replayed, 1);
    assert_eq!(reopened.export().unwrap(), state_after(7));
}

#[test]
fn a_checkpoint_is_one_batch_with_its_covered_sequence() {
    let disk = SimDisk::new();
    let batches: Arc<Mutex<Vec<Vec<Vec<u8>>>>> = Arc::default();
    let noted = Arc::clone(&batches);
    let storage = ForwardingStorage::new(Arc::new(MemoryStore::new()), move |call| {
        if let StorageOperation::WriteBatch(batch) = &call.operation {
            let key = |operation: &BatchOperation| match operation {
                BatchOperation::Put { key, .. } | BatchOperation::Delete { key } => key.clone(),
            };
            let keys = batch.operations().iter().map(key).collect();
            noted.lock().unwrap().push(keys);
        }
        call.forward()
    });
    let options = options(&disk, Durability::EverySynced);
    let db = TidalDb::open_with_storage(PATH, options, Arc::new(storage)).unwrap();
    batches.lock().unwrap().clear();
    for i in 0..20 {
        record(&db, i).unwrap();
        if i % 5 == 4 {
            db.checkpoint().unwrap();
        }
    }
    let batches = batches.lock().unwrap();
    assert_eq!(batches.len(), 4, "one batch for each checkpoint");
    for batch in batches.iter() {
        assert!(batch.contains(&keys::CHECKPOINT.to_vec()));
        for prefix in [
            keys::STATES,
            keys::COHORT_STATES,
            keys::CO_ENGAGEMENT[2],
            keys::CO_ENGAGEMENT[3],
        ] {
            assert!(
                batch.iter().any(|key| key.starts_with(prefix)),
                "no key below {prefix:?}"
            );
        }
    }
}

#[test]
fn events_recorded_during_a_checkpoint_are_not_in_it_and_are_replayed_once() {
    for point in [CrashPoint::CheckpointPreFlush, CrashPoint::CheckpointPostFlush] {
        let disk = SimDisk::new();
        let db = Arc::new(open(&disk, Durability::EverySynced).unwrap());
        for i in 0..10 {
            record(&db, i).unwrap();
        }
        // The thread that makes the checkpoint records between the fence and the marker.
        let recorder = Arc::clone(&db);
        let action = CrashAction::call(move |_, _| {
            for i in 10..15 {
                record(&recorder, i).unwrap();
            }
        });
        let injector = CrashInjector::with_action(point, 0, action);
        assert_eq!(run_with_crash(&injector, || db.checkpoint().unwrap()), Ok(10));
        assert!(injector.has_fired());
        let reopened = open(&crashed(&disk, &ImageChoice::All), Durability::EverySynced).unwrap();
        assert_eq!(reopened.recovery_report().checkpoint_sequence, 10);
        assert_eq!(reopened.recovery_report().events_replayed, 5, "{point}");
        assert_eq!(reopened.export().unwrap(), state_after(15), "{point}");
        // The second checkpoint has the changes that the first one left out.
        db.checkpoint().unwrap();
        let reopened = open(&crashed(&disk, &ImageChoice::Synced), Durability::EverySynced).unwrap();
        assert_eq!(reopened.recovery_report().events_replayed, 0);
        assert_eq!(reopened.export().unwrap(), state_after(15), "{point}");
    }
}

#[test]
fn a_checkpoint_trims_only_the_segments_that_it_covers() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..40 {
        record(&db, i).unwrap();
    }
    assert!(log_files(&content(&disk)).len() > 3);
    let bytes = db.statistics().unwrap().log_bytes;
    db.checkpoint().unwrap();
    assert_eq!(log_files(&content(&disk)).len(), 1);
    assert!(db.statistics().unwrap().log_bytes < bytes / 3);
    // The removals are durable. The marker becomes durable with the next sync, because no state depends on it.
    let pending = disk.undurable();
    assert!(pending.iter().all(|pending| pending.len == 40), "{pending:?}");
    db.sync().unwrap();
    assert_eq!(disk.undurable(), []);
}

#[test]
fn a_drop_changes_nothing_on_disk_and_a_close_makes_all_events_durable() {
    for policy in POLICIES {
        let disk = SimDisk::new();
        let db = open(&disk, policy).unwrap();
        for i in 0..5 {
            record(&db, i).unwrap();
        }
        let operations = disk.operations_len();
        drop(db);
        assert_eq!(
            disk.operations_len(),
            operations,
            "{policy:?}: only the release of the lock"
        );
        let db = open(&disk, policy).unwrap();
        record(&db, 5).unwrap();
        db.close().unwrap();
        assert_eq!(disk.undurable(), [], "{policy:?}");
        let operations = disk.operations_len();
        drop(db);
        assert_eq!(disk.operations_len(), operations);
        let reopened = open(&crashed(&disk, &ImageChoice::Synced), policy).unwrap();
        assert_eq!(reopened.export().unwrap(), state_after(6), "{policy:?}");
        assert_eq!(
            reopened
                .recovery_report()
                .torn_tail
                .as_ref()
                .map(|tail| tail.all_zero),
            Some(true)
        );
    }
}

/// The disk operations of a checkpoint after its flush. `during` runs directly after the flush.
fn after_the_flush(
    disk: &SimDisk,
    db: &Arc<TidalDb>,
    during: impl Fn(&TidalDb) + Send + Sync + 'static,
) -> Vec<DiskOperationKind> {
    let flushed = Arc::new(Mutex::new(0));
    let (slot, looking, handle) = (Arc::clone(&flushed), disk.clone(), Arc::clone(db));
    let action = CrashAction::call(move |_, _| {
        during(&handle);
        *slot.lock().unwrap() = looking.operations_len();
    });
    let injector = CrashInjector::with_action(CrashPoint::CheckpointPostFlush, 0, action);
    run_with_crash(&injector, || db.checkpoint().unwrap()).unwrap();
    let flushed = *flushed.lock().unwrap();
    let recording = disk.recording();
    let kinds = recording.operations().skip(flushed as usize);
    kinds.map(|operation| operation.kind).collect()
}

#[test]
fn a_checkpoint_syncs_no_file_of_the_log() {
    let disk = SimDisk::new();
    let db = Arc::new(open(&disk, Durability::OperatingSystem).unwrap());
    record(&db, 0).unwrap();
    assert_eq!(after_the_flush(&disk, &db, |_| {}), [DiskOperationKind::Write]);
}

#[test]
fn a_marker_makes_no_segment_longer_than_the_limit() {
    let disk = SimDisk::new();
    // Ten events fill a segment to the last byte.
    let segment_bytes_max = 1040;
    let options = options(&disk, Durability::OperatingSystem).segment_bytes_max(segment_bytes_max);
    let db = Arc::new(TidalDb::open(PATH, options).unwrap());
    record(&db, 0).unwrap();
    let kinds = after_the_flush(&disk, &db, |db| {
        for i in 1..10 {
            record(db, i).unwrap();
        }
    });
    assert!(kinds.contains(&DiskOperationKind::Rename), "the segment was full");
    let image = content(&disk);
    for path in log_files(&image) {
        assert!(
            image.file(&path).unwrap().len() as u64 <= segment_bytes_max,
            "{path}"
        );
    }
}

#[test]
fn a_close_leaves_a_log_of_two_markers() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..40 {
        record(&db, i).unwrap();
    }
    db.close().unwrap();
    assert_eq!(log_files(&content(&disk)).len(), 1);
    let (header, marker) = (80, 40);
    assert_eq!(db.statistics().unwrap().log_bytes, header + 2 * marker);
}
