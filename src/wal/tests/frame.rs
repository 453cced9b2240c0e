//! The bytes of a frame, and frames that are refused.

use crate::codec::crc32c::{crc32c, extend};
use crate::wal::frame::*;

fn sample() -> Vec<u8> {
    let mut frame = FrameBuffer::default();
    frame.begin().extend_from_slice(b"payload, 19 bytes..");
    frame.finish(FrameKind::Forget);
    frame.seal(7, 5, 0xfeed).to_vec()
}

#[test]
fn a_frame_has_its_golden_bytes() {
    let frame = sample();
    let mut golden = vec![
        24, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0,
    ];
    golden.extend_from_slice(&crc32c(b"payload, 19 bytes..\0\0\0\0\0").to_le_bytes());
    let header_checksum = extend(0xfeed, &golden);
    golden.extend_from_slice(&header_checksum.to_le_bytes());
    golden.extend_from_slice(b"payload, 19 bytes..\0\0\0\0\0");
    assert_eq!(frame, golden);
}

#[test]
fn every_truncation_and_every_flipped_bit_makes_a_frame_invalid() {
    let whole = |bytes: &[u8]| {
        FrameHeader::decode(bytes, 0xfeed).and_then(|header| header.payload(bytes).map(<[u8]>::to_vec))
    };
    let frame = sample();
    assert_eq!(
        whole(&frame).as_deref(),
        Some(&b"payload, 19 bytes..\0\0\0\0\0"[..])
    );
    for len in 0..frame.len() {
        assert_eq!(whole(&frame[..len]), None, "truncated at {len}");
    }
    for bit in 0..frame.len() * 8 {
        let mut flipped = frame.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(whole(&flipped), None, "bit {bit}");
    }
}

#[test]
fn a_frame_of_another_segment_is_invalid() {
    assert_eq!(FrameHeader::decode(&sample(), 0xbeef), None);
}

#[test]
fn an_empty_payload_is_padded_so_that_zeros_are_never_a_frame() {
    let mut frame = FrameBuffer::default();
    frame.begin();
    frame.finish(FrameKind::Close);
    assert_eq!(frame.seal(1, 0, 0).len(), FRAME_HEADER_BYTES + FRAME_ALIGN);
    assert_eq!(FrameHeader::decode(&[0; 64], 0), None);
}
