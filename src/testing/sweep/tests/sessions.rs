//! Sweeps of workloads in several sessions.

use super::*;
use crate::storage::{FileStore, FileStoreOptions};
use crate::testing::faults::{FileOperation, FileRole, ForwardingFiles, ForwardingStorage};
use crate::testing::sim_disk::DiskOperationKind;
use crate::testing::workload::{
    Reopening, STANDARD_NOW_MS, SessionChange, SessionEnd, session, standard_schema, tiny_options,
};

/// Sweeps of workloads in several sessions, each with its seed. Each policy has a sweep. Each workload also changes the
/// policy of some sessions.
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
fn workloads_in_several_sessions_survive_every_crash() {
    for (seed, sweep) in sweeps() {
        let report = sweep.run();
        println!("seed {seed}: {report}");
        report.expect_clean();
    }
}

/// Opens a database, and records a run of `work` with a driver of this database. Also returns the result of `work`.
fn record_run<T>(sweep: &CrashSweep, work: impl FnOnce(&mut Driver<'_>) -> T) -> (record::RunRecord, T) {
    let (setup, disk) = (&sweep.setup, SimDisk::new());
    let snapshot = journal::OracleSnapshot::first(setup.oracle());
    let (run, result) = record::RunRecord::of(&disk, snapshot, |journal| {
        let mut location = setup.location_on_disk(&disk, Session::first());
        let mut handle = Some(setup.open(&location).unwrap());
        let mut driver = setup
            .driver(&mut location, &mut handle, journal)
            .with_disk_checks(journal);
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
fn a_reopening_opens_the_database_with_its_changes_after_each_end_of_a_session() {
    let os = Durability::OperatingSystem;
    for (end, survives, is_closed) in [
        (SessionEnd::Close, true, true),
        (SessionEnd::Drop, true, false),
        (SessionEnd::Kill, true, false),
        (LOSS, false, false),
        (SessionEnd::PowerLoss(ImageChoice::All), true, false),
    ] {
        let (run, ()) = record_run(&CrashSweep::standard(SEED, 0).durability(os), |driver| {
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
        let last = run.snapshots.last().unwrap();
        assert_eq!((last.session.number, last.recovery.number), (3, 4));
        assert_eq!(last.acknowledged, 4);
    }
}

#[test]
fn the_clock_continues_after_a_reopening_unless_the_reopening_changes_it() {
    let (_, ()) = record_run(&CrashSweep::standard(SEED, 0), |driver| {
        driver.apply(&record_of(0, STANDARD_NOW_MS + 50_000)).unwrap();
        driver.apply(&reopening(SessionEnd::Drop, &[])).unwrap();
        let passed_ms = crate::testing::workload::WorkloadClock::time_ms() - STANDARD_NOW_MS;
        assert!((50_000..60_000).contains(&passed_ms), "{passed_ms}");
        let change = SessionChange::Clock { now_ms: 3 };
        driver.apply(&reopening(SessionEnd::Drop, &[change])).unwrap();
        let changed_ms = crate::testing::workload::WorkloadClock::time_ms();
        assert!((3..10_000).contains(&changed_ms), "{changed_ms}");
    });
}

#[test]
fn a_reopening_can_change_sizes_and_co_engagement_bounds() {
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
    let (run, ()) = record_run(&CrashSweep::standard(SEED, 0), |driver| {
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
    // Only the two opens create segments, each by a checkpoint. The calls after them create no segment.
    let created = run
        .recording
        .operations()
        .filter(|it| it.kind == DiskOperationKind::Create && it.path.to_string_lossy().contains(".wal"));
    assert!(created.count() <= 3);
}

#[test]
fn a_drop_that_writes_between_sessions_is_a_failure() {
    let sweep = CrashSweep::standard(SEED, 0).files(|files| {
        Arc::new(ForwardingFiles::new(files, |call| {
            if let (FileOperation::Close, Some(file)) = (&call.operation, call.file())
                && call.role() == FileRole::Segment
            {
                // A file that is open for reading refuses the write.
                file.write_at(b"the end", 900).ok();
            }
            call.forward()
        }))
    });
    let (run, ()) = record_run(&sweep, |driver| {
        driver.apply(&reopening(SessionEnd::Drop, &[])).ok();
    });
    assert_eq!(run.failures[0].kind, FailureKind::DropWrote, "{:?}", run.failures);
    // A killed process runs no destructor, so a write of a destructor does not reach the disk.
    let (run, ()) = record_run(&sweep, |driver| {
        driver.apply(&reopening(SessionEnd::Kill, &[])).unwrap();
    });
    assert!(run.failures.is_empty(), "{:?}", run.failures);
}

#[test]
fn a_close_that_leaves_covered_segments_is_a_failure() {
    let sweep = CrashSweep::standard(SEED, 0).files(|files| {
        Arc::new(ForwardingFiles::new(files, |call| match call.operation {
            FileOperation::Remove if call.role() == FileRole::Segment => call.skip(),
            _ => call.forward(),
        }))
    });
    let (run, ()) = record_run(&sweep, |driver| {
        for at in 0..40 {
            driver.apply(&record_of(0, STANDARD_NOW_MS + at)).unwrap();
        }
        driver.apply(&reopening(SessionEnd::Close, &[])).unwrap();
    });
    let failure = &run.failures[0];
    assert_eq!(failure.kind, FailureKind::LeftBehind, "{failure}");
    assert!(failure.message.contains("close left"), "{failure}");
}

#[test]
fn every_call_is_refused_after_a_failed_reopening() {
    // From the second session on, the options have the id of another database.
    let sweep = CrashSweep::standard(SEED, 0)
        .options(|| tiny_options(standard_schema()).database_id(u128::from(session().max(1))));
    let (run, ()) = record_run(&sweep, |driver| {
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
fn the_driver_of_another_thread_cannot_reopen_the_database() {
    let (run, ()) = record_run(&CrashSweep::standard(SEED, 0), |driver| {
        for end in [SessionEnd::Drop, SessionEnd::Close] {
            let error = driver.on_thread().apply(&reopening(end, &[])).unwrap_err();
            let error = crate::testing::text::error_chain(&error);
            assert!(error.contains("another thread cannot reopen"), "{error}");
        }
        // The database is still open.
        driver.apply(&record_of(0, STANDARD_NOW_MS)).unwrap();
    });
    assert!(run.failures.is_empty(), "{:?}", run.failures);
}

/// Two sets of session numbers: the sessions in which wrappers were made, and the sessions of calls to a wrapper of
/// another session.
#[derive(Debug, Clone, Default)]
struct WrapperSessions(Arc<Mutex<[std::collections::BTreeSet<u32>; 2]>>);

impl WrapperSessions {
    /// Notes that a wrapper was made. The wrapper must call the returned closure in each of its calls.
    fn note_wrapper(&self) -> impl Fn() + Send + Sync + 'static {
        let own_session = session();
        self.0.lock().unwrap()[0].insert(own_session);
        let sets = self.0.clone();
        move || {
            if session() != own_session {
                sets.lock().unwrap()[1].insert(session());
            }
        }
    }

    /// The sessions in which wrappers were made. Panics if a call was not in the session of its wrapper.
    fn sessions(&self) -> Vec<u32> {
        let [made, others] = self.0.lock().unwrap().clone();
        assert!(others.is_empty(), "calls in sessions {others:?}");
        made.into_iter().collect()
    }
}

/// The sweep with wrappers of files, storage and options that note their sessions.
fn with_session_wrappers(sweep: CrashSweep) -> (CrashSweep, [WrapperSessions; 3]) {
    let all_sessions: [WrapperSessions; 3] = Default::default();
    let [of_files, of_storage, of_options] = all_sessions.clone();
    let sweep = sweep
        .files(move |files| {
            let note_call = of_files.note_wrapper();
            Arc::new(ForwardingFiles::new(files, move |call| {
                note_call();
                call.forward()
            }))
        })
        .storage(move |files| {
            let note_call = of_storage.note_wrapper();
            let options = FileStoreOptions {
                segment_bytes_max: 1024,
                store_id: Some(7),
            };
            let store = FileStore::open(files, "/mine", &options)?;
            Ok(Arc::new(ForwardingStorage::new(Arc::new(store), move |call| {
                note_call();
                call.forward()
            })))
        })
        .options(move || {
            drop(of_options.note_wrapper());
            tiny_options(standard_schema())
        });
    (sweep, all_sessions)
}

#[test]
fn wrappers_of_files_storage_and_options_are_made_and_called_in_their_session() {
    let of_thread = std::thread::scope(|scope| scope.spawn(session).join());
    assert_eq!(of_thread.unwrap(), 0, "no session");
    let (sweep, all_sessions) = with_session_wrappers(CrashSweep::standard(SEED, 0));
    let (_, ()) = record_run(&sweep, |driver| {
        for end in [SessionEnd::Close, SessionEnd::Drop, SessionEnd::Kill, LOSS] {
            driver.apply(&record_of(0, STANDARD_NOW_MS)).unwrap();
            driver.apply(&reopening(end, &[])).unwrap();
        }
        driver.apply(&Operation::Checkpoint).unwrap();
    });
    for sessions in all_sessions {
        assert_eq!(sessions.sessions(), [1, 2, 3, 4, 5]);
    }
    // A sweep also makes wrappers in recoveries and in sessions after a crash.
    let operations = vec![
        record_of(0, STANDARD_NOW_MS),
        reopening(SessionEnd::Drop, &[]),
        record_of(1, STANDARD_NOW_MS),
    ];
    let (sweep, all_sessions) = with_session_wrappers(CrashSweep::of(Workload { operations }));
    let report = sweep.images_max(4).run();
    report.expect_clean();
    for sessions in all_sessions {
        let sessions = sessions.sessions();
        assert!(sessions.starts_with(&[1, 2, 3, 4]), "{sessions:?}");
    }
}

/// The bug acts only in the second session, so a run of the first session alone has no failure.
#[test]
fn a_bug_in_the_session_after_a_crash_is_found_and_replayed() {
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
fn a_plan_reaches_each_crash_position_of_the_session_after_a_crash() {
    let sweep = CrashSweep::standard(SEED, 20);
    let setup = &sweep.setup;
    let plan = Plan::standard(SEED, 20).crash_at(CrashPoint::WalPostAggregate, 3);
    let run = replay::record_work(setup).unwrap();
    let (builder, index) = run.builder_at(plan.crashes[0].site).unwrap();
    let disk = case::disk_of(&builder, &plan.crashes[0].mode);
    let snapshot = &run.snapshots[index];
    let next = next_session::NextSession::record(setup, &disk, &builder, snapshot, &plan.crashes).unwrap();
    assert!(next.run.failures.is_empty(), "{:?}", next.run.failures);
    let positions = next.crash_positions();
    assert!(positions.is_sorted_by_key(|(position, _)| position.operations_len));
    assert_eq!(positions.last().map(|(_, site)| *site), Some(Site::End));
    let mut operations = std::collections::BTreeSet::new();
    for (position, _) in &positions {
        assert!(
            position.operations_len >= next.opened_at && position.snapshot_index > 0,
            "{position:?}"
        );
        operations.insert(next.run.snapshots[position.snapshot_index].operation);
    }
    // Each call of the session that makes disk operations has a position.
    assert!(operations.len() > 8, "{operations:?}");
    assert_eq!(next.run.snapshots.last().unwrap().session.number, 2);
    for (_, site) in positions {
        let plan = plan
            .clone()
            .crash(site, CrashMode::PowerLoss(ImageChoice::Synced));
        let recovered = sweep
            .run_plan(&plan)
            .unwrap_or_else(|finding| panic!("{finding}"));
        assert!(recovered.events() > 0, "{plan}");
    }
}
