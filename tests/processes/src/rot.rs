//! Flipped bits in the files of a closed database on a real disk.
//!
//! `src/db/tests/damage.rs`, the tests of the store and the damage campaign of `tidaldb::testing` flip every bit on a
//! simulated disk.

use std::fs;
use std::path::Path;

use tidaldb::TidalDb;

use crate::runner::cases;
use crate::setup::{assert_unchanged, close, copy, open_and_work, options, paths, tree};

cases!("rot":
    a_flipped_bit_after_a_close_is_refused_or_loses_nothing,
);

/// The case flips one of this many bits. The number is odd, so that all bits of a byte are flipped in some bytes.
const BITS_STEP: usize = 97;

fn a_flipped_bit_after_a_close_is_refused_or_loses_nothing(root: &Path) {
    let (database, flipped) = (root.join("db"), root.join("flipped"));
    let (db, mut acknowledged) = open_and_work(&database, options(), 1..4);
    // These changes of a collection come after the checkpoint. Only the store contains them, not the log.
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
    assert!(refused_len > 20, "only {refused_len} opens were refused");
}
