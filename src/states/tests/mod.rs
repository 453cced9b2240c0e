//! The state table compared with a naive model that stores every event.

mod fence;
mod forget;
mod group;
mod index;
mod key;
mod page;
mod stored;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{RingChanges, SHARDS, SignalShape, Slot, State, StateKey, StateTable};
use crate::cells::PAGE_SLOTS;
use crate::cohort::CohortEntity;
use crate::limits::Limits;
use crate::testing::model::EventId;
use crate::testing::model::state::{StateEvent, score, window};
use crate::testing::workload::Random;
use crate::{CohortId, EntityId, Error, Ring, SignalId};

const SEED: u64 = 0x7469_6461_6c64_6204;
pub(super) const HOUR_MS: u64 = 3_600_000;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;
pub(super) const NOW_MS: i64 = 1_760_000_000_000;

/// Signal 0 has one half-life and no window, signal 1 the default shape.
pub(super) fn shapes() -> [SignalShape; 2] {
    let plain = SignalShape {
        half_lives_ms: vec![60_000],
        rings: vec![],
    };
    let default = SignalShape {
        half_lives_ms: vec![HOUR_MS, DAY_MS, 7 * DAY_MS],
        rings: vec![(HOUR_MS, 24), (DAY_MS, 7)],
    };
    [plain, default]
}

pub(super) const SIGNALS: [SignalId; 2] = [SignalId(0), SignalId(1)];

impl<K: StateKey> StateTable<K> {
    /// Forgets `entity`, and returns the number of its states.
    pub(crate) fn forget_entity(&self, entity: EntityId) -> Result<usize, Error> {
        self.begin_forget(entity)?;
        let mut forgotten_len = 0;
        loop {
            match self.forget_some(entity)? {
                0 => return Ok(forgotten_len),
                len => forgotten_len += len,
            }
        }
    }
}

/// Applies one event to both tiers, as the ledgers do.
pub(super) fn apply<K: StateKey>(
    table: &StateTable<K>,
    key: K,
    signal: SignalId,
    weight: f64,
    at_ms: i64,
) -> u32 {
    let change = |Slot { hot, warm, slot }: Slot<'_>| {
        hot.on_signal(slot, weight, at_ms);
        warm.increment(slot, at_ms)
    };
    table
        .with_slot(key, signal, change)
        .expect("the signal exists and nothing panicked")
}

/// All pages of a table in the form that a checkpoint stores.
pub(super) type Stored = BTreeMap<Vec<u8>, Vec<u8>>;

/// The part of a checkpoint after `begin_fence`.
pub(super) fn store_fenced<K: StateKey>(table: &StateTable<K>, stored: &mut Stored) {
    let mut copies = table.page_copies();
    for shard in 0..SHARDS {
        let mut more = true;
        while more {
            more = table.take_fenced(shard, &mut copies).expect("nothing panicked");
            stored.extend(copies.records(shard));
        }
    }
}

pub(super) fn restored<K: StateKey>(stored: &Stored) -> StateTable<K> {
    restored_with(&shapes(), stored)
}

pub(super) fn restored_with<K: StateKey>(shapes: &[SignalShape], stored: &Stored) -> StateTable<K> {
    let mut table = StateTable::new(shapes, &Limits::default());
    for (key, value) in stored {
        table.restore_page(key, value).expect("it was stored like this");
    }
    table
}

/// The naive model: all events of each state.
struct StatesModel<K> {
    events: BTreeMap<(K, SignalId), Vec<(f64, i64)>>,
}

impl<K: StateKey> StatesModel<K> {
    fn assert_equals(&self, table: &StateTable<K>) {
        let export = table.export().expect("nothing panicked");
        assert_eq!(table.len().expect("nothing panicked"), export.len());
        let keys: Vec<_> = export.iter().map(|&(key, signal, _)| (key, signal)).collect();
        assert_eq!(
            keys,
            self.events.keys().copied().collect::<Vec<_>>(),
            "seed {SEED:#x}"
        );
        for ((key, signal, state), events) in export.iter().zip(self.events.values()) {
            let shape = &shapes()[usize::from(signal.0)];
            assert_state_equals(state, shape, events);
            for (i, &score) in state.scores.iter().enumerate() {
                let read = table
                    .score(*key, *signal, i, state.time_ms)
                    .expect("the half-life exists");
                assert_eq!(read.to_bits(), score.to_bits());
            }
            for (i, &(bucket_ms, buckets)) in shape.rings.iter().enumerate() {
                for now_ms in [state.time_ms, state.time_ms - bucket_ms as i64] {
                    let last = now_ms.div_euclid(bucket_ms as i64);
                    let window = last - i64::from(buckets) + 1..=last;
                    let in_window =
                        |&&(_, at_ms): &&(f64, i64)| window.contains(&at_ms.div_euclid(bucket_ms as i64));
                    let read = table
                        .count(*key, *signal, i, buckets, now_ms)
                        .expect("the ring exists");
                    assert_eq!(read, events.iter().filter(in_window).count() as u64);
                }
            }
        }
    }
}

