//! Faults on demand.

use std::io;

use super::{create, every_image, image, image_of, open, path, write};
use crate::fs::{File, FileAccess, OpenMode, write_all_at};
use crate::testing::sim_disk::{DiskOperationKind as Kind, Fault, SimDisk, SimDiskOptions};

fn disk() -> (SimDisk, std::sync::Arc<dyn File>) {
    let disk = SimDisk::from_image(&image_of("/f", b"old"));
    let file = open(&disk, "/f");
    (disk, file)
}

const FULL: io::ErrorKind = io::ErrorKind::StorageFull;

#[test]
fn a_write_does_before_its_fault_what_the_fault_says() {
    for (fault, result, content) in [
        (Fault::ErrorBefore(FULL), Err(FULL), b"old"),
        (Fault::ErrorAfter(FULL), Err(FULL), b"new"),
        (Fault::ErrorMidway(1, FULL), Err(FULL), b"nld"),
        (Fault::Short(2), Ok(2), b"ned"),
    ] {
        let (disk, file) = disk();
        disk.fail_operation(0, fault);
        let written = file.write_at(b"new", 0);
        if let Err(error) = &written {
            assert_eq!(error.to_string(), "injected fault in write");
        }
        assert_eq!(written.map_err(|error| error.kind()), result, "{fault:?}");
        assert_eq!(image(&disk, "all"), image_of("/f", content), "{fault:?}");
        // Only that one.
        assert_eq!(file.write_at(b"xyz", 0).unwrap(), 3);
        assert_eq!(disk.faults_fired(), [fault]);
        let recording = disk.recording();
        let errors: Vec<_> = recording.operations().map(|operation| operation.error).collect();
        assert_eq!(errors, [result.err(), None]);
    }
}

#[test]
fn a_creation_that_fails_after_it_was_done_leaves_the_file_and_no_handle() {
    let (disk, _file) = disk();
    disk.fail_next(Kind::Create, Fault::ErrorAfter(io::ErrorKind::Other));
    assert!(disk.open(path("/g"), OpenMode::Create).is_err());
    assert!(disk.open(path("/g"), OpenMode::Read).is_ok());
    assert_eq!(disk.open_files().len(), 1);
}

#[test]
fn a_lock_whose_call_failed_after_it_was_taken_is_not_held() {
    let (disk, _file) = disk();
    disk.fail_next(Kind::Lock, Fault::ErrorAfter(io::ErrorKind::Other));
    disk.lock(path("/lock")).unwrap_err();
    assert!(disk.lock(path("/lock")).unwrap().is_some());
}

#[test]
fn a_loop_completes_a_short_write() {
    let (disk, file) = disk();
    disk.fail_operation(0, Fault::Short(1));
    disk.fail_operation(1, Fault::ErrorBefore(io::ErrorKind::Interrupted));
    write_all_at(file.as_ref(), b"xyz", 0).unwrap();
    assert_eq!(image(&disk, "all"), image_of("/f", b"xyz"));
    assert_eq!(disk.faults_fired().len(), 2);
}

#[test]
fn a_short_read_returns_less_than_there_is() {
    let (disk, file) = disk();
    disk.fail_next(Kind::Read, Fault::Short(1));
    let mut buffer = [0; 3];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 1);
    assert_eq!(&buffer, b"o\0\0");
}

#[test]
fn faults_from_an_operation_on_last_until_they_are_cleared() {
    let (disk, file) = disk();
    disk.fail_from(1, Fault::ErrorBefore(FULL));
    write(&file, b"1", 0);
    file.write_at(b"2", 0).unwrap_err();
    file.sync().unwrap_err();
    assert!(file.len().is_ok(), "reads that are not recorded have no ordinal");
    disk.clear_faults();
    file.sync().unwrap();
}

#[test]
fn faults_by_kind_hit_that_kind_alone_and_reads_that_are_not_recorded_too() {
    let (disk, file) = disk();
    disk.fail_every(Kind::Sync, Fault::ErrorBefore(io::ErrorKind::Other));
    write(&file, b"1", 0);
    file.sync().unwrap_err();
    file.sync().unwrap_err();
    disk.fail_next(Kind::Open, Fault::ErrorBefore(io::ErrorKind::Other));
    disk.open(path("/f"), OpenMode::Read).unwrap_err();
    disk.open(path("/f"), OpenMode::Read).unwrap();
    assert_eq!(disk.faults_fired().len(), 3);
}

#[test]
fn a_fault_that_does_not_apply_to_an_operation_does_not_count_as_fired() {
    let (disk, file) = disk();
    disk.fail_operation(0, Fault::Short(1));
    file.sync().unwrap();
    assert_eq!(disk.faults_fired(), []);
}

#[test]
fn a_failed_sync_leaves_what_was_written_pending() {
    let (disk, file) = disk();
    write(&file, b"new", 0);
    disk.fail_next(Kind::Sync, Fault::ErrorBefore(io::ErrorKind::Other));
    file.sync().unwrap_err();
    assert_eq!(image(&disk, "synced"), image_of("/f", b"old"));
    file.sync().unwrap();
    assert_eq!(image(&disk, "synced"), image_of("/f", b"new"));
}

