//! What was asked of a database and what it answered, kept outside of it, and the comparisons with what it holds.

use std::collections::VecDeque;
use std::fmt::Write;

use tidaldb::testing::oracle::{Death, OpId, Oracle, Verdict};
use tidaldb::testing::workload::{Operation, is_ahead_of_clock};
use tidaldb::{Error, Receipt, TidalDb};

use crate::outcome::{Checked, Counts, Failure, ensure};
use crate::protocol::Line;

/// How many differences a failure shows.
const DIFFERENCES_SHOWN: usize = 12;
/// How much of what a child says a failure shows.
const LINES_KEPT: usize = 24;

/// The calls of one case, and the oracle that knows what they promise.
#[derive(Clone)]
pub(crate) struct Account<'a> {
    operations: &'a [Operation],
    oracle: Oracle,
    /// By the index of the operation: what the oracle knows it by, as long as it is on its way.
    in_flight: Vec<(usize, OpId)>,
    /// By the index of the operation: whether it was begun.
    begun: Vec<bool>,
    counts: Counts,
    acknowledged: Calls,
    /// What a child process said last.
    heard: VecDeque<Line>,
}

/// How many calls of each kind that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Calls {
    /// Calls that recorded or forgot something.
    pub(crate) frames: usize,
    /// Changes of collections, since the database was last opened.
    pub(crate) collection_changes: usize,
}

impl Calls {
    fn found_by(verdict: &Verdict) -> Self {
        Self {
            frames: verdict.prefix.frames,
            collection_changes: verdict.prefix.collection_changes,
        }
    }
}

impl<'a> Account<'a> {
    /// An account of calls on a new database, with an oracle that knows nothing yet.
    pub(crate) fn new(operations: &'a [Operation], oracle: Oracle) -> Self {
        Self {
            operations,
            oracle,
            in_flight: Vec::new(),
            begun: vec![false; operations.len()],
            counts: Counts::default(),
            acknowledged: Calls::default(),
            heard: VecDeque::new(),
        }
    }

    /// Notes that the call of operation `index` is about to be made.
    pub(crate) fn begin(&mut self, index: usize) -> Checked<()> {
        let operation = self
            .operations
            .get(index)
            .ok_or_else(|| Failure::new(format!("there is no operation {index}")))?;
        let id = self.oracle.begin(operation);
        self.in_flight.push((index, id));
        self.begun[index] = true;
        Ok(())
    }

    /// Notes how that call ended.
    pub(crate) fn ended(&mut self, index: usize, result: &Result<Option<Receipt>, Error>) -> Checked<()> {
        let id = self.end(index)?;
        self.oracle.ended(id, result);
        if result.is_ok() {
            self.count(index);
        }
        Ok(())
    }

    /// Notes that it succeeded, in a process that told no more of its receipt than this number.
    fn acknowledged_elsewhere(&mut self, index: usize, sequence: Option<u64>) -> Checked<()> {
        let id = self.end(index)?;
        self.oracle.acknowledged(id, sequence);
        self.count(index);
        Ok(())
    }

    /// Takes the call off those on their way.
    fn end(&mut self, index: usize) -> Checked<OpId> {
        let position = self.in_flight.iter().position(|(of, _)| *of == index);
        let Some(position) = position else {
            return Err(Failure::new(format!(
                "operation {index} ended and was not on its way"
            )));
        };
        let (_, id) = self.in_flight.swap_remove(position);
        Ok(id)
    }

    fn count(&mut self, index: usize) {
        let operation = &self.operations[index];
        self.acknowledged.frames += usize::from(operation.is_frame());
        self.acknowledged.collection_changes += usize::from(operation.is_collection_change());
    }

    /// Makes the call of operation `index` and takes note of it. A collection that is there already, or is not, because
    /// an earlier call was cut short, is an answer too, and so is the refusal of an event too far ahead of the clock.
    pub(crate) fn call(&mut self, db: &TidalDb, index: usize) -> Checked<()> {
        self.begin(index)?;
        self.call_begun(db, index)
    }

