//! The index compared with a naive model, event by event, and its behaviour at the limits.

mod bounds;
mod checkpoint;
mod codec;
mod forgotten;
mod limits;
mod model;
mod node;
mod table;
mod workload;

use super::*;
use crate::testing::model::co_engagement::CoEngagement;
use crate::testing::workload::with_a_fresh_seed;
use model::{related, state, state_by_the_plain_formula};
use workload::{EngagementCall, EngagementWorkload};

fn small() -> CoEngagementConfig {
    CoEngagementConfig {
        ring_len_max: 4,
        degree_max: 3,
        half_life_ms: 1000,
        users_max: 6,
        nodes_max: 12,
    }
}

fn index(config: CoEngagementConfig) -> CoEngagementIndex {
    CoEngagementIndex::new(config).unwrap()
}

/// Checks all invariants of the index.
fn validate(index: &CoEngagementIndex) {
    let config = index.config;
    let state = index.export();
    assert!(state.users.len() as u64 <= config.users_max && state.items.len() as u64 <= config.nodes_max);
    for ring in &state.users {
        assert!(ring.items.len() <= config.ring_len_max as usize, "{ring:?}");
        assert!(ring.touched < state.ordinal, "{ring:?}");
        let mut items = ring.items.clone();
        items.sort_unstable();
        items.dedup();
        assert_eq!(items.len(), ring.items.len(), "{ring:?}");
    }
    for node in &state.items {
        assert!(node.edges.len() <= config.degree_max as usize, "{node:?}");
        assert!(node.touched < state.ordinal, "{node:?}");
        assert!(node.edges.is_sorted_by(|a, b| a.0 < b.0), "{node:?}");
        assert!(
            node.edges
                .iter()
                .all(|&(id, weight)| id != node.item && weight.is_normal() && weight > 0.0)
        );
    }
    index.users.validate();
    index.nodes.validate();
    index.forgotten.tombstones().validate();
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

fn assert_close(found: &CoEngagementState, expected: &CoEngagementState, context: &str) {
    assert_eq!(
        (found.ordinal, &found.users),
        (expected.ordinal, &expected.users),
        "{context}"
    );
    assert_eq!(found.items.len(), expected.items.len(), "{context}");
    for (found, expected) in found.items.iter().zip(&expected.items) {
        let same = found.item == expected.item
            && found.touched == expected.touched
            && found.time_ms == expected.time_ms
            && found.edges.len() == expected.edges.len()
            && found
                .edges
                .iter()
                .zip(&expected.edges)
                .all(|(f, e)| f.0 == e.0 && close(f.1, e.1));
        assert!(same, "{context}: {found:?} is not {expected:?}");
    }
}

#[test]
fn random_sequences_equal_the_model_bit_for_bit() {
    for seed in with_a_fresh_seed(0..40) {
        let mut workload = EngagementWorkload::new(seed);
        let (mut index, mut model) = (index(small()), CoEngagement::new(small()));
        for step in 0..300 {
            let event = workload.next();
            event.apply(&mut index);
            event.apply_to_model(&mut model);
            validate(&index);
            assert_eq!(
                index.export(),
                state(&model),
                "seed {seed}, step {step}, {event:?}"
            );
        }
    }
}

#[test]
fn random_sequences_equal_the_plain_formula_within_rounding() {
    let config = CoEngagementConfig {
        ring_len_max: 6,
        degree_max: 5,
        half_life_ms: 777,
        users_max: 8,
        nodes_max: 30,
    };
    for seed in with_a_fresh_seed(100..120) {
        let mut workload = EngagementWorkload::new(seed);
        let (mut index, mut model) = (index(config), CoEngagement::new(config));
        for step in 0..200 {
            let event = workload.next();
            event.apply(&mut index);
            event.apply_to_model(&mut model);
            assert_close(
                &index.export(),
                &state_by_the_plain_formula(&model),
                &format!("seed {seed}, step {step}, {event:?}"),
            );
        }
        for item in EngagementWorkload::items() {
            for now in [
                i64::MIN,
                -1,
                workload.now_ms(),
                workload.now_ms() + 5000,
                workload.now_ms() + 100_000,
            ] {
                for k in [0, 1, 3, usize::MAX] {
                    let found = index.related(EntityId(item), k, now);
                    let expected = related(&model, item, k, now);
                    let same = found.len() == expected.len()
                        && found
                            .iter()
                            .zip(&expected)
                            .all(|(f, e)| f.0 == e.0 && close(f.1, e.1));
                    assert!(
                        same,
                        "seed {seed}, item {item}, now {now}, k {k}: {found:?} is not {expected:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn other_hash_seeds_give_the_same_state_and_the_same_order_of_records() {
    // Every table has its own random hash seed.
    let run = || {
        let (mut workload, mut index) = (EngagementWorkload::new(7), index(small()));
        for _ in 0..500 {
            workload.next().apply(&mut index);
        }
        index.begin_fence();
        let records: Vec<_> = (0..FENCE_SHARDS)
            .flat_map(|shard| index.take_fenced(shard))
            .collect();
        let bytes: Vec<_> = records
            .iter()
            .map(|record| (record.key(), record.value()))
            .collect();
        (index.export(), bytes)
    };
    let first = run();
    for _ in 0..5 {
        assert_eq!(run(), first);
    }
}

#[test]
fn a_pair_is_linked_in_both_directions_with_the_weight_of_the_later_event() {
    let mut index = index(small());
    index.record_positive(UserId(1), EntityId(0), 7.0, 0);
    assert_eq!(index.related(EntityId(0), 9, 0), []);
    index.record_positive(UserId(1), EntityId(u64::MAX), 2.0, 0);
    assert_eq!(index.related(EntityId(0), 9, 0), [(EntityId(u64::MAX), 2.0)]);
    assert_eq!(index.related(EntityId(u64::MAX), 9, 0), [(EntityId(0), 2.0)]);
    // The half-life is 1,000 ms. An earlier "now" counts as the time of the event.
    assert_eq!(index.related(EntityId(0), 9, 3000), [(EntityId(u64::MAX), 0.25)]);
    assert_eq!(
        index.related(EntityId(0), 9, i64::MIN),
        [(EntityId(u64::MAX), 2.0)]
    );
}

#[test]
fn a_repeated_item_becomes_the_newest_and_changes_no_edge() {
    let mut index = index(small());
    for item in 1..=4 {
        index.record_positive(UserId(1), EntityId(item), 1.0, 0);
    }
    let before = index.export();
    index.record_positive(UserId(1), EntityId(1), 1.0, 50_000);
    let after = index.export();
    assert_eq!(after.users[0].items, [2, 3, 4, 1].map(EntityId));
    for (before, after) in before.items.iter().zip(&after.items) {
        assert_eq!((&before.edges, before.time_ms), (&after.edges, after.time_ms));
    }
    // Item 2 is the oldest now, so it is dropped. Item 1 stays.
    index.record_positive(UserId(1), EntityId(5), 1.0, 50_000);
    assert_eq!(index.export().users[0].items, [3, 4, 1, 5].map(EntityId));
}

#[test]
fn a_late_event_adds_the_same_weight_as_the_same_event_in_time() {
    let mut index = index(small());
    index.record_positive(UserId(1), EntityId(1), 1.0, 0);
    index.record_positive(UserId(1), EntityId(2), 1.0, 10_000);
    index.record_positive(UserId(2), EntityId(1), 1.0, 0);
    index.record_positive(UserId(2), EntityId(2), 64.0, 4000);
    assert_eq!(index.related(EntityId(1), 9, 10_000), [(EntityId(2), 2.0)]);
    assert_eq!(index.related(EntityId(1), 9, 0), [(EntityId(2), 2.0)]);
}

#[test]
fn related_sorts_equal_weights_by_ascending_id() {
    let mut index = index(CoEngagementConfig {
        degree_max: 8,
        ..small()
    });
    for item in [9, 3, 7, 5] {
        index.record_positive(UserId(1), EntityId(item), 1.0, 0);
    }
    let ids = |k| {
        index
            .related(EntityId(7), k, 0)
            .into_iter()
            .map(|(id, _)| id.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(9), [3, 5, 9]);
    assert_eq!(ids(2), [3, 5]);
}

#[test]
fn forgetting_a_user_removes_the_ring_and_leaves_the_edges() {
    let mut index = index(small());
    index.record_positive(UserId(1), EntityId(1), 1.0, 0);
    index.record_positive(UserId(1), EntityId(2), 1.0, 0);
    index.forget_user(UserId(1));
    index.forget_user(UserId(2));
    index.record_positive(UserId(1), EntityId(3), 1.0, 0);
    assert_eq!(index.related(EntityId(3), 9, 0), []);
    assert_eq!(index.related(EntityId(1), 9, 0), [(EntityId(2), 1.0)]);
}

#[test]
fn every_weight_and_every_time_give_finite_weights_of_edges() {
    let times = [
        i64::MIN,
        i64::MIN + 1,
        -1001,
        -1,
        0,
        1,
        999,
        i64::MAX - 1,
        i64::MAX,
    ];
    let weights = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -1.0,
        -0.0,
        0.0,
        5e-324,
        1.0,
        f64::MAX,
    ];
    for half_life_ms in [1, 1000, crate::limits::DURATION_MS_MAX] {
        let mut index = index(CoEngagementConfig {
            half_life_ms,
            nodes_max: 40,
            ..small()
        });
        let mut item = 0;
        for first in times {
            for second in times {
                for weight in weights {
                    item = (item + 1) % 7;
                    index.record_positive(UserId(item % 3), EntityId(item), weight, first);
                    index.record_positive(UserId(item % 3), EntityId(6 - item), f64::MAX, second);
                    validate(&index);
                    let scores = times
                        .iter()
                        .flat_map(|&now| index.related(EntityId(item), 9, now));
                    assert!(
                        scores
                            .into_iter()
                            .all(|(_, score)| score.is_finite() && score > 0.0)
                    );
                }
            }
        }
    }
}

#[test]
fn an_event_without_a_positive_weight_changes_the_ring_and_links_no_items() {
    for weight in [f64::NAN, f64::NEG_INFINITY, -1.0, -0.0, 0.0, 5e-324] {
        let mut index = index(small());
        index.record_positive(UserId(1), EntityId(1), 1.0, 0);
        index.record_positive(UserId(1), EntityId(2), weight, 0);
        let state = index.export();
        assert_eq!(
            state.users[0].items,
            [EntityId(1), EntityId(2)],
            "weight {weight}"
        );
        assert_eq!(state.items, [], "weight {weight}");
    }
}

#[test]
fn an_edge_that_is_too_light_for_exact_halvings_is_dropped() {
    let mut index = index(small());
    index.record_positive(UserId(1), EntityId(1), 1.0, 0);
    index.record_positive(UserId(1), EntityId(2), 1.0, 0);
    index.record_positive(UserId(2), EntityId(1), 1.0, 0);
    index.record_positive(UserId(2), EntityId(3), 1.0, 1_022_000);
    let ids = |index: &CoEngagementIndex| {
        index
            .related(EntityId(1), 9, 0)
            .into_iter()
            .map(|(id, _)| id.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&index), [3, 2]);
    index.record_positive(UserId(3), EntityId(1), 1.0, 0);
    index.record_positive(UserId(3), EntityId(4), 1.0, 1_023_000);
    assert_eq!(ids(&index), [4, 3]);
    // A gain that has decayed as much changes nothing.
    let before = index.export();
    index.record_positive(UserId(3), EntityId(5), 1.0, 0);
    assert_eq!(index.export().items[0], before.items[0]);
}

/// Each step of a random sequence leaves the same state as the events so far, applied to an empty index.
#[test]
fn equal_events_in_equal_order_give_equal_states_at_every_length() {
    let mut workload = EngagementWorkload::new(11);
    let events: Vec<EngagementCall> = (0..60).map(|_| workload.next()).collect();
    let mut running = index(small());
    for len in 0..events.len() {
        events[len].apply(&mut running);
        let mut fresh = index(small());
        events[..=len].iter().for_each(|event| event.apply(&mut fresh));
        assert_eq!(running.export(), fresh.export(), "length {len}");
    }
}