/// Compares a state with the naive model of the kit.
fn assert_state_equals(state: &State, shape: &SignalShape, events: &[(f64, i64)]) {
    let event = |&(weight, at_ms): &(f64, i64)| StateEvent {
        id: EventId {
            sequence: 0,
            index: 0,
        },
        weight,
        at_ms,
    };
    let events: Vec<StateEvent> = events.iter().map(event).collect();
    let newest_ms = events.iter().map(|event| event.at_ms).max();
    assert_eq!(Some(state.time_ms), newest_ms, "seed {SEED:#x}");
    for (&found, &half_life_ms) in state.scores.iter().zip(&shape.half_lives_ms) {
        let expected = score(&events, state.time_ms, half_life_ms);
        assert!(
            expected.matches(found),
            "{found} instead of {expected:?}, seed {SEED:#x}"
        );
    }
    for (found, &(bucket_ms, buckets)) in state.windows.iter().zip(&shape.rings) {
        let expected = window(&events, state.time_ms, Ring { bucket_ms, buckets });
        assert_eq!(*found, expected.buckets, "seed {SEED:#x}");
    }
}

/// Applies random events and forgets to a table and to the model, with checkpoints and restores, and compares both.
fn assert_table_equals_model<K: StateKey>(key: impl Fn(&mut Random) -> K) {
    let mut random = Random::new(SEED);
    let mut table = StateTable::<K>::new(&shapes(), &Limits::default());
    let mut model: StatesModel<K> = StatesModel {
        events: BTreeMap::new(),
    };
    let mut stored = Stored::new();
    for step in 0..6000 {
        let key = key(&mut random);
        match random.below(100) {
            0..=2 => {
                let entity = key.entity();
                let before = model.events.len();
                model.events.retain(|(key, _), _| key.entity() != entity);
                let forgotten = table.forget_entity(entity).expect("nothing panicked");
                assert_eq!(forgotten, before - model.events.len());
            }
            3 if step % 10 == 0 => {
                // Every checkpoint adds to the last one. So the pages that it left out as clean must be right too.
                table.begin_fence().expect("nothing panicked");
                store_fenced(&table, &mut stored);
                table = restored(&stored);
            }
            _ => {
                let signal = *random.pick(&SIGNALS);
                let weight = random.below(100) as f64 / 10.0 - 5.0;
                let at_ms = NOW_MS + random.between(-10 * DAY_MS as i64, DAY_MS as i64);
                apply(&table, key, signal, weight, at_ms);
                model
                    .events
                    .entry((key, signal))
                    .or_default()
                    .push((weight, at_ms));
            }
        }
        if step % 500 == 0 {
            model.assert_equals(&table);
        }
    }
    model.assert_equals(&table);
}

#[test]
fn states_of_entities_equal_a_model_that_stores_every_event() {
    assert_table_equals_model(|random| EntityId(random.below(2000)));
    assert_table_equals_model(|random| EntityId(u64::MAX - random.below(3)));
}

#[test]
fn states_of_cohorts_equal_a_model_that_stores_every_event() {
    assert_table_equals_model(|random| CohortEntity {
        cohort: CohortId(random.below(5).wrapping_sub(1)),
        entity: EntityId(random.below(300)),
    });
}

#[test]
fn a_key_without_events_has_score_and_count_zero() {
    let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    apply(&table, EntityId(1), SIGNALS[1], 1.0, NOW_MS);
    for (entity, signal) in [(EntityId(2), SIGNALS[1]), (EntityId(1), SIGNALS[0])] {
        assert_eq!(
            table
                .score(entity, signal, 0, NOW_MS)
                .expect("it exists")
                .to_bits(),
            0
        );
    }
    assert_eq!(
        table
            .count(EntityId(2), SIGNALS[1], 0, 24, NOW_MS)
            .expect("it exists"),
        0
    );
}

