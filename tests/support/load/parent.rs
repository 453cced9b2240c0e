//! The parent: starts the child, kills it, and compares what is there with what it had acknowledged.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tidaldb::testing::lab::Random;
use tidaldb::testing::lab::error_chain as causes;
use tidaldb::testing::lab::process::ChildProgram;
use tidaldb::{Durability, TidalDb};

use super::calls::{Call, Sums};
use super::child::policy_name;
use super::{WRITERS, options};

const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// A child is killed after at most so many acknowledgements.
const ACKNOWLEDGED_MAX: u64 = 3000;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Totals {
    pub(crate) kills: u64,
    /// Of those, before the child had said that the database is open.
    pub(crate) kills_while_opening: u64,
    /// Calls that were acknowledged.
    pub(crate) calls: u64,
    /// Events of calls that were found after a kill.
    pub(crate) events: u64,
    /// Calls that were in flight at a kill and found after it.
    pub(crate) in_flight_found: u64,
    /// The longest time that opening after a kill took.
    pub(crate) open_time_max: Duration,
}

impl Totals {
    /// These and those of another database.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            kills: self.kills + other.kills,
            kills_while_opening: self.kills_while_opening + other.kills_while_opening,
            calls: self.calls + other.calls,
            events: self.events + other.events,
            in_flight_found: self.in_flight_found + other.in_flight_found,
            open_time_max: self.open_time_max.max(other.open_time_max),
        }
    }
}

/// The account of one database.
pub(crate) struct Load {
    dir: PathBuf,
    random: Random,
    /// What all calls add up to that are known to be there.
    sums: [Sums; WRITERS],
    /// How many calls of each writer those are.
    calls: [u64; WRITERS],
    pub(crate) totals: Totals,
}

impl Load {
    /// Load on a new database in the empty directory `dir`; which moments it is killed at follows from `seed`, as far
    /// as anything follows.
    pub(crate) fn new(dir: PathBuf, seed: u64) -> Self {
        Self {
            dir,
            random: Random::new(seed),
            sums: Default::default(),
            calls: [0; WRITERS],
            totals: Totals::default(),
        }
    }

    /// Starts `program` as a child, kills it at a random moment, opens the database and compares.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn round(&mut self, program: &ChildProgram, durability: Durability) -> Result<(), String> {
        let [first, second] = self.calls;
        let dir = self.dir.display();
        let policy = policy_name(durability);
        let orders = format!("{dir}\n{policy}\n{first}\n{second}");
        let mut child = program.start(&orders).map_err(|error| causes(&error))?;
        let (kills_at_once, wanted) = (self.random.chance(1, 8), self.random.below(ACKNOWLEDGED_MAX));
        let mut acknowledged = [0; WRITERS];
        let mut is_open = false;
        if kills_at_once {
            // Somewhere between its start and its first acknowledgements. The time orders nothing: any moment will do.
            let wait = Duration::from_micros(self.random.below(12_000));
            is_open = child
                .answer(wait)
                .is_ok_and(|said| note(&said, &mut acknowledged, &self.calls).is_ok());
        } else {
            while !is_open || acknowledged.iter().sum::<u64>() < wanted {
                let said = child.answer(ANSWER_TIME_MAX).map_err(|why| why.to_string())?;
                note(&said, &mut acknowledged, &self.calls)?;
                is_open = true;
            }
        }
        let end = child.kill().map_err(|error| causes(&error))?;
        for said in &end.answers {
            note(said, &mut acknowledged, &self.calls)?;
        }
        if !end.is_killed() {
            return Err(format!("the child was to be killed and ended with {end}"));
        }
        self.totals.kills += 1;
        self.totals.kills_while_opening += u64::from(!is_open);
        self.totals.calls += acknowledged.iter().sum::<u64>();
        self.settle(acknowledged, durability)
    }

    /// Opens what the kill has left, here, and holds it against the account.
    fn settle(&mut self, acknowledged: [u64; WRITERS], durability: Durability) -> Result<(), String> {
        let started = Instant::now();
        let open = || {
            TidalDb::open(&self.dir, options().durability(durability))
                .map_err(|error| format!("opening after a kill: {}", causes(&error)))
        };
        let db = open()?;
        self.totals.open_time_max = self.totals.open_time_max.max(started.elapsed());
        let found = Sums::of(&db).map_err(|error| causes(&error))?;
        drop(db);
        for writer in 0..WRITERS {
            let sums = &mut self.sums[writer];
            for number in self.calls[writer]..self.calls[writer] + acknowledged[writer] {
                sums.add(Call::new(writer, number));
            }
            self.calls[writer] += acknowledged[writer];
            // The one in flight: there or not, whole either way, and its member may be there alone.
            let mut with_next = sums.clone();
            with_next.add(Call::new(writer, self.calls[writer]));
            let mut with_member = sums.clone();
            with_member.members.clone_from(&with_next.members);
            if found[writer] == with_next {
                *sums = with_next;
                self.calls[writer] += 1;
                self.totals.in_flight_found += 1;
            } else if found[writer] != *sums && found[writer] != with_member {
                return Err(format!(
                    "writer {writer} had {} calls acknowledged, the last {} of them by the killed child, and the \
                     database does not hold them: {}",
                    self.calls[writer],
                    acknowledged[writer],
                    difference(sums, &found[writer])
                ));
            }
        }
        self.totals.events = self.sums.iter().map(|sums| sums.events).sum();
        Ok(())
    }
}

/// Takes note of what a child said.
fn note(said: &str, acknowledged: &mut [u64; WRITERS], starts: &[u64; WRITERS]) -> Result<(), String> {
    let mut words = said.split(' ');
    match words.next() {
        Some("open") => Ok(()),
        Some("a") => {
            let mut number = || words.next()?.parse::<u64>().ok();
            let (Some(writer), Some(number)) = (number(), number()) else {
                return Err(format!("the child said {said:?}"));
            };
            let writer = writer as usize;
            // In order, each once.
            if number != starts[writer] + acknowledged[writer] {
                return Err(format!(
                    "call {number} of writer {writer} was acknowledged after {}",
                    acknowledged[writer]
                ));
            }
            acknowledged[writer] += 1;
            Ok(())
        }
        _ => Err(format!("the child said {said:?}")),
    }
}

/// The first thing that differs.
fn difference(expected: &Sums, found: &Sums) -> String {
    fn first<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
        name: &str,
        expected: &std::collections::BTreeMap<K, V>,
        found: &std::collections::BTreeMap<K, V>,
    ) -> Option<String> {
        let keys = expected.keys().chain(found.keys());
        let mut differing = keys.filter(|key| expected.get(key) != found.get(key));
        let key = differing.next()?;
        let (expected, found) = (expected.get(key), found.get(key));
        Some(format!(
            "{name} {key:?} is {found:?} instead of {expected:?}, and {} others",
            differing.count()
        ))
    }
    let parts = [
        first("state", &expected.states, &found.states),
        first("cohort", &expected.cohorts, &found.cohorts),
        first("ring", &expected.rings, &found.rings),
        (expected.members != found.members).then(|| {
            let differing = expected.members.symmetric_difference(&found.members);
            format!("members differ: {:?}", differing.take(5).collect::<Vec<_>>())
        }),
    ];
    let events = format!("{} events instead of {}", found.events, expected.events);
    let parts: Vec<_> = parts.into_iter().flatten().chain([events]).collect();
    parts.join("; ")
}
