//! Many threads with one handle: shared syncs, log order, and panics that block no thread.

use std::io::ErrorKind;
use std::sync::mpsc;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::*;
use crate::testing::faults::{FileOperation, ForwardingFiles};
use crate::testing::sim_disk::Fault;
use crate::testing::threads;
use crate::testing::workload::with_many_segments;
use crate::testing::{CrashAction, CrashInjector, CrashPoint, run_with_crash, scoped_injector};

/// Runs `body` on `len` threads at once, and returns their results.
fn on_threads<T: Send + 'static>(len: u64, body: impl Fn(u64) -> T + Send + Sync + 'static) -> Vec<T> {
    let body = Arc::new(body);
    let (sender, receiver) = mpsc::channel();
    let handles: Vec<_> = (0..len)
        .map(|index| {
            let (body, sender) = (Arc::clone(&body), sender.clone());
            threads::spawn("test", move || sender.send((index, body(index))).unwrap()).unwrap()
        })
        .collect();
    drop(sender);
    let mut results: Vec<_> = receiver.iter().collect();
    for handle in handles {
        drop(handle.join());
    }
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Blocks the first sync of a file after `set`, until `open`.
#[derive(Debug, Default)]
struct SyncGate {
    /// Syncs since the gate was set; none before.
    syncs: Mutex<Option<u64>>,
    opened: Mutex<bool>,
    is_opened: Condvar,
}

impl SyncGate {
    fn set(&self) {
        *self.syncs.lock().unwrap() = Some(0);
    }

    fn open(&self) {
        *self.opened.lock().unwrap() = true;
        self.is_opened.notify_all();
    }

    fn syncs(&self) -> u64 {
        self.syncs.lock().unwrap().unwrap()
    }

    fn pass(&self) {
        let first = {
            let mut syncs = self.syncs.lock().unwrap();
            let Some(count) = syncs.as_mut() else { return };
            *count += 1;
            *count == 1
        };
        let opened = self.opened.lock().unwrap();
        drop(
            self.is_opened
                .wait_while(opened, |opened| first && !*opened)
                .unwrap(),
        );
    }
}

/// Opens a database whose next sync waits until eight frames are written, and records one event on each of eight
/// threads.
fn record_on_eight_threads(disk: &SimDisk) -> (Arc<TidalDb>, Arc<SyncGate>, Vec<Result<u64, Error>>) {
    let gate = Arc::new(SyncGate::default());
    let passed = Arc::clone(&gate);
    let files = ForwardingFiles::new(Arc::new(disk.clone()), move |call| {
        if let FileOperation::Sync = call.operation {
            passed.pass();
        }
        call.forward()
    });
    let options = options(disk, Durability::EverySynced)
        .segment_bytes_max(1 << 20)
        .preallocate_bytes(1 << 16)
        .files(Arc::new(files));
    let db = Arc::new(TidalDb::open(PATH, options).unwrap());
    gate.set();
    let (handle, opener) = (Arc::clone(&db), Arc::clone(&gate));
    let results = on_threads(8, move |index| {
        // Each thread crosses the point after its frame is written, before it waits for the sync.
        let (looking, opener) = (Arc::clone(&handle), Arc::clone(&opener));
        let action = CrashAction::call(move |_, _| {
            if looking.last_sequence() == 8 {
                opener.open();
            }
        });
        let injector = CrashInjector::with_action(CrashPoint::WalPostAggregate, 0, action);
        run_with_crash(&injector, || record(&handle, index)).unwrap()
    });
    (db, gate, results)
}

#[test]
fn threads_that_wait_at_the_same_time_share_a_sync() {
    let disk = SimDisk::new();
    let (db, gate, results) = record_on_eight_threads(&disk);
    // The first thread may have synced alone. The frames of all others were written before it continued.
    assert!(gate.syncs() <= 2, "{} syncs for eight events", gate.syncs());
    assert_eq!(db.durable_sequence(), 8);
    let mut sequences: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=8).collect::<Vec<_>>());
    drop(db);
    let reopened = open(&crashed(&disk, &ImageChoice::Synced), Durability::EverySynced).unwrap();
    assert_eq!(reopened.last_sequence(), 8);
}

