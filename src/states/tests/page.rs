//! The stored form of pages, and the refusal of damaged ones.

use crate::cells::PAGE_SLOTS;
use crate::codec::Write;
use crate::cohort::CohortEntity;
use crate::limits::Limits;
use crate::states::StateKey;
use crate::states::key::shard_of;
use crate::states::page::PagePlace;
use crate::states::tests::{DAY_MS, HOUR_MS, NOW_MS, SIGNALS, Stored, apply, restored, shapes, store_fenced};
use crate::states::{SHARDS, StateTable};
use crate::testing::workload::Random;
use crate::{CohortId, EntityId, SignalId};

const SEED: u64 = 0x7469_6461_6c64_6206;

fn stored<K: StateKey>(table: &StateTable<K>) -> Stored {
    let mut stored = Stored::new();
    table.begin_fence().expect("nothing panicked");
    store_fenced(table, &mut stored);
    stored
}

fn small_table<K: StateKey>(key: impl Fn(u64) -> K) -> StateTable<K> {
    let table = StateTable::new(&shapes(), &Limits::default());
    apply(&table, key(0), SIGNALS[1], 1.0, NOW_MS);
    apply(&table, key(0), SIGNALS[1], 1.0, NOW_MS - 2 * HOUR_MS as i64);
    apply(&table, key(1), SIGNALS[1], -2.5, NOW_MS - DAY_MS as i64);
    table
}

#[test]
fn a_page_has_its_golden_bytes() {
    // Two entities of shard 3.
    let entities: Vec<EntityId> = (0..)
        .map(EntityId)
        .filter(|&e| shard_of(e) == 3)
        .take(2)
        .collect();
    let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    let hour = NOW_MS.div_euclid(HOUR_MS as i64) * HOUR_MS as i64;
    apply(&table, entities[0], SIGNALS[0], 0.5, hour);
    for (weight, at_ms) in [(1.0, hour), (1.0, hour), (2.0, hour - 3 * HOUR_MS as i64)] {
        apply(&table, entities[1], SIGNALS[1], weight, at_ms);
    }
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .concat()
    };
    let found: Vec<String> = stored(&table)
        .iter()
        .map(|(key, value)| hex(key) + " " + &hex(value))
        .collect();
    let plain = [
        "100000000300000000 ",
        "01",
        "01000000",
        "0d",
        "80b0dfffb866",
        "000000000000e03f",
    ]
    .concat();
    let scores = ["0000000000000240", "aa04ca0a7b521340", "ba79f8026a6f1040"].concat();
    let windows = ["00", "02", "0002", "0201", "00", "01", "0003"].concat();
    let default = [
        "100001000300000000 ",
        "01",
        "01000000",
        "10",
        "80b0dfffb866",
        &scores,
        &windows,
    ]
    .concat();
    assert_eq!(found, [plain, default]);
}

#[test]
fn storage_keys_sort_by_signal_then_shard_then_page() {
    let place = |signal, shard, page| PagePlace {
        signal: SignalId(signal),
        shard,
        page,
    };
    let ascending = [
        place(0, 0, 0),
        place(0, 0, 1),
        place(0, 0, 256),
        place(0, 1, 0),
        place(0, 256, 0),
        place(1, 0, 0),
        place(256, 63, 1),
    ];
    let keys = ascending.map(PagePlace::encode::<EntityId>);
    assert!(keys.is_sorted());
    for (place, key) in ascending.into_iter().zip(keys) {
        assert_eq!(PagePlace::decode::<EntityId>(&key), Ok(place));
        assert!(
            PagePlace::decode::<CohortEntity>(&key).is_err(),
            "another table's tag"
        );
        assert!(PagePlace::decode::<EntityId>(&key[..8]).is_err());
        assert!(PagePlace::decode::<EntityId>(&[&key[..], &[0]].concat()).is_err());
    }
}

/// Extreme values of all stored fields, in one table.
#[test]
fn extreme_states_decode_to_the_same_bits() {
    let mut random = Random::new(SEED);
    let table = StateTable::<CohortEntity>::new(&shapes(), &Limits::default());
    let times = [i64::MIN, i64::MIN + 1, -1, 0, 1, NOW_MS, i64::MAX - 1, i64::MAX];
    for _ in 0..20_000 {
        let key = CohortEntity {
            cohort: CohortId(*random.pick(&[0, 1, 127, 128, u64::MAX])),
            entity: EntityId(*random.pick(&[0, 1, 2, 3, 1 << 35, u64::MAX])),
        };
        let weight = *random.pick(&[1e12, -1e12, 5e-324, -0.0, 1.0 / 3.0]);
        apply(&table, key, *random.pick(&SIGNALS), weight, *random.pick(&times));
    }
    let stored = stored(&table);
    let copy = restored::<CohortEntity>(&stored);
    assert_eq!(copy.export().ok(), table.export().ok());
    for shard in 0..SHARDS {
        let raw = |table: &StateTable<CohortEntity>| {
            let shard = table.lock(shard);
            let cells = shard
                .get()
                .expect("nothing panicked")
                .signals()
                .map(|(_, states)| {
                    let slots = states.occupied_keys().map(|(slot, _)| slot);
                    slots
                        .map(|slot| (states.hot.row(slot).to_vec(), states.warm.row(slot).to_vec()))
                        .collect::<Vec<_>>()
                });
            cells.collect::<Vec<_>>()
        };
        assert_eq!(raw(&copy), raw(&table));
    }
}

