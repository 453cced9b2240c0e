//! What cohorts and co-engagement cost: the job in batches of 256 with one final sync, with each of them on.
//!
//! Every event is by one of 50,000 users. A user is in two cohorts, of ten each, which gives each key up to twenty
//! cohort states; one signal of four is positive and feeds co-engagement with its default bounds.

use tidaldb::{CohortId, Durability, Error, SignalEvent, UserId};

use crate::engine;
use crate::place::BenchDir;
use crate::stopwatch::timed;
use crate::workload::{BATCH_LEN, Random, SEED, below};

const USERS: u64 = 50_000;
const COHORTS: u64 = 10;

/// The parts that are on beside scores and windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extra {
    pub(crate) name: &'static str,
    cohorts: bool,
    users: bool,
}

/// Each alone, and both.
pub(crate) const EXTRAS: [Extra; 3] = [
    extra("with cohorts", true, false),
    extra("with co-engagement", false, true),
    extra("with cohorts and co-engagement", true, true),
];

const fn extra(name: &'static str, cohorts: bool, users: bool) -> Extra {
    Extra { name, cohorts, users }
}

/// Records the job with what is on, and gives how many seconds that took and how many cohort states came of it.
///
/// # Errors
/// Those of the engine and of the directory.
pub(crate) fn record(
    place: &BenchDir,
    job: &[SignalEvent<'_>],
    extra: Extra,
) -> Result<(f64, usize), Box<dyn std::error::Error>> {
    let pairs: Vec<[CohortId; 2]> = (0..COHORTS * COHORTS)
        .map(|pair| [CohortId(pair / COHORTS), CohortId(COHORTS + pair % COHORTS)])
        .collect();
    let mut random = Random::new(SEED ^ 3);
    let mut extend = |&event: &SignalEvent<'_>| {
        let user = below(&mut random, USERS);
        let pair = &pairs[(user % (COHORTS * COHORTS)) as usize];
        SignalEvent {
            user: extra.users.then_some(UserId(user)),
            cohorts: if extra.cohorts { pair } else { &[] },
            ..event
        }
    };
    let events: Vec<SignalEvent<'_>> = job.iter().map(&mut extend).collect();
    let dir = place.fresh("extras")?;
    let db = engine::open_without_checkpoints(&dir, Durability::OperatingSystem)?;
    let (recorded, seconds) = timed(|| -> Result<(), Error> {
        engine::record(&db, &events, BATCH_LEN, 1)?;
        db.sync()
    });
    recorded?;
    Ok((seconds, db.statistics()?.cohort_states_len))
}
