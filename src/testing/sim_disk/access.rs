//! The file access of the simulated disk: the effect of each call on the state of the disk and on its backing files.
//!
//! Invariant: a call changes the backing files before the state of the disk. If the backing files return an error, the
//! state does not change.

use std::io;
use std::path::Path;
use std::sync::{Arc, MutexGuard};

use super::SimDisk;
use super::device::{Device, SharedDevice};
use super::fault::Fault;
use super::operation::{DiskOperation, DiskOperationKind as Kind};
use super::state::{ContentChange, DiskState, Effect, NodeId};
use crate::fs::{File, FileAccess, FileLock, NamedDir, OpenDir, OpenMode};
use crate::testing::scheduler::{self, StepAction};

/// The maximum length of a file.
const FILE_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug)]
struct SimFile {
    shared: Arc<SharedDevice>,
    process: u64,
    id: usize,
    mode: OpenMode,
    backing: Option<Arc<dyn File>>,
}

#[derive(Debug)]
struct SimLock {
    shared: Arc<SharedDevice>,
    process: u64,
    id: usize,
}

/// The effect of creating a file with the path `path`, and the number of the file. The effect is `Nothing` if the file
/// exists.
fn creation(state: &DiskState, path: &Arc<Path>) -> io::Result<(Effect, usize)> {
    match state.resolve_file(path) {
        Ok(file) => Ok((Effect::Nothing, file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let change = state.name_change(path, Some(state.next_file()))?;
            Ok((Effect::Names(vec![change]), state.files.len()))
        }
        Err(error) => Err(error),
    }
}

impl SimDisk {
    /// Makes `call` on the backing files. Returns `None` if the disk has no backing files.
    fn on_backing<T>(&self, call: impl FnOnce(&dyn FileAccess) -> io::Result<T>) -> io::Result<Option<T>> {
        let backing = self.shared.backing.as_ref();
        backing.map(|backing| call(backing.files.as_ref())).transpose()
    }
}

impl FileAccess for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let real = path;
        let path = self.shared.normal(path)?;
        let kind = match mode {
            OpenMode::Read | OpenMode::Write => Kind::Open,
            OpenMode::Create => Kind::Create,
        };
        let mut device = self.shared.begin_call(kind, &path);
        let opened = device.perform(self.process, DiskOperation::new(kind, &path), |device, _| {
            let (mut effect, id) = match mode {
                OpenMode::Read | OpenMode::Write => (Effect::Nothing, device.state.resolve_file(&path)?),
                OpenMode::Create => creation(&device.state, &path)?,
            };
            let truncates = mode == OpenMode::Create && matches!(effect, Effect::Nothing);
            if truncates && device.state.files[id].visible.len() > 0 {
                effect = Effect::Content(id, ContentChange::Truncation);
            }
            let backing = self.on_backing(|files| files.open(real, mode))?;
            Ok((effect, (id, backing)))
        });
        let (id, backing) = opened?;
        *device.handles.entry(id).or_default() += 1;
        drop(device);
        Ok(Arc::new(SimFile {
            shared: self.shared.clone(),
            process: self.process,
            id,
            mode,
            backing,
        }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let normal = self.shared.normal(path)?;
        let call = DiskOperation::new(Kind::List, &normal);
        let mut device = self.shared.begin_call(call.kind, &call.path);
        device.perform(self.process, call, |device, _| {
            let dir = device.state.resolve_dir(&normal)?;
            // In reverse order, because the contract promises no order.
            let names = device.state.dirs[dir].visible.keys().rev();
            let names = names.filter_map(|name| name.to_str().map(Into::into));
            let listed = self.on_backing(|files| files.list(path))?;
            Ok((Effect::Nothing, listed.unwrap_or_else(|| names.collect())))
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let normal = self.shared.normal(path)?;
        let call = DiskOperation::new(Kind::CreateDir, &normal);
        let mut device = self.shared.begin_call(call.kind, &call.path);
        device.perform(self.process, call, |device, _| {
            let effect = match device.state.resolve(&normal) {
                Ok(NodeId::Dir(_)) => Effect::Nothing,
                Ok(NodeId::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => {
                    let new = device.state.next_dir();
                    Effect::Names(vec![device.state.name_change(&normal, Some(new))?])
                }
            };
            self.on_backing(|files| files.create_dir(path))?;
            Ok((effect, ()))
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_path, to_path) = (self.shared.normal(from)?, self.shared.normal(to)?);
        let mut call = DiskOperation::new(Kind::Rename, &from_path);
        call.target = Some(to_path.clone());
        let mut device = self.shared.begin_call(call.kind, &call.path);
        device.perform(self.process, call, |device, _| {
            let file = device.state.resolve_file(&from_path)?;
            // Returns an error if a directory has the new name.
            let (_, replaced) = creation(&device.state, &to_path)?;
            let changes = vec![
                device.state.name_change(&from_path, None)?,
                device.state.name_change(&to_path, Some(NodeId::File(file)))?,
            ];
            let effect = if replaced == file {
                Effect::Nothing
            } else {
                Effect::Names(changes)
            };
            self.on_backing(|files| files.rename(from, to))?;
            Ok((effect, ()))
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let normal = self.shared.normal(path)?;
        let call = DiskOperation::new(Kind::Remove, &normal);
        let mut device = self.shared.begin_call(call.kind, &call.path);
        device.perform(self.process, call, |device, _| {
            device.state.resolve_file(&normal)?;
            let change = device.state.name_change(&normal, None)?;
            self.on_backing(|files| files.remove(path))?;
            Ok((Effect::Names(vec![change]), ()))
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let normal = self.shared.normal(path)?;
        let call = DiskOperation::new(Kind::SyncDir, &normal);
        let mut device = self.shared.begin_call(call.kind, &call.path);
        device.perform(self.process, call, |device, _| {
            let dir = device.state.resolve_dir(&normal)?;
            self.on_backing(|files| files.sync_dir(path))?;
            Ok((Effect::SyncDir(dir), ()))
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        let normal = self.shared.normal(path)?;
        let call = DiskOperation::new(Kind::Lock, &normal);
        let mut device = self.shared.begin_call(call.kind, &call.path);
        let taken = device.perform(self.process, call, |device, _| {
            let (effect, id) = creation(&device.state, &normal)?;
            if device.locks.contains_key(&id) {
                return Ok((effect, None));
            }
            // `None` without backing files, `Some(None)` if another process holds their lock.
            Ok(match self.on_backing(|files| files.lock(path))? {
                Some(None) => (effect, None),
                backing_lock => (effect, Some((id, backing_lock.flatten()))),
            })
        });
        let Some((id, backing_lock)) = taken? else {
            return Ok(None);
        };
        device.locks.insert(id, backing_lock);
        drop(device);
        Ok(Some(Box::new(SimLock {
            shared: self.shared.clone(),
            process: self.process,
            id,
        })))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn OpenDir>> {
        let normal = self.shared.normal(path)?;
        scheduler::file_step("open directory", StepAction::CheckFile, &normal);
        let device = self.shared.lock();
        device.check_process(self.process)?;
        device.state.resolve_dir(&normal)?;
        Ok(Arc::new(NamedDir(path.to_path_buf())))
    }
}

impl SimFile {
    /// Makes the step of a call on a scheduled thread, and locks the device.
    fn begin_call(&self, kind: Kind) -> MutexGuard<'_, Device> {
        let device = self.shared.lock();
        let file = device.state.files.get(self.id);
        match file.map(|file| Arc::clone(&file.path)) {
            Some(path) => {
                drop(device);
                self.shared.begin_call(kind, &path)
            }
            None => device,
        }
    }
}

impl Device {
    fn file_call(
        &self,
        process: u64,
        kind: Kind,
        file: usize,
        offset: u64,
        len: u64,
    ) -> io::Result<DiskOperation> {
        // This check comes first: after a power loss the number can belong to another file.
        self.check_process(process)?;
        let mut call = DiskOperation::new(kind, &self.state.files[file].path);
        (call.offset, call.len) = (offset, len);
        Ok(call)
    }

    /// The number of bytes that a write of `len` bytes at `offset` can write.
    fn writable_len(&self, file: usize, offset: u64, len: usize) -> io::Result<usize> {
        if offset.saturating_add(len as u64) > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let end_max = self.state.files[file]
            .visible
            .len()
            .saturating_add(self.free_bytes());
        let writable = end_max.saturating_sub(offset).min(len as u64) as usize;
        if writable == 0 && len > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(writable)
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut device = self.begin_call(Kind::Read);
        let call = device.file_call(self.process, Kind::Read, self.id, offset, buffer.len() as u64)?;
        device.perform(self.process, call, |device, fault| {
            let len = buffer.len().min(fault.map_or(usize::MAX, Fault::bytes_max));
            if let Some(backing) = &self.backing {
                return Ok((Effect::Nothing, backing.read_at(&mut buffer[..len], offset)?));
            }
            let content = device.state.files[self.id].visible.bytes();
            let start = content.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
            let len = len.min(content.len() - start);
            buffer[..len].copy_from_slice(&content[start..start + len]);
            Ok((Effect::Nothing, len))
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut device = self.begin_call(Kind::Write);
        let call = device.file_call(self.process, Kind::Write, self.id, offset, bytes.len() as u64)?;
        device.perform(self.process, call, |device, fault| {
            if self.mode == OpenMode::Read {
                let message = "the file is open for reading only";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
            }
            let mut len = device.writable_len(self.id, offset, bytes.len())?;
            len = len.min(fault.map_or(usize::MAX, Fault::bytes_max));
            if let Some(backing) = &self.backing {
                len = backing.write_at(&bytes[..len], offset)?;
            }
            if len == 0 {
                return Ok((Effect::Nothing, 0));
            }
            let bytes = bytes[..len].into();
            let change = ContentChange::Write { offset, bytes };
            Ok((Effect::Content(self.id, change), len))
        })
    }

    fn len(&self) -> io::Result<u64> {
        let mut device = self.begin_call(Kind::Len);
        let call = device.file_call(self.process, Kind::Len, self.id, 0, 0)?;
        device.perform(self.process, call, |device, _| {
            let len = match &self.backing {
                Some(backing) => backing.len()?,
                None => device.state.files[self.id].visible.len(),
            };
            Ok((Effect::Nothing, len))
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut device = self.begin_call(Kind::Sync);
        let call = device.file_call(self.process, Kind::Sync, self.id, 0, 0)?;
        device.perform(self.process, call, |_, fault| {
            if let Some(Fault::SyncLoses(_)) = fault {
                return Ok((Effect::SyncFailed(self.id), ()));
            }
            if let Some(backing) = &self.backing {
                backing.sync()?;
            }
            Ok((Effect::Sync(self.id), ()))
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut device = self.shared.lock();
        if device.process != self.process {
            return;
        }
        let handles = device.handles.entry(self.id).or_default();
        *handles = handles.saturating_sub(1);
        if *handles == 0 {
            device.handles.remove(&self.id);
        }
    }
}

impl FileLock for SimLock {
    fn check(&self) -> io::Result<()> {
        self.step("check lock", StepAction::CheckFile);
        let device = self.shared.lock();
        device.check_process(self.process)?;
        match device.locks.get(&self.id) {
            Some(Some(backing_lock)) => backing_lock.check(),
            _ => Ok(()),
        }
    }
}

impl SimLock {
    fn step(&self, name: &'static str, action: StepAction) {
        let path = Arc::clone(&self.shared.lock().state.files[self.id].path);
        scheduler::file_step(name, action, &path);
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.step("release lock", StepAction::ReleaseFile);
        let mut device = self.shared.lock();
        if device.process == self.process {
            device.lock_released_at = Some(device.journal.len() as u64);
            device.locks.remove(&self.id);
        }
    }
}
