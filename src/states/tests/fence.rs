//! Fences: the captured state is that at the beginning of the fence, also while threads write.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};

use crate::EntityId;
use crate::limits::Limits;
use crate::states::tests::{DAY_MS, NOW_MS, SIGNALS, Stored, apply, restored, shapes, store_fenced};
use crate::states::{SHARDS, Slot, StateTable};
use crate::testing::workload::Random;

const SEED: u64 = 0x7469_6461_6c64_6205;

#[test]
fn a_fence_captures_the_state_at_its_beginning() {
    let mut random = Random::new(SEED);
    let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    let mut stored = Stored::new();
    let change = |random: &mut Random| {
        let entity = EntityId(random.below(2000));
        match random.below(20) {
            0 => drop(table.forget_entity(entity).expect("nothing panicked")),
            _ => drop(apply(
                &table,
                entity,
                *random.pick(&SIGNALS),
                1.5,
                NOW_MS + random.between(0, DAY_MS as i64),
            )),
        }
    };
    let mut copies = table.page_copies();
    for round in 0..20 {
        (0..random.below(500)).for_each(|_| change(&mut random));
        let expected = table.export().expect("nothing panicked");
        table.begin_fence().expect("nothing panicked");
        // Changes before, between and after the takes of the shards, of pages that are taken and pages that are not
        // taken yet.
        for shard in 0..SHARDS {
            let mut more = true;
            while more {
                (0..random.below(10)).for_each(|_| change(&mut random));
                more = table.take_fenced(shard, &mut copies).expect("nothing panicked");
                let records: Vec<_> = copies.records(shard).collect();
                assert!(
                    records.is_sorted(),
                    "round {round}, shard {shard}, seed {SEED:#x}"
                );
                stored.extend(records);
            }
        }
        (0..random.below(100)).for_each(|_| change(&mut random));
        let found = restored::<EntityId>(&stored).export().expect("nothing panicked");
        assert!(found == expected, "round {round}, seed {SEED:#x}");
    }
}

#[test]
fn a_fence_captures_only_the_pages_that_changed_since_the_last_fence() {
    let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    for entity in 0..10_000 {
        apply(&table, EntityId(entity), SIGNALS[1], 1.0, NOW_MS);
    }
    let fence = || {
        let mut stored = Stored::new();
        table.begin_fence().expect("nothing panicked");
        store_fenced(&table, &mut stored);
        stored
    };
    let all = fence();
    assert!(all.len() >= 10_000 / crate::cells::PAGE_SLOTS);
    assert_eq!(fence(), Stored::new());
    apply(&table, EntityId(77), SIGNALS[1], 1.0, NOW_MS);
    let one = fence();
    assert_eq!(one.len(), 1);
    let (key, value) = one.first_key_value().expect("one page changed");
    assert!(all.get(key).is_some_and(|before| before != value));
    assert_eq!(fence(), Stored::new());
}

#[test]
fn a_change_after_the_beginning_of_a_fence_belongs_to_the_next_fence() {
    let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    let entity = EntityId(1);
    apply(&table, entity, SIGNALS[1], 1.0, NOW_MS);
    table.begin_fence().expect("nothing panicked");
    apply(&table, entity, SIGNALS[1], 2.0, NOW_MS);
    let (mut first, mut second) = (Stored::new(), Stored::new());
    store_fenced(&table, &mut first);
    table.begin_fence().expect("nothing panicked");
    store_fenced(&table, &mut second);
    let score = |stored: &Stored| {
        restored::<EntityId>(stored)
            .score(entity, SIGNALS[1], 0, NOW_MS)
            .ok()
    };
    assert_eq!(second.len(), 1);
    assert_eq!(score(&second), table.score(entity, SIGNALS[1], 0, NOW_MS).ok());
    assert!(score(&first) < score(&second));
}

#[test]
fn a_take_without_a_fence_returns_no_page_and_leaves_dirty_pages_dirty() {
    let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    apply(&table, EntityId(1), SIGNALS[1], 1.0, NOW_MS);
    let mut stored = Stored::new();
    store_fenced(&table, &mut stored);
    assert_eq!(stored, Stored::new());
    table.begin_fence().expect("nothing panicked");
    store_fenced(&table, &mut stored);
    assert_eq!(
        stored.len(),
        1,
        "the take without a fence must not clear the dirty page"
    );
}

#[test]
fn a_fence_before_the_last_one_was_taken_panics_and_poisons_no_shard() {
    let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    apply(&table, EntityId(1), SIGNALS[1], 1.0, NOW_MS);
    table.begin_fence().expect("nothing panicked");
    let mut copies = table.page_copies();
    for shard in 1..SHARDS {
        while table.take_fenced(shard, &mut copies).expect("nothing panicked") {}
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| table.begin_fence()));
    let payload = panicked
        .err()
        .and_then(|payload| payload.downcast::<String>().ok());
    assert_eq!(
        payload.as_deref().map(String::as_str),
        Some("a fence began before shard 0 of the last one was taken")
    );
    apply(&table, EntityId(1), SIGNALS[1], 1.0, NOW_MS);
    assert_eq!(table.len().ok(), Some(1));
}

/// Both events of a pair change one slot under one lock, so an odd count would be half of a pair.
#[test]
fn a_fence_during_writes_captures_complete_changes_up_to_its_beginning() {
    let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    let gate = RwLock::new(());
    // One entity is forgotten at a time.
    let forgetting = Mutex::new(());
    let stop = AtomicBool::new(false);
    let writer = |seed: u64| {
        let mut random = Random::new(seed);
        while !stop.load(Ordering::Relaxed) {
            let _writing = gate.read().expect("nothing panicked");
            let entity = EntityId(random.below(3000));
            let pair = |Slot { hot, warm, slot }: Slot<'_>| {
                hot.on_signal(slot, 1.0, NOW_MS);
                let mut ring_changes = warm.increment(slot, NOW_MS);
                hot.on_signal(slot, 1.0, NOW_MS);
                ring_changes += warm.increment(slot, NOW_MS);
                ring_changes
            };
            table
                .with_slot(entity, SIGNALS[1], pair)
                .expect("nothing panicked");
            if random.below(50) == 0 {
                let _forgetting = forgetting.lock().expect("nothing panicked");
                table.forget_entity(entity).expect("nothing panicked");
            }
        }
    };
    let checkpoint = || {
        let mut stored = Stored::new();
        for round in 0..20 {
            let closed = gate.write().expect("nothing panicked");
            let expected = table.export().expect("nothing panicked");
            table.begin_fence().expect("nothing panicked");
            drop(closed);
            store_fenced(&table, &mut stored);
            let found = restored::<EntityId>(&stored).export().expect("nothing panicked");
            assert!(found == expected, "round {round}, seed {SEED:#x}");
            let odd = found
                .iter()
                .filter(|(.., state)| state.windows[0].iter().any(|(_, count)| count % 2 == 1));
            assert_eq!(odd.count(), 0);
        }
    };
    std::thread::scope(|scope| {
        for i in 0..3 {
            scope.spawn(move || writer(SEED + i));
        }
        let result = catch_unwind(AssertUnwindSafe(checkpoint));
        stop.store(true, Ordering::Relaxed);
        if let Err(payload) = result {
            std::panic::resume_unwind(payload);
        }
    });
}
