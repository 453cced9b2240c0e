//! The state of a simulated disk: what is durable, what is seen now, and what lies between the two.
//!
//! It is a pure state machine over [`Effect`]s: the same effects in the same order give the same state, which is how the
//! state of any instant of a run is built again from the journal. Invariant: what is seen now is what is durable with
//! every pending operation applied in order, but for what a failed sync lost.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use super::content::Content;
use super::image::{Image, ImageEntry};
use super::keyed;
use super::operation::DiskOperationKind;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DirId(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NodeId {
    File(FileId),
    Dir(DirId),
}

pub(super) type Name = Arc<OsStr>;
pub(super) type Entries = BTreeMap<Name, NodeId>;

/// What an operation does to the state.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    Nothing,
    Write {
        file: FileId,
        offset: u64,
        bytes: Arc<[u8]>,
    },
    /// All bytes of a file go.
    Truncate {
        file: FileId,
    },
    Sync {
        file: FileId,
    },
    /// A sync that failed: what was pending will never be durable.
    SyncLost {
        file: FileId,
    },
    /// A new file.
    CreateFile {
        dir: DirId,
        name: Name,
        path: Arc<Path>,
    },
    CreateDir {
        dir: DirId,
        name: Name,
        path: Arc<Path>,
    },
    Remove {
        dir: DirId,
        name: Name,
        path: Arc<Path>,
    },
    Rename {
        file: FileId,
        from: (DirId, Name),
        to: (DirId, Name),
        from_path: Arc<Path>,
        to_path: Arc<Path>,
    },
    SyncDir {
        dir: DirId,
    },
}

#[derive(Debug, Clone)]
pub(super) struct FileState {
    /// The name it has, or had last.
    pub path: Arc<Path>,
    pub named: bool,
    /// What random choices about it are drawn from.
    pub key: u64,
    changes_len: u64,
    pub durable: Content,
    pub live: Content,
    pub pending: Vec<PendingChange>,
}

#[derive(Debug, Clone)]
pub(super) struct PendingChange {
    pub ordinal: u64,
    pub key: u64,
    pub change: Change,
    /// Whether a failed sync has lost it.
    pub lost: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: u64, bytes: Arc<[u8]> },
    Truncation,
}

impl Change {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Self::Write { offset, bytes } => content.write(*offset, bytes),
            Self::Truncation => content.truncate(),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct DirState {
    pub durable: Entries,
    pub live: Entries,
}

/// Names that are given or taken together: one for a creation or removal, two for a renaming.
#[derive(Debug, Clone)]
pub(super) struct PendingEntry {
    pub ordinal: u64,
    pub key: u64,
    pub kind: DiskOperationKind,
    pub path: Arc<Path>,
    pub slots: Vec<Slot>,
}

#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub dir: DirId,
    pub name: Name,
    /// What the name stands for from then on.
    pub value: Option<NodeId>,
    /// Whether the directory was synced since.
    synced: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Model {
    pub sector_bytes: u32,
    files: Vec<FileState>,
    dirs: Vec<DirState>,
    pub pending_entries: Vec<PendingEntry>,
    /// How often each name was given or taken.
    entry_changes: BTreeMap<Arc<Path>, u64>,
}

pub(super) const ROOT: DirId = DirId(0);

impl Model {
    /// A disk on which all of `image` is durable.
    pub(super) fn from_image(image: &Image, sector_bytes: u32) -> Self {
        let mut model = Self {
            sector_bytes: sector_bytes.max(1),
            files: Vec::new(),
            dirs: vec![DirState::default()],
            pending_entries: Vec::new(),
            entry_changes: BTreeMap::new(),
        };
        // The directory of the entry before: most have the same one.
        let mut before: Option<(&Path, DirId)> = None;
        for (path, entry) in image.entries() {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                continue;
            };
            let known = before.filter(|(known, _)| known.as_os_str() == parent.as_os_str());
            // A directory sorts before what is in it, and an image has all directories above its files.
            let Some(dir) = known.map(|(_, dir)| dir).or_else(|| model.resolve_dir(parent)) else {
                continue;
            };
            before = Some((parent, dir));
            let name = Name::from(name);
            let node = match entry {
                ImageEntry::Dir => NodeId::Dir(model.add_dir()),
                ImageEntry::File(content) => {
                    let key = keyed::path_key(path);
                    NodeId::File(model.add_file(path.as_path().into(), key, content.clone()))
                }
            };
            let state = &mut model.dirs[dir.0];
            state.durable.insert(name.clone(), node);
            state.live.insert(name, node);
        }
        model
    }

