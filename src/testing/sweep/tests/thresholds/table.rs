//! The table of thresholds: for each limit of the engine, the condition on a crashed run that proves that the run
//! exceeded it.

use std::collections::BTreeSet;

use super::{CrashPoint, CrashedRun, DiskOperation, DiskOperationKind, Operation};
use crate::entities::FENCE_SHARDS;
use crate::limits::{CHANGED_LEN_MIN, INDEX_PLACES_MIN, Limits};
use crate::states::SHARDS;
use crate::testing::workload::Event;
use crate::{EntityId, Signal, SignalStateExport};

const SECTOR_BYTES: u64 = 512;

/// A size above which the engine works differently.
pub(super) struct Threshold {
    pub(super) name: &'static str,
    pub(super) is_exceeded: Box<dyn Fn(&CrashedRun) -> bool>,
}

fn row(name: &'static str, is_exceeded: impl Fn(&CrashedRun) -> bool + 'static) -> Threshold {
    Threshold {
        name,
        is_exceeded: Box::new(is_exceeded),
    }
}

/// The rows of `limits`. The tests of limits that need several sessions or threads are in [`growth`](super::growth),
/// and the tests of the limits of blocks in [`collections`](super::super::collections).
pub(super) fn of_limits(limits: &Limits) -> Vec<Threshold> {
    let Limits {
        spare_frame_bytes_max,
        zeros_bytes_max,
        replayed_changes_len_max,
        grouped_changes_len_max,
        fenced_pages_len_max,
        forgotten_slots_len_max,
        forgetting_steps_len,
        closed_log_bytes_max,
        changed_state_bytes_max: _,
        store_write_bytes,
        store_step_bytes: _,
        store_share_factor: _,
        store_unsynced_bytes_max: _,
        store_removals_len_max,
        store_open_files_len_max,
        earlier_openings_len_max: _,
        sealed_segments_len_max: _,
        log_growth_factor_max: _,
        state_growth_factor_max: _,
        collection_block_bytes_max: _,
        collection_block_ids_max: _,
    } = *limits;
    // Zeros are written in pieces, so a longer write is a frame.
    let frame_bytes = move |run: &CrashedRun| {
        let bytes = run.longest_write("log");
        if bytes > zeros_bytes_max as u64 { bytes } else { 0 }
    };
    vec![
        row("spare_frame_bytes_max", move |run| {
            frame_bytes(run) > spare_frame_bytes_max as u64
        }),
        row("zeros_bytes_max", move |run| {
            let mut zeros = run.writes("log").filter(|it| it.len == zeros_bytes_max as u64);
            zeros.any(|it| {
                run.writes("log")
                    .any(|next| next.path == it.path && next.offset == it.offset + it.len)
            })
        }),
        row("replayed_changes_len_max", move |run| {
            run.report.frames_replayed > 1 && run.report.events_replayed > 2 * replayed_changes_len_max as u64
        }),
        row("grouped_changes_len_max", move |run| {
            run.events_lens().any(|len| len > grouped_changes_len_max)
        }),
        row("fenced_pages_len_max", move |run| {
            // Only the first checkpoint, so that one checkpoint wrote all pages.
            run.crossing == Some((CrashPoint::CheckpointPostFlush, 0))
                && run.pages_of_a_shard() > fenced_pages_len_max
        }),
        row("forgotten_slots_len_max", move |run| {
            forgets_of(run).any(|(entity, before)| {
                let events = before.iter().flat_map(events_of);
                let of_entity = events.filter(|event| event.entity == entity);
                let states = of_entity.flat_map(|event| event.cohorts.iter().map(|it| (event.signal, *it)));
                states.collect::<BTreeSet<_>>().len() > forgotten_slots_len_max
            })
        }),
        row("forgetting_steps_len", move |run| {
            let records_len = run.export.user_rings.len() + run.export.related.len();
            forgets_of(run).next().is_some() && records_len > forgetting_steps_len
        }),
        row("closed_log_bytes_max", move |run| {
            // The close makes a checkpoint, although the last call was a checkpoint.
            run.is_at(CrashPoint::CheckpointPostFlush)
                && run.calls.last() == Some(&Operation::Checkpoint)
                && run.acknowledged == run.calls.len()
                && run.longest_run("log") > closed_log_bytes_max
        }),
        row("changed_state_bytes_max", |run| {
            // The log is not long enough for a checkpoint, so the changed states made the checkpoint due.
            let is_due = run.writes("log").map(|it| it.len).sum::<u64>() >= run.options.checkpoint_log_bytes;
            run.is_at(CrashPoint::CheckpointPreFlush)
                && matches!(run.calls.last(), Some(Operation::Record { .. }))
                && !is_due
        }),
        row("store_write_bytes", move |run| {
            run.has_split_write("store", store_write_bytes as u64)
        }),
        row("store_step_bytes", |run| run.copies_of_compactions() > 1),
        row("store_share_factor", |run| run.calls_of_compactions() > 1),
        row("store_unsynced_bytes_max", |run| run.syncs_of_compactions() > 2),
        row("store_removals_len_max", move |run| {
            run.store_files_len(|it| it.kind == DiskOperationKind::Remove) > store_removals_len_max
                && run.has_delayed_removals()
        }),
        row("store_open_files_len_max", move |run| {
            let is_named = |it: &DiskOperation| it.kind == DiskOperationKind::Rename;
            let is_removed = |it: &DiskOperation| it.kind == DiskOperationKind::Remove;
            let named_len = run.store_files_len(is_named);
            named_len.saturating_sub(run.store_files_len(is_removed)) > store_open_files_len_max + 1
        }),
    ]
}

