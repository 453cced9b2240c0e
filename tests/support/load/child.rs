//! The child process: opens the database, runs two writers and a reader, and reports each acknowledged call, until it
//! is killed.
//!
//! | answer of the child | meaning |
//! |---|---|
//! | `open` | the database is open |
//! | `a WRITER NUMBER` | the call with this number was acknowledged |
//! | `wrong TEXT` | a call failed or returned a wrong value, and the child ends |

use std::path::Path;
use std::thread;

use tidaldb::testing::lab::error_chain;
use tidaldb::testing::lab::process::ChildSide;
use tidaldb::{EntityId, Error, SignalId, TidalDb};

use super::POLICIES;
use super::calls::{AT_MS, COLLECTION, LoadCall, options};

/// In a child process this function executes the orders of the parent and does not return. In any other process it
/// returns at once. Programs and tests call it first.
///
/// The orders are the directory, the index of the policy, and the number of the next call of each writer, one in each
/// line.
pub(crate) fn run_if_child() {
    let Some(orders) = ChildSide::orders() else {
        return;
    };
    let [dir, policy, starts @ ..] = &orders.lines().collect::<Vec<_>>()[..] else {
        end("the orders are too short");
    };
    let number = |text: &str| text.parse().unwrap_or_else(|_| end("an order is not a number"));
    let options = options().durability(POLICIES[number(policy) as usize]);
    let db = must(TidalDb::open(Path::new(dir), options), "opening");
    if must(db.collections(), "collections").is_empty() {
        must(db.create_collection(COLLECTION), "create_collection");
    }
    ChildSide::answer("open");
    thread::scope(|scope| {
        for (writer, start) in (0..).zip(starts.iter().copied().map(number)) {
            let db = &db;
            scope.spawn(move || {
                for number in start.. {
                    must(LoadCall { writer, number }.make(db), "a call of a writer");
                    ChildSide::answer(&format!("a {writer} {number}"));
                }
            });
        }
        scope.spawn(|| {
            for round in 0.. {
                must(read(&db, round), "reading");
                thread::yield_now();
            }
        });
        ChildSide::read_line();
        // The parent has ended.
        ChildSide::end();
    });
}

/// Reads the state of an entity and checks it: a score is at least the count, at any progress of the writers.
fn read(db: &TidalDb, round: u64) -> Result<(), Error> {
    let (entity, view) = (EntityId(round % 2 * 1000 + round % 97), SignalId(0));
    let before = db.windowed_count(entity, view, 0, 2, AT_MS)?;
    let score = db.score(entity, view, 0, AT_MS)?;
    if !score.is_finite() || score < before as f64 {
        end(&format!(
            "entity {entity} has the score {score}, although it has at least {before} events"
        ));
    }
    db.related(entity, 3, AT_MS)?;
    if round.is_multiple_of(64) {
        db.export()?;
        db.statistics()?;
    }
    Ok(())
}

fn must<T>(result: Result<T, Error>, call: &str) -> T {
    result.unwrap_or_else(|error| end(&format!("{call}: {}", error_chain(&error))))
}

/// Reports the failure and ends the process.
fn end(failure: &str) -> ! {
    ChildSide::answer(&format!("wrong {failure}"));
    ChildSide::end()
}
