//! The decoders that need only bytes: headers, frames, values of the storage engine, and texts.
//!
//! Each function returns true if it accepts the bytes, and panics if accepted bytes lack a required property.

use std::path::Path;

use super::repair::{self, FRAME_SEED, ID};
use crate::db::identity as identity_value;
use crate::signals::checkpoint::record;
use crate::signals::ledger::LedgerState;
use crate::storage::keys;
use crate::testing::lab::event_file::{EventFile, FileEvents};
use crate::testing::plan::Plan;
use crate::testing::workload::{Workload, standard_schema, tiny_limits};
use crate::wal::frame::{FRAME_HEADER_BYTES, FrameHeader};
use crate::wal::payload::{Events, decode_checkpoint, decode_forget, encode_events, encode_forget};
use crate::wal::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::{CohortId, EntityId, Schema, SignalEvent, UserId};

pub(super) fn segment_header(bytes: &[u8]) -> bool {
    let path = Path::new("segment");
    // First unchanged bytes, which are hardly ever a header, then bytes with a repaired checksum.
    let is_accepted_unchanged = SegmentHeader::decode(bytes, path, ID).is_ok();
    let repaired = repair::segment_header(bytes);
    match SegmentHeader::decode(&repaired, path, ID) {
        Ok((header, _)) => {
            let read =
                SegmentHeader::decode(&header.encode(), path, ID).expect("an encoded header can be decoded");
            assert_eq!(read.0, header);
            bytes.len() >= SEGMENT_HEADER_BYTES
        }
        Err(_) => is_accepted_unchanged,
    }
}

pub(super) fn frame(bytes: &[u8]) -> bool {
    let repaired = repair::frame(bytes);
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
    let is_forget_or_marker = decode_forget(payload).is_ok() || decode_checkpoint(payload).is_ok();
    if let Ok(forget) = decode_forget(payload) {
        let mut encoded = Vec::new();
        encode_forget(forget, &mut encoded);
        assert_eq!(encoded, payload);
    }
    header.kind().is_some() && (is_events || is_forget_or_marker)
}

pub(super) fn events(bytes: &[u8]) -> bool {
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
    let mut encoded = Vec::new();
    encode_events(&all, &mut encoded);
    assert_eq!(encoded, bytes[..encoded.len()], "equal events have equal bytes");
    assert!(bytes.len() - encoded.len() < 8, "only padding follows");
    true
}

pub(super) fn schema(bytes: &[u8]) -> bool {
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

pub(super) fn identity(bytes: &[u8]) -> bool {
    identity_value::decode(bytes, keys::IDENTITY).is_ok_and(|id| identity_value::encode(id) == bytes)
}

pub(super) fn checkpoint_record(bytes: &[u8]) -> bool {
    let Ok(covered) = record::decode(bytes, keys::CHECKPOINT) else {
        return false;
    };
    let encoded = record::encode(covered.sequence, covered.synced, covered.history);
    assert_eq!(encoded, bytes);
    true
}

/// Restores a page of states into an empty table. `bytes` are the key without its tag, then the value.
pub(super) fn page(bytes: &[u8], tag: &[u8]) -> bool {
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

pub(super) fn co_engagement(bytes: &[u8]) -> bool {
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
    // The restored index takes further events, some of which evict edges.
    for (round, at_ms) in [i64::MIN, 0, i64::MAX].into_iter().enumerate() {
        for id in 0..9 {
            index.record_positive(UserId(id % 4), EntityId(id + round as u64), 1.0, at_ms);
        }
    }
    index.export();
    !pairs.is_empty()
}

pub(super) fn plan(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).ok();
    let Some(plan) = text.and_then(|text| text.parse::<Plan>().ok()) else {
        return false;
    };
    assert_eq!(plan.replay_line().parse(), Ok(plan));
    true
}

pub(super) fn workload(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).ok();
    let Some(workload) = text.and_then(|text| text.parse::<Workload>().ok()) else {
        return false;
    };
    assert_eq!(workload.to_string().parse(), Ok(workload.clone()));
    !workload.operations.is_empty()
}

pub(super) fn event_file(bytes: &[u8]) -> bool {
    let read = FileEvents::read(bytes, |_| true);
    let schema = read.schema();
    assert!(schema.validate().is_ok());
    let declared: Vec<_> = EventFile::parse(bytes, &schema).take(read.events.len()).collect();
    assert!(
        declared.iter().flatten().eq(&read.events),
        "the file has the same events with the schema of its own names"
    );
    assert!(read.events.iter().all(|event| event.weight.is_finite()));
    assert!(!read.years().is_empty());
    !read.events.is_empty() && read.refused.is_none()
}
