//! Integers that are written and read back, and bytes that are refused.

mod crc32c;
mod mix;

use crate::codec::{Reader, Write};

#[test]
fn every_integer_reads_back_as_it_was_written() {
    for value in [
        0,
        1,
        127,
        128,
        16_383,
        16_384,
        u64::from(u32::MAX),
        u64::MAX - 1,
        u64::MAX,
    ] {
        let mut bytes = Vec::new();
        bytes.put_varint(value);
        bytes.put_varint_signed(value as i64);
        bytes.put_u64(value);
        let mut reader = Reader::new(&bytes);
        assert_eq!(
            (reader.varint(), reader.varint_signed(), reader.u64()),
            (Some(value), Some(value as i64), Some(value))
        );
        assert!(reader.is_empty());
    }
}

#[test]
fn a_read_past_the_end_returns_none() {
    let mut reader = Reader::new(&[0x80, 0x80]);
    assert_eq!(reader.clone().u32(), None);
    assert_eq!(reader.varint(), None);
}

#[test]
fn a_varint_over_64_bits_is_refused() {
    let mut over = vec![0xff; 9];
    over.push(0x02);
    assert_eq!(Reader::new(&over).varint(), None);
    assert_eq!(Reader::new(&[0xff; 11]).varint(), None);
}
