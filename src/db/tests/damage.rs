//! Damaged logs: an open of a log with any truncation or flipped byte recovers a legal prefix, or refuses and
//! changes nothing.

use super::*;

const LEN: u64 = 36;

/// A database of several segments whose last events are not synced, and the state after each event.
fn sample() -> (Image, Vec<Export>) {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::OperatingSystem).unwrap();
    for i in 0..LEN {
        record(&db, i).unwrap();
    }
    drop(db);
    (content(&disk), (0..=LEN).map(state_after).collect())
}

/// Opens a damaged image. Returns the number of its events, or `None` if the open refuses it.
fn outcome(image: &Image, states: &[Export], what: &str) -> Option<usize> {
    let disk = SimDisk::from_image(image);
    match open(&disk, Durability::OperatingSystem) {
        Ok(db) => {
            let found = db.export().unwrap();
            let len = states.iter().position(|state| *state == found);
            let len = len.unwrap_or_else(|| panic!("{what}: no prefix has this state"));
            assert_eq!(db.last_sequence(), len as u64, "{what}");
            Some(len)
        }
        Err(error) => {
            assert!(
                matches!(
                    error,
                    Error::Corrupt { .. }
                        | Error::BadMagic { .. }
                        | Error::UnsupportedVersion { .. }
                        | Error::ForeignDatabase { .. }
                        | Error::SegmentMissing { .. }
                ),
                "{what}: {error}"
            );
            assert_only_locked(&disk, image, format_args!("{what}: {error}"));
            None
        }
    }
}

/// The number of events that the last segment promises as synced: all events of earlier segments.
fn promised_len(segments: &[String]) -> usize {
    let last = segments.last().unwrap();
    let name = last.rsplit('/').next().unwrap();
    name[..20].parse::<usize>().unwrap() - 1
}

#[test]
fn a_bad_frame_that_a_later_frame_promises_as_synced_is_corruption_with_file_offset_and_sequence() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..3 {
        record(&db, i).unwrap();
    }
    drop(db);
    let image = content(&disk);
    let segment = log_files(&image).pop().unwrap();
    let mut bytes = image.file(&segment).unwrap().to_vec();
    bytes[80 + 40] ^= 1;
    let mut damaged = image.clone();
    damaged.insert_file(&segment, bytes);
    let disk = SimDisk::from_image(&damaged);
    let error = open(&disk, Durability::EverySynced).unwrap_err();
    let Error::Corrupt {
        path,
        offset: 80,
        sequence: Some(1),
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(path.display().to_string(), segment);
    assert!(error.to_string().contains("offset 80, sequence 1"), "{error}");
}

#[test]
fn a_bad_frame_that_only_the_checkpoint_promises_as_synced_is_corruption() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..3 {
        record(&db, i).unwrap();
    }
    let log = content(&disk);
    db.checkpoint().unwrap();
    drop(db);
    // The log before the marker, so that only the checkpoint promises its last frame.
    let mut damaged = content(&disk);
    let segment = log_files(&log).pop().unwrap();
    let mut bytes = log.file(&segment).unwrap().to_vec();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    damaged.insert_file(&segment, bytes.as_slice());
    let whole = open(&SimDisk::from_image(&damaged), Durability::EverySynced).unwrap();
    assert_eq!(whole.export().unwrap(), state_after(3));
    bytes[end] ^= 1;
    damaged.insert_file(&segment, bytes);
    let disk = SimDisk::from_image(&damaged);
    let error = open(&disk, Durability::EverySynced).map(drop).unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { path, sequence: Some(3), what, .. }
            if path.display().to_string() == segment && what.contains("the checkpoint promises")),
        "{error}"
    );
}

#[test]
fn a_close_promises_all_frames_so_a_damaged_frame_is_never_dropped() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::OperatingSystem).unwrap();
    for i in 0..3 {
        record(&db, i).unwrap();
    }
    db.close().unwrap();
    drop(db);
    let image = content(&disk);
    let segment = log_files(&image).pop().unwrap();
    let bytes = image.file(&segment).unwrap().to_vec();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    // No frame before the close marker may be dropped. The marker is the last frame and has 40 bytes.
    for offset in 80..end - 40 {
        let mut flipped = bytes.clone();
        flipped[offset] ^= 0x10;
        let mut damaged = image.clone();
        damaged.insert_file(&segment, flipped);
        let result = open(&SimDisk::from_image(&damaged), Durability::OperatingSystem);
        assert!(
            matches!(result, Err(Error::Corrupt { .. })),
            "flipped at {offset}: {result:?}"
        );
    }
}