    fn add_dir(&mut self) -> DirId {
        self.dirs.push(DirState::default());
        DirId(self.dirs.len() - 1)
    }

    fn add_file(&mut self, path: Arc<Path>, key: u64, content: Content) -> FileId {
        self.files.push(FileState {
            path,
            named: true,
            key,
            changes_len: 0,
            durable: content.clone(),
            live: content,
            pending: Vec::new(),
        });
        FileId(self.files.len() - 1)
    }

    pub(super) fn file(&self, id: FileId) -> &FileState {
        &self.files[id.0]
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (FileId, &FileState)> {
        self.files
            .iter()
            .enumerate()
            .map(|(index, file)| (FileId(index), file))
    }

    pub(super) fn dir(&self, id: DirId) -> &DirState {
        &self.dirs[id.0]
    }

    pub(super) fn dirs(&self) -> &[DirState] {
        &self.dirs
    }

    /// The file that the next [`Effect::CreateFile`] will make.
    pub(super) fn next_file(&self) -> FileId {
        FileId(self.files.len())
    }

    /// What `path`, which is normal, stands for now.
    pub(super) fn resolve(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = NodeId::Dir(ROOT);
        for component in path.components() {
            if let Component::Normal(name) = component {
                let NodeId::Dir(dir) = node else {
                    return Err(io::ErrorKind::NotADirectory.into());
                };
                let found = self.dirs[dir.0].live.get(name);
                node = *found.ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(node)
    }

    fn resolve_dir(&self, path: &Path) -> Option<DirId> {
        match self.resolve(path) {
            Ok(NodeId::Dir(dir)) => Some(dir),
            Ok(NodeId::File(_)) | Err(_) => None,
        }
    }

    /// The directory that holds `path`, and the name in it.
    pub(super) fn parent(&self, path: &Path) -> io::Result<(DirId, Name)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        match self.resolve(parent)? {
            NodeId::Dir(dir) => Ok((dir, name.into())),
            NodeId::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// Applies what the operation with this ordinal does.
    pub(super) fn apply(&mut self, ordinal: u64, effect: &Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Write { file, offset, bytes } => {
                let (offset, bytes) = (*offset, bytes.clone());
                self.change(ordinal, *file, Change::Write { offset, bytes });
            }
            Effect::Truncate { file } => self.change(ordinal, *file, Change::Truncation),
            Effect::Sync { file } => self.files[file.0].sync(),
            Effect::SyncLost { file } => {
                for pending in &mut self.files[file.0].pending {
                    pending.lost = true;
                }
            }
            Effect::CreateFile { dir, name, path } => {
                let key = self.entry_key(path);
                let node = NodeId::File(self.add_file(path.clone(), key, Content::default()));
                let slots = vec![Slot::new(*dir, name, Some(node))];
                self.enter(ordinal, key, DiskOperationKind::Create, path, slots);
            }
            Effect::CreateDir { dir, name, path } => {
                let key = self.entry_key(path);
                let slots = vec![Slot::new(*dir, name, Some(NodeId::Dir(self.add_dir())))];
                self.enter(ordinal, key, DiskOperationKind::CreateDir, path, slots);
            }
            Effect::Remove { dir, name, path } => {
                let key = self.entry_key(path);
                let slots = vec![Slot::new(*dir, name, None)];
                self.enter(ordinal, key, DiskOperationKind::Remove, path, slots);
            }
            Effect::Rename {
                file,
                from,
                to,
                from_path,
                to_path,
            } => {
                let key = keyed::mix(self.entry_key(from_path), self.entry_key(to_path));
                let slots = vec![
                    Slot::new(from.0, &from.1, None),
                    Slot::new(to.0, &to.1, Some(NodeId::File(*file))),
                ];
                self.enter(ordinal, key, DiskOperationKind::Rename, to_path, slots);
                let file = &mut self.files[file.0];
                file.path = to_path.clone();
                file.named = true;
            }
            Effect::SyncDir { dir } => self.sync_dir(*dir),
        }
    }

    fn change(&mut self, ordinal: u64, file: FileId, change: Change) {
        let file = &mut self.files[file.0];
        change.apply(&mut file.live);
        let key = keyed::mix(file.key, file.changes_len);
        file.changes_len += 1;
        file.pending.push(PendingChange {
            ordinal,
            key,
            change,
            lost: false,
        });
    }

    /// What random choices about the next operation on the name `path` are drawn from.
    fn entry_key(&mut self, path: &Arc<Path>) -> u64 {
        let changes = self.entry_changes.entry(path.clone()).or_default();
        *changes += 1;
        keyed::mix(keyed::path_key(path), *changes)
    }

    fn enter(&mut self, ordinal: u64, key: u64, kind: DiskOperationKind, path: &Arc<Path>, slots: Vec<Slot>) {
        for slot in &slots {
            let before = set(&mut self.dirs[slot.dir.0].live, slot);
            if let Some(NodeId::File(file)) = before {
                self.files[file.0].named = false;
            }
        }
        self.pending_entries.push(PendingEntry {
            ordinal,
            key,
            kind,
            path: path.clone(),
            slots,
        });
    }

    fn sync_dir(&mut self, dir: DirId) {
        let mut durable = Vec::with_capacity(self.pending_entries.len());
        for pending in &mut self.pending_entries {
            for slot in &mut pending.slots {
                slot.synced |= slot.dir == dir;
            }
            durable.push(pending.slots.iter().all(|slot| slot.synced));
        }
        close_over_names(&self.pending_entries, &mut durable);
        let pending = std::mem::take(&mut self.pending_entries);
        for (pending, durable) in pending.into_iter().zip(durable) {
            if !durable {
                self.pending_entries.push(pending);
                continue;
            }
            for slot in &pending.slots {
                set(&mut self.dirs[slot.dir.0].durable, slot);
            }
        }
    }
}

impl FileState {
    fn sync(&mut self) {
        if self.pending.iter().any(|pending| pending.lost) {
            for pending in self.pending.iter().filter(|pending| !pending.lost) {
                pending.change.apply(&mut self.durable);
            }
            self.pending.retain(|pending| pending.lost);
            if self.durable != self.live {
                return;
            }
        }
        // Nothing is missing, or what was lost has been written again since.
        self.durable = self.live.clone();
        self.pending.clear();
    }
}

impl Slot {
    fn new(dir: DirId, name: &Name, value: Option<NodeId>) -> Self {
        Self {
            dir,
            name: name.clone(),
            value,
            synced: false,
        }
    }
}

/// Gives the slot's name its value; returns what it stood for before.
pub(super) fn set(entries: &mut Entries, slot: &Slot) -> Option<NodeId> {
    match slot.value {
        Some(node) => entries.insert(slot.name.clone(), node),
        None => entries.remove(&slot.name),
    }
}

/// Adds to the kept operations every earlier one on a name that a kept one is on, which makes a renaming atomic: a
/// name can neither be used again without its file having moved away, nor move on from where it never was.
pub(super) fn close_over_names(pending: &[PendingEntry], kept: &mut [bool]) {
    if kept.iter().all(|kept| *kept) {
        return;
    }
    let mut names = BTreeSet::new();
    for (pending, kept) in pending.iter().zip(kept).rev() {
        *kept |= pending
            .slots
            .iter()
            .any(|slot| names.contains(&(slot.dir, &*slot.name)));
        if *kept {
            names.extend(pending.slots.iter().map(|slot| (slot.dir, &*slot.name)));
        }
    }
}
