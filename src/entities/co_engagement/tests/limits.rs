//! The records and edges that are dropped at a limit.

use super::*;

fn related_ids(index: &CoEngagementIndex, item: u64) -> Vec<u64> {
    let mut ids: Vec<_> = index
        .related(EntityId(item), usize::MAX, 0)
        .into_iter()
        .map(|(id, _)| id.0)
        .collect();
    ids.sort_unstable();
    ids
}

/// Links two items by events of `user`, which has no other item.
fn pair(index: &mut CoEngagementIndex, user: u64, items: [u64; 2], weight: f64) {
    for item in items {
        index.record_positive(UserId(user), EntityId(item), weight, 0);
    }
}

#[test]
fn a_new_edge_of_a_full_item_is_added_and_can_stay() {
    // An eviction of the lightest edge alone would always drop 100 or 101, because the new edge is the lightest one.
    let config = CoEngagementConfig {
        degree_max: 3,
        users_max: 1000,
        nodes_max: 1000,
        ..small()
    };
    let mut index = index(config);
    for (user, other) in [(1, 11), (2, 12), (3, 13)] {
        pair(&mut index, user, [1, other], 10.0);
    }
    pair(&mut index, 4, [1, 100], 1.0);
    assert_eq!(related_ids(&index, 1), [11, 12, 100]);
    assert_eq!(index.related(EntityId(1), 1, 0), [(EntityId(100), 11.0)]);
    pair(&mut index, 5, [1, 101], 1.0);
    assert_eq!(related_ids(&index, 1), [11, 100, 101]);
    for user in 6..20 {
        pair(&mut index, user, [1, 100 + user % 2], 1.0);
    }
    assert_eq!(related_ids(&index, 1), [11, 100, 101]);
}

#[test]
fn evictions_do_not_change_the_sum_of_the_weights_of_an_item() {
    let config = CoEngagementConfig {
        users_max: 1000,
        nodes_max: 1000,
        ..small()
    };
    let mut index = index(config);
    for user in 0..50 {
        pair(&mut index, user, [1, 100 + user], 1.0);
    }
    let sum: f64 = index
        .related(EntityId(1), 9, 0)
        .into_iter()
        .map(|(_, weight)| weight)
        .sum();
    assert_eq!(sum.to_bits(), 50.0_f64.to_bits());
}

#[test]
fn if_one_event_adds_more_edges_than_the_bound_the_edge_to_the_most_recent_item_stays() {
    let config = CoEngagementConfig {
        ring_len_max: 8,
        degree_max: 2,
        nodes_max: 100,
        ..small()
    };
    let mut index = index(config);
    for item in 1..=6 {
        index.record_positive(UserId(1), EntityId(item), 1.0, 0);
    }
    // Item 6 has room for the edges to 1 and 2. Of equally light edges the largest id is replaced: 3 replaces 2, 4
    // replaces 1, 5 replaces 4.
    assert_eq!(
        index.related(EntityId(6), 9, 0),
        [(EntityId(5), 3.0), (EntityId(3), 2.0)]
    );
    validate(&index);
}

