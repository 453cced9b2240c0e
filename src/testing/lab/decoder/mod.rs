//! The decoders, each as a function of bytes: for fuzzers.
//!
//! Bytes from a disk or a text can have any content. So a decoder refuses the bytes, or returns a value that has the
//! required properties. It never panics.
//!
//! `tests/fuzz` has a coverage-guided target for each decoder. The checksums of files are repaired before decoding,
//! because a fuzzer does not guess them. The [damage campaign](super::damage) tests the damage that a checksum detects.
//!
//! ```
//! use tidaldb::testing::lab::decoder::Decoder;
//!
//! for decoder in Decoder::ALL {
//!     assert!(decoder.seeds().iter().all(|seed| decoder.run(seed)), "{decoder}");
//!     // The decoder accepts or refuses other bytes, and does not panic.
//!     decoder.run(&[0xff; 7]);
//! }
//! ```

mod database;
mod from_bytes;
mod repair;
mod seeds;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::storage::keys;

/// A decoder.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    name: &'static str,
    run: fn(&[u8]) -> bool,
    seeds: fn() -> Vec<Vec<u8>>,
}

impl Decoder {
    /// Every decoder.
    pub const ALL: &[Self] = &[
        Self::new(
            "segment_header",
            from_bytes::segment_header,
            seeds::segment_header,
        ),
        // A frame of the log: its header and its payload.
        Self::new("frame", from_bytes::frame, seeds::frame),
        // The payload of a frame of events.
        Self::new("events", from_bytes::events, seeds::events),
        // A whole segment, recovered into a database.
        Self::new("log", database::log, seeds::log),
        // A file of the embedded store, recovered and read.
        Self::new("store", database::store, seeds::store),
        // The pairs of a storage engine, including a checkpoint, restored into a database. Each pair has a tag (1
        // byte), the length of the rest of its key (1 byte), the length of its value (2 bytes), the rest of the key,
        // and the value.
        Self::new("checkpoint", database::checkpoint, || seeds::pairs(&[&[]])),
        Self::new("schema", from_bytes::schema, || seeds::values(keys::SCHEMA)),
        Self::new("identity", from_bytes::identity, || seeds::values(keys::IDENTITY)),
        Self::new("checkpoint_record", from_bytes::checkpoint_record, || {
            seeds::values(keys::CHECKPOINT)
        }),
        // A page of states or of cohort states: its key and its value.
        Self::new(
            "state_page",
            |bytes| from_bytes::page(bytes, keys::STATES),
            || seeds::pages(keys::STATES),
        ),
        Self::new(
            "cohort_page",
            |bytes| from_bytes::page(bytes, keys::COHORT_STATES),
            || seeds::pages(keys::COHORT_STATES),
        ),
        // Records of co-engagement, in the same form as the pairs of a checkpoint.
        Self::new("co_engagement", from_bytes::co_engagement, || {
            seeds::pairs(&keys::CO_ENGAGEMENT)
        }),
        // The replay line of a plan.
        Self::new("plan", from_bytes::plan, seeds::plan),
        // The operations of a workload.
        Self::new("workload", from_bytes::workload, seeds::workload),
        Self::new("event_file", from_bytes::event_file, seeds::event_file),
    ];

    const fn new(name: &'static str, run: fn(&[u8]) -> bool, seeds: fn() -> Vec<Vec<u8>>) -> Self {
        Self { name, run, seeds }
    }

    /// The name of the decoder, which is also the name of its fuzz target.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Returns the decoder of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|decoder| decoder.name == name)
    }

    /// Decodes `bytes`. Returns true if they were accepted.
    ///
    /// # Panics
    /// If accepted bytes lack a required property. Each panic is a finding.
    pub fn run(self, bytes: &[u8]) -> bool {
        (self.run)(bytes)
    }

    /// The inputs with which a fuzzer begins. The decoder accepts each of them.
    pub fn seeds(self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }
}

impl fmt::Display for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}
