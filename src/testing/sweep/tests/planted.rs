//! The findings of sweeps with a planted bug: the replay line, the shrunk case, and the files of the image. The
//! self-test of `lab` proves that each planted bug is found by the check for it. These tests cover the other properties
//! of findings.

use std::sync::Mutex;

use super::*;
use crate::testing::lab::planted::{FaultCount, PlantedBug};
use crate::testing::workload::Workload;

fn kinds(report: &SweepReport) -> Vec<FailureKind> {
    report
        .findings
        .iter()
        .map(|finding| finding.failure.kind)
        .collect()
}

#[test]
fn a_missing_sync_of_the_log_is_found_shrunk_and_replayed() {
    let acts = FaultCount::default();
    let sweep = PlantedBug::SegmentSyncSkipped.plant(CrashSweep::standard(SEED, 30).depth(0), &acts);
    let report = sweep.run();
    assert!(!report.is_ok());
    let kinds = kinds(&report);
    assert!(
        kinds.contains(&FailureKind::AcknowledgedBeforeDurable) && kinds.contains(&FailureKind::Lost),
        "{report}"
    );
    // The finding without a crash names the file and the offset.
    let early = report.findings.first().expect("the bug is found");
    assert_eq!(early.failure.kind, FailureKind::AcknowledgedBeforeDurable);
    assert!(early.plan.crashes.is_empty(), "{early}");
    let message = &early.failure.message;
    assert!(
        message.contains("/db/log/") && message.contains("at offset"),
        "{early}"
    );
    let lost = report
        .findings
        .iter()
        .find(|finding| finding.failure.kind == FailureKind::Lost)
        .expect("the bug is found");
    let shrunk = lost.shrunk.as_ref().expect("a smaller case is found");
    let workload = shrunk.work.workload();
    let operations = workload.expect("the shrunk case has operations").operations;
    assert_eq!(operations.len(), 1, "{lost}");
    // The replay fails in this sweep, and only because of the bug.
    let again = finding_of(sweep.replay(&lost.replay_line()));
    assert_eq!(
        again.failure.kind,
        FailureKind::AcknowledgedBeforeDurable,
        "{again}"
    );
    replay(&lost.replay_line()).expect("no finding without the bug");
    let dir = lost.image_dir.as_ref().expect("the image is written as files");
    assert!(lost.to_string().contains(&*dir.to_string_lossy()), "{lost}");
    let image = crate::testing::sim_disk::Image::read_from(&crate::fs::RealFiles, dir);
    let image = image.expect("the directory exists");
    assert!(image.files().count() > 0);
    report.findings.iter().chain([&again]).for_each(remove_image);
}

#[test]
fn a_recovery_that_hangs_ends_as_a_finding_with_its_plan() {
    let acts = FaultCount::default();
    let sweep = PlantedBug::LeftoverHangs.plant(CrashSweep::standard(SEED, 12), &acts);
    let report = sweep.case_time(Duration::from_millis(300)).run();
    let finding = report.findings.last().expect("the hang is found");
    assert_eq!(finding.failure.kind, FailureKind::Hang, "{report}");
    assert_eq!(finding.plan.crashes.len(), 1, "{finding}");
    assert!(!report.is_ok());
}

#[test]
fn a_file_access_that_outlives_the_database_is_a_finding() {
    let stored: Arc<Mutex<Vec<Arc<dyn FileAccess>>>> = Arc::default();
    let storing = Arc::clone(&stored);
    let options = || tiny_options(standard_schema());
    let report = CrashSweep::standard(SEED, 4)
        .shrink(false)
        .options(options)
        .storage(move |files| {
            storing
                .lock()
                .expect("no thread panicked")
                .push(Arc::clone(&files));
            let options = crate::storage::FileStoreOptions {
                segment_bytes_max: 1024,
                store_id: None,
            };
            let store = crate::storage::FileStore::open(files, "/store", &options)?;
            Ok(Arc::new(store))
        })
        .run();
    assert!(kinds(&report).contains(&FailureKind::LeftBehind), "{report}");
    drop(stored);
}

#[test]
fn work_on_an_unwatched_thread_is_a_finding() {
    fn checkpoint_on_new_thread(driver: &Driver<'_>) -> Result<(), Error> {
        let db = driver.db();
        std::thread::scope(|scope| {
            scope
                .spawn(move || db.checkpoint().map(drop))
                .join()
                .expect("the thread does not panic")
        })
    }
    let empty = CrashSweep::driven("a new thread", |driver| checkpoint_on_new_thread(driver));
    let with_events = CrashSweep::driven("a new thread", |driver| {
        for operation in Workload::standard(SEED, 4).operations {
            driver.apply(&operation)?;
        }
        checkpoint_on_new_thread(driver)
    });
    // A checkpoint of an empty database changes no file.
    for (sweep, is_found) in [(empty, false), (with_events, true)] {
        let report = sweep.shrink(false).run();
        assert_eq!(
            kinds(&report).contains(&FailureKind::Unwatched),
            is_found,
            "{report}"
        );
    }
}
