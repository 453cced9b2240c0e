//! A disk in memory that can fail at one operation and shows what a power loss may leave. Just enough for the
//! store.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fs::{File, FileAccess, FileLock, NamedDir, OpenDir, OpenMode};

/// What is on a disk: every file's content by path.
pub(super) type Content = BTreeMap<PathBuf, Vec<u8>>;

/// What becomes of the operation at which the fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The device is gone; the operation took no effect.
    CrashBefore,
    /// The device is gone; half of a write took effect.
    CrashHalfway,
    /// The device is gone; the operation took effect, and its result is lost.
    CrashAfter,
    /// The operation fails, halfway; all later ones work.
    Fail,
    /// The operation panics.
    Panic,
}

#[derive(Debug, Clone, Default)]
struct State {
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
    durable_dirs: BTreeSet<PathBuf>,
    operations: Vec<String>,
    fault: Option<(usize, Fault)>,
    is_gone: bool,
}

#[derive(Debug, Clone, Default)]
struct Node {
    path: PathBuf,
    bytes: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct OpenFile {
    disk: Disk,
    node: usize,
}

impl Disk {
    /// A disk with the directory `db` and nothing in it.
    pub(super) fn new() -> Self {
        Self::with(&Content::new())
    }

    /// A disk that holds `content` in directories of depth one.
    pub(super) fn with(content: &Content) -> Self {
        let mut state = State::default();
        state.dirs.insert(PathBuf::from("/db"));
        for (path, bytes) in content {
            state.dirs.extend(path.parent().map(Path::to_path_buf));
            state.names.insert(path.clone(), state.nodes.len());
            state.nodes.push(Node {
                path: path.clone(),
                bytes: bytes.clone(),
                durable: bytes.clone(),
            });
        }
        state.durable_names = state.names.clone();
        state.durable_dirs = state.dirs.clone();
        Self(Arc::new(Mutex::new(state)))
    }

