//! New bounds for an index that has a state.

use super::checkpoint::{Storage, restored, write};
use super::*;

/// [`small`], and its bounds raised and lowered, alone and together.
fn others() -> Vec<CoEngagementConfig> {
    type MoveBound = fn(&mut CoEngagementConfig, i64);
    let sets: [MoveBound; 4] = [
        |config, by| config.ring_len_max = config.ring_len_max.saturating_add_signed(by as i32),
        |config, by| config.degree_max = config.degree_max.saturating_add_signed(by as i32),
        |config, by| config.users_max = config.users_max.saturating_add_signed(by),
        |config, by| config.nodes_max = config.nodes_max.saturating_add_signed(by),
    ];
    let changed = |sets: &[MoveBound], by: i64| {
        let mut config = small();
        for set in sets {
            set(&mut config, by);
        }
        config
    };
    let mut others = vec![small()];
    for by in [-2, 2] {
        others.extend(sets.iter().map(|&set| changed(&[set], by)));
        others.push(changed(&sets, by));
    }
    let mut mixed = changed(&sets[..2], 3);
    (mixed.users_max, mixed.nodes_max) = (1, 1);
    others.push(mixed);
    others
}

#[test]
fn a_checkpoint_after_a_change_of_bounds_is_complete_and_within_the_counted_bytes() {
    for (seed, config) in (700..).zip(others().into_iter().cycle().take(44)) {
        let mut workload = EngagementWorkload::new(seed);
        let mut index = index(small());
        let mut storage = Storage::new();
        let checkpoint = |index: &mut CoEngagementIndex, storage: &mut Storage| {
            let counted = index.changed_bytes();
            index.begin_fence();
            let records: Vec<_> = (0..FENCE_SHARDS)
                .flat_map(|shard| index.take_fenced(shard))
                .collect();
            let stored = records
                .iter()
                .filter(|record| !matches!(record, FencedRecord::Meta(_)))
                .map(|record| record.key().len() + record.value().map_or(0, |value| value.len()) + 4 + 10);
            assert!(stored.sum::<usize>() as u64 <= counted, "seed {seed}");
            write(storage, &records);
        };
        for _ in 0..150 {
            workload.next().apply(&mut index);
        }
        checkpoint(&mut index, &mut storage);
        // Some of the reduced records changed since the last checkpoint, some did not.
        for _ in 0..workload.below(20) {
            workload.next().apply(&mut index);
        }
        index.set_bounds(config);
        checkpoint(&mut index, &mut storage);
        assert_eq!(
            restored(&storage, config).export(),
            index.export(),
            "seed {seed}, {config:?}"
        );
    }
}

#[test]
fn a_change_of_bounds_stores_no_record_that_is_within_the_new_bounds() {
    let mut index = index(small());
    for item in 1..=3 {
        index.record_positive(UserId(1), EntityId(item), 1.0, 0);
    }
    index.begin_fence();
    (0..FENCE_SHARDS).for_each(|shard| drop(index.take_fenced(shard)));
    for bounds in [
        CoEngagementConfig {
            ring_len_max: 3,
            degree_max: 2,
            users_max: 1,
            nodes_max: 3,
            ..small()
        },
        small(),
    ] {
        index.set_bounds(bounds);
        assert_eq!(index.changed_bytes(), 0);
        index.begin_fence();
        for shard in 0..FENCE_SHARDS {
            assert_eq!(index.take_fenced(shard), [], "{bounds:?}");
        }
    }
}

#[test]
fn an_item_releases_the_memory_of_edges_that_a_lower_bound_drops() {
    let wide = CoEngagementConfig {
        ring_len_max: 32,
        degree_max: 64,
        users_max: 100,
        nodes_max: 100,
        ..small()
    };
    let mut index = index(wide);
    for item in 0..64 {
        index.record_positive(UserId(item / 32), EntityId(item), 1.0, 0);
    }
    index.set_bounds(CoEngagementConfig {
        ring_len_max: 2,
        degree_max: 4,
        ..wide
    });
    for (_, node) in index.nodes.sorted() {
        assert_eq!(node.record.edges.len(), 4);
        assert!(
            node.record.edges.capacity() <= 6,
            "{}",
            node.record.edges.capacity()
        );
    }
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn after_a_change_of_bounds_the_state_and_all_later_states_equal_the_model() {
        for (seed, config) in (500..).zip(others().into_iter().cycle().take(110)) {
            let mut workload = EngagementWorkload::new(seed);
            let (mut index, mut model) = (index(small()), CoEngagement::new(small()));
            for bounds in [None, Some(config), Some(small())] {
                if let Some(bounds) = bounds {
                    index.set_bounds(bounds);
                    model.set_bounds(bounds);
                    validate(&index);
                    assert_eq!(index.export(), state(&model), "seed {seed}, {bounds:?}");
                }
                for step in 0..100 {
                    let event = workload.next();
                    event.apply(&mut index);
                    event.apply_to_model(&mut model);
                    assert_eq!(
                        index.export(),
                        state(&model),
                        "seed {seed}, {bounds:?}, step {step}"
                    );
                }
                validate(&index);
            }
        }
    }
}
