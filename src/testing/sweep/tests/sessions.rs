//! Sweeps of work in several sessions.

use super::*;
use crate::storage::{FileStore, FileStoreOptions};
use crate::testing::faults::{FileOperation, FileRole, ForwardingFiles, ForwardingStorage};
use crate::testing::sim_disk::DiskOperationKind;
use crate::testing::workload::{
    Reopening, STANDARD_NOW_MS, SessionChange, SessionEnd, session, standard_schema, tiny_options,
};

/// A sweep of a workload in several sessions under each policy. The workload itself changes the policy of some sessions.
fn sweeps() -> impl Iterator<Item = (u64, CrashSweep)> {
    let timed = |interval_ms| Durability::SyncedEvery { interval_ms };
    let policies = [
        Durability::EverySynced,
        Durability::EverySynced,
        Durability::EverySynced,
        timed(1),
        timed(STANDARD_SYNC_MS),
        timed(STANDARD_SYNC_MS),
        Durability::OperatingSystem,
        Durability::OperatingSystem,
    ];
    let sweep = |(seed, durability)| {
        let sweep = CrashSweep::sessions(seed, 40)
            .quick()
            .durability(durability)
            .images_max(32);
        (seed, sweep)
    };
    (1..).zip(policies).map(sweep)
}

#[test]
fn a_power_loss_after_every_call_of_every_session_keeps_every_promise() {
    for (seed, sweep) in sweeps() {
        let report = sweep.run();
        println!("seed {seed}: {report}");
        report.expect_clean();
    }
}

