//! Builds an image that a crash can leave from the state of the disk. The [module doc](super) has the rules.
//!
//! Invariant: each choice gives an image that the rules allow, in every state of the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::PathBuf;

use super::choice::{Fate, ImageChoice, Piece, Tear};
use super::image::{FileContent, Image, ImageEntry, ROOT_HASH};
use super::keyed;
use super::state::{
    ContentChange, DiskState, FileState, Names, NodeId, PendingNames, PendingReason,
    add_earlier_name_operations,
};
use super::tears::Tears;

/// Makes the garbage of an operation independent of its random fate, which has the same key.
const GARBAGE: u64 = 0x6761_7262_6167_6531;

/// An operation that is not durable, so a crash decides its fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UndurableOperation {
    pub ordinal: u64,
    /// The key of its random fate.
    key: u64,
    /// The key that selects the percentage of kept operations. All changes of a file have the same key.
    file_key: u64,
    pub tears: Tears,
}

impl UndurableOperation {
    fn of_names(pending: &PendingNames) -> Self {
        Self {
            ordinal: pending.ordinal,
            key: pending.key,
            file_key: pending.key,
            tears: Tears::default(),
        }
    }

    /// The fate of the operation in the image of `choice`.
    pub(super) fn fate(&self, choice: &ImageChoice) -> Fate {
        let whole = |kept| if kept { Fate::Kept } else { Fate::Lost };
        let fate = match choice {
            ImageChoice::Synced => Fate::Lost,
            ImageChoice::All => Fate::Kept,
            ImageChoice::Prefix { before, torn } => match torn {
                Some(tear) if self.ordinal == *before => Fate::Torn(tear.clone()),
                _ => whole(self.ordinal < *before),
            },
            ImageChoice::Drop(fates) => fates.get(&self.ordinal).cloned().unwrap_or(Fate::Kept),
            ImageChoice::Only(fates) => fates.get(&self.ordinal).cloned().unwrap_or(Fate::Lost),
            ImageChoice::Random { seed } => self.random_fate(*seed),
        };
        match fate {
            Fate::Torn(_) if self.tears.len() == 0 => Fate::Kept,
            fate => fate,
        }
    }

    fn random_fate(&self, seed: u64) -> Fate {
        const KEPT_PERCENT: [u64; 4] = [15, 50, 80, 95];
        let kept_percent = KEPT_PERCENT[(keyed::mix(seed, self.file_key) % 4) as usize];
        let drawn = keyed::mix(seed, self.key);
        let tears = u64::from(self.tears.len());
        if tears > 0 && (drawn >> 8).is_multiple_of(8) {
            Fate::Torn(self.tears.get(((drawn >> 16) % tears) as u32))
        } else if (drawn >> 32) % 100 < kept_percent {
            Fate::Kept
        } else {
            Fate::Lost
        }
    }
}

impl DiskState {
    /// The undurable operations on names and on files with a name in some image, in their order.
    pub(super) fn undurable_operations(&self) -> Vec<UndurableOperation> {
        let names = self.pending_names.iter().map(UndurableOperation::of_names);
        let files = self.reachable_files().into_iter();
        let contents = files.flat_map(|file| self.undurable_changes(&self.files[file]));
        let mut operations: Vec<_> = names.chain(contents).collect();
        operations.sort_unstable();
        operations
    }

    /// The first ordinal that `choice` names and that is not the ordinal of an undurable operation.
    pub(super) fn invalid_ordinal(&self, choice: &ImageChoice) -> Option<u64> {
        let operations = self.undurable_operations();
        let is_valid = |ordinal: &u64| operations.iter().any(|operation| operation.ordinal == *ordinal);
        choice
            .named_ordinals()
            .into_iter()
            .find(|ordinal| !is_valid(ordinal))
    }

    /// The undurable changes of a file's content, in their order.
    pub(super) fn undurable_changes(&self, file: &FileState) -> impl Iterator<Item = UndurableOperation> {
        let (file_key, sector_bytes, durable_len) = (file.key, self.sector_bytes, file.durable_len());
        let has_stale_blocks = self.has_stale_blocks();
        file.undurable().map(move |pending| UndurableOperation {
            ordinal: pending.ordinal,
            key: pending.key,
            file_key,
            tears: Tears::of(&pending.change, sector_bytes, durable_len, has_stale_blocks),
        })
    }

    /// The files that have a name in at least one image.
    pub(super) fn reachable_files(&self) -> BTreeSet<usize> {
        let durable = self.dirs.iter().flat_map(|dir| dir.durable.values().copied());
        let changes = self.pending_names.iter().flat_map(|pending| &pending.changes);
        let nodes = durable.chain(changes.filter_map(|change| change.value));
        nodes
            .filter_map(|node| match node {
                NodeId::File(file) => Some(file),
                NodeId::Dir(_) => None,
            })
            .collect()
    }

    /// Returns true if the kept operations include, for each operation on a name, all earlier operations on this name.
    /// `is_kept` gets the ordinal of an operation.
    pub(super) fn has_earlier_name_operations(&self, is_kept: impl Fn(u64) -> bool) -> bool {
        let kept: Vec<bool> = self.pending_names.iter().map(|it| is_kept(it.ordinal)).collect();
        let mut complete = kept.clone();
        add_earlier_name_operations(&self.pending_names, &mut complete);
        complete == kept
    }

    /// The image of `choice`.
    pub(super) fn image(&self, choice: &ImageChoice) -> Image {
        let mut image = Image::new();
        self.visit_entries(choice, PathBuf::from("/"), |dir, name, entry| {
            let path = dir.join(name);
            image.insert(path.clone(), entry);
            path
        });
        image
    }

