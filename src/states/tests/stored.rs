//! The bounds of stored bytes: never below the bytes that a fence captures, and not far above them.

use crate::cohort::CohortEntity;
use crate::limits::{HALF_LIVES_MAX, Limits, RING_BUCKETS_MAX};
use crate::states::tests::{DAY_MS, HOUR_MS, NOW_MS, Stored, apply, restored_with, shapes, store_fenced};
use crate::states::{SignalShape, StateKey, StateTable};
use crate::testing::workload::Random;
use crate::{CohortId, EntityId, SignalId};

const SEED: u64 = 0x7469_6461_6c64_6211;

/// The bytes that a fence captures, with the additions of a checkpoint and of the embedded store to each key and value.
/// Adds the pages to `stored`.
fn captured<K: StateKey>(table: &StateTable<K>, stored: &mut Stored) -> u64 {
    let mut pages = Stored::new();
    table.begin_fence().expect("nothing panicked");
    store_fenced(table, &mut pages);
    let bytes: usize = pages
        .iter()
        .map(|(key, value)| key.len() + value.len() + 4 + 10)
        .sum();
    stored.extend(pages);
    bytes as u64
}

/// The shapes of the other tests, a shape with many buckets, and the largest shape.
fn all_shapes() -> Vec<SignalShape> {
    let hour_ms = HOUR_MS;
    let mut all = shapes().to_vec();
    all.push(SignalShape {
        half_lives_ms: vec![hour_ms],
        rings: vec![(60_000, 1440), (1000, 60)],
    });
    all.push(SignalShape {
        half_lives_ms: vec![1; HALF_LIVES_MAX],
        rings: vec![(1000, RING_BUCKETS_MAX as u32), (DAY_MS, 2)],
    });
    all
}

#[test]
fn a_fence_captures_at_most_the_counted_bytes() {
    // Regression: the bytes of a checkpoint had no limit. A checkpoint larger than the store's largest batch always
    // failed.
    let mut random = Random::new(SEED);
    let shapes = all_shapes();
    let mut table = StateTable::<CohortEntity>::new(&shapes, &Limits::default());
    let mut stored = Stored::new();
    let times = [i64::MIN, 0, NOW_MS, NOW_MS + 30 * DAY_MS as i64, i64::MAX];
    for round in 0..40 {
        let mut most = table.changed_bytes();
        for _ in 0..random.below(100) {
            let key = CohortEntity {
                cohort: CohortId(*random.pick(&[0, u64::MAX])),
                entity: EntityId(u64::MAX - random.below(300)),
            };
            let time = *random.pick(&times);
            let changes_len = random.below(30) as usize;
            let before = (table.changed_bytes(), table.changed_bytes_max(changes_len));
            for hours in 0..changes_len as i64 {
                let at_ms = time.saturating_sub(hours * *random.pick(&[1000, 60_000, HOUR_MS as i64]));
                let signal = SignalId(random.below(shapes.len() as u64) as u16);
                apply(&table, key, signal, 1e12, at_ms);
            }
            // `changed_bytes_max` is an upper bound of the bytes that the call adds.
            assert!(
                table.changed_bytes() <= before.0 + before.1,
                "round {round}, seed {SEED:#x}"
            );
            if random.below(10) == 0 {
                let most =
                    table.changed_bytes() + table.forget_bytes_max(key.entity).expect("nothing panicked");
                table.forget_entity(key.entity).expect("nothing panicked");
                assert!(table.changed_bytes() <= most, "round {round}, seed {SEED:#x}");
                let left = table.forget_bytes_max(key.entity).expect("nothing panicked");
                assert_eq!(left, 0, "the entity has no states");
            }
            most = most.max(table.changed_bytes());
        }
        let (counted, all) = (table.changed_bytes(), table.bytes.all());
        assert_eq!(counted, most, "the count never becomes smaller");
        let captured = captured(&table, &mut stored);
        assert!(
            captured <= counted,
            "{captured} of {counted}, round {round}, seed {SEED:#x}"
        );
        assert_eq!(table.changed_bytes(), 0);
        let whole: usize = stored
            .iter()
            .map(|(key, value)| key.len() + value.len() + 14)
            .sum();
        assert!(whole as u64 <= table.bytes.all() && all <= table.bytes.all() + counted);
        if round % 7 == 0 {
            table = restored_with(&shapes, &stored);
            assert!(whole as u64 <= table.bytes.all(), "round {round}, seed {SEED:#x}");
        }
    }
}

#[test]
fn filled_buckets_are_counted_when_they_fill_and_at_the_next_change_of_their_page() {
    let shapes = all_shapes();
    let mut table = StateTable::<EntityId>::new(&shapes, &Limits::default());
    let mut stored = Stored::new();
    for minute in 0..300 {
        for entity in 0..40 {
            apply(
                &table,
                EntityId(entity),
                SignalId(2),
                1.0,
                NOW_MS + minute * 60_000,
            );
        }
    }
    for step in ["filled", "copied", "restored"] {
        let counted = table.changed_bytes();
        let captured = captured(&table, &mut stored);
        assert!(
            captured > 40 * 600,
            "300 buckets take at least 2 bytes each: {captured}"
        );
        assert!(
            (captured..8 * captured).contains(&counted),
            "{step}: {counted} of {captured}"
        );
        assert!(table.bytes.all() >= captured, "{step}");
        if step == "copied" {
            table = restored_with(&shapes, &stored);
        }
        for entity in 0..40 {
            apply(&table, EntityId(entity), SignalId(2), 1.0, NOW_MS + 299 * 60_000);
        }
    }
}

/// The counted bytes divided by the captured bytes, for events like those of an application: after the first events,
/// after a reopening, and after few events for many states.
fn excess(shape: SignalShape) -> [f64; 3] {
    let shapes = [shape];
    let mut random = Random::new(SEED);
    let mut table = StateTable::<EntityId>::new(&shapes, &Limits::default());
    let mut stored = Stored::new();
    [30_000, 30_000, 200].map(|events_len| {
        for event in 0..events_len {
            let at_ms = NOW_MS + event * 600;
            apply(&table, EntityId(random.below(6000)), SignalId(0), 1.0, at_ms);
        }
        let counted = table.changed_bytes();
        let captured = captured(&table, &mut stored);
        table = restored_with(&shapes, &stored);
        counted as f64 / captured as f64
    })
}

#[test]
fn the_counted_bytes_are_at_most_a_few_times_the_captured_bytes() {
    for shape in &all_shapes()[..3] {
        let excess = excess(shape.clone());
        assert!(
            excess.iter().all(|times| (1.0..4.5).contains(times)),
            "{excess:?} for {shape:?}"
        );
    }
}

#[test]
fn a_call_adds_at_most_all_pages_and_the_growth_of_its_changes() {
    let table = StateTable::<EntityId>::new(&all_shapes(), &Limits::default());
    for entity in 0..1000 {
        apply(&table, EntityId(entity), SignalId(2), 1.0, NOW_MS);
    }
    captured(&table, &mut Stored::new());
    let (few, many) = (table.changed_bytes_max(10), table.changed_bytes_max(65_536));
    let growth = many - table.bytes.all();
    assert_eq!(growth % 65_536, 0);
    assert!(growth / 65_536 < 400, "{growth}");
    assert!(few < 10 * 400 + table.bytes.all() / 2, "{few}");
}
