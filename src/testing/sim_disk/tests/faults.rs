//! Faults of single operations, and the full disk.

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
fn each_fault_of_a_write_has_its_effect_and_its_result() {
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
        // The next write has no fault.
        assert_eq!(file.write_at(b"xyz", 0).unwrap(), 3);
        assert_eq!(disk.faults_fired(), [fault]);
        let recording = disk.recording();
        let errors: Vec<_> = recording.operations().map(|operation| operation.error).collect();
        assert_eq!(errors, [result.err(), None]);
    }
}

#[test]
fn a_creation_with_an_error_after_the_effect_leaves_the_file_and_no_handle() {
    let (disk, _file) = disk();
    disk.fail_next(Kind::Create, Fault::ErrorAfter(io::ErrorKind::Other));
    assert!(disk.open(path("/g"), OpenMode::Create).is_err());
    assert!(disk.open(path("/g"), OpenMode::Read).is_ok());
    assert_eq!(disk.open_files().len(), 1);
}

#[test]
fn a_lock_is_not_held_if_its_call_returns_an_error_after_the_effect() {
    let (disk, _file) = disk();
    disk.fail_next(Kind::Lock, Fault::ErrorAfter(io::ErrorKind::Other));
    disk.lock(path("/lock")).unwrap_err();
    assert!(disk.lock(path("/lock")).unwrap().is_some());
}

#[test]
fn write_all_at_completes_a_short_write() {
    let (disk, file) = disk();
    disk.fail_operation(0, Fault::Short(1));
    disk.fail_operation(1, Fault::ErrorBefore(io::ErrorKind::Interrupted));
    write_all_at(file.as_ref(), b"xyz", 0).unwrap();
    assert_eq!(image(&disk, "all"), image_of("/f", b"xyz"));
    assert_eq!(disk.faults_fired().len(), 2);
}

#[test]
fn a_short_read_returns_fewer_bytes_than_requested() {
    let (disk, file) = disk();
    disk.fail_next(Kind::Read, Fault::Short(1));
    let mut buffer = [0; 3];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 1);
    assert_eq!(&buffer, b"o\0\0");
}

#[test]
fn faults_from_an_ordinal_on_happen_until_they_are_cleared() {
    let (disk, file) = disk();
    disk.fail_from(1, Fault::ErrorBefore(FULL));
    write(&file, b"1", 0);
    file.write_at(b"2", 0).unwrap_err();
    file.sync().unwrap_err();
    assert!(file.len().is_ok(), "unrecorded calls have no ordinal");
    disk.clear_faults();
    file.sync().unwrap();
}

