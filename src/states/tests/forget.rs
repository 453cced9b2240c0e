//! The forget of an entity: its states are hidden from all readers at the same time, and removed in steps, with changes
//! and fences in between.

use crate::cohort::CohortEntity;
use crate::limits::Limits;
use crate::states::key::shard_of;
use crate::states::tests::{NOW_MS, SIGNALS, Stored, apply, restored, shapes, store_fenced};
use crate::states::{SHARDS, StateKey, StateTable};
use crate::testing::workload::Random;
use crate::{CohortId, EntityId};

const SEED: u64 = 0x7469_6461_6c64_6210;
const FORGOTTEN: EntityId = EntityId(7);

fn key(cohort: u64, entity: EntityId) -> CohortEntity {
    CohortEntity {
        cohort: CohortId(cohort),
        entity,
    }
}

/// A table with states of three entities in `cohorts` cohorts each. A forget frees `step` states at a time.
fn table(step: usize, cohorts: u64) -> StateTable<CohortEntity> {
    let limits = Limits {
        forgotten_slots_len_max: step,
        ..Limits::default()
    };
    let table = StateTable::new(&shapes(), &limits);
    for cohort in 0..cohorts {
        for entity in [FORGOTTEN, EntityId(8), neighbour()] {
            apply(
                &table,
                key(cohort, entity),
                SIGNALS[cohort as usize % 2],
                1.0,
                NOW_MS,
            );
        }
    }
    table
}

/// Another entity of the same shard.
fn neighbour() -> EntityId {
    let mut others = (100..).map(EntityId);
    let found = others.find(|&entity| shard_of(entity) == shard_of(FORGOTTEN));
    found.expect("a shard has many")
}

#[test]
fn a_step_frees_as_many_states_as_the_limit_and_reads_return_none_of_them() {
    let table = table(10, 95);
    let mut expected = table.export().expect("nothing panicked");
    expected.retain(|(key, ..)| key.entity != FORGOTTEN);
    table.begin_forget(FORGOTTEN).expect("nothing panicked");
    let mut freed = Vec::new();
    loop {
        assert_eq!(table.export().ok().as_ref(), Some(&expected));
        for cohort in 0..95 {
            let signal = SIGNALS[cohort as usize % 2];
            let score = |entity| table.score(key(cohort, entity), signal, 0, NOW_MS).ok();
            assert_eq!((score(FORGOTTEN), score(EntityId(8))), (Some(0.0), Some(1.0)));
        }
        match table.forget_some(FORGOTTEN).expect("nothing panicked") {
            0 => break,
            len => freed.push(len),
        }
    }
    assert_eq!(freed, [[10; 9].as_slice(), &[5]].concat());
    assert_eq!(table.len().ok(), Some(2 * 95));
}

#[test]
fn a_change_of_the_forgotten_entity_frees_its_remaining_states_first() {
    let table = table(10, 95);
    table.begin_forget(FORGOTTEN).expect("nothing panicked");
    assert_eq!(table.forget_some(FORGOTTEN).ok(), Some(10));
    apply(&table, key(0, neighbour()), SIGNALS[0], 2.0, NOW_MS);
    assert_eq!(table.len().ok(), Some(3 * 95 - 10));
    apply(&table, key(3, FORGOTTEN), SIGNALS[1], 2.0, NOW_MS);
    assert_eq!(table.len().ok(), Some(2 * 95 + 1));
    assert_eq!(
        table.score(key(3, FORGOTTEN), SIGNALS[1], 0, NOW_MS).ok(),
        Some(2.0)
    );
    assert_eq!(table.forget_some(FORGOTTEN).ok(), Some(0));
    assert_eq!(table.len().ok(), Some(2 * 95 + 1), "the new state stays");
}

/// A score of weights that are multiples of one half.
fn halves(score: f64) -> u64 {
    (2.0 * score).round() as u64
}

