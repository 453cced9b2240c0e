//! One run of long work without a crash, saved at some positions. Cases of crashes on real files begin there.
//!
//! A crash late in long work needs the database before it, and an oracle that knows its state. [`PrefixRun`] does the work once.
//! At each position it copies the directory while no call is running, which is the image of a process crash there. A case
//! begins with a copy of that directory and makes the few operations after it. So its time does not grow with the length of the
//! work, apart from the copy, the openings, and the reading of the state.
//!
//! The naive model follows the run. At each position the run compares a part of the state with the model: the keys, users and
//! items that the next operations can change. Of the rest it keeps a hash. Each case compares the same part with the model, and
//! the rest must have the same hash. At the end the run compares the whole state with the model, before and after a close.
//!
//! Invariant: with the bounds of the schema co-engagement drops no user and no item, so no event changes the rest.

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

/// The most differences of a message.
const DIFFERENCES_LEN_MAX: usize = 4;

/// The saved positions of a run, and its end.
#[derive(Debug, Default)]
pub struct PrefixRun {
    /// The saved databases, each with the index of the first operation that it does not have.
    pub saved: Vec<(usize, Arc<SavedPrefix>)>,
    /// The number of operations that the run made.
    pub operations_len: usize,
    /// True if the run made all operations, and the state at the end was that of the model before a close and after a reopening.
    pub is_whole: bool,
}

impl PrefixRun {
    /// Makes the operations on a new database with these options; each must succeed. Saves the database before each operation
    /// whose index is in `positions`, which ascend. A case makes the next `next_len` operations.
    ///
    /// Before each operation it calls `goes_on` with the number of operations so far. If `goes_on` returns false, the run ends.
    ///
    /// # Errors
    /// A text that says which operation failed, or how the state differs from the model.
    pub fn of(
        operations: &[Operation],
        options: &dyn Fn() -> Options,
        positions: &[usize],
        next_len: usize,
        mut goes_on: impl FnMut(usize) -> bool,
    ) -> Result<Self, String> {
        let dir = TempDir::try_new("run").map_err(|error| error.to_string())?;
        let path = dir.path().join("db");
        // A database does not store its policy. This one is the fastest, and for a process crash it promises the same as others.
        let open = || {
            let options = options().durability(Durability::OperatingSystem);
            TidalDb::open(&path, options).map_err(|error| format!("opening: {}", error_chain(&error)))
        };
        WorkloadClock::set(STANDARD_NOW_MS);
        let db = open()?;
        let mut walk = Walk {
            model: Model::new(db.schema()),
            db,
            path: path.clone(),
            events_len: 0,
        };
        let mut run = Self::default();
        let mut positions = positions.iter().copied().peekable();
        for (index, operation) in operations.iter().enumerate() {
            if !goes_on(index) {
                return Ok(run);
            }
            while positions.next_if_eq(&index).is_some() {
                let next = operations[index..].iter().take(next_len).cloned().collect();
                let saved = walk.save(Workload { operations: next })?;
                run.saved.push((index, Arc::new(saved)));
            }
            walk.make(index, operation)?;
            run.operations_len = index + 1;
        }
        walk.end(open)?;
        run.is_whole = true;
        Ok(run)
    }
}

/// The database of a run, and the model that follows it.
struct Walk {
    db: TidalDb,
    model: Model,
    path: PathBuf,
    events_len: u64,
}

impl Walk {
    fn make(&mut self, index: usize, operation: &Operation) -> Result<(), String> {
        operation
            .apply(&self.db)
            .map_err(|error| format!("operation {index}: {}", error_chain(&error)))?;
        self.model.settle(operation);
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
        self.same(
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
    fn end(mut self, open: impl FnOnce() -> Result<TidalDb, String>) -> Result<(), String> {
        let before = self.export()?;
        self.same(&self.model.compare(&before), "the whole state")?;
        let closed = self.db.close();
        closed.map_err(|error| format!("closing: {}", error_chain(&error)))?;
        self.db = open()?;
        if self.export()? == before {
            Ok(())
        } else {
            Err("the state after a close and a reopening is not the state before".to_owned())
        }
    }

    fn same(&self, differences: &[Difference], compared: &str) -> Result<(), String> {
        if differences.is_empty() {
            return Ok(());
        }
        let shown = differences.iter().take(DIFFERENCES_LEN_MAX);
        let shown: Vec<_> = shown.map(ToString::to_string).collect();
        Err(format!(
            "after {} events {compared} differs in {} places from the model: {}",
            self.events_len,
            differences.len(),
            shown.join("; ")
        ))
    }
}
