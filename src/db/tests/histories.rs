//! Diverged copies of one database: an open refuses a mixture of their files. It never refuses the files that a crash
//! or a power loss leaves.

use std::io::ErrorKind;
use std::ops::Range;

use super::*;
use crate::testing::sim_disk::Fault;

/// The number of events before the database is copied.
const COMMON: u64 = 100;
/// The number of events of each copy after that.
const OWN: u64 = 300;

/// The end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MixedEnd {
    Closed,
    Dropped,
    /// With a checkpoint as the last call.
    Checkpointed,
}

const SESSION_ENDS: [MixedEnd; 3] = [MixedEnd::Closed, MixedEnd::Dropped, MixedEnd::Checkpointed];

/// A copy of a database, and its state.
#[derive(Debug, Clone)]
struct Copy {
    image: Image,
    state: Export,
}

fn record_all(db: &TidalDb, events: Range<u64>) {
    for i in events {
        record(db, i).unwrap();
    }
}

/// Ends the session with `db` on `disk`.
fn end(db: TidalDb, disk: &SimDisk, end: MixedEnd) -> Copy {
    let state = db.export().unwrap();
    match end {
        MixedEnd::Closed => db.close().unwrap(),
        MixedEnd::Dropped => {}
        MixedEnd::Checkpointed => {
            db.checkpoint().unwrap();
        }
    }
    drop(db);
    Copy {
        image: content(disk),
        state,
    }
}

/// Records [`COMMON`] events in a new database.
fn origin(last: MixedEnd) -> Copy {
    let disk = SimDisk::new();
    let db = TidalDb::open(
        PATH,
        options(&disk, Durability::EverySynced).predictable_opening_ids(1),
    )
    .unwrap();
    record_all(&db, 0..COMMON);
    end(db, &disk, last)
}

/// Records [`OWN`] events, from number `first` on, in a copy of `from`. All events have the same size. `step` makes the
/// opening id predictable; otherwise it is random.
fn extend(from: &Image, first: u64, step: Option<u64>, last: MixedEnd) -> Copy {
    let disk = SimDisk::from_image(from);
    let mut options = options(&disk, Durability::EverySynced);
    options.opening_id_step = step;
    let db = TidalDb::open(PATH, options).unwrap();
    record_all(&db, first..first + OWN);
    end(db, &disk, last)
}

/// The image with the files of `other` in its directory `dir`, the log or the store.
fn with_files_of(image: &Image, other: &Image, dir: &str) -> Image {
    let dir = Path::new(PATH).join(dir);
    let mut mixed = image.clone();
    mixed.remove(&dir);
    mixed.insert_dir(&dir);
    for (path, bytes) in other.files().filter(|(path, _)| path.starts_with(&dir)) {
        mixed.insert_file(path, bytes);
    }
    mixed
}

/// Opens the image and returns its state, or the error. Checks that a refused open changes nothing.
fn opened(image: &Image) -> Result<Export, Error> {
    let disk = SimDisk::from_image(image);
    let error = match open(&disk, Durability::EverySynced) {
        Ok(db) => return Ok(db.export().unwrap()),
        Err(error) => error,
    };
    assert_only_locked(&disk, image, &error);
    Err(error)
}

fn assert_refused(image: &Image, context: &str) {
    match opened(image) {
        Ok(_) => panic!("{context}: it opens"),
        Err(error) => {
            assert!(
                matches!(&error, Error::ForeignHistory { path, .. } if path.starts_with(format!("{PATH}/log"))),
                "{context}: {error}"
            );
            let text = error.to_string();
            assert!(
                text.contains(".wal belongs to another history of this database: "),
                "{text}"
            );
        }
    }
}

#[test]
fn the_log_of_one_copy_with_the_store_of_the_other_is_refused() {
    // Regression: such a mixture opened with the checkpoint of one copy and the log of the other.
    for before in SESSION_ENDS {
        for equal_ids in [false, true] {
            for ends in [
                [MixedEnd::Closed, MixedEnd::Closed],
                [MixedEnd::Checkpointed, MixedEnd::Checkpointed],
                [MixedEnd::Dropped, MixedEnd::Checkpointed],
                [MixedEnd::Checkpointed, MixedEnd::Dropped],
                [MixedEnd::Dropped, MixedEnd::Closed],
                [MixedEnd::Closed, MixedEnd::Dropped],
            ] {
                let from = origin(before).image;
                let step = equal_ids.then_some(1);
                let a = extend(&from, 1000, step, ends[0]);
                let b = extend(&from, 2000, step, ends[1]);
                let context = format!("{before:?}, equal ids {equal_ids}, {ends:?}");
                for copy in [&a, &b] {
                    assert!(opened(&copy.image).unwrap() == copy.state, "{context}");
                }
                let mixed = with_files_of(&b.image, &a.image, "log");
                // The store has no checkpoint after the copy, and the log was trimmed or begun before it.
                let without_checkpoint = ends[1] == MixedEnd::Dropped;
                match opened(&mixed) {
                    Err(Error::ForeignHistory { .. }) => {}
                    Err(Error::SegmentMissing { .. }) if equal_ids && without_checkpoint => {}
                    other => panic!("{context}: {:?}", other.map(drop)),
                }
            }
        }
    }
}