#[test]
fn a_signal_half_life_or_ring_outside_the_schema_is_refused_and_changes_nothing() {
    let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    let entity = EntityId(1);
    let changed = table.with_slot(entity, SignalId(2), |_| {
        unreachable!("the schema has no signal 2")
    });
    assert!(matches!(changed, Err(Error::UnknownSignal { .. })));
    assert!(matches!(
        table.score(entity, SignalId(2), 0, NOW_MS),
        Err(Error::UnknownSignal { .. })
    ));
    for refused in [
        table.score(entity, SIGNALS[1], 3, NOW_MS).map(|_| ()),
        table.count(entity, SIGNALS[1], 2, 1, NOW_MS).map(|_| ()),
        table.count(entity, SIGNALS[1], 1, 8, NOW_MS).map(|_| ()),
        table.count(entity, SIGNALS[0], 0, 0, NOW_MS).map(|_| ()),
    ] {
        assert!(matches!(refused, Err(Error::InvalidInput { .. })), "{refused:?}");
    }
    assert_eq!(table.len().expect("nothing panicked"), 0);
}

#[test]
fn an_event_of_a_key_with_a_slot_allocates_no_memory() {
    let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    let mut random = Random::new(SEED);
    let mut round = || {
        for entity in 0..1000 {
            for signal in SIGNALS {
                let at_ms = NOW_MS + random.between(-30 * DAY_MS as i64, 30 * DAY_MS as i64);
                apply(&table, EntityId(entity), signal, 1.0, at_ms);
            }
        }
        table.heap_bytes().expect("nothing panicked")
    };
    let first = round();
    assert_eq!((round(), round()), (first, first));
}

#[test]
fn forgotten_slots_are_used_again() {
    let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    let fill = || {
        for entity in 0..2000 {
            apply(&table, EntityId(entity), SIGNALS[1], 1.0, NOW_MS);
        }
    };
    fill();
    let first = table.heap_bytes().expect("nothing panicked");
    for _ in 0..5 {
        for entity in 0..2000 {
            assert_eq!(
                table.forget_entity(EntityId(entity)).expect("nothing panicked"),
                1
            );
        }
        assert_eq!(table.len().expect("nothing panicked"), 0);
        fill();
    }
    // Only the list of free slots takes additional memory.
    let last = table.heap_bytes().expect("nothing panicked");
    assert!(last <= first + first / 10, "{first} bytes became {last}");
}

#[test]
fn many_states_stay_under_their_memory_bound() {
    let [_, default] = shapes();
    let shapes = vec![default; 4];
    for states_len in [75_000, 174_000] {
        let table = StateTable::<EntityId>::new(&shapes, &Limits::default());
        for i in 0..states_len {
            apply(&table, EntityId(i / 4), SignalId((i % 4) as u16), 1.0, NOW_MS);
        }
        let bytes = table.heap_bytes().expect("nothing panicked") as u64;
        assert!(
            bytes <= states_len * 250,
            "{} bytes per state",
            bytes / states_len
        );
    }
}

#[test]
fn unused_signals_of_a_large_schema_take_little_memory() {
    let shapes = vec![shapes()[1].clone(); crate::limits::SIGNALS_MAX];
    let table = StateTable::<EntityId>::new(&shapes, &Limits::default());
    apply(&table, EntityId(1), SignalId(1023), 1.0, NOW_MS);
    let bytes = table.heap_bytes().expect("nothing panicked");
    assert!(bytes < 1 << 20, "{bytes} bytes");
}

#[test]
fn a_page_takes_memory_only_for_its_used_slots() {
    let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    let bytes = || table.heap_bytes().expect("nothing panicked");
    let empty = bytes();
    apply(&table, EntityId(1), SIGNALS[1], 1.0, NOW_MS);
    // A slot of the default shape takes 172 bytes in both tiers.
    assert!(bytes() - empty < 1000, "{} bytes for one state", bytes() - empty);

    let mut stored = Stored::new();
    table.begin_fence().expect("nothing panicked");
    store_fenced(&table, &mut stored);
    let copy = restored::<EntityId>(&stored);
    let restored_bytes = copy.heap_bytes().expect("nothing panicked");
    assert!(restored_bytes <= bytes(), "{restored_bytes} bytes restored");
}

