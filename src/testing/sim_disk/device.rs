//! The device behind the handles of one disk: the one function that executes every call, its faults, and the failure of
//! the whole device.
//!
//! Invariant: an operation changes the state in one step, at its end. So a panic or a failure before or after this step
//! leaves the state before or after the whole operation.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::panic::resume_unwind;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::fault::{Fault, Faults, InjectedPanic};
use super::image::{is_normal, normal};
use super::operation::{DiskOperation, DiskOperationKind, ObservedCall, Side};
use super::state::{ContentChange, DiskState, Effect, RecordedOperation};
use crate::fs::{FileAccess, FileLock};
use crate::testing::scheduler::{self, StepAction};

/// The maximum number of recorded refused calls.
const REFUSED_CALLS_MAX: usize = 1_000;

/// The options of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimDiskOptions {
    /// The length of a sector in bytes. Writes tear at multiples of this length in the file. Default 512, minimum 1.
    pub sector_bytes: u32,
    /// The maximum total length of the files in bytes, including open files without a name. Default: no limit.
    pub capacity_bytes: Option<u64>,
    /// True if the disk also records opening, reading and listing, so that these have ordinals. Default: false.
    pub records_reads: bool,
}

impl Default for SimDiskOptions {
    fn default() -> Self {
        Self {
            sector_bytes: 512,
            capacity_bytes: None,
            records_reads: false,
        }
    }
}

/// The backing files of a disk over other files.
#[derive(Debug)]
pub(super) struct Backing {
    pub files: Arc<dyn FileAccess>,
    pub root: PathBuf,
}

pub(super) struct SharedDevice {
    device: Mutex<Device>,
    pub backing: Option<Backing>,
}

pub(super) struct Device {
    pub options: SimDiskOptions,
    /// The state before the first operation of the journal.
    pub start: Arc<DiskState>,
    pub journal: Vec<RecordedOperation>,
    pub state: DiskState,
    pub crash_at: Option<(u64, Side)>,
    pub has_failed: bool,
    pub refused: Vec<RefusedCall>,
    pub faults: Faults,
    /// The number of operations that [change the disk](DiskOperationKind::changes_disk) and failed by a fault or on a
    /// full disk.
    pub failed_operations_len: usize,
    /// The total bytes of the files when [`Fault::DiskFull`] happened.
    pub full_at_bytes: Option<u64>,
    /// The held locks by the number of their file, each with the lock of the backing file, if any.
    pub locks: BTreeMap<usize, Option<Box<dyn FileLock>>>,
    /// The number of operations before the last release of a lock.
    pub lock_released_at: Option<u64>,
    /// The number of handles of each open file, by the number of the file.
    pub handles: BTreeMap<usize, usize>,
    pub observer: Option<Observer>,
    /// The number of the running process. Calls of earlier processes are refused.
    pub process: u64,
}

pub(super) type Observer = Arc<dyn Fn(&ObservedCall<'_>) + Send + Sync>;

/// A call that was refused because the device had failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCall {
    /// The calling thread.
    pub thread: ThreadId,
    /// The thread's name, if it has one.
    pub thread_name: Option<String>,
    /// The kind of the operation.
    pub kind: DiskOperationKind,
    /// The path of the file or directory.
    pub path: Arc<Path>,
    /// True if an earlier refused call of the same thread would have
    /// [changed the disk](DiskOperationKind::changes_disk).
    pub already_refused: bool,
}

impl fmt::Display for RefusedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, thread) = (self.path.display(), self.thread);
        let name = self.thread_name.as_deref().unwrap_or("unnamed");
        write!(f, "{} {path} on thread {name} ({thread:?})", self.kind)?;
        if self.already_refused {
            f.write_str(", after an earlier refused change of this thread")?;
        }
        Ok(())
    }
}

impl SharedDevice {
    pub(super) fn new(
        start: Arc<DiskState>,
        options: SimDiskOptions,
        journal: Vec<RecordedOperation>,
        state: DiskState,
        backing: Option<Backing>,
    ) -> Arc<Self> {
        let device = Device {
            options,
            start,
            journal,
            state,
            crash_at: None,
            has_failed: false,
            refused: Vec::new(),
            faults: Faults::default(),
            failed_operations_len: 0,
            full_at_bytes: None,
            locks: BTreeMap::new(),
            lock_released_at: None,
            handles: BTreeMap::new(),
            observer: None,
            process: 0,
        };
        Arc::new(Self {
            device: Mutex::new(device),
            backing,
        })
    }

    /// Makes the step of a call on a scheduled thread, and locks the device.
    pub(super) fn begin_call(&self, kind: DiskOperationKind, path: &Arc<Path>) -> MutexGuard<'_, Device> {
        let action = if kind.changes_disk() {
            StepAction::ChangeFile
        } else {
            StepAction::ReadFile
        };
        scheduler::file_step(kind.name(), action, path);
        self.lock()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Device> {
        // An operation changes the state in one step, so after a panic the state is consistent.
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The normal form of `path` in the disk: absolute, from the disk's root.
    pub(super) fn normal(&self, path: &Path) -> io::Result<Arc<Path>> {
        let Some(backing) = &self.backing else {
            return Ok(if is_normal(path) {
                path.into()
            } else {
                normal(path).into()
            });
        };
        let below = path.strip_prefix(&backing.root).ok();
        let path = below
            .filter(|path| !path.components().any(|part| part == Component::ParentDir))
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidInput, "the path is outside the disk's root")
            })?;
        Ok(normal(path).into())
    }
}

