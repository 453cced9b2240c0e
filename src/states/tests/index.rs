//! The index of keys compared with a naive map.

use std::collections::BTreeMap;

use crate::EntityId;
use crate::states::index::{Index, VACANT};
use crate::testing::workload::Random;

const SEED: u64 = 0x7469_6461_6c64_6209;

/// Checks the invariant of the index.
fn validate(index: &Index<EntityId>) {
    let occupied = index.places.iter().filter(|place| place.slot != VACANT);
    assert_eq!(occupied.clone().count(), index.len);
    assert!(index.len * 4 <= index.places.len() * 3);
    for place in occupied {
        let found = &index.places[index.find(place.key)];
        assert_eq!(
            found.slot, place.slot,
            "{:?} is not found, seed {SEED:#x}",
            place.key
        );
    }
}

#[test]
fn an_index_equals_a_naive_map_during_growth_and_removals() {
    let mut random = Random::new(SEED);
    for keys_len in [1, 3, 12, 100, 3000] {
        let mut index = Index::new();
        let mut model = BTreeMap::new();
        for step in 0..6 * keys_len + 50 {
            // Also multiples of a large power of two, which have the same low bits.
            let key = EntityId(random.below(keys_len) << (32 * random.below(2)));
            let slot = step as u32;
            match random.below(5) {
                0 | 1 => {
                    let is_new = !model.contains_key(&key);
                    assert_eq!(index.insert(key, slot), is_new, "seed {SEED:#x}, step {step}");
                    model.entry(key).or_insert(slot);
                }
                2 => {
                    let before = model.insert(key, slot);
                    assert_eq!(index.set(key, slot), before, "seed {SEED:#x}, step {step}");
                }
                _ => {
                    index.remove(key);
                    model.remove(&key);
                }
            }
            if step % 16 == 0 || keys_len < 100 {
                validate(&index);
            }
            assert_eq!(
                index.get(key),
                model.get(&key).copied(),
                "seed {SEED:#x}, step {step}"
            );
            assert_eq!(index.len(), model.len());
        }
        validate(&index);
        for key in (0..keys_len).flat_map(|i| [EntityId(i), EntityId(i << 32)]) {
            assert_eq!(index.get(key), model.get(&key).copied(), "seed {SEED:#x}");
        }
    }
}

#[test]
fn an_empty_index_takes_no_memory_and_finds_nothing() {
    let mut index = Index::<EntityId>::new();
    assert_eq!(
        (index.get(EntityId(1)), index.len(), index.heap_bytes()),
        (None, 0, 0)
    );
    index.remove(EntityId(1));
    assert!(index.insert(EntityId(0), 7));
    assert_eq!(index.get(EntityId(0)), Some(7));
    index.remove(EntityId(0));
    assert_eq!((index.get(EntityId(0)), index.len()), (None, 0));
}
