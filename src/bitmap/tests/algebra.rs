//! `and`, `or` and `difference` against a `BTreeSet`, over every pair of container shapes, and their laws.

use std::collections::BTreeSet;

use super::super::Bitmap;
use super::super::join::{Joined, join};
use super::{BORDER_IDS, SEED};
use crate::testing::workload::Random;

/// Sets that between them hold every form of container, at every length where the form changes.
fn shapes() -> Vec<BTreeSet<u64>> {
    let far = u64::MAX - 65_535;
    let mut random = Random::new(SEED);
    let mut random_ids = |ids_len: u64, range: u64| (0..ids_len).map(|_| random.below(range)).collect();
    vec![
        BTreeSet::new(),
        BTreeSet::from([0]),
        BTreeSet::from([u64::MAX]),
        BTreeSet::from(BORDER_IDS),
        (0..4095).collect(),
        (0..4096).collect(),
        (0..4097).collect(),
        // Half of each next one is in the one before: results land on both sides of the transition.
        (2048..2048 + 4096).collect(),
        (1..4098).collect(),
        (0..65_536).collect(),
        (0..65_536).step_by(2).collect(),
        (1..65_536).step_by(2).collect(),
        (0..65_536).step_by(16).collect(),
        (0..3 << 16).step_by(7).collect(),
        (1 << 16..2 << 16)
            .step_by(3)
            .chain((0..60_000).step_by(20).map(|i| far + i))
            .collect(),
        (0..60_000).step_by(5).map(|i| far + i).collect(),
        random_ids(9000, 2 << 16),
        random_ids(500, 5 << 16),
    ]
}

fn bitmap_of(ids: &BTreeSet<u64>) -> Bitmap {
    ids.iter().copied().collect()
}

/// Compares whole values, the representation included.
fn check(what: &str, result: &Bitmap, expected: &BTreeSet<u64>) {
    assert_eq!(result.validate(), Ok(()), "{what}");
    assert_eq!(result.len(), expected.len() as u64, "{what}");
    assert!(result.iter().eq(expected.iter().copied()), "{what}");
    assert!(
        *result == bitmap_of(expected),
        "{what}: the representation differs"
    );
}

#[test]
fn a_result_can_be_changed_like_any_other_set() {
    let left: BTreeSet<u64> = (0..8192).collect();
    let right: BTreeSet<u64> = (4096..12_288).collect();
    let mut and = bitmap_of(&left).and(&bitmap_of(&right));
    let mut expected = &left & &right;
    assert_eq!(expected.len(), 4096);
    for id in [0, 65_535, 65_536, u64::MAX] {
        assert!(and.insert(id) && expected.insert(id));
        check("after an insertion", &and, &expected);
    }
    for id in [0, 65_535, 65_536, u64::MAX, 5000] {
        assert!(and.remove(id) && expected.remove(&id));
        check("after a removal", &and, &expected);
    }
}

#[test]
fn a_join_pairs_equal_keys_and_keeps_the_order() {
    let left = [(1, 'a'), (2, 'a'), (5, 'a')];
    let right = [(2, 'b'), (3, 'b'), (6, 'b'), (7, 'b')];
    let joined: Vec<_> = join(left, right, |&(key, _)| key).collect();
    assert_eq!(
        joined,
        [
            Joined::Left((1, 'a')),
            Joined::Both((2, 'a'), (2, 'b')),
            Joined::Right((3, 'b')),
            Joined::Left((5, 'a')),
            Joined::Right((6, 'b')),
            Joined::Right((7, 'b')),
        ]
    );
    let nothing: [u8; 0] = [];
    assert_eq!(join(nothing, nothing, |&key| key).next(), None);
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn every_operation_on_every_pair_of_shapes_agrees_with_a_naive_set() {
        println!("seed {SEED:#x}");
        let shapes = shapes();
        let bitmaps: Vec<Bitmap> = shapes.iter().map(bitmap_of).collect();
        for (l, left) in shapes.iter().enumerate() {
            for (r, right) in shapes.iter().enumerate() {
                check(
                    &format!("{l} and {r}"),
                    &bitmaps[l].and(&bitmaps[r]),
                    &(left & right),
                );
                check(
                    &format!("{l} or {r}"),
                    &bitmaps[l].or(&bitmaps[r]),
                    &(left | right),
                );
                check(
                    &format!("{l} without {r}"),
                    &bitmaps[l].difference(&bitmaps[r]),
                    &(left - right),
                );
            }
        }
        for (shape, bitmap) in shapes.iter().zip(&bitmaps) {
            check("the operands are left alone", bitmap, shape);
        }
    }

    #[test]
    fn the_laws_of_sets_hold_between_every_two_shapes() {
        println!("seed {SEED:#x}");
        let bitmaps: Vec<Bitmap> = shapes().iter().map(bitmap_of).collect();
        for a in &bitmaps {
            assert!(a.and(a) == *a && a.or(a) == *a, "idempotence");
            assert!(
                a.difference(a) == Bitmap::new(),
                "nothing is left of a set without itself"
            );
            for b in &bitmaps {
                let (and, or) = (a.and(b), a.or(b));
                assert!(and == b.and(a) && or == b.or(a), "commutativity");
                assert!(a.and(&or) == *a && a.or(&and) == *a, "absorption");
                assert_eq!(a.len() + b.len(), and.len() + or.len(), "inclusion and exclusion");
                let (left_only, right_only) = (a.difference(b), b.difference(a));
                assert!(left_only == a.difference(&and), "only what is shared goes");
                assert!(left_only.or(&and) == *a, "the two parts make the whole");
                assert_eq!(left_only.and(b).len(), 0, "what is left is disjoint");
                assert!(
                    or.difference(&and) == left_only.or(&right_only),
                    "symmetric difference"
                );
            }
        }
    }

    #[test]
    fn the_laws_of_three_sets_hold() {
        println!("seed {SEED:#x}");
        let mut random = Random::new(SEED);
        let bitmaps: Vec<Bitmap> = shapes().iter().map(bitmap_of).collect();
        for _ in 0..200 {
            let [a, b, c] = [(); 3].map(|()| &bitmaps[random.below(bitmaps.len() as u64) as usize]);
            assert!(a.and(b).and(c) == a.and(&b.and(c)), "and is associative");
            assert!(a.or(b).or(c) == a.or(&b.or(c)), "or is associative");
            assert!(
                a.and(&b.or(c)) == a.and(b).or(&a.and(c)),
                "and distributes over or"
            );
            assert!(
                a.or(&b.and(c)) == a.or(b).and(&a.or(c)),
                "or distributes over and"
            );
            assert!(
                a.difference(&b.or(c)) == a.difference(b).and(&a.difference(c)),
                "De Morgan, or"
            );
            assert!(
                a.difference(&b.and(c)) == a.difference(b).or(&a.difference(c)),
                "De Morgan, and"
            );
        }
    }
}
