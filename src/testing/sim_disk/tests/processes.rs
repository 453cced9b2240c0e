//! The end of the process that uses a disk, by a kill or a power loss, and the start of the next process.

use std::io;

use super::{
    DiskOperationKind as Kind, Image, create, disk_calls, disk_with_sectors, file_calls, image, image_of,
    open, path, write,
};
use crate::fs::{FileAccess, OpenMode};
use crate::testing::sim_disk::{Fault, ImageChoice, Side, SimDisk, UndurableKind};

/// A disk with a synced file and an unsynced write to it.
fn written() -> SimDisk {
    let disk = SimDisk::from_image(&image_of("/f", b"old"));
    write(&open(&disk, "/f"), b"new", 0);
    disk
}

fn read(disk: &SimDisk) -> Vec<u8> {
    crate::fs::read_whole(disk.open(path("/f"), OpenMode::Read).unwrap().as_ref()).unwrap()
}

#[test]
fn calls_of_an_ended_process_are_refused_and_its_locks_are_released() {
    let ends: [fn(&SimDisk) -> SimDisk; 2] =
        [SimDisk::kill, |disk| disk.lose_power(&ImageChoice::All).unwrap()];
    for end in ends {
        let disk = written();
        let (file, clone) = (open(&disk, "/f"), disk.clone());
        let lock = disk.lock(path("/lock")).unwrap().unwrap();
        assert_eq!((disk.open_files().len(), disk.locks_held().len()), (1, 1));
        let next = end(&disk);
        assert_eq!((disk.open_files().len(), disk.locks_held().len()), (0, 0));
        let before = (next.operations_len(), image(&next, "all"));
        let results = [file_calls(&*file), disk_calls(&disk), disk_calls(&clone)];
        for result in results.into_iter().flatten() {
            let error = result.unwrap_err().to_string();
            assert_eq!(error, "the process of this disk handle has ended");
        }
        assert_eq!(before, (next.operations_len(), image(&next, "all")));
        // The next process takes the lock, and still holds it after the old handles are dropped.
        let held = next.lock(path("/lock")).unwrap().expect("the lock is not held");
        let opened = open(&next, "/f");
        drop((file, lock));
        assert_eq!((next.open_files().len(), next.locks_held().len()), (1, 1));
        assert!(next.lock(path("/lock")).unwrap().is_none());
        drop((held, opened));
        assert_eq!((next.open_files().len(), next.locks_held().len()), (0, 0));
    }
}

#[test]
fn after_a_kill_the_disk_has_the_written_bytes_and_after_a_power_loss_the_bytes_of_the_image() {
    let disk = written();
    let killed = disk.kill();
    assert_eq!(read(&killed), b"new");
    // A later power loss can still lose the write. The kill is not a recorded operation.
    assert_eq!(killed.undurable().len(), 1);
    assert_eq!(image(&killed, "synced"), image_of("/f", b"old"));
    assert_eq!(killed.operations_len(), 1);
    for (choice, content) in [("synced", b"old"), ("all", b"new")] {
        let disk = written();
        let next = disk.lose_power(&choice.parse().unwrap()).unwrap();
        assert_eq!(read(&next), content, "{choice}");
        assert_eq!(next.undurable(), [], "{choice}");
        assert_eq!(image(&next, "synced"), image_of("/f", content), "{choice}");
        // A write after the power loss is undurable until a sync.
        write(&open(&next, "/f"), b"later", 0);
        assert_eq!(next.undurable()[0].kind, UndurableKind::Write);
        assert_eq!(image(&next, "synced"), image_of("/f", content), "{choice}");
        // Old and new handles show the same recording.
        assert_eq!(disk.operations_len(), next.operations_len());
    }
}

#[test]
fn a_recording_with_a_power_loss_has_the_images_of_every_position() {
    let disk = disk_with_sectors(4, &Image::new());
    let mut states = Vec::new();
    let add_state = |disk: &SimDisk, states: &mut Vec<_>| {
        states.push((image(disk, "all"), image(disk, "synced")));
    };
    add_state(&disk, &mut states);
    let file = create(&disk, "/f");
    add_state(&disk, &mut states);
    write(&file, b"0123456789", 0);
    add_state(&disk, &mut states);
    disk.sync_dir(path("/")).unwrap();
    add_state(&disk, &mut states);
    let disk = disk.lose_power(&"drop:1".parse().unwrap()).unwrap();
    add_state(&disk, &mut states);
    write(&open(&disk, "/f"), b"abc", 0);
    add_state(&disk, &mut states);
    let recording = disk.recording();
    let kinds: Vec<_> = recording.operations().map(|operation| operation.kind).collect();
    assert_eq!(
        kinds,
        [
            Kind::Create,
            Kind::Write,
            Kind::SyncDir,
            Kind::PowerLoss,
            Kind::Write
        ]
    );
    let mut images = recording.images();
    // The builder moves forward and back.
    for position in [0, 1, 2, 3, 4, 5, 4, 3, 1, 5] {
        images.seek(position, Side::Before).unwrap();
        let found = (
            images.image(&ImageChoice::All),
            images.image(&ImageChoice::Synced),
        );
        assert!(found == states[position as usize], "at {position}");
    }
    assert_eq!(image_of("/f", b""), states[4].0);
}

#[test]
fn the_device_can_fail_at_a_power_loss_and_a_disk_over_other_files_refuses_a_power_loss() {
    for (side, content) in [(Side::Before, b"new"), (Side::After, b"old")] {
        let disk = written();
        disk.crash_at(1, side);
        disk.lose_power(&ImageChoice::Synced).unwrap_err();
        assert!(disk.has_device_failed());
        assert_eq!(image(&disk, "all"), image_of("/f", content), "{side}");
        disk.list(path("/")).unwrap_err();
    }
    let disk = written();
    disk.fail_operation(1, Fault::ErrorBefore(io::ErrorKind::Other));
    disk.lose_power(&ImageChoice::Synced).unwrap_err();
    assert_eq!(image(&disk, "all"), image_of("/f", b"new"));
    let over = SimDisk::over(
        std::sync::Arc::new(SimDisk::from_image(&image_of("/f", b"old"))),
        path("/"),
        super::SimDiskOptions::default(),
    )
    .unwrap();
    let error = over.lose_power(&ImageChoice::Synced).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert_eq!((over.operations_len(), read(&over)), (0, b"old".to_vec()));
    assert_eq!(read(&over.kill()), b"old");
}