#[test]
fn forgets_in_steps_between_changes_and_a_fence_equal_a_naive_map() {
    let mut random = Random::new(SEED);
    for round in 0..30 {
        let table = table(1 + random.below(7) as usize, 40);
        let scores = |table: &StateTable<CohortEntity>| -> Vec<_> {
            let all = table.export().expect("nothing panicked").into_iter();
            all.map(|(key, signal, state)| (key, signal, halves(state.scores[0])))
                .collect()
        };
        let mut stored = Stored::new();
        let mut expected: std::collections::BTreeMap<_, f64> = std::collections::BTreeMap::new();
        for (key, signal, state) in table.export().expect("nothing panicked") {
            expected.insert((key, signal), state.scores[0]);
        }
        for _ in 0..4 {
            let at_fence = table.export().ok();
            table.begin_fence().expect("nothing panicked");
            let entity = *random.pick(&[FORGOTTEN, neighbour(), EntityId(9)]);
            table.begin_forget(entity).expect("nothing panicked");
            expected.retain(|(key, _), _| key.entity != entity);
            let mut left = true;
            let mut fenced = (0..SHARDS).peekable();
            let mut copies = table.page_copies();
            while left || fenced.peek().is_some() {
                if random.below(3) == 0 && left {
                    left = table.forget_some(entity).expect("nothing panicked") > 0;
                }
                if random.below(2) == 0
                    && let Some(&shard) = fenced.peek()
                {
                    if !table.take_fenced(shard, &mut copies).expect("nothing panicked") {
                        fenced.next();
                    }
                    stored.extend(copies.records(shard));
                }
                let entity = *random.pick(&[FORGOTTEN, EntityId(8), neighbour(), EntityId(9)]);
                let key = key(random.below(50), entity);
                let signal = *random.pick(&SIGNALS);
                apply(&table, key, signal, 0.5, NOW_MS);
                *expected.entry((key, signal)).or_insert(0.0) += 0.5;
            }
            let found = restored::<CohortEntity>(&stored).export().ok();
            assert!(found == at_fence, "round {round}, seed {SEED:#x}");
            let expected: Vec<_> = expected
                .iter()
                .map(|(&(key, signal), score)| (key, signal, halves(*score)))
                .collect();
            assert!(scores(&table) == expected, "round {round}, seed {SEED:#x}");
        }
        let mut after = Stored::new();
        table.begin_fence().expect("nothing panicked");
        store_fenced(&table, &mut after);
        stored.extend(after);
        let copy = restored::<CohortEntity>(&stored);
        // The restored table has the chains of all entities.
        for table in [&table, &copy] {
            table.forget_entity(EntityId(8)).expect("nothing panicked");
            assert!(
                table
                    .export()
                    .expect("nothing panicked")
                    .iter()
                    .all(|(key, ..)| key.entity != EntityId(8))
            );
        }
        assert!(scores(&copy) == scores(&table), "round {round}, seed {SEED:#x}");
    }
}

/// The number of changed pages shows the number of states that a forget visited.
#[test]
fn a_forget_changes_only_the_pages_of_the_entity() {
    fn changed<K: StateKey>(key: impl Fn(u64) -> K, entity: EntityId) -> usize {
        let table = StateTable::<K>::new(&shapes(), &Limits::default());
        for number in 0..20_000 {
            apply(&table, key(number), SIGNALS[1], 1.0, NOW_MS);
        }
        let mut stored = Stored::new();
        table.begin_fence().expect("nothing panicked");
        store_fenced(&table, &mut stored);
        assert!(table.forget_entity(entity).expect("nothing panicked") > 0);
        let mut changed = Stored::new();
        table.begin_fence().expect("nothing panicked");
        store_fenced(&table, &mut changed);
        changed.len()
    }
    assert_eq!(changed(EntityId, FORGOTTEN), 1);
    let cohorts = |number: u64| key(number % 10, EntityId(number / 10));
    assert!((1..=2).contains(&changed(cohorts, FORGOTTEN)));
}
