//! The format of a frame: one user call with all its effects, or a marker.
//!
//! Little-endian, at a multiple of 8 within its segment:
//!
//! | offset | size | field | content |
//! |---|---|---|---|
//! | 0 | 4 | payload length | in bytes, a multiple of 8, at least 8 |
//! | 4 | 4 | kind | 1 events, 2 forget, 3 checkpoint, 4 close |
//! | 8 | 8 | sequence | one more than that of the previous frame |
//! | 16 | 8 | synced sequence | every frame up to this number was synced when this frame was written: a promise |
//! | 24 | 4 | payload checksum | CRC32C of the payload, its padding included |
//! | 28 | 4 | header checksum | CRC32C of the 28 bytes before it, seeded by the segment header's checksum |
//! | 32 | | payload | padded with zeros to a multiple of 8 |
//!
//! One call writes a frame. A crash may leave any part of it. Then a checksum fails, and recovery treats the whole
//! frame as absent.

use crate::codec::Reader;
use crate::codec::crc32c::{crc32c, extend};
use crate::limits::FRAME_PAYLOAD_BYTES_MAX;

const KIND_OFFSET: usize = 4;
const SEQUENCE_OFFSET: usize = KIND_OFFSET + 4;
const SYNCED_OFFSET: usize = SEQUENCE_OFFSET + 8;
const PAYLOAD_CHECKSUM_OFFSET: usize = SYNCED_OFFSET + 8;
const HEADER_CHECKSUM_OFFSET: usize = PAYLOAD_CHECKSUM_OFFSET + 4;
/// The length of a frame's header.
pub(crate) const FRAME_HEADER_BYTES: usize = HEADER_CHECKSUM_OFFSET + 4;
/// Frames begin at multiples of this.
pub(crate) const FRAME_ALIGN: usize = 8;
const _: () = assert!(FRAME_HEADER_BYTES == 32 && FRAME_HEADER_BYTES.is_multiple_of(FRAME_ALIGN));
const _: () =
    assert!(FRAME_PAYLOAD_BYTES_MAX.is_multiple_of(FRAME_ALIGN) && FRAME_PAYLOAD_BYTES_MAX < 1 << 31);

/// The kind of a frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum FrameKind {
    Events = 1,
    Forget = 2,
    Checkpoint = 3,
    Close = 4,
}

impl FrameKind {
    fn from_u32(value: u32) -> Option<Self> {
        [Self::Events, Self::Forget, Self::Checkpoint, Self::Close]
            .into_iter()
            .find(|kind| *kind as u32 == value)
    }
}

/// The bytes of a frame that is built: space for the header, then the payload. Reusable.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffer {
    bytes: Vec<u8>,
}

impl FrameBuffer {
    /// Empties the buffer. Returns the vector to which the caller appends the payload.
    pub(crate) fn begin(&mut self) -> &mut Vec<u8> {
        self.bytes.clear();
        self.bytes.resize(FRAME_HEADER_BYTES, 0);
        &mut self.bytes
    }

    /// The length of the payload appended since [`begin`](Self::begin).
    pub(crate) fn payload_len(&self) -> usize {
        self.bytes.len() - FRAME_HEADER_BYTES
    }

    /// Pads the payload and fills in the fields that do not depend on the frame's position.
    pub(crate) fn finish(&mut self, kind: FrameKind) {
        let padded = self.payload_len().next_multiple_of(FRAME_ALIGN).max(FRAME_ALIGN);
        debug_assert!(padded <= FRAME_PAYLOAD_BYTES_MAX, "the caller checks the limit");
        self.bytes.resize(FRAME_HEADER_BYTES + padded, 0);
        let payload_checksum = crc32c(&self.bytes[FRAME_HEADER_BYTES..]);
        self.put(0, &(padded as u32).to_le_bytes());
        self.put(KIND_OFFSET, &(kind as u32).to_le_bytes());
        self.put(PAYLOAD_CHECKSUM_OFFSET, &payload_checksum.to_le_bytes());
    }

    /// Fills in the fields that depend on the frame's position, and returns the whole frame.
    pub(crate) fn seal(&mut self, sequence: u64, synced_sequence: u64, seed: u32) -> &[u8] {
        self.put(SEQUENCE_OFFSET, &sequence.to_le_bytes());
        self.put(SYNCED_OFFSET, &synced_sequence.to_le_bytes());
        let header_checksum = extend(seed, &self.bytes[..HEADER_CHECKSUM_OFFSET]);
        self.put(HEADER_CHECKSUM_OFFSET, &header_checksum.to_le_bytes());
        &self.bytes
    }

    /// The length of the whole frame, after [`finish`](Self::finish).
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn put(&mut self, offset: usize, field: &[u8]) {
        self.bytes[offset..offset + field.len()].copy_from_slice(field);
    }
}

/// A frame's header with a valid checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) payload_len: usize,
    kind: u32,
    pub(crate) sequence: u64,
    pub(crate) synced_sequence: u64,
    payload_checksum: u32,
}

impl FrameHeader {
    /// The header at the front of `bytes`, if it is valid.
    pub(crate) fn decode(bytes: &[u8], seed: u32) -> Option<Self> {
        let header = bytes.get(..FRAME_HEADER_BYTES)?;
        let mut reader = Reader::new(header);
        let payload_len = reader.u32()? as usize;
        // The cheap checks come first: the search after a bad frame decodes at every multiple of 8.
        if payload_len == 0
            || payload_len > FRAME_PAYLOAD_BYTES_MAX
            || !payload_len.is_multiple_of(FRAME_ALIGN)
        {
            return None;
        }
        let decoded = Self {
            payload_len,
            kind: reader.u32()?,
            sequence: reader.u64()?,
            synced_sequence: reader.u64()?,
            payload_checksum: reader.u32()?,
        };
        let valid = extend(seed, &header[..HEADER_CHECKSUM_OFFSET]) == reader.u32()?;
        valid.then_some(decoded)
    }

    /// The payload that follows this header at the front of `bytes`, if it is whole and its checksum is valid.
    pub(crate) fn payload<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let payload = bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + self.payload_len)?;
        (crc32c(payload) == self.payload_checksum).then_some(payload)
    }

    /// The kind; `None` if this build has no such kind.
    pub(crate) fn kind(&self) -> Option<FrameKind> {
        FrameKind::from_u32(self.kind)
    }

    /// The length of the whole frame.
    pub(crate) fn frame_len(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload_len
    }
}
