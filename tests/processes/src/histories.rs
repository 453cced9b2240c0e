//! Copies of one database that went different ways: files of two of them never make one database.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tidaldb::{Error, TidalDb};

use crate::runner::cases;
use crate::setup::{
    Acknowledged, assert_unchanged, chain, content_of, copy, open, options, paths, text, tree,
};

cases!("histories":
    the_log_of_one_copy_continued_by_the_other_copy_is_refused,
    one_segment_of_the_other_copy_in_a_log_is_refused,
    the_log_of_one_copy_with_the_store_of_the_other_is_refused,
    each_copy_of_a_closed_database_opens_whole,
    files_of_a_live_database_and_of_a_copy_of_it_never_give_a_mixture,
);

/// A database that was copied, and the two copies, each with as many further events of the same size.
#[derive(Debug)]
struct Copies {
    a: (PathBuf, Acknowledged),
    b: (PathBuf, Acknowledged),
}

/// How many events each copy records after the copy was made.
const EVENTS_LEN: u64 = 60;

fn go_on(path: &Path, acknowledged: &mut Acknowledged, first: u64) {
    let db = open(path, options());
    acknowledged.must_work(&db, first..first + EVENTS_LEN / 2);
    // A checkpoint in the middle, none at the end: the log has segments that no checkpoint covers.
    for entity in first + EVENTS_LEN / 2..first + EVENTS_LEN {
        acknowledged.record(&db, entity).unwrap();
    }
}

fn copies_of_a_closed_database(root: &Path) -> Copies {
    let base = root.join("base");
    let mut acknowledged = Acknowledged::default();
    let db = open(&base, options());
    acknowledged.must_work(&db, 0..20);
    db.close().unwrap_or_else(|error| panic!("{}", text(&error)));
    drop(db);
    let of = |name: &str, first: u64| {
        let path = root.join(name);
        copy(&base, &path);
        let mut acknowledged = acknowledged.clone();
        go_on(&path, &mut acknowledged, first);
        (path, acknowledged)
    };
    Copies {
        a: of("a", 1000),
        b: of("b", 2000),
    }
}

/// The content of a database in few words: how many events and members there are of each thousand.
fn brief((events, members): &(BTreeSet<u64>, BTreeSet<u64>)) -> String {
    let count = |entities: &BTreeSet<u64>| {
        let mut counts = BTreeMap::new();
        for entity in entities {
            *counts.entry(entity / 1000 * 1000).or_insert(0) += 1;
        }
        counts
    };
    format!("events {:?}, members {:?}", count(events), count(members))
}

/// The names of the segments, in order. The two copies have the same ones.
fn segments(copies: &Copies) -> Vec<OsString> {
    let names = |path: &Path| -> Vec<_> {
        let segments = paths(&path.join("log")).into_iter();
        segments
            .map(|path| path.file_name().unwrap().to_owned())
            .collect()
    };
    let of_a = names(&copies.a.0);
    assert_eq!(of_a, names(&copies.b.0));
    assert!(of_a.len() > 3, "{of_a:?}");
    of_a
}

/// Opens a copy of `base` in which the files `replaced`, by their paths in it, come from `other`.
fn with_mixed<T>(
    (base, other): (&Path, &Path),
    replaced: &[PathBuf],
    look: impl FnOnce(&Path, Result<TidalDb, Error>) -> T,
) -> T {
    let mixed = base.with_file_name("mixed");
    copy(base, &mixed);
    for name in replaced {
        let (from, to) = (other.join(name), mixed.join(name));
        if to.is_dir() {
            fs::remove_dir_all(&to).unwrap();
        } else if to.exists() {
            fs::remove_file(&to).unwrap();
        }
        copy(&from, &to);
    }
    let before = tree(&mixed);
    let opened = TidalDb::open(&mixed, options());
    if opened.is_err() {
        assert_unchanged(&before, &mixed);
    }
    let looked = look(&mixed, opened);
    fs::remove_dir_all(&mixed).unwrap();
    looked
}

/// Opens the mixture of each copy with files of the other. The refusal must be that of another history.
fn assert_refused(copies: &Copies, replaced: &[Vec<PathBuf>]) {
    let (a, b) = (copies.a.0.as_path(), copies.b.0.as_path());
    let mut wrong = Vec::new();
    for files in replaced {
        for (base, other) in [(a, b), (b, a)] {
            with_mixed((base, other), files, |_, opened| {
                let named = format!("{} with {files:?}", base.display());
                match opened {
                    Ok(db) => wrong.push(format!("{named} opens with {}", brief(&content_of(&db)))),
                    Err(error) => {
                        let says = |error: &&Error| matches!(error, Error::ForeignHistory { .. });
                        if !chain(&error).iter().any(says) {
                            wrong.push(format!("{named}: {}", text(&error)));
                        }
                    }
                }
            });
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} mixtures are not refused as another history:\n{}",
        wrong.len(),
        replaced.len() * 2,
        wrong.join("\n")
    );
}

