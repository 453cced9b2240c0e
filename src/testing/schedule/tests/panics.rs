//! Six threads under random schedules, with panics of calls and with faults of the disk. Each case is deterministic.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;

use super::threads_case::{CaseFault, StressCounts, ThreadsCase, crash_of_choice, get};
use crate::testing::schedule::ScheduledDatabase;
use crate::testing::schedule::database::CallJournal;
use crate::testing::scheduler::{self, Chooser, Deviations, DrawBelow, RunEnd};
use crate::testing::sim_disk::{DiskOperationKind, Fault, ImageChoice, Side};
use crate::testing::sweep::DB_DIR;
use crate::testing::text::panic_text;
use crate::testing::workload::{Operation, Random, Session};
use crate::testing::{CrashPoint, SimDisk};
use crate::{Background, EntityId, Error, Export, TidalDb};

/// The number of positions of each case at which a crash is checked.
const POSITIONS_LEN: u64 = 3;
/// More decisions than any case has.
const DECISIONS_LEN: u64 = 4000;

/// The random choices that follow from a seed, with some preemptions.
fn random_chooser(seed: u64) -> Chooser {
    let mut random = Random::new(seed ^ 0x7363_6865_6475_6c65);
    let mut at: Vec<u64> = (0..40).map(|_| random.below(DECISIONS_LEN)).collect();
    at.sort_unstable();
    let draw = DrawBelow(Box::new(move |len| random.below(len as u64) as usize));
    Chooser::Random { draw, at }
}

/// Runs a case under the random schedule of its seed, and checks crashes at some positions. Returns the fingerprint.
fn run(case: ThreadsCase, counts: &Arc<StressCounts>) -> u64 {
    let mut random = Random::new(case.seed);
    let disk = SimDisk::new();
    let journal = CallJournal::new(disk.clone());
    let body = {
        let (disk, journal, counts) = (disk.clone(), Arc::clone(&journal), Arc::clone(counts));
        move || case.run(&disk, &journal, &counts, |_| None)
    };
    let (record, result) = scheduler::run(random_chooser(case.seed), body);
    let start = match (&record.end, result) {
        (RunEnd::Completed, Some(Ok(start))) => start,
        (RunEnd::Completed, Some(Err(payload))) => panic!("{case:?}: {}", panic_text(&*payload)),
        (end, _) => panic!("{case:?}: {end:?}"),
    };
    let events = &journal.lock().events;
    let recording = disk.recording();
    let mut images = recording.images();
    let mut positions = BTreeSet::from([recording.len()]);
    positions.extend((0..POSITIONS_LEN).map(|_| start + random.below((recording.len() - start).max(1))));
    for position in positions {
        images.seek(position, Side::Before).unwrap();
        let events_len = events.iter().take_while(|(at, _)| *at <= position).count();
        let oracle = case.oracle(&events[..events_len]);
        let seed = random.next_u64();
        for choice in [
            ImageChoice::All,
            ImageChoice::Synced,
            ImageChoice::Random { seed },
        ] {
            let image = images.image(&choice);
            case.check(&image, crash_of_choice(&choice), &oracle, &mut random, counts);
        }
    }
    record.fingerprint
}

/// The cases of these seeds, and their counts.
fn run_all(seeds: std::ops::Range<u64>, faults: fn(&mut Random) -> Vec<CaseFault>) -> StressCounts {
    let counts = Arc::new(StressCounts::default());
    for seed in seeds {
        run(ThreadsCase::of_seed(seed, faults), &counts);
    }
    Arc::into_inner(counts).unwrap()
}

#[test]
fn the_cases_have_a_panic_at_each_crash_point_and_each_fault() {
    let seeds = 0..3 * CaseFault::panics(&mut Random::new(0)).len() as u64;
    let cases: Vec<_> = seeds
        .map(|seed| ThreadsCase::of_seed(seed, CaseFault::panics))
        .collect();
    for point in CrashPoint::ALL {
        let is_at = |case: &&ThreadsCase| matches!(case.fault, CaseFault::PanicAt(at, _) if at == point);
        assert_eq!(cases.iter().filter(is_at).count(), 3, "{point}");
    }
}

