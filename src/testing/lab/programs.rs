//! The programs that this project explores: every pair of calls, a list of larger ones, and random ones.
//!
//! A listed program is written with one letter for each call, and `|` between the threads; see `call`.

use std::fmt::Write;

use crate::Durability;
use crate::testing::schedule::{Program, ProgramCall};
use crate::testing::workload::{Random, Workload};

/// The policies under which the programs are explored.
pub const POLICIES: [Durability; 3] = [
    Durability::EverySynced,
    Durability::SyncedEvery { interval_ms: 2000 },
    Durability::OperatingSystem,
];

/// The calls of which every pair is explored. Batches come first, because they rotate the log.
const PAIRED: &str = "brsakfcg";

/// Group commit with two and three threads.
const GROUP_COMMITS: &[&str] = &[
    "r|r|r", "r|r|s", "r|b|s", "r|s|s", "rr|r", "rr|s", "rr|rr", "rs|rs", "b|b|b", "b|b|s", "bb|s",
];
/// A checkpoint next to two other threads, and next to several calls.
const CHECKPOINTS: &[&str] = &[
    "r|r|k", "r|s|k", "r|a|k", "r|f|k", "r|k|k", "rr|k", "rr|kk", "rk|rk", "rk|s", "ks|r", "kr|b", "a|d|k",
    "aa|k",
];
/// A close next to records, syncs, checkpoints, changes of collections and a call that forgets.
const CLOSES: &[&str] = &[
    "r|r|c", "r|s|c", "r|k|c", "r|a|c", "r|f|c", "r|c|c", "rr|c", "rk|c", "ra|c", "a|d|c", "k|k|c", "s|k|c",
    "rrr|c",
];
/// Calls that forget.
const FORGETTING: &[&str] = &[
    "f|f|r", "f|r|s", "fr|rf", "rf|k", "u|b|k", "u|f|b", "fk|rr", "f|b|g",
];
/// Changes of a collection. Calls that remove from it remove the same member.
const COLLECTIONS: &[&str] = &[
    "d|d", "a|a|a", "a|d|s", "ad|da", "aa|dd", "as|ak", "ad|s", "ar|ak",
];
/// Reads.
const READS: &[&str] = &["g|r|k", "g|f|r", "g|a|d", "gg|rk"];
/// Six calls.
const SIX_CALLS: &[&str] = &[
    "rrr|kkk", "rsr|srs", "bs|bs|bk", "rar|kdk", "rb|sk|ar", "rr|ff|kk", "rka|skd",
];

/// Programs of up to six calls on two or three threads.
const LISTED: [&[&str]; 7] = [
    GROUP_COMMITS,
    CHECKPOINTS,
    CLOSES,
    FORGETTING,
    COLLECTIONS,
    READS,
    SIX_CALLS,
];

/// The number of events of a batch.
const BATCH_LEN: usize = 24;

/// One call of a listed program, by its letter. `number` distinguishes the events of a program.
fn call(letter: char, number: usize) -> String {
    let now_ms = 1_700_000_001_000 + 10 * number as i64;
    let weight = 2.0 + number as f64 / 16.0;
    match letter {
        // One event of entity 1.
        'r' => format!("record@{now_ms}:0,1,{now_ms},{weight:?}"),
        // Events of several entities, also positive ones of a user, and one with a cohort. The frame fills most of a
        // segment, so a second frame rotates the log.
        'b' => {
            let events = (0..BATCH_LEN).map(|event| {
                let (signal, entity) = (event % 2, 1 + event % 3);
                let cohort = if event == 0 { ",c1" } else { "" };
                format!("{signal},{entity},{now_ms},{weight:?},u1{cohort}")
            });
            format!("record@{now_ms}:{}", events.collect::<Vec<_>>().join("+"))
        }
        'a' => format!("add:a,{}", 10 + number),
        'd' => "remove:a,1".to_owned(),
        's' => "sync".to_owned(),
        'k' => "checkpoint".to_owned(),
        'f' => "forget-entity:1".to_owned(),
        'u' => "forget-user:1".to_owned(),
        'c' => "close".to_owned(),
        'g' => "read:1".to_owned(),
        _ => unreachable!("the letters of the listed programs are those above"),
    }
}

/// The operations before the threads start: a collection with one member, and `frames_len` records of one event.
fn before(frames_len: usize) -> String {
    let mut text = "create:a;add:a,1".to_owned();
    for number in 0..frames_len {
        let now_ms = 1_700_000_000_000 + 10 * number as i64;
        let (signal, entity) = (number % 2, 1 + number % 3);
        write!(text, ";record@{now_ms}:{signal},{entity},{now_ms},1.5,u1").unwrap_or_default();
    }
    text
}

/// The program with these letters. The log before it has `frames_len` frames.
fn of_letters(letters: &str, frames_len: usize) -> Program {
    let mut text = before(frames_len);
    let mut number = 0;
    for thread in letters.split('|') {
        text.push('|');
        for (index, letter) in thread.chars().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(text, "{separator}{}", call(letter, number)).unwrap_or_default();
            number += 1;
        }
    }
    match text.parse() {
        Ok(program) => program,
        Err(error) => unreachable!("a listed program is legal: {error}"),
    }
}

/// Every pair of calls from: record, batch, add to a collection, sync, checkpoint, forget, close, read. Each call is on a
/// thread of its own.
///
/// The log before the threads start has `frames_len` frames: after 1 no checkpoint is due, after 12 one is due.
pub fn pairs(frames_len: usize) -> Vec<Program> {
    let calls = PAIRED.char_indices();
    let pairs = calls.flat_map(|(index, first)| {
        let others = PAIRED[index..].chars();
        others.map(move |second| of_letters(&format!("{first}|{second}"), frames_len))
    });
    pairs.collect()
}

/// Larger programs, of up to six calls on two or three threads. For `frames_len` see [`pairs`].
pub fn listed(frames_len: usize) -> Vec<Program> {
    let listed = LISTED.iter().flat_map(|group| group.iter());
    listed.map(|letters| of_letters(letters, frames_len)).collect()
}

/// A program of up to four threads with up to 17 calls, which follows from `seed`.
pub fn random(seed: u64) -> Program {
    let mut random = Random::new(seed);
    let mut operations = Workload::standard(seed, 40).operations;
    let threads_len = 2 + random.below(3) as usize;
    let before_len = random.below(24) as usize;
    let rest = operations.split_off(before_len);
    let mut threads = vec![Vec::new(); threads_len];
    for operation in rest.into_iter().take(4 * threads_len) {
        let thread = random.below(threads_len as u64) as usize;
        threads[thread].push(ProgramCall::Apply(operation));
    }
    let thread = random.below(threads_len as u64) as usize;
    if random.chance(1, 3) {
        threads[thread].push(ProgramCall::Close);
    }
    threads.retain(|calls| !calls.is_empty());
    Program {
        before: operations,
        threads,
    }
}
