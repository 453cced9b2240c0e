//! From the state of a disk to one of the images that a crash may leave. The [module doc](super) has the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::PathBuf;

use super::choice::{Fate, ImageChoice, Piece, Tear};
use super::image::{FileContent, Image, ImageEntry, ROOT_HASH};
use super::keyed;
use super::state::{
    ContentChange, DiskState, FileState, Names, NodeId, PendingNames, PendingReason, close_over_names,
};
use super::tears::Tears;

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

    /// An operation that `choice` names although its fate is not open.
    pub(super) fn settled_operation(&self, choice: &ImageChoice) -> Option<u64> {
        let open = self.open_operations();
        let is_open = |ordinal: &u64| open.iter().any(|operation| operation.ordinal == *ordinal);
        choice.named().into_iter().find(|ordinal| !is_open(ordinal))
    }

    pub(super) fn changes_of(&self, file: &FileState) -> impl Iterator<Item = OpenOperation> {
        let (owner, sector_bytes, durable_len) = (file.key, self.sector_bytes, file.durable_len());
        let has_stale_blocks = self.has_stale_blocks();
        let pending = file
            .pending
            .iter()
            .filter(|pending| pending.hold != PendingReason::Durable);
        pending.map(move |pending| OpenOperation {
            ordinal: pending.ordinal,
            key: pending.key,
            owner,
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

    /// Whether `kept`, which says it of some operations by ordinal, has for each operation on a name all earlier ones.
    pub(super) fn is_closed(&self, kept: impl Fn(u64) -> bool) -> bool {
        let kept: Vec<bool> = self.pending_names.iter().map(|it| kept(it.ordinal)).collect();
        let mut closed = kept.clone();
        close_over_names(&self.pending_names, &mut closed);
        closed == kept
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
        let mut waiting = Vec::with_capacity(self.dirs.len());
        waiting.push((0, root));
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

    /// For each pending operation on names: true if the image has it.
    pub(super) fn names_kept(&self, choice: &ImageChoice) -> Vec<bool> {
        let fates = self.pending_names.iter().map(OpenOperation::of_names);
        let mut kept: Vec<bool> = fates.map(|it| it.fate(choice) != Fate::Lost).collect();
        close_over_names(&self.pending_names, &mut kept);
        kept
    }

    /// The names of each directory in which the image keeps an undurable operation, by the directory's number.
    pub(super) fn kept_names(&self, choice: &ImageChoice) -> BTreeMap<usize, Names> {
        let kept = self.names_kept(choice);
        let mut changed = BTreeMap::new();
        for (pending, _) in self.pending_names.iter().zip(kept).filter(|(_, kept)| *kept) {
            for change in &pending.changes {
                let durable = || self.dirs[change.dir].durable.clone();
                change.apply(changed.entry(change.dir).or_insert_with(durable));
            }
        }
        changed
    }

    pub(super) fn content(&self, file: &FileState, choice: &ImageChoice) -> FileContent {
        if *choice == ImageChoice::All {
            return file.live.clone();
        }
        let mut fates = self.changes_of(file).map(|it| it.fate(choice));
        let fates: Vec<_> = file
            .pending
            .iter()
            .map_while(|pending| match pending.hold {
                PendingReason::Durable => Some(Fate::Kept),
                PendingReason::Unsynced | PendingReason::Doubtful => fates.next(),
            })
            .collect();
        if fates.iter().all(|fate| *fate == Fate::Kept) {
            return file.live.clone();
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

    /// Writes the pieces of a torn write into `content`, each as `tear` says.
    fn write_torn(&self, content: &mut FileContent, offset: u64, bytes: &[u8], tear: &Tear, key: u64) {
        for (index, (at, piece)) in (0..).zip(pieces(offset, bytes, self.sector_bytes)) {
            match tear.piece(index) {
                Piece::Old => {}
                Piece::New => content.write(at, piece),
                Piece::Zeros => content.write(at, &vec![0; piece.len()]),
                Piece::Stale => {
                    let mut stale = vec![0; piece.len()];
                    self.fill_stale(&mut stale, at);
                    content.write(at, &stale);
                }
                Piece::Garbage => {
                    let mut garbage = vec![0; piece.len()];
                    keyed::fill(&mut garbage, keyed::mix(key, u64::from(index)));
                    content.write(at, &garbage);
                }
            }
        }
    }
}

/// The pieces of a write, each with its offset in the file. A piece is the part in one sector.
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
