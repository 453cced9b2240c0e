//! The one error type of the crate.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that can go wrong, one variant for each thing a caller may want to tell apart.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed.
    Io {
        /// What was being done, for example `"sync segment"`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Bytes on disk are not what was promised to be there. Nothing was changed.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// The sequence number of the frame concerned, where there is one.
        sequence: Option<u64>,
        /// What is wrong there.
        what: &'static str,
    },
    /// A stored value is not what was promised to be there. Nothing was changed.
    CorruptValue {
        /// The storage key.
        key: Vec<u8>,
        /// What is wrong with the value.
        what: &'static str,
    },
    /// The file is of an older or a newer version of the format than this build reads. Nothing was changed.
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
        /// The database id it carries.
        found: u128,
        /// The database id of this database.
        expected: u128,
    },
    /// A part of the log that is needed is not there. Nothing was changed.
    SegmentMissing {
        /// The directory of the log.
        path: PathBuf,
        /// The first sequence number that is missing.
        sequence: u64,
    },
    /// There is no database, and none was to be created. Nothing was changed.
    DatabaseMissing {
        /// The directory that was to hold it.
        path: PathBuf,
    },
    /// There is a log but the storage engine knows nothing of the database. Nothing was changed.
    StorageMissing {
        /// The directory of the log.
        path: PathBuf,
    },
    /// The schema at open differs from the persisted one by more than appended signals and bounds of co-engagement.
    /// Nothing was changed.
    SchemaMismatch {
        /// The signal whose declaration differs, lossily decoded; `(co-engagement)` for the half-life of that.
        signal: String,
        /// What differs.
        what: &'static str,
    },
    /// An argument is outside what is accepted. Nothing was changed.
    InvalidInput {
        /// The argument.
        field: &'static str,
        /// Its value, as text.
        value: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// An argument is over a limit. Nothing was changed.
    LimitExceeded {
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// What was asked for.
        found: u64,
    },
    /// No such signal in the schema. Nothing was changed.
    UnknownSignal {
        /// The name or number asked for, lossily decoded.
        signal: String,
    },
    /// No such collection. Nothing was changed.
    UnknownCollection {
        /// The name asked for, lossily decoded.
        name: String,
    },
    /// The collection exists already. Nothing was changed.
    CollectionExists {
        /// The name asked for, lossily decoded.
        name: String,
    },
    /// Another handle, in this process or another, has the database open.
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// An earlier failure ended all writing through this handle.
    Poisoned {
        /// The first failure.
        cause: Arc<Error>,
    },
    /// A thread panicked in the middle of an operation.
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
    /// The call had been given a sequence number when it failed: its events may be there after reopening.
    AfterAppend {
        /// The sequence number.
        sequence: u64,
        /// The failure.
        source: Box<Error>,
    },
    /// One event of a batch is at fault. Nothing was changed.
    InBatch {
        /// The event's index in the batch.
        index: usize,
        /// What is wrong with it.
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

    /// The sequence number this call had been given when it failed, if it had one.
    ///
    /// With one, the events of the call may be there after reopening, whole or not at all, and never twice.
    pub fn sequence(&self) -> Option<u64> {
        match self {
            Self::AfterAppend { sequence, .. } => Some(*sequence),
            _ => None,
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
                sequence: Some(sequence),
                what,
            } => {
                write!(
                    f,
                    "{} is corrupt at offset {offset}, sequence {sequence}: {what}",
                    path.display()
                )
            }
            Self::Corrupt {
                path,
                offset,
                sequence: None,
                what,
            } => {
                write!(f, "{} is corrupt at offset {offset}: {what}", path.display())
            }
            Self::CorruptValue { key, what } => {
                write!(
                    f,
                    "the stored value of key {} is corrupt: {what}",
                    key.escape_ascii()
                )
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
                    "there is no database in {}, and none was to be created",
                    path.display()
                )
            }
            Self::StorageMissing { path } => {
                write!(
                    f,
                    "there is a log in {} but the storage that belongs to it is missing",
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
            Self::UnknownSignal { signal } => write!(f, "no signal {signal:?} in the schema"),
            Self::UnknownCollection { name } => write!(f, "no collection {name:?}"),
            Self::CollectionExists { name } => write!(f, "collection {name:?} exists already"),
            Self::Locked { path } => write!(f, "{} is locked by another handle", path.display()),
            Self::Poisoned { .. } => f.write_str("an earlier failure ended writing through this handle"),
            Self::Panicked { operation } => write!(f, "a thread panicked in {operation}"),
            Self::Closed => f.write_str("the database is closed"),
            Self::Storage { operation, .. } => write!(f, "the storage engine failed in {operation}"),
            Self::AfterAppend { sequence, .. } => {
                write!(
                    f,
                    "the call failed after it was given sequence {sequence}; it may be there after reopening"
                )
            }
            Self::InBatch { index, .. } => write!(f, "event {index} of the batch is refused"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Storage { source, .. } => Some(source.as_ref()),
            Self::Poisoned { cause } => Some(cause.as_ref()),
            Self::AfterAppend { source, .. } | Self::InBatch { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}
