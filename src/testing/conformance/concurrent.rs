//! Threads: writers of disjoint ranges, and a scanner that sees each writer's batches whole and in order.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::Survives;
use super::lab::{Lab, OrFail, ensure};
use super::mirrored::{Mirrored, difference, scan, show};
use super::report::{CheckResult, CheckStop, CheckTally};
use super::steps::KeyValues;
use crate::storage::{StorageEngine, WriteBatch};
use crate::testing::crash_injector::inherit;

const WRITERS: usize = 4;
/// Each writer goes through at least this many rounds ...
const ROUNDS: u64 = 60;
/// ... and continues until this many scans ran beside writes.
const SCANS: u64 = 40;
/// How many keys a batch gives the same value: enough that a batch takes longer than what lies between two.
const SAME: usize = 24;

/// What the threads tell one another.
#[derive(Default)]
struct ThreadBoard {
    /// Of each writer, how many rounds it has begun and ended.
    begun: [AtomicU64; WRITERS],
    ended: [AtomicU64; WRITERS],
    /// Scans that ran beside writes.
    scans: AtomicU64,
    /// Somebody has a finding: everybody stops.
    is_over: AtomicBool,
}

pub(super) fn concurrent_use(lab: &Lab) -> CheckResult {
    let mut tally = CheckTally::of(&["writes by 4 threads", "scans meanwhile"]);
    let mut it = Mirrored::new(lab)?;
    let board = ThreadBoard::default();
    thread::scope(|scope| {
        let (engine, board) = (it.engine.as_ref(), &board);
        let mut threads = Vec::new();
        for writer in 0..WRITERS {
            threads.push(scope.spawn(inherit(move || {
                noting(board, write_rounds(engine, writer, board))
            })));
        }
        let scanned = noting(board, scan_rounds(engine, board));
        let mut results = vec![scanned];
        results.extend(threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(CheckStop::Failed("a writing thread panicked".to_owned())))
        }));
        results.into_iter().collect::<Result<(), CheckStop>>()
    })?;
    for writer in 0..WRITERS {
        let rounds = board.ended[writer].load(Ordering::SeqCst);
        it.pairs.extend(state(writer, rounds, rounds));
        tally.add("writes by 4 threads", 2 * rounds);
    }
    tally.add("scans meanwhile", board.scans.load(Ordering::SeqCst));
    it.expect_all("all threads had ended")?;
    it.reopen("reopening")?;
    tally.add("reopenings", u64::from(lab.survives(Survives::Reopening)));
    Ok(tally)
}

fn noting(board: &ThreadBoard, result: Result<(), CheckStop>) -> Result<(), CheckStop> {
    if result.is_err() {
        board.is_over.store(true, Ordering::SeqCst);
    }
    result
}

/// What a writer's range holds after `batches` rounds' batches and `puts` rounds' puts.
fn state(writer: usize, batches: u64, puts: u64) -> KeyValues {
    let mut pairs = KeyValues::new();
    if batches > 0 {
        for number in 0..SAME {
            pairs.insert(
                key(writer, &format!("same/{number}")),
                batches.to_string().into_bytes(),
            );
        }
        // Every third round deletes it, and the round after that puts it.
        if !batches.is_multiple_of(3) {
            pairs.insert(key(writer, "some rounds"), b"there".to_vec());
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

fn write_rounds(engine: &dyn StorageEngine, writer: usize, board: &ThreadBoard) -> Result<(), CheckStop> {
    let call = "a call of one of several threads";
    for round in 1.. {
        let enough = round > ROUNDS && board.scans.load(Ordering::SeqCst) >= SCANS;
        if round > ROUNDS {
            // The scanner may be waiting for a lock that is not fair.
            thread::yield_now();
        }
        if enough || board.is_over.load(Ordering::SeqCst) {
            break;
        }
        board.begun[writer].store(round, Ordering::SeqCst);
        let mut batch = WriteBatch::new();
        for number in 0..SAME {
            batch.put(key(writer, &format!("same/{number}")), round.to_string());
        }
        if round % 3 == 0 {
            batch.delete(key(writer, "some rounds"));
        } else {
            batch.put(key(writer, "some rounds"), "there");
        }
        engine.write_batch(batch).or_fail(call)?;
        engine
            .put(&key(writer, "put"), round.to_string().as_bytes())
            .or_fail(call)?;
        board.ended[writer].store(round, Ordering::SeqCst);
        for (key, value) in state(writer, round, round) {
            let found = engine.get(&key).or_fail(call)?;
            ensure!(
                found.as_ref() == Some(&value),
                "a thread does not see its own write of key {}",
                show(&key)
            );
        }
        if round == ROUNDS / 2 {
            engine.flush().or_fail(call)?;
        }
    }
    Ok(())
}

fn scan_rounds(engine: &dyn StorageEngine, board: &ThreadBoard) -> Result<(), CheckStop> {
    let counts = |counters: &[AtomicU64; WRITERS]| -> Vec<u64> {
        let loaded = counters.iter().map(|counter| counter.load(Ordering::SeqCst));
        loaded.collect()
    };
    while board.scans.load(Ordering::SeqCst) < SCANS && !board.is_over.load(Ordering::SeqCst) {
        let least = counts(&board.ended);
        let found = scan(engine, b"")?;
        let most = counts(&board.begun);
        for writer in 0..WRITERS {
            let prefix = format!("{writer}/").into_bytes();
            let own = found.iter().filter(|(key, _)| key.starts_with(&prefix));
            let own: KeyValues = own.map(|(key, value)| (key.clone(), value.clone())).collect();
            let is_legal = (least[writer]..=most[writer]).any(|rounds| {
                // In a round the batch comes first.
                own == state(writer, rounds, rounds)
                    || rounds > least[writer] && own == state(writer, rounds, rounds - 1)
            });
            ensure!(
                is_legal,
                "a scan saw a state of thread {writer} that never was, between rounds {} and {}; of the first: {}",
                least[writer],
                most[writer],
                difference(&own, &state(writer, least[writer], least[writer])).unwrap_or_default()
            );
        }
        if least != most {
            board.scans.fetch_add(1, Ordering::SeqCst);
        }
    }
    Ok(())
}
