//! The failure of the device, the observer, and the recorded operations.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use super::{create, disk_calls, file_calls, image, image_of, kinds, open, path, write};
use crate::fs::{File, FileAccess, OpenMode};
use crate::testing::sim_disk::{DiskOperationKind as Kind, Side, SimDisk};

/// Writes and syncs an existing file: operation 0 is the write, operation 1 the sync.
fn write_and_sync(disk: &SimDisk) -> io::Result<()> {
    let file = disk.open(path("/f"), OpenMode::Write)?;
    file.write_at(b"new", 0)?;
    file.sync()
}

fn is_refusal(error: &io::Error) -> bool {
    error.to_string().starts_with("the device has failed")
}

fn disk() -> SimDisk {
    SimDisk::from_image(&image_of("/f", b"old"))
}

#[test]
fn the_device_refuses_the_call_at_its_failure_after_no_effect_or_the_full_effect() {
    for (ordinal, side, done, synced, all) in [
        (0, Side::Before, 0, b"old", b"old"),
        (0, Side::After, 1, b"old", b"new"),
        (1, Side::Before, 1, b"old", b"new"),
        (1, Side::After, 2, b"new", b"new"),
    ] {
        let disk = disk();
        disk.crash_at(ordinal, side);
        assert!(is_refusal(&write_and_sync(&disk).unwrap_err()));
        assert!(disk.has_device_failed());
        assert_eq!(disk.operations_len(), done, "{side} {ordinal}");
        assert_eq!(image(&disk, "synced"), image_of("/f", synced), "{side} {ordinal}");
        assert_eq!(image(&disk, "all"), image_of("/f", all), "{side} {ordinal}");
        // This was the first refused call of this thread.
        assert_eq!(disk.refused_calls().len(), 1, "{side} {ordinal}");
        disk.sync_dir(path("/")).unwrap_err();
        assert_eq!(disk.changes_after_refusal().len(), 1, "{side} {ordinal}");
    }
}

#[test]
fn every_call_after_the_failure_is_refused_and_changes_nothing() {
    let disk = disk();
    let file = open(&disk, "/f");
    write(&file, b"new", 0);
    disk.crash_now();
    let before = (image(&disk, "all"), image(&disk, "synced"));
    for result in file_calls(&*file).into_iter().chain(disk_calls(&disk)) {
        assert!(is_refusal(&result.unwrap_err()));
    }
    assert_eq!(before, (image(&disk, "all"), image(&disk, "synced")));
    assert_eq!(disk.refused_calls().len(), 12);
    assert_eq!(disk.operations_len(), 1);
}

#[test]
fn a_second_refused_change_of_a_thread_is_a_finding() {
    let disk = disk();
    let file = open(&disk, "/f");
    disk.crash_now();
    // Refused reads do not count, before and after a refused change.
    file.len().unwrap_err();
    file.write_at(b"x", 0).unwrap_err();
    file.len().unwrap_err();
    assert_eq!(disk.changes_after_refusal(), []);
    file.sync().unwrap_err();
    let findings = disk.changes_after_refusal();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].kind, Kind::Sync);
    assert_eq!(&*findings[0].path, path("/f"));
    assert_eq!(disk.refused_calls().len(), 4);
}

#[test]
fn the_first_refused_change_of_each_thread_is_not_a_finding() {
    let disk = disk();
    let file = open(&disk, "/f");
    disk.crash_now();
    file.sync().unwrap_err();
    let other: Arc<dyn File> = file.clone();
    let run = move || drop(other.sync().unwrap_err());
    std::thread::scope(|scope| drop(scope.spawn(run).join()));
    assert_eq!(disk.refused_calls().len(), 2);
    assert_eq!(disk.changes_after_refusal(), []);
}

#[test]
fn the_number_of_recorded_refused_calls_is_bounded() {
    let disk = disk();
    disk.crash_now();
    for _ in 0..1_500 {
        disk.sync_dir(path("/")).unwrap_err();
    }
    assert_eq!(disk.refused_calls().len(), 1_000);
}

