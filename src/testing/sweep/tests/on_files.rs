//! Crashes on real files, in this process and in children.

use super::*;
use crate::storage::MemoryStore;

/// A crash at every point, in every mode, on real files. One workload crosses every point twice.
#[test]
fn a_crash_on_real_files_keeps_every_promise_in_every_mode() {
    let child = ChildProgram::this_test(concat!(
        module_path!(),
        "::a_crash_on_real_files_keeps_every_promise_in_every_mode"
    ));
    let sweep = CrashSweep::standard(SEED, 40);
    let mut plans = Vec::new();
    for point in CrashPoint::ALL {
        for mode in [CrashMode::Panic, CrashMode::Abort, CrashMode::Kill] {
            let site = Site::Point { point, crossing: 1 };
            plans.push(Plan::standard(SEED, 40).crash(site, mode));
        }
    }
    sweep.die_if_child();
    for plan in &plans {
        let crashed = sweep.crash_on_files(plan, &child).unwrap();
        assert!(crashed.counts.recovered > 0, "{plan}: {crashed:?}");
        assert_eq!(crashed.counts.lost, 0, "{plan}: {crashed:?}");
    }
}

#[test]
fn a_plan_that_ends_without_a_crash_tells_what_it_crossed() {
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
fn a_storage_engine_with_files_of_its_own_is_crashed_on_real_files_only() {
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
        .expect_err("no simulated disk holds its files");
    assert!(finding.failure.message.contains("real files only"), "{finding}");
}

#[test]
fn a_crash_on_real_files_that_does_not_happen_is_a_finding() {
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
            .expect_err("it does not crash");
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
