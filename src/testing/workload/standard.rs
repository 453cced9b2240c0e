//! The standard schema, workload and options. All bounds are small, so that a short run exceeds each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::clock::{DAY_MS, HOUR_MS, STANDARD_NOW_MS, WorkloadClock};
use super::{Event, Operation, Random, Workload};
use crate::limits::Limits;
use crate::{
    Background, CoEngagementConfig, CohortId, EntityId, Options, Ring, Schema, Signal, SignalId, UserId,
};

/// The largest accepted distance of an event ahead of the clock, in milliseconds. It is the default of
/// [`Options::skew_ms_max`].
pub const STANDARD_SKEW_MS: u64 = 3_600_000;
/// An interval of timed syncs, in milliseconds. It ends about every fifth operation of a standard workload.
pub const STANDARD_SYNC_MS: u64 = 2000;

/// More entities than the standard schema's bound on items with edges.
const ENTITIES: [u64; 8] = [0, 1, 2, 3, 5, 300, 1 << 40, u64::MAX];
/// More users than the standard schema's bound on users with a ring.
const USERS: [u64; 6] = [0, 1, 2, 77, 1 << 33, u64::MAX];
const COHORTS: [u64; 4] = [0, 1, 9, u64::MAX];
/// Names of collections. One is a prefix of another, and one is no UTF-8.
const NAMES: [&[u8]; 4] = [b"a", b"ab", &[0xff, 0x00, 0xfe], b"to watch"];
/// At most one of this many events is ahead of the clock.
const AHEAD_ONE_IN: u64 = 25;
/// After this many events at least one event is ahead of the clock.
const AHEAD_EVENTS_MIN: u64 = 40;

/// A schema of five signals: with several half-lives and default rings; positive with tiny rings; with negative weights
/// and a tiny ring; without rings; positive with negative weights. The bounds of co-engagement are so small that every
/// kind of eviction happens.
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

/// Limits inside the engine that short runs of the standard workload exceed. Three limits have their defaults. Two of
/// them split writes, and more writes would have too many images. With a small `closed_log_bytes_max` most closes would
/// make a checkpoint, which hides their other steps.
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
        // A sweep of depth two opens the database up to five times after the calls whose receipts it checks.
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
/// and two hundred operations also cross compactions of the store. The caller does the background work, and the clock
/// is a [`WorkloadClock`]. The database id and the first opening id are fixed. So every run writes the same bytes.
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

/// The same options, except that the number of segments never makes a checkpoint due.
pub(crate) fn with_many_segments(options: Options) -> Options {
    let limits = Limits {
        sealed_segments_len_max: u64::MAX,
        ..options.limits
    };
    Options { limits, ..options }
}

/// The kind of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OperationKind {
    Record,
    Batch,
    Collection,
    Forget,
    Sync,
    Checkpoint,
}

/// The kinds of each twenty operations. Each twenty get a new random order.
const OPERATION_MIX: [OperationKind; 20] = {
    use OperationKind::{Batch, Checkpoint, Collection, Forget, Record, Sync};
    [
        Record, Record, Record, Record, Record, Record, Record, Record, Record, Batch, Batch, Batch,
        Collection, Collection, Collection, Collection, Collection, Forget, Sync, Checkpoint,
    ]
};

impl Workload {
    /// A workload of `operations_len` operations over [`standard_schema`] that follows from `seed` alone.
    ///
    /// Any twenty consecutive operations that begin at a multiple of twenty contain single events, batches, changes of
    /// collections, one forget, a sync and a checkpoint. The weights of events are distinct, so that a score identifies
    /// its events. Some events are out of order, and some are too late for every window. Ids include both ends of their
    /// range. Usually milliseconds pass between events, sometimes hours or days, so that every window ring drops old
    /// buckets. About one event of fifty is ahead of the clock. About one call of a hundred [must be
    /// refused](Operation::must_be_refused) because an event is too far ahead.
    pub fn standard(seed: u64, operations_len: usize) -> Self {
        let mut generator = Generator {
            random: Random::new(seed),
            ahead: 0,
            other_random: Random::new(!seed),
            events: 0,
            now_ms: STANDARD_NOW_MS,
            forgets: 0,
            engaged: Vec::new(),
            collections: BTreeMap::new(),
        };
        let mut operations = Vec::with_capacity(operations_len);
        while operations.len() < operations_len {
            let mut kinds = OPERATION_MIX;
            generator.random.shuffle(&mut kinds);
            if generator.forgets % 4 == 1 {
                move_checkpoint_after_forget(&mut kinds);
            }
            let remaining = operations_len - operations.len();
            let kinds = kinds.into_iter().take(remaining);
            operations.extend(kinds.map(|kind| generator.operation(kind)));
        }
        Workload { operations }
    }
}

/// Moves the checkpoint directly after the forget, so that some records of co-engagement still have forgotten entries.
fn move_checkpoint_after_forget(kinds: &mut [OperationKind]) {
    let position = |wanted| kinds.iter().position(|kind| *kind == wanted);
    let checkpoint = position(OperationKind::Checkpoint);
    let forget = position(OperationKind::Forget);
    let (Some(checkpoint), Some(forget)) = (checkpoint, forget) else {
        return;
    };
    if checkpoint < forget {
        kinds[checkpoint..=forget].rotate_left(1);
    } else {
        kinds[forget + 1..=checkpoint].rotate_right(1);
    }
}

struct Generator {
    random: Random,
    /// For the clock and the choice of the forgotten entity, so that the other random choices do not depend on them.
    other_random: Random,
    /// The number of events so far.
    events: u64,
    /// The number of events ahead of the clock so far.
    ahead: u64,
    /// The time of the clock. Most event times are near it.
    now_ms: i64,
    /// The number of forgets so far.
    forgets: u64,
    /// The entities of the last three events that may change co-engagement, the newest first.
    engaged: Vec<u64>,
    collections: BTreeMap<&'static [u8], BTreeSet<u64>>,
}

impl Generator {
    fn operation(&mut self, kind: OperationKind) -> Operation {
        match kind {
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
                // Usually an entity that has edges and is in the rings of users.
                let place = self.other_random.below(4) as usize;
                Operation::ForgetEntity(EntityId(*self.engaged.get(place).unwrap_or(&any)))
            }
            OperationKind::Sync => Operation::Sync,
            OperationKind::Checkpoint => Operation::Checkpoint,
        }
    }

    fn record(&mut self, events_len: u64) -> Operation {
        self.pass_time();
        let mut events: Vec<_> = (0..events_len).map(|_| self.event()).collect();
        let now_ms = self.now_ms;
        let random = &mut self.other_random;
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

    /// Sometimes lets hours or days pass, so that rings of hours and of days also drop buckets.
    fn pass_time(&mut self) {
        let random = &mut self.other_random;
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
        // The weights are distinct, of similar size and exact in binary, so that the sum of a few weights identifies
        // them.
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
            // Sometimes the same cohort twice. The event then counts twice.
            cohorts: (0..cohorts_len)
                .map(|_| CohortId(*self.random.pick(&COHORTS)))
                .collect(),
        }
    }

    /// The time of the next event. Most events are a little later than the one before, some are out of order, some are
    /// very late, and a few have extreme times.
    fn at_ms(&mut self) -> i64 {
        self.now_ms += self.random.below(700) as i64;
        let now_ms = self.now_ms;
        match self.random.below(40) {
            0..=7 => now_ms - self.random.below(6000) as i64,
            8..=10 => now_ms - self.random.below(30 * HOUR_MS as u64) as i64,
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
                // Removes a member if one exists. Otherwise the removal changes nothing.
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
