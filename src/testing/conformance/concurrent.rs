//! Concurrent use: threads write disjoint ranges of keys, and a scanner must read each writer's batches as a whole and
//! in order. No crash happens in this check.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::Survives;
use super::context::{CheckContext, CheckedCall, ensure};
use super::engine_with_map::{EngineWithMap, difference, scan, show};
use super::report::{CheckResult, CheckStop, CheckTally};
use super::writes::KeyValues;
use crate::storage::{StorageEngine, WriteBatch};
use crate::testing::crash_injector::inherit;

const WRITERS: usize = 4;
/// The minimum number of rounds of each writer.
const ROUNDS: u64 = 60;
/// The writers continue until this many scans ran concurrently with writes.
const SCANS: u64 = 40;
/// The number of keys to which a batch writes the same value. With so many keys a batch takes longer than the time
/// between two batches.
const BATCH_KEYS_LEN: usize = 24;

/// The shared progress of the threads.
#[derive(Default)]
struct ThreadProgress {
    /// The number of rounds that each writer has begun.
    begun: [AtomicU64; WRITERS],
    /// The number of rounds that each writer has ended.
    ended: [AtomicU64; WRITERS],
    /// The number of scans that ran concurrently with writes.
    scans: AtomicU64,
    /// True if a thread has failed. All threads then stop.
    is_stopped: AtomicBool,
}

pub(super) fn concurrent_use(context: &CheckContext) -> CheckResult {
    let mut tally = CheckTally::of(&["writes by 4 threads", "concurrent scans"]);
    let mut store = EngineWithMap::new(context)?;
    let progress = ThreadProgress::default();
    thread::scope(|scope| {
        let (engine, progress) = (store.engine.as_ref(), &progress);
        let mut threads = Vec::new();
        for writer in 0..WRITERS {
            threads.push(scope.spawn(inherit(move || {
                stop_on_failure(progress, write_rounds(engine, writer, progress))
            })));
        }
        let scanned = stop_on_failure(progress, scan_rounds(engine, progress));
        let mut results = vec![scanned];
        results.extend(threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(CheckStop::Failed("a writing thread panicked".to_owned())))
        }));
        results.into_iter().collect::<Result<(), CheckStop>>()
    })?;
    for writer in 0..WRITERS {
        let rounds = progress.ended[writer].load(Ordering::SeqCst);
        store.pairs.extend(state_after(writer, rounds, rounds));
        tally.add("writes by 4 threads", 2 * rounds);
    }
    tally.add("concurrent scans", progress.scans.load(Ordering::SeqCst));
    store.expect_all("the end of all threads")?;
    store.reopen("reopening")?;
    tally.add("reopenings", u64::from(context.survives(Survives::Reopening)));
    Ok(tally)
}

fn stop_on_failure(progress: &ThreadProgress, result: Result<(), CheckStop>) -> Result<(), CheckStop> {
    if result.is_err() {
        progress.is_stopped.store(true, Ordering::SeqCst);
    }
    result
}

/// The content of a writer's range after the batches of `batches` rounds and the puts of `puts` rounds.
fn state_after(writer: usize, batches: u64, puts: u64) -> KeyValues {
    let mut pairs = KeyValues::new();
    if batches > 0 {
        for number in 0..BATCH_KEYS_LEN {
            pairs.insert(
                key(writer, &format!("same/{number}")),
                batches.to_string().into_bytes(),
            );
        }
        // Every third round deletes this key, and the next round puts it again.
        if !batches.is_multiple_of(3) {
            pairs.insert(key(writer, "some rounds"), b"value".to_vec());
        }
    }
    if puts > 0 {
        pairs.insert(key(writer, "put"), puts.to_string().into_bytes());
    }
    pairs
}

fn key(writer: usize, name: &str) -> Vec<u8> {
    format!("{writer}/{name}").into_bytes()
}

fn write_rounds(
    engine: &dyn StorageEngine,
    writer: usize,
    progress: &ThreadProgress,
) -> Result<(), CheckStop> {
    let call = "a call of one of several threads";
    for round in 1.. {
        let is_done = round > ROUNDS && progress.scans.load(Ordering::SeqCst) >= SCANS;
        if round > ROUNDS {
            // The scanner may wait for a lock that is not fair.
            thread::yield_now();
        }
        if is_done || progress.is_stopped.load(Ordering::SeqCst) {
            break;
        }
        progress.begun[writer].store(round, Ordering::SeqCst);
        let mut batch = WriteBatch::new();
        for number in 0..BATCH_KEYS_LEN {
            batch.put(key(writer, &format!("same/{number}")), round.to_string());
        }
        if round % 3 == 0 {
            batch.delete(key(writer, "some rounds"));
        } else {
            batch.put(key(writer, "some rounds"), "value");
        }
        engine.write_batch(batch).or_fail(call)?;
        engine
            .put(&key(writer, "put"), round.to_string().as_bytes())
            .or_fail(call)?;
        progress.ended[writer].store(round, Ordering::SeqCst);
        for (key, value) in state_after(writer, round, round) {
            let found = engine.get(&key).or_fail(call)?;
            ensure!(
                found.as_ref() == Some(&value),
                "a thread does not read its own write of key {}",
                show(&key)
            );
        }
        if round == ROUNDS / 2 {
            engine.flush().or_fail(call)?;
        }
    }
    Ok(())
}

fn scan_rounds(engine: &dyn StorageEngine, progress: &ThreadProgress) -> Result<(), CheckStop> {
    let counts = |counters: &[AtomicU64; WRITERS]| -> Vec<u64> {
        let loaded = counters.iter().map(|counter| counter.load(Ordering::SeqCst));
        loaded.collect()
    };
    while progress.scans.load(Ordering::SeqCst) < SCANS && !progress.is_stopped.load(Ordering::SeqCst) {
        let ended_before = counts(&progress.ended);
        let found = scan(engine, b"")?;
        let begun_after = counts(&progress.begun);
        for writer in 0..WRITERS {
            let prefix = format!("{writer}/").into_bytes();
            let own = found.iter().filter(|(key, _)| key.starts_with(&prefix));
            let own: KeyValues = own.map(|(key, value)| (key.clone(), value.clone())).collect();
            let (first, last) = (ended_before[writer], begun_after[writer]);
            let is_legal = (first..=last).any(|rounds| {
                // In each round the batch comes before the put.
                own == state_after(writer, rounds, rounds)
                    || rounds > first && own == state_after(writer, rounds, rounds - 1)
            });
            ensure!(
                is_legal,
                "a scan showed a state of thread {writer} that never existed, between rounds {first} and {last}; \
                 the difference from round {first}: {}",
                difference(&own, &state_after(writer, first, first)).unwrap_or_default()
            );
        }
        if ended_before != begun_after {
            progress.scans.fetch_add(1, Ordering::SeqCst);
        }
    }
    Ok(())
}
