//! A short run of races: enough seeds for each kind of race.

use super::*;
use crate::testing::workload::{standard_schema, tiny_options, with_a_fresh_seed};
use crate::testing::{CrashPoint, SimDisk};
use crate::{Background, Durability, EntityId};

const SEEDS: std::ops::Range<u64> = 0..120;

#[test]
fn the_seeds_cover_every_crash_point_and_every_policy() {
    let races: Vec<_> = SEEDS.map(Race::of_seed).collect();
    for point in CrashPoint::ALL {
        let panics = races
            .iter()
            .filter(|race| race.panics_at.is_some_and(|(at, _)| at == point));
        assert!(panics.count() >= 1, "no seed has a panic at {point}");
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

/// Makes random changes of two collections, in an order that the seed decides. Other threads change the same
/// collections.
fn change_at_random(db: &TidalDb, seed: u64) {
    let mut random = Random::new(seed);
    for _ in 0..30 {
        let name = *random.pick(&["a", "b"]);
        let entity = EntityId(random.below(2));
        let changed = match random.below(8) {
            0 => db.create_collection(name),
            1 => db.delete_collection(name),
            2..=4 => db.remove_from_collection(name, entity).map(drop),
            _ => db.add_to_collection(name, entity).map(drop),
        };
        match changed {
            Ok(()) | Err(Error::CollectionExists { .. } | Error::UnknownCollection { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn concurrent_changes_of_the_same_collections_leave_equal_state_in_memory_and_in_storage() {
    for seed in with_a_fresh_seed(0..40) {
        let disk = SimDisk::new();
        let points = Arc::new(YieldPoints::new(seed, |_| {}));
        let passed = Arc::clone(&points);
        let recorder = CrossingRecorder::with_callback(move |_| passed.pass());
        let _recording = scoped_recorder(&recorder);
        let options = |files| {
            tiny_options(standard_schema())
                .durability(Durability::OperatingSystem)
                .files(files)
        };
        let db = TidalDb::open(PATH, options(with_yield_points(&disk, &points))).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let db = &db;
                scope.spawn(crate::testing::inherit(move || {
                    change_at_random(db, seed ^ thread << 32);
                }));
            }
        });
        let in_memory = db.export().unwrap();
        drop(db);
        let db = TidalDb::open(PATH, options(Arc::new(disk))).unwrap();
        assert_eq!(db.export().unwrap(), in_memory, "seed {seed:#x}");
    }
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn no_race_of_calls_checkpoints_close_and_panics_breaks_a_promise() {
        let mut all = RaceStatistics::default();
        for seed in with_a_fresh_seed(SEEDS) {
            let result = Race::of_seed(seed).run();
            all = all.with(result.unwrap_or_else(|failure| panic!("{failure}")));
        }
        println!("{all:?}");
        let seeds = SEEDS.end - SEEDS.start;
        assert!(
            all.closed > seeds / 6 && all.panicked > seeds / 6,
            "a third of the races closes and a third panics: {all:?}"
        );
        assert!(
            all.waits > 10 * seeds && all.images > 2 * seeds + seeds / 2,
            "{all:?}"
        );
    }

    #[test]
    fn no_race_with_a_failing_sync_or_write_breaks_a_promise() {
        let mut all = RaceStatistics::default();
        for seed in with_a_fresh_seed(SEEDS) {
            let race = Race::of_seed(seed).with_a_fault();
            all = all.with(race.run().unwrap_or_else(|failure| panic!("{failure}")));
        }
        println!("{all:?}");
        assert!(all.failed > (SEEDS.end - SEEDS.start) / 3, "{all:?}");
    }

    /// Many more races than the minimum counts below need, for any scheduling by the operating system.
    const STRESS_MAX: u64 = 600;

    #[test]
    fn under_stress_and_faults_no_crash_loses_or_doubles_an_acknowledged_call() {
        let mut all = RaceStatistics::default();
        let is_enough = |all: &RaceStatistics| {
            all.images >= 3000
                && all.nested >= 1000
                && all.acknowledged >= 1000
                && all.failed >= 25
                && all.calls_failed >= 25
                && all.closed >= 5
        };
        let mut seeds = 0..STRESS_MAX;
        while !is_enough(&all) {
            let seed = seeds
                .next()
                .unwrap_or_else(|| panic!("{STRESS_MAX} races cover too little: {all:?}"));
            let result = Race::stress_of_seed(seed).run();
            all = all.with(result.unwrap_or_else(|failure| panic!("{failure}")));
        }
        println!("{all:?}");
    }
}
