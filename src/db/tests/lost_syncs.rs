//! A failed sync after which the file system reads back what it has lost: reopening on the same machine, then losing
//! power, loses nothing acknowledged.

use std::io::ErrorKind;

use super::*;
use crate::testing::sim_disk::{DiskOperationKind, Fault};

#[test]
fn what_a_failed_sync_lost_is_not_promised_as_synced_by_the_next_open() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..3 {
        record(&db, i).unwrap();
    }
    disk.fail_next(DiskOperationKind::Sync, Fault::SyncLoses(ErrorKind::Other));
    record(&db, 3).unwrap_err();
    drop(db);
    // The same machine keeps running: the frame is still read back.
    let db = open(&disk, Durability::EverySynced).unwrap();
    let len = db.last_sequence();
    record(&db, len).unwrap();
    drop(db);
    let db = open(&crashed(&disk, &ImageChoice::Synced), Durability::EverySynced).unwrap();
    assert_eq!(db.export().unwrap(), state_after(len + 1));
}

#[test]
fn a_checkpoint_whose_flush_lost_it_trims_nothing_at_the_next_open() {
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
