//! Truncations and flipped bits at every offset of every file, and files that are missing, foreign, or removed and
//! restored.

use std::path::Path;

use super::super::format::{FILE_HEADER_LEN, FileHeader};
use super::{
    DIR, DiskContent, SEGMENT_BYTES, StorePairs, access, content_of, disk_of, files, first_cause, log_files,
    new_disk, open, pairs, path, sizes, validate, without_leftovers,
};
use crate::Error;
use crate::storage::{StorageEngine, WriteBatch};

/// The offset of the first record of a file.
const OFFSET: u64 = FILE_HEADER_LEN as u64;

fn header_of(content: &DiskContent, number: u64) -> FileHeader {
    FileHeader::decode(&content[&path(number)], &path(number)).unwrap()
}

/// The number of the store's files that no compaction wrote.
fn record_files_len(content: &DiskContent) -> usize {
    let numbers = log_files(content).into_iter();
    numbers
        .filter(|&number| header_of(content, number).compaction.is_none())
        .count()
}

/// The last record that a compaction relied on.
fn last_relied(content: &DiskContent) -> u64 {
    let headers = files(content).filter_map(|(path, bytes)| FileHeader::decode(bytes, path).ok());
    let relied = headers.filter_map(|header| Some(header.compaction?.relied_sequence));
    relied.max().unwrap_or_default()
}

/// A small store of several files.
struct StoreSample {
    content: DiskContent,
    /// The states after 0, 1, 2 ... batches.
    states: Vec<StorePairs>,
    /// The number of batches that remain promised after damage of any one record of the last file.
    promised: usize,
    /// The number of batches in the files before the last one.
    sealed: usize,
    /// The numbers of the files, in the order of their places.
    files: Vec<u64>,
    /// The number of the last file.
    last: u64,
}

impl StoreSample {
    fn new() -> Self {
        let disk = new_disk();
        let store = open(&disk).unwrap();
        let (mut states, mut promised, mut sealed, mut last) = (vec![StorePairs::new()], 0, 0, 1);
        for number in 0..200_u8 {
            let mut batch = WriteBatch::new();
            if number < 30 {
                batch.put([number % 9], vec![number; 8]);
                batch.delete([b'x', number.wrapping_sub(16)]);
            }
            // After 30 rounds little becomes garbage, so that no compaction replaces the last files of records.
            batch.put([b'x', number], vec![number; if number < 30 { 30 } else { 300 }]);
            store.write_batch(batch).unwrap();
            states.push(pairs(&store));
            let content = content_of(&disk);
            last = *log_files(&content).last().unwrap();
            let first_sequence = header_of(&content, last).before.sequence;
            let next_sequence = store.with_log(|log| Ok(log.last_sequence())).unwrap() + 1;
            // Some of these records may have no entries, because a compaction appended them.
            let batches_in_tail = (next_sequence - first_sequence) as usize;
            sealed = states.len() - 1 - batches_in_tail;
            if batches_in_tail == 1 {
                store.flush().unwrap();
                promised = states.len() - 1;
            }
            let has_promise = sealed < promised && promised + 1 < states.len();
            // At least one sealed file of records, in addition to the tail.
            let has_records = record_files_len(&content) > 1;
            if number >= 30 && has_promise && has_records && last_relied(&content) + 1 < next_sequence {
                break;
            }
        }
        let content = without_leftovers(&content_of(&disk));
        let files = log_files(&content);
        println!("files {files:?}, {sealed} batches sealed, {promised} promised");
        assert!(!files.is_sorted(), "nothing was compacted");
        assert!(files.len() >= 3, "too few files");
        assert!(record_files_len(&content) > 1, "every sealed file is compacted");
        assert!(sealed < promised && promised + 1 < states.len());
        Self {
            content,
            states,
            promised,
            sealed,
            files,
            last,
        }
    }