/// All 32 bytes that begin at a multiple of 8 in the files of a database. Headers of frames and records are among them.
fn possible_headers(image: &Image) -> Vec<Vec<u8>> {
    const LEN: usize = 32;
    let dirs = ["log", "store"].map(|dir| format!("{PATH}/{dir}"));
    let files = image
        .files()
        .filter(|(path, _)| dirs.iter().any(|dir| path.starts_with(dir)));
    files
        .flat_map(|(_, bytes)| {
            let starts = (64..bytes.len().saturating_sub(LEN)).step_by(8);
            starts.map(|at| bytes[at..at + LEN].to_vec()).collect::<Vec<_>>()
        })
        .filter(|bytes| bytes.iter().any(|byte| *byte != 0))
        .collect()
}

/// The image of an open database in which the last write to the last file in `dir` is torn in its header.
fn with_a_torn_write(disk: &SimDisk, dir: &str, before: &Image) -> Image {
    let dir = format!("{PATH}/{dir}");
    let mut image = content(disk);
    let last = image.files().map(|(path, _)| path.to_path_buf());
    let last = last.filter(|path| path.starts_with(&dir)).last().unwrap();
    let (mut bytes, whole) = (image.file(&last).unwrap().to_vec(), before.file(&last).unwrap());
    let mut pairs = bytes.iter().zip(whole.iter().chain(std::iter::repeat(&0)));
    let start = pairs.position(|(now, then)| now != then).unwrap() / 8 * 8;
    bytes[start..start + 4].fill(0xff);
    image.insert_file(&last, bytes);
    image
}

#[test]
fn application_bytes_that_equal_a_header_of_the_engine_are_not_read_as_a_header() {
    let made = |id: u128, len: u64| {
        let disk = SimDisk::new();
        let options = options(&disk, Durability::OperatingSystem)
            .database_id(id)
            .segment_bytes_max(1 << 16)
            .store_segment_bytes_max(1 << 16);
        let db = TidalDb::open(PATH, options).unwrap();
        for i in 0..len {
            record(&db, i).unwrap();
            db.create_collection(i.to_le_bytes()).unwrap();
            db.sync().unwrap();
        }
        (disk, db)
    };
    // The headers are from another database with more events, so that its frames and records promise more.
    let headers = possible_headers(&content(&made(8, 12).0));
    assert!(headers.len() > 200, "{}", headers.len());
    for header in headers {
        // The cohorts of the first event of a frame begin 4 bytes after a multiple of 8. The name of a collection
        // begins at a multiple of 8.
        let mut cohorts = [&[0; 4], header.as_slice(), header.as_slice()].concat();
        cohorts.resize(cohorts.len().next_multiple_of(8), 0);
        let (words, _) = cohorts.as_chunks();
        let cohorts: Vec<_> = words
            .iter()
            .map(|word| CohortId(u64::from_le_bytes(*word)))
            .collect();
        let event = SignalEvent::new(SignalId(0), EntityId(1), NOW_MS).with_cohorts(&cohorts);
        let (disk, db) = made(7, 2);
        let (before, expected) = (content(&disk), db.export().unwrap());
        db.record(&event).unwrap();
        let in_log = with_a_torn_write(&disk, "log", &before);
        db.create_collection(header.repeat(7)).unwrap();
        let in_store = with_a_torn_write(&disk, "store", &before);
        drop(db);
        for (torn, whole_log) in [(in_log, false), (in_store, true)] {
            let opened = open(&SimDisk::from_image(&torn), Durability::OperatingSystem).unwrap();
            let found = opened.export().unwrap();
            assert_eq!(found.collections, expected.collections);
            assert_eq!(found.signals == expected.signals, !whole_log);
        }
    }
}

