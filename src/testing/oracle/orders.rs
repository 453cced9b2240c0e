//! The orders in which frames may have taken effect. Frames with a sequence number are sorted by it. Frames without one
//! are in flight or failed with an unknown outcome, and are tried at every possible place. The module computes on
//! indices only.

/// The largest number of placements of unnumbered calls that are tried.
const PLACEMENTS_LEN_MAX: usize = 50_000;
/// The largest number of unnumbered calls of which every subset is tried. Further ones are left out.
const UNNUMBERED_LEN_MAX: usize = 10;

/// The frames since the last reopening, each by the index of its call.
#[derive(Debug)]
pub(super) struct LegalOrders {
    /// The number of recovered calls. They are at the beginning of every order.
    pub(super) recovered_len: usize,
    /// The last recovered sequence number. Every call has a greater number.
    pub(super) recovered_sequence: u64,
    /// The number and the index of each call with a number, sorted by number.
    pub(super) numbered: Vec<(u64, usize)>,
    /// The number of guaranteed calls at the beginning of `numbered`: the last guaranteed call and all calls before it.
    pub(super) guaranteed_len: usize,
    /// The other calls that may have taken effect, each with the greatest number at its start.
    pub(super) unnumbered: Vec<(usize, u64)>,
    /// A change of the schema. It is the last element of every order.
    pub(super) schema_change: Option<usize>,
}

/// Unnumbered calls in order. Each has the count of numbered calls before it, its place.
type Placement = Vec<(usize, usize)>;

impl LegalOrders {
    /// The legal counts of numbered calls in a state, in descending order.
    pub(super) fn numbered_lens(&self) -> impl Iterator<Item = usize> + use<> {
        (self.guaranteed_len..=self.numbered.len()).rev()
    }

    /// For each subset of the unnumbered calls, the empty subset first, every order of its calls among the first `len`
    /// numbered ones. The last possible number of an unnumbered call is `last`, or without `last` the number before the
    /// first absent numbered call.
    pub(super) fn by_subset(&self, len: usize, last: Option<u64>) -> impl Iterator<Item = Vec<Vec<usize>>> {
        let number_after_all = match (last, self.numbered.get(len)) {
            (Some(last), _) => last + 1,
            (None, Some(&(absent, _))) => absent,
            (None, None) => self.number_before(len) + self.unnumbered.len() as u64 + 1,
        };
        let number_after = move |place: usize| {
            if place < len {
                self.numbered[place].0
            } else {
                number_after_all
            }
        };
        let places = move |begun: u64| -> Vec<usize> {
            let first = self.numbered[..len].partition_point(|&(number, _)| number <= begun);
            let fits = |&place: &usize| self.number_before(place).max(begun) + 1 < number_after(place);
            (first..=len).rev().filter(fits).collect()
        };
        let unnumbered = self.unnumbered.iter().map(|&(call, begun)| (call, places(begun)));
        let unnumbered = unnumbered.filter(|(_, places)| !places.is_empty());
        let unnumbered: Vec<_> = unnumbered.take(UNNUMBERED_LEN_MAX).collect();
        (0..1_usize << unnumbered.len()).map(move |subset| {
            let mut placements = vec![Placement::new()];
            let chosen = unnumbered.iter().enumerate();
            for (_, (call, places)) in chosen.filter(|(at, _)| subset >> at & 1 == 1) {
                let with_call = placements.iter().flat_map(|placement| {
                    let room = |place| (number_after(place) - self.number_before(place) - 1) as usize;
                    let inserted = move |&place| insertions(placement, (place, *call), room(place));
                    places.iter().flat_map(inserted)
                });
                placements = with_call.take(PLACEMENTS_LEN_MAX).collect();
            }
            placements
                .iter()
                .map(|placement| self.order(len, placement))
                .collect()
        })
    }

    fn number_before(&self, place: usize) -> u64 {
        let before = place.checked_sub(1);
        before.map_or(self.recovered_sequence, |last| self.numbered[last].0)
    }

    /// The recovered calls, the first `len` numbered calls and the unnumbered calls of a placement.
    fn order(&self, len: usize, placement: &[(usize, usize)]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.recovered_len).collect();
        let mut numbered = self.numbered[..len].iter().map(|&(_, call)| call);
        let mut placed_len = 0;
        for &(place, call) in placement {
            order.extend(numbered.by_ref().take(place - placed_len));
            placed_len = place;
            order.push(call);
        }
        order.extend(numbered);
        order.extend(self.schema_change);
        order
    }
}

/// The placements with one more call. The call is inserted before, between and after the calls at the same place, if
/// the place has room.
fn insertions(placement: &Placement, call: (usize, usize), room: usize) -> impl Iterator<Item = Placement> {
    let from = placement.partition_point(|&(place, _)| place < call.0);
    let to = placement.partition_point(|&(place, _)| place <= call.0);
    let positions = if to - from < room { from..to + 1 } else { 0..0 };
    positions.rev().map(move |at| {
        let mut placement = placement.clone();
        placement.insert(at, call);
        placement
    })
}
