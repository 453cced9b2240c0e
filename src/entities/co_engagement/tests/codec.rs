//! The bytes of the records, and the refusal of damaged ones.

use crate::entities::co_engagement::CoEngagementIndex;
use crate::entities::co_engagement::codec::*;
use crate::entities::co_engagement::node::{Edge, Node, WEIGHT_MIN};
use crate::entities::co_engagement::table::Stamped;
use crate::entities::user_ring::UserRing;
use crate::schema::CoEngagementConfig;

fn config() -> CoEngagementConfig {
    CoEngagementConfig {
        ring_len_max: 3,
        degree_max: 3,
        ..CoEngagementConfig::default()
    }
}

fn node(edges: &[(u64, f64)]) -> FencedRecord {
    let edges = edges.iter().map(|&(id, weight)| Edge { id, weight }).collect();
    FencedRecord::Node(
        0x0102,
        Some(Stamped {
            touched: 5,
            forgets: 1,
            record: Node { time_ms: -2, edges },
        }),
    )
}

fn ring(items: &[u64]) -> FencedRecord {
    FencedRecord::User(
        u64::MAX,
        Some(Stamped {
            touched: 6,
            forgets: 2,
            record: UserRing::from_items(items.to_vec()),
        }),
    )
}

fn records() -> Vec<FencedRecord> {
    let full = [(0, 1.0), (7, WEIGHT_MIN), (u64::MAX, f64::MAX)];
    vec![
        node(&full),
        node(&full[..1]),
        ring(&[9, 0, u64::MAX]),
        ring(&[1]),
        node(&[]),
        ring(&[]),
        meta(0x07, 0x03),
        meta(ORDINAL_MAX, ORDINAL_MAX),
        FencedRecord::Tombstone(0, Some(1)),
    ]
}

fn meta(ordinal: u64, forgets: u64) -> FencedRecord {
    FencedRecord::Meta(Ordinals { ordinal, forgets })
}

fn decode(key: &[u8], value: &[u8]) -> Result<FencedRecord, &'static str> {
    FencedRecord::decode(key, value, &config())
}