/// The image `newer` with the files of the store from `older`.
fn with_store_of(newer: &Image, older: &Image) -> Image {
    let store = format!("{PATH}/store");
    let mut mixed = Image::new();
    for dir in newer.dirs() {
        mixed.insert_dir(dir);
    }
    for (path, bytes) in newer.files().filter(|(path, _)| !path.starts_with(&store)) {
        mixed.insert_file(path, bytes);
    }
    for (path, bytes) in older.files().filter(|(path, _)| path.starts_with(&store)) {
        mixed.insert_file(path, bytes);
    }
    mixed
}

#[test]
fn a_store_that_was_replaced_by_an_older_copy_is_refused() {
    for closed in [true, false] {
        let disk = SimDisk::new();
        let db = open(&disk, Durability::EverySynced).unwrap();
        for i in 0..5 {
            record(&db, i).unwrap();
        }
        let older = content(&disk);
        if closed {
            // A close begins a new log, without the frames that the checkpoint covers.
            db.close().unwrap();
        } else {
            db.checkpoint().unwrap();
            record(&db, 5).unwrap();
        }
        drop(db);
        let mixed = with_store_of(&content(&disk), &older);
        let error = open(&SimDisk::from_image(&mixed), Durability::EverySynced).unwrap_err();
        let behind = "storage is behind the checkpoint that this marker confirms";
        assert!(
            match &error {
                Error::Corrupt { what, .. } => !closed && *what == behind,
                Error::SegmentMissing { sequence, .. } => closed && *sequence == 1,
                _ => false,
            },
            "{error}"
        );
    }
}

#[test]
fn a_log_that_ends_before_the_promise_of_the_checkpoint_is_refused_with_this_cause() {
    // Regression: the error named a bad frame.
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..5 {
        record(&db, i).unwrap();
    }
    let older = content(&disk);
    for i in 5..10 {
        record(&db, i).unwrap();
    }
    let newer = {
        db.checkpoint().unwrap();
        content(&disk)
    };
    let mixed = with_store_of(&older, &newer);
    let error = open(&SimDisk::from_image(&mixed), Durability::EverySynced).unwrap_err();
    let ends = "the log ends before this sequence, but the checkpoint promises that it was synced";
    assert!(
        matches!(&error, Error::Corrupt { sequence: Some(sequence), what, .. } if *what == ends && *sequence > 5),
        "{error}"
    );
}

#[test]
fn a_damaged_checkpoint_whose_frames_were_trimmed_is_corruption_with_file_and_offset() {
    // The checkpoint is the last record, so it looks like a torn write, and segments of the log seem to be missing.
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..LEN {
        record(&db, i).unwrap();
    }
    let before = content(&disk);
    db.checkpoint().unwrap();
    drop(db);
    let image = content(&disk);
    assert!(
        !log_files(&image).contains(&log_files(&before)[0]),
        "nothing was trimmed"
    );
    let store_dir = format!("{PATH}/store");
    let last = image.files().map(|(path, _)| path.to_path_buf());
    let last = last.filter(|path| path.starts_with(&store_dir)).last().unwrap();
    let mut bytes = image.file(&last).unwrap().to_vec();
    let record_at = before.file(&last).unwrap().len();
    bytes[record_at] ^= 1;
    let mut damaged = image.clone();
    damaged.insert_file(&last, bytes);
    damaged.insert_file(format!("{PATH}/LOCK"), []);
    let disk = SimDisk::from_image(&damaged);
    let error = open(&disk, Durability::EverySynced).unwrap_err();
    let expected =
        "the last record is damaged, and the log no longer holds the frames that it may have covered";
    assert!(
        matches!(&error, Error::Corrupt { path, offset, sequence: Some(1), what }
            if *path == last && *offset == record_at as u64 && *what == expected),
        "{error:?}, record at {record_at}"
    );
    assert_eq!(content(&disk).hash(), damaged.hash(), "nothing was changed");
}