    /// Opens `content`. A refused open must not change it. Otherwise the store must have the state after at least
    /// `least` batches, later opens must find no torn tail, and further writes must succeed. Returns the error of a
    /// refused open.
    fn check(&self, content: &DiskContent, least: usize, at: &str) -> Result<(), Error> {
        let disk = disk_of(content);
        let store = match open(&disk) {
            Ok(store) => store,
            Err(error) => {
                let is_named = matches!(
                    error,
                    Error::Corrupt { .. }
                        | Error::BadMagic { .. }
                        | Error::UnsupportedVersion { .. }
                        | Error::SegmentMissing { .. }
                );
                assert!(is_named, "{at}: {error}");
                assert!(content_of(&disk) == *content, "{at}: refused and changed");
                return Err(error);
            }
        };
        validate(&store, &disk, SEGMENT_BYTES);
        let found = pairs(&store);
        let count = self.states.iter().position(|state| *state == found);
        assert!(
            count.is_some_and(|count| count >= least),
            "{at}: {count:?} batches: {found:?}"
        );
        drop(store);
        // After an open that compacts, the next open appends a record.
        let again = open(&disk).unwrap();
        assert_eq!(again.recovery().torn_tail, None, "{at}");
        drop(again);
        let after = content_of(&disk);
        let again = open(&disk).unwrap();
        assert_eq!(again.recovery().torn_tail, None, "{at}");
        assert_eq!(sizes(&content_of(&disk)), sizes(&after), "{at}");
        assert_eq!(pairs(&again), found, "{at}");
        again.put(b"more", b"").unwrap();
        drop(again);
        assert_eq!(pairs(&open(&disk).unwrap()).len(), found.len() + 1, "{at}");
        Ok(())
    }
}

#[test]
fn a_store_with_a_file_truncated_at_any_byte_opens_with_the_first_batches_or_is_refused() {
    let sample = StoreSample::new();
    let mut opened_len = 0;
    for &number in &sample.files {
        for len in 0..sample.content[&path(number)].len() {
            let mut content = sample.content.clone();
            content.get_mut(&path(number)).unwrap().truncate(len);
            let opened = sample.check(
                &content,
                sample.sealed,
                &format!("file {number} truncated at {len}"),
            );
            let is_past_header = number == sample.last && len >= FILE_HEADER_LEN;
            assert!(
                opened.is_err() || is_past_header,
                "file {number} truncated at {len}"
            );
            opened_len += usize::from(opened.is_ok());
        }
    }
    assert!(
        opened_len > 0,
        "a store with a truncated last record is refused too"
    );
}

#[test]
fn garbage_and_zeros_after_the_end_of_the_last_file_are_truncated() {
    let sample = StoreSample::new();
    let all = sample.states.len() - 1;
    let opened = |content: &DiskContent| {
        let disk = disk_of(content);
        drop(open(&disk).unwrap());
        content_of(&disk)
    };
    let with_promise = opened(&sample.content);
    for tail in [vec![0; 1], vec![0; 4096], vec![0xff; 7], vec![0xa5; 1000]] {
        let mut content = sample.content.clone();
        content
            .get_mut(&path(sample.last))
            .unwrap()
            .extend_from_slice(&tail);
        let disk = disk_of(&content);
        let store = open(&disk).unwrap();
        assert_eq!(
            store.recovery().torn_tail.as_ref().unwrap().cut_bytes,
            tail.len() as u64
        );
        assert!(content_of(&disk) == with_promise);
        assert_eq!(pairs(&store), sample.states[all]);
        // Only the last file can have a torn tail.
        for &number in sample.files.iter().filter(|&&number| number != sample.last) {
            let mut content = sample.content.clone();
            content.get_mut(&path(number)).unwrap().extend_from_slice(&tail);
            let at = format!("garbage in file {number}");
            sample.check(&content, all, &at).unwrap_err();
        }
    }
}

