//! The file access of the simulated disk: what each call does to the model and to the files behind it.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::SimDisk;
use super::fault::Fault;
use super::model::{Effect, FileId, Model, NodeId};
use super::operation::DiskOperationKind as Kind;
use super::state::{Call, Shared, State};
use crate::fs::{File, FileAccess, FileLock, NamedDir, OpenDir, OpenMode};

/// The longest file.
const FILE_BYTES_MAX: u64 = 256 << 20;

struct SimFile {
    shared: Arc<Shared>,
    id: FileId,
    mode: OpenMode,
    backing: Option<Arc<dyn File>>,
}

struct SimLock {
    shared: Arc<Shared>,
    id: FileId,
}

/// What there is to do to the name `path` in order to create a file there.
fn creation(model: &Model, path: &Arc<Path>) -> io::Result<(Effect, FileId)> {
    let (dir, name) = model.parent(path)?;
    match model.dir(dir).live.get(&name) {
        Some(NodeId::File(file)) => Ok((Effect::Nothing, *file)),
        Some(NodeId::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
        None => {
            let path = path.clone();
            Ok((Effect::CreateFile { dir, name, path }, model.next_file()))
        }
    }
}

fn existing_file(model: &Model, path: &Path) -> io::Result<FileId> {
    match model.resolve(path)? {
        NodeId::File(file) => Ok(file),
        NodeId::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
    }
}

impl SimDisk {
    /// Does `call` to the files behind the disk, if there are any.
    fn behind<T>(&self, call: impl FnOnce(&dyn FileAccess) -> io::Result<T>) -> io::Result<Option<T>> {
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
        let mut state = self.shared.state();
        let opened = state.perform(&Call::new(kind, path.clone()), |state, _| {
            let (mut effect, id) = match mode {
                OpenMode::Read | OpenMode::Write => (Effect::Nothing, existing_file(&state.model, &path)?),
                OpenMode::Create => creation(&state.model, &path)?,
            };
            if mode == OpenMode::Create && matches!(effect, Effect::Nothing) && !state.is_empty(id) {
                effect = Effect::Truncate { file: id };
            }
            let backing = self.behind(|files| files.open(real, mode))?;
            Ok((effect, (id, backing)))
        });
        let (id, backing) = opened?;
        *state.handles.entry(id).or_default() += 1;
        drop(state);
        Ok(Arc::new(SimFile {
            shared: self.shared.clone(),
            id,
            mode,
            backing,
        }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let normal = self.shared.normal(path)?;
        let call = Call::new(Kind::List, normal.clone());
        self.shared.state().perform(&call, |state, _| {
            let NodeId::Dir(dir) = state.model.resolve(&normal)? else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            // In an order that no caller expects: the contract promises none.
            let names = state.model.dir(dir).live.keys().rev();
            let names = names.filter_map(|name| name.to_str().map(Into::into));
            let behind = self.behind(|files| files.list(path))?;
            Ok((Effect::Nothing, behind.unwrap_or_else(|| names.collect())))
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let normal = self.shared.normal(path)?;
        let call = Call::new(Kind::CreateDir, normal.clone());
        self.shared.state().perform(&call, |state, _| {
            let effect = match state.model.resolve(&normal) {
                Ok(NodeId::Dir(_)) => Effect::Nothing,
                Ok(NodeId::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => {
                    let (dir, name) = state.model.parent(&normal)?;
                    let path = normal.clone();
                    Effect::CreateDir { dir, name, path }
                }
            };
            self.behind(|files| files.create_dir(path))?;
            Ok((effect, ()))
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_path, to_path) = (self.shared.normal(from)?, self.shared.normal(to)?);
        let mut call = Call::new(Kind::Rename, from_path.clone());
        call.target = Some(to_path.clone());
        self.shared.state().perform(&call, |state, _| {
            let file = existing_file(&state.model, &from_path)?;
            // The other name is free, or a file has it.
            let (_, replaced) = creation(&state.model, &to_path)?;
            let effect = if replaced == file {
                Effect::Nothing
            } else {
                Effect::Rename {
                    file,
                    from: state.model.parent(&from_path)?,
                    to: state.model.parent(&to_path)?,
                    from_path,
                    to_path,
                }
            };
            self.behind(|files| files.rename(from, to))?;
            Ok((effect, ()))
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let normal = self.shared.normal(path)?;
        let call = Call::new(Kind::Remove, normal.clone());
        self.shared.state().perform(&call, |state, _| {
            existing_file(&state.model, &normal)?;
            let (dir, name) = state.model.parent(&normal)?;
            let path_removed = normal.clone();
            self.behind(|files| files.remove(path))?;
            Ok((
                Effect::Remove {
                    dir,
                    name,
                    path: path_removed,
                },
                (),
            ))
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let normal = self.shared.normal(path)?;
        let call = Call::new(Kind::SyncDir, normal.clone());
        self.shared.state().perform(&call, |state, fault| {
            let NodeId::Dir(dir) = state.model.resolve(&normal)? else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            if fault == Some(Fault::SyncSkipped) {
                return Ok((Effect::Nothing, ()));
            }
            self.behind(|files| files.sync_dir(path))?;
            Ok((Effect::SyncDir { dir }, ()))
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        let normal = self.shared.normal(path)?;
        let call = Call::new(Kind::Lock, normal.clone());
        let mut state = self.shared.state();
        let taken = state.perform(&call, |state, _| {
            let (effect, id) = creation(&state.model, &normal)?;
            if state.locks.contains_key(&id) {
                return Ok((effect, None));
            }
            // Behind: `None` without files, `Some(None)` if another process has the lock.
            Ok(match self.behind(|files| files.lock(path))? {
                Some(None) => (effect, None),
                behind => (effect, Some((id, behind.flatten()))),
            })
        });
        let Some((id, behind)) = taken? else {
            return Ok(None);
        };
        state.locks.insert(id, behind);
        drop(state);
        Ok(Some(Box::new(SimLock {
            shared: self.shared.clone(),
            id,
        })))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn OpenDir>> {
        let normal = self.shared.normal(path)?;
        match self.shared.state().model.resolve(&normal)? {
            NodeId::Dir(_) => Ok(Arc::new(NamedDir(path.to_path_buf()))),
            NodeId::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }
}

impl State {
    fn is_empty(&self, file: FileId) -> bool {
        self.model.file(file).live.len() == 0
    }

    fn file_call(&self, kind: Kind, file: FileId, offset: u64, len: u64) -> Call {
        let mut call = Call::new(kind, self.model.file(file).path.clone());
        (call.offset, call.len) = (offset, len);
        call
    }

    /// How many of `len` bytes at `offset` of the file there is room for.
    fn room(&self, file: FileId, offset: u64, len: usize) -> io::Result<usize> {
        if offset.saturating_add(len as u64) > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let end_max = self.model.file(file).live.len().saturating_add(self.free_bytes());
        let room = end_max.saturating_sub(offset).min(len as u64) as usize;
        if room == 0 && len > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(room)
    }
}

impl SimFile {
    fn check_writable(&self) -> io::Result<()> {
        match self.mode {
            OpenMode::Read => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the file is open for reading only",
            )),
            OpenMode::Write | OpenMode::Create => Ok(()),
        }
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.shared.state();
        let call = state.file_call(Kind::Read, self.id, offset, buffer.len() as u64);
        state.perform(&call, |state, fault| {
            let len = buffer.len().min(fault.map_or(usize::MAX, Fault::bytes_max));
            if let Some(backing) = &self.backing {
                return Ok((Effect::Nothing, backing.read_at(&mut buffer[..len], offset)?));
            }
            let content = state.model.file(self.id).live.bytes();
            let start = content.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
            let len = len.min(content.len() - start);
            buffer[..len].copy_from_slice(&content[start..start + len]);
            Ok((Effect::Nothing, len))
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.shared.state();
        let call = state.file_call(Kind::Write, self.id, offset, bytes.len() as u64);
        state.perform(&call, |state, fault| {
            self.check_writable()?;
            let mut len = state.room(self.id, offset, bytes.len())?;
            len = len.min(fault.map_or(usize::MAX, Fault::bytes_max));
            if let Some(backing) = &self.backing {
                len = backing.write_at(&bytes[..len], offset)?;
            }
            if len == 0 {
                return Ok((Effect::Nothing, 0));
            }
            let effect = Effect::Write {
                file: self.id,
                offset,
                bytes: bytes[..len].into(),
            };
            Ok((effect, len))
        })
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.shared.state();
        let call = state.file_call(Kind::Len, self.id, 0, 0);
        state.perform(&call, |state, _| {
            let len = match &self.backing {
                Some(backing) => backing.len()?,
                None => state.model.file(self.id).live.len(),
            };
            Ok((Effect::Nothing, len))
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        let call = state.file_call(Kind::Sync, self.id, 0, 0);
        state.perform(&call, |_, fault| {
            let file = self.id;
            match fault {
                Some(Fault::SyncSkipped) => return Ok((Effect::Nothing, ())),
                Some(Fault::SyncLoses(_)) => return Ok((Effect::SyncLost { file }, ())),
                _ => {}
            }
            if let Some(backing) = &self.backing {
                backing.sync()?;
            }
            Ok((Effect::Sync { file }, ()))
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some(handles) = state.handles.get_mut(&self.id) {
            *handles -= 1;
            if *handles == 0 {
                state.handles.remove(&self.id);
            }
        }
    }
}

impl FileLock for SimLock {
    fn check(&self) -> io::Result<()> {
        match self.shared.state().locks.get(&self.id) {
            Some(Some(behind)) => behind.check(),
            _ => Ok(()),
        }
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.shared.state().locks.remove(&self.id);
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile")
            .field("id", &self.id)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimLock")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
