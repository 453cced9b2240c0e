//! Blocks compared with a naive set, and the refusal of damaged records.

use std::collections::{BTreeMap, BTreeSet};

use super::block::{self, IdRun};
use super::*;
use crate::codec::Write;
use crate::limits::BLOCK_IDS_MAX;
use crate::storage::{MemoryStore, StorageEngine, keys};
use crate::testing::workload::Random;

const SEED: u64 = 7;

fn limits(collection_block_bytes_max: usize, collection_block_ids_max: u64) -> Limits {
    Limits {
        collection_block_bytes_max,
        collection_block_ids_max,
        ..Limits::default()
    }
}

/// Makes random changes under `limits`, and compares the members with a naive set after each. `draw` chooses the ids.
/// The first half has more additions than removals, the second half has fewer. Returns the largest and the last number
/// of blocks.
fn change_at_random(limits: &Limits, changes_len: u64, draw: impl Fn(&mut Random) -> u64) -> (usize, usize) {
    let mut random = Random::new(SEED);
    let mut members = Members::default();
    let mut expected = BTreeSet::new();
    // The content of storage.
    let mut stored = BTreeMap::new();
    let mut blocks_max = 0;
    for number in 0..2 * changes_len {
        let id = draw(&mut random);
        let is_addition = random.below(8) < if number < changes_len { 6 } else { 1 };
        let (changes, is_change) = if is_addition {
            (members.adding(id, limits), expected.insert(id))
        } else {
            (members.removing(id, limits), expected.remove(&id))
        };
        assert_eq!(
            changes.is_some(),
            is_change,
            "seed {SEED}, change {number} of {id}"
        );
        let Some(changes) = changes else { continue };
        for (lower, content) in &changes.blocks {
            match content {
                Some(bytes) => stored.insert(*lower, bytes.clone()),
                None => stored.remove(lower),
            };
        }
        members.apply(changes);
        check_blocks(&stored);
        assert!(members.iter().eq(expected.iter().copied()), "change {number}");
        assert_eq!(members.len(), expected.len() as u64);
        assert!(members.lower_bounds().eq(stored.keys().copied()));
        for near in [id.wrapping_sub(1), id, id.wrapping_add(1)] {
            assert_eq!(members.contains(near), expected.contains(&near), "{near}");
        }
        blocks_max = blocks_max.max(stored.len());
    }
    let mut loaded = Members::default();
    for (lower, bytes) in &stored {
        let (ids_len, _) = block::check(*lower, bytes).unwrap();
        loaded.push(*lower, bytes.clone(), ids_len);
    }
    assert!(
        loaded.iter().eq(expected.iter().copied()),
        "storage has the same members"
    );
    (blocks_max, stored.len())
}

/// Checks the invariant of the blocks of a collection.
fn check_blocks(stored: &BTreeMap<u64, Vec<u8>>) {
    let mut before = None;
    for (lower, bytes) in stored {
        assert!(before < Some(*lower), "{before:?} is not below {lower}");
        let (_, last) = block::check(*lower, bytes).expect("it is a block");
        before = Some(last);
    }
}

#[test]
fn random_changes_equal_a_naive_set_under_every_limit() {
    let near_the_ends = |random: &mut Random| match random.below(3) {
        0 => random.below(6),
        1 => u64::MAX - random.below(6),
        _ => (1 << 40) + random.below(6),
    };
    for bytes_max in [1, 2, 12, 40, 512] {
        for ids_max in [1, 2, 3, BLOCK_IDS_MAX] {
            let limits = limits(bytes_max, ids_max);
            change_at_random(&limits, 400, near_the_ends);
            change_at_random(&limits, 400, |random| random.below(60));
            change_at_random(&limits, 400, |random| random.below(20) << random.below(60));
        }
    }
}

