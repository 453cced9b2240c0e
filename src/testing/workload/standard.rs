//! The standard schema, workload and options: small bounds everywhere, so that a short run crosses all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::clock::{STANDARD_NOW_MS, WorkloadClock};
use super::{Event, Operation, Random, Workload};
use crate::limits::Limits;
use crate::{
    Background, CoEngagementConfig, CohortId, EntityId, Options, Ring, Schema, Signal, SignalId, UserId,
};

/// How far ahead of the clock an event of a workload is accepted, in milliseconds: the default of
/// [`Options::skew_ms_max`].
pub const STANDARD_SKEW_MS: u64 = 3_600_000;
/// An interval of timed syncs, in milliseconds, that is over about every fifth operation of a standard workload.
pub const STANDARD_SYNC_MS: u64 = 2000;

/// More than the standard schema's bound on items with edges.
const ENTITIES: [u64; 8] = [0, 1, 2, 3, 5, 300, 1 << 40, u64::MAX];
/// More than its bound on users with a ring.
const USERS: [u64; 6] = [0, 1, 2, 77, 1 << 33, u64::MAX];
const COHORTS: [u64; 4] = [0, 1, 9, u64::MAX];
/// One is a prefix of another, one no UTF-8.
const NAMES: [&[u8]; 4] = [b"a", b"ab", &[0xff, 0x00, 0xfe], b"to watch"];
const HOUR_MS: i64 = 3_600_000;
/// At most one of so many events is ahead of the clock, and one is once there have been so many events.
const AHEAD_ONE_IN: u64 = 25;
const AHEAD_EVENTS_MIN: u64 = 40;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Five signals: several half-lives and default rings; positive with tiny rings; negative weights with a tiny ring; no
/// rings; positive and negative. The bounds of co-engagement are so tiny that all kinds of eviction happen.
pub fn standard_schema() -> Schema {
    let ring = |bucket_ms, buckets| Ring { bucket_ms, buckets };
    Schema::new()
        .signal(
            Signal::new("view")
                .half_life_ms(3_600_000)
                .half_life_ms(86_400_000),
        )
        .signal(
            Signal::new("like")
                .half_life_ms(60_000)
                .rings([ring(1000, 4), ring(60_000, 3)])
                .positive(),
        )
        .signal(
            Signal::new("skip")
                .half_life_ms(1000)
                .half_life_ms(600_000)
                .half_life_ms(7 * 86_400_000)
                .rings([ring(1000, 4)])
                .allow_negative_weights(),
        )
        .signal(Signal::new("dwell").half_life_ms(5000).rings([]))
        .signal(
            Signal::new("rate")
                .half_life_ms(30_000)
                .half_life_ms(1)
                .rings([ring(1, 1), ring(250, 7)])
                .positive()
                .allow_negative_weights(),
        )
        .co_engagement(CoEngagementConfig {
            ring_len_max: 3,
            degree_max: 3,
            half_life_ms: 10_000,
            users_max: 4,
            nodes_max: 6,
        })
}

/// Limits inside the engine that short runs of the standard workload exceed. Three limits have their defaults: the two that
/// split writes, because more writes have too many images, and `closed_log_bytes_max`, because most closes would make a
/// checkpoint, which hides their other steps.
pub(crate) fn tiny_limits() -> Limits {
    Limits {
        spare_frame_bytes_max: 200,
        replayed_changes_len_max: 4,
        grouped_changes_len_max: 3,
        fenced_pages_len_max: 1,
        forgotten_slots_len_max: 1,
        forgetting_steps_len: 1,
        changed_state_bytes_max: 128 << 10,
        store_step_bytes: 200,
        store_share_factor: 1,
        store_unsynced_bytes_max: 100,
        store_removals_len_max: 1,
        store_open_files_len_max: 2,
        // A sweep of depth two opens up to five times after the calls whose receipts it checks.
        earlier_openings_len_max: 6,
        sealed_segments_len_max: 3,
        log_growth_factor_max: 1,
        state_growth_factor_max: 1,
        collection_block_bytes_max: 12,
        collection_block_ids_max: 4,
        ..Limits::default()
    }
}

