//! The state behind the handles of one disk, and the one path that every operation takes through it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::SimDiskOptions;
use super::device::Device;
use super::fault::{Fault, Faults, InjectedFault, InjectedPanic};
use super::image::{Image, is_normal, normal};
use super::model::{Effect, FileId, Model};
use super::operation::{DiskOperation, DiskOperationKind, ObservedCall, Side};
use super::recording::Entry;
use crate::fs::{FileAccess, FileLock};

/// The files that a disk stands before.
#[derive(Debug)]
pub(super) struct Backing {
    pub files: Arc<dyn FileAccess>,
    pub root: PathBuf,
}

pub(super) struct Shared {
    state: Mutex<State>,
    pub backing: Option<Backing>,
}

pub(super) struct State {
    pub options: SimDiskOptions,
    /// What was on the disk before the journal.
    pub start: Arc<Image>,
    pub journal: Vec<Entry>,
    pub model: Model,
    pub device: Device,
    pub faults: Faults,
    /// The locks that are held, with those of the backing files.
    pub locks: BTreeMap<FileId, Option<Box<dyn FileLock>>>,
    /// How many handles each open file has.
    pub handles: BTreeMap<FileId, usize>,
    pub observer: Option<Observer>,
}

pub(super) type Observer = Arc<dyn Fn(&ObservedCall<'_>) + Send + Sync>;

/// What is asked of the disk.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub kind: DiskOperationKind,
    pub path: Arc<Path>,
    pub target: Option<Arc<Path>>,
    pub offset: u64,
    pub len: u64,
}

impl Call {
    pub(super) fn new(kind: DiskOperationKind, path: Arc<Path>) -> Self {
        Self {
            kind,
            path,
            target: None,
            offset: 0,
            len: 0,
        }
    }
}

impl Shared {
    pub(super) fn new(image: Image, options: SimDiskOptions, backing: Option<Backing>) -> Self {
        let model = Model::from_image(&image, options.sector_bytes);
        Self {
            backing,
            ..Self::resumed(Arc::new(image), options, Vec::new(), model)
        }
    }

    pub(super) fn resumed(
        start: Arc<Image>,
        options: SimDiskOptions,
        journal: Vec<Entry>,
        model: Model,
    ) -> Self {
        let state = State {
            options,
            start,
            journal,
            model,
            device: Device::default(),
            faults: Faults::default(),
            locks: BTreeMap::new(),
            handles: BTreeMap::new(),
            observer: None,
        };
        Self {
            state: Mutex::new(state),
            backing: None,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // The state changes in one step, at the end of an operation: a panic before or after it leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path from the disk's root.
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
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "outside the disk's root"))?;
        Ok(normal(path).into())
    }
}

impl State {
    /// Carries out one call. `plan` finds out what the call does and what it returns, given the fault that the call meets,
    /// without changing the model; it does the call to the backing files.
    pub(super) fn perform<T>(
        &mut self,
        call: &Call,
        plan: impl FnOnce(&mut Self, Option<Fault>) -> io::Result<(Effect, T)>,
    ) -> io::Result<T> {
        let is_recorded = call.kind.is_durable() || self.options.records_reads;
        let ordinal = is_recorded.then_some(self.journal.len() as u64);
        self.observe(call, ordinal, Side::Before);
        self.device.pass(ordinal, Side::Before, call.kind, &call.path)?;
        let fault = self.faults.take(ordinal, call.kind);
        let injected = |error| InjectedFault::new_error(call.kind, error);
        let panic_at = |side| {
            if fault == Some(Fault::Panic(side)) {
                let operation = call.kind;
                std::panic::resume_unwind(Box::new(InjectedPanic { operation }));
            }
        };
        panic_at(Side::Before);
        let planned = match fault {
            Some(Fault::ErrorBefore(error)) => Err(injected(error)),
            _ => plan(self, fault),
        };
        let (effect, result) = match planned {
            Ok((effect, value)) => match fault.and_then(Fault::error_after) {
                Some(error) => (effect, Err(injected(error))),
                None => (effect, Ok(value)),
            },
            Err(error) => (Effect::Nothing, Err(error)),
        };
        if let Some(ordinal) = ordinal {
            let error = result.as_ref().err().map(io::Error::kind);
            self.record(ordinal, call, effect, error);
        }
        panic_at(Side::After);
        self.observe(call, ordinal, Side::After);
        self.device.pass(ordinal, Side::After, call.kind, &call.path)?;
        result
    }

    fn observe(&self, call: &Call, ordinal: Option<u64>, side: Side) {
        if let Some(observer) = &self.observer {
            observer(&ObservedCall {
                kind: call.kind,
                path: &call.path,
                ordinal,
                side,
            });
        }
    }

    fn record(&mut self, ordinal: u64, call: &Call, effect: Effect, error: Option<io::ErrorKind>) {
        self.model.apply(ordinal, &effect);
        let operation = DiskOperation {
            ordinal,
            kind: call.kind,
            path: call.path.clone(),
            target: call.target.clone(),
            offset: call.offset,
            len: match &effect {
                Effect::Write { bytes, .. } => bytes.len() as u64,
                _ => call.len,
            },
            error,
        };
        self.journal.push(Entry { operation, effect });
    }

    /// How many bytes more the files may have.
    pub(super) fn free_bytes(&self) -> u64 {
        let Some(capacity) = self.options.capacity_bytes else {
            return u64::MAX;
        };
        let held = self
            .model
            .files()
            .filter(|(id, file)| file.named || self.handles.contains_key(id));
        let used: u64 = held.map(|(_, file)| file.live.len()).sum();
        capacity.saturating_sub(used)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("backing", &self.backing)
            .finish_non_exhaustive()
    }
}