    /// The same disk after a restart of the process: nothing is lost, nothing becomes durable by it.
    pub(super) fn after_process_crash(&self) -> Self {
        let state = State {
            is_gone: false,
            fault: None,
            operations: Vec::new(),
            ..self.state().clone()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn access(&self) -> Arc<dyn FileAccess> {
        Arc::new(self.clone())
    }

    /// Lets `fault` strike at operation `at`, counted from the disk's beginning.
    pub(super) fn strike(&self, at: usize, fault: Fault) {
        self.state().fault = Some((at, fault));
    }

    pub(super) fn operations(&self) -> Vec<String> {
        self.state().operations.clone()
    }

    /// Everything written.
    pub(super) fn content(&self) -> Content {
        let state = self.state();
        let names = state.names.iter();
        names
            .map(|(path, &node)| (path.clone(), state.nodes[node].bytes.clone()))
            .collect()
    }

    /// What a power loss may leave: every subset of the pending directory entries, with pending bytes all
    /// there, not there, there to half, zeros, or zeros to half and there from then on.
    pub(super) fn images(&self) -> BTreeSet<Content> {
        let state = self.state();
        let pending: Vec<&PathBuf> = state
            .names
            .keys()
            .chain(state.durable_names.keys())
            .filter(|&path| state.names.get(path) != state.durable_names.get(path))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        assert!(
            pending.len() <= 8,
            "too many pending directory entries: {pending:?}"
        );
        let mut images = BTreeSet::new();
        for subset in 0..1_u32 << pending.len() {
            let mut names = state.durable_names.clone();
            for (bit, path) in pending
                .iter()
                .enumerate()
                .filter(|(bit, _)| subset >> bit & 1 == 1)
            {
                assert!(bit < 8);
                match state.names.get(*path) {
                    Some(&node) => names.insert((*path).clone(), node),
                    None => names.remove(*path),
                };
            }
            names.retain(|path, _| path.parent().is_some_and(|dir| state.durable_dirs.contains(dir)));
            for survivor in [Node::all, Node::none, Node::half, Node::zeros, Node::hole] {
                let content = names.iter();
                images.insert(
                    content
                        .map(|(path, &node)| (path.clone(), survivor(&state.nodes[node])))
                        .collect(),
                );
            }
        }
        images
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one operation: `apply` gets how much of it is to take effect, out of 2.
    fn operate<T>(
        &self,
        name: &str,
        path: &Path,
        apply: impl FnOnce(&mut State, usize) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state();
        if state.is_gone {
            return Err(io::Error::other("the device is gone"));
        }
        let at = state.operations.len();
        state.operations.push(format!("{name} {}", path.display()));
        let Some((_, fault)) = state.fault.filter(|(fault_at, _)| *fault_at == at) else {
            return apply(&mut state, 2);
        };
        let effect = match fault {
            Fault::CrashBefore => 0,
            Fault::CrashHalfway | Fault::Fail => 1,
            Fault::CrashAfter => 2,
            Fault::Panic => panic!("the device panics"),
        };
        state.is_gone = fault != Fault::Fail;
        if effect > 0 {
            drop(apply(&mut state, effect));
        }
        Err(io::Error::other(format!("fault at operation {at}")))
    }
}

impl Node {
    fn all(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    fn none(&self) -> Vec<u8> {
        self.durable.clone()
    }

    fn half(&self) -> Vec<u8> {
        let common = self.durable.len().min(self.bytes.len());
        let half = common + (self.bytes.len() - common) / 2;
        self.bytes[..half].to_vec()
    }

    fn hole(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let half = self.half().len();
        if let Some(lost) = bytes.get_mut(self.durable.len()..half) {
            lost.fill(0);
        }
        bytes
    }

    fn zeros(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        bytes.resize(self.bytes.len().max(bytes.len()), 0);
        bytes
    }
}

impl FileAccess for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let name = if mode == OpenMode::Create {
            "create"
        } else {
            "open"
        };
        let node = self.operate(name, path, |state, effect| {
            if mode != OpenMode::Create {
                return state
                    .names
                    .get(path)
                    .copied()
                    .ok_or(io::ErrorKind::NotFound.into());
            }
            let parent = path.parent().unwrap_or(Path::new(""));
            if !state.dirs.contains(parent) {
                return Err(io::ErrorKind::NotFound.into());
            }
            if effect == 2 {
                state.nodes.push(Node {
                    path: path.to_path_buf(),
                    ..Node::default()
                });
                state.names.insert(path.to_path_buf(), state.nodes.len() - 1);
            }
            Ok(state.nodes.len().saturating_sub(1))
        })?;
        Ok(Arc::new(OpenFile {
            disk: self.clone(),
            node,
        }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.operate("list", path, |state, _| {
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            if !state.dirs.contains(path) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let within = state.names.keys().filter(|name| name.parent() == Some(path));
            Ok(within
                .filter_map(|name| name.file_name()?.to_str().map(str::to_owned))
                .rev()
                .collect())
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.operate("create_dir", path, |state, effect| {
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if effect == 2 {
                state.dirs.insert(path.to_path_buf());
            }
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate("rename", from, |state, effect| {
            let node = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
            if effect == 2 {
                state.names.remove(from);
                state.names.insert(to.to_path_buf(), node);
                state.nodes[node].path = to.to_path_buf();
            }
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate("remove", path, |state, effect| {
            if effect == 2 && state.names.remove(path).is_none() {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(())
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.operate("sync_dir", path, |state, effect| {
            if !state.dirs.contains(path) {
                return Err(io::ErrorKind::NotFound.into());
            }
            if effect == 2 {
                state.durable_names.retain(|name, _| name.parent() != Some(path));
                let names: Vec<_> = state.names.clone().into_iter().collect();
                state
                    .durable_names
                    .extend(names.into_iter().filter(|(name, _)| name.parent() == Some(path)));
                let dirs: Vec<_> = state
                    .dirs
                    .iter()
                    .filter(|dir| dir.parent() == Some(path))
                    .cloned()
                    .collect();
                state.durable_dirs.extend(dirs);
            }
            Ok(())
        })
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        unreachable!("the store takes no lock")
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn OpenDir>> {
        if !self.state().dirs.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Arc::new(NamedDir(path.to_path_buf())))
    }
}

impl OpenFile {
    fn operate<T>(&self, name: &str, apply: impl FnOnce(&mut Node, usize) -> io::Result<T>) -> io::Result<T> {
        let on_node = |state: &mut State, effect| apply(&mut state.nodes[self.node], effect);
        let path = self.disk.state().nodes[self.node].path.clone();
        self.disk.operate(name, &path, on_node)
    }
}

impl File for OpenFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.operate("read", |node, _| {
            let bytes = node.bytes.get(offset as usize..).unwrap_or_default();
            let len = bytes.len().min(buffer.len());
            buffer[..len].copy_from_slice(&bytes[..len]);
            Ok(len)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.operate("write", |node, effect| {
            let written = bytes.len() * effect / 2;
            let end = offset as usize + written;
            node.bytes.resize(end.max(node.bytes.len()), 0);
            node.bytes[offset as usize..end].copy_from_slice(&bytes[..written]);
            Ok(written)
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.operate("len", |node, _| Ok(node.bytes.len() as u64))
    }

    fn sync(&self) -> io::Result<()> {
        self.operate("sync", |node, effect| {
            if effect == 2 {
                node.durable.clone_from(&node.bytes);
            }
            Ok(())
        })
    }
}
