//! Flipped bits in the files of a closed database on a real disk.
//!
//! `src/db/tests/damage.rs`, the tests of the store and the damage campaign of `tidaldb::testing` flip every bit on a
//! simulated disk.

use std::fs;
use std::path::Path;

use tidaldb::TidalDb;

use crate::runner::cases;
use crate::setup::{assert_unchanged, close, copy, options, paths, tree, worked};

cases!("rot":
    a_bit_that_flips_after_changes_of_collections_and_a_close_is_refused_or_takes_nothing,
);

/// One bit of this many is flipped. Odd, so that each bit of a byte gets its turn.
const BITS_STEP: usize = 97;

fn a_bit_that_flips_after_changes_of_collections_and_a_close_is_refused_or_takes_nothing(root: &Path) {
    let (database, flipped) = (root.join("db"), root.join("flipped"));
    let (db, mut acknowledged) = worked(&database, options(), 1..4);
    // After the checkpoint: only the store holds them.
    for entity in 2..4 {
        acknowledged.add(&db, entity).unwrap();
    }
    close(db);

    let parts = ["log", "store"].into_iter();
    let files: Vec<_> = parts.flat_map(|part| paths(&database.join(part))).collect();
    let mut refused_len = 0;
    for file in files {
        let bytes = fs::read(&file).unwrap();
        for bit in (0..bytes.len() * 8).step_by(BITS_STEP) {
            copy(&database, &flipped);
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(flipped.join(file.strip_prefix(&database).unwrap()), bytes).unwrap();
            let before = tree(&flipped);
            if let Ok(db) = TidalDb::open(&flipped, options()) {
                println!("{} bit {bit}", file.display());
                acknowledged.assert_in(&db);
            } else {
                assert_unchanged(&before, &flipped);
                refused_len += 1;
            }
            fs::remove_dir_all(&flipped).unwrap();
        }
    }
    assert!(refused_len > 20, "{refused_len}");
}
