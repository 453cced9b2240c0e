//! Bits that flip in the files of a database that was closed in order.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidaldb::TidalDb;

use crate::runner::cases;
use crate::setup::{Acknowledged, assert_unchanged, content_of, copy, open, options, paths, text, tree};

cases!("rot":
    a_bit_that_flips_after_events_and_a_close_is_refused_or_takes_nothing,
    a_bit_that_flips_after_changes_of_collections_and_a_close_is_refused_or_takes_nothing,
    a_bit_that_flips_after_another_open_and_close_is_refused_or_takes_nothing,
);

/// How many bits of a database are flipped in a debug build, one in each copy. In a release build: all.
const FLIPS_DEBUG: usize = 600;

/// The last kind of work before the database was closed in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Event,
    Member,
}

/// Three events and three members. Some of each kind came before a checkpoint, those of the last kind after it.
fn closed_database(path: &Path, last: Last) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    let db = open(path, options());
    acknowledged.must_work(&db, 1..2);
    for entity in 2..4 {
        acknowledged.record(&db, entity).unwrap();
        if last == Last::Event {
            acknowledged.add(&db, entity).unwrap();
        }
    }
    if last == Last::Member {
        db.checkpoint().unwrap();
        for entity in 2..4 {
            acknowledged.add(&db, entity).unwrap();
        }
    }
    db.close().unwrap_or_else(|error| panic!("{}", text(&error)));
    acknowledged
}

/// Each file of the log and the store: its path in the database, and its bytes.
fn files(database: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let below = ["log", "store"]
        .into_iter()
        .flat_map(|part| paths(&database.join(part)));
    let file = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        (path.strip_prefix(database).unwrap().to_owned(), bytes)
    };
    below.map(file).collect()
}

/// The user's data, and the ids of the earlier openings. The last record of a file may be the close itself: without it
/// nothing is missing, so sequence numbers are left aside.
#[derive(Debug, PartialEq)]
struct Found {
    events: BTreeSet<u64>,
    members: BTreeSet<u64>,
    openings: Vec<u64>,
}

fn found(db: &TidalDb) -> Found {
    let (events, members) = content_of(db);
    let earlier = db.recovery_report().earlier_openings.iter();
    Found {
        events,
        members,
        openings: earlier.map(|earlier| earlier.opening).collect(),
    }
}

/// Opens copies of the database, each with one bit flipped: refused without a change, or nothing is missing.
fn flip_bits(root: &Path, database: &Path, acknowledged: &Acknowledged, openings_len: usize) {
    let (sound, flipped) = (root.join("sound"), root.join("flipped"));
    copy(database, &sound);
    let db = open(&sound, options());
    acknowledged.assert_in(&db);
    let whole = found(&db);
    assert_eq!(whole.openings.len(), openings_len);

    let files = files(database);
    let bits: Vec<(usize, usize)> = (0..files.len())
        .flat_map(|file| (0..files[file].1.len() * 8).map(move |bit| (file, bit)))
        .collect();
    // Odd, so that each bit of a byte gets its turn.
    let step = if cfg!(debug_assertions) {
        (bits.len() / FLIPS_DEBUG) | 1
    } else {
        1
    };
    let flips = bits.iter().step_by(step);
    let flips_len = flips.len();
    assert!(flips_len > 500, "{flips_len} of {} bits", bits.len());
    let mut wrong = Vec::new();
    for (file, bit) in flips {
        copy(database, &flipped);
        let (name, mut bytes) = files[*file].clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(flipped.join(&name), bytes).unwrap();
        let before = tree(&flipped);
        match TidalDb::open(&flipped, options()) {
            Ok(db) if found(&db) != whole => {
                wrong.push(format!("{} bit {bit}: {:?}", name.display(), found(&db)));
            }
            Ok(_) => {}
            Err(_) => assert_unchanged(&before, &flipped),
        }
        fs::remove_dir_all(&flipped).unwrap();
    }
    assert!(
        wrong.is_empty(),
        "{} of {flips_len} flips lose something of {whole:?}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn a_bit_that_flips_after_events_and_a_close_is_refused_or_takes_nothing(root: &Path) {
    let database = root.join("db");
    let acknowledged = closed_database(&database, Last::Event);
    flip_bits(root, &database, &acknowledged, 1);
}

fn a_bit_that_flips_after_changes_of_collections_and_a_close_is_refused_or_takes_nothing(root: &Path) {
    let database = root.join("db");
    let acknowledged = closed_database(&database, Last::Member);
    flip_bits(root, &database, &acknowledged, 1);
}

fn a_bit_that_flips_after_another_open_and_close_is_refused_or_takes_nothing(root: &Path) {
    let database = root.join("db");
    let acknowledged = closed_database(&database, Last::Member);
    let db = open(&database, options());
    db.close().unwrap_or_else(|error| panic!("{}", text(&error)));
    drop(db);
    flip_bits(root, &database, &acknowledged, 2);
}