#[test]
fn a_default_state_takes_about_fifty_bytes() {
    let table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    let mut random = Random::new(SEED);
    for _ in 0..40_000 {
        let at_ms = NOW_MS + random.between(-(DAY_MS as i64), 0);
        apply(&table, EntityId(random.below(10_000)), SIGNALS[1], 1.0, at_ms);
    }
    let bytes: usize = stored(&table)
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    let per_state = bytes / table.len().expect("nothing panicked");
    assert!((35..=60).contains(&per_state), "{per_state} bytes per state");
}

/// Restores `value`, which may be damaged. Checks that the restore returns an error or a table that can be used.
fn restore_hostile<K: StateKey>(key: &[u8], value: &[u8]) -> Result<StateTable<K>, &'static str> {
    let mut table = StateTable::<K>::new(&shapes(), &Limits::default());
    table.restore_page(key, value)?;
    let export = table.export().expect("nothing panicked");
    for &(key, signal, ref state) in &export {
        assert!(state.scores.iter().all(|score| score.is_finite()));
        for at_ms in [i64::MIN, 0, NOW_MS, i64::MAX] {
            apply(&table, key, signal, 1e12, at_ms);
            table
                .count(key, SIGNALS[1], 0, 24, at_ms)
                .expect("the ring exists");
        }
    }
    stored(&table);
    Ok(table)
}

#[test]
fn a_record_truncated_at_any_byte_is_refused() {
    for (key, value) in stored(&small_table(EntityId)) {
        for len in 0..value.len() {
            assert!(
                restore_hostile::<EntityId>(&key, &value[..len]).is_err(),
                "truncated to {len} bytes"
            );
        }
        assert!(
            restore_hostile::<EntityId>(&key, &[&value[..], &[0]].concat()).is_err(),
            "one byte more"
        );
        assert!(restore_hostile::<EntityId>(&key, &value).is_ok());
    }
}

fn flip<K: StateKey>(stored: &Stored) {
    for (key, value) in stored {
        let mut refused = 0;
        for bit in 0..8 * value.len() {
            let mut value = value.clone();
            value[bit / 8] ^= 1 << (bit % 8);
            refused += usize::from(restore_hostile::<K>(key, &value).is_err());
        }
        assert!(refused > 0);
        for bit in 0..8 * key.len() {
            let mut key = key.clone();
            key[bit / 8] ^= 1 << (bit % 8);
            let refused = restore_hostile::<K>(&key, value).is_err();
            assert!(refused, "bit {bit} of the key");
        }
    }
}

#[test]
fn restoring_a_record_with_any_flipped_bit_does_not_panic() {
    let cohort = |i| CohortEntity {
        cohort: CohortId(1000 + i),
        entity: EntityId(7),
    };
    flip::<EntityId>(&stored(&small_table(EntityId)));
    flip::<CohortEntity>(&stored(&small_table(cohort)));
}

#[test]
fn restoring_random_bytes_does_not_panic() {
    let mut random = Random::new(SEED);
    let (key, _) = stored(&small_table(EntityId))
        .pop_first()
        .expect("a page is stored");
    for _ in 0..10_000 {
        let mut value: Vec<u8> = vec![1, 1 << random.below(8), 0, 0, 0, random.below(3) as u8];
        // Small numbers pass more checks than large ones.
        value.extend((0..random.below(120)).map(|_| (random.next_u64() >> (56 + random.below(8))) as u8));
        drop(restore_hostile::<EntityId>(&key, &value));
    }
}

/// Restores a page with one slot, this second score and this first ring. Entity 0 is in shard 10.
fn restore_slot(score: f64, ring: &[u8]) -> Result<(), &'static str> {
    let place = PagePlace {
        signal: SIGNALS[1],
        shard: 10,
        page: 0,
    };
    let mut value = vec![1, 1, 0, 0, 0];
    value.extend([0, 0]);
    for score in [1.0, score, 1.0] {
        value.extend(score.to_le_bytes());
    }
    value.extend(ring);
    value.extend([0, 0]);
    restore_hostile::<EntityId>(&place.encode::<EntityId>(), &value).map(drop)
}

