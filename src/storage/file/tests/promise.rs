//! Promise records of a close and of a recovery, and the history across files.

use super::super::format::{FILE_HEADER_LEN, FileHeader, RECORD_HEADER_LEN, Record};
use super::{
    DiskContent, FileStore, FileStoreOptions, access, content_of, disk_of, disk_of_image, files, images,
    last_path, new_disk, open, options, pairs, path, sizes, validate,
};
use crate::Error;
use crate::limits::Limits;
use crate::storage::StorageEngine;

/// The content of a store of one file with three records, after `end`, the last step of the session.
fn content_after(end: impl FnOnce(FileStore)) -> DiskContent {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    for key in 0..3_u8 {
        store.put(&[key], &[key; 20]).unwrap();
    }
    end(store);
    content_of(&disk)
}

/// For each bit of the last file: the number of pairs, or the error, of an open after the bit was flipped.
fn flips(content: &DiskContent) -> impl Iterator<Item = (usize, Result<usize, Error>)> {
    let last = last_path(content);
    let len = content[&last].len();
    (0..len * 8).map(move |bit| {
        let mut damaged = content.clone();
        damaged.get_mut(&last).unwrap()[bit / 8] ^= 1 << (bit % 8);
        let opened = open(&disk_of(&damaged));
        (bit, opened.map(|store| pairs(&store).len()))
    })
}

