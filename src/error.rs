//! The error type of the crate.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Receipt, SetBack};

/// Every error, with one variant for each case that a caller may handle in its own way.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed.
    Io {
        /// The operation, for example `"sync segment"`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Bytes on disk are damaged or missing. Nothing was changed.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The offset in the file, in bytes.
        offset: u64,
        /// The sequence number of the damaged frame or record; `None` if the damage lies in neither.
        sequence: Option<u64>,
        /// The damage.
        what: &'static str,
    },
    /// A stored value is damaged or missing. Nothing was changed.
    CorruptValue {
        /// The storage key.
        key: Vec<u8>,
        /// The damage of the value.
        what: &'static str,
    },
    /// The file has an older or a newer version of the format than this build reads. Nothing was changed.
    UnsupportedVersion {
        /// The file, or the storage key's description.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The version this build reads.
        supported: u32,
    },
    /// The file does not begin with this format's magic bytes. Nothing was changed.
    BadMagic {
        /// The file.
        path: PathBuf,
    },
    /// The file belongs to another database. Nothing was changed.
    ForeignDatabase {
        /// The file.
        path: PathBuf,
        /// The database id in the file.
        found: u128,
        /// The database id of this database.
        expected: u128,
    },
    /// The file belongs to another history of this database. Nothing was changed.
    ///
    /// Files of two copies of the database were mixed, or only a part of the database was restored from a backup.
    /// Restore all files of one copy.
    ForeignHistory {
        /// The file: a segment of the log or a file of the store.
        path: PathBuf,
        /// The difference between the file and the rest of the database.
        what: &'static str,
    },
    /// A needed part of the log, or a needed file of the store, is missing. Nothing was changed.
    SegmentMissing {
        /// The directory of the log or the store.
        path: PathBuf,
        /// A sequence number that is missing.
        sequence: u64,
    },
    /// The directory holds no database, and the options do not allow creating one. Nothing was changed.
    DatabaseMissing {
        /// The directory.
        path: PathBuf,
    },
    /// A log exists, but the storage engine holds no record of the database. Nothing was changed.
    StorageMissing {
        /// The directory of the log.
        path: PathBuf,
    },
    /// The schema at open differs from the persisted one by more than appended signals and bounds of co-engagement.
    /// Nothing was changed.
    SchemaMismatch {
        /// The signal whose declaration differs, lossily decoded; `(co-engagement)` if the half-life of co-engagement
        /// differs.
        signal: String,
        /// The part that differs.
        what: &'static str,
    },
    /// An argument is not accepted. Nothing was changed.
    InvalidInput {
        /// The argument.
        field: &'static str,
        /// Its value, as text.
        value: String,
        /// The reason for the refusal.
        reason: &'static str,
    },
    /// An argument is over a limit. Nothing was changed.
    LimitExceeded {
        /// The limited quantity.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// The requested value.
        found: u64,
    },
    /// The schema has no such signal. Nothing was changed.
    UnknownSignal {
        /// The requested name or number, lossily decoded.
        signal: String,
    },
    /// The database has no such collection. Nothing was changed.
    UnknownCollection {
        /// The requested name, lossily decoded.
        name: String,
    },
    /// The collection exists already. Nothing was changed.
    CollectionExists {
        /// The requested name, lossily decoded.
        name: String,
    },
    /// Another handle, in this process or in another one, has the database open.
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The calling process is a forked child, and the handle belongs to the process that opened it. Nothing was
    /// changed. The child can drop its copy, and open the database once the other process has closed it.
    Forked {
        /// The directory of the database.
        path: PathBuf,
        /// The id of the process that opened the handle.
        opened_by: u32,
    },
    /// A directory of the database was removed or replaced, or the check for that failed. Also: the lock file was
    /// removed or replaced, and the directory itself cannot be locked, so another process may have the database open.
    DirectoryLost {
        /// The directory of the database.
        path: PathBuf,
        /// The result of the check.
        source: io::Error,
    },
    /// A failure of this call or of an earlier call ended all writing through this handle or store.
    Poisoned {
        /// The first failure.
        cause: Arc<Error>,
    },
    /// A change of memory or a step of writing panicked or failed before it was complete.
    Panicked {
        /// The operation.
        operation: &'static str,
    },
    /// The handle was closed.
    Closed,
    /// A storage engine failed.
    Storage {
        /// The call, for example `"write_batch"`.
        operation: &'static str,
        /// The engine's error.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The call failed and may have been applied. After reopening it is applied once or not at all, never in part and
    /// never twice. See [`Error::outcome_is_unknown`].
    OutcomeUnknown {
        /// The receipt of a call that records or forgets; `None` for a change of a collection.
        receipt: Option<Receipt>,
        /// The failure.
        source: Box<Error>,
    },
    /// One event of a batch is not valid. Nothing was changed.
    InBatch {
        /// The event's index in the batch.
        index: usize,
        /// The error of the event.
        source: Box<Error>,
    },
}

