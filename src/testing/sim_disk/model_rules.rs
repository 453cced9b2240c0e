//! The rules of the [models](DiskModel): they decide from the fates of the undurable operations which models allow an
//! image.
//!
//! Invariant: the weakest model allows every image.

use super::choice::{Fate, ImageChoice, Piece};
use super::crash_image::pieces;
use super::model::{DiskModel, DiskOrder, WriteTears};
use super::state::{ContentChange, DiskState, FileState, NodeId, PendingChange};

impl DiskState {
    /// The models that allow the images of all power losses so far, and the image of `choice` for a power loss now.
    pub(super) fn models(&self, choice: &ImageChoice) -> Vec<DiskModel> {
        let models = self.models.iter().copied();
        models.filter(|model| self.allows(*model, choice)).collect()
    }

    /// Returns true if `model` allows the image of `choice` for a power loss in this state.
    pub(super) fn allows(&self, model: DiskModel, choice: &ImageChoice) -> bool {
        let names = self.kept_name_operations(choice);
        let names = || self.pending_names.iter().zip(&names);
        if model.order != DiskOrder::Nothing && !names().is_sorted_by_key(|(_, kept)| !*kept) {
            return false;
        }
        let is_synced = |ordinal| model.syncs_names && self.last_sync.is_some_and(|sync| ordinal < sync);
        if names().any(|(pending, kept)| !kept && is_synced(pending.ordinal)) {
            return false;
        }
        let mut fates: Vec<(u64, Fate)> = Vec::new();
        fates.extend(names().map(|(pending, kept)| {
            let fate = if *kept { Fate::Kept } else { Fate::Lost };
            (pending.ordinal, fate)
        }));
        for file in self.reachable_files() {
            let file = &self.files[file];
            for (pending, fate) in self.undurable_fates(file, choice) {
                if required_tears(file, &pending.change, &fate, self.sector_bytes) > model.tears {
                    return false;
                }
                fates.push((pending.ordinal, fate));
            }
        }
        if model.order == DiskOrder::Everything {
            fates.sort_unstable();
            let mut rest = fates.iter().skip_while(|(_, fate)| *fate == Fate::Kept);
            rest.next();
            if rest.any(|(_, fate)| *fate != Fate::Lost) {
                return false;
            }
        }
        !model.replaces_with_content
            || names().all(|(pending, kept)| {
                let lacks_content = |file: usize| {
                    let mut fates = self.undurable_fates(&self.files[file], choice);
                    fates.any(|(change, fate)| change.ordinal < pending.ordinal && fate != Fate::Kept)
                };
                let mut files = pending.changes.iter().filter_map(|change| match change.value {
                    Some(NodeId::File(file)) => Some(file),
                    _ => None,
                });
                !kept || !pending.replaces_file || !files.any(lacks_content)
            })
    }

    /// The undurable changes of a file's content, each with its fate in the image of `choice`.
    fn undurable_fates<'a>(
        &'a self,
        file: &'a FileState,
        choice: &'a ImageChoice,
    ) -> impl Iterator<Item = (&'a PendingChange, Fate)> {
        file.undurable()
            .zip(self.undurable_changes(file))
            .map(|(pending, operation)| (pending, operation.fate(choice)))
    }
}

/// The kind of tear that a model must allow for this fate of the change.
fn required_tears(file: &FileState, change: &ContentChange, fate: &Fate, sector_bytes: u32) -> WriteTears {
    let (Fate::Torn(tear), ContentChange::Write { offset, bytes }) = (fate, change) else {
        return WriteTears::None;
    };
    let of_piece = |(index, (at, _)): (u32, (u64, &[u8]))| match tear.piece(index) {
        Piece::Old | Piece::New => WriteTears::Sectors,
        Piece::Zeros | Piece::Stale if at >= file.durable_len() => WriteTears::Lengths,
        Piece::Zeros | Piece::Stale | Piece::Garbage => WriteTears::Any,
    };
    let pieces = (0..).zip(pieces(*offset, bytes, sector_bytes));
    pieces.map(of_piece).max().unwrap_or(WriteTears::None)
}
