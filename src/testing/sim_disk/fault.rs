//! Faults on demand, without a crash: which operation fails, how, and what it has done by then.

use std::fmt;
use std::io;

use super::operation::{DiskOperation, DiskOperationKind, Side};

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It fails and has done nothing.
    ErrorBefore(io::ErrorKind),
    /// It is done, and fails nevertheless.
    ErrorAfter(io::ErrorKind),
    /// A write or read does at most this many bytes and succeeds.
    Short(usize),
    /// A write does at most this many bytes and fails.
    ErrorMidway(usize, io::ErrorKind),
    /// A file's sync fails, and each pending change is durable or lost. A lost change is still read back, and a later sync
    /// reports success but does not make it durable; after a power loss it is gone. File systems that mark the pages clean
    /// after a failed sync do this.
    SyncLoses(io::ErrorKind),
    /// The disk is full: from this operation on, the total length of the files may not grow.
    DiskFull,
    /// The call panics, with an [`InjectedPanic`] that prints nothing, before the operation or after it was done.
    Panic(Side),
}

impl Fault {
    fn applies_to(self, kind: DiskOperationKind) -> bool {
        use DiskOperationKind as Kind;
        match self {
            Self::ErrorBefore(_) | Self::ErrorAfter(_) | Self::DiskFull | Self::Panic(_) => true,
            Self::Short(_) => matches!(kind, Kind::Write | Kind::Read),
            Self::ErrorMidway(..) => kind == Kind::Write,
            Self::SyncLoses(_) => kind == Kind::Sync,
        }
    }

    /// How many bytes the operation may do.
    pub(super) fn bytes_max(self) -> usize {
        match self {
            Self::Short(bytes) | Self::ErrorMidway(bytes, _) => bytes,
            _ => usize::MAX,
        }
    }

    /// The error after the operation was done, as far as it was.
    pub(super) fn error_after(self) -> Option<io::ErrorKind> {
        match self {
            Self::ErrorAfter(kind) | Self::ErrorMidway(_, kind) | Self::SyncLoses(kind) => Some(kind),
            Self::ErrorBefore(_) | Self::Short(_) | Self::DiskFull | Self::Panic(_) => None,
        }
    }
}

/// A fault of one disk operation in a plan. Text form: its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum IoFault {
    /// `error`: it fails and does nothing.
    Error,
    /// `half`: a write fails after half of its bytes.
    HalfWritten,
    /// `sync-lost`: a file's sync fails, and each unsynced change is durable or lost.
    SyncLost,
    /// `full`: the disk is full from this write on.
    DiskFull,
}

impl IoFault {
    /// Every fault, in the order of the declaration.
    pub const ALL: &'static [Self] = &[Self::Error, Self::HalfWritten, Self::SyncLost, Self::DiskFull];

    /// The fault of the simulated disk for `operation` of a run without faults; none if the operation cannot meet it.
    pub(crate) fn of(self, operation: &DiskOperation) -> Option<Fault> {
        const ERROR: io::ErrorKind = io::ErrorKind::Other;
        let fault = match self {
            _ if operation.kind == DiskOperationKind::PowerLoss => return None,
            Self::Error => Fault::ErrorBefore(ERROR),
            Self::HalfWritten => Fault::ErrorMidway(operation.len as usize / 2, ERROR),
            Self::SyncLost => Fault::SyncLoses(ERROR),
            Self::DiskFull if operation.kind != DiskOperationKind::Write => return None,
            Self::DiskFull => Fault::DiskFull,
        };
        fault.applies_to(operation.kind).then_some(fault)
    }

    /// The fault with this name.
    pub(crate) fn named(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| fault.to_string() == text)
    }
}

impl fmt::Display for IoFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::HalfWritten => "half",
            Self::SyncLost => "sync-lost",
            Self::DiskFull => "full",
        })
    }
}

/// The payload of a panic that [`Fault::Panic`] made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InjectedPanic {
    /// The operation that panicked.
    pub operation: DiskOperationKind,
}

/// Which operations fail.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reach {
    At(u64),
    From(u64),
    Next(DiskOperationKind),
    Every(DiskOperationKind),
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    pub rules: Vec<(Reach, Fault)>,
    pub fired: Vec<Fault>,
}

impl Faults {
    /// The fault of this operation, if it has one; the rule made first wins.
    pub(super) fn take(&mut self, ordinal: Option<u64>, kind: DiskOperationKind) -> Option<Fault> {
        let index = self.rules.iter().position(|(reach, fault)| {
            let is_reached = match *reach {
                Reach::At(at) => ordinal == Some(at),
                Reach::From(from) => ordinal.is_some_and(|ordinal| ordinal >= from),
                Reach::Next(of) | Reach::Every(of) => of == kind,
            };
            is_reached && fault.applies_to(kind)
        })?;
        let (reach, fault) = self.rules[index];
        if matches!(reach, Reach::At(_) | Reach::Next(_)) {
            self.rules.remove(index);
        }
        self.fired.push(fault);
        Some(fault)
    }
}
