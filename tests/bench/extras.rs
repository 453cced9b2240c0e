//! The cost of cohorts and co-engagement: the job in batches of 256 with one final sync, with one or both of them.
//!
//! Every event has one of 50,000 users. A user is in two cohorts, one of ten of each kind, so each key has up to twenty
//! cohort states. One signal of four is positive and feeds co-engagement with its default bounds.

use tidaldb::{CohortId, Durability, Error, SignalEvent, UserId};

use crate::engine;
use crate::environment::BenchDir;
use crate::stopwatch::timed;
use crate::workload::{BATCH_LEN, Random, SEED, below};

const USERS: u64 = 50_000;
const COHORTS: u64 = 10;

/// The parts of the engine that the events use in addition to scores and windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extra {
    pub(crate) name: &'static str,
    cohorts: bool,
    users: bool,
}

/// Each part alone, and both.
pub(crate) const EXTRAS: [Extra; 3] = [
    extra("with cohorts", true, false),
    extra("with co-engagement", false, true),
    extra("with cohorts and co-engagement", true, true),
];

const fn extra(name: &'static str, cohorts: bool, users: bool) -> Extra {
    Extra { name, cohorts, users }
}

/// Records the job with the given parts. Returns the seconds that it took and the number of cohort states.
///
/// # Errors
/// The errors of the engine and of the directory.
pub(crate) fn record(
    bench_dir: &BenchDir,
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
    let dir = bench_dir.empty_dir("extras")?;
    let db = engine::open_without_checkpoints(&dir, Durability::OperatingSystem)?;
    let (recorded, seconds) = timed(|| -> Result<(), Error> {
        engine::record(&db, &events, BATCH_LEN, 1)?;
        db.sync()
    });
    recorded?;
    Ok((seconds, db.statistics()?.cohort_states_len))
}
