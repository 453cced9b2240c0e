//! Crashes on real files, in this process and in child processes.

use super::*;
use crate::storage::MemoryStore;
use crate::testing::lab::planted::{FaultCount, PlantedBug};
use crate::testing::oracle::CrashKind;
use crate::testing::workload::Workload;

/// The workload crosses every crash point at least twice. The crash is at the second crossing.
#[test]
fn a_database_on_real_files_survives_a_crash_at_every_point_in_every_mode() {
    let child = ChildProgram::this_test(concat!(
        module_path!(),
        "::a_database_on_real_files_survives_a_crash_at_every_point_in_every_mode"
    ));
    let sweep = CrashSweep::standard(SEED, 40);
    let mut plans = Vec::new();
    for point in CrashPoint::ALL {
        for mode in [CrashMode::Panic, CrashMode::Abort, CrashMode::Kill] {
            let site = Site::Point { point, crossing: 1 };
            plans.push(Plan::standard(SEED, 40).crash(site, mode));
        }
    }
    sweep.crash_if_child();
    for plan in &plans {
        let crashed = sweep.crash_on_files(plan, &child).unwrap();
        assert!(crashed.counts.recovered > 0, "{plan}: {crashed:?}");
        assert_eq!(crashed.counts.lost, 0, "{plan}: {crashed:?}");
    }
}

#[test]
fn a_plan_without_a_crash_on_real_files_returns_the_crossings_of_its_run() {
    let plan = Plan::standard(SEED, 40).crash(Site::End, CrashMode::Kill);
    let child = ChildProgram::this_program([""; 0]);
    let crashed = CrashSweep::standard(SEED, 40)
        .crash_on_files(&plan, &child)
        .unwrap();
    for point in CrashPoint::ALL {
        assert!(crashed.crossed.count(point) > 1, "{point}: {crashed:?}");
    }
}

#[test]
fn a_storage_engine_with_its_own_file_access_can_crash_on_real_files_only() {
    let stores = Arc::new(Mutex::new(BTreeMap::<PathBuf, MemoryStore>::new()));
    let sweep = CrashSweep::standard(SEED, 40).storage_in_dir(move |dir| {
        let mut stores = stores.lock().unwrap();
        Ok(Arc::new(stores.entry(dir.to_path_buf()).or_default().clone()))
    });
    let plan = Plan::standard(SEED, 40).crash(
        Site::Point {
            point: CrashPoint::CheckpointPostFlush,
            crossing: 0,
        },
        CrashMode::Panic,
    );
    let child = ChildProgram::this_program([""; 0]);
    let crashed = sweep.crash_on_files(&plan, &child).unwrap();
    assert!(crashed.counts.recovered > 0, "{crashed:?}");
    let finding = sweep
        .run_plan(&plan)
        .expect_err("the engine has no files on the simulated disk");
    assert!(finding.failure.message.contains("real files only"), "{finding}");
    // The paths of a store over the simulated disk are absolute. On real files they would be paths of the machine.
    let sweep = CrashSweep::standard(SEED, 40).storage(|_| Ok(Arc::new(MemoryStore::new())));
    let finding = finding_on_files(&sweep, Site::End, CrashMode::Kill, &child);
    assert!(
        finding.failure.message.contains("simulated disks only"),
        "{finding}"
    );
}

#[test]
fn a_plan_on_real_files_whose_crash_does_not_happen_is_a_finding() {
    let child = ChildProgram::this_program(["--exact", "no such test"]);
    let sweep = CrashSweep::standard(SEED, 6);
    for mode in [CrashMode::Panic, CrashMode::Abort, CrashMode::Kill] {
        let site = Site::Point {
            point: CrashPoint::WalPreAggregate,
            crossing: 10_000,
        };
        let plan = Plan::standard(SEED, 6).crash(site, mode);
        let finding = sweep
            .crash_on_files(&plan, &child)
            .expect_err("the run does not crash");
        assert_eq!(finding.failure.kind, FailureKind::NeverReached, "{finding}");
        assert!(finding.image_dir.is_some(), "{finding}");
        remove_image(&finding);
    }
    let plan = Plan::standard(SEED, 6)
        .crash_at(CrashPoint::WalPreAggregate, 0)
        .leaving(ImageChoice::Synced);
    let finding = sweep
        .crash_on_files(&plan, &child)
        .expect_err("no power loss on real files");
    assert!(finding.image_dir.is_some(), "{finding}");
    remove_image(&finding);
}

fn point(point: CrashPoint, crossing: u64) -> Site {
    Site::Point { point, crossing }
}

/// Runs a case that must fail. Returns its finding, and removes the directory of the case.
fn finding_on_files(sweep: &CrashSweep, site: Site, mode: CrashMode, child: &ChildProgram) -> Finding {
    let plan = sweep.plan().crash(site, mode);
    let finding = sweep.crash_on_files(&plan, child).expect_err("the case fails");
    remove_image(&finding);
    *finding
}