#[test]
fn all_threads_that_wait_for_a_failing_shared_sync_get_the_error() {
    let disk = SimDisk::new();
    let faulty = disk.clone();
    drop(open(&disk, Durability::EverySynced).unwrap());
    faulty.fail_from(sync_after_reopening(&disk), Fault::SyncLoses(ErrorKind::Other));
    let (db, _, results) = record_on_eight_threads(&disk);
    assert!(!faulty.faults_fired().is_empty());
    for result in results {
        let error = result.unwrap_err();
        assert!(error.sequence().is_some(), "{error}: the event may be recovered");
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        assert!(cause.to_string().to_lowercase().contains("sync"), "{cause}");
    }
    assert_eq!(db.durable_sequence(), 0);
    assert!(db.export().is_ok());
}

/// The ordinal of the first operation after a reopening of this disk.
fn sync_after_reopening(disk: &SimDisk) -> u64 {
    let copy = SimDisk::from_image(&content(disk));
    let options = options(&copy, Durability::EverySynced)
        .segment_bytes_max(1 << 20)
        .preallocate_bytes(1 << 16);
    let db = TidalDb::open(PATH, options).unwrap();
    let operations = copy.operations_len();
    drop(db);
    disk.operations_len() + operations
}

#[test]
fn after_a_panic_in_one_thread_the_calls_of_all_others_fail_and_no_thread_blocks() {
    for point in [
        CrashPoint::WalPreAggregate,
        CrashPoint::SignalAggregationUpdate,
        CrashPoint::CoEngagementUpdate,
    ] {
        for policy in POLICIES {
            let disk = SimDisk::new();
            let db = Arc::new(open(&disk, policy).unwrap());
            let injector = CrashInjector::new(point, 40);
            let handle = Arc::clone(&db);
            let acknowledged = run_with_crash(&injector, || {
                on_threads(4, move |index| {
                    let mut sequences = Vec::new();
                    let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        // Until another thread panics.
                        for i in 0.. {
                            match record(&handle, index * 1000 + i) {
                                Ok(sequence) => sequences.push(sequence),
                                Err(_) => return,
                            }
                        }
                    }));
                    (
                        sequences,
                        attempt
                            .err()
                            .is_none_or(|payload| crate::testing::crash_of(&payload).is_some()),
                    )
                })
            })
            .unwrap();
            assert!(injector.has_fired());
            assert!(
                acknowledged.iter().all(|(_, orderly)| *orderly),
                "each thread ends with an error or with the crash"
            );
            let last = acknowledged
                .iter()
                .flat_map(|(sequences, _)| sequences)
                .max()
                .copied()
                .unwrap_or(0);
            assert!(matches!(db.export(), Err(Error::Poisoned { .. })));
            drop(db);
            let reopened = open(&crashed(&disk, &ImageChoice::All), policy).unwrap();
            assert!(reopened.last_sequence() >= last, "{point} {policy:?}");
            assert_eq!(
                reopened.recovery_report().events_replayed,
                reopened.last_sequence()
            );
        }
    }
}

#[test]
fn co_engagement_is_applied_in_log_order_by_several_threads() {
    for round in 0..20 {
        let disk = SimDisk::new();
        let db = Arc::new(open(&disk, Durability::OperatingSystem).unwrap());
        let handle = Arc::clone(&db);
        // All events have the same user, so that every order of events gives another ring and other edges.
        on_threads(3, move |index| {
            for i in 0..20 {
                let entity = EntityId((index * 7 + i * 3 + round) % 40);
                let event = SignalEvent::new(SignalId(1), entity, NOW_MS).with_user(UserId(1));
                handle.record(&event).unwrap();
            }
        });
        let before = db.export().unwrap();
        drop(db);
        let replayed = open(&disk, Durability::OperatingSystem)
            .unwrap()
            .export()
            .unwrap();
        assert_eq!(replayed.user_rings, before.user_rings, "round {round}");
        assert_eq!(replayed.related, before.related, "round {round}");
    }
}

