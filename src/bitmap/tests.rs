//! The bitmap against a `BTreeSet`: single operations here, the algebra in `algebra`.

mod algebra;

use std::collections::BTreeSet;

use super::bits::Bits;
use super::*;
use crate::testing::workload::{Random, with_a_fresh_seed};

const SEED: u64 = 0x7469_6461_6C64_6201;

/// Ids next to every border an id can be next to: of the range, of a container, of a word of bits.
const BORDER_IDS: [u64; 14] = [
    0,
    1,
    63,
    64,
    65_535,
    65_536,
    65_537,
    131_071,
    131_072,
    u64::MAX - 131_072,
    u64::MAX - 65_536,
    u64::MAX - 65_535,
    u64::MAX - 1,
    u64::MAX,
];

/// A bitmap and what it ought to hold.
#[derive(Default)]
struct Pair {
    bitmap: Bitmap,
    model: BTreeSet<u64>,
}

impl Pair {
    fn insert(&mut self, id: u64) {
        assert_eq!(self.bitmap.insert(id), self.model.insert(id), "insert {id}");
        self.check_after(id);
    }

    fn remove(&mut self, id: u64) {
        assert_eq!(self.bitmap.remove(id), self.model.remove(&id), "remove {id}");
        self.check_after(id);
    }

    /// What every step is followed by.
    fn check_after(&self, id: u64) {
        assert_eq!(self.bitmap.validate(), Ok(()), "after {id}");
        assert_eq!(self.bitmap.len(), self.model.len() as u64, "length after {id}");
        for near in [id, id.wrapping_sub(1), id.wrapping_add(1)] {
            assert_eq!(
                self.bitmap.contains(near),
                self.model.contains(&near),
                "{near} after {id}"
            );
        }
    }

    /// Whole values, both ways round.
    fn check_whole(&self) {
        assert!(
            self.bitmap.iter().eq(self.model.iter().copied()),
            "ids or their order differ"
        );
        assert!(
            self.bitmap == self.model.iter().copied().collect(),
            "history shows in the representation"
        );
    }
}

/// The lengths of the containers by key, and whether each holds bits.
fn forms(bitmap: &Bitmap) -> Vec<(u64, u32, bool)> {
    let form = |(&high, container): (&u64, &Container)| {
        (high, container.len(), matches!(container, Container::Bits(_)))
    };
    bitmap.containers.iter().map(form).collect()
}

#[test]
fn an_empty_set_has_nothing() {
    let mut pair = Pair::default();
    for id in BORDER_IDS {
        pair.remove(id);
    }
    pair.check_whole();
    assert_eq!(Bitmap::new(), Bitmap::default());
    assert_eq!(Bitmap::new().heap_bytes(), 0);
    assert_eq!(Bitmap::new().iter().size_hint(), (0, Some(0)));
}

#[test]
fn border_ids_go_in_and_out_in_any_order() {
    for step in [1, 3, 5, 9, 11, 13] {
        let mut pair = Pair::default();
        for i in 0..BORDER_IDS.len() {
            pair.insert(BORDER_IDS[i * step % BORDER_IDS.len()]);
            pair.check_whole();
        }
        for i in 0..BORDER_IDS.len() {
            pair.remove(BORDER_IDS[i * 3 % BORDER_IDS.len()]);
            pair.check_whole();
        }
        assert_eq!(forms(&pair.bitmap), []);
    }
}

#[test]
fn ids_that_differ_only_in_one_bit_are_distinct() {
    let mut pair = Pair::default();
    pair.insert(0);
    for bit in 0..u64::BITS {
        pair.insert(1 << bit);
    }
    pair.check_whole();
    assert_eq!(pair.bitmap.len(), 65);
}

#[test]
fn the_form_changes_between_4096_and_4097_values_both_ways() {
    let base = u64::MAX - 65_535;
    let high = base >> 16;
    let mut pair = Pair::default();
    for i in 0..4095 {
        pair.insert(base + i * 16);
    }
    assert_eq!(forms(&pair.bitmap), [(high, 4095, false)]);
    // Round after round, at the front, in the middle and past the end of what is there.
    for extra in [base + 1, base + 30_001, u64::MAX] {
        pair.insert(base + 65_520);
        assert_eq!(forms(&pair.bitmap), [(high, 4096, false)]);
        pair.insert(base + 65_520);
        assert_eq!(
            forms(&pair.bitmap),
            [(high, 4096, false)],
            "a repeat changes nothing"
        );
        pair.insert(extra);
        assert_eq!(forms(&pair.bitmap), [(high, 4097, true)]);
        pair.remove(extra - 1);
        pair.insert(extra - 1);
        pair.insert(extra);
        pair.check_whole();
        while pair.bitmap.len() > 4096 {
            assert!(matches!(pair.bitmap.containers[&high], Container::Bits(_)));
            let id = pair
                .model
                .iter()
                .copied()
                .find(|id| id % 16 != 0)
                .expect("the odd ones are the extra ones");
            pair.remove(id);
        }
        assert_eq!(forms(&pair.bitmap), [(high, 4096, false)]);
        pair.remove(base + 65_520);
        assert_eq!(forms(&pair.bitmap), [(high, 4095, false)]);
        pair.check_whole();
    }
}