/// For each check after a crash on real files: a planted bug that only this check finds there.
#[test]
fn each_check_of_a_crash_on_real_files_finds_its_bug() {
    let child = ChildProgram::this_program([""; 0]);
    for (bug, site, kind) in [
        // Checks the state after the crash.
        (
            PlantedBug::CallDropped,
            point(CrashPoint::WalPostAggregate, 20),
            FailureKind::Wrong,
        ),
        // Checks the content of the log at a crash point.
        (
            PlantedBug::WriteDeferred,
            point(CrashPoint::WalPreAggregate, 20),
            FailureKind::Lost,
        ),
        // Checks the continuation after the recovery.
        (
            PlantedBug::LockAlwaysGranted,
            point(CrashPoint::WalPostAggregate, 3),
            FailureKind::NotLocked,
        ),
        // Checks the state before the close of a run without a crash.
        (PlantedBug::CallTwice, Site::End, FailureKind::Wrong),
    ] {
        let acts = FaultCount::default();
        let sweep = bug.plant(CrashSweep::standard(SEED, 60), &acts);
        let finding = finding_on_files(&sweep, site, CrashMode::Panic, &child);
        assert_eq!(finding.failure.kind, kind, "{bug:?}: {finding}");
        assert!(!acts.is_empty(), "{bug:?}");
    }
}

/// A sweep whose work begins with a failing call.
fn sweep_with_a_failed_call() -> CrashSweep {
    CrashSweep::driven("a name that is too long", |driver| {
        driver
            .apply(&Operation::CreateCollection(vec![b'a'; 100_000]))
            .ok();
        for operation in Workload::standard(SEED, 10).operations {
            driver.apply(&operation).ok();
        }
        Ok(())
    })
}

fn assert_failed_call_is_a_finding(sweep: &CrashSweep, mode: CrashMode, child: &ChildProgram) {
    let finding = finding_on_files(sweep, point(CrashPoint::WalPostAggregate, 0), mode, child);
    assert_eq!(finding.failure.kind, FailureKind::CannotContinue, "{finding}");
}

#[test]
fn a_failed_call_before_a_panic_in_this_process_is_a_finding() {
    let unused = ChildProgram::this_program([""; 0]);
    assert_failed_call_is_a_finding(&sweep_with_a_failed_call(), CrashMode::Panic, &unused);
}

#[test]
fn a_failed_call_before_the_kill_of_a_child_is_a_finding() {
    let child = ChildProgram::this_test(concat!(
        module_path!(),
        "::a_failed_call_before_the_kill_of_a_child_is_a_finding"
    ));
    let sweep = sweep_with_a_failed_call();
    sweep.crash_if_child();
    assert_failed_call_is_a_finding(&sweep, CrashMode::Kill, &child);
}

#[test]
fn the_counts_of_a_case_on_real_files_include_the_state_after_the_continuation() {
    let sweep = CrashSweep::standard(SEED, 40);
    let plan = sweep.plan().crash(Site::End, CrashMode::Kill);
    let crashed = sweep
        .crash_on_files(&plan, &ChildProgram::this_program([""; 0]))
        .unwrap();
    let events: usize = Workload::standard(SEED, 40)
        .operations
        .iter()
        .map(|operation| match operation {
            Operation::Record { events, .. } if !operation.must_be_refused() => events.len(),
            _ => 0,
        })
        .sum();
    assert!(crashed.counts.acknowledged > 2 * events as u64, "{crashed:?}");
    let report = sweep.depth(0).faults_max(0).run();
    assert!(
        report.counts.acknowledged > events as u64 && report.counts.lost == 0,
        "{:?}",
        report.counts
    );
}

/// A handle that is not poisoned accepts writes. The check of the handle after a panic must find this.
#[test]
fn a_handle_that_is_not_poisoned_after_a_panic_is_a_failure() {
    let setup = CrashSweep::standard(SEED, 4).setup;
    let dir = crate::testing::temp_dir::TempDir::new("handle");
    let on_files = setup.location_on_files(&dir.path().join("db"), Session::first());
    let db = setup.open(&on_files).unwrap();
    let journal = journal::Journal::new(journal::OracleSnapshot::first(setup.oracle()));
    journal::CallLog::begin(&*journal, &Operation::Sync);
    let failure = handle::check_handle(db, &on_files, CrashPoint::WalPostAggregate, 0, &journal);
    assert_eq!(
        failure.expect_err("the handle accepts writes").kind,
        FailureKind::Wrong
    );
}

#[test]
fn a_missing_call_in_flight_or_a_wrong_checkpoint_is_a_failure_at_each_crash_point() {
    let setup = CrashSweep::standard(SEED, 4).setup;
    let location = setup.location_on_disk(&SimDisk::new(), Session::first());
    let db = setup.open(&location).unwrap();
    let state = RecoveredState::of(&db).unwrap();
    let journal = journal::Journal::new(journal::OracleSnapshot::first(setup.oracle()));
    let verdict = journal.last().1.oracle.check(CrashKind::ProcessCrash, &db);
    let operations = Workload::standard(SEED, 40).operations;
    let mut frames = operations
        .iter()
        .filter(|operation| operation.is_frame() && !operation.must_be_refused());
    journal::CallLog::begin(&*journal, frames.next().expect("a frame"));
    for point in CrashPoint::ALL {
        let report = crate::RecoveryReport {
            frames_replayed: u64::from(point == CrashPoint::CheckpointPostFlush),
            ..db.recovery_report().clone()
        };
        let checked = files::check_point(point, &journal, &state, &verdict, &report);
        assert!(checked.is_err(), "{point}");
    }
}
