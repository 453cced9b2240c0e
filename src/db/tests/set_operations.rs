//! And, or and difference of collections, against ordered sets of the standard library.

use std::collections::BTreeSet;

use super::{PATH, options};
use crate::testing::SimDisk;
use crate::testing::workload::{Random, with_a_fresh_seed};
use crate::{Durability, EntityId, Error, TidalDb};

const SEED: u64 = 0x7469_6461_6c64_6241;

/// The members of the collections in a test: none, the extremes, a dense run, few and far apart, and random ones.
fn sets(random: &mut Random) -> Vec<BTreeSet<u64>> {
    let random_set = |random: &mut Random, bound| (0..40).map(|_| random.below(bound)).collect();
    vec![
        BTreeSet::new(),
        BTreeSet::from([0, u64::MAX]),
        (0..100).collect(),
        (0..30).map(|i| i << 40).collect(),
        random_set(random, 60),
        random_set(random, 1000),
    ]
}

#[test]
fn and_or_and_difference_of_two_collections_are_those_of_their_sets_also_after_reopening() {
    for seed in with_a_fresh_seed([SEED]) {
        let sets = sets(&mut Random::new(seed));
        let disk = SimDisk::new();
        let name = |i: usize| format!("set {i}");
        let open = || TidalDb::open(PATH, options(&disk, Durability::OperatingSystem)).unwrap();
        let mut db = open();
        for (i, set) in sets.iter().enumerate() {
            db.create_collection(name(i)).unwrap();
            for &member in set {
                db.add_to_collection(name(i), EntityId(member)).unwrap();
            }
        }
        for _ in 0..2 {
            for (i, left) in sets.iter().enumerate() {
                for (k, right) in sets.iter().enumerate() {
                    let ids = |set: BTreeSet<u64>| set.into_iter().map(EntityId).collect::<Vec<_>>();
                    let and = db.collection_and(name(i), name(k)).unwrap();
                    assert_eq!(and, ids(left & right), "{i} and {k}, seed {seed:#x}");
                    let or = db.collection_or(name(i), name(k)).unwrap();
                    assert_eq!(or, ids(left | right), "{i} or {k}, seed {seed:#x}");
                    let difference = db.collection_difference(name(i), name(k)).unwrap();
                    assert_eq!(difference, ids(left - right), "{i} without {k}, seed {seed:#x}");
                }
            }
            db.close().unwrap();
            db = open();
        }
    }
}

#[test]
fn a_set_operation_with_an_unknown_collection_names_it() {
    let disk = SimDisk::new();
    let db = TidalDb::open(PATH, options(&disk, Durability::EverySynced)).unwrap();
    db.create_collection("known").unwrap();
    let results = [
        db.collection_and("known", "unknown"),
        db.collection_or("unknown", "known"),
        db.collection_difference("known", "unknown"),
    ];
    for result in results {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, Error::UnknownCollection { name } if name == "unknown"),
            "{error}"
        );
    }
}