#[test]
fn an_older_log_with_a_newer_store_and_a_newer_log_with_an_older_store_are_refused() {
    for before in SESSION_ENDS {
        for last in SESSION_ENDS {
            let older = origin(before);
            let newer = extend(&older.image, 1000, None, last);
            let context = format!("{before:?}, {last:?}");
            assert_refused(&with_files_of(&older.image, &newer.image, "log"), &context);
            let old_log = with_files_of(&newer.image, &older.image, "log");
            if last == MixedEnd::Dropped {
                // The newer store is one opening ahead of the older log and has no later event, so the older history
                // opens.
                assert!(opened(&old_log).unwrap() == older.state, "{context}");
            } else {
                assert_refused(&old_log, &context);
            }
        }
    }
}

#[test]
fn a_mix_of_files_of_a_database_and_of_its_copy_is_refused() {
    for checkpoints in [false, true] {
        let disk = SimDisk::new();
        let db = open(&disk, Durability::EverySynced).unwrap();
        record_all(&db, 0..COMMON);
        let copied = content(&disk);
        // The original continues with the id of its opening.
        record_all(&db, 1000..1000 + OWN);
        let last = if checkpoints {
            MixedEnd::Checkpointed
        } else {
            MixedEnd::Dropped
        };
        let original = end(db, &disk, last);
        let copy = extend(&copied, 2000, None, last);
        for (one, other) in [(&original, &copy), (&copy, &original)] {
            let context = format!("checkpoints: {checkpoints}");
            assert!(opened(&one.image).unwrap() == one.state, "{context}");
            assert_refused(&with_files_of(&one.image, &other.image, "log"), &context);
        }
        if !checkpoints {
            // The segments of the copy after the common ones, except the last one.
            let (ours, theirs) = (log_files(&original.image), log_files(&copy.image));
            let only_theirs = theirs.iter().filter(|segment| !ours.contains(segment)).count();
            assert!(
                only_theirs > 0,
                "the copy began a segment where the original did not"
            );
            let shared = ours.iter().filter(|segment| theirs.contains(segment));
            for segment in shared {
                let mut mixed = copy.image.clone();
                mixed.insert_file(segment, original.image.file(segment).unwrap());
                // The image is legal if all frames up to the end in the next segment of the copy are common ones.
                match opened(&mixed) {
                    Ok(state) => assert!(state == copy.state, "{segment}"),
                    Err(
                        Error::ForeignHistory { .. } | Error::Corrupt { .. } | Error::SegmentMissing { .. },
                    ) => {}
                    Err(error) => panic!("{segment}: {error}"),
                }
            }
        }
    }
}

