//! Forgotten items: no read returns them at any progress of their removal, and the removal ends.

use super::checkpoint::{Storage, restored, write};
use super::*;
use crate::entities::co_engagement::codec::TOMBSTONE_TAG;

/// The number of entries in records that are hidden from readers.
fn hidden_len(index: &CoEngagementIndex) -> usize {
    let state = index.export();
    let visible = state.users.iter().map(|ring| ring.items.len()).sum::<usize>()
        + state.items.iter().map(|node| node.edges.len()).sum::<usize>();
    let rings = index.users.sorted();
    let nodes = index.nodes.sorted();
    let held = rings
        .iter()
        .map(|(_, ring)| ring.record.items().len())
        .sum::<usize>()
        + nodes
            .iter()
            .map(|(_, node)| node.record.edges.len())
            .sum::<usize>();
    held - visible
}

fn checkpoint(index: &mut CoEngagementIndex, storage: &mut Storage) {
    index.begin_fence();
    (0..FENCE_SHARDS).for_each(|shard| write(storage, &index.take_fenced(shard)));
}

#[test]
fn no_read_returns_a_forgotten_item() {
    let mut workload = EngagementWorkload::new(3);
    let mut index = index(small());
    for _ in 0..200 {
        workload.next().apply(&mut index);
    }
    let records = |state: &CoEngagementState| (state.users.len(), state.items.len());
    let before = records(&index.export());
    for item in EngagementWorkload::items() {
        let had_edges = index.nodes.get(item).is_some();
        let items_len = index.export().items.len();
        index.forget_item(EntityId(item), 0);
        validate(&index);
        let state = index.export();
        let forgotten = EntityId(item);
        assert!(
            state.users.iter().all(|ring| !ring.items.contains(&forgotten)),
            "item {item}"
        );
        let has_item =
            |node: &state::NodeState| node.item == forgotten || node.edges.iter().any(|e| e.0 == forgotten);
        assert!(!state.items.iter().any(has_item), "item {item}");
        assert_eq!(state.items.len() + usize::from(had_edges), items_len);
        assert_eq!(index.related(forgotten, 9, 0), []);
    }
    let state = index.export();
    assert_eq!(records(&state), (before.0, 0), "rings stay");
    assert!(state.users.iter().all(|ring| ring.items.is_empty()));
}

#[test]
fn the_state_equals_the_model_at_any_progress_of_the_removal() {
    for seed in with_a_fresh_seed(600..608) {
        for steps_len in [0, 1, 3, 100] {
            let mut workload = EngagementWorkload::forgetful(seed);
            let (mut index, mut model) = (index(small()), CoEngagement::new(small()));
            let mut hidden = false;
            for step in 0..200 {
                let event = workload.next();
                match event {
                    EngagementCall::ForgetItem(item) => index.forget_item(EntityId(item), steps_len),
                    _ => event.apply(&mut index),
                }
                event.apply_to_model(&mut model);
                validate(&index);
                hidden |= hidden_len(&index) > 0;
                let what = format!("seed {seed}, {steps_len} steps, step {step}, {event:?}");
                assert_eq!(index.export(), state(&model), "{what}");
                for item in EngagementWorkload::items() {
                    let found = index.related(EntityId(item), 3, 0);
                    let expected = related(&model, item, 3, 0);
                    let ids = |edges: &[(EntityId, f64)]| edges.iter().map(|edge| edge.0).collect::<Vec<_>>();
                    assert_eq!(ids(&found), ids(&expected), "{what}");
                }
            }
            assert_eq!(hidden, steps_len < 100, "seed {seed}, {steps_len} steps");
        }
    }
}

#[test]
fn a_restored_index_has_no_forgotten_entries_and_its_next_checkpoint_stores_none() {
    let mut hidden_rounds = 0;
    for seed in 700..720 {
        let mut workload = EngagementWorkload::forgetful(seed);
        let (mut index, mut model) = (index(small()), CoEngagement::new(small()));
        let mut storage = Storage::new();
        for round in 0..8 {
            for _ in 0..workload.below(30) {
                let event = workload.next();
                event.apply(&mut index);
                event.apply_to_model(&mut model);
            }
            checkpoint(&mut index, &mut storage);
            hidden_rounds += usize::from(hidden_len(&index) > 0);
            // Some rounds continue with the index, others with an index that is restored from the checkpoint.
            if workload.below(2) == 0 {
                index = restored(&storage, small());
                assert_eq!((hidden_len(&index), index.tombstones_len()), (0, 0));
                if workload.below(2) == 0 {
                    let mut stored = storage.clone();
                    checkpoint(&mut index, &mut stored);
                    assert!(stored.keys().all(|key| key[0] != TOMBSTONE_TAG));
                    storage = stored;
                }
            }
            assert_eq!(index.export(), state(&model), "seed {seed}, round {round}");
            assert_eq!(
                restored(&storage, small()).export(),
                state(&model),
                "seed {seed}, round {round}"
            );
        }
    }
    assert!(hidden_rounds > 50, "{hidden_rounds}");
}