/// Options under which sixty operations of the standard workload cross rotations of the log and several checkpoints,
/// and two hundred compactions of the store too. The caller does the background work, the clock is a [`WorkloadClock`];
/// database id and first opening id are fixed. So every run writes the same bytes.
pub fn tiny_options(schema: Schema) -> Options {
    let options = Options {
        limits: tiny_limits(),
        ..Options::new(schema)
    };
    options
        .segment_bytes_max(1024)
        .preallocate_bytes(256)
        .store_segment_bytes_max(1024)
        .checkpoint_log_bytes(2500)
        .background(Background::Caller)
        .database_id(0x0074_6964_616c_6462)
        .predictable_opening_ids(1)
        .clock(Arc::new(WorkloadClock))
        .skew_ms_max(STANDARD_SKEW_MS)
}

/// The same options, but the number of segments never makes a checkpoint due.
pub(crate) fn with_many_segments(options: Options) -> Options {
    let limits = Limits {
        sealed_segments_len_max: u64::MAX,
        ..options.limits
    };
    Options { limits, ..options }
}

/// The kind of the next operation.
#[derive(Clone, Copy)]
enum OperationKind {
    Record,
    Batch,
    Collection,
    Forget,
    Sync,
    Checkpoint,
}

/// Dealt in a new order each time, so that every kind is in every twenty operations.
const DECK: [OperationKind; 20] = {
    use OperationKind::{Batch, Checkpoint, Collection, Forget, Record, Sync};
    [
        Record, Record, Record, Record, Record, Record, Record, Record, Record, Batch, Batch, Batch,
        Collection, Collection, Collection, Collection, Collection, Forget, Sync, Checkpoint,
    ]
};

pub(super) fn workload(seed: u64, operations_len: usize) -> Workload {
    let mut generator = Generator {
        random: Random::new(seed),
        ahead: 0,
        clock_random: Random::new(!seed),
        events: 0,
        now_ms: STANDARD_NOW_MS,
        forgets: 0,
        engaged: Vec::new(),
        collections: BTreeMap::new(),
    };
    let mut operations = Vec::with_capacity(operations_len);
    while operations.len() < operations_len {
        let mut deck = DECK;
        generator.random.shuffle(&mut deck);
        if generator.forgets % 4 == 1 {
            checkpoint_after_forget(&mut deck);
        }
        let left = operations_len - operations.len();
        operations.extend(deck.into_iter().take(left).map(|card| generator.operation(card)));
    }
    Workload { operations }
}

/// Moves the checkpoint to the place after the forget, so that some records of co-engagement still have forgotten entries.
fn checkpoint_after_forget(deck: &mut [OperationKind]) {
    let place =
        |deck: &[OperationKind], is_wanted: fn(&OperationKind) -> bool| deck.iter().position(is_wanted);
    let checkpoint = place(deck, |card| matches!(card, OperationKind::Checkpoint));
    let forget = place(deck, |card| matches!(card, OperationKind::Forget));
    let (Some(checkpoint), Some(forget)) = (checkpoint, forget) else {
        return;
    };
    if checkpoint < forget {
        deck[checkpoint..=forget].rotate_left(1);
    } else {
        deck[forget + 1..=checkpoint].rotate_right(1);
    }
}

struct Generator {
    random: Random,
    /// For the clock alone, so that the rest of the events does not depend on it.
    clock_random: Random,
    /// How many events there have been.
    events: u64,
    /// How many of them were ahead of the clock.
    ahead: u64,
    /// The time of the clock, which most event times are near to.
    now_ms: i64,
    forgets: u64,
    /// The entities of the last three events by which a user may have engaged.
    engaged: Vec<u64>,
    collections: BTreeMap<&'static [u8], BTreeSet<u64>>,
}

impl Generator {
    fn operation(&mut self, card: OperationKind) -> Operation {
        match card {
            OperationKind::Record => self.record(1),
            OperationKind::Batch => {
                let len = 2 + self.random.below(7);
                self.record(len)
            }
            OperationKind::Collection => self.collection(),
            OperationKind::Forget => {
                self.forgets += 1;
                if self.forgets % 2 == 1 {
                    return Operation::ForgetUser(UserId(*self.random.pick(&USERS)));
                }
                let any = *self.random.pick(&ENTITIES);
                // Mostly an entity that is related to other items and in the rings of users.
                let of_four = self.clock_random.below(4) as usize;
                Operation::ForgetEntity(EntityId(*self.engaged.get(of_four).unwrap_or(&any)))
            }
            OperationKind::Sync => Operation::Sync,
            OperationKind::Checkpoint => Operation::Checkpoint,
        }
    }

