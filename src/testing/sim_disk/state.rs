//! The state of a simulated disk: the durable content, the visible content, and the pending operations between the two.
//!
//! The state is a pure state machine over [`Effect`]s: the same effects in the same order give the same state. So the
//! journal of a run is enough to rebuild the state at every position. Invariant: the visible content is the durable
//! content with all pending operations applied in order.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::choice::ImageChoice;
use super::image::{FileContent, Image, ImageEntry};
use super::keyed;
use super::model::DiskModel;
use super::operation::DiskOperation;
use crate::fs::join;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NodeId {
    /// The number of a file.
    File(usize),
    /// The number of a directory.
    Dir(usize),
}

pub(super) type Names = BTreeMap<Arc<OsStr>, NodeId>;

/// The effect of an operation on the state.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    Nothing,
    /// A change of the content of the file with this number.
    Content(usize, ContentChange),
    Sync(usize),
    /// A failed sync: each pending change is durable now, or no later sync makes it durable.
    SyncFailed(usize),
    /// The name changes of one operation: one change for a creation or removal, two for a renaming (old name, new
    /// name). A node with the [next number](DiskState::next_file) is new.
    Names(Vec<NameChange>),
    SyncDir(usize),
    /// A power loss: the disk then has the content of this image, all of it durable. Files and directories get new
    /// numbers.
    PowerLoss(ImageChoice),
}

#[derive(Debug, Clone)]
pub(super) struct RecordedOperation {
    pub operation: DiskOperation,
    pub effect: Effect,
}

impl RecordedOperation {
    /// A hash of the operation and of its effect, equal in every process.
    pub(super) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let DiskOperation {
            ordinal: _,
            kind,
            path,
            target,
            offset,
            len,
            error,
        } = &self.operation;
        (kind, path, target, offset, len, error).hash(&mut hasher);
        match &self.effect {
            Effect::Content(_, ContentChange::Write { bytes, .. }) => bytes.hash(&mut hasher),
            Effect::SyncFailed(_) => 1_u8.hash(&mut hasher),
            _ => 0_u8.hash(&mut hasher),
        }
        hasher.finish()
    }
}

#[derive(Debug, Clone)]
pub(super) enum ContentChange {
    Write { offset: u64, bytes: Arc<[u8]> },
    Truncation,
}

impl ContentChange {
    pub(super) fn apply(&self, content: &mut FileContent) {
        match self {
            Self::Write { offset, bytes } => content.write(*offset, bytes),
            Self::Truncation => *content = FileContent::default(),
        }
    }

