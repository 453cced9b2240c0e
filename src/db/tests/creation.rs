//! Creating a database: a crash at any moment of it leaves one that opens, and what is acknowledged then stays.

use super::*;
use crate::testing::sim_disk::{DiskModel, Side};

#[test]
fn a_crash_at_any_operation_of_the_first_open_leaves_a_database_that_opens_and_keeps_what_follows() {
    let disk = SimDisk::new();
    drop(open(&disk, Durability::EverySynced).unwrap());
    let recording = disk.recording();
    let mut images = recording.images();
    let mut recovered = 0;
    for ordinal in 0..recording.len() {
        images.seek(ordinal, Side::After).unwrap();
        for choice in images.choices(DiskModel::Subset, 200, 1).choices {
            let copy = SimDisk::from_image(&images.image(&choice));
            let what = format!("after operation {ordinal}: {choice}");
            let db = open(&copy, Durability::EverySynced).unwrap_or_else(|error| panic!("{what}: {error}"));
            record(&db, 0).unwrap();
            drop(db);
            let copy = crashed(&copy, &ImageChoice::Synced);
            let db = open(&copy, Durability::EverySynced).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(db.export().unwrap(), state_after(1), "{what}");
            recovered += 1;
        }
    }
    assert!(recovered > 100, "{recovered} images");
}

#[test]
fn a_database_that_a_process_crash_left_half_made_is_made_durable_by_the_next_open() {
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
        // The next process finds what was written, synced or not.
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
