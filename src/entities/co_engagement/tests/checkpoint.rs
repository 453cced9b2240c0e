//! Fences, checkpoints and restores, compared with whole states.

use std::collections::BTreeMap;

use super::*;
use crate::entities::co_engagement::table::Stamped;

/// The stored records of all checkpoints. A checkpoint stores only the changed records.
pub(super) type Storage = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) fn write(storage: &mut Storage, records: &[FencedRecord]) {
    for record in records {
        match record.value() {
            Some(value) => {
                storage.insert(record.key(), value);
            }
            None => {
                storage.remove(&record.key());
            }
        }
    }
}

pub(super) fn restored(storage: &Storage, config: CoEngagementConfig) -> CoEngagementIndex {
    let mut index = index(config);
    for prefix in crate::storage::keys::CO_ENGAGEMENT {
        for (key, value) in storage.iter().filter(|(key, _)| key.starts_with(prefix)) {
            index.restore(key, value).unwrap();
        }
    }
    index.finish_restore().unwrap();
    validate(&index);
    index
}

#[test]
fn a_checkpoint_has_the_state_at_the_fence_also_if_events_are_applied_while_it_is_taken() {
    for seed in 200..230 {
        let mut workload = EngagementWorkload::new(seed);
        let mut index = index(small());
        let mut storage = Storage::new();
        for round in 0..12 {
            for _ in 0..workload.below(40) {
                workload.next().apply(&mut index);
            }
            let at_fence = index.export();
            index.begin_fence();
            let mut shards: Vec<_> = (0..FENCE_SHARDS).collect();
            while !shards.is_empty() {
                for _ in 0..workload.below(3) {
                    workload.next().apply(&mut index);
                }
                let shard = shards.swap_remove(workload.below(shards.len() as u64) as usize);
                write(&mut storage, &index.take_fenced(shard));
            }
            assert_eq!(
                restored(&storage, small()).export(),
                at_fence,
                "seed {seed}, round {round}"
            );
        }
    }
}

/// The bytes that a fence captures, with the additions of a checkpoint and of the embedded store to each key and value,
/// without the counters.
fn captured(index: &mut CoEngagementIndex) -> u64 {
    index.begin_fence();
    let records = (0..FENCE_SHARDS).flat_map(|shard| index.take_fenced(shard));
    let counted = records.filter(|record| !matches!(record, FencedRecord::Meta(_)));
    let bytes = counted.map(|record| record.key().len() + record.value().map_or(0, |it| it.len()) + 4 + 10);
    bytes.sum::<usize>() as u64
}

#[test]
fn a_fence_captures_at_most_the_counted_bytes_and_a_call_adds_at_most_its_bound() {
    for seed in 400..440 {
        let mut workload = if seed % 2 == 0 {
            EngagementWorkload::new(seed)
        } else {
            EngagementWorkload::forgetful(seed)
        };
        let mut index = index(small());
        for round in 0..12 {
            for _ in 0..workload.below(60) {
                let event = workload.next();
                let most = match event {
                    EngagementCall::Positive { .. } => index.changed_bytes_max(1),
                    _ => index.forget_bytes_max(1),
                };
                let before = index.changed_bytes();
                event.apply(&mut index);
                let added = index.changed_bytes() - before;
                assert!(added <= most, "{added} of {most}, seed {seed}, {event:?}");
            }
            let counted = index.changed_bytes();
            let captured = captured(&mut index);
            assert!(
                captured <= counted,
                "{captured} of {counted}, seed {seed}, round {round}"
            );
            assert_eq!(index.changed_bytes(), 0);
        }
    }
}

#[test]
fn the_counted_bytes_are_at_most_a_few_times_the_captured_bytes() {
    let config = CoEngagementConfig {
        half_life_ms: 86_400_000,
        ..CoEngagementConfig::default()
    };
    let mut index = index(config);
    let mut workload = EngagementWorkload::new(8);
    for events_len in [3000, 3000, 20] {
        let most = index.changed_bytes_max(events_len);
        for event in 0..events_len as i64 {
            let (user, item) = (workload.below(100), workload.below(2000));
            index.record_positive(UserId(user), EntityId(item), 1.0, event);
        }
        let counted = index.changed_bytes();
        let captured = captured(&mut index);
        assert!(
            (captured..2 * captured).contains(&counted),
            "{counted} of {captured}"
        );
        let all = index.nodes.stored_bytes() + index.users.stored_bytes();
        assert!(
            (counted..2 * all + events_len as u64 * 8000).contains(&most),
            "{most} of {all}"
        );
    }
    assert_eq!(index.changed_bytes_max(0), 0);
}