/// Records `work` on a driver of an open database.
fn drive<T>(sweep: &CrashSweep, work: impl FnOnce(&mut Driver<'_>) -> T) -> (record::Recorded, T) {
    let (setup, disk) = (&sweep.setup, SimDisk::new());
    let known = journal::OracleSnapshot::first(setup.oracle());
    let (run, result) = record::Recorded::of(&disk, known, |journal| {
        let mut home = setup.on_disk(&disk, Session::first());
        let mut handle = Some(setup.open(&home).unwrap());
        let mut driver = setup.driver(&mut home, &mut handle, journal).checked(journal);
        work(&mut driver)
    });
    (run, result.expect("the work does not panic"))
}

/// A call that records an event of this signal.
fn record_of(signal: u16, at_ms: i64) -> Operation {
    Operation::record(vec![crate::testing::workload::Event {
        entity: EntityId(1),
        signal: SignalId(signal),
        weight: 1.0,
        at_ms,
        user: Some(UserId(1)),
        cohorts: vec![CohortId(1)],
    }])
}

fn reopening(end: SessionEnd, changes: &[SessionChange]) -> Operation {
    let changes = changes.to_vec();
    Reopening { end, changes }.into()
}

const LOSS: SessionEnd = SessionEnd::PowerLoss(ImageChoice::Synced);

#[test]
fn after_each_end_of_a_session_the_database_is_open_again_with_the_changes() {
    let os = Durability::OperatingSystem;
    for (end, survives, is_closed) in [
        (SessionEnd::Close, true, true),
        (SessionEnd::Drop, true, false),
        (SessionEnd::Kill, true, false),
        (LOSS, false, false),
        (SessionEnd::PowerLoss(ImageChoice::All), true, false),
    ] {
        let (run, ()) = drive(&CrashSweep::standard(SEED, 0).durability(os), |driver| {
            driver.apply(&record_of(0, STANDARD_NOW_MS)).unwrap();
            let changes = [
                SessionChange::AppendSignal,
                SessionChange::Clock { now_ms: -7 },
                SessionChange::Durability(Durability::EverySynced),
            ];
            assert_eq!(driver.apply(&reopening(end.clone(), &changes)).unwrap(), None);
            assert_eq!(session(), 2);
            let report = driver.db().recovery_report();
            assert!(!report.created && report.events_replayed == u64::from(survives && !is_closed));
            let score = driver.db().score(EntityId(1), SignalId(0), 0, STANDARD_NOW_MS);
            assert_eq!(score.unwrap() > 0.0, survives, "{end}");
            // An event of the appended signal, ahead of the new clock, under the new policy.
            let receipt = driver.apply(&record_of(5, -7)).unwrap().unwrap();
            assert_eq!(receipt.opening, 2);
            assert_eq!(driver.db().durable_sequence(), receipt.sequence, "{end}");
            driver.apply(&reopening(end.clone(), &[])).unwrap();
            assert_eq!((session(), driver.db().schema().signals().len()), (3, 6));
        });
        assert!(run.failures.is_empty(), "{end}: {:?}", run.failures);
        let last = run.known.last().unwrap();
        assert_eq!((last.session.number, last.recovery.number), (3, 4));
        assert_eq!(last.acknowledged, 4);
    }
}

#[test]
fn the_clock_goes_on_over_a_reopening_unless_it_is_changed() {
    let (_, ()) = drive(&CrashSweep::standard(SEED, 0), |driver| {
        driver.apply(&record_of(0, STANDARD_NOW_MS + 50_000)).unwrap();
        driver.apply(&reopening(SessionEnd::Drop, &[])).unwrap();
        let went_on = crate::testing::workload::WorkloadClock::time_ms() - STANDARD_NOW_MS;
        assert!((50_000..60_000).contains(&went_on), "{went_on}");
        let change = SessionChange::Clock { now_ms: 3 };
        driver.apply(&reopening(SessionEnd::Drop, &[change])).unwrap();
        let moved = crate::testing::workload::WorkloadClock::time_ms();
        assert!((3..10_000).contains(&moved), "{moved}");
    });
}

#[test]
fn sizes_and_bounds_of_a_reopening_are_in_force() {
    let sizes = SessionChange::Sizes {
        segment_bytes_max: 1 << 20,
        preallocate_bytes: 0,
        store_segment_bytes_max: 1 << 20,
        checkpoint_log_bytes: 1 << 20,
        checkpoint_state_bytes: 1 << 20,
    };
    let bounds = SessionChange::CoEngagement {
        ring_len_max: 7,
        degree_max: 8,
        users_max: 9,
        nodes_max: 10,
    };
    let (run, ()) = drive(&CrashSweep::standard(SEED, 0), |driver| {
        driver
            .apply(&reopening(SessionEnd::Kill, &[sizes.clone(), bounds.clone()]))
            .unwrap();
        let config = *driver.db().schema().co_engagement_config();
        let found = (
            config.ring_len_max,
            config.degree_max,
            config.users_max,
            config.nodes_max,
        );
        assert_eq!(found, (7, 8, 9, 10));
        for at in 0..40 {
            driver.apply(&record_of(0, STANDARD_NOW_MS + at)).unwrap();
        }
    });
    assert!(run.failures.is_empty(), "{:?}", run.failures);
    // Two opens with a checkpoint each make segments, and no call after them.
    let made = run
        .recording
        .operations()
        .filter(|it| it.kind == DiskOperationKind::Create && it.path.to_string_lossy().contains(".wal"));
    assert!(made.count() <= 3);
}

#[test]
fn a_drop_that_writes_between_sessions_is_a_finding() {
    let sweep = CrashSweep::standard(SEED, 0).files(|files| {
        Arc::new(ForwardingFiles::new(files, |call| {
            if let (FileOperation::Close, Some(file)) = (&call.operation, call.file())
                && call.role() == FileRole::Segment
            {
                // A file that is open for reading refuses it.
                file.write_at(b"the end", 900).ok();
            }
            call.forward()
        }))
    });
    let (run, ()) = drive(&sweep, |driver| {
        driver.apply(&reopening(SessionEnd::Drop, &[])).ok();
    });
    assert_eq!(run.failures[0].kind, FailureKind::DropWrote, "{:?}", run.failures);
    // A killed process runs no destructor, so a write in one does not reach the disk.
    let (run, ()) = drive(&sweep, |driver| {
        driver.apply(&reopening(SessionEnd::Kill, &[])).unwrap();
    });
    assert!(run.failures.is_empty(), "{:?}", run.failures);
}

#[test]
fn a_close_that_leaves_segments_to_replay_is_a_finding() {
    let sweep = CrashSweep::standard(SEED, 0).files(|files| {
        Arc::new(ForwardingFiles::new(files, |call| match call.operation {
            FileOperation::Remove if call.role() == FileRole::Segment => call.skip(),
            _ => call.forward(),
        }))
    });
    let (run, ()) = drive(&sweep, |driver| {
        for at in 0..40 {
            driver.apply(&record_of(0, STANDARD_NOW_MS + at)).unwrap();
        }
        driver.apply(&reopening(SessionEnd::Close, &[])).unwrap();
    });
    let failure = &run.failures[0];
    assert_eq!(failure.kind, FailureKind::LeftBehind, "{failure}");
    assert!(failure.message.contains("segments after close"), "{failure}");
}

#[test]
fn after_a_reopening_that_failed_every_call_is_refused() {
    // Another database from the second session on.
    let sweep = CrashSweep::standard(SEED, 0)
        .options(|| tiny_options(standard_schema()).database_id(u128::from(session().max(1))));
    let (run, ()) = drive(&sweep, |driver| {
        let error = driver.apply(&reopening(SessionEnd::Close, &[])).unwrap_err();
        assert!(matches!(error, Error::ForeignDatabase { .. }), "{error}");
        for operation in [record_of(0, STANDARD_NOW_MS), Operation::Sync] {
            let error = driver.apply(&operation).unwrap_err();
            assert!(matches!(error, Error::Closed), "{error}");
        }
        assert!(driver.handle().is_none());
        let reading = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| driver.db().last_sequence()));
        assert!(reading.is_err());
        // Another reopening does not open it either.
        driver.apply(&reopening(SessionEnd::Drop, &[])).unwrap_err();
    });
    assert_eq!(run.failures[0].kind, FailureKind::Refused, "{:?}", run.failures);
    assert!(
        run.failures[0].message.contains("reopen:close"),
        "{:?}",
        run.failures
    );
}

