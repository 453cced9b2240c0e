//! Faults on demand, without a crash: which operation fails, how, and what it has done by then.

use std::io;

use super::operation::{DiskOperationKind, Side};

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
    /// A file's sync fails, and what was pending is lost: it is still read back, a later sync does not make it durable
    /// but says it did, and it is gone after a power loss. So do file systems that mark the pages clean.
    SyncLoses(io::ErrorKind),
    /// The call panics, with an [`InjectedPanic`] that prints nothing, before the operation or after it was done.
    Panic(Side),
}

impl Fault {
    fn applies_to(self, kind: DiskOperationKind) -> bool {
        use DiskOperationKind as Kind;
        match self {
            Self::ErrorBefore(_) | Self::ErrorAfter(_) | Self::Panic(_) => true,
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
            Self::ErrorBefore(_) | Self::Short(_) | Self::Panic(_) => None,
        }
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