#[test]
fn after_a_close_a_flipped_bit_is_refused_or_loses_no_pair() {
    // The last record passed for a torn one, and was truncated.
    let content = content_after(|store| store.close().unwrap());
    let mut refused = 0;
    for (bit, opened) in flips(&content) {
        match opened {
            Ok(found) => assert_eq!(found, 3, "bit {bit}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 3 * 20 * 8, "{refused}");
}

#[test]
fn after_a_recovery_a_flipped_bit_is_refused_or_loses_no_pair() {
    let unclosed = content_after(drop);
    let disk = disk_of(&unclosed);
    drop(open(&disk).unwrap());
    for (bit, opened) in flips(&content_of(&disk)) {
        assert!(
            opened.as_ref().map_or(true, |found| *found == 3),
            "bit {bit}: {opened:?}"
        );
    }
    let is_truncated = |(_, opened): (usize, Result<usize, Error>)| opened.is_ok_and(|found| found == 2);
    assert!(
        flips(&unclosed).any(is_truncated),
        "a torn record of a store without a close is truncated"
    );
}

#[test]
fn repeated_opens_and_closes_do_not_grow_the_store() {
    let content = content_after(|store| store.close().unwrap());
    let disk = disk_of(&content);
    for _ in 0..5 {
        let store = open(&disk).unwrap();
        store.flush().unwrap();
        store.close().unwrap();
        store.close().unwrap();
        drop(store);
        assert_eq!(sizes(&content_of(&disk)), sizes(&content));
        drop(open(&disk).unwrap());
        assert_eq!(sizes(&content_of(&disk)), sizes(&content));
    }
    let store = open(&disk).unwrap();
    store.put(b"more", b"").unwrap();
    store.close().unwrap();
    assert_ne!(sizes(&content_of(&disk)), sizes(&content));
}

#[test]
fn a_write_after_a_close_is_recovered_and_the_next_close_promises_it() {
    let disk = disk_of(&content_after(|store| store.close().unwrap()));
    let store = open(&disk).unwrap();
    store.close().unwrap();
    store.put(b"later", &[4; 20]).unwrap();
    assert_eq!(pairs(&open(&disk_of(&content_of(&disk))).unwrap()).len(), 4);
    store.close().unwrap();
    let content = content_of(&disk);
    assert!(flips(&content).all(|(_, opened)| opened.map_or(true, |found| found == 4)));
    for image in images(&disk) {
        assert_eq!(pairs(&open(&disk_of_image(&image)).unwrap()).len(), 4);
    }
}

#[test]
fn after_a_close_a_power_loss_loses_nothing_and_the_files_are_within_their_bound() {
    for len in 0..200_usize {
        let disk = new_disk();
        let store = open(&disk).unwrap();
        for round in 0..12_u8 {
            store.put(&[round % 3], &vec![round; len]).unwrap();
        }
        let model = pairs(&store);
        store.close().unwrap();
        validate(&store, &disk, super::SEGMENT_BYTES);
        for image in images(&disk) {
            let disk = disk_of_image(&image);
            let store = open(&disk).unwrap();
            assert_eq!(pairs(&store), model, "values of {len} bytes");
            validate(&store, &disk, super::SEGMENT_BYTES);
        }
    }
}

#[test]
fn the_close_of_a_store_that_was_opened_unchanged_repairs_it_and_promises_its_records() {
    let unclosed = content_after(drop);
    let disk = disk_of(&unclosed);
    let store = FileStore::open_unchanged(access(&disk), super::DIR, &options(), Limits::default()).unwrap();
    assert!(content_of(&disk) == unclosed);
    store.close().unwrap();
    let promised = content_of(&disk);
    assert_eq!(
        promised[&path(2)].len(),
        unclosed[&path(1)].len() + RECORD_HEADER_LEN
    );
    assert!(flips(&promised).all(|(_, opened)| opened.map_or(true, |found| found == 3)));
}

#[test]
fn records_that_compaction_writes_at_open_are_promised_too() {
    let disk = new_disk();
    let wide = FileStoreOptions {
        segment_bytes_max: 1 << 16,
        ..options()
    };
    let store = super::open_with(&disk, &wide).unwrap();
    for round in 0..40_u8 {
        store.put(&[round % 3], &[round; 40]).unwrap();
    }
    drop(store);
    // With smaller segments the file is over the bound.
    let disk = disk_of(&content_of(&disk));
    let store = open(&disk).unwrap();
    let model = pairs(&store);
    validate(&store, &disk, super::SEGMENT_BYTES);
    drop(store);
    let content = content_of(&disk);
    assert!(!content.contains_key(&path(1)));
    // The next open records the digest sum. The open after it appends nothing.
    drop(open(&disk).unwrap());
    let recorded = content_of(&disk);
    drop(open(&disk).unwrap());
    assert_eq!(sizes(&content_of(&disk)), sizes(&recorded));
    for (file, bytes) in &content {
        for bit in 0..bytes.len() * 8 {
            let mut damaged = content.clone();
            damaged.get_mut(file).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let opened = open(&disk_of(&damaged));
            assert!(opened.map_or(true, |store| pairs(&store) == model), "bit {bit}");
        }
    }
}

#[test]
fn a_report_has_the_numbers_of_files_and_records_and_the_torn_tail_and_the_leftovers() {
    let mut content = content_after(|store| store.close().unwrap());
    let whole_len = content[&path(1)].len() as u64;
    content.get_mut(&path(1)).unwrap().extend_from_slice(&[7; 20]);
    for number in [1, 9] {
        let name = super::StoreFileName::Temporary(number).build();
        content.insert(std::path::Path::new(super::DIR).join(name), vec![1; 40]);
    }
    let store = open(&disk_of(&content)).unwrap();
    let report = store.recovery();
    let torn = report.torn_tail.as_ref().unwrap();
    assert_eq!((torn.path.clone(), torn.offset), (path(1), whole_len));
    assert_eq!((torn.cut_bytes, torn.all_zero), (20, false));
    assert_eq!((report.files_found, report.records_replayed), (1, 3));
    assert_eq!(report.leftovers_removed, 2);
}

#[test]
fn a_report_counts_replaced_files_as_leftovers() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    store.put(b"key", &[0; 600]).unwrap();
    let before = content_of(&disk);
    for round in 0..6_u8 {
        store.put(b"key", &[round; 600]).unwrap();
    }
    let mut content = content_of(&disk);
    assert!(!content.contains_key(&path(1)));
    let needed = files(&content).count();
    content.insert(path(1), before[&path(1)].clone());
    let store = open(&disk_of(&content)).unwrap();
    assert_eq!(store.recovery().files_found, needed + 1);
    assert_eq!(store.recovery().leftovers_removed, 1);
}

/// Two diverged copies of one store, with the same number of records of the same lengths.
fn copies() -> [DiskContent; 2] {
    let origin = content_after(|store| store.close().unwrap());
    [1_u8, 2].map(|copy| {
        let disk = disk_of(&origin);
        let store = open(&disk).unwrap();
        for key in 0..9_u8 {
            store.put(&[b'x', key], &[copy; 100]).unwrap();
        }
        store.close().unwrap();
        content_of(&disk)
    })
}

#[test]
fn a_mix_of_files_of_two_diverged_copies_is_refused() {
    let copies = copies();
    let names: Vec<_> = copies[0].keys().cloned().collect();
    assert!(names.iter().eq(copies[1].keys()));
    assert!(names.len() >= 3, "{names:?}");
    let models = copies
        .each_ref()
        .map(|copy| pairs(&open(&disk_of(copy)).unwrap()));
    let mut foreign = 0;
    for choice in 0..1_usize << names.len() {
        let of = |index: usize| choice >> index & 1;
        let mixed: DiskContent = names
            .iter()
            .enumerate()
            .map(|(index, name)| (name.clone(), copies[of(index)][name].clone()))
            .collect();
        let disk = disk_of(&mixed);
        match open(&disk) {
            Ok(store) => assert_eq!(pairs(&store), models[of(names.len() - 1)], "{choice:b}"),
            Err(Error::ForeignHistory { path, .. }) => {
                assert!(names.contains(&path));
                assert!(content_of(&disk) == mixed, "{choice:b}: refused and changed");
                foreign += 1;
            }
            Err(error) => panic!("{choice:b}: {error}"),
        }
    }
    assert_eq!(foreign, (1 << names.len()) - 2);
}

#[test]
fn the_history_continues_across_rotations_compactions_and_openings() {
    let disk = new_disk();
    for round in 0..40_u8 {
        let store = open(&disk).unwrap();
        for key in 0..3_u8 {
            store.put(&[key], &[round; 90]).unwrap();
        }
        if round.is_multiple_of(3) {
            store.close().unwrap();
        }
    }
    let store = open(&disk).unwrap();
    let expected = (0..3_u8).map(|key| (vec![key], vec![39; 90])).collect();
    assert_eq!(pairs(&store), expected);
    assert!(files(&content_of(&disk)).all(|(path, _)| *path > super::path(20)));
}

/// The record headers of file `number`, with their offsets, of a store with the content `begin` that writes more
/// records.
fn later_headers(
    begin: &DiskContent,
    store_id: u128,
    number: u64,
    segment_bytes_max: u64,
) -> Vec<(usize, Vec<u8>)> {
    let disk = disk_of(begin);
    let options = FileStoreOptions {
        segment_bytes_max,
        store_id: Some(store_id),
    };
    let store = super::open_with(&disk, &options).unwrap();
    let mut content = DiskContent::new();
    for key in 0..40_u8 {
        store.put(&[key], &[key; 22]).unwrap();
        store.flush().unwrap();
        content.extend(content_of(&disk));
    }
    let bytes = &content[&path(number)];
    let seed = FileHeader::decode(bytes, &path(number)).unwrap().seed();
    let mut headers = Vec::new();
    let mut offset = FILE_HEADER_LEN;
    while let Some(record) = Record::decode_checked(bytes, seed, offset) {
        headers.push((offset, bytes[offset..offset + RECORD_HEADER_LEN].to_vec()));
        offset = record.end;
    }
    headers
}

#[test]
fn the_bytes_of_a_record_header_in_a_key_or_value_are_neither_a_promise_nor_a_record() {
    let before = content_after(|store| store.close().unwrap());
    let torn_at = before[&path(1)].len();
    // An entry begins 32 bytes after its record, the key 6 bytes after its entry.
    let key_at = torn_at + RECORD_HEADER_LEN + 6;
    let value_at = key_at + 2 + RECORD_HEADER_LEN;
    let own_id = options().store_id.unwrap();
    let none = DiskContent::new();
    // Headers at their own offset: of another store, of the original of the copied file, of another file. Then headers
    // of this file at another offset.
    let other_store = later_headers(&none, 0xbeef, 1, 1 << 16);
    let original = later_headers(&none, own_id, 1, 1 << 16);
    let other_file = later_headers(&before, own_id, 3, 512);
    let own_file = later_headers(&before, own_id, 2, 1 << 16);
    let moved = own_file.into_iter().map(|(at, header)| (at + 8, header));
    let copies: Vec<_> = [other_store, original, other_file]
        .into_iter()
        .flatten()
        .chain(moved)
        .collect();
    let mut tried = 0;
    for (at, header) in copies.into_iter().filter(|(at, _)| *at >= value_at) {
        let disk = disk_of(&before);
        let store = open(&disk).unwrap();
        let key = [b"kk", header.as_slice()].concat();
        let value = [&vec![0; at - value_at], header.as_slice()].concat();
        store.put(&key, &value).unwrap();
        drop(store);
        let mut torn = content_of(&disk);
        let bytes = torn.get_mut(&path(2)).unwrap();
        assert_eq!(bytes[at..at + RECORD_HEADER_LEN], header);
        assert_eq!(bytes[key_at + 2..value_at], header);
        bytes[torn_at..torn_at + 4].fill(0xff);
        let store = open(&disk_of(&torn)).unwrap();
        assert_eq!(pairs(&store).len(), 3);
        assert_eq!(
            store.recovery().torn_tail.as_ref().unwrap().offset,
            torn_at as u64
        );
        tried += 1;
    }
    assert!(tried > 60, "{tried}");
}
