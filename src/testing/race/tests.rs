//! A short form of the races: enough to meet each kind, and no more.

use super::*;

const SEEDS: std::ops::Range<u64> = 0..120;

#[test]
fn no_race_of_records_checkpoints_collections_reads_close_and_panics_goes_wrong() {
    let mut all = Told::default();
    for seed in crate::testing::workload::with_a_fresh_seed(SEEDS) {
        let told = Race::of_seed(seed).run().unwrap_or_else(|lost| panic!("{lost}"));
        all = all.with(told);
    }
    println!("{all:?}");
    let seeds = SEEDS.end - SEEDS.start;
    assert!(
        all.closed > seeds / 6 && all.panicked > seeds / 6,
        "a third of the races each: {all:?}"
    );
    assert!(
        all.holds > 10 * seeds && all.images > 2 * seeds + seeds / 2,
        "{all:?}"
    );
}

#[test]
fn every_point_and_every_policy_is_among_the_races() {
    let races: Vec<_> = SEEDS.map(Race::of_seed).collect();
    for point in CrashPoint::ALL {
        let panics = races
            .iter()
            .filter(|race| race.panics_at.is_some_and(|(at, _)| at == point));
        assert!(panics.count() >= 1, "no race panics at {point}");
    }
    for durability in [Durability::EverySynced, Durability::OperatingSystem] {
        for background in [Background::Caller, Background::OwnThreads] {
            let of_kind = races
                .iter()
                .filter(|race| (race.durability, race.background) == (durability, background));
            assert!(of_kind.count() >= 5, "{durability:?} {background:?}");
        }
    }
}