#[test]
fn the_last_id_of_a_container_takes_the_container_with_it() {
    let mut bitmap: Bitmap = [5, 65_536, 65_537, u64::MAX].into_iter().collect();
    assert!(bitmap.remove(65_536));
    assert_eq!(
        forms(&bitmap),
        [(0, 1, false), (1, 1, false), (HIGH_MAX, 1, false)]
    );
    assert!(bitmap.remove(65_537));
    assert_eq!(forms(&bitmap), [(0, 1, false), (HIGH_MAX, 1, false)]);
    assert!(bitmap.remove(u64::MAX) && bitmap.remove(5));
    assert_eq!(forms(&bitmap), []);
}

#[test]
fn random_ids_of_the_whole_range_agree_with_a_naive_set() {
    for seed in with_a_fresh_seed([SEED]) {
        agree_over_the_whole_range(seed);
    }
}

fn agree_over_the_whole_range(seed: u64) {
    let mut random = Random::new(seed);
    let mut pair = Pair::default();
    let ids: Vec<u64> = (0..600).map(|_| random.next_u64()).collect();
    for _ in 0..5000 {
        let id = ids[random.below(600) as usize];
        if random.below(2) == 0 {
            pair.insert(id);
        } else {
            pair.remove(id);
        }
    }
    pair.check_whole();
}

#[test]
fn collecting_takes_any_order_and_repeats() {
    println!("seed {SEED:#x}");
    let mut random = Random::new(SEED);
    let mut ids: Vec<u64> = (0..5000).map(|i| i * 13).chain(BORDER_IDS).collect();
    ids.extend((0..200).map(|_| random.next_u64()));
    let model: BTreeSet<u64> = ids.iter().copied().collect();
    let ascending: Bitmap = model.iter().copied().collect();
    assert_eq!(ascending.validate(), Ok(()));
    assert!(ascending.iter().eq(model.iter().copied()));

    let mut shuffled = ids.clone();
    for i in (1..shuffled.len()).rev() {
        shuffled.swap(i, random.below(i as u64 + 1) as usize);
    }
    let twice: Vec<u64> = model.iter().flat_map(|&id| [id, id]).collect();
    let again: Vec<u64> = model.iter().chain(&model).copied().collect();
    for ids in [ids, shuffled, twice, again, model.iter().rev().copied().collect()] {
        let bitmap: Bitmap = ids.into_iter().collect();
        assert_eq!(bitmap.validate(), Ok(()));
        assert!(bitmap == ascending);
    }
}

#[test]
fn collecting_loses_nothing_where_the_order_falls_back_by_one_container() {
    let bitmap: Bitmap = [65_535, 65_536, 131_072, 65_537, 0, u64::MAX, 131_073]
        .into_iter()
        .collect();
    assert_eq!(bitmap.validate(), Ok(()));
    assert!(
        bitmap
            .iter()
            .eq([0, 65_535, 65_536, 65_537, 131_072, 131_073, u64::MAX])
    );
}

#[test]
fn iteration_ascends_with_an_exact_size_and_stays_at_its_end() {
    let mut ids: Vec<u64> = (70_000..75_000).chain(BORDER_IDS).collect();
    ids.sort_unstable();
    ids.dedup();
    let bitmap: Bitmap = ids.iter().copied().collect();
    let mut iter = bitmap.iter();
    for (taken_len, &id) in ids.iter().enumerate() {
        let left_len = ids.len() - taken_len;
        assert_eq!(iter.size_hint(), (left_len, Some(left_len)));
        assert_eq!(iter.next(), Some(id));
    }
    assert_eq!(iter.size_hint(), (0, Some(0)));
    assert_eq!((iter.next(), iter.next()), (None, None));
    assert!((&bitmap).into_iter().eq(ids));
}

#[test]
fn sets_that_differ_in_one_id_are_unequal() {
    let of = |ids: &[u64]| ids.iter().copied().collect::<Bitmap>();
    assert_ne!(of(&[1]), of(&[2]));
    assert_ne!(of(&[1]), of(&[1 + (1 << 16)]));
    assert_ne!(of(&[1]), of(&[]));
    let dense: Bitmap = (0..5000).collect();
    let mut other = dense.clone();
    assert!(other.remove(17) && other.insert(5001));
    assert!(dense != other);
}

#[test]
fn a_set_prints_as_its_ids() {
    let bitmap: Bitmap = [u64::MAX, 3, 70_000].into_iter().collect();
    assert_eq!(format!("{bitmap:?}"), "{3, 70000, 18446744073709551615}");
}