#[test]
fn every_impossible_value_is_refused() {
    const SCORE: &str = "a page holds an impossible score";
    const WINDOW: &str = "a page holds an impossible window";
    assert_eq!(restore_slot(1.0, &[0, 0]), Ok(()));
    assert_eq!(
        restore_slot(1.0, &[0, 2, 0, 1, 23, 1]),
        Ok(()),
        "the newest and the oldest bucket that a ring of 24 retains"
    );
    for score in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
        assert_eq!(restore_slot(score, &[0, 0]), Err(SCORE));
    }
    assert_eq!(
        restore_slot(1.0, &[0, 1, 24, 1]),
        Ok(()),
        "the oldest bucket alone"
    );
    assert_eq!(
        restore_slot(1.0, &[0, 1, 25, 1]),
        Err(WINDOW),
        "older than the ring"
    );
    assert_eq!(
        restore_slot(1.0, &[0, 2, 0, 1, 24, 1]),
        Err(WINDOW),
        "older than the ring, by sum"
    );
    assert_eq!(
        restore_slot(1.0, &[0, 1, 0, 0]),
        Err(WINDOW),
        "an empty bucket that is listed"
    );
    let count_over_32_bits = [0, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x10];
    assert_eq!(restore_slot(1.0, &count_over_32_bits), Err(WINDOW));
    let mut newest_out_of_time = vec![0xff; 9];
    newest_out_of_time.extend([0x01, 0]);
    assert_eq!(restore_slot(1.0, &newest_out_of_time), Err(WINDOW));
    let mut earliest = Vec::new();
    earliest.put_varint_signed(i64::MIN.div_euclid(HOUR_MS as i64));
    let with_earliest = |ring: &[u8]| restore_slot(1.0, &[&earliest[..], ring].concat());
    assert_eq!(with_earliest(&[1, 0, 1]), Ok(()));
    assert_eq!(
        with_earliest(&[1, 1, 1]),
        Err(WINDOW),
        "before the earliest bucket"
    );
    let mut ages_that_overflow = vec![0, 2, 0, 1];
    ages_that_overflow.extend([0xff; 9]);
    ages_that_overflow.extend([0x01, 1]);
    assert_eq!(restore_slot(1.0, &ages_that_overflow), Err(WINDOW));
}

#[test]
fn a_repeated_key_and_a_key_of_another_shard_are_refused() {
    let (key, value) = stored(&small_table(EntityId))
        .pop_first()
        .expect("a page is stored");
    let place = PagePlace::decode::<EntityId>(&key).expect("it was stored like this");
    let mut table = StateTable::<EntityId>::new(&shapes(), &Limits::default());
    table.restore_page(&key, &value).expect("it was stored like this");
    let gap = "the pages of a shard are not numbered from zero without a gap";
    assert_eq!(table.restore_page(&key, &value), Err(gap), "the same page again");
    let next = PagePlace { page: 1, ..place };
    assert_eq!(
        table.restore_page(&next.encode::<EntityId>(), &value),
        Err("a key has two slots")
    );
    let other = PagePlace {
        shard: place.shard ^ 1,
        ..place
    };
    let refused = restore_hostile::<EntityId>(&other.encode::<EntityId>(), &value).err();
    assert_eq!(refused, Some("a page holds a key of another shard"));
    for shard in [SHARDS as u16, u16::MAX] {
        let nowhere = PagePlace { shard, ..place };
        assert!(restore_hostile::<EntityId>(&nowhere.encode::<EntityId>(), &value).is_err());
    }
    let far = PagePlace {
        page: u32::MAX,
        ..place
    };
    assert!(restore_hostile::<EntityId>(&far.encode::<EntityId>(), &value).is_err());
    let twice_in_a_page = {
        let mut value = vec![1, 3, 0, 0, 0];
        for _ in 0..2 {
            value.extend([0, 0]);
            value.extend([0; 8]);
        }
        value
    };
    let place = PagePlace {
        signal: SIGNALS[0],
        shard: 10,
        page: 0,
    };
    let refused = restore_hostile::<EntityId>(&place.encode::<EntityId>(), &twice_in_a_page).err();
    assert_eq!(refused, Some("a key has two slots"));
}

#[test]
fn an_unknown_version_is_refused() {
    let (key, mut value) = stored(&small_table(EntityId))
        .pop_first()
        .expect("a page is stored");
    value[0] = 2;
    assert_eq!(
        restore_hostile::<EntityId>(&key, &value).err(),
        Some("a page has an unknown version")
    );
    assert_eq!(PAGE_SLOTS, 32, "part of the format");
}
