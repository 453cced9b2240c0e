//! The hash of keys: fixed shards, and an even distribution of regular ids.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use crate::EntityId;
use crate::states::key::{KeyHash, SHARDS, StateKey, shard_of};

#[test]
fn the_shard_of_an_entity_never_changes() {
    let shards = [0, 1, 2, 1000, u64::MAX].map(|id| shard_of(EntityId(id)));
    assert_eq!(shards, [10, 1, 11, 10, 1]);
}

#[test]
fn regular_ids_spread_over_all_shards_and_over_the_places_of_a_shard() {
    type Regular = fn(u64) -> u64;
    let regular: [Regular; 5] = [
        |i| i,
        |i| i << 32,
        |i| i << 48,
        |i| i * 1000,
        |i| u64::MAX - i * 4096,
    ];
    for (kind, id) in regular.iter().enumerate() {
        let mut lens = [0_usize; SHARDS];
        let mut low = BTreeSet::new();
        for entity in (0..1 << 14).map(|i| EntityId(id(i))) {
            let shard = shard_of(entity);
            lens[shard] += 1;
            if shard == 7 {
                let hash = KeyHash.hash_one(entity);
                low.insert(hash % 1024);
            }
        }
        assert!(
            lens.iter().all(|len| (700..1400).contains(len)),
            "{kind}: {lens:?}"
        );
        // With random hashes, about 647 of 1024 places would be the first place of a key.
        assert!(low.len() > 550, "{kind}: {} places", low.len());
    }
}

#[test]
fn the_tag_of_global_states_is_fixed() {
    assert_eq!(EntityId::TAG, 0x10);
}
