//! Fences and the order of touches of a table of strings.

use crate::entities::co_engagement::table::*;

impl Entries for String {
    fn entries_len(&self) -> usize {
        0
    }

    fn retain(&mut self, _: impl FnMut(u64) -> bool) {}

    fn stored_bytes(_: usize) -> u64 {
        1
    }
}

impl<R: Entries> Table<R> {
    /// Checks the invariants of the module.
    pub(in crate::entities::co_engagement) fn validate(&self) {
        let mut stamps: Vec<_> = self
            .slots
            .iter()
            .map(|(&id, slot)| (slot.stamped.touched, id))
            .collect();
        stamps.sort_unstable();
        assert!(
            self.recency.iter().eq(stamps.iter()),
            "{:?} is not {stamps:?}",
            self.recency
        );
        let lens = self.slots.values().map(|slot| slot.stamped.record.entries_len());
        assert_eq!(lens.clone().sum::<usize>(), self.entries_len);
        assert!(
            lens.max() <= Some(self.longest),
            "{} is not the most",
            self.longest
        );
        for (id, slot) in self.slots.iter().map(|(&id, slot)| (id, slot)) {
            if slot.changed_at_fence == self.fences {
                assert!(
                    self.shards[shard_of(id)].changed.contains(&id),
                    "{id} is not noted as changed"
                );
            }
        }
    }
}

fn set(table: &mut Table<String>, id: u64, value: &str) {
    *table.change_or_create(id, 0, 0, String::new) = value.to_owned();
    table.validate();
}

fn take(table: &mut Table<String>) -> Vec<(u64, Option<String>)> {
    let mut all: Vec<_> = (0..FENCE_SHARDS)
        .flat_map(|shard| table.take_fenced(shard))
        .collect();
    all.sort_unstable_by_key(|&(id, _)| id);
    all.into_iter()
        .map(|(id, stamped)| (id, stamped.map(|stamped| stamped.record)))
        .collect()
}

#[test]
fn taking_a_fence_returns_no_later_change() {
    let some = |value: &str| Some(value.to_owned());
    let mut table = Table::new();
    for id in 1..=6 {
        set(&mut table, id, "old");
    }
    table.begin_fence();
    take(&mut table);
    // At the fence, 1 and 2 are unchanged, 3 and 4 are changed, 5 is removed, 6 is removed and created again, 7 is new,
    // and 8 was created and removed.
    set(&mut table, 3, "fenced");
    set(&mut table, 4, "fenced");
    table.remove(5);
    table.remove(6);
    set(&mut table, 6, "again");
    set(&mut table, 7, "new");
    set(&mut table, 8, "brief");
    table.remove(8);
    table.begin_fence();
    // Changes after the beginning of the fence.
    for id in 1..=9 {
        set(&mut table, id, "later");
    }
    table.remove(3);
    table.remove(7);
    set(&mut table, 7, "later still");
    table.remove(9);
    assert_eq!(
        take(&mut table),
        [
            (3, some("fenced")),
            (4, some("fenced")),
            (5, None),
            (6, some("again")),
            (7, some("new")),
            (8, None)
        ]
    );
    table.begin_fence();
    let later = |id| (id, some("later"));
    let expected = [
        later(1),
        later(2),
        (3, None),
        later(4),
        later(5),
        later(6),
        (7, some("later still")),
        later(8),
        (9, None),
    ];
    assert_eq!(take(&mut table), expected);
}

#[test]
fn a_touched_record_counts_as_changed() {
    let mut table = Table::new();
    set(&mut table, 1, "one");
    table.begin_fence();
    take(&mut table);
    table.touch(1, 9);
    table.touch(2, 9);
    table.begin_fence();
    table.touch(1, 10);
    let taken: Vec<_> = (0..FENCE_SHARDS)
        .flat_map(|shard| table.take_fenced(shard))
        .collect();
    assert_eq!(
        taken,
        [(
            1,
            Some(Stamped {
                touched: 9,
                forgets: 0,
                record: "one".to_owned()
            })
        )]
    );
}

#[test]
fn the_record_with_the_oldest_touch_is_dropped_first_and_of_equal_ones_the_smallest_id() {
    let mut table = Table::new();
    for (id, ordinal) in [(5, 1), (4, 1), (9, 0), (1, 2)] {
        table.change_or_create(id, ordinal, 0, String::new);
    }
    table.touch(9, 3);
    let mut order = Vec::new();
    for len_max in (0..4).rev() {
        let before: Vec<u64> = table.sorted().iter().map(|(id, _)| *id).collect();
        table.drop_oldest(len_max);
        table.validate();
        order.extend(before.into_iter().filter(|&id| table.get(id).is_none()));
    }
    assert_eq!(order, [4, 5, 1, 9]);
    assert_eq!((table.len(), table.last_touched()), (0, None));
}

#[test]
fn a_record_that_is_created_and_removed_often_takes_bounded_memory() {
    let mut table = Table::new();
    for _ in 0..10_000 {
        set(&mut table, 1, "brief");
        table.remove(1);
    }
    assert!(table.shards[shard_of(1)].changed.capacity() <= 64);
}

#[test]
fn small_ids_spread_over_all_shards() {
    let mut lens = [0; FENCE_SHARDS];
    (0..6400).for_each(|id| lens[shard_of(id)] += 1);
    assert!(lens.iter().all(|&len| (50..200).contains(&len)), "{lens:?}");
}

#[test]
fn a_shard_is_taken_by_ascending_id_with_each_record_once() {
    let same_shard: Vec<u64> = (0..).filter(|&id| shard_of(id) == 9).take(3).collect();
    let [a, b, c] = same_shard[..] else {
        unreachable!("three were taken")
    };
    let mut table = Table::new();
    for id in [c, a, b, a] {
        set(&mut table, id, "fenced");
        table.remove(id);
    }
    for id in [b, a] {
        set(&mut table, id, "fenced");
    }
    table.begin_fence();
    for id in [a, b, c] {
        set(&mut table, id, "later");
    }
    let taken = table
        .take_fenced(9)
        .into_iter()
        .map(|(id, stamped)| (id, stamped.map(|s| s.record)));
    let fenced = Some("fenced".to_owned());
    assert_eq!(
        taken.collect::<Vec<_>>(),
        [(a, fenced.clone()), (b, fenced), (c, None)]
    );
}