#[test]
fn the_driver_of_another_thread_makes_no_reopening() {
    let (run, ()) = drive(&CrashSweep::standard(SEED, 0), |driver| {
        for end in [SessionEnd::Drop, SessionEnd::Close] {
            let error = driver.on_thread().apply(&reopening(end, &[])).unwrap_err();
            let error = crate::testing::text::error_chain(&error);
            assert!(error.contains("another thread makes no reopening"), "{error}");
        }
        // The database is still open.
        driver.apply(&record_of(0, STANDARD_NOW_MS)).unwrap();
    });
    assert!(run.failures.is_empty(), "{:?}", run.failures);
}

/// The numbers of sessions in which wrappers were made, and those of the calls that were made in another session than their
/// wrapper.
#[derive(Debug, Clone, Default)]
struct SeenSessions(Arc<Mutex<[std::collections::BTreeSet<u32>; 2]>>);

impl SeenSessions {
    /// Notes that a wrapper was made. The wrapper calls the returned closure in each of its calls.
    fn made(&self) -> impl Fn() + Send + Sync + 'static {
        let made = session();
        self.0.lock().unwrap()[0].insert(made);
        let seen = self.0.clone();
        move || {
            if session() != made {
                seen.lock().unwrap()[1].insert(session());
            }
        }
    }

    /// The sessions in which wrappers were made. Every call must be in the session of its wrapper.
    fn sessions(&self) -> Vec<u32> {
        let [made, others] = self.0.lock().unwrap().clone();
        assert!(others.is_empty(), "calls in sessions {others:?}");
        made.into_iter().collect()
    }
}

/// A sweep whose wrappers of files, storage and options ask for their session.
fn asking(sweep: CrashSweep) -> (CrashSweep, [SeenSessions; 3]) {
    let seen: [SeenSessions; 3] = Default::default();
    let [files_seen, storage_seen, options_seen] = seen.clone();
    let sweep = sweep
        .files(move |files| {
            let called = files_seen.made();
            Arc::new(ForwardingFiles::new(files, move |call| {
                called();
                call.forward()
            }))
        })
        .storage(move |files| {
            let called = storage_seen.made();
            let options = FileStoreOptions {
                segment_bytes_max: 1024,
                store_id: Some(7),
            };
            let store = FileStore::open(files, "/mine", &options)?;
            Ok(Arc::new(ForwardingStorage::new(Arc::new(store), move |call| {
                called();
                call.forward()
            })))
        })
        .options(move || {
            drop(options_seen.made());
            tiny_options(standard_schema())
        });
    (sweep, seen)
}

