//! The bytes of events and markers, and payloads that are refused.

use crate::wal::payload::*;
use crate::{CohortId, EntityId, SignalEvent, SignalId, UserId};

const COHORTS: [CohortId; 2] = [CohortId(0), CohortId(u64::MAX)];

fn sample() -> Vec<SignalEvent<'static>> {
    vec![
        SignalEvent::new(SignalId(1), EntityId(0x0102), -3).with_weight(2.5),
        SignalEvent::new(SignalId(0), EntityId(u64::MAX), i64::MAX)
            .with_user(UserId(9))
            .with_cohorts(&COHORTS),
    ]
}

fn payload() -> Vec<u8> {
    let mut payload = Vec::new();
    encode_events(&sample(), &mut payload);
    assert_eq!(payload.len(), events_len(&sample()));
    payload
}

#[test]
fn events_have_their_golden_bytes() {
    let mut golden = vec![2, 0, 0, 0, 0, 0, 0, 0];
    golden.extend_from_slice(&[0x02, 0x01, 0, 0, 0, 0, 0, 0]);
    golden.extend_from_slice(&[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    golden.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0x04, 0x40]);
    golden.extend_from_slice(&[1, 0, 0, 0]);
    golden.extend_from_slice(&[0xff; 8]);
    golden.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    golden.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
    golden.extend_from_slice(&[0, 0, 1, 2]);
    golden.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend_from_slice(&[0; 8]);
    golden.extend_from_slice(&[0xff; 8]);
    assert_eq!(payload(), golden);
}

#[test]
fn events_read_back_with_user_and_every_cohort() {
    let payload = payload();
    let read: Vec<_> = Events::decode(&payload, 2).unwrap().map(Result::unwrap).collect();
    assert_eq!(read.len(), 2);
    assert_eq!(
        (read[0].entity, read[0].at_ms, read[0].weight.to_bits()),
        (EntityId(0x0102), -3, 2.5_f64.to_bits())
    );
    assert_eq!(
        (read[0].signal, read[0].user, read[0].cohorts().count()),
        (SignalId(1), None, 0)
    );
    assert_eq!((read[1].signal, read[1].user), (SignalId(0), Some(UserId(9))));
    assert_eq!(read[1].cohorts().collect::<Vec<_>>(), COHORTS);
}

#[test]
fn truncated_events_are_refused_and_a_flipped_bit_makes_no_decoding_panic() {
    let payload = payload();
    let read = |bytes: &[u8]| {
        Events::decode(bytes, 2)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .is_ok()
    };
    assert!(read(&payload));
    for len in 0..payload.len() {
        assert!(!read(&payload[..len]), "truncated at {len}");
    }
    for bit in 0..payload.len() * 8 {
        let mut flipped = payload.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        read(&flipped);
    }
}

#[test]
fn an_event_outside_the_schema_or_a_limit_is_refused() {
    let problem = |event: SignalEvent<'_>| {
        let mut payload = Vec::new();
        encode_events(&[event], &mut payload);
        Events::decode(&payload, 2)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .err()
    };
    let event = SignalEvent::new(SignalId(1), EntityId(1), 0);
    assert_eq!(problem(event), None);
    assert!(
        problem(SignalEvent {
            signal: SignalId(2),
            ..event
        })
        .is_some()
    );
    assert!(problem(event.with_weight(f64::NAN)).is_some());
    assert!(problem(event.with_weight(f64::INFINITY)).is_some());
}

#[test]
fn the_digest_of_a_close_marker_reads_back_and_any_other_length_is_refused() {
    let payload = 7_u64.to_le_bytes();
    assert_eq!(decode_close(&payload), Ok(7));
    assert!(decode_close(&payload[1..]).is_err());
    assert!(decode_close(&[payload, payload].concat()).is_err());
}

#[test]
fn the_entity_or_user_to_forget_reads_back_and_other_bytes_are_refused() {
    for forget in [Forget::Entity(EntityId(3)), Forget::User(UserId(u64::MAX))] {
        let mut payload = Vec::new();
        encode_forget(forget, &mut payload);
        assert_eq!(decode_forget(&payload), Ok(forget));
        assert!(decode_forget(&payload[..15]).is_err());
    }
    assert!(decode_forget(&[3; 16]).is_err());
}
