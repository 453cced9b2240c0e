//! Makes a schema and a workload from events.

use crate::limits::CO_ENGAGEMENT_RECORDS_MAX;
use crate::testing::workload::{Event, Operation, Workload};
use crate::{CoEngagementConfig, Ring, Schema, Signal};

const HOUR_MS: u64 = 3_600_000;

/// A schema with the signals of these names. It accepts every event.
///
/// The half-lives are an hour and a day. The windows are the default rings and a ring of four seconds. Negative weights
/// are legal, and every positive weight feeds co-engagement. Co-engagement has short rings and few edges, so that a
/// short file exceeds both limits. It has room for every user and item.
pub fn schema_for(names: &[impl AsRef<[u8]>]) -> Schema {
    let ring = |bucket_ms, buckets| Ring { bucket_ms, buckets };
    let schema = Schema::new().co_engagement(CoEngagementConfig {
        ring_len_max: 8,
        degree_max: 8,
        users_max: CO_ENGAGEMENT_RECORDS_MAX,
        nodes_max: CO_ENGAGEMENT_RECORDS_MAX,
        ..CoEngagementConfig::default()
    });
    names.iter().fold(schema, |schema, name| {
        schema.signal(
            Signal::new(name)
                .half_life_ms(HOUR_MS)
                .half_life_ms(24 * HOUR_MS)
                .rings([ring(HOUR_MS, 24), ring(24 * HOUR_MS, 7), ring(1000, 4)])
                .positive()
                .allow_negative_weights(),
        )
    })
}

/// A workload that records `events` in order. The numbers of events in each call are `batch_sizes`, repeated as often
/// as needed. The clock of each call is the newest time of all events up to it.
///
/// The workload also changes two collections, syncs and makes checkpoints. The positions of these operations depend
/// only on the number of calls.
pub fn workload_from_events(events: Vec<Event>, batch_sizes: &[usize]) -> Workload {
    let names: [&[u8]; 2] = [b"seen", b"seen twice"];
    let mut operations: Vec<_> = names
        .map(|name| Operation::CreateCollection(name.to_vec()))
        .into();
    let mut sizes = batch_sizes.iter().map(|&size| size.max(1)).cycle();
    let mut events = events.into_iter();
    let mut now_ms = i64::MIN;
    for call in 1.. {
        let batch: Vec<Event> = events.by_ref().take(sizes.next().unwrap_or(1)).collect();
        let Some(first) = batch.first() else { break };
        let entity = first.entity;
        now_ms = batch.iter().fold(now_ms, |now_ms, event| now_ms.max(event.at_ms));
        operations.push(Operation::Record {
            now_ms,
            events: batch,
        });
        let name = names[call % 2].to_vec();
        match call % 12 {
            1 | 2 | 4 | 7 => operations.push(Operation::AddToCollection(name, entity)),
            3 => operations.push(Operation::Sync),
            6 => operations.push(Operation::RemoveFromCollection(name, entity)),
            10 => operations.push(Operation::Checkpoint),
            11 => {
                operations.push(Operation::DeleteCollection(name.clone()));
                operations.push(Operation::CreateCollection(name));
            }
            _ => {}
        }
    }
    Workload { operations }
}