#[test]
fn wrappers_of_files_storage_and_options_know_their_session() {
    let of_thread = std::thread::scope(|scope| scope.spawn(session).join());
    assert_eq!(of_thread.unwrap(), 0, "no session");
    let (sweep, seen) = asking(CrashSweep::standard(SEED, 0));
    let (_, ()) = drive(&sweep, |driver| {
        for end in [SessionEnd::Close, SessionEnd::Drop, SessionEnd::Kill, LOSS] {
            driver.apply(&record_of(0, STANDARD_NOW_MS)).unwrap();
            driver.apply(&reopening(end, &[])).unwrap();
        }
        driver.apply(&Operation::Checkpoint).unwrap();
    });
    for seen in seen {
        assert_eq!(seen.sessions(), [1, 2, 3, 4, 5]);
    }
    // In recoveries, in the session after a crash, and in their calls.
    let operations = vec![
        record_of(0, STANDARD_NOW_MS),
        reopening(SessionEnd::Drop, &[]),
        record_of(1, STANDARD_NOW_MS),
    ];
    let (sweep, seen) = asking(CrashSweep::of(Workload { operations }));
    let report = sweep.images_max(4).run();
    report.expect_clean();
    for seen in seen {
        let sessions = seen.sessions();
        assert!(sessions.starts_with(&[1, 2, 3, 4]), "{sessions:?}");
    }
}

/// A bug that acts only after the first reopening, so a run of the first session alone has no failure.
#[test]
fn a_fault_of_the_session_after_a_crash_is_found_and_replayed() {
    let sweep = CrashSweep::standard(SEED, 10).files(|files| {
        let session = session();
        Arc::new(ForwardingFiles::new(files, move |call| match call.operation {
            FileOperation::Sync if session == 2 && call.role() == FileRole::Segment => call.skip(),
            _ => call.forward(),
        }))
    });
    sweep
        .clone()
        .depth(0)
        .continue_after_recovery(false)
        .run()
        .expect_clean();
    let report = sweep.clone().shrink(false).findings_max(1).run();
    let finding = &report.findings[0];
    assert_eq!(
        finding.failure.kind,
        FailureKind::AcknowledgedBeforeDurable,
        "{finding}"
    );
    assert_eq!(finding.plan.crashes.len(), 1);
    let again = finding_of(sweep.replay(&finding.replay_line()));
    remove_image(&again);
    assert_eq!(again.failure.kind, finding.failure.kind);
}

#[test]
fn the_sites_of_the_session_after_a_crash_are_those_of_its_calls_and_a_plan_reaches_them() {
    let sweep = CrashSweep::standard(SEED, 20);
    let setup = &sweep.setup;
    let plan = Plan::standard(SEED, 20).crash_at(CrashPoint::WalPostAggregate, 3);
    let run = replay::recorded(setup).unwrap();
    let (builder, known) = run.at(plan.crashes[0].site).unwrap();
    let disk = case::disk_of(&builder, &plan.crashes[0].mode);
    let known = &run.known[known];
    let next = next_session::NextSession::record(setup, &disk, &builder, known, &plan.crashes).unwrap();
    assert!(next.run.failures.is_empty(), "{:?}", next.run.failures);
    let moments = next.moments();
    assert!(moments.is_sorted_by_key(|(moment, _)| moment.position));
    assert_eq!(moments.last().map(|(_, site)| *site), Some(Site::End));
    let mut operations = std::collections::BTreeSet::new();
    for (moment, _) in &moments {
        assert!(
            moment.position >= next.opened_at && moment.known > 0,
            "{moment:?}"
        );
        operations.insert(next.run.known[moment.known].operation);
    }
    // Each call of the session that does something to the disk.
    assert!(operations.len() > 8, "{operations:?}");
    assert_eq!(next.run.known.last().unwrap().session.number, 2);
    for (_, site) in moments {
        let plan = plan
            .clone()
            .crash(site, CrashMode::PowerLoss(ImageChoice::Synced));
        let recovered = sweep
            .run_plan(&plan)
            .unwrap_or_else(|finding| panic!("{finding}"));
        assert!(recovered.events() > 0, "{plan}");
    }
}