#[test]
fn a_corruption_error_has_the_file_the_offset_and_the_sequence_number() {
    let sample = StoreSample::new();
    let mut content = sample.content.clone();
    content.get_mut(&path(sample.last)).unwrap()[FILE_HEADER_LEN] ^= 1;
    match open(&disk_of(&content)).unwrap_err() {
        Error::Corrupt {
            path: found,
            offset: OFFSET,
            sequence: Some(sequence),
            ..
        } => {
            assert_eq!(found, path(sample.last));
            let header = &sample.content[&found];
            assert_eq!(sequence.to_le_bytes(), header[52..60]);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_damaged_value_of_an_open_store_fails_only_its_reads_and_the_compaction_of_its_file() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    store.put(b"bad", &[1; 30]).unwrap();
    store.put(b"good", &[2; 30]).unwrap();
    let value_offset = content_of(&disk)[&path(1)]
        .windows(30)
        .position(|bytes| bytes == [1; 30])
        .unwrap();
    let file = access(&disk).open(&path(1), crate::fs::OpenMode::Write).unwrap();
    file.write_at(&[9], value_offset as u64).unwrap();
    let error = store.get(b"bad").unwrap_err();
    let entry_offset = value_offset as u64 - 9;
    assert!(
        matches!(&error, Error::Corrupt { path: found, offset, .. } if *found == path(1) && *offset == entry_offset)
    );
    assert_eq!(store.get(b"good").unwrap().as_deref(), Some([2; 30].as_slice()));
    assert_eq!(store.scan_prefix(b"").unwrap().filter(Result::is_err).count(), 1);
    // The compaction of the file must fail, because it cannot copy the value.
    let error = (0..100)
        .find_map(|_| store.put(b"churn", &[3; 90]).err())
        .unwrap();
    assert!(
        matches!(first_cause(&error), Error::Corrupt { path: found, offset, .. } if *found == path(1) && *offset == entry_offset),
        "{error}"
    );
    assert!(content_of(&disk).contains_key(&path(1)));
}

#[test]
fn a_missing_file_is_a_segment_missing_error_and_nothing_is_changed() {
    let sample = StoreSample::new();
    for (index, &number) in sample.files[..sample.files.len() - 1].iter().enumerate() {
        let mut content = sample.content.clone();
        content.remove(&path(number));
        let disk = disk_of(&content);
        let error = open(&disk).unwrap_err();
        let Error::SegmentMissing { path: dir, sequence } = &error else {
            panic!("{error}");
        };
        assert_eq!(dir, Path::new(DIR));
        let sequence_at =
            |number: u64| u64::from_le_bytes(sample.content[&path(number)][52..60].try_into().unwrap());
        assert!(
            (sequence_at(number)..sequence_at(sample.files[index + 1])).contains(sequence),
            "file {number}: {error}"
        );
        assert_eq!(content_of(&disk), content);
    }
}

#[test]
fn files_of_another_store_or_kind_or_version_are_refused_with_their_path() {
    let sample = StoreSample::new();
    let refuse = |change: &dyn Fn(&mut DiskContent), number: u64| {
        let mut content = sample.content.clone();
        change(&mut content);
        let disk = disk_of(&content);
        let error = open(&disk).unwrap_err();
        assert_eq!(content_of(&disk), content, "file {number}: {error}");
        error
    };
    for &number in &sample.files {
        let path = path(number);
        let edit = |at: usize, byte: u8| {
            let path = path.clone();
            move |content: &mut DiskContent| content.get_mut(&path).unwrap()[at] = byte
        };
        let error = refuse(&edit(0, b'T'), number);
        assert!(
            matches!(&error, Error::BadMagic { path: found } if *found == path),
            "{error}"
        );
        for version in [1, 2, 4] {
            let error = refuse(&edit(8, version), number);
            assert!(
                matches!(&error, Error::UnsupportedVersion { path: found, found: read, supported: 3 }
                    if *found == path && *read == version.into()),
                "{error}"
            );
        }
        let error = refuse(&|content| drop(content.insert(path.clone(), Vec::new())), number);
        assert!(matches!(&error, Error::Corrupt { offset: 0, .. }), "{error}");
        let other = other_store();
        let error = refuse(
            &|content| drop(content.insert(path.clone(), other[&super::path(number)].clone())),
            number,
        );
        // The first file sets the id that the others must have.
        let is_first = Some(&number) == sample.files.iter().min();
        let expected = if is_first { 0xbeef } else { 0xfeed };
        assert!(
            matches!(&error, Error::ForeignDatabase { expected: held, found, .. } if *held == expected && found ^ held == 0xbeef ^ 0xfeed),
            "{error}"
        );
    }
    let renamed = |content: &mut DiskContent| {
        let bytes = content[&path(sample.last)].clone();
        content.insert(path(99), bytes);
    };
    let error = refuse(&renamed, 99);
    assert!(matches!(error, Error::Corrupt { offset: 0, .. }), "{error}");
}

#[test]
fn a_file_of_another_store_with_the_number_of_a_removed_file_is_refused_and_not_removed() {
    let sample = StoreSample::new();
    assert!(!sample.files.contains(&1));
    let obsolete = path(1);
    let mut content = sample.content.clone();
    content.insert(obsolete.clone(), other_store()[&obsolete].clone());
    let disk = disk_of(&content);
    let error = open(&disk).unwrap_err();
    // The first file sets the id that the others must have.
    assert!(
        matches!(&error, Error::ForeignDatabase { path: found, found: 0xfeed, expected: 0xbeef }
            if *found == path(*sample.files.iter().min().unwrap())),
        "{error}"
    );
    assert_eq!(content_of(&disk), content);
}

#[test]
fn a_valid_file_with_another_end_or_other_records_than_its_successor_names_is_refused() {
    // A file header takes 152 bytes, a record header 32 bytes, and an entry 11 bytes and its value.
    let files_with_first_values = |lens: &[usize]| {
        let disk = new_disk();
        let store = open(&disk).unwrap();
        for (key, len) in (0_u8..).zip(lens.iter().copied().chain([85, 85, 200])) {
            store.put(&[key], &vec![key; len]).unwrap();
        }
        assert_eq!(log_files(&content_of(&disk)), [1, 2]);
        content_of(&disk)
    };
    let whole = files_with_first_values(&[85]);
    let same_end_more_records = files_with_first_values(&[21, 21]);
    let same_records_later_end = files_with_first_values(&[93]);
    assert_eq!(whole[&path(1)].len(), same_end_more_records[&path(1)].len());
    assert_eq!(whole[&path(1)].len() + 8, same_records_later_end[&path(1)].len());
    for other in [same_end_more_records, same_records_later_end] {
        let mut content = whole.clone();
        content.insert(path(1), other[&path(1)].clone());
        let disk = disk_of(&content);
        let error = open(&disk).unwrap_err();
        assert!(
            matches!(&error, Error::ForeignHistory { path: found, .. } if *found == path(2)),
            "{error}"
        );
        assert_eq!(content_of(&disk), content);
    }
}

/// The files of a store with another id, including the files that compactions removed.
fn other_store() -> DiskContent {
    let disk = new_disk();
    let options = super::FileStoreOptions {
        store_id: Some(0xbeef),
        ..super::options()
    };
    let mut all = DiskContent::new();
    let store = super::open_with(&disk, &options).unwrap();
    for number in 0..200_u8 {
        store.put(&[number % 5], &[number; 40]).unwrap();
        all.extend(content_of(&disk));
    }
    all
}

#[test]
fn removed_files_that_a_power_loss_restores_change_no_value_and_are_removed_again() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    let mut all = DiskContent::new();
    store.put(b"deleted", b"value").unwrap();
    all.extend(content_of(&disk));
    store.delete(b"deleted").unwrap();
    store.put(b"changed", b"old").unwrap();
    for round in 0..60_u8 {
        store.put(b"churn", &[round; 100]).unwrap();
        store.put(b"changed", &[round]).unwrap();
        all.extend(content_of(&disk));
    }
    store.close().unwrap();
    let (after, model) = (content_of(&disk), pairs(&store));
    let removed: Vec<_> = all
        .keys()
        .filter(|path| !after.contains_key(*path))
        .cloned()
        .collect();
    assert!(removed.len() >= 5, "too few files were removed");
    // Each removed file without the others, and then all of them.
    let reopened_sizes = {
        let disk = disk_of(&after);
        drop(open(&disk).unwrap());
        sizes(&content_of(&disk))
    };
    for restored in removed
        .iter()
        .map(std::slice::from_ref)
        .chain([removed.as_slice()])
    {
        let mut content = after.clone();
        content.extend(restored.iter().map(|path| (path.clone(), all[path].clone())));
        let disk = disk_of(&content);
        assert_eq!(pairs(&open(&disk).unwrap()), model, "{restored:?}");
        assert_eq!(sizes(&content_of(&disk)), reopened_sizes, "{restored:?}");
    }
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn a_store_with_a_flipped_bit_opens_with_at_least_the_promised_batches_or_is_refused() {
        let sample = StoreSample::new();
        let (mut opened_len, mut promised_len) = (0, 0);
        for &number in &sample.files {
            for bit in 0..sample.content[&path(number)].len() * 8 {
                let mut content = sample.content.clone();
                content.get_mut(&path(number)).unwrap()[bit / 8] ^= 1 << (bit % 8);
                let at = format!("file {number}, bit {} of byte {}", bit % 8, bit / 8);
                match sample.check(&content, sample.promised, &at) {
                    Ok(()) => opened_len += 1,
                    Err(Error::Corrupt { what, .. }) if what.starts_with("a later record promises") => {
                        promised_len += 1;
                    }
                    Err(_) => {}
                }
            }
        }
        assert!(
            opened_len > 0,
            "a store with a damaged last record is refused too"
        );
        assert!(promised_len > 0, "no open failed because of a later promise");
    }
}
