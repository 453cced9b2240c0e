//! The calls of each writer by their numbers, the sums of calls, and the options of the database.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use tidaldb::{
    Background, CoEngagementConfig, CohortId, EntityId, Error, Options, Ring, Schema, Signal, SignalEvent,
    SignalId, SignalStateExport, TidalDb, UserId,
};

/// The time of all events. A half-life begins at it, so scores are exact sums.
pub(super) const AT_MS: i64 = 1_700_006_400_000;
const HALF_LIFE_MS: u64 = 86_400_000;
const RING_LEN_MAX: u32 = 3;
pub(super) const COLLECTION: &str = "every sixteenth";
const ENTITIES: u64 = 97;
const USERS: u64 = 5;
const COHORTS: u64 = 3;
const VIEW: SignalId = SignalId(0);
const LIKE: SignalId = SignalId(1);

/// Options with small segments and frequent checkpoints, so that some kills hit a rotation, a checkpoint or a trim.
pub(super) fn options() -> Options {
    let ring = Ring {
        bucket_ms: 3_600_000,
        buckets: 2,
    };
    let view = Signal::new("view").half_life_ms(HALF_LIFE_MS).rings([ring]);
    let like = Signal::new("like").half_life_ms(HALF_LIFE_MS).positive();
    let schema = Schema::new().signal(view).signal(like);
    let schema = schema.co_engagement(CoEngagementConfig {
        ring_len_max: RING_LEN_MAX,
        degree_max: 4,
        ..CoEngagementConfig::default()
    });
    Options::new(schema)
        .background(Background::OwnThreads)
        .segment_bytes_max(32 << 10)
        .preallocate_bytes(8 << 10)
        .store_segment_bytes_max(64 << 10)
        .checkpoint_log_bytes(128 << 10)
}

const _: () = assert!(AT_MS % HALF_LIFE_MS as i64 == 0);

/// Call number `number` of the writer `writer`. No two writers share an entity, user, cohort or member.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoadCall {
    pub(super) writer: u64,
    pub(super) number: u64,
}

impl LoadCall {
    fn events_len(self) -> u64 {
        1 + self.number % 3
    }

    fn entity(self, index: u64) -> EntityId {
        EntityId(self.writer * 1000 + (self.number * 7 + index) % ENTITIES)
    }

    fn signal(self) -> SignalId {
        if self.number.is_multiple_of(4) { LIKE } else { VIEW }
    }

    /// The weight is exact in binary and different in each of a thousand calls, so that a sum shows which events it
    /// contains.
    fn weight(self, index: u64) -> f64 {
        1.0 + (self.number % 1024) as f64 / 1024.0 + index as f64 / 4096.0
    }

    fn user(self) -> UserId {
        UserId(self.writer * 100 + self.number % USERS)
    }

    fn cohort(self) -> CohortId {
        CohortId(self.writer * 10 + self.number % COHORTS)
    }

    /// The member that the call adds to the collection before it records events. Every sixteenth call has one.
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

/// The sums of the calls of one writer, in plain maps.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Sums {
    /// By entity and signal: the number of events, and the sum of their weights.
    pub(super) states: BTreeMap<(EntityId, SignalId), (u64, f64)>,
    /// The same by cohort.
    pub(super) cohorts: BTreeMap<(CohortId, EntityId, SignalId), (u64, f64)>,
    /// By user: the recent positive items, oldest first.
    pub(super) rings: BTreeMap<UserId, Vec<EntityId>>,
    pub(super) members: BTreeSet<EntityId>,
    pub(super) events: u64,
}

impl Sums {
    /// Adds the effects of one call.
    pub(super) fn add(&mut self, call: LoadCall) {
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

    /// The sums in a database, for each writer.
    pub(super) fn of(db: &TidalDb) -> Result<[Self; super::WRITERS], Error> {
        let mut all: [Self; super::WRITERS] = Default::default();
        let export = db.export()?;
        let count_and_score = |state: &SignalStateExport| {
            let buckets = state.windows[0].buckets.iter();
            let count: u64 = buckets.map(|(_, count)| u64::from(*count)).sum();
            (count, state.scores[0])
        };
        for state in &export.signals {
            let sums = &mut all[(state.entity.0 / 1000) as usize];
            sums.events += count_and_score(state).0;
            sums.states
                .insert((state.entity, state.signal), count_and_score(state));
        }
        for cohort in &export.cohorts {
            let key = (cohort.cohort, cohort.state.entity, cohort.state.signal);
            let sums = &mut all[(cohort.cohort.0 / 10) as usize];
            sums.cohorts.insert(key, count_and_score(&cohort.state));
        }
        for ring in export.user_rings {
            all[(ring.user.0 / 100) as usize]
                .rings
                .insert(ring.user, ring.items);
        }
        for member in export
            .collections
            .into_iter()
            .flat_map(|collection| collection.members)
        {
            all[(member.0 >> 40) as usize].members.insert(member);
        }
        Ok(all)
    }

    /// The message for a difference: the first state, cohort state and ring that differ, some members, and the numbers
    /// of events.
    pub(super) fn difference(&self, found: &Self) -> String {
        fn first<K: Ord + Debug, V: PartialEq + Debug>(
            name: &str,
            expected: &BTreeMap<K, V>,
            found: &BTreeMap<K, V>,
        ) -> Option<String> {
            let keys = expected.keys().chain(found.keys());
            let key = keys.into_iter().find(|key| expected.get(key) != found.get(key))?;
            let text = |value: Option<&V>| value.map_or("missing".to_owned(), |value| format!("{value:?}"));
            let (expected, found) = (text(expected.get(key)), text(found.get(key)));
            Some(format!("{name} {key:?} is {found} instead of {expected}"))
        }
        let members: Vec<_> = self
            .members
            .symmetric_difference(&found.members)
            .take(5)
            .collect();
        let parts = [
            first("state", &self.states, &found.states),
            first("cohort", &self.cohorts, &found.cohorts),
            first("ring", &self.rings, &found.rings),
            (!members.is_empty()).then(|| format!("members differ: {members:?}")),
            Some(format!("{} events instead of {}", found.events, self.events)),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}