#[test]
fn a_background_thread_makes_checkpoints_so_that_the_log_stays_bounded() {
    let disk = SimDisk::new();
    let options = options(&disk, Durability::OperatingSystem)
        .background(Background::OwnThreads)
        .checkpoint_log_bytes(4096);
    let db = Arc::new(TidalDb::open(PATH, options).unwrap());
    let handle = Arc::clone(&db);
    let largest = on_threads(2, move |index| {
        let mut largest = 0;
        for i in 0..1000 {
            record(&handle, index * 1000 + i).unwrap();
            largest = largest.max(handle.statistics().unwrap().log_bytes_since_checkpoint);
        }
        largest
    });
    // Four times the size at which a checkpoint is due, and the bytes that each thread adds before it checks the size.
    assert!(
        largest.iter().all(|bytes| *bytes < 4 * 4096 + 1024),
        "{largest:?}"
    );
    assert!(db.statistics().unwrap().checkpoint_sequence > 1000);
    let before = db.export().unwrap();
    drop(db);
    let after = open(&crashed(&disk, &ImageChoice::All), Durability::OperatingSystem)
        .unwrap()
        .export()
        .unwrap();
    assert_eq!(after.related, before.related);
    assert_eq!(after.signals.len(), before.signals.len());
}

#[test]
fn a_checkpoint_is_made_for_many_changed_states_in_a_short_log() {
    // A checkpoint is one batch, and a batch has a limit. So the changed states must be limited also if the log is
    // short.
    const DUE: u64 = 20_000;
    for background in [Background::OwnThreads, Background::Caller] {
        let disk = SimDisk::new();
        let options = options(&disk, Durability::OperatingSystem)
            .background(background)
            .checkpoint_log_bytes(u64::MAX)
            .checkpoint_state_bytes(DUE);
        let db = TidalDb::open(PATH, options).unwrap();
        let (mut largest, mut after_one) = (0, 0);
        for i in 0..2000 {
            let entity = EntityId(i * 77 % 1999);
            let event = SignalEvent::new(SignalId(0), entity, NOW_MS)
                .with_user(UserId(i % 9))
                .with_cohorts(&[CohortId(1)]);
            let before = db.statistics().unwrap().state_bytes_since_checkpoint;
            db.record(&event).unwrap();
            let after = db.statistics().unwrap().state_bytes_since_checkpoint;
            after_one = after_one.max(after.saturating_sub(before));
            largest = largest.max(after);
        }
        // Twice the size at which a checkpoint is due, and the bytes of the last call before a thread checked the size.
        assert!(largest > DUE / 2, "{largest}");
        assert!(largest <= 2 * DUE + after_one, "{largest}, {after_one} in a call");
        assert!(
            db.statistics().unwrap().checkpoint_sequence > 1000,
            "{background:?}"
        );
    }
}

#[test]
fn the_states_of_a_running_checkpoint_count_until_they_are_stored() {
    // Regression: these states were not counted, so each crash inside a checkpoint increased the number of states to
    // store.
    let disk = SimDisk::new();
    let db = Arc::new(open(&disk, Durability::EverySynced).unwrap());
    for i in 0..20 {
        record(&db, i).unwrap();
    }
    let gathered = |db: &TidalDb| db.statistics().unwrap().state_bytes_since_checkpoint;
    let before = gathered(&db);
    let (handle, observed) = (Arc::clone(&db), Arc::new(Mutex::new(None)));
    let slot = Arc::clone(&observed);
    let action = CrashAction::call(move |_, _| *slot.lock().unwrap() = Some(gathered(&handle)));
    let injector = CrashInjector::with_action(CrashPoint::CheckpointPreFlush, 0, action);
    run_with_crash(&injector, || db.checkpoint()).unwrap().unwrap();
    assert!(before > 0);
    assert_eq!(*observed.lock().unwrap(), Some(before));
    assert_eq!(gathered(&db), 0);
}