#[test]
fn after_a_panic_in_a_change_every_access_to_the_shard_returns_an_error() {
    let mut table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    let entity = EntityId(1);
    apply(&table, entity, SIGNALS[1], 1.0, NOW_MS);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        table.with_slot(entity, SIGNALS[1], |Slot { hot, slot, .. }| {
            hot.on_signal(slot, 1.0, NOW_MS);
            std::panic::resume_unwind(Box::new("before the warm tier"));
        })
    }));
    let payload = panicked.err().and_then(|payload| payload.downcast::<&str>().ok());
    assert_eq!(payload.as_deref(), Some(&"before the warm tier"));

    let mut copies = table.page_copies();
    for refused in [
        table
            .with_slot(EntityId(1), SIGNALS[0], |_| RingChanges::default())
            .map(|_| ()),
        table.score(entity, SIGNALS[1], 0, NOW_MS).map(|_| ()),
        table.count(entity, SIGNALS[1], 0, 1, NOW_MS).map(|_| ()),
        table.export().map(|_| ()),
        table.len().map(|_| ()),
        table.heap_bytes().map(|_| ()),
        table.forget_entity(entity).map(|_| ()),
        table.begin_fence(),
        table
            .take_fenced(super::key::shard_of(entity), &mut copies)
            .map(|_| ()),
    ] {
        assert!(
            matches!(refused, Err(Error::Panicked { operation: "apply" })),
            "{refused:?}"
        );
    }
    // The other shards are not affected. The engine refuses their accesses later, by its poison.
    let shard = super::key::shard_of(entity);
    let other = (0..1000)
        .map(EntityId)
        .find(|&e| super::key::shard_of(e) != shard);
    apply(
        &table,
        other.expect("other shards have entities"),
        SIGNALS[1],
        1.0,
        NOW_MS,
    );
    let place = super::page::PagePlace {
        signal: SIGNALS[1],
        shard: shard as u16,
        page: 0,
    };
    assert!(
        table
            .restore_page(&place.encode::<EntityId>(), &[1, 0, 0, 0, 0])
            .is_err()
    );
}

#[test]
fn equal_calls_give_equal_stored_bytes() {
    let run = || {
        let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
        let mut random = Random::new(SEED);
        let mut stored = Stored::new();
        for step in 0..3000 {
            let entity = EntityId(random.below(500));
            if step % 17 == 0 {
                table.forget_entity(entity).expect("nothing panicked");
            }
            apply(
                &table,
                entity,
                *random.pick(&SIGNALS),
                0.3,
                NOW_MS + random.between(0, DAY_MS as i64),
            );
            if step % 1000 == 999 {
                table.begin_fence().expect("nothing panicked");
                store_fenced(&table, &mut stored);
            }
        }
        stored
    };
    assert_eq!(run(), run());
}

#[test]
fn a_restored_table_continues_with_the_same_bytes_as_the_stored_table() {
    let mut random = Random::new(SEED);
    let original = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    for entity in 0..40 * SHARDS as u64 {
        apply(&original, EntityId(entity), SIGNALS[1], 0.3, NOW_MS);
    }
    for _ in 0..30 * SHARDS {
        original
            .forget_entity(EntityId(random.below(40 * SHARDS as u64)))
            .expect("nothing panicked");
    }
    let mut stored = Stored::new();
    original.begin_fence().expect("nothing panicked");
    store_fenced(&original, &mut stored);
    let copy = restored::<EntityId>(&stored);
    copy.begin_fence().expect("nothing panicked");
    let mut changed = Stored::new();
    store_fenced(&copy, &mut changed);
    assert_eq!(changed, Stored::new(), "a restored table is clean");

    // In both tables new keys get the slots that were freed, the lowest first.
    let mut both = [Stored::new(), Stored::new()];
    for (table, stored) in [&original, &copy].into_iter().zip(&mut both) {
        for entity in 0..60 * SHARDS as u64 {
            apply(table, EntityId(1_000_000 + entity), SIGNALS[1], 0.7, NOW_MS);
        }
        table.begin_fence().expect("nothing panicked");
        store_fenced(table, stored);
    }
    assert_eq!(both[0], both[1]);
}

#[test]
fn an_emptied_page_is_stored_and_a_missing_page_is_refused() {
    let shard = |entity: &EntityId| super::key::shard_of(*entity) == 5;
    let entities: Vec<EntityId> = (0..).map(EntityId).filter(shard).take(3 * PAGE_SLOTS).collect();
    let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    for &entity in &entities {
        apply(&table, entity, SIGNALS[1], 1.0, NOW_MS);
    }
    let mut stored = Stored::new();
    table.begin_fence().expect("nothing panicked");
    store_fenced(&table, &mut stored);
    for &entity in &entities[PAGE_SLOTS..2 * PAGE_SLOTS] {
        table.forget_entity(entity).expect("nothing panicked");
    }
    table.begin_fence().expect("nothing panicked");
    store_fenced(&table, &mut stored);
    assert_eq!(stored.len(), 3);
    assert_eq!(restored::<EntityId>(&stored).export().ok(), table.export().ok());

    let (first, second) = (stored.keys().next().cloned(), stored.keys().nth(1).cloned());
    for missing in [first, second] {
        let mut stored = stored.clone();
        stored.remove(&missing.expect("three pages are stored"));
        let mut table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
        let refused: Vec<_> = stored
            .iter()
            .filter_map(|(k, v)| table.restore_page(k, v).err())
            .collect();
        let what = "the pages of a shard are not numbered from zero without a gap";
        assert_eq!(refused.first(), Some(&what));
    }
}
