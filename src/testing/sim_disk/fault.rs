//! Faults of single disk operations, without a crash.
//!
//! Owns the kinds of faults, their effect on an operation, and the rules that select operations. Invariant: a fault
//! happens only at an operation of a kind to which it applies.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use super::operation::{DiskOperation, DiskOperationKind, Side};

/// The fault of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The operation returns an error and has no effect.
    ErrorBefore(io::ErrorKind),
    /// The operation has its full effect and returns an error.
    ErrorAfter(io::ErrorKind),
    /// A write or read transfers at most this number of bytes and succeeds.
    Short(usize),
    /// A write writes at most this number of bytes and returns an error.
    ErrorMidway(usize, io::ErrorKind),
    /// The sync of a file returns an error, and each pending change is durable or lost. Reads still return a lost
    /// change. A later sync succeeds, but does not make the lost change durable: a power loss loses it. File systems
    /// that mark the pages as clean after a failed sync do this.
    SyncLoses(io::ErrorKind),
    /// The disk is full: from this operation on, the total length of the files cannot grow.
    DiskFull,
    /// The call panics with an [`InjectedPanic`], before or after the operation. The panic prints nothing.
    Panic(Side),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ErrorBefore(kind) => write!(f, "an error before the operation ({kind})"),
            Self::ErrorAfter(kind) => write!(f, "an error after the operation ({kind})"),
            Self::Short(bytes) => write!(f, "a short transfer of at most {bytes} bytes"),
            Self::ErrorMidway(bytes, kind) => write!(f, "an error after at most {bytes} bytes ({kind})"),
            Self::SyncLoses(kind) => write!(f, "a failed sync that loses data ({kind})"),
            Self::DiskFull => f.write_str("a full disk"),
            Self::Panic(side) => write!(f, "a panic {side} the operation"),
        }
    }
}

impl Fault {
    /// A hash of the fault, equal in every process.
    pub(super) fn hash(self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.to_string().hash(&mut hasher);
        hasher.finish()
    }

    fn applies_to(self, kind: DiskOperationKind) -> bool {
        use DiskOperationKind as Kind;
        match self {
            Self::ErrorBefore(_) | Self::ErrorAfter(_) | Self::DiskFull | Self::Panic(_) => true,
            Self::Short(_) => matches!(kind, Kind::Write | Kind::Read),
            Self::ErrorMidway(..) => kind == Kind::Write,
            Self::SyncLoses(_) => kind == Kind::Sync,
        }
    }

    /// The maximum number of bytes that the operation transfers.
    pub(super) fn bytes_max(self) -> usize {
        match self {
            Self::Short(bytes) | Self::ErrorMidway(bytes, _) => bytes,
            _ => usize::MAX,
        }
    }

    /// The error that the call returns after the effect of the operation.
    pub(super) fn error_after(self) -> Option<io::ErrorKind> {
        match self {
            Self::ErrorAfter(kind) | Self::ErrorMidway(_, kind) | Self::SyncLoses(kind) => Some(kind),
            Self::ErrorBefore(_) | Self::Short(_) | Self::DiskFull | Self::Panic(_) => None,
        }
    }
}

/// The fault of one disk operation in a plan. Each variant begins with its text form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum IoFault {
    /// `error`: the operation returns an error and has no effect.
    Error,
    /// `half`: a write writes half of its bytes and returns an error.
    HalfWritten,
    /// `sync-lost`: the sync of a file returns an error, and each unsynced change is durable or lost.
    SyncLost,
    /// `full`: the disk is full from this write on.
    DiskFull,
}

impl IoFault {
    /// Every fault, in the order of the declaration.
    pub const ALL: &'static [Self] = &[Self::Error, Self::HalfWritten, Self::SyncLost, Self::DiskFull];

    /// The fault to set on the simulated disk for `operation`, which was recorded in a run without faults. `None` if
    /// the fault does not apply to the operation.
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

    /// The fault with this text form.
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

/// The payload of the panic of a [`Fault::Panic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InjectedPanic {
    /// The kind of the operation that panicked.
    pub operation: DiskOperationKind,
}

/// The operations that a fault rule selects.
#[derive(Debug, Clone, Copy)]
pub(super) enum FaultScope {
    At(u64),
    From(u64),
    Next(DiskOperationKind),
    Every(DiskOperationKind),
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    pub rules: Vec<(FaultScope, Fault)>,
    pub fired: Vec<Fault>,
}

impl Faults {
    /// The fault of this operation, if any. If several rules select the operation, the oldest rule wins.
    pub(super) fn take(&mut self, ordinal: Option<u64>, kind: DiskOperationKind) -> Option<Fault> {
        let index = self.rules.iter().position(|(scope, fault)| {
            let is_in_scope = match *scope {
                FaultScope::At(at) => ordinal == Some(at),
                FaultScope::From(from) => ordinal.is_some_and(|ordinal| ordinal >= from),
                FaultScope::Next(of) | FaultScope::Every(of) => of == kind,
            };
            is_in_scope && fault.applies_to(kind)
        })?;
        let (scope, fault) = self.rules[index];
        if matches!(scope, FaultScope::At(_) | FaultScope::Next(_)) {
            self.rules.remove(index);
        }
        self.fired.push(fault);
        Some(fault)
    }
}