#[test]
fn a_forget_counts_the_bytes_that_it_changes() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    for i in 0..40 {
        record(&db, i).unwrap();
    }
    db.checkpoint().unwrap();
    db.forget_user(UserId(77)).unwrap();
    assert_eq!(db.statistics().unwrap().state_bytes_since_checkpoint, 0);
    let counted = || db.statistics().unwrap().state_bytes_since_checkpoint;
    db.forget_user(UserId(1)).unwrap();
    let ring = counted();
    assert!(ring > 0, "a ring was removed");
    let related = db.export().unwrap().related;
    db.forget_entity(related[0].item).unwrap();
    assert!(counted() > ring);
}

#[test]
fn after_a_crash_on_the_checkpoint_thread_writes_fail_and_reads_continue() {
    let disk = SimDisk::new();
    let injector = CrashInjector::new(CrashPoint::CheckpointPostFlush, 0);
    let result = run_with_crash(&injector, || {
        let options = options(&disk, Durability::EverySynced)
            .background(Background::OwnThreads)
            .checkpoint_log_bytes(2048);
        let db = TidalDb::open(PATH, options).unwrap();
        let mut acknowledged = 0;
        while db.statistics().unwrap().log_bytes_since_checkpoint < 2048 {
            record(&db, acknowledged).unwrap();
            acknowledged += 1;
        }
        // The next call requests the checkpoint, whose thread panics at the crash point and poisons the handle.
        acknowledged += u64::from(record(&db, acknowledged).is_ok());
        while db.statistics().unwrap().poison.is_none() {
            std::thread::yield_now();
        }
        assert!(matches!(record(&db, acknowledged), Err(Error::Poisoned { .. })));
        assert_eq!(db.export().unwrap(), state_after(db.last_sequence()));
        acknowledged
    });
    let acknowledged = result.expect("the crash was on another thread");
    assert!(injector.has_fired());
    let reopened = open(&crashed(&disk, &ImageChoice::Synced), Durability::EverySynced).unwrap();
    assert!(reopened.last_sequence() >= acknowledged);
    assert_eq!(reopened.export().unwrap(), state_after(reopened.last_sequence()));
}

#[test]
fn background_threads_inherit_the_injector_of_the_thread_that_opens() {
    let (sender, crossed) = mpsc::channel();
    let sender = Mutex::new(sender);
    let action = CrashAction::call(move |_, _| sender.lock().unwrap().send(()).unwrap());
    let injector = CrashInjector::with_action(CrashPoint::CheckpointPreFlush, 0, action);
    let disk = SimDisk::new();
    let options = options(&disk, Durability::OperatingSystem)
        .background(Background::OwnThreads)
        .checkpoint_log_bytes(1024);
    let guard = scoped_injector(&injector);
    let db = TidalDb::open(PATH, options).unwrap();
    drop(guard);
    // So few events that this thread, which has no injector any more, makes no checkpoint.
    for i in 0..15 {
        record(&db, i).unwrap();
    }
    crossed
        .recv_timeout(Duration::from_secs(60))
        .expect("a checkpoint on the engine's thread was counted");
}

