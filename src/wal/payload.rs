//! The format of the payloads: events, an entity or user to forget, and the markers. The functions only encode and
//! decode; the frame's checksum protects the bytes, so a crash leaves no part of a payload.
//!
//! Little-endian. Events:
//!
//! | size | field | content |
//! |---|---|---|
//! | 4 | count | events that follow, at least 1 |
//! | 4 | reserved | 0 |
//! | per event: 8 | entity | |
//! | 8 | time | milliseconds since the Unix epoch, signed |
//! | 8 | weight | IEEE 754 double |
//! | 2 | signal | its id in the schema |
//! | 1 | flags | bit 0: a user follows |
//! | 1 | cohorts | the number of cohorts that follow |
//! | 8 if flagged | user | |
//! | 8 each | cohorts | |
//!
//! Forget: 8 bytes, 1 for an entity or 2 for a user, then 8 bytes with its id. Checkpoint: 8 bytes, the sequence number
//! that the flushed checkpoint covers. Close: 8 bytes, the digest of the collections. Each payload is padded with zeros
//! (see [`frame`](super::frame)).

use crate::codec::{Reader, Write};
use crate::limits::{BATCH_EVENTS_MAX, EVENT_COHORTS_MAX, WEIGHT_ABS_MAX};
use crate::{CohortId, EntityId, SignalEvent, SignalId, UserId};

const EVENTS_HEADER_BYTES: usize = 8;
const EVENT_FIXED_BYTES: usize = 8 + 8 + 8 + 2 + 1 + 1;
const FLAG_USER: u8 = 1;
const FORGET_ENTITY: u64 = 1;
const FORGET_USER: u64 = 2;
const _: () = assert!(EVENT_COHORTS_MAX <= u8::MAX as usize);

/// The entity or the user of a forget frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forget {
    Entity(EntityId),
    User(UserId),
}

/// The length of the payload of [`encode_events`], before padding.
pub(crate) fn events_len(events: &[SignalEvent<'_>]) -> usize {
    let variable = |event: &SignalEvent<'_>| 8 * (usize::from(event.user.is_some()) + event.cohorts.len());
    EVENTS_HEADER_BYTES
        + events
            .iter()
            .map(|event| EVENT_FIXED_BYTES + variable(event))
            .sum::<usize>()
}

/// Appends the payload of an events frame.
pub(crate) fn encode_events(events: &[SignalEvent<'_>], payload: &mut Vec<u8>) {
    payload.reserve(events_len(events));
    payload.put_u32(events.len() as u32);
    payload.put_u32(0);
    for event in events {
        let mut fixed = [0; EVENT_FIXED_BYTES];
        fixed[..8].copy_from_slice(&event.entity.0.to_le_bytes());
        fixed[8..16].copy_from_slice(&event.at_ms.to_le_bytes());
        fixed[16..24].copy_from_slice(&event.weight.to_le_bytes());
        fixed[24..26].copy_from_slice(&event.signal.0.to_le_bytes());
        fixed[26] = if event.user.is_some() { FLAG_USER } else { 0 };
        fixed[27] = event.cohorts.len() as u8;
        payload.extend_from_slice(&fixed);
        if let Some(user) = event.user {
            payload.put_u64(user.0);
        }
        for cohort in event.cohorts {
            payload.put_u64(cohort.0);
        }
    }
}

/// The events of a payload, in order. The iteration ends after an `Err`, which describes the error.
#[derive(Debug, Clone)]
pub(crate) struct Events<'a> {
    reader: Reader<'a>,
    left: u32,
    signals_len: usize,
}

/// A decoded event; its cohorts are still encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoggedEvent<'a> {
    pub(crate) entity: EntityId,
    pub(crate) at_ms: i64,
    pub(crate) weight: f64,
    pub(crate) signal: SignalId,
    pub(crate) user: Option<UserId>,
    cohorts: &'a [[u8; 8]],
}

impl LoggedEvent<'_> {
    pub(crate) fn cohorts(&self) -> impl Iterator<Item = CohortId> {
        self.cohorts
            .iter()
            .map(|bytes| CohortId(u64::from_le_bytes(*bytes)))
    }
}

