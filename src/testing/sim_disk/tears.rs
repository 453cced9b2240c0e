//! The numbered list of the tears that a crash can leave of one write.
//!
//! A tear has three parts: a beginning, a run of equal pieces, and an end. The tears of a write are: the write without
//! its end, its beginning or its middle; only its middle; and garbage in one or more sectors. If the write makes the
//! file longer, the length can also be durable without the content. Then the missing content is zeros or stale bytes of
//! free blocks. All tears of a short write are tried: each run at each position and with each length.
//!
//! Invariant: the list has no tear twice, and only tears that the rules of the [module](super) allow.

use super::choice::{Piece, Tear};
use super::state::ContentChange;

/// The maximum number of tears of one write that are all tried.
const ALL_TRIED_MAX: u32 = 12;

/// The tears of one write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tears {
    /// The number of pieces of the write. 0 if the operation cannot be torn.
    pieces: u32,
    /// True if the write makes the file longer than its durable length.
    grows: bool,
    /// True if free blocks contain bytes of removed or truncated files.
    has_stale_blocks: bool,
}

/// Tears that differ only in the position and length of the run.
#[derive(Debug, Clone, Copy)]
struct TearFamily {
    before: Piece,
    run: Piece,
    after: Piece,
    /// The positions at which the run can begin and end.
    begins: RunPlace,
    ends: RunPlace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunPlace {
    /// Only at the beginning or end of the write.
    Edge,
    /// Not at the beginning or end of the write.
    Inside,
    Anywhere,
}

const fn family(before: Piece, run: Piece, after: Piece, begins: RunPlace, ends: RunPlace) -> TearFamily {
    TearFamily {
        before,
        run,
        after,
        begins,
        ends,
    }
}

/// Every family, without repetition.
const FAMILIES: [TearFamily; 8] = {
    use Piece::{Garbage, New, Old, Stale, Zeros};
    use RunPlace::{Anywhere, Edge, Inside};
    [
        family(New, Old, New, Inside, Edge),
        family(New, Old, New, Edge, Inside),
        family(New, Old, New, Inside, Inside),
        family(Old, New, Old, Inside, Inside),
        family(New, Garbage, Old, Anywhere, Anywhere),
        family(New, Garbage, New, Anywhere, Inside),
        family(New, Zeros, New, Anywhere, Edge),
        family(New, Stale, New, Anywhere, Anywhere),
    ]
};

impl TearFamily {
    /// The runs of the family in a write of `pieces` pieces, each with its first piece and its length.
    fn runs(self, pieces: u32) -> impl Iterator<Item = (u32, u32)> {
        let is_place = move |place: RunPlace, at_edge: bool| match place {
            RunPlace::Edge => at_edge,
            RunPlace::Inside => !at_edge,
            RunPlace::Anywhere => true,
        };
        let begins = (0..pieces).filter(move |begin| is_place(self.begins, *begin == 0));
        begins.flat_map(move |begin| {
            let ends = (begin + 1..=pieces).filter(move |end| is_place(self.ends, *end == pieces));
            ends.map(move |end| (begin, end - begin))
        })
    }

    /// The number of runs of the family.
    fn len(self, pieces: u32) -> u32 {
        let inner = pieces.saturating_sub(1);
        let half = |a: u32, b: u32| a.saturating_mul(b) / 2;
        match (self.begins, self.ends) {
            (RunPlace::Edge, RunPlace::Edge) => 1,
            (RunPlace::Edge, RunPlace::Inside) | (RunPlace::Inside, RunPlace::Edge) => inner,
            (RunPlace::Edge, RunPlace::Anywhere) | (RunPlace::Anywhere, RunPlace::Edge) => pieces,
            (RunPlace::Inside, RunPlace::Inside) => half(inner, inner.saturating_sub(1)),
            (RunPlace::Inside, RunPlace::Anywhere) | (RunPlace::Anywhere, RunPlace::Inside) => {
                half(inner, pieces)
            }
            (RunPlace::Anywhere, RunPlace::Anywhere) => half(pieces, pieces.saturating_add(1)),
        }
    }

    /// The most different runs of the family: one sector in the middle, all sectors, the first sector and the last
    /// sector.
    fn representative(self, pieces: u32) -> Vec<(u32, u32)> {
        let middle = pieces / 2;
        let mut runs = Vec::new();
        for (begin, end) in [(middle, middle + 1), (0, pieces), (0, 1), (pieces - 1, pieces)] {
            let begin = match self.begins {
                RunPlace::Edge => 0,
                RunPlace::Inside => begin.max(1),
                RunPlace::Anywhere => begin,
            };
            let end = match self.ends {
                RunPlace::Edge => pieces,
                RunPlace::Inside => end.min(pieces - 1),
                RunPlace::Anywhere => end,
            };
            if begin < end && !runs.contains(&(begin, end - begin)) {
                runs.push((begin, end - begin));
            }
        }
        runs
    }

    fn tear(self, pieces: u32, (begin, len): (u32, u32)) -> Tear {
        // Pieces after the listed runs are old.
        let rest = if self.after == Piece::Old {
            0
        } else {
            pieces - begin - len
        };
        let len = if self.run == Piece::Old && rest == 0 {
            0
        } else {
            len
        };
        Tear::new([(begin, self.before), (len, self.run), (rest, self.after)])
    }
}

impl Tears {
    pub(super) fn of(
        change: &ContentChange,
        sector_bytes: u32,
        durable_len: u64,
        has_stale_blocks: bool,
    ) -> Self {
        let ContentChange::Write { offset, bytes } = change else {
            return Self::default();
        };
        let end = offset + bytes.len() as u64;
        let sector = u64::from(sector_bytes);
        Self {
            pieces: (end.div_ceil(sector) - offset / sector) as u32,
            grows: end > durable_len,
            has_stale_blocks,
        }
    }

    fn families(self) -> impl Iterator<Item = TearFamily> {
        FAMILIES.into_iter().filter(move |family| match family.run {
            Piece::Zeros => self.grows,
            Piece::Stale => self.grows && self.has_stale_blocks,
            _ => self.pieces > 0,
        })
    }

    pub(super) fn len(self) -> u32 {
        let lens = self.families().map(|family| family.len(self.pieces));
        lens.fold(0, u32::saturating_add)
    }

    /// The tear with the number `index`, which must be less than `len`.
    pub(super) fn get(self, mut index: u32) -> Tear {
        for family in self.families() {
            let len = family.len(self.pieces);
            if index < len {
                let run = family.runs(self.pieces).nth(index as usize);
                return family.tear(self.pieces, run.unwrap_or_default());
            }
            index -= len;
        }
        unreachable!("the number is less than the number of tears")
    }

    /// Every tear.
    pub(super) fn all(self) -> impl Iterator<Item = Tear> {
        let runs = move |family: TearFamily| family.runs(self.pieces).map(move |run| (family, run));
        let all = self.families().flat_map(runs);
        all.map(move |(family, run)| family.tear(self.pieces, run))
    }

    /// The tears to try if the number of images is bounded: all tears of a short write, or else the representative
    /// tears of each family.
    pub(super) fn representative(self) -> Vec<Tear> {
        if self.len() <= ALL_TRIED_MAX {
            return self.all().collect();
        }
        let runs = |family: TearFamily| {
            family
                .representative(self.pieces)
                .into_iter()
                .map(move |run| (family, run))
        };
        let tears = self.families().flat_map(runs);
        tears.map(|(family, run)| family.tear(self.pieces, run)).collect()
    }
}
