//! The decoders, each as a function of bytes: for fuzzers. What is read from disk or from a text can be anything, so
//! whatever the bytes are, a decoder refuses them or gives something whose properties hold.
//!
//! `tests/fuzz` has a coverage-guided target for each. The checksums of files are put right before they are decoded: a
//! fuzzer does not guess them, and damage that a checksum notices is the [campaign's](super::damage) to try.
//!
//! ```
//! use tidaldb::testing::lab::decoder::Decoder;
//!
//! for decoder in Decoder::ALL {
//!     assert!(decoder.seeds().iter().all(|seed| decoder.run(seed)), "{decoder}");
//!     // Accepted or not, it does not panic, and what is accepted has its properties.
//!     decoder.run(&[0xff; 7]);
//! }
//! ```

mod database;
mod repair;
mod seeds;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use super::event_file::{EventFile, OwnEvents};
use crate::db::identity;
use crate::signals::checkpoint::record as checkpoint_record;
use crate::signals::ledger::LedgerState;
use crate::storage::keys;
use crate::testing::plan::Plan;
use crate::testing::workload::{Workload, standard_schema, tiny_limits};
use crate::wal::frame::{FRAME_HEADER_BYTES, FrameHeader};
use crate::wal::payload::{Events, decode_checkpoint, decode_forget, encode_events, encode_forget};
use crate::wal::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::{CohortId, Schema, SignalEvent};
use database::ID;

/// The seed of the frames that the decoder of frames reads.
const FRAME_SEED: u32 = 0xfeed;

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
        Self::new("segment_header", segment_header, seeds::segment_header),
        // A frame of the log: its header, and what its payload says.
        Self::new("frame", frame, seeds::frame),
        // The payload of a frame of events.
        Self::new("events", events, seeds::events),
        // A segment as a whole, recovered into a database.
        Self::new("log", database::log, seeds::log),
        // A file of the embedded store, recovered and read.
        Self::new("store", database::store, seeds::store),
        // The pairs of a storage engine, a checkpoint among them, restored into a database. Each has a tag, the lengths of the
        // rest of its key (1 byte) and of its value (2 bytes), and these.
        Self::new("checkpoint", database::checkpoint, || seeds::pairs(&[&[]])),
        Self::new("schema", schema, || seeds::values(keys::SCHEMA)),
        Self::new("identity", identity, || seeds::values(keys::IDENTITY)),
        Self::new("checkpoint_record", checkpoint_record, || {
            seeds::values(keys::CHECKPOINT)
        }),
        // A page of states or of cohort states: its key and its value.
        Self::new(
            "state_page",
            |bytes| page(bytes, keys::STATES),
            || seeds::pages(keys::STATES),
        ),
        Self::new(
            "cohort_page",
            |bytes| page(bytes, keys::COHORT_STATES),
            || seeds::pages(keys::COHORT_STATES),
        ),
        // Records of co-engagement, as the pairs of a checkpoint are.
        Self::new("co_engagement", co_engagement, || {
            seeds::pairs(&keys::CO_ENGAGEMENT)
        }),
        // The line of a plan.
        Self::new("plan", plan, seeds::plan),
        // The operations of a workload.
        Self::new("workload", workload, seeds::workload),
        Self::new("event_file", event_file, seeds::event_file),
    ];

    const fn new(name: &'static str, run: fn(&[u8]) -> bool, seeds: fn() -> Vec<Vec<u8>>) -> Self {
        Self { name, run, seeds }
    }

    /// Its name: that of its target.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The decoder of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|decoder| decoder.name == name)
    }

    /// Decodes `bytes`. Returns true if they were accepted.
    ///
    /// # Panics
    /// If accepted bytes do not have the properties that they must have: a finding, as any other panic is.
    pub fn run(self, bytes: &[u8]) -> bool {
        (self.run)(bytes)
    }

    /// Inputs that are accepted, to begin with.
    pub fn seeds(self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }
}

impl fmt::Display for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

fn segment_header(bytes: &[u8]) -> bool {
    let path = Path::new("segment");
    // As it is, which hardly ever is one, and with its checksum.
    let as_it_is = SegmentHeader::decode(bytes, path, ID).is_ok();
    let repaired = repair::segment_header(bytes);
    match SegmentHeader::decode(&repaired, path, ID) {
        Ok((header, _)) => {
            let read =
                SegmentHeader::decode(&header.encode(), path, ID).expect("what was written reads back");
            assert_eq!(read.0, header);
            bytes.len() >= SEGMENT_HEADER_BYTES
        }
        Err(_) => as_it_is,
    }
}

fn frame(bytes: &[u8]) -> bool {
    let repaired = repair::frame(bytes, FRAME_SEED);
    let Some(header) = FrameHeader::decode(&repaired, FRAME_SEED) else {
        return false;
    };
    let Some(payload) = header.payload(&repaired) else {
        return false;
    };
    assert_eq!(header.frame_len(), FRAME_HEADER_BYTES + payload.len());
    let signals_len = standard_schema().signals().len();
    let is_events =
        Events::decode(payload, signals_len).is_ok_and(|mut events| events.all(|event| event.is_ok()));
    let is_other = decode_forget(payload).is_ok() || decode_checkpoint(payload).is_ok();
    if let Ok(forget) = decode_forget(payload) {
        let mut again = Vec::new();
        encode_forget(forget, &mut again);
        assert_eq!(again, payload);
    }
    header.kind().is_some() && (is_events || is_other)
}