/// The rows of sizes that are fixed by formats, options and schemas.
pub(super) fn of_sizes() -> Vec<Threshold> {
    vec![
        row("PAGE_SLOTS", |run| {
            run.report.checkpoint_sequence > 0 && run.pages.iter().any(|page| page.number > 0)
        }),
        row("SHARDS", |run| {
            let mut shards: Vec<u16> = run.pages.iter().map(|page| page.shard).collect();
            shards.sort_unstable();
            shards.dedup();
            shards.len() == SHARDS && run.export.signals.len() > SHARDS
        }),
        row("INDEX_PLACES_MIN", |run| {
            // At least one index of a shard has more entries.
            let indexes_len = SHARDS * run.options.schema.signals().len();
            run.export.signals.len() > INDEX_PLACES_MIN * indexes_len
        }),
        row("FENCE_SHARDS", |run| {
            run.export.user_rings.len() > FENCE_SHARDS && run.export.related.len() > FENCE_SHARDS
        }),
        row("co-engagement bounds", |run| {
            let bounds = run.options.schema.co_engagement_config();
            let (export, calls) = (&run.export, &run.calls);
            let items = calls.iter().flat_map(events_of).map(|event| event.entity);
            let items_len = items.collect::<BTreeSet<_>>().len();
            export.user_rings.len() as u64 == bounds.users_max
                && export.related.len() as u64 == bounds.nodes_max
                && items_len as u64 > bounds.nodes_max
                && export
                    .related
                    .iter()
                    .any(|it| it.edges.len() == bounds.degree_max as usize)
                && export
                    .user_rings
                    .iter()
                    .any(|it| it.items.len() == bounds.ring_len_max as usize)
        }),
        row("a frame of many sectors", |run| {
            run.longest_write("log") > 16 * SECTOR_BYTES
        }),
        row("rotation of the log", |run| run.report.segments_found > 1),
        row("rotation of the store", |run| {
            let mut disk = run.disk.iter();
            disk.any(|(it, call)| {
                call.is_some() && it.kind == DiskOperationKind::Create && it.path.starts_with("/db/store")
            })
        }),
        row("a compaction of several files", |run| {
            run.removed_by_one_compaction() > 1
        }),
        row("rings that drop old buckets", |run| {
            let schema = &run.options.schema;
            let has_dropped_buckets = |signal: &SignalStateExport| {
                let rings = schema
                    .get(signal.signal)
                    .map(|it| it.window_rings().to_vec())
                    .unwrap_or_default();
                rings.iter().zip(&signal.windows).any(|(ring, window)| {
                    let first = window.buckets.first().map_or(0, |(number, _)| *number);
                    let oldest_ms = first * ring.bucket_ms as i64;
                    let mut events = run.calls.iter().flat_map(events_of);
                    // An event of this state is older than its oldest bucket by twice the length of the ring.
                    events.any(|event| {
                        event.entity == signal.entity
                            && event.signal == signal.signal
                            && event.at_ms + 2 * ring.bucket_ms as i64 * i64::from(ring.buckets) < oldest_ms
                    })
                })
            };
            run.export.signals.iter().take(64).any(has_dropped_buckets)
        }),
    ]
}

/// The rows of thresholds that only calls of some thousand events exceed.
pub(super) fn of_thousands() -> Vec<Threshold> {
    vec![
        row("a call of thousands of events", |run| {
            run.events_lens().any(|len| len > 4096)
        }),
        row("CHANGED_LEN_MIN", |run| {
            // One call changes so many items that at least one shard exceeds the limit.
            let schema = &run.options.schema;
            let is_positive = |event: &&Event| {
                event.user.is_some() && schema.get(event.signal).is_some_and(Signal::is_positive)
            };
            run.calls.iter().any(|call| {
                let items = events_of(call)
                    .iter()
                    .filter(is_positive)
                    .map(|event| event.entity);
                items.collect::<BTreeSet<_>>().len() > FENCE_SHARDS * CHANGED_LEN_MIN
            })
        }),
        row("a frame of more than 1 MiB", |run| {
            run.longest_write("log") > 1 << 20
        }),
        row("a checkpoint of more than 64 KiB", |run| {
            run.longest_run("store") > 64 << 10
        }),
        row("a checkpoint of more than 256 KiB", |run| {
            run.longest_run("store") > 256 << 10
        }),
    ]
}

/// The forgotten entities, each with the calls before the call that forgot it.
fn forgets_of(run: &CrashedRun) -> impl Iterator<Item = (EntityId, &[Operation])> {
    let numbered = run.calls.iter().enumerate();
    numbered.filter_map(|(number, call)| match call {
        Operation::ForgetEntity(entity) => Some((*entity, &run.calls[..number])),
        _ => None,
    })
}

fn events_of(call: &Operation) -> &[Event] {
    match call {
        Operation::Record { events, .. } => events,
        _ => &[],
    }
}
