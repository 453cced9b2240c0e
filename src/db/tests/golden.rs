//! Golden databases: the stored databases of each release open in every later release.
//!
//! `tests/data/golden` has one directory per release, with the databases of [`LastSession`] that the release wrote.
//! Each release adds its directory, and later changes do not change it. Until the first release the directory
//! `unreleased` has the files that this build writes. A change of a format causes a difference from them. If the change
//! is intended, this command writes the files again:
//!
//! ```sh
//! TIDALDB_WRITE_GOLDEN=1 cargo test --lib --all-features this_build_writes
//! ```
//!
//! The databases of all releases have the same calls, so do not change [`write`]. For new calls add a new database,
//! which the test does not expect in older releases.

use std::path::PathBuf;

use super::*;
use crate::fs::RealFiles;

const VARIABLE: &str = "TIDALDB_WRITE_GOLDEN";
const UNRELEASED: &str = "unreleased";

/// The end of the last session of a stored database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastSession {
    /// By `close`: the last checkpoint covers all events.
    Closed,
    /// By a drop of the handle: the log has events after the last checkpoint, and no promise covers the end of a file.
    Dropped,
}

impl LastSession {
    const ALL: [Self; 2] = [Self::Closed, Self::Dropped];

    /// The directory of the database.
    fn dir(self) -> PathBuf {
        Path::new("/").join(match self {
            Self::Closed => "closed",
            Self::Dropped => "dropped",
        })
    }
}

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden")
}

/// The schema of the last session: the one before had no signal `dislike`.
fn last_schema() -> Schema {
    let dislike = Signal::new("dislike").half_life_ms(60_000);
    schema().signal(dislike.allow_negative_weights())
}

fn golden_options(disk: &SimDisk, schema: Schema) -> Options {
    let mut options = options(disk, Durability::EverySynced).predictable_opening_ids(1);
    options.schema = schema;
    options
}

/// Writes the database `last`, and returns its state at the end.
fn write(disk: &SimDisk, last: LastSession) -> Result<Export, Error> {
    let db = TidalDb::open(last.dir(), golden_options(disk, schema()))?;
    for i in 0..40 {
        record(&db, i)?;
    }
    for name in ["saved", "seen", "gone"] {
        db.create_collection(name)?;
        for entity in 0..20 {
            db.add_to_collection(name, EntityId(entity * entity * entity))?;
        }
    }
    db.checkpoint()?;
    drop(db);

    let db = TidalDb::open(last.dir(), golden_options(disk, last_schema()))?;
    let dislike = db.signal("dislike")?;
    let events: Vec<_> = (0..20)
        .map(|i| {
            let event = SignalEvent::new(dislike, EntityId(u64::MAX - i), NOW_MS - i as i64 * 100_000);
            event.with_weight(-0.5 - i as f64).with_user(UserId(i % 7))
        })
        .collect();
    db.record_batch(&events)?;
    db.forget_entity(EntityId(2))?;
    db.delete_collection("gone")?;
    db.checkpoint()?;
    for i in 40..80 {
        record(&db, i)?;
    }
    db.forget_user(UserId(1))?;
    for i in 80..100 {
        record(&db, i)?;
    }
    db.remove_from_collection("saved", EntityId(8))?;
    let state = db.export()?;
    let lens = [
        state.signals.len(),
        state.cohorts.len(),
        state.collections.len(),
        state.user_rings.len(),
        state.related.len(),
    ];
    assert!(!lens.contains(&0), "every structure is in use: {lens:?}");
    if last == LastSession::Closed {
        db.close()?;
    }
    Ok(state)
}

#[test]
fn the_stored_databases_of_every_release_open_with_their_recorded_state() {
    let mut opened = 0;
    for release in RealFiles.list(&golden_dir()).unwrap() {
        let image = Image::read_from(&RealFiles, &golden_dir().join(&release)).unwrap();
        for last in LastSession::ALL {
            let context = format!("{release}, {last:?}");
            let expected = write(&SimDisk::new(), last).unwrap();
            let disk = SimDisk::from_image(&image);
            let stored = Options::stored_schema().files(Arc::new(disk.clone()));
            let db = TidalDb::open(last.dir(), stored)
                .unwrap_or_else(|error| panic!("{context} does not open: {error}"));
            assert!(db.export().unwrap() == expected, "{context} has another state");
            let report = db.recovery_report();
            assert_eq!((report.opening > 2, report.created), (true, false), "{context}");
            assert_eq!(
                report.events_replayed > 0,
                last == LastSession::Dropped,
                "{context}"
            );
            db.close().unwrap();
            drop(db);
            let db = TidalDb::open(last.dir(), golden_options(&disk, last_schema())).unwrap();
            assert!(
                db.export().unwrap() == expected,
                "{context} has another state after a close"
            );
            record(&db, 100).unwrap();
            opened += 1;
        }
    }
    assert!(opened >= LastSession::ALL.len(), "no stored databases");
}

#[test]
fn this_build_writes_the_golden_files() {
    let disk = SimDisk::new();
    for last in LastSession::ALL {
        write(&disk, last).unwrap();
    }
    let written = content(&disk);
    let dir = golden_dir().join(UNRELEASED);
    if std::env::var_os(VARIABLE).is_some() {
        if let Ok(stored) = Image::read_from(&RealFiles, &dir) {
            for (path, _) in stored.files() {
                RealFiles
                    .remove(&dir.join(path.strip_prefix("/").unwrap()))
                    .unwrap();
            }
        }
        written.write_to(&RealFiles, &dir).unwrap();
    }
    let stored = Image::read_from(&RealFiles, &dir).unwrap_or_default();
    assert!(
        stored == written,
        "a format or the order of writes has changed: {:#?}\nif the change is intended, set {VARIABLE}=1 and run \
         this test to write {} again",
        stored.differences(&written),
        dir.display()
    );
}