impl Error {
    /// An error of a storage engine: `operation` is the call that failed, `source` the engine's own error.
    pub fn storage(operation: &'static str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Storage {
            operation,
            source: source.into(),
        }
    }

    /// Returns true if the call may have been applied: it is of the kind [`Error::OutcomeUnknown`].
    ///
    /// Any other error of a call that records, forgets or changes a collection means a refusal: nothing was changed,
    /// also after reopening. The call can be repeated when the cause has been removed; after `Poisoned` or `Closed`, on
    /// a reopened handle. `sync`, `checkpoint` and `close` change no data, so they never return this error.
    ///
    /// # Examples
    /// A retry that counts no event twice:
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tidaldb::{EntityId, Error, Options, Schema, Signal, SignalEvent, TidalDb};
    ///
    /// /// Records the event exactly once, also after a disk failure. Returns the usable handle. If reopening fails, the
    /// /// error holds the receipt, to continue later.
    /// fn record_once(
    ///     mut db: TidalDb,
    ///     event: &SignalEvent<'_>,
    ///     reopen: impl Fn() -> Result<TidalDb, Error>,
    /// ) -> Result<TidalDb, Error> {
    ///     loop {
    ///         let Err(error) = db.record(event) else { return Ok(db) };
    ///         if !matches!(error, Error::Poisoned { .. } | Error::OutcomeUnknown { .. }) {
    ///             return Err(error); // The event itself is not valid.
    ///         }
    ///         drop(db); // The handle cannot write any more.
    ///         let Ok(reopened) = reopen() else { return Err(error) };
    ///         db = reopened;
    ///         if let Some(receipt) = error.receipt() {
    ///             match db.recovery_report().survived(receipt) {
    ///                 Some(true) => return Ok(db),
    ///                 Some(false) => {} // Lost.
    ///                 None => return Err(error), // More than 32 openings ago.
    ///             }
    ///         }
    ///         // Refused or lost: the database does not have the event, so the loop records it again.
    ///     }
    /// }
    /// # let dir = std::env::temp_dir().join(format!("tidaldb-retry-{}", std::process::id()));
    /// # let reopen = || TidalDb::open(&dir, Options::new(Schema::new().signal(Signal::new("view").half_life_ms(1000))));
    /// # let db = reopen()?;
    /// # let view = db.signal("view")?;
    /// # let db = record_once(db, &SignalEvent::new(view, EntityId(1), 0), reopen)?;
    /// # assert_eq!(db.score(EntityId(1), view, 0, 0)?, 1.0);
    /// # drop(db);
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok(())
    /// # }
    /// ```
    /// A change of a collection is repeated in the same way, without a receipt: adding a present member returns
    /// `Ok(false)`, and creating an existing collection returns [`Error::CollectionExists`].
    pub fn outcome_is_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. })
    }

    /// The receipt of a call whose outcome is unknown, if it had one.
    pub fn receipt(&self) -> Option<Receipt> {
        match self {
            Self::OutcomeUnknown { receipt, .. } => *receipt,
            _ => None,
        }
    }

    /// The sequence number of the [`receipt`](Self::receipt).
    pub fn sequence(&self) -> Option<u64> {
        self.receipt().map(|receipt| receipt.sequence)
    }

    /// This failure as the error of a call that may have been applied.
    pub(crate) fn with_unknown_outcome(self, receipt: Option<Receipt>) -> Self {
        Self::OutcomeUnknown {
            receipt,
            source: Box::new(self),
        }
    }

    /// This failure, with the events that were set back in its receipt.
    pub(crate) fn with_set_back(mut self, set_back: Option<SetBack>) -> Self {
        if let Self::OutcomeUnknown {
            receipt: Some(receipt),
            ..
        } = &mut self
        {
            receipt.set_back = set_back;
        }
        self
    }

    /// Removes `OutcomeUnknown` and `Poisoned` around the first cause, for a failed open, after which no poisoned
    /// handle exists. Returns `Poisoned` if another reference to the cause exists, so the caller drops the parts of the
    /// handle first.
    pub(crate) fn into_first_cause(self) -> Self {
        match self {
            Self::OutcomeUnknown { source, .. } => source.into_first_cause(),
            Self::Poisoned { cause } => {
                Arc::try_unwrap(cause).unwrap_or_else(|cause| Self::Poisoned { cause })
            }
            other => other,
        }
    }

    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            operation,
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, sequence: Option<u64>, what: &'static str) -> Self {
        Self::Corrupt {
            path: path.to_path_buf(),
            offset,
            sequence,
            what,
        }
    }

    pub(crate) fn foreign_history(path: &Path, what: &'static str) -> Self {
        Self::ForeignHistory {
            path: path.to_path_buf(),
            what,
        }
    }

    pub(crate) fn invalid(field: &'static str, value: impl fmt::Display, reason: &'static str) -> Self {
        Self::InvalidInput {
            field,
            value: value.to_string(),
            reason,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { operation, path, .. } => write!(f, "cannot {operation} {}", path.display()),
            Self::Corrupt {
                path,
                offset,
                sequence,
                what,
            } => {
                let sequence = sequence.map(|sequence| format!(", sequence {sequence}"));
                let (path, sequence) = (path.display(), sequence.unwrap_or_default());
                write!(f, "{path} is corrupt at offset {offset}{sequence}: {what}")
            }
            Self::CorruptValue { key, what } => {
                let key = key.escape_ascii();
                write!(f, "the stored value of key {key} is corrupt: {what}")
            }
            Self::UnsupportedVersion {
                path,
                found,
                supported,
            } => {
                write!(
                    f,
                    "{} has format version {found}; this build reads version {supported}",
                    path.display()
                )
            }
            Self::BadMagic { path } => write!(
                f,
                "{} does not begin with the magic bytes of its kind",
                path.display()
            ),
            Self::ForeignDatabase {
                path,
                found,
                expected,
            } => {
                write!(
                    f,
                    "{} belongs to database {found:032x}, not to {expected:032x}",
                    path.display()
                )
            }
            Self::ForeignHistory { path, what } => {
                let path = path.display();
                write!(f, "{path} belongs to another history of this database: {what}")
            }
            Self::SegmentMissing { path, sequence } => {
                write!(
                    f,
                    "the log in {} lacks the segment that holds sequence {sequence}",
                    path.display()
                )
            }
            Self::DatabaseMissing { path } => {
                write!(
                    f,
                    "{} holds no database, and the options do not allow creating one",
                    path.display()
                )
            }
            Self::StorageMissing { path } => {
                write!(
                    f,
                    "{} holds a log, but the storage that belongs to it is missing",
                    path.display()
                )
            }
            Self::SchemaMismatch { signal, what } => {
                write!(f, "signal {signal:?} differs from the persisted schema: {what}")
            }
            Self::InvalidInput { field, value, reason } => write!(f, "{field} is {value}: {reason}"),
            Self::LimitExceeded { what, limit, found } => {
                write!(f, "{what}: {found} is over the limit of {limit}")
            }
            Self::UnknownSignal { signal } => write!(f, "the schema has no signal {signal:?}"),
            Self::UnknownCollection { name } => write!(f, "the database has no collection {name:?}"),
            Self::CollectionExists { name } => write!(f, "collection {name:?} exists already"),
            Self::Locked { path } => write!(f, "{} is locked by another handle", path.display()),
            Self::Forked { path, opened_by } => write!(
                f,
                "the handle of {} belongs to process {opened_by} and cannot write in a forked child",
                path.display()
            ),
            Self::DirectoryLost { path, .. } => {
                write!(
                    f,
                    "{} may no longer be the directory that was opened and locked",
                    path.display()
                )
            }
            Self::Poisoned { .. } => f.write_str("writing has ended because of a failure"),
            Self::Panicked { operation } => write!(f, "{operation} was not completed: it panicked or failed"),
            Self::Closed => f.write_str("the database is closed"),
            Self::Storage { operation, .. } => write!(f, "the storage engine failed in {operation}"),
            Self::OutcomeUnknown { receipt, .. } => fmt_unknown_outcome(f, *receipt),
            Self::InBatch { index, .. } => write!(f, "event {index} of the batch is refused"),
        }
    }
}

fn fmt_unknown_outcome(f: &mut fmt::Formatter<'_>, receipt: Option<Receipt>) -> fmt::Result {
    let sequence = receipt.map(|receipt| format!(" with sequence {}", receipt.sequence));
    let sequence = sequence.unwrap_or_default();
    write!(
        f,
        "the call{sequence} failed and may have been applied; reopen the database to learn its outcome"
    )
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Io { source, .. } | Self::DirectoryLost { source, .. } => Some(source),
            Self::Storage { source, .. } => Some(source.as_ref()),
            Self::Poisoned { cause } => Some(cause.as_ref()),
            Self::OutcomeUnknown { source, .. } | Self::InBatch { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}
