//! Sessions that end without a close: after any number of them the log has few segments, and an open reads few files.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::limits::Limits;
use crate::testing::faults::{FileOperation, ForwardingFiles};

/// The number of segments at which the caller makes a checkpoint, or waits for that of the background thread. The
/// segment that takes frames counts too.
fn segments_len_max(background: Background) -> usize {
    let Limits {
        sealed_segments_len_max,
        log_growth_factor_max,
        ..
    } = Limits::default();
    let factor = match background {
        Background::Caller => 1,
        Background::OwnThreads => log_growth_factor_max,
    };
    (sealed_segments_len_max * factor) as usize + 1
}

/// The work of a session. It gets the number of events of all earlier sessions, and returns the number of events that
/// it records.
type SessionWork = fn(&TidalDb, u64) -> u64;

/// Runs `sessions_len` sessions: each opens, does `work` and drops the handle. Checks the segments and the opened files
/// of each open. Returns the largest number of segments that an open found.
fn run_sessions(
    sessions_len: u64,
    durability: Durability,
    background: Background,
    work: SessionWork,
) -> usize {
    let disk = SimDisk::new();
    let (mut events_len, mut segments_max) = (0, 0);
    for number in 0..sessions_len {
        let opened_len = Arc::new(AtomicI64::new(0));
        let counted = Arc::clone(&opened_len);
        let files = ForwardingFiles::new(Arc::new(disk.clone()), move |call| {
            if let FileOperation::Open { .. } = call.operation {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            call.forward()
        });
        let options = options(&disk, durability).background(background);
        let db = TidalDb::open(PATH, options.files(Arc::new(files))).unwrap();
        let opened = opened_len.load(Ordering::Relaxed) as usize;
        let found = db.recovery_report().segments_found;
        segments_max = segments_max.max(found);
        assert!(
            found <= segments_len_max(background),
            "{found} segments in session {number}"
        );
        // An open opens each file of log and store twice, for its header and for the rest, and a few new ones.
        let store_files_len = db.recovery_report().store.as_ref().unwrap().files_found;
        assert!(store_files_len <= 24, "{store_files_len} files of the store");
        assert!(
            opened <= 2 * (found + store_files_len) + 16,
            "{opened} files opened for {found} segments and {store_files_len} files of the store"
        );
        events_len += work(&db, events_len);
        let segments_len = db.statistics().unwrap().log_segments_len as usize;
        let image = content(&disk);
        if background == Background::Caller {
            assert_eq!(segments_len, log_files(&image).len(), "session {number}");
        }
        assert!(segments_len <= segments_len_max(background) + 1);
    }
    let db = open(&disk, durability).unwrap();
    let mut found = db.export().unwrap();
    found.collections.clear();
    assert_eq!(found, state_after(events_len), "each event is recovered once");
    segments_max
}

fn record_one(db: &TidalDb, events_len: u64) -> u64 {
    record(db, events_len).unwrap();
    1
}

const POLICIES: [Durability; 3] = [
    Durability::EverySynced,
    Durability::SyncedEvery { interval_ms: 1 },
    Durability::OperatingSystem,
];

#[test]
fn sessions_that_record_leave_few_segments_under_every_policy() {
    for durability in POLICIES {
        let found = run_sessions(150, durability, Background::Caller, record_one);
        // Each session leaves a segment until a checkpoint is due.
        assert_eq!(found + 1, segments_len_max(Background::Caller), "{durability:?}");
    }
}

#[test]
fn sessions_that_record_nothing_leave_one_segment() {
    for durability in POLICIES {
        let found = run_sessions(20, durability, Background::Caller, |_, _| 0);
        assert_eq!(found, 1, "{durability:?}");
        let found = run_sessions(20, durability, Background::Caller, |db, _| {
            let name = db.last_sequence().to_string();
            let created = db.create_collection(name);
            assert!(created.is_ok() || matches!(created, Err(Error::CollectionExists { .. })));
            0
        });
        assert_eq!(found, 1, "{durability:?}");
    }
}

#[test]
fn sessions_that_end_by_a_close_leave_one_segment() {
    let close: SessionWork = |db, events_len| {
        let recorded = if events_len % 2 == 0 {
            record_one(db, events_len)
        } else {
            0
        };
        db.checkpoint().unwrap();
        db.close().unwrap();
        recorded
    };
    assert!(run_sessions(20, Durability::EverySynced, Background::Caller, close) <= 2);
}

#[test]
fn a_log_of_a_copy_that_diverged_before_a_checkpoint_of_short_sessions_is_refused() {
    let durability = Durability::EverySynced;
    let disk = SimDisk::new();
    let len = segments_len_max(Background::Caller) as u64 - 1;
    for number in 0..len {
        record(&open(&disk, durability).unwrap(), number).unwrap();
    }
    let copy = SimDisk::from_image(&content(&disk));
    // Each of the two disks gets another event, and the checkpoint that is due.
    for (disk, event) in [(&disk, len), (&copy, len + 1)] {
        let db = open(disk, durability).unwrap();
        record(&db, event).unwrap();
        assert_eq!(db.statistics().unwrap().log_segments_len, 1);
    }
    let (mut mixed, other) = (content(&disk), content(&copy));
    for path in log_files(&mixed) {
        mixed.remove(&path);
    }
    for path in log_files(&other) {
        mixed.insert_file(&path, other.file(&path).unwrap().to_vec());
    }
    let error = open(&SimDisk::from_image(&mixed), durability)
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, Error::ForeignHistory { .. }), "{error}");
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn two_thousand_sessions_leave_few_segments() {
        run_sessions(2000, Durability::EverySynced, Background::Caller, record_one);
    }

    #[test]
    fn sessions_with_own_threads_leave_few_segments() {
        run_sessions(
            600,
            Durability::OperatingSystem,
            Background::OwnThreads,
            record_one,
        );
    }
}
