//! One run of a long workload without a crash, which saves the database at some positions. Cases on real files start
//! from there.
//!
//! A crash late in a long workload needs the database and the oracle before it. [`PrefixRun`] runs the workload once.
//! At each position it copies the directory while no call is running. The copy is the image of a process crash there. A
//! case starts with a copy of that directory, and makes the few operations after the position. So the time of a case
//! does not grow with the length of the workload, except for the copy, the openings, and the reading of the state.
//!
//! A naive model receives the same operations. At each position the run compares a part of the state with the model:
//! the keys, users and items that the next operations can change. It stores a hash of the rest. Each case compares the
//! same part with the model, and the rest must have the same hash. At the end the run compares the whole state with the
//! model, and closes and reopens the database: the state must be the same.
//!
//! Invariant: within the bounds of the schema, co-engagement drops no user and no item, so no event changes the rest.

use std::path::PathBuf;
use std::sync::Arc;

use super::recover::further_events;
use super::saved::SavedPrefix;
use crate::testing::model::{Difference, Model, StatePart};
use crate::testing::oracle::Oracle;
use crate::testing::temp_dir::{TempDir, copy_dir};
use crate::testing::text::error_chain;
use crate::testing::workload::{Operation, STANDARD_NOW_MS, Workload, WorkloadClock};
use crate::{Durability, Export, Options, TidalDb};

/// The largest number of differences in a message.
const DIFFERENCES_LEN_MAX: usize = 4;

/// The saved databases of a run, and its result.
#[derive(Debug, Default)]
pub struct PrefixRun {
    /// The saved databases, each with the index of the first operation after it.
    pub saved: Vec<(usize, Arc<SavedPrefix>)>,
    /// The number of operations that the run made.
    pub operations_len: usize,
    /// True if the run made all operations, and the state at the end was that of the model, before the close and after
    /// the reopening.
    pub is_complete: bool,
}

impl PrefixRun {
    /// Makes the operations on a new database with these options; each operation must succeed. Saves the database
    /// before each operation whose index is in `positions`, in ascending order. A case makes the next `next_len`
    /// operations.
    ///
    /// Before each operation it calls `must_continue` with the number of operations so far. If the result is false, the
    /// run ends.
    ///
    /// # Errors
    /// A text that names the failed operation, or describes how the state differs from the model.
    pub fn of(
        operations: &[Operation],
        options: &dyn Fn() -> Options,
        positions: &[usize],
        next_len: usize,
        mut must_continue: impl FnMut(usize) -> bool,
    ) -> Result<Self, String> {
        let dir = TempDir::try_new("run").map_err(|error| error.to_string())?;
        let path = dir.path().join("db");
        // This policy is the fastest, and for a process crash it promises the same as the others. A case can open the
        // copy under another policy, because a database does not store its policy.
        let open = || {
            let options = options().durability(Durability::OperatingSystem);
            TidalDb::open(&path, options).map_err(|error| format!("opening: {}", error_chain(&error)))
        };
        WorkloadClock::set(STANDARD_NOW_MS);
        let db = open()?;
        let mut modeled = ModeledRun {
            model: Model::new(db.schema()),
            db,
            path: path.clone(),
            events_len: 0,
        };
        let mut run = Self::default();
        let mut positions = positions.iter().copied().peekable();
        for (index, operation) in operations.iter().enumerate() {
            if !must_continue(index) {
                return Ok(run);
            }
            while positions.next_if_eq(&index).is_some() {
                let next = operations[index..].iter().take(next_len).cloned().collect();
                let saved = modeled.save(Workload { operations: next })?;
                run.saved.push((index, Arc::new(saved)));
            }
            modeled.apply(index, operation)?;
            run.operations_len = index + 1;
        }
        modeled.finish(open)?;
        run.is_complete = true;
        Ok(run)
    }
}

/// The database of a run, and the model that receives the same operations.
struct ModeledRun {
    db: TidalDb,
    model: Model,
    path: PathBuf,
    events_len: u64,
}

impl ModeledRun {
    fn apply(&mut self, index: usize, operation: &Operation) -> Result<(), String> {
        operation
            .apply(&self.db)
            .map_err(|error| format!("operation {index}: {}", error_chain(&error)))?;
        self.model.apply_without_history(operation);
        if let Operation::Record { events, .. } = operation {
            self.events_len += events.len() as u64;
        }
        Ok(())
    }

    fn export(&self) -> Result<Export, String> {
        let export = self.db.export();
        export.map_err(|error| format!("reading the state: {}", error_chain(&error)))
    }

    fn save(&self, next: Workload) -> Result<SavedPrefix, String> {
        let dir = TempDir::try_new("prefix").map_err(|error| error.to_string())?;
        copy_dir(&self.path, dir.path()).map_err(|error| error.to_string())?;
        let further = further_events(self.db.schema(), STANDARD_NOW_MS);
        let recorded = next.operations.iter().filter_map(|operation| match operation {
            Operation::Record { events, .. } => Some(events),
            _ => None,
        });
        let events = recorded.chain(&further).flatten();
        let part = Arc::new(StatePart::of(&self.model, events));
        let (model, (found, rest)) = (self.model.part(&part), part.split(&self.export()?));
        let differences = model.compare(&found);
        self.check_equal(
            &differences,
            "the part of the state that the next operations change",
        )?;
        Ok(SavedPrefix {
            dir,
            oracle: Oracle::of_part(part, model, rest, self.db.last_sequence()),
            next: Arc::new(next),
            events_before: self.events_len,
        })
    }

    /// Compares the whole state with the model, closes and reopens the database, and compares the two states.
    fn finish(mut self, open: impl FnOnce() -> Result<TidalDb, String>) -> Result<(), String> {
        let before = self.export()?;
        self.check_equal(&self.model.compare(&before), "the whole state")?;
        let closed = self.db.close();
        closed.map_err(|error| format!("closing: {}", error_chain(&error)))?;
        self.db = open()?;
        if self.export()? == before {
            Ok(())
        } else {
            Err("the state after a close and a reopening differs from the state before".to_owned())
        }
    }

    fn check_equal(&self, differences: &[Difference], compared: &str) -> Result<(), String> {
        if differences.is_empty() {
            return Ok(());
        }
        let shown = differences.iter().take(DIFFERENCES_LEN_MAX);
        let shown: Vec<_> = shown.map(ToString::to_string).collect();
        Err(format!(
            "after {} events {compared} differs from the model in {} places: {}",
            self.events_len,
            differences.len(),
            shown.join("; ")
        ))
    }
}
