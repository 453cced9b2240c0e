//! The large workload: few operations, with calls of many events on as many entities.

use super::clock::{HOUR_MS, STANDARD_NOW_MS};
use super::standard::{standard_schema, tiny_options};
use super::{Event, Operation, Random, Workload};
use crate::limits::{BATCH_EVENTS_MAX, Limits};
use crate::states::shard_of;
use crate::{CoEngagementConfig, CohortId, EntityId, Options, Schema, SignalId, UserId};

const COHORTS: u64 = 8;
const USERS: u64 = 150;
/// The entities of the longest call.
const FEW_ENTITIES: u64 = 50;
/// The number of events of the longest call, as a multiple of the number of events of most calls.
const LONGEST_CALL_FACTOR: usize = 8;
/// The signal of most events. It has short rings and is positive.
const LIKE: SignalId = SignalId(1);

/// The standard schema, with bounds of co-engagement above the number of shards of a fence.
pub fn large_schema() -> Schema {
    standard_schema().co_engagement(CoEngagementConfig {
        ring_len_max: 3,
        degree_max: 4,
        half_life_ms: 10_000,
        users_max: 100,
        nodes_max: 80,
    })
}

/// Options under which a large workload with some thousand events in each call crosses rotations, checkpoints and
/// compactions. The limits inside the engine have their production values, and the sizes among the options are smaller
/// than their defaults. All other options are those of [`tiny_options`].
pub fn large_options() -> Options {
    let options = Options {
        limits: Limits::default(),
        ..tiny_options(large_schema())
    };
    options
        .segment_bytes_max(1 << 20)
        .preallocate_bytes(1 << 17)
        .store_segment_bytes_max(1 << 14)
        .checkpoint_log_bytes(2 << 20)
}

impl Workload {
    /// A workload of few operations over [`large_schema`], with calls of `events_len` events on as many entities, and
    /// one call with eight times as many events. It follows from `seed` and `events_len` alone. With some thousand
    /// events a signal has several pages in each shard, frames and checkpoints have hundreds of sectors, and a replay
    /// has many thousand events.
    ///
    /// The workload is too long for a replay line. Sweep it with [`CrashSweep::named`](crate::testing::CrashSweep::named).
    pub fn large(seed: u64, events_len: usize) -> Self {
        let len = events_len.max(1);
        let mut generator = LargeGenerator {
            random: Random::new(seed),
            entities: entities(2 * len),
            len: len as u64,
            now_ms: STANDARD_NOW_MS,
            events: 0,
            engaged: Vec::new(),
        };
        let name = b"large".to_vec();
        let add = |entity| Operation::AddToCollection(name.clone(), EntityId(entity));
        let operations = vec![
            generator.record_once(events_len),
            Operation::CreateCollection(name.clone()),
            generator.record(events_len),
            Operation::Checkpoint,
            add(0),
            generator.record(events_len / 2),
            generator.record_in_cohorts(EntityId(1)),
            Operation::ForgetEntity(EntityId(1)),
            Operation::ForgetUser(UserId(1)),
            generator.record(events_len / 4),
            generator.forget_engaged(190),
            generator.forget_engaged(185),
            generator.forget_engaged(180),
            generator.forget_engaged(175),
            generator.record(events_len),
            Operation::Sync,
            Operation::Checkpoint,
            add(1),
            generator.record_longest(events_len),
            generator.record(1),
            generator.record(events_len / 4),
            Operation::Checkpoint,
            generator.record(events_len),
            Operation::Checkpoint,
            generator.record(events_len / 2),
            // This record is the only frame of a tiny segment.
            generator.record(21),
            add(u64::MAX),
            Operation::Checkpoint,
        ];
        Workload { operations }
    }
}

/// `len` entities, about half of them in one shard, so that a small database has a shard of many pages.
fn entities(len: usize) -> Vec<EntityId> {
    let crowded = shard_of(EntityId(0));
    let all = (0..).map(EntityId);
    let crowd = (0..).map(EntityId).filter(|&entity| shard_of(entity) == crowded);
    let pairs = all.zip(crowd).flat_map(|(any, crowded)| [any, crowded]);
    pairs.take(len).collect()
}

struct LargeGenerator {
    random: Random,
    entities: Vec<EntityId>,
    len: u64,
    now_ms: i64,
    events: u64,
    /// The entities of positive events with a user.
    engaged: Vec<EntityId>,
}

impl LargeGenerator {
    /// A call on entities that no later call changes, so that compactions must copy their records.
    fn record_once(&mut self, events_len: usize) -> Operation {
        self.record_of(events_len, |index, len| len + index)
    }

    /// Forgets the item of the positive event `events_ago` positive events back. With [`USERS`] users and room for two
    /// thirds of their rings, the last event of the oldest ring is about 165 events old. The removal of an item that
    /// was forgotten earlier begins with this ring.
    fn forget_engaged(&self, events_ago: usize) -> Operation {
        let place = self.engaged.len().checked_sub(events_ago);
        let entity = place.and_then(|place| self.engaged.get(place));
        Operation::ForgetEntity(entity.copied().unwrap_or_default())
    }

    /// A call of one event in more cohorts than the engine forgets at a time.
    fn record_in_cohorts(&mut self, entity: EntityId) -> Operation {
        let mut event = self.event(entity);
        let len = 1 + Limits::default().forgotten_slots_len_max as u64;
        event.cohorts = (0..len).map(CohortId).collect();
        Operation::Record {
            now_ms: self.now_ms,
            events: vec![event],
        }
    }

    fn record(&mut self, events_len: usize) -> Operation {
        let first = self.random.below(self.len);
        self.record_of(events_len, |index, len| (first + index) % len)
    }

    /// The longest call. Its events have few entities, so that its state is small.
    fn record_longest(&mut self, events_len: usize) -> Operation {
        let len = (events_len * LONGEST_CALL_FACTOR).min(BATCH_EVENTS_MAX);
        self.record_of(len, |index, len| index % len.min(FEW_ENTITIES))
    }

    /// A call of `events_len` events. `number` gives the number of an event's entity, from the number of the event and
    /// from half the number of entities.
    fn record_of(&mut self, events_len: usize, number: impl Fn(u64, u64) -> u64) -> Operation {
        // Rings of hours drop buckets from call to call, rings of seconds within a call.
        self.now_ms += 5 * HOUR_MS;
        let events = (0..events_len.max(1) as u64).map(|index| {
            let number = number(index, self.len);
            self.event(self.entities[number as usize])
        });
        let events = events.collect();
        Operation::Record {
            now_ms: self.now_ms,
            events,
        }
    }

    fn event(&mut self, entity: EntityId) -> Event {
        self.events += 1;
        self.now_ms += self.random.below(3) as i64;
        let signal = if self.random.chance(2, 3) {
            LIKE
        } else {
            SignalId(self.random.below(5) as u16)
        };
        let at_ms = self.now_ms - self.random.below(2000) as i64;
        let user = self.random.chance(1, 2).then(|| UserId(self.random.below(USERS)));
        if signal == LIKE && user.is_some() {
            self.engaged.push(entity);
        }
        Event {
            entity,
            signal,
            // Weights are distinct and have an exact binary form.
            weight: 1.0 + self.events as f64 / 65_536.0,
            at_ms,
            user,
            cohorts: if self.random.chance(1, 4) {
                vec![CohortId(self.random.below(COHORTS))]
            } else {
                Vec::new()
            },
        }
    }
}
