//! The limit of the batch of a checkpoint: a call makes a checkpoint first only if its changes may exceed the limit.

use std::sync::Mutex;

use super::*;
use crate::limits::{EVENT_COHORTS_MAX, Limits};
use crate::storage::{BatchOperation, MemoryStore, keys};
use crate::testing::faults::{ForwardingStorage, StorageOperation};
use crate::testing::workload::Random;
use crate::{CoEngagementConfig, Ring};

const SEED: u64 = 0x7469_6461_6c64_6212;

/// The number of checkpoints that these calls make in a database of this schema with the limits of production.
fn checkpoints(schema: Schema, calls: u64, events_len: u64, entities_len: u64) -> usize {
    let options = Options {
        schema,
        ..options(&SimDisk::new(), Durability::OperatingSystem)
    };
    let options = options.checkpoint_log_bytes(u64::MAX).segment_bytes_max(1 << 26);
    let db = TidalDb::open(PATH, options).unwrap();
    let mut covered = vec![0];
    for call in 0..calls {
        let event = |number| {
            let entity = EntityId((call * events_len + number) * 7919 % entities_len);
            SignalEvent::new(SignalId(0), entity, NOW_MS)
        };
        let events: Vec<_> = (0..events_len).map(event).collect();
        db.record_batch(&events).unwrap();
        covered.push(db.statistics().unwrap().checkpoint_sequence);
    }
    covered.dedup();
    covered.len() - 1
}

fn view() -> Signal {
    Signal::new("view").half_life_ms(3_600_000)
}

#[test]
fn a_large_call_with_small_states_needs_no_checkpoint() {
    assert_eq!(checkpoints(Schema::new().signal(view()), 2, 65_536, 100_000), 0);
}

#[test]
fn empty_buckets_need_no_checkpoint() {
    let minutes = Ring {
        bucket_ms: 60_000,
        buckets: 1440,
    };
    let largest = Ring {
        bucket_ms: 1000,
        buckets: 4096,
    };
    for rings in [vec![minutes], vec![largest; 8]] {
        let schema = Schema::new().signal(view().rings(rings));
        assert_eq!(checkpoints(schema, 20, 256, 300), 0);
    }
}

#[test]
fn a_call_without_positive_events_needs_no_checkpoint_for_co_engagement() {
    let bounds = CoEngagementConfig {
        ring_len_max: 256,
        degree_max: 1024,
        ..CoEngagementConfig::default()
    };
    let schema = Schema::new().signal(view()).co_engagement(bounds);
    assert_eq!(checkpoints(schema, 10, 2048, 1000), 0);
}

