//! A disk over other files, also over real files.

use std::io;
use std::sync::Arc;

use super::{create, image, image_of, kinds, open, path, write};
use crate::fs::tests::by_name::FilesByName;
use crate::fs::{FileAccess, OpenMode, RealFiles};
use crate::testing::sim_disk::{DiskOperationKind as Kind, Fault, Image, Side, SimDisk, SimDiskOptions};
use crate::testing::temp_dir::TempDir;

fn over(inner: &SimDisk, root: &str) -> SimDisk {
    SimDisk::over(Arc::new(inner.clone()), path(root), SimDiskOptions::default()).unwrap()
}

#[test]
fn operations_also_change_the_backing_files_and_paths_in_images_begin_at_the_root() {
    let inner = SimDisk::from_image(&image_of("/base/db/f", b"old"));
    let disk = over(&inner, "/base");
    let file = open(&disk, "/base/db/f");
    write(&file, b"longer", 0);
    write(&create(&disk, "/base/db/f"), b"new", 0);
    file.sync().unwrap();
    disk.create_dir(path("/base/dir")).unwrap();
    create(&disk, "/base/dir/a");
    create(&disk, "/base/dir/b");
    disk.rename(path("/base/dir/a"), path("/base/dir/c")).unwrap();
    disk.remove(path("/base/dir/b")).unwrap();
    disk.sync_dir(path("/base/dir")).unwrap();
    drop(disk.lock(path("/base/lock")).unwrap());
    assert_eq!(
        Image::read_from(&inner, path("/base")).unwrap(),
        image(&disk, "all")
    );
    assert_eq!(image(&disk, "synced"), image_of("/db/f", b"new"));
    assert_eq!(image(&inner, "synced"), image_of("/base/db/f", b"new"));
    assert_eq!(kinds(&disk), kinds(&inner));
    assert_eq!(disk.list(path("/base/dir")).unwrap(), ["c"]);
}

#[test]
fn paths_outside_the_root_are_refused() {
    let disk = over(&SimDisk::from_image(&image_of("/base/f", b"")), "/base");
    let error = disk.open(path("/f"), OpenMode::Read).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(
        disk.remove(path("/base/../f")).unwrap_err().kind(),
        io::ErrorKind::InvalidInput
    );
}

#[test]
fn operations_with_faults_and_operations_on_a_failed_device_do_not_reach_the_backing_files() {
    let inner = SimDisk::from_image(&image_of("/base/f", b"old"));
    let disk = over(&inner, "/base");
    let file = open(&disk, "/base/f");
    disk.fail_next(Kind::Write, Fault::Short(1));
    assert_eq!(file.write_at(b"new", 0).unwrap(), 1);
    disk.fail_next(Kind::Sync, Fault::ErrorBefore(io::ErrorKind::Other));
    file.sync().unwrap_err();
    assert_eq!(inner.operations_len(), 1);
    disk.crash_at(2, Side::Before);
    file.sync().unwrap_err();
    file.read_at(&mut [0], 0).unwrap_err();
    assert_eq!(inner.operations_len(), 1);
    assert_eq!(image(&inner, "all"), image_of("/base/f", b"nld"));
}

#[test]
fn an_error_of_the_backing_files_is_returned_and_changes_nothing() {
    let inner = SimDisk::from_image(&image_of("/base/f", b"old"));
    let disk = over(&inner, "/base");
    let file = open(&disk, "/base/f");
    inner.fail_next(Kind::Write, Fault::ErrorBefore(io::ErrorKind::StorageFull));
    assert_eq!(
        file.write_at(b"new", 0).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    assert_eq!(disk.undurable(), []);
    assert_eq!(
        disk.recording().operations().next().unwrap().error,
        Some(io::ErrorKind::StorageFull)
    );
    inner.fail_next(Kind::Write, Fault::Short(2));
    assert_eq!(file.write_at(b"new", 0).unwrap(), 2);
    assert_eq!(image(&disk, "all"), image_of("/f", b"ned"));
}

#[test]
fn a_lock_that_another_process_holds_is_not_granted() {
    let inner = SimDisk::new();
    let disk = over(&inner, "/");
    let lock = inner.lock(path("/lock")).unwrap();
    assert!(disk.lock(path("/lock")).unwrap().is_none());
    drop(lock);
    let held = disk.lock(path("/lock")).unwrap();
    assert!(held.is_some());
    assert!(inner.lock(path("/lock")).unwrap().is_none());
    drop(held);
    assert!(inner.lock(path("/lock")).unwrap().is_some());
}

#[test]
fn the_check_of_a_lock_fails_if_the_backing_lock_is_lost() {
    let temp = TempDir::new("lock");
    let dir = temp.path();
    let files = Arc::new(FilesByName::WithoutDirLocks);
    let disk = SimDisk::over(files, dir, SimDiskOptions::default()).unwrap();
    let lock = disk.lock(&dir.join("LOCK")).unwrap().unwrap();
    lock.check().unwrap();
    RealFiles.remove(&dir.join("LOCK")).unwrap();
    lock.check().unwrap_err();
    drop(lock);
}

#[test]
fn a_disk_over_real_files_records_operations_and_can_fail() {
    let temp = TempDir::new("over");
    let dir = temp.path();
    let disk = SimDisk::over(Arc::new(RealFiles), dir, SimDiskOptions::default()).unwrap();
    let file = disk.open(&dir.join("f"), OpenMode::Create).unwrap();
    write(&file, b"event", 0);
    assert_eq!(disk.undurable().len(), 2);
    file.sync().unwrap();
    disk.sync_dir(dir).unwrap();
    assert_eq!(disk.undurable(), []);
    disk.crash_now();
    file.write_at(b"later", 0).unwrap_err();
    assert_eq!(
        Image::read_from(&RealFiles, dir).unwrap(),
        image_of("/f", b"event")
    );
}
