//! Tests of the limits that a single session on one thread cannot exceed: the number of earlier openings in the opening
//! record, and the growth at which writers wait for a checkpoint. The tests of
//! [`collections`](super::super::collections) exceed the limits of blocks.

use super::*;
use crate::testing::run_to_crash;
use crate::{Background, Receipt, SignalEvent, TidalDb};

/// The event with this number. Each number has its own weight.
fn event(number: u64) -> SignalEvent<'static> {
    SignalEvent {
        weight: 1.0 + number as f64 / 4096.0,
        ..SignalEvent::new(SignalId(1), EntityId(number % 3), 0)
    }
}

fn open(disk: &SimDisk, options: Options) -> TidalDb {
    let opened = TidalDb::open("/db", options.files(Arc::new(disk.clone())));
    opened.expect("the database recovers")
}

fn options() -> Options {
    tiny_options(large_schema())
}

#[test]
fn openings_beyond_the_limit_are_removed_from_the_record_and_their_events_survive() {
    let len_max = options().limits.earlier_openings_len_max;
    let mut disk = SimDisk::new();
    let mut receipts: Vec<Receipt> = Vec::new();
    let mut before = Export::default();
    for number in 0..=2 * len_max as u64 {
        let db = open(&disk, options());
        assert_eq!(db.export().expect("it is sound"), before, "session {number}");
        let report = db.recovery_report();
        let openings_len = report.earlier_openings.len();
        assert_eq!(openings_len, receipts.len().min(len_max));
        for (age, receipt) in receipts.iter().rev().enumerate() {
            let expected = (age < len_max).then_some(true);
            assert_eq!(report.survived(*receipt), expected, "{age} sessions ago");
        }
        receipts.push(db.record(&event(number)).expect("it is recorded"));
        before = db.export().expect("it is sound");
        // A power loss ends the session.
        disk = SimDisk::from_image(&disk.image(&ImageChoice::Synced));
    }
}

/// Each session records one event and ends with a power loss, until the segments of earlier sessions make a checkpoint
/// due. The crash is in this checkpoint.
#[test]
fn the_segments_of_short_sessions_make_a_checkpoint_due() {
    let options = || options().checkpoint_log_bytes(1 << 30);
    let len_max = options().limits.sealed_segments_len_max;
    for point in [CrashPoint::CheckpointPreFlush, CrashPoint::CheckpointPostFlush] {
        let mut disk = SimDisk::new();
        let (mut before, mut sessions_len) = (Export::default(), 0);
        let db = loop {
            let db = open(&disk, options());
            assert_eq!(
                db.export().expect("it is sound"),
                before,
                "session {sessions_len}"
            );
            let record = || db.record(&event(sessions_len)).expect("it is recorded");
            if run_to_crash(point, 0, record).is_ok() {
                break db;
            }
            before = db.export().expect("it is sound");
            sessions_len += 1;
            assert!(sessions_len <= len_max, "no checkpoint is due");
            disk = SimDisk::from_image(&disk.image(&ImageChoice::Synced));
        };
        assert_eq!(sessions_len, len_max, "each session leaves one segment");
        let segments_len = db.recovery_report().segments_found as u64;
        assert_eq!(segments_len, len_max);
        drop(db);
        disk = SimDisk::from_image(&disk.image(&ImageChoice::Synced));
        let db = open(&disk, options());
        assert_eq!(db.export().expect("it is sound"), before, "{point}");
        db.record(&event(sessions_len)).expect("it is recorded");
        let statistics = db.statistics().expect("it is sound");
        assert_eq!(statistics.log_segments_len, 1, "{point}");
    }
}

/// Records until the writing thread itself makes a checkpoint. Crashes in this checkpoint, and compares the recovered
/// state with the state before. The background thread that makes checkpoints does not crash.
fn crash_a_waiting_writer(due: impl Fn(Options) -> Options) {
    let options = || due(options()).background(Background::OwnThreads);
    let disk = SimDisk::new();
    let db = open(&disk, options());
    let mut recorded = 0;
    let crashed = run_to_crash(CrashPoint::CheckpointPreFlush, 0, || {
        loop {
            db.record(&event(recorded)).expect("it is recorded");
            recorded += 1;
        }
    });
    let crashed = crashed.expect("the writing thread makes a checkpoint");
    assert_eq!(crashed.point, CrashPoint::CheckpointPreFlush);
    let last_sequence = db.last_sequence();
    let before = db.export().expect("a checkpoint changes no state");
    drop(db);
    let recovered = open(&SimDisk::from_image(&disk.image(&ImageChoice::Synced)), options());
    assert_eq!(recovered.last_sequence(), last_sequence);
    assert_eq!(recovered.export().expect("it is sound"), before);
    assert!(recorded > 0);
}

#[test]
fn a_writer_waits_for_a_checkpoint_if_the_log_is_too_long() {
    crash_a_waiting_writer(|options| options.checkpoint_log_bytes(1));
}

#[test]
fn a_writer_waits_for_a_checkpoint_if_too_many_states_have_changed() {
    crash_a_waiting_writer(|options| options.checkpoint_log_bytes(u64::MAX).checkpoint_state_bytes(1));
}
