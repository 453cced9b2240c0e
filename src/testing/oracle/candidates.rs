//! Which frames a recovered state may hold: everything up to some number, and what was in flight wherever it fits.

use super::{Death, FrameCall, Guarantee, Oracle, Progress};

/// Frames in flight are looked for in no more than this many free numbers each, the last ones.
const PLACES_LEN_MAX: usize = 64;
/// More ways to order frames in flight than this are not tried.
const ORDERS_LEN_MAX: usize = 50_000;
/// Of more frames in flight than this not every subset is tried.
const OPEN_LEN_MAX: usize = 10;

/// The frames since the last opening, as far as the oracle knows their place.
#[derive(Debug)]
pub(super) struct Placed {
    /// By place: the number and the index of each frame whose number is known.
    pub(super) known: Vec<(u64, usize)>,
    /// How many of those are guaranteed: the last guaranteed one and all before it.
    pub(super) guaranteed_len: usize,
    /// The indices of the frames in flight, whose number is not known.
    pub(super) open: Vec<usize>,
    /// Whether the numbers are those of receipts; else they count the frames in the order of the calls.
    pub(super) numbered: bool,
}

/// One subset of the frames in flight and the places each of them can have.
pub(super) struct Placing<'a> {
    placed: &'a Placed,
    end: usize,
    subset: Vec<(usize, Vec<u64>)>,
}

impl Oracle {
    /// Where each frame is, and what is guaranteed at this death.
    pub(super) fn placed(&self, death: Death) -> Placed {
        let acknowledged = |frame: &FrameCall| matches!(frame.progress, Progress::Acknowledged(_));
        let numbered = !self
            .frames
            .iter()
            .any(|frame| acknowledged(frame) && frame.sequence.is_none());
        let mut known = Vec::with_capacity(self.frames.len());
        let mut open = Vec::new();
        let mut guaranteed = if numbered { self.durable_sequence } else { 0 };
        for (index, frame) in self.frames.iter().enumerate() {
            let number = if numbered {
                frame.sequence
            } else {
                acknowledged(frame).then_some(index as u64 + 1)
            };
            match (frame.progress, number) {
                (Progress::Refused, _) => {}
                (_, None) => open.push(index),
                (progress, Some(number)) => {
                    known.push((number, index));
                    if self.is_guaranteed(death, progress) {
                        guaranteed = guaranteed.max(number);
                    }
                }
            }
        }
        if !known.is_sorted() {
            known.sort_unstable();
        }
        Placed {
            guaranteed_len: known.partition_point(|&(number, _)| number <= guaranteed),
            known,
            open,
            numbered,
        }
    }

    fn is_guaranteed(&self, death: Death, progress: Progress) -> bool {
        let Progress::Acknowledged(acknowledgement) = progress else {
            return false;
        };
        death == Death::ProcessCrash
            || self.guarantee == Guarantee::Acknowledged
            || acknowledgement <= self.durable_acknowledgement
    }

    /// The subsets of the frames in flight that may be among the first `end` known ones, the empty one first, up to
    /// the number `last`, if it is known.
    pub(super) fn placings<'a>(
        &'a self,
        placed: &'a Placed,
        end: usize,
        last: Option<u64>,
    ) -> Vec<Placing<'a>> {
        let with_places: Vec<(usize, Vec<u64>)> = placed
            .open
            .iter()
            .map(|&index| (index, self.places(placed, index, end, last)))
            .filter(|(_, places)| !places.is_empty())
            .take(OPEN_LEN_MAX)
            .collect();
        let subset = |bits: usize| {
            let chosen = with_places
                .iter()
                .enumerate()
                .filter(|(at, _)| bits >> at & 1 == 1);
            Placing {
                placed,
                end,
                subset: chosen.map(|(_, place)| place.clone()).collect(),
            }
        };
        (0..1_usize << with_places.len()).map(subset).collect()
    }

    /// The free numbers that a frame in flight can have.
    fn places(&self, placed: &Placed, index: usize, end: usize, last: Option<u64>) -> Vec<u64> {
        let begun_after = if placed.numbered {
            self.frames[index].begun_after
        } else {
            index as u64
        };
        let is_free = |number: &u64| {
            placed
                .known
                .binary_search_by_key(number, |&(known, _)| known)
                .is_err()
        };
        let last_known = end.checked_sub(1).map_or(0, |last| placed.known[last].0);
        let last = match last {
            Some(last) => last,
            // As many after the last one as there are frames in flight, but none beyond one that is not there.
            None => match placed.known.get(end) {
                Some(&(absent, _)) => absent,
                None => last_known.max(begun_after) + placed.open.len() as u64,
            },
        };
        let numbers = (begun_after + 1..=last).rev();
        numbers.filter(is_free).take(PLACES_LEN_MAX).collect()
    }
}

impl Placing<'_> {
    /// Every legal order of the frames, by their indices.
    pub(super) fn orders(&self) -> Vec<Vec<usize>> {
        let mut chosen = Vec::new();
        let mut orders = Vec::new();
        self.place_next(&mut chosen, &mut orders);
        orders
    }

    fn known(&self) -> impl Iterator<Item = (u64, usize)> {
        self.placed.known[..self.end].iter().copied()
    }

    fn place_next(&self, chosen: &mut Vec<(u64, usize)>, orders: &mut Vec<Vec<usize>>) {
        if orders.len() >= ORDERS_LEN_MAX {
            return;
        }
        let Some((index, places)) = self.subset.get(chosen.len()) else {
            let mut order: Vec<(u64, usize)> = self.known().chain(chosen.iter().copied()).collect();
            order.sort_unstable();
            orders.push(order.into_iter().map(|(_, index)| index).collect());
            return;
        };
        for &place in places {
            if chosen.iter().all(|&(taken, _)| taken != place) {
                chosen.push((place, *index));
                self.place_next(chosen, orders);
                chosen.pop();
            }
        }
    }
}