#[test]
fn a_dense_set_takes_a_bit_and_a_sparse_one_two_bytes_for_each_id() {
    let directory_bytes = 16 * size_of::<(u64, Container)>() as u64;
    let dense: Bitmap = (0..16 << 16).collect();
    assert_eq!(dense.heap_bytes(), 16 * 8192 + directory_bytes);
    // Of 256 ids one, hence 256 for each container.
    let sparse = dense.and(&(0..16 << 8).map(|i| i << 8).collect());
    assert_eq!(sparse.heap_bytes(), 16 * 256 * 2 + directory_bytes);
    // A small result does not keep the room of a large operand.
    let one_each = sparse.difference(&sparse.iter().filter(|id| id % 65_536 != 0).collect());
    assert_eq!(one_each.heap_bytes(), 16 * 2 + directory_bytes);
}

#[test]
fn validation_names_every_way_to_be_broken() {
    let of = |len: u64, containers: Vec<(u64, Container)>| {
        Bitmap {
            containers: containers.into_iter().collect(),
            len,
        }
        .validate()
    };
    let too_few: Vec<u16> = (0..4096).collect();
    let too_many: Vec<u16> = (0..4097).collect();
    assert_eq!(of(4096, vec![(0, Container::Array(too_few.clone()))]), Ok(()));
    assert_eq!(
        of(
            4097,
            vec![(HIGH_MAX, Container::Bits(Bits::from_values(&too_many)))]
        ),
        Ok(())
    );

    assert_eq!(
        of(0, vec![(0, Container::default())]),
        Err("a container is empty")
    );
    assert_eq!(
        of(4097, vec![(0, Container::Array(too_many))]),
        Err("an array is too long")
    );
    assert_eq!(
        of(4096, vec![(0, Container::Bits(Bits::from_values(&too_few)))]),
        Err("bits hold too few values")
    );
    for values in [vec![2, 1], vec![1, 1]] {
        assert_eq!(
            of(2, vec![(0, Container::Array(values))]),
            Err("an array is out of order")
        );
    }
    let high = vec![(HIGH_MAX + 1, Container::of(0))];
    assert_eq!(of(1, high), Err("a container's key has more than 48 bits"));
    let two = vec![(0, Container::of(0)), (1, Container::of(0))];
    assert_eq!(
        of(1, two),
        Err("the set's length is not the sum of its containers'")
    );
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn random_operations_that_swing_over_every_transition_agree_with_a_naive_set() {
        // Neighbours and one far away. Each in turn swings over 4096 while the others swing between empty and few.
        let bases = [0, 1 << 16, 2 << 16, u64::MAX - 65_535];
        let rounds = with_a_fresh_seed((SEED..).take(bases.len())).zip(bases.iter().cycle());
        for (seed, &favoured) in rounds {
            println!("seed {seed:#x}");
            let mut random = Random::new(seed);
            let mut pair = Pair::default();
            pair.model = (0..4000).map(|i| favoured + i * 10).collect();
            pair.bitmap = pair.model.iter().copied().collect();
            let favoured_len = |pair: &Pair| pair.bitmap.containers[&(favoured >> 16)].len();
            for phase in 0..6 {
                let grows = phase % 2 == 0;
                while if grows {
                    favoured_len(&pair) < 4140
                } else {
                    favoured_len(&pair) > 4050
                } {
                    let id = if random.below(4) == 0 {
                        bases[random.below(4) as usize] + random.below(3) * 10
                    } else {
                        favoured + random.below(6554) * 10
                    };
                    if random.below(10) < if grows { 8 } else { 2 } {
                        pair.insert(id);
                    } else {
                        pair.remove(id);
                    }
                }
                assert_eq!(
                    matches!(pair.bitmap.containers[&(favoured >> 16)], Container::Bits(_)),
                    grows
                );
                pair.check_whole();
            }
            while let Some(id) = pair.model.first().copied() {
                pair.remove(id);
            }
            assert_eq!(pair.bitmap, Bitmap::new());
        }
    }

    #[test]
    fn a_container_fills_up_and_empties_completely() {
        let base = 7 << 16;
        let mut bitmap: Bitmap = (base..base + 65_536).collect();
        assert_eq!(bitmap.validate(), Ok(()));
        assert_eq!(forms(&bitmap), [(7, 65_536, true)]);
        assert!(!bitmap.insert(base) && !bitmap.insert(base + 65_535));
        assert!(bitmap.iter().eq(base..base + 65_536));
        for (removed_len, id) in (base..base + 65_536).rev().enumerate() {
            assert!(bitmap.remove(id) && !bitmap.remove(id));
            assert_eq!(bitmap.len(), 65_535 - removed_len as u64);
            assert_eq!(bitmap.validate(), Ok(()));
        }
        assert_eq!(forms(&bitmap), []);
        assert_eq!(bitmap, Bitmap::new());
    }
}
