//! What cohorts and co-engagement cost: the job in batches of 256 with one final sync, with each of them on.
//!
//! Every event is by one of 50,000 users. A user is in two cohorts, of ten each, which gives each key up to twenty
//! cohort states; one signal of four is positive and feeds co-engagement with its default bounds.

use std::error::Error;

use tidaldb::{CohortId, Durability, SignalEvent, UserId};

use crate::Bench;
use crate::board::Unit;
use crate::engine;
use crate::stopwatch::timed;
use crate::workload::{BATCH_LEN, Random, SEED};

const USERS: u64 = 50_000;
const COHORTS: u64 = 10;

/// Cohorts, co-engagement, both.
pub(crate) fn extras(bench: &mut Bench) -> Result<(), Box<dyn Error>> {
    let pairs: Vec<[CohortId; 2]> = (0..COHORTS * COHORTS)
        .map(|pair| [CohortId(pair / COHORTS), CohortId(COHORTS + pair % COHORTS)])
        .collect();
    for (name, cohorts, users) in [
        ("with cohorts", true, false),
        ("with co-engagement", false, true),
        ("with cohorts and co-engagement", true, true),
    ] {
        let mut random = Random::new(SEED ^ 3);
        let events: Vec<SignalEvent<'_>> = bench
            .job
            .iter()
            .map(|&event| {
                let user = random.below(USERS);
                let event = if users {
                    event.with_user(UserId(user))
                } else {
                    event
                };
                let pair = &pairs[(user % (COHORTS * COHORTS)) as usize];
                if cohorts { event.with_cohorts(pair) } else { event }
            })
            .collect();
        let dir = bench.place.fresh("extras")?;
        let db = engine::open_without_checkpoints(&dir, Durability::OperatingSystem)?;
        let (recorded, seconds) = timed(|| {
            engine::record(&db, &events, BATCH_LEN, 1)?;
            db.sync()
        });
        recorded?;
        let name = format!("batches of 256, one final sync, {name}");
        bench
            .board
            .add(name, Unit::PerSecond, events.len() as f64 / seconds);
        if cohorts && users {
            let len = db.statistics()?.cohort_states_len;
            bench.board.add("cohort states after it", Unit::Count, len as f64);
        }
    }
    Ok(())
}