#[test]
fn a_checkpoint_waits_for_an_appended_event_that_is_not_applied_yet() {
    let disk = SimDisk::new();
    let db = Arc::new(open(&disk, Durability::EverySynced).unwrap());
    for i in 0..5 {
        record(&db, i).unwrap();
    }
    let (sender, done) = mpsc::channel();
    let (handle, sender, done) = (Arc::clone(&db), Mutex::new(sender), Arc::new(Mutex::new(done)));
    let early = Arc::new(Mutex::new(None));
    let (observed, receiver) = (Arc::clone(&early), Arc::clone(&done));
    let action = CrashAction::call(move |_, _| {
        let (handle, sender) = (Arc::clone(&handle), sender.lock().unwrap().clone());
        threads::spawn("checkpoint", move || {
            sender.send(handle.checkpoint().unwrap()).unwrap();
        })
        .unwrap();
        // The checkpoint must not end before the event is applied. The length of the wait matters only for a broken
        // engine.
        *observed.lock().unwrap() = receiver
            .lock()
            .unwrap()
            .recv_timeout(Duration::from_millis(50))
            .ok();
    });
    let injector = CrashInjector::with_action(CrashPoint::WalPreAggregate, 0, action);
    assert_eq!(run_with_crash(&injector, || record(&db, 5).unwrap()), Ok(6));
    assert_eq!(
        *early.lock().unwrap(),
        None,
        "the checkpoint covers an event that is not in it"
    );
    assert_eq!(done.lock().unwrap().recv_timeout(Duration::from_secs(60)), Ok(6));
    let reopened = open(&crashed(&disk, &ImageChoice::All), Durability::EverySynced).unwrap();
    assert_eq!(reopened.recovery_report().events_replayed, 0);
    assert_eq!(reopened.export().unwrap(), state_after(6));
}

#[test]
fn recording_waits_for_no_sync_under_a_policy_without_a_sync_of_every_event() {
    for policy in [
        Durability::OperatingSystem,
        Durability::SyncedEvery { interval_ms: 1000 },
    ] {
        let disk = SimDisk::new();
        let gate = Arc::new(SyncGate::default());
        let passed = Arc::clone(&gate);
        let files = ForwardingFiles::new(Arc::new(disk.clone()), move |call| {
            if let FileOperation::Sync = call.operation {
                passed.pass();
            }
            call.forward()
        });
        let options = options(&disk, policy)
            .segment_bytes_max(1 << 20)
            .files(Arc::new(files));
        let db = Arc::new(TidalDb::open(PATH, options).unwrap());
        record(&db, 0).unwrap();
        gate.set();
        let (syncing, recording) = (Arc::clone(&db), Arc::clone(&db));
        let syncer = threads::spawn("syncer", move || syncing.sync().unwrap()).unwrap();
        while gate.syncs() == 0 {
            std::thread::yield_now();
        }
        let (done, recorded) = mpsc::channel();
        let writer = threads::spawn("writer", move || {
            done.send(record(&recording, 1)).unwrap();
        })
        .unwrap();
        let result = recorded.recv_timeout(Duration::from_secs(20));
        gate.open();
        syncer.join().unwrap();
        writer.join().unwrap();
        assert_eq!(
            result.expect("the event waited for a sync").unwrap(),
            2,
            "{policy:?}"
        );
    }
}

/// Regression: the number of waiting frames was the last frame less the durable one, read in this order. A rotation
/// between the two reads made the difference negative, which panicked in debug builds.
#[test]
fn rotations_during_a_wait_for_a_group_sync_cause_no_panic() {
    let disk = SimDisk::new();
    let options = with_many_segments(options(&disk, Durability::EverySynced))
        .segment_bytes_max(512)
        .preallocate_bytes(0);
    let db = Arc::new(TidalDb::open(PATH, options).unwrap());
    let handle = Arc::clone(&db);
    let cohorts = [CohortId(1); 64];
    // Each frame takes a separate segment.
    let results = on_threads(4, move |_| {
        (0..200).try_for_each(|_| {
            let event = SignalEvent::new(SignalId(0), EntityId(1), NOW_MS).with_cohorts(&cohorts);
            handle.record(&event).map(drop)
        })
    });
    for result in results {
        result.unwrap();
    }
    assert_eq!(db.durable_sequence(), 800);
}
