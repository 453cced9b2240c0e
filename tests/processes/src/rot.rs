//! Bits that flip in the files of a database that was closed in order.

use std::fs;
use std::path::{Path, PathBuf};

use tidaldb::TidalDb;

use crate::runner::cases;
use crate::setup::{Acknowledged, assert_unchanged, content_of, copy, open, options, paths, text, tree};

cases!("rot":
    one_flipped_bit_in_a_closed_database_is_refused_or_takes_nothing,
    one_flipped_bit_is_refused_or_takes_nothing_after_another_open_and_close,
);

/// How many bits of a database are flipped in a debug build, one in each copy. In a release build: all.
const FLIPS_DEBUG: usize = 1500;

/// Three events and three members, of which one of each came before a checkpoint. All closed in order.
fn closed_database(path: &Path) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    let db = open(path, options());
    acknowledged.must_work(&db, 1..2);
    for entity in 2..4 {
        acknowledged.record(&db, entity).unwrap();
        acknowledged.add(&db, entity).unwrap();
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

fn flip_bits(root: &Path, database: &Path, acknowledged: &Acknowledged) {
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
    let flipped = root.join("flipped");
    let mut wrong = Vec::new();
    let flips = bits.iter().step_by(step);
    let flips_len = flips.len();
    for (file, bit) in flips {
        copy(database, &flipped);
        let (name, mut bytes) = files[*file].clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(flipped.join(&name), bytes).unwrap();
        if let Some(lost) = lost(&flipped, acknowledged) {
            wrong.push(format!("{} bit {bit}: {lost}", name.display()));
        }
        fs::remove_dir_all(&flipped).unwrap();
    }
    assert!(flips_len > 1000, "{flips_len} of {} bits", bits.len());
    assert!(
        wrong.is_empty(),
        "{} of {flips_len} flips lose something:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The content of the database if it opens and is not whole. A refusal changes nothing.
fn lost(path: &Path, acknowledged: &Acknowledged) -> Option<String> {
    let before = tree(path);
    let Ok(db) = TidalDb::open(path, options()) else {
        assert_unchanged(&before, path);
        return None;
    };
    let (events, members) = content_of(&db);
    let is_whole = events == acknowledged.events && members == acknowledged.members;
    (!is_whole).then(|| format!("events {events:?}, members {members:?}"))
}

fn one_flipped_bit_in_a_closed_database_is_refused_or_takes_nothing(root: &Path) {
    let database = root.join("db");
    let acknowledged = closed_database(&database);
    flip_bits(root, &database, &acknowledged);
    acknowledged.assert_at(&database);
}

fn one_flipped_bit_is_refused_or_takes_nothing_after_another_open_and_close(root: &Path) {
    let database = root.join("db");
    let acknowledged = closed_database(&database);
    let db = open(&database, options());
    db.close().unwrap_or_else(|error| panic!("{}", text(&error)));
    drop(db);
    flip_bits(root, &database, &acknowledged);
    acknowledged.assert_at(&database);
}
