//! The orders in which calls may have taken effect: numbered ones by their numbers, those in flight wherever they fit.

/// More ways to place the calls in flight than this are not tried.
const PLACEMENTS_LEN_MAX: usize = 50_000;
/// Of more calls in flight than this not every subset is tried.
const OPEN_LEN_MAX: usize = 10;

/// Calls of one kind since the last opening, each by its index.
#[derive(Debug)]
pub(super) struct LegalOrders {
    /// How many calls there are before these; they begin every order.
    pub(super) settled_len: usize,
    /// No call has a number up to this one.
    pub(super) taken: u64,
    /// By place: the number and the index of each call whose number is known.
    pub(super) known: Vec<(u64, usize)>,
    /// How many of those are guaranteed: the last guaranteed one and all before it.
    pub(super) guaranteed_len: usize,
    /// The other calls that may have taken effect, each with the greatest number when it was begun.
    pub(super) open: Vec<(usize, u64)>,
    /// A change of the schema. It is the last element of every order.
    pub(super) schema_change: Option<usize>,
}

/// Open calls in order, each with the number of known ones before it.
type Placement = Vec<(usize, usize)>;

impl LegalOrders {
    /// The legal numbers of known calls, the most first.
    pub(super) fn ends(&self) -> impl Iterator<Item = usize> + use<> {
        (self.guaranteed_len..=self.known.len()).rev()
    }

    /// For each subset of the open calls, the empty one first, every order of it among the first `end` known ones, with
    /// numbers up to `last`; without `last`, up to the first known one that is absent.
    pub(super) fn by_subset(&self, end: usize, last: Option<u64>) -> impl Iterator<Item = Vec<Vec<usize>>> {
        let beyond = match (last, self.known.get(end)) {
            (Some(last), _) => last + 1,
            (None, Some(&(absent, _))) => absent,
            (None, None) => self.number_before(end) + self.open.len() as u64 + 1,
        };
        let next = move |place: usize| if place < end { self.known[place].0 } else { beyond };
        let places = move |begun: u64| -> Vec<usize> {
            let first = self.known[..end].partition_point(|&(number, _)| number <= begun);
            let fits = |&place: &usize| self.number_before(place).max(begun) + 1 < next(place);
            (first..=end).rev().filter(fits).collect()
        };
        let open = self.open.iter().map(|&(call, begun)| (call, places(begun)));
        let open = open.filter(|(_, places)| !places.is_empty());
        let open: Vec<_> = open.take(OPEN_LEN_MAX).collect();
        (0..1_usize << open.len()).map(move |subset| {
            let mut placements = vec![Placement::new()];
            let chosen = open.iter().enumerate();
            for (_, (call, places)) in chosen.filter(|(at, _)| subset >> at & 1 == 1) {
                let with_call = placements.iter().flat_map(|placement| {
                    let room = |place| (next(place) - self.number_before(place) - 1) as usize;
                    let inserted = move |&place| insertions(placement, (place, *call), room(place));
                    places.iter().flat_map(inserted)
                });
                placements = with_call.take(PLACEMENTS_LEN_MAX).collect();
            }
            placements
                .iter()
                .map(|placement| self.order(end, placement))
                .collect()
        })
    }

    fn number_before(&self, place: usize) -> u64 {
        place.checked_sub(1).map_or(self.taken, |last| self.known[last].0)
    }

    /// The settled calls, the first `end` known ones and the open ones of a placement.
    fn order(&self, end: usize, placement: &[(usize, usize)]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.settled_len).collect();
        let mut known = self.known[..end].iter().map(|&(_, call)| call);
        let mut placed_len = 0;
        for &(place, call) in placement {
            order.extend(known.by_ref().take(place - placed_len));
            placed_len = place;
            order.push(call);
        }
        order.extend(known);
        order.extend(self.schema_change);
        order
    }
}

/// The placements with one more call, before, between and after those at the same place, if it has room.
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
