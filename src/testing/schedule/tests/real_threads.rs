//! A short stress of real threads, which the operating system schedules. It covers real parallelism
//! and locks of the standard library, which a scheduler does not.

use std::sync::{Arc, Mutex};

use super::threads_case::{CaseFault, StressCounts, ThreadsCase, crash_of_choice, get};
use crate::testing::SimDisk;
use crate::testing::lock::lock;
use crate::testing::schedule::ScheduledDatabase;
use crate::testing::schedule::database::{CallEvent, CallJournal};
use crate::testing::sim_disk::{Image, ImageChoice};
use crate::testing::workload::{Random, with_a_fresh_seed};

/// On average, one of this number of calls is followed by an image.
const CALLS_PER_IMAGE: u64 = 6;
/// Many more cases than the minimum counts need.
const CASES_MAX: u64 = 400;

/// An image, the choice that made it, and the number of events before it.
type TakenImage = (Image, ImageChoice, usize);

/// Runs a case on real threads, and checks the images taken at the ends of calls and after the case.
fn run(case: ThreadsCase, counts: &Arc<StressCounts>) {
    let disk = SimDisk::new();
    let journal = CallJournal::new(disk.clone());
    let images: Arc<Mutex<Vec<TakenImage>>> = Arc::default();
    case.run(&disk, &journal, counts, |database: &ScheduledDatabase| {
        // Under the lock of the disk, an observer must not wait for the journal.
        disk.observe(|_| {});
        let (disk, journal, images) = (disk.clone(), Arc::clone(&journal), Arc::clone(&images));
        let database = Arc::downgrade(&database.shared);
        Some(Arc::new(move |random: &mut Random| {
            if !random.chance(1, CALLS_PER_IMAGE) {
                return;
            }
            let seed = random.next_u64();
            let choice = match random.below(4) {
                0 => ImageChoice::All,
                1 => ImageChoice::Synced,
                _ => ImageChoice::Random { seed },
            };
            let Some(database) = database.upgrade() else {
                return;
            };
            // No call begins or ends while the journal is locked.
            let mut content = journal.lock();
            let durable = CallEvent::Durable(database.db.durable_sequence());
            content.events.push((0, durable));
            let image = disk.image(&choice);
            lock(&images).push((image, choice, content.events.len()));
        }))
    });
    let events = journal.lock().events.clone();
    let mut random = Random::new(case.seed);
    let seed = random.next_u64();
    let mut images = std::mem::take(&mut *lock(&images));
    for choice in [
        ImageChoice::All,
        ImageChoice::Synced,
        ImageChoice::Random { seed },
    ] {
        images.push((disk.image(&choice), choice, events.len()));
    }
    for (image, choice, events_len) in images {
        let oracle = case.oracle(&events[..events_len]);
        case.check(&image, crash_of_choice(&choice), &oracle, &mut random, counts);
    }
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn real_threads_with_failing_syncs_and_writes_lose_no_acknowledged_call() {
        let counts = Arc::new(StressCounts::default());
        let is_enough = |counts: &StressCounts| {
            get(&counts.images) >= 900
                && get(&counts.nested) >= 300
                && get(&counts.acknowledged) >= 900
                && get(&counts.failed) >= 20
                && get(&counts.closed) >= 3
        };
        let mut cases = 0;
        for seed in with_a_fresh_seed(0..CASES_MAX) {
            if cases >= 24 && is_enough(&counts) {
                break;
            }
            run(ThreadsCase::of_seed(seed, CaseFault::errors), &counts);
            cases += 1;
        }
        assert!(is_enough(&counts), "{cases} cases cover too little: {counts:?}");
    }
}
