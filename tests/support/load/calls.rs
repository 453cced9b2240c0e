//! What each call of a writer is, by its number; and what all calls before a number add up to.

use std::collections::{BTreeMap, BTreeSet};

use tidaldb::{CohortId, EntityId, Error, SignalEvent, SignalId, TidalDb, UserId};

/// All events are of this time, at which a half-life begins: scores are exact sums.
pub(super) const AT_MS: i64 = 1_700_006_400_000;
pub(super) const HALF_LIFE_MS: u64 = 86_400_000;
pub(super) const RING_LEN_MAX: u32 = 3;
pub(super) const COLLECTION: &str = "every sixteenth";
const ENTITIES: u64 = 97;
const USERS: u64 = 5;
const COHORTS: u64 = 3;
const VIEW: SignalId = SignalId(0);
const LIKE: SignalId = SignalId(1);

const _: () = assert!(AT_MS % HALF_LIFE_MS as i64 == 0);

/// Call number `number` of the writer `writer`. No two writers have anything in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    writer: u64,
    number: u64,
}

impl Call {
    pub(super) fn new(writer: usize, number: u64) -> Self {
        Self {
            writer: writer as u64,
            number,
        }
    }

    fn events_len(self) -> u64 {
        1 + self.number % 3
    }

    fn entity(self, index: u64) -> EntityId {
        EntityId(self.writer * 1000 + (self.number * 7 + index) % ENTITIES)
    }

    fn signal(self) -> SignalId {
        if self.number.is_multiple_of(4) { LIKE } else { VIEW }
    }

    /// Exact in binary, and another one for each of a thousand calls, so that a sum tells which events it holds.
    fn weight(self, index: u64) -> f64 {
        1.0 + (self.number % 1024) as f64 / 1024.0 + index as f64 / 4096.0
    }

    fn user(self) -> UserId {
        UserId(self.writer * 100 + self.number % USERS)
    }

    fn cohort(self) -> CohortId {
        CohortId(self.writer * 10 + self.number % COHORTS)
    }

    /// What the call adds to the collection before it records.
    fn member(self) -> Option<EntityId> {
        let is_one = self.number.is_multiple_of(16);
        is_one.then_some(EntityId(self.writer << 40 | self.number))
    }

    /// Makes the call: first the change of the collection, if it has one, then one frame.
    pub(super) fn make(self, db: &TidalDb) -> Result<(), Error> {
        if let Some(member) = self.member() {
            db.add_to_collection(COLLECTION, member)?;
        }
        let cohorts = [self.cohort()];
        let event = |index| {
            SignalEvent::new(self.signal(), self.entity(index), AT_MS)
                .with_weight(self.weight(index))
                .with_user(self.user())
                .with_cohorts(&cohorts)
        };
        let events: Vec<_> = (0..self.events_len()).map(event).collect();
        db.record_batch(&events).map(|_| ())
    }
}

/// What a database holds of one writer's calls, in plain maps.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Sums {
    /// By entity and signal: how many events, and the sum of their weights.
    pub(super) states: BTreeMap<(EntityId, SignalId), (u64, f64)>,
    /// The same by cohort.
    pub(super) cohorts: BTreeMap<(CohortId, EntityId, SignalId), (u64, f64)>,
    /// By user: the recent positive items, oldest first.
    pub(super) rings: BTreeMap<UserId, Vec<EntityId>>,
    pub(super) members: BTreeSet<EntityId>,
    pub(super) events: u64,
}

impl Sums {
    pub(super) fn add(&mut self, call: Call) {
        self.members.extend(call.member());
        for index in 0..call.events_len() {
            let (entity, weight) = (call.entity(index), call.weight(index));
            let key = (entity, call.signal());
            let state = self.states.entry(key).or_default();
            *state = (state.0 + 1, state.1 + weight);
            let state = self.cohorts.entry((call.cohort(), key.0, key.1)).or_default();
            *state = (state.0 + 1, state.1 + weight);
            if call.signal() == LIKE {
                let ring = self.rings.entry(call.user()).or_default();
                ring.retain(|item| *item != entity);
                ring.push(entity);
                if ring.len() > RING_LEN_MAX as usize {
                    ring.remove(0);
                }
            }
            self.events += 1;
        }
    }

    /// What a database holds, for each writer.
    pub(super) fn of(db: &TidalDb) -> Result<[Self; super::WRITERS], Error> {
        let mut all: [Self; super::WRITERS] = Default::default();
        let export = db.export()?;
        let held = |state: &tidaldb::SignalStateExport| {
            let count = state.windows[0]
                .buckets
                .iter()
                .map(|(_, count)| u64::from(*count));
            (count.sum(), state.scores[0])
        };
        for state in &export.signals {
            let sums = &mut all[(state.entity.0 / 1000) as usize];
            let (events, score) = held(state);
            sums.events += events;
            sums.states.insert((state.entity, state.signal), (events, score));
        }
        for cohort in &export.cohorts {
            let state = &cohort.state;
            let key = (cohort.cohort, state.entity, state.signal);
            all[(cohort.cohort.0 / 10) as usize]
                .cohorts
                .insert(key, held(state));
        }
        for ring in export.user_rings {
            all[(ring.user.0 / 100) as usize]
                .rings
                .insert(ring.user, ring.items);
        }
        for collection in export.collections {
            for member in collection.members {
                all[(member.0 >> 40) as usize].members.insert(member);
            }
        }
        Ok(all)
    }
}