impl Device {
    /// Executes one call. `execute` gets the fault of the call, makes the call on the backing files, and returns the
    /// effect and the result. It does not change the state.
    pub(super) fn perform<T>(
        &mut self,
        process: u64,
        mut call: DiskOperation,
        execute: impl FnOnce(&mut Self, Option<Fault>) -> io::Result<(Effect, T)>,
    ) -> io::Result<T> {
        self.check_process(process)?;
        let is_recorded = call.kind.changes_disk() || self.options.records_reads;
        call.ordinal = self.journal.len() as u64;
        let ordinal = is_recorded.then_some(call.ordinal);
        self.reach_site(&call, ordinal, Side::Before)?;
        let fault = self.faults.take(ordinal, call.kind);
        if let Some(fault) = fault {
            scheduler::note_fault(fault.hash());
        }
        let injected = |error| io::Error::new(error, format!("injected fault in {}", call.kind));
        let panic_at = |side| {
            if fault == Some(Fault::Panic(side)) {
                let operation = call.kind;
                resume_unwind(Box::new(InjectedPanic { operation }));
            }
        };
        panic_at(Side::Before);
        if fault == Some(Fault::DiskFull) {
            self.full_at_bytes = Some(self.used_bytes());
        }
        let executed = match fault {
            Some(Fault::ErrorBefore(error)) => Err(injected(error)),
            _ => execute(self, fault),
        };
        let (effect, result) = match executed {
            Ok((effect, value)) => match fault.and_then(Fault::error_after) {
                Some(error) => (effect, Err(injected(error))),
                None => (effect, Ok(value)),
            },
            Err(error) => (Effect::Nothing, Err(error)),
        };
        if let Err(error) = &result
            && call.kind.changes_disk()
            && (fault.is_some() || error.kind() == io::ErrorKind::StorageFull)
        {
            self.failed_operations_len += 1;
        }
        if is_recorded {
            let mut operation = call.clone();
            operation.error = result.as_ref().err().map(io::Error::kind);
            self.record(operation, effect);
        }
        panic_at(Side::After);
        self.reach_site(&call, ordinal, Side::After)?;
        result
    }

    /// Returns an error if the calling process has ended.
    pub(super) fn check_process(&self, process: u64) -> io::Result<()> {
        if process == self.process {
            return Ok(());
        }
        Err(io::Error::other("the process of this disk handle has ended"))
    }

    /// Ends the running process, and releases its locks and open files. Returns the number of the next process.
    pub(super) fn end_process(&mut self) -> u64 {
        self.locks.clear();
        self.handles.clear();
        self.process += 1;
        self.process
    }

    /// Passes one side of the call to the observer. Refuses the call if the device fails at this site or has failed
    /// before.
    fn reach_site(&mut self, call: &DiskOperation, ordinal: Option<u64>, side: Side) -> io::Result<()> {
        if let Some(observer) = &self.observer {
            observer(&ObservedCall {
                kind: call.kind,
                path: &call.path,
                ordinal,
                side,
            });
        }
        self.has_failed |= ordinal.is_some_and(|ordinal| self.crash_at == Some((ordinal, side)));
        if !self.has_failed {
            return Ok(());
        }
        let current = thread::current();
        let mut refused = self.refused.iter();
        let already_refused = refused.any(|it| it.thread == current.id() && it.kind.changes_disk());
        if self.refused.len() < REFUSED_CALLS_MAX {
            self.refused.push(RefusedCall {
                thread: current.id(),
                thread_name: current.name().map(Into::into),
                kind: call.kind,
                path: call.path.clone(),
                already_refused,
            });
        }
        Err(io::Error::other(format!(
            "the device has failed: {} refused",
            call.kind
        )))
    }

    fn record(&mut self, mut operation: DiskOperation, effect: Effect) {
        self.state.apply(operation.ordinal, &effect);
        if let Effect::Content(_, ContentChange::Write { bytes, .. }) = &effect {
            operation.len = bytes.len() as u64;
        }
        self.journal.push(RecordedOperation { operation, effect });
    }

    /// The number of bytes by which the files can grow.
    pub(super) fn free_bytes(&self) -> u64 {
        let limits = [self.options.capacity_bytes, self.full_at_bytes];
        let capacity = limits.into_iter().flatten().min();
        capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used_bytes()))
    }

    fn used_bytes(&self) -> u64 {
        let files = self.state.files.iter().enumerate();
        let occupying = files.filter(|(id, file)| file.has_name || self.handles.contains_key(id));
        occupying.map(|(_, file)| file.visible.len()).sum()
    }
}

impl fmt::Debug for SharedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedDevice")
            .field("backing", &self.backing)
            .finish_non_exhaustive()
    }
}
