//! The creation and the reopening of a database: a crash at any operation leaves a database that opens with all
//! acknowledged calls.

use super::*;
use crate::testing::sim_disk::{DiskModel, Side};

#[test]
fn a_crash_at_any_operation_of_the_first_open_leaves_a_database_that_opens_and_records() {
    let mut recovered = 0;
    for durability in POLICIES {
        let disk = SimDisk::new();
        drop(open(&disk, durability).unwrap());
        let recording = disk.recording();
        let mut images = recording.images();
        for ordinal in 0..recording.len() {
            images.seek(ordinal, Side::After).unwrap();
            for choice in images.choices(DiskModel::WEAKEST, 200, 1).choices {
                let copy = SimDisk::from_image(&images.image(&choice));
                let context = format!("{durability:?}, after operation {ordinal}: {choice}");
                let db = open(&copy, durability).unwrap_or_else(|error| panic!("{context}: {error}"));
                record(&db, 0).unwrap();
                db.sync().unwrap();
                drop(db);
                let copy = crashed(&copy, &ImageChoice::Synced);
                let db = open(&copy, durability).unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(db.export().unwrap(), state_after(1), "{context}");
                recovered += 1;
            }
        }
    }
    assert!(recovered > 250, "{recovered} images");
}

#[test]
fn the_next_open_makes_a_partly_created_database_durable() {
    let disk = SimDisk::new();
    drop(open(&disk, Durability::EverySynced).unwrap());
    let operations = disk.operations_len();
    for ordinal in 0..operations {
        let disk = SimDisk::new();
        disk.fail_from(
            ordinal,
            crate::testing::sim_disk::Fault::ErrorBefore(std::io::ErrorKind::Other),
        );
        assert!(
            open(&disk, Durability::EverySynced).is_err(),
            "operation {ordinal} failed"
        );
        // The next process finds all writes, synced or not.
        disk.clear_faults();
        let db = open(&disk, Durability::EverySynced).unwrap();
        record(&db, 0).unwrap();
        let reopened = open(&crashed(&disk, &ImageChoice::Synced), Durability::EverySynced);
        let reopened =
            reopened.unwrap_or_else(|error| panic!("after a failure of operation {ordinal}: {error}"));
        assert_eq!(
            reopened.export().unwrap(),
            state_after(1),
            "after a failure of operation {ordinal}"
        );
    }
}

#[test]
fn a_crash_at_any_operation_of_a_reopening_leaves_a_state_of_acknowledged_events() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..12 {
        record(&db, i).unwrap();
        if i == 6 {
            db.checkpoint().unwrap();
        }
    }
    // One more event that is written and not synced.
    disk.fail_next(
        crate::testing::sim_disk::DiskOperationKind::Sync,
        crate::testing::sim_disk::Fault::ErrorBefore(std::io::ErrorKind::Other),
    );
    record(&db, 12).unwrap_err();
    drop(db);
    let closed = disk.operations_len();
    drop(open(&disk, Durability::EverySynced).unwrap());
    let recording = disk.recording();
    let mut images = recording.images();
    let (mut recovered, mut lens) = (0, [0, 0]);
    for ordinal in closed..recording.len() {
        images.seek(ordinal, Side::After).unwrap();
        for choice in images.choices(DiskModel::WEAKEST, 200, 1).choices {
            let copy = SimDisk::from_image(&images.image(&choice));
            let context = format!("after operation {ordinal}: {choice}");
            let db =
                open(&copy, Durability::EverySynced).unwrap_or_else(|error| panic!("{context}: {error}"));
            let len = db.recovery_report().last_sequence;
            // The marker of the checkpoint has a sequence number too.
            let events = len - 1;
            assert!((12..=13).contains(&events), "{context}: {events} events");
            lens[events as usize - 12] += 1;
            assert_eq!(db.export().unwrap(), state_after(events), "{context}");
            recovered += 1;
        }
    }
    assert!(
        recovered > 30 && !lens.contains(&0),
        "{recovered} images, {lens:?}"
    );
}
