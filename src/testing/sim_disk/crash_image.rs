//! From the state of a disk to one of the images that a crash may leave. The [module doc](super) has the rules.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::PathBuf;

use super::choice::{Fate, ImageChoice, Piece, Tear};
use super::content::Content;
use super::image::{Image, ImageEntry, ROOT_HASH};
use super::keyed;
use super::model::{Change, DirId, Entries, FileId, FileState, Model, NodeId, ROOT, close_over_names, set};

/// Tells the choice of garbage from the choice of a fate with the same key.
const GARBAGE: u64 = 0x6761_7262_6167_6531;

/// One operation that is not durable, as far as its fate is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unit {
    pub ordinal: u64,
    /// What its random fate is drawn from.
    pub key: u64,
    /// What the share of kept operations is drawn from: one for each file.
    pub owner: u64,
    pub tears: Tears,
}

/// The ways in which an operation can be torn, numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tears {
    /// How many pieces it has; 0 if it cannot be torn.
    pieces: u32,
    /// Whether the file is longer with it than it durably is.
    grows: bool,
}

impl Tears {
    const NONE: Self = Self {
        pieces: 0,
        grows: false,
    };

    fn of(change: &Change, sector_bytes: u32, durable_len: u64) -> Self {
        match change {
            Change::Write { offset, bytes } => {
                let end = offset + bytes.len() as u64;
                let sector = u64::from(sector_bytes);
                Self {
                    pieces: (end.div_ceil(sector) - offset / sector) as u32,
                    grows: end > durable_len,
                }
            }
            Change::Truncation => Self::NONE,
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

/// The fate that `choice` has for `unit`.
fn fate<'a>(choice: &'a ImageChoice, unit: &Unit) -> Cow<'a, Fate> {
    let whole = |kept| Cow::Owned(if kept { Fate::Kept } else { Fate::Lost });
    match choice {
        ImageChoice::Synced => whole(false),
        ImageChoice::All => whole(true),
        ImageChoice::Prefix { before, torn } => match torn {
            Some(tear) if unit.ordinal == *before => Cow::Owned(Fate::Torn(tear.clone())),
            _ => whole(unit.ordinal < *before),
        },
        ImageChoice::Drop { fates, .. } => fates
            .get(&unit.ordinal)
            .map_or_else(|| whole(true), Cow::Borrowed),
        ImageChoice::Only { fates, .. } => fates
            .get(&unit.ordinal)
            .map_or_else(|| whole(false), Cow::Borrowed),
        ImageChoice::Random { seed } => Cow::Owned(random_fate(*seed, unit)),
    }
}

fn random_fate(seed: u64, unit: &Unit) -> Fate {
    const KEPT_PERCENT: [u64; 4] = [15, 50, 80, 95];
    let kept_percent = KEPT_PERCENT[(keyed::mix(seed, unit.owner) % 4) as usize];
    let drawn = keyed::mix(seed, unit.key);
    let tears = u64::from(unit.tears.len());
    if tears > 0 && (drawn >> 8).is_multiple_of(8) {
        Fate::Torn(unit.tears.get(((drawn >> 16) % tears) as u32))
    } else if (drawn >> 32) % 100 < kept_percent {
        Fate::Kept
    } else {
        Fate::Lost
    }
}

fn garbage_seed(choice: &ImageChoice) -> u64 {
    match choice {
        ImageChoice::Drop { garbage_seed, .. } | ImageChoice::Only { garbage_seed, .. } => *garbage_seed,
        ImageChoice::Random { seed } => *seed,
        ImageChoice::Synced | ImageChoice::All | ImageChoice::Prefix { .. } => 0,
    }
}

impl Model {
    /// The operations whose fate is open, in their order.
    pub(super) fn units(&self) -> Vec<Unit> {
        let mut units: Vec<Unit> = self
            .pending_entries
            .iter()
            .map(|pending| Unit {
                ordinal: pending.ordinal,
                key: pending.key,
                owner: pending.key,
                tears: Tears::NONE,
            })
            .collect();
        for id in self.reachable_files() {
            units.extend(self.file_units(self.file(id)));
        }
        units.sort_unstable();
        units
    }

    fn file_units(&self, file: &FileState) -> impl Iterator<Item = Unit> {
        let (owner, sector_bytes, durable_len) = (file.key, self.sector_bytes, file.durable.len());
        let pending = file.pending.iter().filter(|pending| !pending.lost);
        pending.map(move |pending| Unit {
            ordinal: pending.ordinal,
            key: pending.key,
            owner,
            tears: Tears::of(&pending.change, sector_bytes, durable_len),
        })
    }

    /// The files that have a name in at least one image.
    fn reachable_files(&self) -> BTreeSet<FileId> {
        let durable = self.dirs().iter().flat_map(|dir| dir.durable.values().copied());
        let slots = self.pending_entries.iter().flat_map(|pending| &pending.slots);
        durable
            .chain(slots.filter_map(|slot| slot.value))
            .filter_map(|node| match node {
                NodeId::File(file) => Some(file),
                NodeId::Dir(_) => None,
            })
            .collect()
    }