#[test]
fn the_removal_ends_and_leaves_no_entries_and_no_tombstones() {
    let config = CoEngagementConfig {
        ring_len_max: 4,
        degree_max: 6,
        users_max: 1000,
        nodes_max: 1000,
        ..small()
    };
    let mut index = index(config);
    let mut storage = Storage::new();
    for event in 0..4000 {
        index.record_positive(UserId(event % 300), EntityId(event * 7 % 500), 1.0, 0);
    }
    for item in 0..20 {
        index.forget_item(EntityId(item), 0);
    }
    assert!(hidden_len(&index) > 50 && index.tombstones_len() == 20);
    checkpoint(&mut index, &mut storage);
    let records_len = index.nodes.len() + index.users.len();
    // A step for each record, one for each tombstone, and a last step that finds nothing to remove.
    for item in 0..records_len as u64 + 21 {
        assert_eq!(
            index.tombstones_len() == 0,
            item == records_len as u64 + 20,
            "{item}"
        );
        index.record_positive(UserId(1000), EntityId(1000 + item % 2), 1.0, 0);
    }
    assert_eq!(hidden_len(&index), 0);
    let keys = |storage: &Storage| storage.keys().filter(|key| key[0] == TOMBSTONE_TAG).count();
    assert_eq!(keys(&storage), 20);
    checkpoint(&mut index, &mut storage);
    assert_eq!(keys(&storage), 0);
    assert_eq!(restored(&storage, config).export(), index.export());
}

#[test]
fn many_forgets_leave_fewer_tombstones_than_half_of_the_records() {
    let mut index = index(CoEngagementConfig {
        users_max: 1000,
        nodes_max: 1000,
        ..small()
    });
    for event in 0..4000 {
        index.record_positive(UserId(event % 300), EntityId(event % 900), 1.0, 0);
    }
    let steps_len = crate::limits::Limits::default().forgetting_steps_len;
    let mut most = 0;
    for item in 0..20_000 {
        index.forget_item(EntityId(10_000 + item), steps_len);
        most = most.max(index.tombstones_len());
    }
    let records_len = index.nodes.len() + index.users.len();
    assert!((50..records_len / 2).contains(&most), "{most} for {records_len}");
}

#[test]
fn a_forget_in_an_empty_index_leaves_no_tombstone() {
    let mut index = index(small());
    index.forget_item(EntityId(1), 1);
    assert_eq!((index.tombstones_len(), index.changed_bytes()), (0, 0));
    index.record_positive(UserId(1), EntityId(1), 1.0, 0);
    index.forget_item(EntityId(1), 0);
    assert_eq!(index.tombstones_len(), 1);
    index.forget_item(EntityId(1), 0);
    assert_eq!(index.tombstones_len(), 1, "an item has at most one tombstone");
}

#[test]
fn an_empty_ring_and_an_empty_item_count_for_the_bounds() {
    let config = CoEngagementConfig {
        users_max: 2,
        nodes_max: 2,
        ..small()
    };
    let mut index = index(config);
    let mut model = CoEngagement::new(config);
    let mut both = |call: EngagementCall| {
        call.apply(&mut index);
        call.apply_to_model(&mut model);
        assert_eq!(index.export(), state(&model));
        index.export()
    };
    let positive = |user, item| EngagementCall::Positive {
        user,
        item,
        weight: 1.0,
        at_ms: 0,
    };
    both(positive(1, 1));
    both(positive(1, 2));
    let emptied = both(EngagementCall::ForgetItem(1));
    assert_eq!(emptied.items[0].edges, [], "item 2 stays without edges");
    let emptied = both(EngagementCall::ForgetItem(2));
    assert_eq!((emptied.users.len(), emptied.users[0].items.len()), (1, 0));
    both(positive(2, 5));
    let full = both(positive(3, 6));
    let users: Vec<_> = full.users.iter().map(|ring| ring.user.0).collect();
    assert_eq!(users, [2, 3], "the empty ring was the oldest");
}

#[test]
fn a_forget_visits_a_fixed_number_of_records() {
    let mut index = index(CoEngagementConfig {
        users_max: 10_000,
        nodes_max: 10_000,
        ..small()
    });
    for event in 0..8000 {
        index.record_positive(UserId(event % 2000), EntityId(event % 3000), 1.0, 0);
    }
    let mut storage = Storage::new();
    checkpoint(&mut index, &mut storage);
    index.forget_item(EntityId(5), 8);
    let unchanged_max = <()>::stored_bytes(0) + 9 * Node::stored_bytes(4);
    assert!(
        index.changed_bytes() <= unchanged_max,
        "{}",
        index.changed_bytes()
    );
    assert!(index.changed_bytes() <= index.forget_bytes_max(8));
}
