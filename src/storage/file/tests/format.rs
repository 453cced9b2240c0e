//! The bytes of files, records and entries, and bytes that are refused.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;

use crate::Error;
use crate::storage::file::format::{
    CompactedPart, FILE_HEADER_LEN, FileHeader, KeyChange, LogPoint, Record, RecordHeader, compacted_entries,
    encode_record, is_promised, record_len,
};

const HEADER: FileHeader = FileHeader {
    store_id: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
    number: 3,
    first_place: 2,
    before: LogPoint {
        end: 4096,
        sequence: 77,
        history: HISTORY,
    },
    digest_sum: 0x2122_2324_2526_2728,
    opening: 0x3132_3334_3536_3738,
    compaction: None,
};
const HISTORY: u64 = 0x1112_1314_1516_1718;
const CHANGES: [KeyChange<'static>; 2] = [
    KeyChange {
        key: b"key",
        value: Some(b"value"),
    },
    KeyChange {
        key: b"gone",
        value: None,
    },
];

fn record_header(changes: &[KeyChange<'_>]) -> RecordHeader {
    RecordHeader {
        payload_len: changes.iter().map(KeyChange::entry_len).sum::<usize>() as u32,
        sequence: 77,
        synced: 76,
        digest_sum: 0x2122_2324_2526_2728,
    }
}

/// A call that writes a part of a record writes at least this many bytes, except the last.
const WRITE_BYTES: usize = 4096;

/// Appends a record to the bytes of a file. Returns the history after it.
fn push_record(file: &mut Vec<u8>, changes: &[KeyChange<'_>]) -> u64 {
    let (header, offset) = (record_header(changes), file.len() as u64);
    let end = encode_record(
        header,
        changes,
        HEADER.seed(),
        offset,
        HISTORY,
        WRITE_BYTES,
        |bytes, at| {
            assert_eq!(at, file.len() as u64);
            file.extend_from_slice(bytes);
            Ok::<_, Infallible>(())
        },
    );
    let Ok((end, history)) = end;
    assert_eq!(end, file.len() as u64);
    history
}

/// A file with one record.
fn file() -> Vec<u8> {
    let mut file = HEADER.encode();
    push_record(&mut file, &CHANGES);
    file
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

/// An independent program made these bytes from the tables in the module's documentation.
const GOLDEN_FILE_HEADER: &str = "7469646c73746f7203000000100f0e0d0c0b0a09080706050403020103000000000000000200\
    00000000000000100000000000004d00000000000000181716151413121128272625242322213837363534333231000000000000\
    00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    0000000000009807290b";
/// From the same program.
const GOLDEN_RECORD: &str = "200000004d000000000000004c000000000000002827262524232221e36081720300050000006b657\
    976616c75650323a04f0400ffffffff676f6e656ca09ebc";
/// From the same program: the history after the record.
const GOLDEN_HISTORY: u64 = 0x5263_15cf_99cc_6a98;
/// From the same program: a compacted file with the same entries.
const GOLDEN_COMPACTED_FILE: &str = "7469646c73746f7203000000100f0e0d0c0b0a09080706050403020103000000000000000\
    20000000000000000100000000000004d00000000000000181716151413121128272625242322213837363534333231050000000\
    0000000002000000000000063000000000000003837363534333231b8000000000000007ffd005065bbac0f78000000000000004\
    84746454443424192769a3d0300050000006b657976616c7565ada5d4c60400ffffffff676f6e650575e21c";
/// The fields of its header that only a compacted file has.
const COMPACTED_PART: CompactedPart = CompactedPart {
    last_place: 5,
    after: LogPoint {
        end: 8192,
        sequence: 99,
        history: 0x3132_3334_3536_3738,
    },
    len: 184,
    digest: 0x0fac_bb65_5000_fd7f,
    relied_sequence: 120,
    relied_history: 0x4142_4344_4546_4748,
};

fn compacted_header() -> FileHeader {
    FileHeader {
        compaction: Some(COMPACTED_PART),
        ..HEADER
    }
}

fn compacted_file() -> Vec<u8> {
    let mut file = compacted_header().encode();
    for change in CHANGES {
        let offset = file.len() as u64;
        change.encode(&mut file, HEADER.seed(), offset);
    }
    file
}

#[test]
fn a_compacted_file_has_its_golden_bytes_and_reads_back() {
    let file = compacted_file();
    assert_eq!(hex(&file), GOLDEN_COMPACTED_FILE);
    let header = FileHeader::decode(&file, Path::new("store/file")).unwrap();
    assert_eq!(header, compacted_header());
    let entries = compacted_entries(&header, &file).unwrap();
    assert_eq!(entries.collect::<Vec<_>>(), CHANGES);
}

#[test]
fn every_flipped_bit_and_every_other_length_of_a_compacted_file_is_refused() {
    let good = compacted_file();
    let header = compacted_header();
    let is_refused = |bytes: &[u8]| compacted_entries(&header, bytes).is_none();
    for bit in FILE_HEADER_LEN * 8..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(is_refused(&bad), "bit {bit}");
    }
    for len in 0..good.len() {
        assert!(is_refused(&good[..len]), "truncated at {len}");
    }
    // Whole entries, but not those of this header.
    let first_len = CHANGES[0].entry_len();
    assert!(is_refused(&good[..FILE_HEADER_LEN + first_len]));
    let mut longer = good.clone();
    CHANGES[0].encode(&mut longer, HEADER.seed(), good.len() as u64);
    assert!(is_refused(&longer));
    let mut other_digest = header;
    other_digest.compaction.as_mut().unwrap().digest ^= 1;
    assert!(compacted_entries(&other_digest, &good).is_none());
}

#[test]
fn a_file_of_records_has_its_golden_bytes() {
    let file = file();
    assert_eq!(hex(&file[..FILE_HEADER_LEN]), GOLDEN_FILE_HEADER);
    assert_eq!(hex(&file[FILE_HEADER_LEN..]), GOLDEN_RECORD);
    let record = Record::decode_checked(&file, HEADER.seed(), FILE_HEADER_LEN).unwrap();
    assert_eq!(record.history_after(HISTORY), GOLDEN_HISTORY);
}

#[test]
fn a_file_reads_back() {
    let file = file();
    let path = Path::new("store/file");
    assert_eq!(FileHeader::decode(&file, path).unwrap(), HEADER);
    let record = Record::decode_checked(&file, HEADER.seed(), FILE_HEADER_LEN).unwrap();
    assert_eq!(record.header, record_header(&CHANGES));
    assert_eq!(record.changes().collect::<Vec<_>>(), CHANGES);
    assert_eq!(record.end, file.len());
    assert_eq!(
        record_len(u64::from(record.header.payload_len)),
        (file.len() - FILE_HEADER_LEN) as u64
    );
    let entry = &file[record.entries_offset..][..CHANGES[0].entry_len()];
    let first = KeyChange::decode_checked(entry, HEADER.seed(), record.entries_offset as u64);
    assert_eq!(first, Some(CHANGES[0]));
}

#[test]
fn every_flipped_bit_and_every_truncation_of_the_file_header_is_refused() {
    let path = Path::new("store/file");
    let good = HEADER.encode();
    for len in 0..good.len() {
        let error = FileHeader::decode(&good[..len], path).unwrap_err();
        assert!(
            matches!(&error, Error::Corrupt { offset, .. } if *offset == len as u64),
            "truncated at {len}: {error}"
        );
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let error = FileHeader::decode(&bad, path).unwrap_err();
        let is_expected = match bit / 8 {
            0..8 => matches!(error, Error::BadMagic { .. }),
            8..12 => matches!(error, Error::UnsupportedVersion { supported: 3, .. }),
            _ => matches!(error, Error::Corrupt { offset: 0, .. }),
        };
        assert!(is_expected, "bit {bit}: {error}");
    }
}

#[test]
fn a_record_with_a_flipped_bit_or_truncated_or_moved_is_refused() {
    let good = file();
    let seed = HEADER.seed();
    let padding = FILE_HEADER_LEN
        + crate::storage::file::format::RECORD_HEADER_LEN
        + record_header(&CHANGES).payload_len as usize;
    for bit in FILE_HEADER_LEN * 8..padding * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(
            Record::decode_checked(&bad, seed, FILE_HEADER_LEN).is_none(),
            "bit {bit}"
        );
    }
    for len in 0..good.len() {
        assert!(
            Record::decode_checked(&good[..len], seed, FILE_HEADER_LEN).is_none(),
            "truncated at {len}"
        );
    }
    let mut moved = vec![0; 8];
    moved.extend_from_slice(&good);
    assert!(Record::decode_checked(&moved, seed, FILE_HEADER_LEN + 8).is_none());
    let other = FileHeader { number: 4, ..HEADER };
    assert!(Record::decode_checked(&good, other.seed(), FILE_HEADER_LEN).is_none());
    assert!(Record::decode_checked(&good, seed, usize::MAX - 7).is_none());
}

#[test]
fn an_entry_as_long_as_a_record_header_is_not_a_valid_record_header() {
    // Entries and record headers had checksums of the same kind. So the first entry of a torn record, if it was as long
    // as a header, passed for a later header with an arbitrary promise, and the store did not open.
    let change = KeyChange {
        key: b"k",
        value: Some(
            &[0xff;
                crate::storage::file::format::RECORD_HEADER_LEN
                    - crate::storage::file::format::ENTRY_OVERHEAD_LEN
                    - 1],
        ),
    };
    assert_eq!(
        change.entry_len(),
        crate::storage::file::format::RECORD_HEADER_LEN
    );
    let mut file = HEADER.encode();
    push_record(&mut file, &[change]);
    let entry_offset = FILE_HEADER_LEN + crate::storage::file::format::RECORD_HEADER_LEN;
    assert!(
        RecordHeader::decode_checked(&file[FILE_HEADER_LEN..], HEADER.seed(), FILE_HEADER_LEN as u64)
            .is_some()
    );
    assert_eq!(
        RecordHeader::decode_checked(&file[entry_offset..], HEADER.seed(), entry_offset as u64),
        None
    );
    assert!(!is_promised(&file, HEADER.seed(), entry_offset, 77));
}

#[test]
fn the_writer_and_the_reader_compute_one_history_and_other_records_have_another_history() {
    let history_of = |changes: &[KeyChange<'_>]| {
        let mut file = HEADER.encode();
        let written_history = push_record(&mut file, changes);
        let record = Record::decode_checked(&file, HEADER.seed(), FILE_HEADER_LEN).unwrap();
        assert_eq!(record.history_after(HISTORY), written_history);
        written_history
    };
    let [first, second] = CHANGES;
    let changed = KeyChange {
        value: Some(b"valve"),
        ..first
    };
    let all: [&[KeyChange<'_>]; 5] = [
        &[],
        &[first],
        &[first, second],
        &[second, first],
        &[changed, second],
    ];
    let histories: BTreeSet<_> = all.iter().map(|changes| history_of(changes)).collect();
    assert_eq!(histories.len(), all.len());
    assert!(!histories.contains(&HISTORY));
}

#[test]
fn records_with_different_values_that_end_with_their_own_checksum_have_different_histories() {
    // Such entries have the same entry checksum. The history depended only on entry checksums, and an open accepted
    // mixed files of two copies.
    let history_of = |member: u64| {
        let key = crate::storage::keys::block(1, member);
        let value = crate::storage::keys::seal(&key, Vec::new());
        let mut file = HEADER.encode();
        let change = KeyChange {
            key: &key,
            value: Some(&value),
        };
        push_record(&mut file, &[change])
    };
    assert_ne!(history_of(10), history_of(20));
}

#[test]
fn the_history_of_a_record_that_several_calls_write_equals_the_history_of_its_bytes() {
    let value = vec![7; WRITE_BYTES / 2 + 3];
    let change = |key| KeyChange {
        key,
        value: Some(&value),
    };
    let keys: [&[u8]; 5] = [b"a", b"bb", b"ccc", b"dddd", b"eeeee"];
    let mut file = HEADER.encode();
    let written_history = push_record(&mut file, &keys.map(change));
    let record = Record::decode_checked(&file, HEADER.seed(), FILE_HEADER_LEN).unwrap();
    assert_eq!(record.history_after(HISTORY), written_history);
    assert_eq!(record.end, file.len());
}

#[test]
fn a_record_without_entries_that_promises_all_earlier_records_is_a_promise_record() {
    let header = record_header(&[]);
    assert!(header.is_promise());
    let synced = header.synced - 1;
    assert!(!RecordHeader { synced, ..header }.is_promise());
    assert!(!record_header(&CHANGES).is_promise());
}

#[test]
fn zeros_are_not_a_valid_record() {
    assert!(Record::decode_checked(&[0; 4096], HEADER.seed(), FILE_HEADER_LEN).is_none());
}

#[test]
fn a_promise_is_found_at_a_later_multiple_of_eight_and_at_no_other_offset() {
    let seed = HEADER.seed();
    for gap in (0..64).step_by(8) {
        let offset = FILE_HEADER_LEN + gap;
        let mut file = HEADER.encode();
        file.resize(offset, 0xff);
        push_record(&mut file, &CHANGES);
        // The header promises without its payload.
        file.truncate(offset + crate::storage::file::format::RECORD_HEADER_LEN);
        assert!(is_promised(&file, seed, FILE_HEADER_LEN, 76));
        assert!(!is_promised(&file, seed, FILE_HEADER_LEN, 77));
        assert!(!is_promised(&file, seed, offset + 8, 76));
        file.truncate(file.len() - 1);
        assert!(!is_promised(&file, seed, FILE_HEADER_LEN, 76));
    }
}

#[test]
fn a_record_with_a_wrong_payload_length_is_refused_without_a_read_past_the_end() {
    let seed = HEADER.seed();
    for payload_len in [0, 1, 9, 26, 28, 1 << 20, u32::MAX] {
        let header = RecordHeader {
            payload_len,
            ..record_header(&CHANGES)
        };
        let mut file = HEADER.encode();
        header.encode(&mut file, seed, FILE_HEADER_LEN as u64);
        file.resize(4096, 1);
        let valid = Record::decode_checked(&file, seed, FILE_HEADER_LEN).is_some();
        assert_eq!(valid, payload_len == 0, "payload length {payload_len}");
    }
}
