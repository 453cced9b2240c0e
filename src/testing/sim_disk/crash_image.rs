//! From the state of a disk to one of the images that a crash may leave. The [module doc](super) has the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::PathBuf;

use super::choice::{Fate, ImageChoice, Piece, Tear};
use super::image::{FileContent, Image, ImageEntry, ROOT_HASH};
use super::keyed;
use super::state::{ContentChange, DiskState, FileState, Names, NodeId, PendingNames, close_over_names};

/// Tells the choice of garbage from the choice of a fate with the same key.
const GARBAGE: u64 = 0x6761_7262_6167_6531;

/// One operation that is not durable, as far as its fate is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OpenOperation {
    pub ordinal: u64,
    /// What its random fate is drawn from.
    key: u64,
    /// What the share of kept operations is drawn from: one for each file.
    owner: u64,
    pub tears: Tears,
}

impl OpenOperation {
    fn of_names(pending: &PendingNames) -> Self {
        Self {
            ordinal: pending.ordinal,
            key: pending.key,
            owner: pending.key,
            tears: Tears::default(),
        }
    }

    /// Its fate in the image that `choice` means.
    fn fate(&self, choice: &ImageChoice) -> Fate {
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
            Fate::Torn(_) if self.tears.pieces == 0 => Fate::Kept,
            fate => fate,
        }
    }

    fn random_fate(&self, seed: u64) -> Fate {
        const KEPT_PERCENT: [u64; 4] = [15, 50, 80, 95];
        let kept_percent = KEPT_PERCENT[(keyed::mix(seed, self.owner) % 4) as usize];
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

/// The ways in which an operation can be torn, numbered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tears {
    /// How many pieces it has; 0 if it cannot be torn.
    pieces: u32,
    /// Whether the file is longer with it than it durably is.
    grows: bool,
}

impl Tears {
    fn of(change: &ContentChange, sector_bytes: u32, durable_len: u64) -> Self {
        let ContentChange::Write { offset, bytes } = change else {
            return Self::default();
        };
        let end = offset + bytes.len() as u64;
        let sector = u64::from(sector_bytes);
        Self {
            pieces: (end.div_ceil(sector) - offset / sector) as u32,
            grows: end > durable_len,
        }
    }

    pub(super) fn len(self) -> u32 {
        match self.pieces {
            0 => 0,
            pieces => 3 * pieces - 2 + if self.grows { pieces } else { 0 },
        }
    }

    /// The tear with the number `index`, which is under `len`: a kept beginning, one with a torn sector behind it, a kept
    /// end, and for a file that grows its length without the bytes, from each piece on.
    pub(super) fn get(self, index: u32) -> Tear {
        let pieces = self.pieces;
        let tear = |kept, next| Tear::new([(kept, Piece::New), next]);
        if index < pieces - 1 {
            tear(index + 1, (0, Piece::Old))
        } else if index < 2 * pieces - 1 {
            tear(index - (pieces - 1), (1, Piece::Garbage))
        } else if index < 3 * pieces - 2 {
            let lost = index - (2 * pieces - 1) + 1;
            Tear::new([(lost, Piece::Old), (pieces - lost, Piece::New)])
        } else {
            let kept = index - (3 * pieces - 2);
            tear(kept, (pieces - kept, Piece::Zeros))
        }
    }
}

impl DiskState {
    /// The operations whose fate is open, in their order.
    pub(super) fn open_operations(&self) -> Vec<OpenOperation> {
        let names = self.pending_names.iter().map(OpenOperation::of_names);
        let files = self.reachable_files().into_iter();
        let contents = files.flat_map(|file| self.changes_of(&self.files[file]));
        let mut open: Vec<_> = names.chain(contents).collect();
        open.sort_unstable();
        open
    }

    fn changes_of(&self, file: &FileState) -> impl Iterator<Item = OpenOperation> {
        let (owner, sector_bytes, durable_len) = (file.key, self.sector_bytes, file.durable.len());
        let pending = file.pending.iter().filter(|pending| !pending.lost);
        pending.map(move |pending| OpenOperation {
            ordinal: pending.ordinal,
            key: pending.key,
            owner,
            tears: Tears::of(&pending.change, sector_bytes, durable_len),
        })
    }

