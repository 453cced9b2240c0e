//! Records events, reads scores and windowed counts, and prints a top list.
//!
//! ```sh
//! cargo run --example record_and_rank
//! ```

use std::error::Error;
use std::path::Path;

use tidaldb::{EntityId, Options, Schema, Signal, SignalEvent, TidalDb, UserId};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The time at which the list is made.
const NOW_MS: i64 = 1_700_000_000_000;
/// The index of the default ring of 24 hours.
const RING_OF_HOURS: usize = 0;

/// An item of the top list.
#[derive(Debug, PartialEq)]
struct RankedItem {
    item: EntityId,
    score: f64,
    views_of_a_day: u64,
}

/// Records the events and returns the items with the highest scores, the best one first.
fn record_and_rank(dir: &Path) -> Result<Vec<RankedItem>, Box<dyn Error>> {
    // A view loses half of its score in a day, a like in seven days.
    let schema = Schema::new()
        .signal(Signal::new("view").half_life_ms(DAY_MS as u64))
        .signal(Signal::new("like").half_life_ms(7 * DAY_MS as u64).positive());
    let db = TidalDb::open(dir, Options::new(schema))?;
    let (view, like) = (db.signal("view")?, db.signal("like")?);

    // Item 1 had four views two days ago, item 2 had two views an hour ago, item 3 has a view and a like.
    let events = [
        (view, 1, NOW_MS - 2 * DAY_MS),
        (view, 1, NOW_MS - 2 * DAY_MS),
        (view, 1, NOW_MS - 2 * DAY_MS),
        (view, 1, NOW_MS - 2 * DAY_MS),
        (view, 2, NOW_MS - HOUR_MS),
        (view, 2, NOW_MS - HOUR_MS),
        (view, 3, NOW_MS),
        (like, 3, NOW_MS),
    ];
    for (signal, item, at_ms) in events {
        db.record(&SignalEvent::new(signal, EntityId(item), at_ms).with_user(UserId(42)))?;
    }

    let mut ranked = Vec::new();
    for item in [1, 2, 3].map(EntityId) {
        ranked.push(RankedItem {
            item,
            // The application chooses the formula. Here a like counts as three views.
            score: db.score(item, view, 0, NOW_MS)? + 3.0 * db.score(item, like, 0, NOW_MS)?,
            views_of_a_day: db.windowed_count(item, view, RING_OF_HOURS, 24, NOW_MS)?,
        });
    }
    ranked.sort_by(|one, other| other.score.total_cmp(&one.score));
    db.close()?;
    Ok(ranked)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this repository bans std::fs; your own program needs no such attribute"
)]
fn remove(dir: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(dir)
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("tidaldb-record-and-rank-{}", std::process::id()));
    let ranked = record_and_rank(&dir)?;
    remove(&dir)?;
    println!("{:>5} {:>6} {:>14}", "item", "score", "views of a day");
    for ranked in ranked {
        println!(
            "{:>5} {:>6.3} {:>14}",
            ranked.item.0, ranked.score, ranked.views_of_a_day
        );
    }
    Ok(())
}

#[test]
fn the_top_list_is_ordered_by_decayed_scores() {
    let dir = std::env::temp_dir().join(format!("tidaldb-record-and-rank-test-{}", std::process::id()));
    let ranked = record_and_rank(&dir).unwrap();
    remove(&dir).unwrap();
    let items: Vec<_> = ranked
        .iter()
        .map(|ranked| (ranked.item.0, ranked.views_of_a_day))
        .collect();
    assert_eq!(items, [(3, 1), (2, 2), (1, 0)]);
    // Two views an hour old; four views, each halved twice.
    for (ranked, score) in ranked[1..].iter().zip([2.0 * 2_f64.powf(-1.0 / 24.0), 1.0]) {
        assert!((ranked.score - score).abs() < 1e-9, "{ranked:?}");
    }
}