#[test]
fn over_the_limit_of_users_the_user_with_the_oldest_last_event_is_dropped() {
    let mut index = index(CoEngagementConfig {
        users_max: 2,
        ..small()
    });
    for user in [1, 2, 1, 3] {
        index.record_positive(UserId(user), EntityId(user), 1.0, 0);
    }
    let users = |index: &CoEngagementIndex| {
        index
            .export()
            .users
            .iter()
            .map(|ring| ring.user.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(users(&index), [1, 3]);
    index.record_positive(UserId(2), EntityId(9), 1.0, 0);
    assert_eq!(users(&index), [2, 3]);
    assert_eq!(index.export().users[0].items, [EntityId(9)]);
}

#[test]
fn over_the_limit_of_items_the_item_with_the_oldest_last_touch_loses_its_edges() {
    let mut index = index(CoEngagementConfig {
        nodes_max: 4,
        users_max: 100,
        ..small()
    });
    pair(&mut index, 1, [1, 2], 1.0);
    pair(&mut index, 2, [3, 4], 1.0);
    pair(&mut index, 3, [1, 9], 1.0);
    // An event of user 3 touched item 1, before the event of item 9. Item 2 has the oldest last touch.
    let items = |index: &CoEngagementIndex| {
        index
            .export()
            .items
            .iter()
            .map(|node| node.item.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(items(&index), [1, 3, 4, 9]);
    assert_eq!(related_ids(&index, 2), [0_u64; 0]);
    // The edges of other items to item 2 stay.
    assert_eq!(related_ids(&index, 1), [2, 9]);
    // An event touches item 3 without a new edge. After that, item 4 has the oldest last touch.
    index.record_positive(UserId(9), EntityId(3), 1.0, 0);
    pair(&mut index, 4, [1, 8], 1.0);
    assert_eq!(items(&index), [1, 3, 8, 9]);
}

#[test]
fn the_smallest_bounds_equal_the_model() {
    let config = CoEngagementConfig {
        ring_len_max: 1,
        degree_max: 1,
        half_life_ms: 1,
        users_max: 1,
        nodes_max: 1,
    };
    let mut workload = EngagementWorkload::new(5);
    let (mut index, mut model) = (index(config), CoEngagement::new(config));
    for step in 0..500 {
        let event = workload.next();
        event.apply(&mut index);
        event.apply_to_model(&mut model);
        validate(&index);
        assert_eq!(index.export(), state(&model), "step {step}, {event:?}");
    }
}

#[test]
fn a_full_item_has_capacity_for_the_new_edges_of_one_event_and_no_more() {
    let config = CoEngagementConfig {
        ring_len_max: 32,
        degree_max: 64,
        users_max: 1000,
        nodes_max: 5000,
        ..small()
    };
    let mut index = index(config);
    let mut workload = EngagementWorkload::new(6);
    for _ in 0..5000 {
        let (user, item) = (workload.below(100), workload.below(300));
        index.record_positive(UserId(user), EntityId(item), 1.0, 0);
    }
    let full = index
        .nodes
        .sorted()
        .iter()
        .filter(|(_, node)| node.record.edges.len() == 64)
        .count();
    assert!(full > 200, "{full}");
    for (_, node) in index.nodes.sorted() {
        assert!(
            node.record.edges.capacity() <= 96,
            "{}",
            node.record.edges.capacity()
        );
    }
}

#[test]
fn the_crash_point_of_an_event_is_after_all_edges_are_added_and_before_any_edge_is_evicted() {
    use crate::testing::{CrashInjector, CrashPoint, run_with_crash};
    let config = CoEngagementConfig {
        ring_len_max: 8,
        degree_max: 2,
        nodes_max: 100,
        ..small()
    };
    let events = [1, 2, 3, 4, 2, 5, 5];
    // The same for a new user, full items and repeated items.
    let injector = CrashInjector::new(CrashPoint::CoEngagementUpdate, events.len() as u64);
    let mut whole = index(config);
    run_with_crash(&injector, || {
        for item in events {
            whole.record_positive(UserId(1), EntityId(item), 1.0, 0);
        }
    })
    .unwrap();
    assert_eq!(injector.crossing_count(), events.len() as u64);

    let mut crashed = index(config);
    for item in 1..=4 {
        crashed.record_positive(UserId(1), EntityId(item), 1.0, 0);
    }
    let injector = CrashInjector::new(CrashPoint::CoEngagementUpdate, 0);
    let crash = run_with_crash(&injector, || {
        crashed.record_positive(UserId(1), EntityId(9), 1.0, 0);
    });
    assert_eq!(crash, Err(CrashPoint::CoEngagementUpdate));
    let edges_len = |item| crashed.nodes.get(item).map(|node| node.record.edges.len());
    assert_eq!([1, 2, 3, 4, 9].map(edges_len), [3, 3, 3, 3, 4].map(Some));
    let ring = crashed.users.get(1).map(|ring| ring.record.items().to_vec());
    assert_eq!(ring, Some(vec![1, 2, 3, 4]), "the item is not in the ring yet");
}