    /// The hash of the image of `choice`.
    pub(super) fn image_hash(&self, choice: &ImageChoice) -> u128 {
        let mut hash = 0_u128;
        self.visit_entries(choice, ROOT_HASH, |dir, name, entry| {
            let path = keyed::child_hash(*dir, name);
            hash = hash.wrapping_add(entry.hash(path));
            path
        });
        hash
    }

    /// Calls `visit` for each entry in the image of `choice`, for a directory before its content. The arguments are the
    /// value of the entry's directory, the name and the entry. For a directory, the result of `visit` is the value that
    /// its entries get. `root` is the value of the root.
    fn visit_entries<T>(
        &self,
        choice: &ImageChoice,
        root: T,
        mut visit: impl FnMut(&T, &OsStr, ImageEntry) -> T,
    ) {
        let changed = self.changed_dirs(choice);
        let mut pending_dirs = Vec::with_capacity(self.dirs.len());
        pending_dirs.push((0, root));
        while let Some((dir, value)) = pending_dirs.pop() {
            for (name, node) in changed.get(&dir).unwrap_or(&self.dirs[dir].durable) {
                match node {
                    NodeId::Dir(dir) => pending_dirs.push((*dir, visit(&value, name, ImageEntry::Dir))),
                    NodeId::File(file) => {
                        let content = self.content(&self.files[*file], choice);
                        visit(&value, name, ImageEntry::File(content));
                    }
                }
            }
        }
    }

    /// For each pending operation on names: true if the image of `choice` has the operation.
    pub(super) fn kept_name_operations(&self, choice: &ImageChoice) -> Vec<bool> {
        let fates = self.pending_names.iter().map(UndurableOperation::of_names);
        let mut kept: Vec<bool> = fates.map(|it| it.fate(choice) != Fate::Lost).collect();
        add_earlier_name_operations(&self.pending_names, &mut kept);
        kept
    }

    /// The directories with a kept undurable operation in the image of `choice`: their names in the image, by the
    /// directory's number.
    pub(super) fn changed_dirs(&self, choice: &ImageChoice) -> BTreeMap<usize, Names> {
        let kept = self.kept_name_operations(choice);
        let mut changed = BTreeMap::new();
        for (pending, _) in self.pending_names.iter().zip(kept).filter(|(_, kept)| *kept) {
            for change in &pending.changes {
                let durable = || self.dirs[change.dir].durable.clone();
                change.apply(changed.entry(change.dir).or_insert_with(durable));
            }
        }
        changed
    }

    /// The content of `file` in the image of `choice`.
    pub(super) fn content(&self, file: &FileState, choice: &ImageChoice) -> FileContent {
        if *choice == ImageChoice::All {
            return file.visible.clone();
        }
        let mut fates = self.undurable_changes(file).map(|it| it.fate(choice));
        let fates: Vec<_> = file
            .pending
            .iter()
            .map_while(|pending| match pending.reason {
                PendingReason::Durable => Some(Fate::Kept),
                PendingReason::Unsynced | PendingReason::SyncFailed => fates.next(),
            })
            .collect();
        if fates.iter().all(|fate| *fate == Fate::Kept) {
            return file.visible.clone();
        }
        let garbage_seed = match choice {
            ImageChoice::Random { seed } => *seed,
            _ => 0,
        };
        let mut content = file.durable.clone();
        for (pending, fate) in file.pending.iter().zip(&fates) {
            match (fate, &pending.change) {
                (Fate::Lost, _) => {}
                (Fate::Torn(tear), ContentChange::Write { offset, bytes }) => {
                    let key = keyed::mix(garbage_seed ^ GARBAGE, pending.key);
                    self.write_torn(&mut content, *offset, bytes, tear, key);
                }
                (Fate::Kept | Fate::Torn(_), change) => change.apply(&mut content),
            }
        }
        content
    }

    /// Writes the pieces of a torn write into `content`, as `tear` defines them.
    fn write_torn(&self, content: &mut FileContent, offset: u64, bytes: &[u8], tear: &Tear, key: u64) {
        for (index, (at, piece)) in (0..).zip(pieces(offset, bytes, self.sector_bytes)) {
            match tear.piece(index) {
                Piece::Old => {}
                Piece::New => content.write(at, piece),
                Piece::Zeros => content.write(at, &vec![0; piece.len()]),
                Piece::Stale => {
                    let mut stale = vec![0; piece.len()];
                    self.fill_with_stale_bytes(&mut stale, at);
                    content.write(at, &stale);
                }
                Piece::Garbage => {
                    let mut garbage = vec![0; piece.len()];
                    keyed::fill_random(&mut garbage, keyed::mix(key, u64::from(index)));
                    content.write(at, &garbage);
                }
            }
        }
    }
}

/// The pieces of a write, each with its offset in the file. A piece is the part of a write in one sector.
pub(super) fn pieces(offset: u64, bytes: &[u8], sector_bytes: u32) -> impl Iterator<Item = (u64, &[u8])> {
    let sector = u64::from(sector_bytes);
    let (mut at, mut rest) = (offset, bytes);
    std::iter::from_fn(move || {
        let len = (((at / sector + 1) * sector - at) as usize).min(rest.len());
        let (piece, after) = rest.split_at(len);
        let begin = at;
        (at, rest) = (at + len as u64, after);
        (len > 0).then_some((begin, piece))
    })
}