    /// Whether `kept`, which says it of some operations by ordinal, has for each operation on a name all earlier ones.
    pub(super) fn is_closed(&self, kept: impl Fn(u64) -> bool) -> bool {
        let mut closed: Vec<bool> = self.pending_entries.iter().map(|p| kept(p.ordinal)).collect();
        close_over_names(&self.pending_entries, &mut closed);
        let mut pending = self.pending_entries.iter().zip(closed);
        pending.all(|(pending, closed)| closed == kept(pending.ordinal))
    }

    /// Whether a failed sync has lost something that can still be seen.
    pub(super) fn has_lost_changes(&self) -> bool {
        let mut pending = self.files().flat_map(|(_, file)| &file.pending);
        pending.any(|pending| pending.lost)
    }

    /// The image that `choice` means.
    pub(super) fn image(&self, choice: &ImageChoice) -> Image {
        let mut image = Image::new();
        self.each_entry(choice, PathBuf::from("/"), |dir, name, entry| {
            let path = dir.join(name);
            let below = match entry {
                ImageEntry::Dir => path.clone(),
                ImageEntry::File(_) => PathBuf::new(),
            };
            image.insert(path, entry);
            below
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
        let changed = self.kept_entries(choice);
        let mut waiting = vec![(ROOT, root)];
        while let Some((dir, place)) = waiting.pop() {
            let entries = match (choice, changed.get(&dir)) {
                (ImageChoice::All, _) => &self.dir(dir).live,
                (_, Some(changed)) => changed,
                (_, None) => &self.dir(dir).durable,
            };
            for (name, node) in entries {
                match node {
                    NodeId::Dir(dir) => {
                        let below = enter(&place, name, ImageEntry::Dir);
                        waiting.push((*dir, below));
                    }
                    NodeId::File(file) => {
                        let content = self.content(self.file(*file), choice);
                        enter(&place, name, ImageEntry::File(content));
                    }
                }
            }
        }
    }

    /// The entries of the directories in which something is kept that is not durable.
    fn kept_entries(&self, choice: &ImageChoice) -> BTreeMap<DirId, Entries> {
        let mut changed = BTreeMap::new();
        if matches!(choice, ImageChoice::Synced | ImageChoice::All) {
            return changed;
        }
        let kept = |pending: &super::model::PendingEntry| {
            let unit = Unit {
                ordinal: pending.ordinal,
                key: pending.key,
                owner: pending.key,
                tears: Tears::NONE,
            };
            *fate(choice, &unit) != Fate::Lost
        };
        let mut kept: Vec<bool> = self.pending_entries.iter().map(kept).collect();
        close_over_names(&self.pending_entries, &mut kept);
        for (pending, kept) in self.pending_entries.iter().zip(kept) {
            for slot in pending.slots.iter().filter(|_| kept) {
                let durable = || self.dir(slot.dir).durable.clone();
                set(changed.entry(slot.dir).or_insert_with(durable), slot);
            }
        }
        changed
    }

    fn content(&self, file: &FileState, choice: &ImageChoice) -> Content {
        match choice {
            ImageChoice::All => return file.live.clone(),
            ImageChoice::Synced => return file.durable.clone(),
            _ if file.pending.is_empty() => return file.durable.clone(),
            _ => {}
        }
        let fates: Vec<_> = self.file_units(file).map(|unit| fate(choice, &unit)).collect();
        let is_torn = |unit: Unit, fate: &Fate| unit.tears.pieces > 0 && matches!(fate, Fate::Torn(_));
        let mut torn = self.file_units(file).zip(&fates);
        if !torn.any(|(unit, fate)| is_torn(unit, fate)) {
            if fates.iter().all(|fate| **fate == Fate::Lost) {
                return file.durable.clone();
            }
            let kept = fates.iter().filter(|fate| ***fate != Fate::Lost).count();
            if kept == file.pending.len() {
                return file.live.clone();
            }
        }
        let mut content = file.durable.clone();
        let pending = file.pending.iter().filter(|pending| !pending.lost);
        for (pending, fate) in pending.zip(&fates) {
            match (&**fate, &pending.change) {
                (Fate::Lost, _) => {}
                (Fate::Torn(tear), Change::Write { offset, bytes }) => {
                    let key = keyed::mix(garbage_seed(choice) ^ GARBAGE, pending.key);
                    write_torn(&mut content, *offset, bytes, tear, self.sector_bytes, key);
                }
                (Fate::Kept | Fate::Torn(_), change) => change.apply(&mut content),
            }
        }
        content
    }

    /// A choice of the same image that names every operation that is there.
    pub(super) fn explicit(&self, choice: &ImageChoice) -> ImageChoice {
        if *choice == ImageChoice::All && self.has_lost_changes() {
            return choice.clone();
        }
        let fates = self
            .units()
            .iter()
            .map(|unit| (unit.ordinal, fate(choice, unit).into_owned()))
            .filter(|(_, fate)| *fate != Fate::Lost)
            .collect();
        ImageChoice::Only {
            fates,
            garbage_seed: garbage_seed(choice),
        }
    }
}

/// Writes the pieces of a write that are there.
fn write_torn(content: &mut Content, offset: u64, bytes: &[u8], tear: &Tear, sector_bytes: u32, key: u64) {
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