#[test]
fn a_case_has_the_same_run_each_time() {
    let counts = Arc::new(StressCounts::default());
    for seed in [4, 14, 25] {
        let case = ThreadsCase::of_seed(seed, CaseFault::panics);
        assert_eq!(run(case, &counts), run(case, &counts));
    }
}

/// Changes two collections on three threads, and opens the database again. Returns both exports.
fn change_collections(case: ThreadsCase) -> (Export, Export) {
    let disk = SimDisk::new();
    let options = |disk: &SimDisk| {
        let options = case.setup().options(&Session::first());
        let options = options.background(Background::Caller);
        options.files(Arc::new(disk.clone()))
    };
    let db = TidalDb::open(DB_DIR, options(&disk)).unwrap();
    let database = ScheduledDatabase::new(db, CallJournal::new(disk.clone()));
    let threads = [0, 1, 2].map(|thread| {
        database.spawn("changes", move |database| {
            let mut random = Random::new(case.seed ^ thread << 32);
            for _ in 0..12 {
                let name = random.pick(&[b"a", b"b"]).to_vec();
                let entity = EntityId(random.below(2));
                let change = match random.below(8) {
                    0 => Operation::CreateCollection(name),
                    1 => Operation::DeleteCollection(name),
                    2..=4 => Operation::RemoveFromCollection(name, entity),
                    _ => Operation::AddToCollection(name, entity),
                };
                match database.apply(&change) {
                    Ok(_) | Err(Error::CollectionExists { .. } | Error::UnknownCollection { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
    let in_memory = database.db().export().unwrap();
    drop(database);
    let db = TidalDb::open(DB_DIR, options(&disk)).unwrap();
    (in_memory, db.export().unwrap())
}

#[test]
fn concurrent_changes_of_the_same_collections_leave_equal_state_in_memory_and_in_storage() {
    let mut exports = Vec::new();
    for seed in 0..20 {
        let case = ThreadsCase::of_seed(seed, CaseFault::errors);
        let (record, result) = scheduler::run(random_chooser(seed), move || change_collections(case));
        assert!(matches!(record.end, RunEnd::Completed), "{:?}", record.end);
        let (in_memory, in_storage) = result.unwrap().unwrap();
        assert_eq!(in_memory, in_storage, "{case:?}");
        if !exports.contains(&in_memory) {
            exports.push(in_memory);
        }
    }
    assert!(exports.len() > 3, "{exports:?}");
}

#[test]
fn different_faults_of_one_operation_have_different_fingerprints() {
    let fingerprint = |fault: Fault| {
        let disk = SimDisk::new();
        disk.fail_next(DiskOperationKind::Write, fault);
        let options = ThreadsCase::of_seed(0, CaseFault::errors).setup();
        let options = options.options(&Session::first());
        let options = options.background(Background::Caller).files(Arc::new(disk));
        let body = move || drop(TidalDb::open(DB_DIR, options).unwrap_err());
        scheduler::run(Chooser::planned(Deviations::default()), body)
            .0
            .fingerprint
    };
    let before = Fault::ErrorBefore(ErrorKind::Other);
    let midway = Fault::ErrorMidway(1, ErrorKind::Other);
    assert_eq!(fingerprint(before), fingerprint(before));
    assert_ne!(fingerprint(before), fingerprint(midway));
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn a_panic_at_a_crash_point_or_in_a_disk_operation_loses_no_acknowledged_call() {
        let counts = run_all(0..33, CaseFault::panics);
        assert!(
            get(&counts.panicked) >= 15 && get(&counts.failed) >= 40 && get(&counts.nested) >= 300,
            "{counts:?}"
        );
    }

    #[test]
    fn a_full_disk_or_a_failing_operation_loses_no_acknowledged_call() {
        let counts = run_all(0..24, CaseFault::errors);
        assert!(
            get(&counts.failed) >= 40 && get(&counts.nested) >= 200,
            "{counts:?}"
        );
    }
}
