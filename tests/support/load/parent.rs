//! The parent: starts the child, kills it, and compares what is there with what it had acknowledged.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tidaldb::TidalDb;
use tidaldb::testing::lab::Random;
use tidaldb::testing::lab::error_chain;
use tidaldb::testing::lab::process::ChildProgram;

use super::calls::{LoadCall, Sums, options};
use super::{POLICIES, WRITERS};

const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// A child is killed after at most so many acknowledgements.
const ACKNOWLEDGED_MAX: u64 = 3000;

/// Counts of one or several databases.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LoadTotals {
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

impl LoadTotals {
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
    pub(crate) totals: LoadTotals,
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
            totals: LoadTotals::default(),
        }
    }

    /// Starts `program` as a child with the policy of this index, kills it at a random moment, opens the database and compares.
    ///
    /// # Errors
    /// The failure in words.
    pub(crate) fn round(&mut self, program: &ChildProgram, policy: usize) -> Result<(), String> {
        let [first, second] = self.calls;
        let orders = format!("{}\n{policy}\n{first}\n{second}", self.dir.display());
        let mut child = program.start(&orders).map_err(|error| error_chain(&error))?;
        let (kills_at_once, wanted) = (self.random.chance(1, 8), self.random.below(ACKNOWLEDGED_MAX));
        let mut acknowledged = [0; WRITERS];
        let mut is_open = false;
        if kills_at_once {
            // Somewhere between its start and its first acknowledgements. The time orders nothing: any moment will do.
            let wait = Duration::from_micros(self.random.below(12_000));
            is_open = child
                .receive_answer(wait)
                .is_ok_and(|said| note(&said, &mut acknowledged, &self.calls).is_ok());
        } else {
            while !is_open || acknowledged.iter().sum::<u64>() < wanted {
                let said = child
                    .receive_answer(ANSWER_TIME_MAX)
                    .map_err(|why| why.to_string())?;
                note(&said, &mut acknowledged, &self.calls)?;
                is_open = true;
            }
        }
        let end = child.kill().map_err(|error| error_chain(&error))?;
        for said in &end.answers {
            note(said, &mut acknowledged, &self.calls)?;
        }
        if !end.is_killed() {
            return Err(format!("the child was to be killed and ended with {end}"));
        }
        self.totals.kills += 1;
        self.totals.kills_while_opening += u64::from(!is_open);
        self.totals.calls += acknowledged.iter().sum::<u64>();
        self.settle(acknowledged, policy)
    }

    /// Opens what the kill has left, here, and holds it against the account.
    fn settle(&mut self, acknowledged: [u64; WRITERS], policy: usize) -> Result<(), String> {
        let started = Instant::now();
        let db = TidalDb::open(&self.dir, options().durability(POLICIES[policy]))
            .map_err(|error| format!("opening after a kill: {}", error_chain(&error)))?;
        self.totals.open_time_max = self.totals.open_time_max.max(started.elapsed());
        let found = Sums::of(&db).map_err(|error| error_chain(&error))?;
        drop(db);
        for writer in 0..WRITERS {
            let sums = &mut self.sums[writer];
            for number in self.calls[writer]..self.calls[writer] + acknowledged[writer] {
                sums.add(LoadCall {
                    writer: writer as u64,
                    number,
                });
            }
            self.calls[writer] += acknowledged[writer];
            // The one in flight: there or not, whole either way, and its member may be there alone.
            let next = LoadCall {
                writer: writer as u64,
                number: self.calls[writer],
            };
            let mut with_next = sums.clone();
            with_next.add(next);
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
                    sums.difference(&found[writer])
                ));
            }
        }
        self.totals.events = self.sums.iter().map(|sums| sums.events).sum();
        Ok(())
    }
}

/// Counts an answer of the child. Acknowledgements come in order, each once.
fn note(said: &str, acknowledged: &mut [u64; WRITERS], starts: &[u64; WRITERS]) -> Result<(), String> {
    if said == "open" {
        return Ok(());
    }
    let numbers = said
        .strip_prefix("a ")
        .and_then(|numbers| numbers.split_once(' '));
    let numbers = numbers
        .and_then(|(writer, number)| Some((writer.parse::<usize>().ok()?, number.parse::<u64>().ok()?)));
    let (writer, number) = numbers.ok_or_else(|| format!("the child said {said:?}"))?;
    let before = &mut acknowledged[writer];
    if number != starts[writer] + *before {
        return Err(format!(
            "call {number} of writer {writer} was acknowledged after {before}"
        ));
    }
    *before += 1;
    Ok(())
}
