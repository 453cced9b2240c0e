//! The parent process: starts the child, kills it, and compares the recovered state with the acknowledged calls.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tidaldb::TidalDb;
use tidaldb::testing::lab::Random;
use tidaldb::testing::lab::error_chain;
use tidaldb::testing::lab::process::ChildProgram;

use super::calls::{LoadCall, Sums, options};
use super::{POLICIES, WRITERS};

const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// The parent kills a child after at most this number of acknowledged calls.
const ACKNOWLEDGED_MAX: u64 = 3000;

/// Counts of one or several databases.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LoadTotals {
    pub(crate) kills: u64,
    /// The number of kills before the child reported that the database was open.
    pub(crate) kills_while_opening: u64,
    /// The number of acknowledged calls.
    pub(crate) calls: u64,
    /// The number of events that were recovered after the last kill.
    pub(crate) events: u64,
    /// The number of calls that were in flight at a kill and were recovered after it.
    pub(crate) in_flight_recovered: u64,
    /// The longest time of an open after a kill.
    pub(crate) open_time_max: Duration,
}

impl LoadTotals {
    /// The sum of these counts and the counts of another database.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            kills: self.kills + other.kills,
            kills_while_opening: self.kills_while_opening + other.kills_while_opening,
            calls: self.calls + other.calls,
            events: self.events + other.events,
            in_flight_recovered: self.in_flight_recovered + other.in_flight_recovered,
            open_time_max: self.open_time_max.max(other.open_time_max),
        }
    }
}

/// The load of one database, and the calls that the database must contain.
pub(crate) struct Load {
    dir: PathBuf,
    random: Random,
    /// The sums of the calls of each writer that the database must contain.
    sums: [Sums; WRITERS],
    /// The number of these calls, for each writer.
    calls: [u64; WRITERS],
    pub(crate) totals: LoadTotals,
}

impl Load {
    /// Prepares the load of a new database in the directory `dir`, which is missing or empty. `seed` selects the delays
    /// of the kills; the system's scheduling changes their effects.
    pub(crate) fn new(dir: PathBuf, seed: u64) -> Self {
        Self {
            dir,
            random: Random::new(seed),
            sums: Default::default(),
            calls: [0; WRITERS],
            totals: LoadTotals::default(),
        }
    }

    /// Starts `program` as a child with the policy of this index, kills it at a random time, opens the database and
    /// compares.
    ///
    /// # Errors
    /// The message of the failure.
    pub(crate) fn round(&mut self, program: &ChildProgram, policy: usize) -> Result<(), String> {
        let [first, second] = self.calls;
        let orders = format!("{}\n{policy}\n{first}\n{second}", self.dir.display());
        let mut child = program.start(&orders).map_err(|error| error_chain(&error))?;
        let kills_early = self.random.chance(1, 8);
        let calls_before_kill = self.random.below(ACKNOWLEDGED_MAX);
        let mut acknowledged = [0; WRITERS];
        let mut is_open = false;
        if kills_early {
            // Between the start of the child and its first acknowledged calls. The test needs no exact time.
            let wait = Duration::from_micros(self.random.below(12_000));
            is_open = child
                .receive_answer(wait)
                .is_ok_and(|answer| count_answer(&answer, &mut acknowledged, &self.calls).is_ok());
        } else {
            while !is_open || acknowledged.iter().sum::<u64>() < calls_before_kill {
                let answer = child
                    .receive_answer(ANSWER_TIME_MAX)
                    .map_err(|error| error.to_string())?;
                count_answer(&answer, &mut acknowledged, &self.calls)?;
                is_open = true;
            }
        }
        let end = child.kill().map_err(|error| error_chain(&error))?;
        for answer in &end.answers {
            count_answer(answer, &mut acknowledged, &self.calls)?;
        }
        if !end.is_killed() {
            return Err(format!("the child ended before the kill, with {end}"));
        }
        self.totals.kills += 1;
        self.totals.kills_while_opening += u64::from(!is_open);
        self.totals.calls += acknowledged.iter().sum::<u64>();
        self.compare(acknowledged, policy)
    }

    /// Opens the database after the kill in this process, and compares it with the acknowledged calls.
    fn compare(&mut self, acknowledged: [u64; WRITERS], policy: usize) -> Result<(), String> {
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
            // The call in flight may be recovered or not, as a whole. Its member may be recovered without its events.
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
                self.totals.in_flight_recovered += 1;
            } else if found[writer] != *sums && found[writer] != with_member {
                return Err(format!(
                    "writer {writer} has {} acknowledged calls, the last {} of them in the killed child, and the \
                     database differs from them: {}",
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

/// Counts an answer of the child. The acknowledged calls of a writer come in order, each once.
fn count_answer(
    answer: &str,
    acknowledged: &mut [u64; WRITERS],
    starts: &[u64; WRITERS],
) -> Result<(), String> {
    if answer == "open" {
        return Ok(());
    }
    let numbers = answer
        .strip_prefix("a ")
        .and_then(|numbers| numbers.split_once(' '));
    let numbers = numbers
        .and_then(|(writer, number)| Some((writer.parse::<usize>().ok()?, number.parse::<u64>().ok()?)));
    let (writer, number) = numbers.ok_or_else(|| format!("the child answered {answer:?}"))?;
    let calls = &mut acknowledged[writer];
    let expected = starts[writer] + *calls;
    if number != expected {
        return Err(format!(
            "writer {writer} acknowledged call {number} instead of call {expected}"
        ));
    }
    *calls += 1;
    Ok(())
}