    /// Returns true if this change replaces all bytes of `earlier`.
    fn covers(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Truncation, _) => true,
            (Self::Write { .. }, Self::Truncation) => false,
            (
                Self::Write { offset, bytes },
                Self::Write {
                    offset: from,
                    bytes: old,
                },
            ) => offset <= from && from + old.len() as u64 <= offset + bytes.len() as u64,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct NameChange {
    pub dir: usize,
    pub name: Arc<OsStr>,
    pub path: Arc<Path>,
    /// The file or directory that the name refers to after the change. `None` if the change removes the name.
    pub value: Option<NodeId>,
    /// True if the directory was synced after the change.
    is_synced: bool,
}

impl NameChange {
    /// Sets the name to its new value and returns the previous one.
    pub(super) fn apply(&self, names: &mut Names) -> Option<NodeId> {
        match self.value {
            Some(node) => names.insert(self.name.clone(), node),
            None => names.remove(&self.name),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct FileState {
    /// The current name, or the last name of a file without one.
    pub path: Arc<Path>,
    pub has_name: bool,
    /// The key for pseudo-random choices about this file.
    pub key: u64,
    changes_len: u64,
    pub durable: FileContent,
    pub visible: FileContent,
    pub pending: Vec<PendingChange>,
}

#[derive(Debug, Clone)]
pub(super) struct PendingChange {
    pub ordinal: u64,
    pub key: u64,
    pub change: ContentChange,
    pub reason: PendingReason,
}

/// The reason why a change is still pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingReason {
    /// The change was not synced.
    Unsynced,
    /// A failed sync made the change durable or lost it, and no later sync makes a difference.
    SyncFailed,
    /// The change is durable, but an earlier change of the file is [`SyncFailed`](Self::SyncFailed).
    Durable,
}

#[derive(Debug, Clone, Default)]
pub(super) struct DirState {
    pub durable: Names,
    pub visible: Names,
}

#[derive(Debug, Clone)]
pub(super) struct PendingNames {
    pub ordinal: u64,
    pub key: u64,
    /// At least one change.
    pub changes: Vec<NameChange>,
    /// True if the operation gives a file the name of another file, which loses it.
    pub replaces_file: bool,
}

impl PendingNames {
    pub(super) fn last(&self) -> &NameChange {
        &self.changes[self.changes.len() - 1]
    }
}

#[derive(Debug, Clone)]
pub(super) struct DiskState {
    pub sector_bytes: u32,
    pub files: Vec<FileState>,
    /// The directories. The first one is the root.
    pub dirs: Vec<DirState>,
    pub pending_names: Vec<PendingNames>,
    /// The number of changes of each name, by the key of its path.
    name_changes: BTreeMap<u64, u64>,
    /// The contents of the last files whose removal or truncation became durable. Free blocks contain these bytes. The
    /// newest content is last.
    freed_contents: Vec<FileContent>,
    /// The models that allow the images of all power losses so far.
    pub models: Vec<DiskModel>,
    /// The ordinal of the last successful sync.
    pub last_sync: Option<u64>,
}

/// The maximum length of [`DiskState::freed_contents`].
const FREED_MAX: usize = 8;

impl DiskState {
    fn empty(sector_bytes: u32) -> Self {
        Self {
            sector_bytes: sector_bytes.max(1),
            files: Vec::new(),
            dirs: vec![DirState::default()],
            pending_names: Vec::new(),
            name_changes: BTreeMap::new(),
            freed_contents: Vec::new(),
            models: DiskModel::ALL.to_vec(),
            last_sync: None,
        }
    }

    /// The state of a disk with the image of `choice`, all of it durable. It equals [`from_image`](Self::from_image) of
    /// this image, except for the numbers of files and directories.
    pub(super) fn with_image(&self, choice: &ImageChoice) -> Self {
        let changed = self.changed_dirs(choice);
        let mut state = Self::empty(self.sector_bytes);
        let mut pending_dirs = vec![(0, 0, PathBuf::from("/"))];
        while let Some((dir, new_dir, path)) = pending_dirs.pop() {
            let names = changed.get(&dir).unwrap_or(&self.dirs[dir].durable);
            state.files.reserve(names.len());
            let mut new_names = Vec::with_capacity(names.len());
            for (name, node) in names {
                let path = join(&path, &**name);
                let node = match node {
                    NodeId::Dir(dir) => {
                        pending_dirs.push((*dir, state.dirs.len(), path));
                        state.add_dir()
                    }
                    NodeId::File(file) => {
                        let content = self.content(&self.files[*file], choice);
                        let key = keyed::path_key(&path);
                        state.add_file(path.into(), key, content)
                    }
                };
                new_names.push((Arc::clone(name), node));
            }
            let durable: Names = new_names.into_iter().collect();
            let visible = durable.clone();
            state.dirs[new_dir] = DirState { durable, visible };
        }
        state
    }

    /// The state of a disk with the content of `image`, all of it durable.
    pub(super) fn from_image(image: &Image, sector_bytes: u32) -> Self {
        let mut state = Self::empty(sector_bytes);
        // A directory sorts before its content, and an image has all directories above its files.
        for (path, entry) in image.entries() {
            let Ok((dir, name)) = state.parent(path) else {
                continue;
            };
            let node = match entry {
                ImageEntry::Dir => state.add_dir(),
                ImageEntry::File(content) => {
                    state.add_file(path.as_path().into(), keyed::path_key(path), content.clone())
                }
            };
            state.dirs[dir].durable.insert(name.clone(), node);
            state.dirs[dir].visible.insert(name, node);
        }
        state
    }

    fn add_dir(&mut self) -> NodeId {
        self.dirs.push(DirState::default());
        NodeId::Dir(self.dirs.len() - 1)
    }

    fn add_file(&mut self, path: Arc<Path>, key: u64, content: FileContent) -> NodeId {
        let next = self.next_file();
        self.files.push(FileState {
            path,
            has_name: true,
            key,
            changes_len: 0,
            durable: content.clone(),
            visible: content,
            pending: Vec::new(),
        });
        next
    }

    pub(super) fn next_file(&self) -> NodeId {
        NodeId::File(self.files.len())
    }

    pub(super) fn next_dir(&self) -> NodeId {
        NodeId::Dir(self.dirs.len())
    }

    /// The file or directory with the visible path `path`, which must be normal.
    pub(super) fn resolve(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = NodeId::Dir(0);
        for component in path.components() {
            if let Component::Normal(name) = component {
                let NodeId::Dir(dir) = node else {
                    return Err(io::ErrorKind::NotADirectory.into());
                };
                node = *self.dirs[dir].visible.get(name).ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(node)
    }

    pub(super) fn resolve_file(&self, path: &Path) -> io::Result<usize> {
        match self.resolve(path)? {
            NodeId::File(file) => Ok(file),
            NodeId::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn resolve_dir(&self, path: &Path) -> io::Result<usize> {
        match self.resolve(path)? {
            NodeId::Dir(dir) => Ok(dir),
            NodeId::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory that holds `path`, and the name in it.
    fn parent(&self, path: &Path) -> io::Result<(usize, Arc<OsStr>)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        Ok((self.resolve_dir(parent)?, name.into()))
    }

    /// The change that makes the name `path` refer to `value`.
    pub(super) fn name_change(&self, path: &Arc<Path>, value: Option<NodeId>) -> io::Result<NameChange> {
        let (dir, name) = self.parent(path)?;
        Ok(NameChange {
            dir,
            name,
            path: path.clone(),
            value,
            is_synced: false,
        })
    }

    /// Applies the effect of the operation with this ordinal.
    pub(super) fn apply(&mut self, ordinal: u64, effect: &Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Content(file, change) => self.files[*file].change(ordinal, change),
            Effect::Sync(file) => {
                let truncated = self.files[*file].truncated_content();
                self.files[*file].sync();
                self.add_freed(truncated);
                self.last_sync = Some(ordinal);
            }
            Effect::SyncFailed(file) => {
                for pending in &mut self.files[*file].pending {
                    if pending.reason == PendingReason::Unsynced {
                        pending.reason = PendingReason::SyncFailed;
                    }
                }
            }
            Effect::Names(changes) => self.change_names(ordinal, changes),
            Effect::SyncDir(dir) => {
                self.sync_dir(*dir);
                self.last_sync = Some(ordinal);
            }
            Effect::PowerLoss(choice) => {
                let models = self.models(choice);
                let freed_contents = std::mem::take(&mut self.freed_contents);
                *self = Self {
                    freed_contents,
                    models,
                    ..self.with_image(choice)
                };
            }
        }
    }

    fn add_freed(&mut self, content: Option<FileContent>) {
        self.freed_contents
            .extend(content.filter(|content| content.len() > 0));
        let excess = self.freed_contents.len().saturating_sub(FREED_MAX);
        self.freed_contents.drain(..excess);
    }

    /// Returns true if a free block contains bytes of a removed or truncated file.
    pub(super) fn has_stale_blocks(&self) -> bool {
        !self.freed_contents.is_empty()
    }

    /// Fills `bytes` with the content of free blocks: the bytes at `offset` of the newest file that is longer than
    /// `offset`, and zeros beyond its end.
    pub(super) fn fill_with_stale_bytes(&self, bytes: &mut [u8], offset: u64) {
        let newest = self
            .freed_contents
            .iter()
            .rev()
            .find(|content| content.len() > offset);
        let stale = newest.map_or(&[][..], |content| &content.bytes()[offset as usize..]);
        let len = stale.len().min(bytes.len());
        bytes.fill(0);
        bytes[..len].copy_from_slice(&stale[..len]);
    }

    fn change_names(&mut self, ordinal: u64, changes: &[NameChange]) {
        let keys = changes.iter().map(|change| {
            let key = keyed::path_key(&change.path);
            let times = self.name_changes.entry(key).or_default();
            *times += 1;
            keyed::mix(key, *times)
        });
        let key = keys.reduce(keyed::mix).unwrap_or(0);
        let mut replaces_file = false;
        for change in changes {
            if change.value == Some(self.next_file()) {
                self.add_file(change.path.clone(), key, FileContent::default());
            } else if change.value == Some(self.next_dir()) {
                self.add_dir();
            }
            if let Some(NodeId::File(file)) = change.apply(&mut self.dirs[change.dir].visible) {
                self.files[file].has_name = false;
                replaces_file |= change.value.is_some();
            }
            if let Some(NodeId::File(file)) = change.value {
                self.files[file].path = change.path.clone();
                self.files[file].has_name = true;
            }
        }
        self.pending_names.push(PendingNames {
            ordinal,
            key,
            changes: changes.to_vec(),
            replaces_file,
        });
    }

    fn sync_dir(&mut self, dir: usize) {
        let mut durable = Vec::with_capacity(self.pending_names.len());
        for pending in &mut self.pending_names {
            for change in &mut pending.changes {
                change.is_synced |= change.dir == dir;
            }
            durable.push(pending.changes.iter().all(|change| change.is_synced));
        }
        add_earlier_name_operations(&self.pending_names, &mut durable);
        let pending = std::mem::take(&mut self.pending_names);
        for (pending, durable) in pending.into_iter().zip(durable) {
            if !durable {
                self.pending_names.push(pending);
                continue;
            }
            for change in &pending.changes {
                if let Some(NodeId::File(file)) = change.apply(&mut self.dirs[change.dir].durable)
                    && !self.files[file].has_name
                {
                    self.add_freed(Some(self.files[file].visible.clone()));
                }
            }
        }
    }
}

impl FileState {
    fn change(&mut self, ordinal: u64, change: &ContentChange) {
        change.apply(&mut self.visible);
        let key = keyed::mix(self.key, self.changes_len);
        self.changes_len += 1;
        self.pending.push(PendingChange {
            ordinal,
            key,
            change: change.clone(),
            reason: PendingReason::Unsynced,
        });
    }

    /// The content that a sync of this file frees because it makes the pending truncations durable.
    fn truncated_content(&self) -> Option<FileContent> {
        let is_truncation = |it: &PendingChange| matches!(it.change, ContentChange::Truncation);
        let last = self.pending.iter().rposition(is_truncation)?;
        let mut content = self.durable.clone();
        for pending in &self.pending[..last] {
            pending.change.apply(&mut content);
        }
        Some(content)
    }

    fn sync(&mut self) {
        for pending in &mut self.pending {
            if pending.reason == PendingReason::Unsynced {
                pending.reason = PendingReason::Durable;
            }
        }
        // If a durable change covers an earlier change, the fate of the earlier change has no effect.
        let mut durable: Vec<ContentChange> = Vec::new();
        let mut index = self.pending.len();
        while index > 0 {
            index -= 1;
            let PendingChange { change, reason, .. } = &self.pending[index];
            if *reason == PendingReason::Durable {
                durable.push(change.clone());
            } else if durable.iter().any(|later| later.covers(change)) {
                self.pending.remove(index);
            }
        }
        let is_durable = |it: &PendingChange| it.reason == PendingReason::Durable;
        let len = self.pending.iter().take_while(|it| is_durable(it)).count();
        if len == self.pending.len() {
            self.durable = self.visible.clone();
            self.pending.clear();
        }
        for pending in self.pending.drain(..len.min(self.pending.len())) {
            pending.change.apply(&mut self.durable);
        }
    }

    /// The pending changes that are not durable.
    pub(super) fn undurable(&self) -> impl Iterator<Item = &PendingChange> {
        self.pending
            .iter()
            .filter(|pending| pending.reason != PendingReason::Durable)
    }

    /// The length of the file after a power loss that loses every undurable change.
    pub(super) fn durable_len(&self) -> u64 {
        let durable = self
            .pending
            .iter()
            .filter(|it| it.reason == PendingReason::Durable);
        durable.fold(self.durable.len(), |len, pending| match &pending.change {
            ContentChange::Write { offset, bytes } => len.max(offset + bytes.len() as u64),
            ContentChange::Truncation => 0,
        })
    }
}

/// Adds to the kept operations all earlier operations on the same names. This makes a renaming atomic. An image that
/// has a later operation on a name also has the renaming that freed the name, or that gave it to the file.
pub(super) fn add_earlier_name_operations(pending: &[PendingNames], kept: &mut [bool]) {
    let mut names = BTreeSet::new();
    for (pending, kept) in pending.iter().zip(kept).rev() {
        let pending_names = pending.changes.iter().map(|change| (change.dir, &*change.name));
        *kept |= pending_names.clone().any(|name| names.contains(&name));
        if *kept {
            names.extend(pending_names);
        }
    }
}