fn events(bytes: &[u8]) -> bool {
    let signals_len = standard_schema().signals().len();
    let Ok(events) = Events::decode(bytes, signals_len) else {
        return false;
    };
    let Ok(events) = events.collect::<Result<Vec<_>, _>>() else {
        return false;
    };
    let cohorts: Vec<Vec<CohortId>> = events.iter().map(|event| event.cohorts().collect()).collect();
    let all: Vec<_> = events
        .iter()
        .zip(&cohorts)
        .map(|(event, cohorts)| SignalEvent {
            entity: event.entity,
            signal: event.signal,
            weight: event.weight,
            at_ms: event.at_ms,
            user: event.user,
            cohorts,
        })
        .collect();
    let mut again = Vec::new();
    encode_events(&all, &mut again);
    assert_eq!(again, bytes[..again.len()], "the same events have the same bytes");
    assert!(bytes.len() - again.len() < 8, "only padding follows");
    true
}

fn schema(bytes: &[u8]) -> bool {
    let Ok(schema) = Schema::decode(bytes, keys::SCHEMA) else {
        return false;
    };
    assert_eq!(
        Schema::decode(&schema.encode(), keys::SCHEMA).ok(),
        Some(schema.clone())
    );
    assert!(schema.validate().is_ok());
    true
}

fn identity(bytes: &[u8]) -> bool {
    identity::decode(bytes, keys::IDENTITY).is_ok_and(|id| identity::encode(id) == bytes)
}

fn checkpoint_record(bytes: &[u8]) -> bool {
    let Ok(covered) = checkpoint_record::decode(bytes, keys::CHECKPOINT) else {
        return false;
    };
    let again = checkpoint_record::encode(covered.sequence, covered.synced, covered.history);
    assert_eq!(again, bytes);
    true
}

/// A page in an empty table: its key without the tag, then its value.
fn page(bytes: &[u8], tag: &[u8]) -> bool {
    let Some((place, value)) = bytes.split_at_checked(8) else {
        return false;
    };
    let mut state =
        LedgerState::new(&standard_schema(), &tiny_limits()).expect("the standard schema is legal");
    let key = [tag, place].concat();
    let restored = if tag == keys::STATES {
        state.signals.restore_page(&key, value)
    } else {
        state.cohorts.states_mut().restore_page(&key, value)
    };
    if restored.is_err() {
        return false;
    }
    let signals = state.signals.export().expect("no thread panicked");
    let cohorts = state.cohorts.states().export().expect("no thread panicked");
    let signal_scores = signals.iter().flat_map(|(_, _, state)| &state.scores);
    let cohort_scores = cohorts.iter().flat_map(|(_, _, state)| &state.scores);
    assert!(signal_scores.chain(cohort_scores).all(|score| score.is_finite()));
    true
}

fn co_engagement(bytes: &[u8]) -> bool {
    let mut state =
        LedgerState::new(&standard_schema(), &tiny_limits()).expect("the standard schema is legal");
    let index = state.co_engagement_mut();
    let pairs = repair::pairs(bytes);
    for (key, value) in &pairs {
        if index.restore(key, value).is_err() {
            return false;
        }
    }
    if index.finish_restore().is_err() {
        return false;
    }
    let before = index.export();
    for item in &before.items {
        assert!(item.edges.iter().all(|(_, weight)| weight.is_finite()));
        index.related(item.item, 10, item.time_ms);
    }
    // It goes on from there, evictions and all.
    for (round, at_ms) in [i64::MIN, 0, i64::MAX].into_iter().enumerate() {
        for id in 0..9 {
            index.record_positive(
                crate::UserId(id % 4),
                crate::EntityId(id + round as u64),
                1.0,
                at_ms,
            );
        }
    }
    index.export();
    !pairs.is_empty()
}

fn plan(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).ok();
    let Some(plan) = text.and_then(|text| text.parse::<Plan>().ok()) else {
        return false;
    };
    assert_eq!(plan.replay_line().parse(), Ok(plan));
    true
}

fn workload(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).ok();
    let Some(workload) = text.and_then(|text| text.parse::<Workload>().ok()) else {
        return false;
    };
    assert_eq!(workload.to_string().parse(), Ok(workload.clone()));
    !workload.operations.is_empty()
}

fn event_file(bytes: &[u8]) -> bool {
    let read = OwnEvents::read(bytes, |_| true);
    let schema = read.schema();
    assert!(schema.validate().is_ok());
    let declared: Vec<_> = EventFile::parse(bytes, &schema).take(read.events.len()).collect();
    assert!(
        declared.iter().flatten().eq(&read.events),
        "the names decide nothing else"
    );
    assert!(read.events.iter().all(|event| event.weight.is_finite()));
    assert!(!read.years().is_empty());
    !read.events.is_empty() && read.refused.is_none()
}
