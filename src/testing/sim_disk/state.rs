//! The state of a simulated disk: the durable content, the visible content, and the pending operations between the two.
//!
//! It is a pure state machine over [`Effect`]s: the same effects in the same order give the same state, which is how the
//! state of any instant of a run is built again from the journal. Invariant: what is seen now is what is durable with
//! every pending operation applied in order.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
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
    /// A change of the file with this number.
    Content(usize, ContentChange),
    Sync(usize),
    /// A sync that failed: each pending change is durable now, or no later sync makes it durable.
    SyncFailed(usize),
    /// Names that are given or taken together: one for a creation or removal, the old and the new one for a renaming. A
    /// node with the [next number](DiskState::next_file) is new.
    Names(Vec<NameChange>),
    SyncDir(usize),
    /// A power loss: the disk then holds this image, and all of it is durable. Files and directories get new numbers.
    PowerLoss(ImageChoice),
}

#[derive(Debug, Clone)]
pub(super) struct RecordedOperation {
    pub operation: DiskOperation,
    pub effect: Effect,
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

    /// Returns true if nothing of `earlier` is left after this change.
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
    /// The meaning of the name from then on.
    pub value: Option<NodeId>,
    /// Whether the directory was synced since.
    synced: bool,
}

impl NameChange {
    /// Gives the name its value; returns what it stood for before.
    pub(super) fn apply(&self, names: &mut Names) -> Option<NodeId> {
        match self.value {
            Some(node) => names.insert(self.name.clone(), node),
            None => names.remove(&self.name),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct FileState {
    /// The name it has, or had last.
    pub path: Arc<Path>,
    pub named: bool,
    /// The seed of random choices about it.
    pub key: u64,
    changes_len: u64,
    pub durable: FileContent,
    pub live: FileContent,
    pub pending: Vec<PendingChange>,
}

#[derive(Debug, Clone)]
pub(super) struct PendingChange {
    pub ordinal: u64,
    pub key: u64,
    pub change: ContentChange,
    pub hold: PendingReason,
}

/// The reason why a change is still pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingReason {
    /// It was not synced.
    Unsynced,
    /// A failed sync made it durable or lost it, and no later sync changes that.
    Doubtful,
    /// It is durable, but an earlier change of the file is doubtful.
    Durable,
}

#[derive(Debug, Clone, Default)]
pub(super) struct DirState {
    pub durable: Names,
    pub live: Names,
}

#[derive(Debug, Clone)]
pub(super) struct PendingNames {
    pub ordinal: u64,
    pub key: u64,
    /// At least one.
    pub changes: Vec<NameChange>,
    /// True if a file replaced another one under its name.
    pub replaces: bool,
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
    /// The first is the root.
    pub dirs: Vec<DirState>,
    pub pending_names: Vec<PendingNames>,
    /// How often each name was given or taken, by the key of its path.
    name_changes: BTreeMap<u64, u64>,
    /// The contents of the last files whose removal or truncation became durable: free blocks hold them. The newest is last.
    freed: Vec<FileContent>,
    /// The models under which all power losses so far can leave their images.
    pub models: Vec<DiskModel>,
    /// The ordinal of the last sync that succeeded.
    pub last_sync: Option<u64>,
}

/// The number of freed contents that are kept.
const FREED_MAX: usize = 8;

impl DiskState {
    fn empty(sector_bytes: u32) -> Self {
        Self {
            sector_bytes: sector_bytes.max(1),
            files: Vec::new(),
            dirs: vec![DirState::default()],
            pending_names: Vec::new(),
            name_changes: BTreeMap::new(),
            freed: Vec::new(),
            models: DiskModel::ALL.to_vec(),
            last_sync: None,
        }
    }

    /// A disk on which all of the image that `choice` means is durable. It equals [`from_image`](Self::from_image) of that
    /// image, apart from the numbers of files and directories.
    pub(super) fn after(&self, choice: &ImageChoice) -> Self {
        let changed = self.kept_names(choice);
        let mut state = Self::empty(self.sector_bytes);
        let mut waiting = vec![(0, 0, PathBuf::from("/"))];
        while let Some((dir, place, path)) = waiting.pop() {
            let names = changed.get(&dir).unwrap_or(&self.dirs[dir].durable);
            state.files.reserve(names.len());
            let mut placed = Vec::with_capacity(names.len());
            for (name, node) in names {
                let path = join(&path, &**name);
                let node = match node {
                    NodeId::Dir(dir) => {
                        waiting.push((*dir, state.dirs.len(), path));
                        state.add_dir()
                    }
                    NodeId::File(file) => {
                        let content = self.content(&self.files[*file], choice);
                        let key = keyed::path_key(&path);
                        state.add_file(path.into(), key, content)
                    }
                };
                placed.push((Arc::clone(name), node));
            }
            let durable: Names = placed.into_iter().collect();
            let live = durable.clone();
            state.dirs[place] = DirState { durable, live };
        }
        state
    }

    /// A disk on which all of `image` is durable.
    pub(super) fn from_image(image: &Image, sector_bytes: u32) -> Self {
        let mut state = Self::empty(sector_bytes);
        // A directory sorts before what is in it, and an image has all directories above its files.
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
            state.dirs[dir].live.insert(name, node);
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
            named: true,
            key,
            changes_len: 0,
            durable: content.clone(),
            live: content,
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

    /// What `path`, which is normal, stands for now.
    pub(super) fn resolve(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = NodeId::Dir(0);
        for component in path.components() {
            if let Component::Normal(name) = component {
                let NodeId::Dir(dir) = node else {
                    return Err(io::ErrorKind::NotADirectory.into());
                };
                node = *self.dirs[dir].live.get(name).ok_or(io::ErrorKind::NotFound)?;
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

    /// The change that makes `path` stand for `value`.
    pub(super) fn name_change(&self, path: &Arc<Path>, value: Option<NodeId>) -> io::Result<NameChange> {
        let (dir, name) = self.parent(path)?;
        Ok(NameChange {
            dir,
            name,
            path: path.clone(),
            value,
            synced: false,
        })
    }

    /// Applies what the operation with this ordinal does.
    pub(super) fn apply(&mut self, ordinal: u64, effect: &Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Content(file, change) => self.files[*file].change(ordinal, change),
            Effect::Sync(file) => {
                let truncated = self.files[*file].truncated();
                self.files[*file].sync();
                self.free(truncated);
                self.last_sync = Some(ordinal);
            }
            Effect::SyncFailed(file) => {
                for pending in &mut self.files[*file].pending {
                    if pending.hold == PendingReason::Unsynced {
                        pending.hold = PendingReason::Doubtful;
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
                let freed = std::mem::take(&mut self.freed);
                *self = Self {
                    freed,
                    models,
                    ..self.after(choice)
                };
            }
        }
    }

    fn free(&mut self, content: Option<FileContent>) {
        self.freed.extend(content.filter(|content| content.len() > 0));
        let excess = self.freed.len().saturating_sub(FREED_MAX);
        self.freed.drain(..excess);
    }

    /// Returns true if a free block holds bytes of a removed or truncated file.
    pub(super) fn has_stale_blocks(&self) -> bool {
        !self.freed.is_empty()
    }

    /// Writes to `bytes` the content of free blocks: that of the newest file that reached to `offset`, and zeros beyond its
    /// end.
    pub(super) fn fill_stale(&self, bytes: &mut [u8], offset: u64) {
        let newest = self.freed.iter().rev().find(|content| content.len() > offset);
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
        let mut replaces = false;
        for change in changes {
            if change.value == Some(self.next_file()) {
                self.add_file(change.path.clone(), key, FileContent::default());
            } else if change.value == Some(self.next_dir()) {
                self.add_dir();
            }
            if let Some(NodeId::File(file)) = change.apply(&mut self.dirs[change.dir].live) {
                self.files[file].named = false;
                replaces |= change.value.is_some();
            }
            if let Some(NodeId::File(file)) = change.value {
                self.files[file].path = change.path.clone();
                self.files[file].named = true;
            }
        }
        self.pending_names.push(PendingNames {
            ordinal,
            key,
            changes: changes.to_vec(),
            replaces,
        });
    }

    fn sync_dir(&mut self, dir: usize) {
        let mut durable = Vec::with_capacity(self.pending_names.len());
        for pending in &mut self.pending_names {
            for change in &mut pending.changes {
                change.synced |= change.dir == dir;
            }
            durable.push(pending.changes.iter().all(|change| change.synced));
        }
        close_over_names(&self.pending_names, &mut durable);
        let pending = std::mem::take(&mut self.pending_names);
        for (pending, durable) in pending.into_iter().zip(durable) {
            if !durable {
                self.pending_names.push(pending);
                continue;
            }
            for change in &pending.changes {
                if let Some(NodeId::File(file)) = change.apply(&mut self.dirs[change.dir].durable)
                    && !self.files[file].named
                {
                    self.free(Some(self.files[file].live.clone()));
                }
            }
        }
    }
}

impl FileState {
    fn change(&mut self, ordinal: u64, change: &ContentChange) {
        change.apply(&mut self.live);
        let key = keyed::mix(self.key, self.changes_len);
        self.changes_len += 1;
        self.pending.push(PendingChange {
            ordinal,
            key,
            change: change.clone(),
            hold: PendingReason::Unsynced,
        });
    }

    /// The content that becomes free when a sync makes the pending truncations durable.
    fn truncated(&self) -> Option<FileContent> {
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
            if pending.hold == PendingReason::Unsynced {
                pending.hold = PendingReason::Durable;
            }
        }
        // A durable change that covers an earlier one hides the fate of the earlier one.
        let mut durable: Vec<ContentChange> = Vec::new();
        let mut index = self.pending.len();
        while index > 0 {
            index -= 1;
            let PendingChange { change, hold, .. } = &self.pending[index];
            if *hold == PendingReason::Durable {
                durable.push(change.clone());
            } else if durable.iter().any(|later| later.covers(change)) {
                self.pending.remove(index);
            }
        }
        let is_durable = |it: &PendingChange| it.hold == PendingReason::Durable;
        let len = self.pending.iter().take_while(|it| is_durable(it)).count();
        if len == self.pending.len() {
            self.durable = self.live.clone();
            self.pending.clear();
        }
        for pending in self.pending.drain(..len.min(self.pending.len())) {
            pending.change.apply(&mut self.durable);
        }
    }

    /// The length of the file after a power loss that loses every undurable change.
    pub(super) fn durable_len(&self) -> u64 {
        let durable = self.pending.iter().filter(|it| it.hold == PendingReason::Durable);
        durable.fold(self.durable.len(), |len, pending| match &pending.change {
            ContentChange::Write { offset, bytes } => len.max(offset + bytes.len() as u64),
            ContentChange::Truncation => 0,
        })
    }
}

/// Adds to the kept operations every earlier one on a name that a kept one is on, which makes a renaming atomic: a
/// name can neither be used again without its file having moved away, nor move on from where it never was.
pub(super) fn close_over_names(pending: &[PendingNames], kept: &mut [bool]) {
    let mut names = BTreeSet::new();
    for (pending, kept) in pending.iter().zip(kept).rev() {
        let own = pending.changes.iter().map(|change| (change.dir, &*change.name));
        *kept |= own.clone().any(|name| names.contains(&name));
        if *kept {
            names.extend(own);
        }
    }
}