#[test]
fn an_observer_receives_both_sides_of_every_call_and_can_panic() {
    let disk = disk();
    let observed = Arc::new(Mutex::new(Vec::new()));
    let in_observer = observed.clone();
    disk.observe(move |call| {
        let (kind, ordinal, side) = (call.kind, call.ordinal, call.side);
        in_observer.lock().unwrap().push((kind, ordinal, side));
        assert!(kind != Kind::Sync || side == Side::Before, "after the sync");
    });
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| write_and_sync(&disk)));
    assert_eq!(
        *outcome.unwrap_err().downcast::<&str>().unwrap(),
        "after the sync"
    );
    let (before, after) = (Side::Before, Side::After);
    let expected = [
        (Kind::Open, None, before),
        (Kind::Open, None, after),
        (Kind::Write, Some(0), before),
        (Kind::Write, Some(0), after),
        (Kind::Sync, Some(1), before),
        (Kind::Sync, Some(1), after),
    ];
    assert_eq!(*observed.lock().unwrap(), expected);
    // The sync was done, and the disk still works.
    assert_eq!(image(&disk, "synced"), image_of("/f", b"new"));
    assert_eq!(disk.operations_len(), 2);
    assert_eq!(disk.open_files(), []);
    disk.crash_now();
    disk.list(path("/")).unwrap_err();
    assert_eq!(observed.lock().unwrap().last(), Some(&(Kind::List, None, before)));
}

#[test]
fn a_lock_is_held_after_the_failure_until_it_is_dropped() {
    let disk = SimDisk::new();
    let lock = disk.lock(path("/lock")).unwrap();
    disk.crash_now();
    assert_eq!(disk.locks_held().len(), 1);
    drop(lock);
    assert_eq!(disk.locks_held().len(), 0);
    assert_eq!(disk.refused_calls().len(), 0);
}

#[test]
fn a_lock_is_not_held_if_the_device_fails_after_the_lock_operation() {
    let disk = SimDisk::new();
    disk.crash_at(0, Side::After);
    disk.lock(path("/lock")).unwrap_err();
    assert_eq!(disk.locks_held(), []);
    assert_eq!(image(&disk, "all"), image_of("/lock", b""));
}

#[test]
fn every_operation_is_recorded_with_its_ordinal() {
    let disk = SimDisk::new();
    disk.create_dir(path("/d")).unwrap();
    let file = create(&disk, "/d/f");
    write(&file, b"abc", 5);
    create(&disk, "/d/f");
    file.sync().unwrap();
    file.read_at(&mut [0; 4], 0).unwrap();
    disk.rename(path("/d/f"), path("/d/g")).unwrap();
    write(&file, b"x", 0);
    disk.remove(path("/d/f")).unwrap_err();
    disk.remove(path("/d/g")).unwrap();
    disk.sync_dir(path("/d")).unwrap();
    drop(disk.lock(path("/lock")).unwrap());
    let lines: Vec<_> = disk.recording().operations().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "0 create-dir /d",
            "1 create /d/f",
            "2 write /d/f at 5, 3 bytes",
            "3 create /d/f",
            "4 sync /d/f",
            "5 rename /d/f to /d/g",
            "6 write /d/g at 0, 1 bytes",
            "7 remove /d/f: entity not found",
            "8 remove /d/g",
            "9 sync-dir /d",
            "10 lock /lock",
        ]
    );
}

#[test]
fn a_disk_that_records_reads_gives_them_ordinals_and_can_fail_at_them() {
    let options = crate::testing::sim_disk::SimDiskOptions {
        records_reads: true,
        ..Default::default()
    };
    let disk = SimDisk::with_options(&image_of("/f", b"old"), options);
    let file = disk.open(path("/f"), OpenMode::Read).unwrap();
    file.len().unwrap();
    disk.list(path("/")).unwrap();
    disk.crash_at(3, Side::Before);
    assert!(is_refusal(&file.read_at(&mut [0], 0).unwrap_err()));
    assert_eq!(kinds(&disk), [Kind::Open, Kind::Len, Kind::List]);
}
