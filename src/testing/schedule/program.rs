//! Programs: the calls of a few threads on one database, as values that can be printed, stored and replayed.
//!
//! The text of a program has its threads separated by `|`, and the calls of a thread separated by `;`. The calls before
//! the first `|` come before the threads start. A call is the token of an [`Operation`], `close`, or `read:ENTITY`.

use std::fmt;
use std::str::FromStr;

use super::database::ScheduledDatabase;
use crate::testing::workload::{Operation, ParseOperationError};
use crate::{EntityId, Error};

/// A call of a thread.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ProgramCall {
    /// A call whose effect the oracle checks.
    Apply(Operation),
    /// [`ScheduledDatabase::close`].
    Close,
    /// A read of the score of an entity for signal 0, of its related items, and of the collections and their members. The
    /// oracle checks the values.
    Read(EntityId),
}

/// The calls of some threads on one database.
///
/// # Examples
/// ```
/// use tidaldb::testing::schedule::Program;
///
/// let program: Program = "create:a|add:a,1|checkpoint;close".parse()?;
/// assert_eq!(program.threads.len(), 2);
/// assert_eq!(program.to_string(), "create:a|add:a,1|checkpoint;close");
/// # Ok::<(), tidaldb::testing::workload::ParseOperationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Program {
    /// The operations before the threads start.
    pub before: Vec<Operation>,
    /// The calls of each thread.
    pub threads: Vec<Vec<ProgramCall>>,
}

impl ProgramCall {
    /// Makes the call.
    ///
    /// # Errors
    /// The error of the call. The journal of the calls notes each error that nothing explains.
    pub(super) fn run(&self, database: &ScheduledDatabase) -> Result<(), Error> {
        match self {
            Self::Apply(operation) => database.apply(operation).map(drop),
            Self::Close => database.close(),
            Self::Read(entity) => database.read(*entity),
        }
    }
}

impl Program {
    /// Runs the calls of each thread on a thread of its own, and waits for all threads.
    pub(super) fn run(&self, database: &ScheduledDatabase) {
        let spawn = |(index, calls): (usize, &Vec<ProgramCall>)| {
            let calls = calls.clone();
            database.spawn(&format!("thread {}", index + 1), move |database| {
                for call in &calls {
                    // The journal of the calls has each error that nothing explains.
                    drop(call.run(&database));
                }
            })
        };
        let threads: Vec<_> = self.threads.iter().enumerate().map(spawn).collect();
        for thread in threads {
            // A panic is already noted in the journal of the calls.
            drop(thread.join());
        }
    }

    /// The number of calls of all threads.
    pub fn calls_len(&self) -> usize {
        self.threads.iter().map(Vec::len).sum()
    }
}

impl fmt::Display for ProgramCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply(operation) => operation.fmt(f),
            Self::Close => f.write_str("close"),
            Self::Read(entity) => write!(f, "read:{entity}"),
        }
    }
}

impl FromStr for ProgramCall {
    type Err = ParseOperationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = text.strip_prefix("read:").and_then(|id| id.parse().ok());
        match (text, read) {
            ("close", _) => Ok(Self::Close),
            (_, Some(entity)) => Ok(Self::Read(EntityId(entity))),
            _ => text.parse().map(Self::Apply),
        }
    }
}

fn write_joined(f: &mut fmt::Formatter<'_>, calls: &[impl fmt::Display]) -> fmt::Result {
    for (index, call) in calls.iter().enumerate() {
        let separator = if index == 0 { "" } else { ";" };
        write!(f, "{separator}{call}")?;
    }
    Ok(())
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_joined(f, &self.before)?;
        for calls in &self.threads {
            f.write_str("|")?;
            write_joined(f, calls)?;
        }
        Ok(())
    }
}

impl FromStr for Program {
    type Err = ParseOperationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn calls<T: FromStr<Err = ParseOperationError>>(part: &str) -> Result<Vec<T>, ParseOperationError> {
            let tokens = part.split(';').filter(|token| !token.is_empty());
            tokens.map(str::parse).collect()
        }
        let mut parts = text.split('|');
        let before = calls(parts.next().unwrap_or_default())?;
        let threads = parts.map(calls).collect::<Result<_, _>>()?;
        Ok(Self { before, threads })
    }
}
