//! Copies of one database that diverged, made with `cp` on a real disk. A database never opens with files of two
//! copies.
//!
//! `src/db/tests/histories.rs` and the campaign over copies of `tidaldb::testing` try every mixture of files on a
//! simulated disk.

use std::fs;
use std::path::{Path, PathBuf};

use tidaldb::{Error, TidalDb};

use crate::processes::ForkedChild;
use crate::runner::cases;
use crate::setup::{
    Acknowledged, assert_unchanged, close, copy, error_chain, errors_of_crate, open, open_and_work, options,
    tree,
};

cases!("histories":
    the_log_of_one_copy_with_the_store_of_the_other_is_refused,
    each_copy_of_a_closed_database_opens_with_all_its_events,
    the_log_of_the_original_with_the_store_of_a_copy_is_refused,
    two_forked_children_that_open_one_copy_each_get_different_opening_ids,
);

/// The number of events that each copy records after the copy was made.
const EVENTS_LEN: u64 = 60;

/// A database and its acknowledged calls.
type Copied = (PathBuf, Acknowledged);

fn continue_in(db: &TidalDb, acknowledged: &mut Acknowledged, first: u64) {
    acknowledged.must_work(db, first..first + EVENTS_LEN / 2);
    // The checkpoint is in the middle, so the log has segments that no checkpoint covers.
    for entity in first + EVENTS_LEN / 2..first + EVENTS_LEN {
        acknowledged.record(db, entity).unwrap();
    }
}

/// Two copies of a closed database, each with further events of the same size.
fn copies_of_a_closed_database(root: &Path) -> [Copied; 2] {
    let base = root.join("base");
    let (db, acknowledged) = open_and_work(&base, options(), 0..20);
    close(db);
    [("a", 1000), ("b", 2000)].map(|(name, first)| {
        let path = root.join(name);
        copy(&base, &path);
        let mut acknowledged = acknowledged.clone();
        continue_in(&open(&path, options()), &mut acknowledged, first);
        (path, acknowledged)
    })
}

/// Mixes the log of each database with the store of the other. The refusal names another history and changes nothing.
fn assert_mixtures_refused([a, b]: [&Path; 2]) {
    for (log_of, store_of) in [(a, b), (b, a)] {
        let mixed = log_of.with_file_name("mixed");
        copy(log_of, &mixed);
        fs::remove_dir_all(mixed.join("store")).unwrap();
        copy(&store_of.join("store"), &mixed.join("store"));
        let before = tree(&mixed);
        let error = TidalDb::open(&mixed, options()).expect_err("a mixture opens");
        let is_foreign = |error: &Error| matches!(error, Error::ForeignHistory { .. });
        assert!(errors_of_crate(&error).any(is_foreign), "{}", error_chain(&error));
        assert_unchanged(&before, &mixed);
        fs::remove_dir_all(&mixed).unwrap();
    }
}

fn the_log_of_one_copy_with_the_store_of_the_other_is_refused(root: &Path) {
    let [(a, _), (b, _)] = copies_of_a_closed_database(root);
    assert_mixtures_refused([&a, &b]);
}

fn each_copy_of_a_closed_database_opens_with_all_its_events(root: &Path) {
    for (path, acknowledged) in copies_of_a_closed_database(root) {
        // The database opens twice, the second time after a close.
        let db = open(&path, options());
        acknowledged.assert_in(&db);
        acknowledged.assert_closed(db, &path);
    }
}

/// The original is open while it is copied. The copy is complete, because no call runs and every event is synced.
fn the_log_of_the_original_with_the_store_of_a_copy_is_refused(root: &Path) {
    let (a, b) = (root.join("original"), root.join("copy"));
    let (original, mut of_a) = open_and_work(&a, options(), 0..20);
    of_a.record(&original, 20).unwrap();
    copy(&a, &b);
    let mut of_b = of_a.clone();
    continue_in(&original, &mut of_a, 1000);
    drop(original);
    let copied = open(&b, options());
    of_b.assert_in(&copied);
    continue_in(&copied, &mut of_b, 2000);
    drop(copied);
    assert_mixtures_refused([&a, &b]);
    of_a.assert_at(&a);
    of_b.assert_at(&b);
}

/// Both children have the random state that the standard library initialized in their parent before the fork.
fn two_forked_children_that_open_one_copy_each_get_different_opening_ids(root: &Path) {
    let base = root.join("base");
    drop(open(&base, options()));
    let openings = ["a", "b"].map(|name| {
        let path = root.join(name);
        copy(&base, &path);
        path
    });
    let openings = openings.map(|path| {
        let mut child = ForkedChild::start(|parent| {
            let db = open(&path, options());
            parent.send_line(&db.recovery_report().opening.to_string());
        });
        let opening = child.read_line();
        child.end();
        opening
    });
    assert_ne!(openings[0], openings[1], "the opening ids");
}