impl<'a> Events<'a> {
    /// The events of `payload`, whose signals must be among the first `signals_len` of the schema.
    pub(crate) fn decode(payload: &'a [u8], signals_len: usize) -> Result<Self, &'static str> {
        let mut reader = Reader::new(payload);
        let (Some(left), Some(0)) = (reader.u32(), reader.u32()) else {
            return Err("the events have no valid count");
        };
        if left == 0 || left as usize > BATCH_EVENTS_MAX {
            return Err("the count of events is outside its limits");
        }
        Ok(Self {
            reader,
            left,
            signals_len,
        })
    }

    /// The number of events that were not returned yet.
    pub(crate) fn left(&self) -> u32 {
        self.left
    }

    fn read(&mut self) -> Option<(LoggedEvent<'a>, u8)> {
        let (fixed, _) = self
            .reader
            .bytes(EVENT_FIXED_BYTES)?
            .split_first_chunk::<EVENT_FIXED_BYTES>()?;
        let mut fields = Reader::new(fixed);
        let entity = EntityId(fields.u64()?);
        let at_ms = fields.i64()?;
        let weight = fields.f64()?;
        let signal = SignalId(fields.u16()?);
        let flags = fields.u8()?;
        let cohorts_len = usize::from(fields.u8()?);
        let user = if flags & FLAG_USER == 0 {
            None
        } else {
            Some(UserId(self.reader.u64()?))
        };
        let (cohorts, _) = self.reader.bytes(8 * cohorts_len)?.as_chunks::<8>();
        Some((
            LoggedEvent {
                entity,
                at_ms,
                weight,
                signal,
                user,
                cohorts,
            },
            flags,
        ))
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<LoggedEvent<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let Some((event, flags)) = self.read() else {
            self.left = 0;
            return Some(Err("the events end too early"));
        };
        let problem = if flags & !FLAG_USER != 0 {
            Some("an event has unknown flags")
        } else if usize::from(event.signal.0) >= self.signals_len {
            Some("an event has a signal that is not in the schema")
        } else if event.cohorts.len() > EVENT_COHORTS_MAX {
            Some("an event has too many cohorts")
        } else if event.weight.is_nan() || event.weight.abs() > WEIGHT_ABS_MAX {
            Some("an event's weight is outside its limits")
        } else if self.left == 0 && self.reader.remaining_len() >= 8 {
            Some("bytes follow the last event")
        } else {
            None
        };
        if problem.is_some() {
            self.left = 0;
        }
        Some(problem.map_or(Ok(event), Err))
    }
}

/// Appends the payload of a forget frame.
pub(crate) fn encode_forget(forget: Forget, payload: &mut Vec<u8>) {
    let (kind, id) = match forget {
        Forget::Entity(entity) => (FORGET_ENTITY, entity.0),
        Forget::User(user) => (FORGET_USER, user.0),
    };
    payload.put_u64(kind);
    payload.put_u64(id);
}

/// Reads the payload of a forget frame.
pub(crate) fn decode_forget(payload: &[u8]) -> Result<Forget, &'static str> {
    let mut reader = Reader::new(payload);
    match (reader.u64(), reader.u64(), reader.is_empty()) {
        (Some(FORGET_ENTITY), Some(id), true) => Ok(Forget::Entity(EntityId(id))),
        (Some(FORGET_USER), Some(id), true) => Ok(Forget::User(UserId(id))),
        _ => Err("the entity or user to forget is not valid"),
    }
}

/// Reads the payload of a checkpoint marker: the sequence number that the checkpoint covers.
pub(crate) fn decode_checkpoint(payload: &[u8]) -> Result<u64, &'static str> {
    let mut reader = Reader::new(payload);
    match (reader.u64(), reader.is_empty()) {
        (Some(covered), true) => Ok(covered),
        _ => Err("the checkpoint marker is not valid"),
    }
}

/// Reads the payload of a close marker: the digest of the collections.
pub(crate) fn decode_close(payload: &[u8]) -> Result<u64, &'static str> {
    let mut reader = Reader::new(payload);
    match (reader.u64(), reader.is_empty()) {
        (Some(collections), true) => Ok(collections),
        _ => Err("the close marker is not valid"),
    }
}