#[test]
fn faults_by_kind_happen_only_at_operations_of_the_kind_also_if_these_are_not_recorded() {
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
fn a_fault_that_does_not_apply_to_the_operation_is_not_listed_as_fired() {
    let (disk, file) = disk();
    disk.fail_operation(0, Fault::Short(1));
    file.sync().unwrap();
    assert_eq!(disk.faults_fired(), []);
}

#[test]
fn after_a_sync_that_failed_without_effect_a_later_sync_makes_the_write_durable() {
    let (disk, file) = disk();
    write(&file, b"new", 0);
    disk.fail_next(Kind::Sync, Fault::ErrorBefore(io::ErrorKind::Other));
    file.sync().unwrap_err();
    assert_eq!(image(&disk, "synced"), image_of("/f", b"old"));
    file.sync().unwrap();
    assert_eq!(image(&disk, "synced"), image_of("/f", b"new"));
}

#[test]
fn a_later_sync_does_not_make_a_lost_write_durable() {
    let (disk, file) = disk();
    write(&file, b"N", 0);
    disk.fail_next(Kind::Sync, Fault::SyncLoses(io::ErrorKind::Other));
    file.sync().unwrap_err();
    write(&file, b"W", 2);
    file.sync().unwrap();
    let mut buffer = [0; 3];
    file.read_at(&mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"NlW", "reads still return the lost write");
    // A process crash does not show the loss; a power loss does.
    assert!(every_image(&disk).is_superset(&["/f=olW", "/f=NlW"].map(String::from).into()));
    assert_eq!(image(&disk, "all"), image_of("/f", b"NlW"));
    assert_eq!(image(&disk, "synced"), image_of("/f", b"olW"));
    assert_eq!(disk.undurable().len(), 1);
    assert!(disk.undurable()[0].sync_failed);
    // A second write of the same bytes with a sync makes them durable.
    write(&file, b"N", 0);
    file.sync().unwrap();
    assert_eq!(every_image(&disk), ["/f=NlW".to_owned()].into());
    assert_eq!(disk.undurable(), []);
}

#[test]
fn a_failed_sync_leaves_any_subset_of_its_writes_and_the_next_sync_covers_only_later_writes() {
    let (disk, file) = disk();
    write(&file, b"A", 0);
    write(&file, b"B", 1);
    disk.fail_next(Kind::Sync, Fault::SyncLoses(io::ErrorKind::Other));
    file.sync().unwrap_err();
    // A write over a possibly lost write. Their order stays.
    write(&file, b"CD", 1);
    file.sync().unwrap();
    assert!(every_image(&disk).is_superset(&["/f=oCD", "/f=ACD"].map(String::from).into()));
    let written: Vec<_> = disk
        .undurable()
        .iter()
        .map(|it| (it.ordinal, it.sync_failed))
        .collect();
    assert_eq!(
        written,
        [(0, true)],
        "a later write covers the other possibly lost write"
    );
    assert_eq!(image(&disk, "only:0"), image_of("/f", b"ACD"));
}

#[test]
fn a_write_after_a_failed_sync_can_be_present_without_the_writes_that_the_sync_lost() {
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
fn a_full_disk_writes_the_bytes_for_which_it_has_space_and_then_fails_until_it_has_more() {
    let (disk, file) = disk();
    disk.set_capacity_bytes(Some(5));
    assert_eq!(file.write_at(b"abcd", 3).unwrap(), 2);
    assert_eq!(file.write_at(b"cd", 5).unwrap_err().kind(), FULL);
    assert_eq!(file.write_at(b"XYZ", 0).unwrap(), 3, "overwriting needs no space");
    disk.set_capacity_bytes(Some(6));
    assert_eq!(file.write_at(b"cd", 5).unwrap(), 1);
    disk.set_capacity_bytes(Some(2));
    assert_eq!(file.write_at(b"d", 6).unwrap_err().kind(), FULL);
    disk.set_capacity_bytes(None);
    assert_eq!(file.write_at(b"d", 6).unwrap(), 1);
    assert_eq!(image(&disk, "all"), image_of("/f", b"XYZabcd"));
}

#[test]
fn a_removed_file_takes_space_until_it_is_closed() {
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
fn after_the_fault_of_a_full_disk_the_files_cannot_grow() {
    let (disk, file) = disk();
    write(&file, b"new", 3);
    disk.fail_operation(1, Fault::DiskFull);
    assert_eq!(file.write_at(b"wXY", 5).unwrap(), 1, "overwriting needs no space");
    assert!(!disk.has_any_failure());
    assert_eq!(file.write_at(b"X", 6).unwrap_err().kind(), FULL);
    assert!(disk.has_any_failure());
    // An empty file needs no space. A truncated file frees space.
    let other = create(&disk, "/g");
    assert_eq!(other.write_at(b"g", 0).unwrap_err().kind(), FULL);
    create(&disk, "/f");
    assert_eq!(other.write_at(b"g", 0).unwrap(), 1);
    assert_eq!(disk.faults_fired(), [Fault::DiskFull]);
}

#[test]
fn only_operations_that_change_the_disk_count_as_failed() {
    let (disk, file) = disk();
    disk.fail_next(Kind::Open, Fault::ErrorBefore(io::ErrorKind::Other));
    disk.open(path("/f"), OpenMode::Read).unwrap_err();
    disk.remove(path("/none")).unwrap_err();
    disk.fail_next(Kind::Write, Fault::Short(1));
    file.write_at(b"xy", 0).unwrap();
    assert!(!disk.has_any_failure());
    disk.fail_next(Kind::SyncDir, Fault::ErrorAfter(io::ErrorKind::Other));
    disk.sync_dir(path("/")).unwrap_err();
    assert!(disk.has_any_failure());
}