#[test]
fn after_a_power_loss_a_log_that_ends_before_the_flushed_checkpoint_opens() {
    let mut shorter = 0;
    for synced in [0, 3, 12, 25] {
        for checkpoint_at in [13, 26, 40] {
            let disk = SimDisk::new();
            let db = open(&disk, Durability::OperatingSystem).unwrap();
            let mut state = 0;
            for i in 0..checkpoint_at {
                if i == synced {
                    db.sync().unwrap();
                }
                state = record(&db, i).unwrap();
            }
            let covered = db.checkpoint().unwrap();
            assert_eq!(covered, state);
            let before = db.export().unwrap();
            drop(db);
            let context = format!("{synced} synced, checkpoint at {checkpoint_at}");
            let mut disk = crashed(&disk, &ImageChoice::Synced);
            let mut expected = before;
            for session in 0..4_u64 {
                let db = open(&disk, Durability::OperatingSystem)
                    .unwrap_or_else(|error| panic!("{context}, session {session}: {error}"));
                assert!(db.export().unwrap() == expected, "{context}, session {session}");
                let report = db.recovery_report();
                shorter += u64::from(session == 0 && report.frames_replayed == 0);
                for i in 0..15 {
                    record(&db, 100 + 20 * session + i).unwrap();
                }
                match session {
                    0 => {}
                    1 => {
                        db.checkpoint().unwrap();
                    }
                    _ => db.sync().unwrap(),
                }
                expected = db.export().unwrap();
                drop(db);
                // The first session ends in a process crash, so all writes stay.
                let choice = if session == 0 {
                    ImageChoice::All
                } else {
                    ImageChoice::Synced
                };
                disk = crashed(&disk, &choice);
            }
        }
    }
    assert!(shorter > 0);
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn three_failed_openings_in_a_row_leave_a_database_that_opens() {
        // Between the record and the segment of an opening, the store is one opening ahead of the log.
        let disk = SimDisk::new();
        let db = TidalDb::open(
            PATH,
            options(&disk, Durability::EverySynced).predictable_opening_ids(1),
        )
        .unwrap();
        record_all(&db, 0..6);
        drop(db);
        let begun = content(&disk);
        let states = [state_after(6), state_after(7)];
        let (mut ahead, mut runs) = (0, 0);
        let reopen = |disk: &SimDisk| {
            TidalDb::open(
                PATH,
                options(disk, Durability::EverySynced).predictable_opening_ids(1),
            )
        };
        let after = |disk: SimDisk, power_loss: bool| {
            disk.clear_faults();
            if power_loss {
                crashed(&disk, &ImageChoice::Synced)
            } else {
                disk
            }
        };
        for idle in [false, true] {
            let disk = SimDisk::from_image(&begun);
            if idle {
                // The newest segment holds no frame.
                drop(reopen(&disk).unwrap());
            }
            let begun = content(&disk);
            let operations = {
                let disk = SimDisk::from_image(&begun);
                reopen(&disk).unwrap();
                disk.operations_len()
            };
            for run in 0..operations * operations * 2 {
                let (first, second) = (run / 2 % operations, run / 2 / operations);
                // The second opening finds the unsynced writes of the first one. They may be lost after that.
                let power_losses = [false, run % 2 == 1];
                let mut disk = SimDisk::from_image(&begun);
                let mut failed = 0;
                for (at, power_loss) in [
                    (first, power_losses[0]),
                    (second, power_losses[1]),
                    (second, power_losses[1]),
                ] {
                    disk.fail_from(disk.operations_len() + at, Fault::ErrorBefore(ErrorKind::Other));
                    failed += u64::from(reopen(&disk).is_err());
                    disk = after(disk, power_loss);
                }
                let context = format!("idle {idle}, {first} and {second}, power losses {power_losses:?}");
                let db = reopen(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(db.export().unwrap(), states[0], "{context}");
                let report = db.recovery_report();
                let oldest = report.earlier_openings.last().unwrap();
                assert_eq!((oldest.opening, oldest.survived_sequence), (1, 6), "{context}");
                assert!(
                    report.earlier_openings.iter().all(|it| it.survived_sequence == 6),
                    "{context}: {report:?}"
                );
                // The missing ids are of openings that failed between their record and their segment.
                let remembered = report.earlier_openings.len() as u64;
                ahead += u64::from(failed == 3 && report.opening == remembered + 4);
                record(&db, 6).unwrap();
                drop(db);
                let db = reopen(&crashed(&disk, &ImageChoice::Synced)).unwrap();
                assert_eq!(db.export().unwrap(), states[1], "{context}");
                runs += 1;
            }
        }
        assert!(ahead > 100 && runs > 1000, "{ahead} were ahead in {runs} runs");
    }

    #[test]
    fn later_segments_of_one_copy_in_the_log_of_the_other_are_refused() {
        // Regression: such a log opened with events of both copies.
        let (mut mixtures, mut whole) = (0, 0);
        for before in [MixedEnd::Closed, MixedEnd::Dropped] {
            for equal_ids in [false, true] {
                let from = origin(before).image;
                let [a, b] =
                    [1000, 2000].map(|first| extend(&from, first, equal_ids.then_some(1), MixedEnd::Dropped));
                let segments = log_files(&b.image);
                assert_eq!(segments, log_files(&a.image), "the events have the same size");
                for from in 1..segments.len() {
                    // All ranges of segments would take too long.
                    for len in [1, 2, 15, segments.len()] {
                        let to = (from + len).min(segments.len());
                        let mut mixed = a.image.clone();
                        for segment in &segments[from..to] {
                            mixed.insert_file(segment, b.image.file(segment).unwrap());
                        }
                        let context = format!("{before:?}, equal ids {equal_ids}, segments {from}..{to}");
                        let differs = |segment: &String| a.image.file(segment) != b.image.file(segment);
                        let of_a = segments[..from].iter().chain(&segments[to..]).any(differs);
                        let of_b = segments[from..to].iter().any(differs);
                        if of_b && (of_a || !equal_ids) {
                            assert_refused(&mixed, &context);
                            mixtures += 1;
                        } else {
                            let state = if of_b { &b.state } else { &a.state };
                            assert!(opened(&mixed).unwrap() == *state, "{context}");
                            whole += 1;
                        }
                    }
                }
            }
        }
        assert!(mixtures > 300 && whole > 0, "{mixtures} mixtures, {whole} whole");
    }
}
