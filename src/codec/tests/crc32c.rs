//! The checksum against published values and its definition.

use crate::codec::crc32c::{POLYNOMIAL_REFLECTED, crc32c, extend};

#[test]
fn the_checksums_of_the_published_vectors_are_the_published_ones() {
    // RFC 3720, appendix B.4, and the check value of the CRC catalogue.
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    let ascending: Vec<u8> = (0..32).collect();
    assert_eq!(crc32c(&ascending), 0x46dd_794e);
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    assert_eq!(crc32c(b""), 0);
}

#[test]
fn a_checksum_of_any_length_whole_or_in_two_parts_equals_the_bit_by_bit_definition() {
    let bytes: Vec<u8> = (0..100_u32).map(|i| (i * 37 + 11) as u8).collect();
    for len in 0..bytes.len() {
        let mut naive = u32::MAX;
        for &byte in &bytes[..len] {
            naive ^= u32::from(byte);
            for _ in 0..8 {
                naive = if naive & 1 == 1 {
                    naive >> 1 ^ POLYNOMIAL_REFLECTED
                } else {
                    naive >> 1
                };
            }
        }
        assert_eq!(crc32c(&bytes[..len]), !naive, "length {len}");
        let (head, tail) = bytes[..len].split_at(len / 3);
        assert_eq!(extend(crc32c(head), tail), !naive, "length {len}, split");
    }
}
