//! The child: opens the database, lets its two writers call and its reader read, and says each acknowledgement, until
//! it is killed.
//!
//! | the child says | when |
//! |---|---|
//! | `open` | the database is open |
//! | `a WRITER NUMBER` | that call was acknowledged |
//! | `wrong TEXT` | something is wrong, and the child ends |

use std::path::Path;
use std::thread;

use tidaldb::testing::lab::error_chain as causes;
use tidaldb::testing::lab::process::ChildSide;
use tidaldb::{Durability, EntityId, Error, SignalId, TidalDb};

use super::calls::{AT_MS, COLLECTION, Call};
use super::options;

/// Carries out the orders of a child and does not return; nothing in any other process. To be called first.
///
/// The orders are the directory, the policy, and the number of the next call of each writer, one a line.
pub(crate) fn serve_if_asked() {
    let Some(orders) = ChildSide::orders() else {
        return;
    };
    if let Err(why) = serve(&orders) {
        ChildSide::answer(&format!("wrong {why}"));
    }
    ChildSide::end()
}

fn serve(orders: &str) -> Result<(), String> {
    let mut lines = orders.lines();
    let mut next = || lines.next().ok_or("the orders are too short");
    let dir = next()?.to_owned();
    let durability = policy(next()?)?;
    let mut starts = [0; super::WRITERS];
    for start in &mut starts {
        *start = next()?.parse().map_err(|_| "no number")?;
    }
    let db =
        TidalDb::open(Path::new(&dir), options().durability(durability)).map_err(|error| causes(&error))?;
    if db.collections().map_err(|error| causes(&error))?.is_empty() {
        db.create_collection(COLLECTION).map_err(|error| causes(&error))?;
    }
    ChildSide::answer("open");
    thread::scope(|scope| {
        for (writer, start) in starts.into_iter().enumerate() {
            let db = &db;
            scope.spawn(move || write(db, writer, start));
        }
        scope.spawn(|| read(&db));
        ChildSide::hear();
        // The parent says nothing: it is gone.
        ChildSide::end()
    })
}

fn write(db: &TidalDb, writer: usize, start: u64) {
    for number in start.. {
        match Call::new(writer, number).make(db) {
            Ok(()) => ChildSide::answer(&format!("a {writer} {number}")),
            Err(error) => end(&format!("call {number} of writer {writer}: {}", causes(&error))),
        }
    }
}

fn read(db: &TidalDb) {
    for round in 0_u64.. {
        if let Err(error) = look(db, round) {
            end(&format!("reading: {}", causes(&error)));
        }
        thread::yield_now();
    }
}

/// Reads what it can without knowing how far the writers are: scores that fit their counts.
fn look(db: &TidalDb, round: u64) -> Result<(), Error> {
    let entity = EntityId(round % 2 * 1000 + round % 97);
    let view = SignalId(0);
    let before = db.windowed_count(entity, view, 0, 2, AT_MS)?;
    let score = db.score(entity, view, 0, AT_MS)?;
    if !score.is_finite() || score < before as f64 {
        end(&format!(
            "entity {entity} has the score {score} of at least {before} events"
        ));
    }
    db.related(entity, 3, AT_MS)?;
    if round.is_multiple_of(64) {
        db.export()?;
        db.statistics()?;
    }
    Ok(())
}

fn end(why: &str) -> ! {
    ChildSide::answer(&format!("wrong {why}"));
    ChildSide::end()
}

pub(super) fn policy_name(durability: Durability) -> String {
    match durability {
        Durability::EverySynced => "every".to_owned(),
        Durability::SyncedEvery { interval_ms } => interval_ms.to_string(),
        Durability::OperatingSystem => "os".to_owned(),
    }
}

fn policy(name: &str) -> Result<Durability, String> {
    match name {
        "every" => Ok(Durability::EverySynced),
        "os" => Ok(Durability::OperatingSystem),
        other => match other.parse() {
            Ok(interval_ms) => Ok(Durability::SyncedEvery { interval_ms }),
            Err(_) => Err(format!("there is no policy {other}")),
        },
    }
}