#[test]
fn each_record_has_the_bytes_of_its_field_table() {
    let edges = node(&[(9, 2.0), (3, 1.0)]);
    assert_eq!(edges.key(), [0x30, 0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(
        edges.value().unwrap(),
        [
            5, 0, 0, 0, 0, 0, 0, 0, // touched
            1, 0, 0, 0, 0, 0, 0, 0, // forgets
            0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // time
            3, 0, 0, 0, 0, 0, 0, 0, // by ascending id
            0, 0, 0, 0, 0, 0, 0xf0, 0x3f, // 1.0
            9, 0, 0, 0, 0, 0, 0, 0, //
            0, 0, 0, 0, 0, 0, 0, 0x40, // 2.0
        ]
    );
    let ring = ring(&[2, 1]);
    assert_eq!(ring.key(), [0x31, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(
        ring.value().unwrap(),
        [
            6, 0, 0, 0, 0, 0, 0, 0, // touched
            2, 0, 0, 0, 0, 0, 0, 0, // forgets
            2, 0, 0, 0, 0, 0, 0, 0, // oldest first
            1, 0, 0, 0, 0, 0, 0, 0, //
        ]
    );
    assert_eq!(meta(0x0102, 3).key(), [0x32]);
    assert_eq!(
        meta(0x0102, 3).value().unwrap(),
        [2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]
    );
    let tombstone = FencedRecord::Tombstone(0x0102, Some(7));
    assert_eq!(tombstone.key(), [0x33, 0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(tombstone.value().unwrap(), [7, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(FencedRecord::Tombstone(1, None).value(), None);
    assert_eq!(FencedRecord::Node(1, None).value(), None);
    assert_eq!(FencedRecord::User(1, None).value(), None);
}

#[test]
fn every_record_decodes_to_the_encoded_record() {
    for record in records() {
        assert_eq!(decode(&record.key(), &record.value().unwrap()), Ok(record));
    }
}

#[test]
fn a_shortened_or_extended_record_is_refused_or_is_another_legal_record() {
    for record in records() {
        let (key, value) = (record.key(), record.value().unwrap());
        for len in 0..key.len() {
            assert!(
                decode(&key[..len], &value).is_err(),
                "{record:?}, key truncated to {len}"
            );
        }
        for extra in 1..20 {
            let longer = [key.clone(), vec![0; extra]].concat();
            assert!(
                decode(&longer, &value).is_err(),
                "{record:?}, key longer by {extra}"
            );
        }
        // Complete entries may be missing or added. The checksum of the checkpoint detects this.
        let padded = [value.clone(), vec![0xff; 100]].concat();
        for len in (0..padded.len()).filter(|&len| len != value.len()) {
            if let Ok(other) = decode(&key, &padded[..len]) {
                assert_eq!(
                    other.value().unwrap(),
                    padded[..len],
                    "{record:?}, value of {len} bytes"
                );
            }
        }
    }
}

#[test]
fn a_record_with_a_flipped_bit_is_refused_or_is_another_legal_record() {
    for record in records() {
        let (key, value) = (record.key(), record.value().unwrap());
        for bit in 0..(key.len() + value.len()) * 8 {
            let mut bytes = [key.clone(), value.clone()].concat();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (key, value) = bytes.split_at(key.len());
            if let Ok(flipped) = decode(key, value) {
                assert_eq!(
                    (flipped.key(), flipped.value().unwrap()),
                    (key.to_vec(), value.to_vec()),
                    "bit {bit}"
                );
            }
            // The index accepts or refuses the record, and can be used after it accepts it.
            let mut index = CoEngagementIndex::new(config()).unwrap();
            let meta = meta(7, 3);
            if key != meta.key() {
                index.restore(&meta.key(), &meta.value().unwrap()).unwrap();
            }
            if index.restore(key, value).is_ok() && index.finish_restore().is_ok() {
                index.record_positive(crate::UserId(1), crate::EntityId(1), 1.0, 0);
            }
        }
    }
}

#[test]
fn each_impossible_value_is_refused_with_its_reason() {
    let refused = |record: FencedRecord| decode(&record.key(), &record.value().unwrap()).unwrap_err();
    assert_eq!(
        refused(node(&[(1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0)])),
        "more entries than the configured bound"
    );
    assert_eq!(
        refused(node(&[(1, 1.0), (1, 1.0)])),
        "edges not in ascending order"
    );
    assert_eq!(refused(node(&[(0x0102, 1.0)])), "edge from an item to itself");
    for weight in [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -1.0,
        0.0,
        -0.0,
        WEIGHT_MIN.next_down(),
    ] {
        let what = "weight of an edge not finite, normal and positive";
        assert_eq!(refused(node(&[(1, weight)])), what, "{weight}");
    }
    assert_eq!(
        refused(ring(&[1, 2, 3, 4])),
        "more entries than the configured bound"
    );
    assert_eq!(refused(ring(&[1, 2, 1])), "item twice in a ring");
    assert_eq!(refused(meta(ORDINAL_MAX + 1, 0)), "counter out of range");
    assert_eq!(refused(meta(0, ORDINAL_MAX + 1)), "counter out of range");
    let without = FencedRecord::Tombstone(1, Some(0));
    assert_eq!(refused(without), "tombstone without a forget");
    assert_eq!(decode(&[], &[]), Err("empty key"));
    assert_eq!(decode(&[0x2f; 9], &[]), Err("not a key of co-engagement"));
    assert_eq!(decode(&[0x30; 9], &[0; 23]), Err("edges truncated"));
    assert_eq!(decode(&[0x30; 9], &[0; 41]), Err("last entry truncated"));
    assert_eq!(decode(&[0x31; 9], &[0; 15]), Err("ring truncated"));
    assert_eq!(decode(&[0x32], &[0; 17]), Err("counters of the wrong length"));
    assert_eq!(decode(&[0x33; 9], &[1; 9]), Err("tombstone of the wrong length"));
}