    fn record(&mut self, events_len: u64) -> Operation {
        self.pass_time();
        let mut events: Vec<_> = (0..events_len).map(|_| self.event()).collect();
        let now_ms = self.now_ms;
        let random = &mut self.clock_random;
        for event in &mut events {
            let is_due = self.ahead == 0 && self.events >= AHEAD_EVENTS_MIN;
            if random.chance(1, 50) || is_due {
                let ahead_ms = [
                    1,
                    1 + random.below(2000),
                    1 + random.below(STANDARD_SKEW_MS),
                    STANDARD_SKEW_MS,
                ];
                let ahead_ms = *random.pick(&ahead_ms) as i64;
                if (self.ahead + 1) * AHEAD_ONE_IN <= self.events {
                    self.ahead += 1;
                    event.at_ms = now_ms + ahead_ms;
                }
            }
        }
        if random.chance(1, 120) {
            let too_late_ms = now_ms + STANDARD_SKEW_MS as i64 + 1;
            let at_ms = *random.pick(&[too_late_ms, too_late_ms + 400 * DAY_MS, i64::MAX]);
            let refused = random.below(events_len) as usize;
            events[refused].at_ms = at_ms;
        }
        Operation::Record { now_ms, events }
    }

    /// Now and then lets hours or days pass, so that rings of hours and of days turn too.
    fn pass_time(&mut self) {
        let random = &mut self.clock_random;
        self.now_ms += match random.below(60) {
            0 => DAY_MS + random.below(3 * DAY_MS as u64) as i64,
            1..=4 => HOUR_MS + random.below(4 * HOUR_MS as u64) as i64,
            5..=7 => random.below(3 * 60_000) as i64,
            _ => 0,
        };
    }

    fn event(&mut self) -> Event {
        self.events += 1;
        let signal = self.random.below(5) as u16;
        // Distinct, of similar size, and exact in binary, so that the sum of any few of them tells which they are.
        let magnitude = 1.0 + self.events as f64 / 4096.0;
        let negative = matches!(signal, 2 | 4) && self.random.chance(1, 3);
        let cohorts_len = self.random.below(4);
        let entity = *self.random.pick(&ENTITIES);
        if matches!(signal, 1 | 4) && !negative {
            self.engaged.insert(0, entity);
            self.engaged.truncate(3);
        }
        Event {
            entity: EntityId(entity),
            signal: SignalId(signal),
            weight: if negative { -magnitude } else { magnitude },
            at_ms: self.at_ms(),
            user: self
                .random
                .chance(4, 5)
                .then(|| UserId(*self.random.pick(&USERS))),
            // The same one twice now and then, which counts twice.
            cohorts: (0..cohorts_len)
                .map(|_| CohortId(*self.random.pick(&COHORTS)))
                .collect(),
        }
    }

    /// Mostly a little later than the one before; some out of order, some very late, a few extreme.
    fn at_ms(&mut self) -> i64 {
        self.now_ms += self.random.below(700) as i64;
        let now_ms = self.now_ms;
        match self.random.below(40) {
            0..=7 => now_ms - self.random.below(6000) as i64,
            8..=10 => now_ms - self.random.below(30 * 3_600_000) as i64,
            11 => now_ms - 400 * DAY_MS,
            12 => *self.random.pick(&[0, -1, -62_135_596_800_000, i64::MIN]),
            _ => now_ms,
        }
    }

    fn collection(&mut self) -> Operation {
        let name = *self.random.pick(&NAMES);
        let entity = *self.random.pick(&ENTITIES);
        let owned = name.to_vec();
        let Some(members) = self.collections.get_mut(name) else {
            self.collections.insert(name, BTreeSet::new());
            return Operation::CreateCollection(owned);
        };
        match self.random.below(8) {
            0 => {
                self.collections.remove(name);
                Operation::DeleteCollection(owned)
            }
            1 | 2 => {
                // A member if there is one; else a removal that changes nothing.
                let entity = members.pop_first().unwrap_or(entity);
                Operation::RemoveFromCollection(owned, EntityId(entity))
            }
            _ => {
                members.insert(entity);
                Operation::AddToCollection(owned, EntityId(entity))
            }
        }
    }
}