    /// As [`call`](Self::call), of an operation that was begun.
    pub(crate) fn call_begun(&mut self, db: &TidalDb, index: usize) -> Checked<()> {
        let result = self.operations[index].apply(db);
        self.ended(index, &result)?;
        match result {
            Ok(_) | Err(Error::CollectionExists { .. } | Error::UnknownCollection { .. }) => Ok(()),
            Err(error) if is_ahead_of_clock(&error) => Ok(()),
            Err(error) => Err(Failure::of(&self.describe(index), &error)),
        }
    }

    /// Takes note of what a child process says.
    pub(crate) fn hear(&mut self, line: Line) -> Checked<()> {
        if self.heard.len() == LINES_KEPT {
            self.heard.pop_front();
        }
        self.heard.push_back(line.clone());
        match line {
            Line::Begin(index) => self.begin(index),
            Line::Acknowledged(index, sequence) => self.acknowledged_elsewhere(index, sequence),
            Line::Refused(index, refusal) => self.ended(index, &Err(refusal.to_error())),
            Line::Failed(index, text) => Err(Failure::new(format!(
                "{} failed in the child: {text}",
                self.describe(index)
            ))),
            Line::Parked(_) | Line::Ended(_) => Ok(()),
        }
    }

    /// What a child process said last, in words; nothing if there was none.
    pub(crate) fn last_heard(&self) -> Option<String> {
        let lines: Vec<_> = self.heard.iter().map(|line| format!("{line:?}")).collect();
        (!lines.is_empty()).then(|| format!("the child said last: {}", lines.join("; ")))
    }

    fn describe(&self, index: usize) -> String {
        let operation = self.operations.get(index);
        format!(
            "operation {index} ({})",
            operation.map_or_else(String::new, ToString::to_string)
        )
    }

    /// The operations that were begun and did not end.
    pub(crate) fn on_their_way(&self) -> Vec<usize> {
        self.in_flight.iter().map(|(index, _)| *index).collect()
    }

    /// The operations that were never begun.
    pub(crate) fn left(&self) -> Vec<usize> {
        let left = self.begun.iter().enumerate().filter(|(_, begun)| !**begun);
        left.map(|(index, _)| index).collect()
    }

    /// How many calls were acknowledged.
    pub(crate) fn acknowledged(&self) -> Calls {
        self.acknowledged
    }

    /// Notes that the database was closed in order, when everything up to `durable_sequence` was durable.
    pub(crate) fn closed(&mut self, durable_sequence: u64) {
        self.oracle.synced(durable_sequence);
    }

    /// Notes that every frame up to `durable_sequence` is durable.
    pub(crate) fn note_durable(&mut self, durable_sequence: u64) {
        self.oracle.note_durable(durable_sequence);
    }

    /// Compares the whole state of a database that was reopened after such a death, and goes on from there. Gives which
    /// calls were found.
    ///
    /// # Errors
    /// The first differences, if it is no legal state.
    pub(crate) fn compare(&mut self, death: Death, db: &TidalDb, when: &str) -> Checked<Calls> {
        let verdict = self.oracle.check(death, db);
        let counts = verdict.counts;
        self.counts += Counts {
            acknowledged: counts.acknowledged,
            recovered: counts.recovered,
            lost: counts.lost,
            doubled: counts.doubled,
            half: counts.half,
        };
        let differences = &verdict.differences;
        let mut reason = format!("{when} the state is wrong in {} places", differences.len());
        for difference in differences.iter().take(DIFFERENCES_SHOWN) {
            write!(reason, "\n  {difference}").ok();
        }
        ensure!(verdict.is_ok(), "{reason}");
        self.oracle.reopened(&verdict);
        self.in_flight.clear();
        let found = Calls::found_by(&verdict);
        self.acknowledged = Calls {
            frames: found.frames,
            collection_changes: 0,
        };
        Ok(found)
    }

    /// Compares a state that was read from a handle that is still open. Gives which calls were found.
    pub(crate) fn compare_live(&self, db: &TidalDb) -> Checked<Calls> {
        let verdict = self.oracle.check(Death::ProcessCrash, db);
        ensure!(
            verdict.is_ok(),
            "the handle reads a wrong state: {}",
            verdict
                .differences
                .first()
                .map_or_else(String::new, ToString::to_string)
        );
        Ok(Calls::found_by(&verdict))
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}