#[test]
fn blocks_are_divided_as_they_grow_and_joined_as_they_shrink() {
    let limits = limits(64, 32);
    let (most, _) = change_at_random(&limits, 2000, |random| random.below(1000));
    assert!(most > 20, "{most} blocks");
    for descending in [false, true] {
        let mut members = Members::default();
        for id in 0..2000 {
            members.apply(members.adding(3 * id, &limits).unwrap());
        }
        let mut ids: Vec<_> = (0..2000).filter(|id| id % 40 != 0).collect();
        if descending {
            ids.reverse();
        }
        for id in ids {
            members.apply(members.removing(3 * id, &limits).unwrap());
        }
        assert_eq!(members.len(), 50);
        // The remaining 50 members take about two bytes each. Two neighbouring blocks are joined if together they have
        // at most 32 bytes and 16 ids.
        let blocks_len = members.lower_bounds().count();
        assert!(blocks_len <= 14, "{blocks_len} blocks");
    }
}

#[test]
fn a_change_stores_at_most_two_blocks_and_their_bytes_are_limited() {
    let limits = Limits::default();
    let mut random = Random::new(SEED);
    let mut members = Members::default();
    let bytes_of = |changes: &BlockChanges| -> usize {
        let contents = changes.blocks.iter().filter_map(|(_, content)| content.as_ref());
        contents.map(Vec::len).sum()
    };
    let mut ids = Vec::new();
    for _ in 0..5000 {
        let id = random.next_u64();
        let Some(changes) = members.adding(id, &limits) else {
            continue;
        };
        assert!(changes.blocks.len() <= 2 && bytes_of(&changes) <= limits.collection_block_bytes_max + 40);
        members.apply(changes);
        ids.push(id);
    }
    for id in ids {
        let changes = members.removing(id, &limits).unwrap();
        assert!(changes.blocks.len() <= 2 && bytes_of(&changes) <= limits.collection_block_bytes_max + 40);
        members.apply(changes);
    }
    assert_eq!((members.len(), members.lower_bounds().count()), (0, 0));
}

#[test]
fn a_block_has_its_golden_bytes() {
    let runs = [(5, 5), (7, 9), (300, 300)].map(|(first, last)| IdRun { first, last });
    let bytes = block::encode(4, &runs);
    assert_eq!(bytes, [1, 0, 0, 2, 0xa1, 2, 0]);
    assert!(block::runs(4, &bytes).eq(runs));
    assert_eq!(block::check(4, &bytes), Ok((5, 300)));
}

/// The bytes of varints.
fn varints(values: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        bytes.put_varint(*value);
    }
    bytes
}

#[test]
fn a_block_that_no_change_can_make_is_refused() {
    let end = u64::MAX;
    let bad: [(&str, u64, &[u64]); 9] = [
        ("it is empty", 0, &[]),
        ("a run without its length", 0, &[3]),
        ("a run without its length after another one", 0, &[3, 0, 7]),
        ("a first id beyond the range", 2, &[end - 1, 0]),
        ("a last id beyond the range", 2, &[end - 2, 1]),
        ("a run after the end of the range", 2, &[end - 2, 0, 0, 0]),
        (
            "a run that would touch the end of the range",
            2,
            &[end - 3, 0, 0, 0],
        ),
        ("a run of too many ids", 0, &[0, BLOCK_IDS_MAX]),
        ("runs of too many ids", 0, &[0, BLOCK_IDS_MAX - 1, 5, 0]),
    ];
    for (what, lower, values) in bad {
        assert!(block::check(lower, &varints(values)).is_err(), "{what}");
    }
    assert!(
        block::check(0, &[0, 0, 0x80]).is_err(),
        "a varint without its end"
    );
    let longest = varints(&[end - BLOCK_IDS_MAX + 1, BLOCK_IDS_MAX - 1]);
    assert_eq!(block::check(0, &longest), Ok((BLOCK_IDS_MAX, end)));
}

/// Seals these records and loads them. Returns the index, or the key and the reason of the error.
fn load(records: &[(Vec<u8>, Vec<u8>)]) -> Result<CollectionIndex, (Vec<u8>, &'static str)> {
    let store = MemoryStore::new();
    for (key, value) in records {
        store.put(key, &keys::seal(key, value.clone())).unwrap();
    }
    CollectionIndex::load(&store).map_err(|error| match error {
        Error::CorruptValue { key, what } => (key, what),
        other => panic!("{other}"),
    })
}

