//! A failed sync that loses writes, although the file system still returns them to reads. A reopening on the same
//! machine and then a power loss lose no acknowledged event.

use std::io::ErrorKind;

use super::*;
use crate::testing::sim_disk::{DiskOperationKind, Fault};

#[test]
fn the_next_open_syncs_the_frames_that_a_failed_sync_lost() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..3 {
        record(&db, i).unwrap();
    }
    disk.fail_next(DiskOperationKind::Sync, Fault::SyncLoses(ErrorKind::Other));
    record(&db, 3).unwrap_err();
    drop(db);
    // The same machine continues to run: reads still return the frame.
    let db = open(&disk, Durability::EverySynced).unwrap();
    let len = db.last_sequence();
    record(&db, len).unwrap();
    drop(db);
    let db = open(&crashed(&disk, &ImageChoice::Synced), Durability::EverySynced).unwrap();
    assert_eq!(db.export().unwrap(), state_after(len + 1));
}

#[test]
fn the_next_open_syncs_a_checkpoint_that_a_failed_flush_lost_before_it_trims() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..30 {
        record(&db, i).unwrap();
    }
    disk.fail_next(DiskOperationKind::Sync, Fault::SyncLoses(ErrorKind::Other));
    db.checkpoint().unwrap_err();
    drop(db);
    let db = open(&disk, Durability::EverySynced).unwrap();
    assert_eq!(db.export().unwrap(), state_after(30));
    drop(db);
    let db = open(&crashed(&disk, &ImageChoice::Synced), Durability::EverySynced).unwrap();
    assert_eq!(db.export().unwrap(), state_after(30));
}