#[test]
fn a_restored_checkpoint_and_the_events_after_it_give_the_state_of_all_events() {
    for seed in 300..330 {
        let mut workload = EngagementWorkload::new(seed);
        let events: Vec<EngagementCall> = (0..200).map(|_| workload.next()).collect();
        let mut whole = index(small());
        let mut storage = Storage::new();
        let mut resumed = index(small());
        for (step, event) in events.iter().enumerate() {
            event.apply(&mut whole);
            event.apply(&mut resumed);
            if workload.below(20) == 0 {
                resumed.begin_fence();
                (0..FENCE_SHARDS).for_each(|shard| write(&mut storage, &resumed.take_fenced(shard)));
                resumed = restored(&storage, small());
            }
            assert_eq!(resumed.export(), whole.export(), "seed {seed}, step {step}");
        }
    }
}

#[test]
fn records_of_a_fence_that_were_not_taken_are_part_of_the_next_fence() {
    for seed in 400..420 {
        let mut workload = EngagementWorkload::new(seed);
        let mut index = index(small());
        let mut storage = Storage::new();
        for _ in 0..3 {
            for _ in 0..30 {
                workload.next().apply(&mut index);
            }
            index.begin_fence();
            for _ in 0..workload.below(FENCE_SHARDS as u64) {
                workload.next().apply(&mut index);
                let shard = workload.below(FENCE_SHARDS as u64) as usize;
                write(&mut storage, &index.take_fenced(shard));
            }
        }
        index.begin_fence();
        let at_fence = index.export();
        workload.next().apply(&mut index);
        (0..FENCE_SHARDS).for_each(|shard| write(&mut storage, &index.take_fenced(shard)));
        assert_eq!(restored(&storage, small()).export(), at_fence, "seed {seed}");
    }
}

#[test]
fn only_changed_records_are_taken_and_each_only_once() {
    let mut index = index(small());
    let take = |index: &mut CoEngagementIndex| -> Vec<FencedRecord> {
        (0..FENCE_SHARDS)
            .flat_map(|shard| index.take_fenced(shard))
            .collect()
    };
    assert_eq!(take(&mut index), []);
    index.begin_fence();
    assert_eq!(take(&mut index), []);
    for item in [1, 2] {
        index.record_positive(UserId(1), EntityId(item), 1.0, 0);
    }
    assert_eq!(take(&mut index), []);
    index.begin_fence();
    assert_eq!(take(&mut index).len(), 4, "two items, one user, the counters");
    assert_eq!(take(&mut index), []);
    index.forget_user(UserId(1));
    index.begin_fence();
    assert_eq!(take(&mut index), [FencedRecord::User(1, None)]);
    index.record_positive(UserId(2), EntityId(7), 1.0, 0);
    index.begin_fence();
    assert_eq!(take(&mut index).len(), 2, "one user, the counters");
}

#[test]
fn the_records_of_a_restored_checkpoint_are_not_written_again() {
    let mut workload = EngagementWorkload::new(1);
    let mut first = index(small());
    for _ in 0..100 {
        workload.next().apply(&mut first);
    }
    let mut storage = Storage::new();
    first.begin_fence();
    (0..FENCE_SHARDS).for_each(|shard| write(&mut storage, &first.take_fenced(shard)));
    let mut second = restored(&storage, small());
    second.begin_fence();
    for shard in 0..FENCE_SHARDS {
        assert_eq!(second.take_fenced(shard), []);
    }
}

#[test]
fn restore_refuses_records_that_no_checkpoint_contains() {
    let reason = |result: Result<(), Error>| match result {
        Err(Error::CorruptValue { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let ring = |user: u64, touched: u64| {
        let ring = UserRing::from_items(vec![1]);
        let record = FencedRecord::User(
            user,
            Some(Stamped {
                touched,
                forgets: 0,
                record: ring,
            }),
        );
        (record.key(), record.value().unwrap())
    };
    let meta = |ordinal| {
        let meta = FencedRecord::Meta(Ordinals { ordinal, forgets: 2 });
        (meta.key(), meta.value().unwrap())
    };
    let mut index = index(CoEngagementConfig {
        users_max: 2,
        ..small()
    });
    let mut restore = |(key, value): (Vec<u8>, Vec<u8>)| index.restore(&key, &value).map(drop);
    restore(ring(1, 4)).unwrap();
    assert_eq!(reason(restore(ring(1, 4))), "record twice");
    restore(meta(4)).unwrap();
    assert_eq!(reason(restore(meta(5))), "record twice");
    restore(ring(2, 3)).unwrap();
    assert_eq!(
        reason(restore(ring(3, 3))),
        "more records than the configured bound"
    );
    let mut index = super::index(small());
    let (key, value) = ring(1, 4);
    index.restore(&key, &value).unwrap();
    assert_eq!(
        reason(index.finish_restore()),
        "counters missing or older than a record"
    );
    let (key, value) = meta(4);
    index.restore(&key, &value).unwrap();
    assert_eq!(
        reason(index.finish_restore()),
        "counters missing or older than a record"
    );
}