#[test]
fn a_sync_that_loses_what_was_written_is_not_made_good_by_a_later_one() {
    let (disk, file) = disk();
    write(&file, b"N", 0);
    disk.fail_next(Kind::Sync, Fault::SyncLoses(io::ErrorKind::Other));
    file.sync().unwrap_err();
    write(&file, b"W", 2);
    file.sync().unwrap();
    let mut buffer = [0; 3];
    file.read_at(&mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"NlW", "it is read back all the same");
    // A process crash does not show the loss; a power loss does.
    assert!(every_image(&disk).is_superset(&["/f=olW", "/f=NlW"].map(String::from).into()));
    assert_eq!(image(&disk, "all"), image_of("/f", b"NlW"));
    assert_eq!(image(&disk, "synced"), image_of("/f", b"olW"));
    assert_eq!(disk.undurable().len(), 1);
    assert!(disk.undurable()[0].lost);
    // Writing it again and syncing that does.
    write(&file, b"N", 0);
    file.sync().unwrap();
    assert_eq!(every_image(&disk), ["/f=NlW".to_owned()].into());
    assert_eq!(disk.undurable(), []);
}

#[test]
fn a_failed_sync_keeps_any_of_the_writes_and_a_later_one_keeps_its_own() {
    let (disk, file) = disk();
    write(&file, b"A", 0);
    write(&file, b"B", 1);
    disk.fail_next(Kind::Sync, Fault::SyncLoses(io::ErrorKind::Other));
    file.sync().unwrap_err();
    // A write over a doubtful one: the order of the two is kept.
    write(&file, b"CD", 1);
    file.sync().unwrap();
    assert!(every_image(&disk).is_superset(&["/f=oCD", "/f=ACD"].map(String::from).into()));
    let written: Vec<_> = disk.undurable().iter().map(|it| (it.ordinal, it.lost)).collect();
    assert_eq!(
        written,
        [(0, true)],
        "a later write covers the other doubtful one"
    );
    assert_eq!(image(&disk, "only:0"), image_of("/f", b"ACD"));
}

#[test]
fn a_write_after_a_failed_sync_is_there_without_the_writes_that_the_sync_lost() {
    let (disk, file) = disk();
    write(&file, b"N", 0);
    disk.fail_next(Kind::Sync, Fault::SyncLoses(io::ErrorKind::Other));
    file.sync().unwrap_err();
    write(&file, b"W", 2);
    assert_eq!(image(&disk, "only:2"), image_of("/f", b"olW"));
    assert_eq!(image(&disk, "only:0"), image_of("/f", b"Nld"));
    assert_eq!(image(&disk, "all"), image_of("/f", b"NlW"));
    assert_eq!(image(&disk, "synced"), image_of("/f", b"old"));
}

#[test]
fn a_full_disk_takes_what_there_is_room_for_and_then_nothing_until_there_is_more() {
    let (disk, file) = disk();
    disk.set_capacity_bytes(Some(5));
    assert_eq!(file.write_at(b"abcd", 3).unwrap(), 2);
    assert_eq!(file.write_at(b"cd", 5).unwrap_err().kind(), FULL);
    assert_eq!(file.write_at(b"XYZ", 0).unwrap(), 3, "overwriting needs no room");
    disk.set_capacity_bytes(Some(6));
    assert_eq!(file.write_at(b"cd", 5).unwrap(), 1);
    disk.set_capacity_bytes(Some(2));
    assert_eq!(file.write_at(b"d", 6).unwrap_err().kind(), FULL);
    disk.set_capacity_bytes(None);
    assert_eq!(file.write_at(b"d", 6).unwrap(), 1);
    assert_eq!(image(&disk, "all"), image_of("/f", b"XYZabcd"));
}

#[test]
fn a_removed_file_takes_its_room_until_it_is_closed() {
    let options = SimDiskOptions {
        capacity_bytes: Some(3),
        ..Default::default()
    };
    let disk = SimDisk::with_options(&image_of("/f", b"old"), options);
    let file = open(&disk, "/f");
    disk.remove(path("/f")).unwrap();
    let other = create(&disk, "/g");
    assert_eq!(other.write_at(b"g", 0).unwrap_err().kind(), FULL);
    drop(file);
    assert_eq!(other.write_at(b"g", 0).unwrap(), 1);
}

#[test]
fn a_disk_that_becomes_full_at_a_write_takes_no_longer_file_from_there_on() {
    let (disk, file) = disk();
    write(&file, b"new", 3);
    disk.fail_operation(1, Fault::DiskFull);
    assert_eq!(file.write_at(b"wXY", 5).unwrap(), 1, "overwriting needs no room");
    assert!(!disk.has_failed());
    assert_eq!(file.write_at(b"X", 6).unwrap_err().kind(), FULL);
    assert!(disk.has_failed());
    // An empty file needs no room; a file that becomes shorter frees some.
    let other = create(&disk, "/g");
    assert_eq!(other.write_at(b"g", 0).unwrap_err().kind(), FULL);
    create(&disk, "/f");
    assert_eq!(other.write_at(b"g", 0).unwrap(), 1);
    assert_eq!(disk.faults_fired(), [Fault::DiskFull]);
}

#[test]
fn only_operations_that_change_something_count_as_failed() {
    let (disk, file) = disk();
    disk.fail_next(Kind::Open, Fault::ErrorBefore(io::ErrorKind::Other));
    disk.open(path("/f"), OpenMode::Read).unwrap_err();
    disk.remove(path("/none")).unwrap_err();
    disk.fail_next(Kind::Write, Fault::Short(1));
    file.write_at(b"xy", 0).unwrap();
    assert!(!disk.has_failed());
    disk.fail_next(Kind::SyncDir, Fault::ErrorAfter(io::ErrorKind::Other));
    disk.sync_dir(path("/")).unwrap_err();
    assert!(disk.has_failed());
}