fn name(name: &[u8], number: u64) -> (Vec<u8>, Vec<u8>) {
    (keys::collection(name), number.to_le_bytes().to_vec())
}

fn block_of(number: u64, lower: u64, values: &[u64]) -> (Vec<u8>, Vec<u8>) {
    (keys::block(number, lower), varints(values))
}

#[test]
fn records_that_no_change_can_make_are_refused_with_their_key() {
    let both = [name(b"a", 0), name(b"b", 1)];
    let sound = [
        block_of(0, 0, &[0, 2]),
        block_of(0, 3, &[0, 0]),
        block_of(1, 0, &[9, 0]),
    ];
    let index = load(&[&both[..], &sound].concat()).unwrap();
    assert_eq!(
        index.members(b"a").unwrap().iter().collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    assert_eq!(index.members(b"b").unwrap().iter().collect::<Vec<_>>(), [9]);

    let with_tail = (keys::block(0, 7), [varints(&[0, 0]), vec![0x80]].concat());
    let bad = [
        ("a number that is too short", (keys::collection(b"c"), vec![2; 7])),
        ("a number that is too long", (keys::collection(b"c"), vec![2; 9])),
        ("a number that is too high", name(b"c", u64::MAX / 2 + 1)),
        ("the number of another collection", name(b"c", 1)),
        ("an empty name", name(b"", 2)),
        (
            "a name longer than its length field",
            ([&keys::collection(b"c")[..], b"c"].concat(), vec![2; 8]),
        ),
        (
            "a key of a block that is too short",
            (keys::block(1, 1)[..16].to_vec(), varints(&[0, 0])),
        ),
        ("a block of no collection", block_of(2, 0, &[0, 0])),
        ("a block without ids", block_of(0, 5, &[])),
        ("a block with a part of a run", with_tail),
        (
            "a block that begins inside the one before",
            block_of(0, 2, &[9, 0]),
        ),
        ("a block that reaches into the next one", block_of(0, 1, &[0, 2])),
    ];
    for (what, record) in bad {
        let error = load(&[&both[..], &sound, std::slice::from_ref(&record)].concat());
        let (key, _) = error.map(drop).expect_err(what);
        // Of two blocks that overlap, the error names the higher one.
        assert!(key >= record.0 && key[0] == record.0[0], "{what}: {key:?}");
    }
}

#[test]
fn a_new_collection_gets_an_unused_number() {
    let mut index = load(&[name(b"b", 5), block_of(5, 0, &[1, 0])]).unwrap();
    assert_eq!(
        index.creation(b"a"),
        BatchOperation::Put {
            value: keys::seal(&keys::collection(b"a"), 6_u64.to_le_bytes().to_vec()),
            key: keys::collection(b"a"),
        }
    );
    index.create(b"a");
    index.delete(b"a");
    index.create(b"c");
    assert_eq!(
        index.creation(b"d"),
        BatchOperation::Put {
            value: keys::seal(&keys::collection(b"d"), 8_u64.to_le_bytes().to_vec()),
            key: keys::collection(b"d"),
        }
    );
}

#[test]
fn the_digest_depends_on_names_and_members_but_not_on_blocks() {
    let one = load(&[name(b"a", 0), block_of(0, 0, &[0, 3])]).unwrap();
    let two = load(&[name(b"a", 3), block_of(3, 0, &[0, 1]), block_of(3, 2, &[0, 1])]).unwrap();
    assert_eq!(one.digest(), two.digest());
    let other = load(&[name(b"a", 0), block_of(0, 0, &[0, 2])]).unwrap();
    let renamed = load(&[name(b"b", 0), block_of(0, 0, &[0, 3])]).unwrap();
    let digests: BTreeSet<_> = [&one, &other, &renamed].map(CollectionIndex::digest).into();
    assert_eq!(digests.len(), 3);
}