    /// The files that have a name in at least one image.
    fn reachable_files(&self) -> BTreeSet<usize> {
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

    /// Whether `kept`, which says it of some operations by ordinal, has for each operation on a name all earlier ones.
    pub(super) fn is_closed(&self, kept: impl Fn(u64) -> bool) -> bool {
        let kept: Vec<bool> = self.pending_names.iter().map(|it| kept(it.ordinal)).collect();
        let mut closed = kept.clone();
        close_over_names(&self.pending_names, &mut closed);
        closed == kept
    }

    /// Whether a failed sync has lost something that can still be seen.
    pub(super) fn has_lost_changes(&self) -> bool {
        let mut pending = self.files.iter().flat_map(|file| &file.pending);
        pending.any(|pending| pending.lost)
    }

    /// The image that `choice` means.
    pub(super) fn image(&self, choice: &ImageChoice) -> Image {
        let mut image = Image::new();
        self.each_entry(choice, PathBuf::from("/"), |dir, name, entry| {
            let path = dir.join(name);
            image.insert(path.clone(), entry);
            path
        });
        image
    }

    /// The hash of the image that `choice` means.
    pub(super) fn image_hash(&self, choice: &ImageChoice) -> u128 {
        let mut hash = 0_u128;
        self.each_entry(choice, ROOT_HASH, |dir, name, entry| {
            let place = keyed::below(*dir, name);
            hash = hash.wrapping_add(entry.hash(place));
            place
        });
        hash
    }

    /// Gives `enter` everything in the image that `choice` means, a directory before what is in it, with what stands for
    /// the directory that it is in. What `enter` gives stands for a directory; `root` does for the root.
    fn each_entry<T>(
        &self,
        choice: &ImageChoice,
        root: T,
        mut enter: impl FnMut(&T, &OsStr, ImageEntry) -> T,
    ) {
        let changed = self.kept_names(choice);
        let mut waiting = vec![(0, root)];
        while let Some((dir, place)) = waiting.pop() {
            for (name, node) in changed.get(&dir).unwrap_or(&self.dirs[dir].durable) {
                match node {
                    NodeId::Dir(dir) => waiting.push((*dir, enter(&place, name, ImageEntry::Dir))),
                    NodeId::File(file) => {
                        let content = self.content(&self.files[*file], choice);
                        enter(&place, name, ImageEntry::File(content));
                    }
                }
            }
        }
    }

    /// The names in the directories in which something is kept that is not durable.
    fn kept_names(&self, choice: &ImageChoice) -> BTreeMap<usize, Names> {
        let fates = self.pending_names.iter().map(OpenOperation::of_names);
        let mut kept: Vec<bool> = fates.map(|it| it.fate(choice) != Fate::Lost).collect();
        close_over_names(&self.pending_names, &mut kept);
        let mut changed = BTreeMap::new();
        for (pending, _) in self.pending_names.iter().zip(kept).filter(|(_, kept)| *kept) {
            for change in &pending.changes {
                let durable = || self.dirs[change.dir].durable.clone();
                change.apply(changed.entry(change.dir).or_insert_with(durable));
            }
        }
        changed
    }

    fn content(&self, file: &FileState, choice: &ImageChoice) -> FileContent {
        if *choice == ImageChoice::All {
            return file.live.clone();
        }
        let fates: Vec<_> = self.changes_of(file).map(|it| it.fate(choice)).collect();
        if fates.len() == file.pending.len() && fates.iter().all(|fate| *fate == Fate::Kept) {
            return file.live.clone();
        }
        let garbage_seed = match choice {
            ImageChoice::Random { seed } => *seed,
            _ => 0,
        };
        let mut content = file.durable.clone();
        let pending = file.pending.iter().filter(|pending| !pending.lost);
        for (pending, fate) in pending.zip(&fates) {
            match (fate, &pending.change) {
                (Fate::Lost, _) => {}
                (Fate::Torn(tear), ContentChange::Write { offset, bytes }) => {
                    let key = keyed::mix(garbage_seed ^ GARBAGE, pending.key);
                    write_torn(&mut content, *offset, bytes, tear, self.sector_bytes, key);
                }
                (Fate::Kept | Fate::Torn(_), change) => change.apply(&mut content),
            }
        }
        content
    }
}

/// Writes the pieces of a write that are there.
fn write_torn(
    content: &mut FileContent,
    offset: u64,
    bytes: &[u8],
    tear: &Tear,
    sector_bytes: u32,
    key: u64,
) {
    let sector = u64::from(sector_bytes);
    let (mut at, end) = (offset, offset + bytes.len() as u64);
    let mut index = 0;
    while at < end {
        let next = ((at / sector + 1) * sector).min(end);
        let piece = &bytes[(at - offset) as usize..(next - offset) as usize];
        match tear.piece(index) {
            Piece::Old => {}
            Piece::New => content.write(at, piece),
            Piece::Zeros => content.write(at, &vec![0; piece.len()]),
            Piece::Garbage => {
                let mut garbage = vec![0; piece.len()];
                keyed::fill(&mut garbage, keyed::mix(key, u64::from(index)));
                content.write(at, &garbage);
            }
        }
        at = next;
        index += 1;
    }
}