/// Makes random events, forgets, checkpoints and reopenings.
#[test]
fn no_batch_of_a_checkpoint_is_larger_than_the_limit_or_the_counted_bytes() {
    const LIMIT: u64 = 200_000;
    let engine: Arc<MemoryStore> = Arc::new(MemoryStore::new());
    let batches: Arc<Mutex<Vec<u64>>> = Arc::default();
    let disk = SimDisk::new();
    let open = || {
        let noted = Arc::clone(&batches);
        let storage = ForwardingStorage::new(Arc::<MemoryStore>::clone(&engine), move |call| {
            if let StorageOperation::WriteBatch(batch) = &call.operation {
                let bytes = |operation: &BatchOperation| match operation {
                    BatchOperation::Put { key, value } => key.len() + value.len() + 10,
                    BatchOperation::Delete { key } => key.len() + 10,
                };
                let is_checkpoint_key = |operation: &BatchOperation| match operation {
                    BatchOperation::Put { key, .. } => key == keys::CHECKPOINT,
                    BatchOperation::Delete { .. } => false,
                };
                let is_checkpoint = batch.operations().iter().any(is_checkpoint_key);
                let sum: usize = batch.operations().iter().map(bytes).sum();
                noted.lock().unwrap().extend(is_checkpoint.then_some(sum as u64));
            }
            call.forward()
        });
        let wide = Ring {
            bucket_ms: 1000,
            buckets: 500,
        };
        let like = Signal::new("like").half_life_ms(1000).rings([wide]).positive();
        let options = Options {
            schema: Schema::new().signal(view()).signal(like),
            limits: Limits {
                changed_state_bytes_max: LIMIT,
                ..Limits::default()
            },
            ..options(&disk, Durability::OperatingSystem)
        };
        let options = options.checkpoint_log_bytes(u64::MAX).segment_bytes_max(1 << 20);
        TidalDb::open_with_storage(PATH, options, Arc::new(storage)).unwrap()
    };
    let mut random = Random::new(SEED);
    let mut db = open();
    let (mut calls, mut opens) = (0, 0);
    // In addition to the states, a batch has the checkpoint record and the counters of co-engagement.
    let others = 200;
    while calls < 600 {
        calls += 1;
        let counted = db.statistics().unwrap().state_bytes_since_checkpoint;
        let made = batches.lock().unwrap().len();
        let checked = |before: u64| {
            let batches = batches.lock().unwrap();
            for &bytes in &batches[made..] {
                assert!(bytes <= before + others, "{bytes} of {before}, seed {SEED:#x}");
                assert!(bytes <= LIMIT + others, "{bytes}, seed {SEED:#x}");
            }
        };
        match random.below(40) {
            0 => {
                db.checkpoint().unwrap();
                checked(counted);
            }
            1 => {
                drop(db);
                db = open();
                opens += 1;
            }
            2..=5 => {
                db.forget_entity(EntityId(random.below(60))).unwrap();
                checked(counted);
            }
            _ => {
                let cohorts: Vec<_> = (0..random.below(3)).map(CohortId).collect();
                let event = |random: &mut Random| {
                    let signal = SignalId(random.below(2) as u16);
                    let at_ms = NOW_MS - random.below(400) as i64 * 1000;
                    SignalEvent::new(signal, EntityId(random.below(60)), at_ms)
                        .with_user(UserId(random.below(20)))
                        .with_cohorts(&cohorts)
                };
                let events: Vec<_> = (0..=random.below(30)).map(|_| event(&mut random)).collect();
                db.record_batch(&events).unwrap();
                checked(counted);
            }
        }
    }
    let made = batches.lock().unwrap().len();
    assert!(made > 20 && opens > 5, "{made} checkpoints, {opens} opens");
}

/// A new database whose checkpoints hold at most 70,000 bytes of states.
fn open_with_a_small_limit() -> TidalDb {
    let options = Options {
        limits: Limits {
            changed_state_bytes_max: 70_000,
            ..Limits::default()
        },
        ..options(&SimDisk::new(), Durability::OperatingSystem)
    };
    TidalDb::open(PATH, options.checkpoint_log_bytes(u64::MAX)).unwrap()
}

#[test]
fn a_call_that_can_change_many_bytes_makes_a_checkpoint_first() {
    // Regression: the bytes that the call itself adds were not counted, so a checkpoint could be larger than the
    // largest batch.
    let db = open_with_a_small_limit();
    let call = |len: u64| {
        let event = |i| SignalEvent::new(SignalId(0), EntityId(i), NOW_MS);
        let events: Vec<_> = (0..len).map(event).collect();
        db.record_batch(&events).unwrap();
        db.statistics().unwrap().checkpoint_sequence
    };
    assert_eq!(call(300), 0, "nothing had changed before the first");
    assert_eq!(call(10), 0, "a small call stays within the limit");
    assert_eq!(call(300), 2, "a large call exceeds the limit");
}

#[test]
fn a_forget_needs_no_checkpoint_for_states_of_other_entities() {
    let db = open_with_a_small_limit();
    let cohorts: Vec<_> = (0..EVENT_COHORTS_MAX as u64).map(CohortId).collect();
    for entity in 0..EVENT_COHORTS_MAX as u64 {
        let event = SignalEvent::new(SignalId(0), EntityId(entity), NOW_MS);
        db.record(
            &event
                .with_user(UserId(entity))
                .with_cohorts(&cohorts[..entity as usize]),
        )
        .unwrap();
    }
    let covered = db.checkpoint().unwrap();
    for entity in [1, 2, 1000, 3] {
        db.forget_entity(EntityId(entity)).unwrap();
        db.forget_user(UserId(entity)).unwrap();
    }
    assert_eq!(db.statistics().unwrap().checkpoint_sequence, covered);
}