fn in_log(names: &[OsString]) -> Vec<PathBuf> {
    names.iter().map(|name| Path::new("log").join(name)).collect()
}

fn the_log_of_one_copy_continued_by_the_other_copy_is_refused(root: &Path) {
    let copies = copies_of_a_closed_database(root);
    let segments = segments(&copies);
    let mixtures: Vec<_> = (1..segments.len())
        .map(|first| in_log(&segments[first..]))
        .collect();
    assert_refused(&copies, &mixtures);
}

fn one_segment_of_the_other_copy_in_a_log_is_refused(root: &Path) {
    let copies = copies_of_a_closed_database(root);
    let segments = segments(&copies);
    let mixtures: Vec<_> = segments.chunks(1).map(in_log).collect();
    assert_refused(&copies, &mixtures);
}

fn the_log_of_one_copy_with_the_store_of_the_other_is_refused(root: &Path) {
    let copies = copies_of_a_closed_database(root);
    assert_refused(&copies, &[vec!["log".into()], vec!["store".into()]]);
}

fn each_copy_of_a_closed_database_opens_whole(root: &Path) {
    let copies = copies_of_a_closed_database(root);
    for (path, acknowledged) in [copies.a, copies.b] {
        // Again and again, also after a close.
        acknowledged.assert_at(&path);
        let db = open(&path, options());
        acknowledged.assert_in(&db);
        db.close().unwrap_or_else(|error| panic!("{}", text(&error)));
        drop(db);
        acknowledged.assert_at(&path);
    }
}

/// The copy is made while no call runs, and every event is synced: it is complete.
fn files_of_a_live_database_and_of_a_copy_of_it_never_give_a_mixture(root: &Path) {
    let (a, b) = (root.join("live"), root.join("copy"));
    let live = open(&a, options());
    let mut of_a = Acknowledged::default();
    of_a.must_work(&live, 0..20);
    for entity in 20..25 {
        of_a.record(&live, entity).unwrap();
    }
    copy(&a, &b);
    let mut of_b = of_a.clone();
    for entity in 1000..1000 + EVENTS_LEN {
        of_a.record(&live, entity).unwrap();
    }
    of_a.add(&live, 1000).unwrap();
    drop(live);
    let copied = open(&b, options());
    of_b.assert_in(&copied);
    for entity in 2000..2000 + EVENTS_LEN {
        of_b.record(&copied, entity).unwrap();
    }
    of_b.add(&copied, 2000).unwrap();
    drop(copied);

    // Each file of one that differs in the other or is not there, and each run of segments up to the end.
    let relative = |base: &Path| -> BTreeSet<PathBuf> {
        let files = tree(base).into_keys().filter(|path| path.is_file());
        files
            .map(|path| path.strip_prefix(base).unwrap().to_owned())
            .collect()
    };
    let mut wrong = Vec::new();
    for (base, other) in [(&a, &b), (&b, &a)] {
        let files: Vec<_> = relative(other)
            .into_iter()
            .filter(|file| !file.ends_with("LOCK"))
            .collect();
        let log: Vec<_> = files
            .iter()
            .filter(|file| file.starts_with("log"))
            .cloned()
            .collect();
        let mut mixtures: Vec<Vec<PathBuf>> = files.chunks(1).map(<[PathBuf]>::to_vec).collect();
        mixtures.extend((1..log.len()).map(|first| log[first..].to_vec()));
        mixtures.extend([vec!["log".into()], vec!["store".into()]]);
        for files in mixtures {
            with_mixed((base, other), &files, |_, opened| {
                let Ok(db) = opened else { return };
                let content = content_of(&db);
                let is_of = |of: &Acknowledged| of.events == content.0 && of.members == content.1;
                let is_whole = is_of(&of_a) || is_of(&of_b);
                if !is_whole {
                    let named = format!("{} with {files:?}", base.display());
                    wrong.push(format!("{named} opens with {}", brief(&content)));
                }
            });
        }
    }
    assert!(wrong.is_empty(), "mixtures:\n{}", wrong.join("\n"));
    of_a.assert_at(&a);
    of_b.assert_at(&b);
}