#[test]
fn a_read_error_is_not_reported_as_a_torn_tail_or_corruption() {
    use crate::testing::sim_disk::{DiskOperationKind, Fault, SimDiskOptions};
    let (image, _) = sample();
    let options = SimDiskOptions {
        records_reads: true,
        ..SimDiskOptions::default()
    };
    let disk = SimDisk::with_options(&image, options);
    disk.fail_every(
        DiskOperationKind::Read,
        Fault::ErrorBefore(std::io::ErrorKind::Other),
    );
    let error = open(&disk, Durability::OperatingSystem).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    disk.clear_faults();
    assert_eq!(
        open(&disk, Durability::OperatingSystem).unwrap().last_sequence(),
        LEN
    );
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn a_log_truncated_at_any_byte_recovers_a_legal_prefix_or_is_refused() {
        let (image, states) = sample();
        let segments = log_files(&image);
        assert!(segments.len() > 3);
        let promised = promised_len(&segments);
        let mut shortened = 0;
        for segment in &segments {
            let bytes = image.file(segment).unwrap().to_vec();
            let is_last = Some(segment) == segments.last();
            for len in 0..bytes.len() {
                let mut truncated = image.clone();
                truncated.insert_file(segment, &bytes[..len]);
                let what = format!("{segment} truncated at {len}");
                match outcome(&truncated, &states, &what) {
                    Some(found) => {
                        assert!(
                            found >= promised,
                            "{what}: {found} events, {promised} were promised"
                        );
                        shortened += usize::from(found < LEN as usize);
                    }
                    None => assert!(!is_last || len < 80, "{what}: a torn tail was refused"),
                }
            }
        }
        assert!(shortened > 100, "the last segment is truncated inside its frames");
    }

    #[test]
    fn a_log_with_any_flipped_byte_recovers_a_legal_prefix_or_is_refused() {
        let (image, states) = sample();
        let segments = log_files(&image);
        let promised = promised_len(&segments);
        let (mut refused, mut opened) = (0, 0);
        for segment in &segments {
            let bytes = image.file(segment).unwrap().to_vec();
            for offset in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[offset] ^= 1 << (offset % 8);
                let mut damaged = image.clone();
                damaged.insert_file(segment, flipped);
                let what = format!("{segment} flipped at {offset}");
                match outcome(&damaged, &states, &what) {
                    Some(found) => {
                        assert!(
                            found >= promised,
                            "{what}: {found} events, {promised} were promised"
                        );
                        opened += 1;
                    }
                    None => refused += 1,
                }
            }
        }
        assert!(
            refused > 1000 && opened > 300,
            "{refused} refused, {opened} opened"
        );
    }

    #[test]
    fn a_closed_database_with_any_flipped_bit_in_its_store_is_refused_or_complete() {
        // Regression: the open read the last record of the store as a torn write, and an acknowledged member of a
        // collection was lost.
        let disk = SimDisk::new();
        let db = open(&disk, Durability::OperatingSystem).unwrap();
        record(&db, 0).unwrap();
        db.checkpoint().unwrap();
        db.create_collection("saved").unwrap();
        for entity in 1..=3 {
            db.add_to_collection("saved", EntityId(entity)).unwrap();
        }
        db.close().unwrap();
        drop(db);
        let closed = content(&disk);
        open(&disk, Durability::OperatingSystem).unwrap().close().unwrap();
        for image in [closed, content(&disk)] {
            let whole = open(&SimDisk::from_image(&image), Durability::OperatingSystem).unwrap();
            let expected = whole.export().unwrap();
            assert_eq!(expected.collections.len(), 1);
            let store_dir = format!("{PATH}/store");
            let (mut refused, mut opened) = (0, 0);
            for (file, bytes) in image.files().filter(|(path, _)| path.starts_with(&store_dir)) {
                for bit in 0..bytes.len() * 8 {
                    let mut flipped = bytes.to_vec();
                    flipped[bit / 8] ^= 1 << (bit % 8);
                    let mut damaged = image.clone();
                    damaged.insert_file(file, flipped);
                    match open(&SimDisk::from_image(&damaged), Durability::OperatingSystem) {
                        Ok(db) => {
                            assert_eq!(db.export().unwrap(), expected, "bit {bit}");
                            opened += 1;
                        }
                        Err(_) => refused += 1,
                    }
                }
            }
            assert!(
                refused > 1000 && opened > 100,
                "{refused} refused, {opened} opened"
            );
        }
    }
}
