//! What a sweep makes of a failing case: its line, its smaller case, its files. That each bug is caught by the check that is
//! there for it is the self-test's matter; here is what no bug of its table shows.

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
fn a_log_that_is_not_synced_is_found_shrunk_and_replayed() {
    let acts = FaultCount::default();
    let sweep = PlantedBug::SegmentSyncSkipped.plant(CrashSweep::standard(SEED, 30).depth(0), &acts);
    let report = sweep.run();
    assert!(!report.is_ok());
    let kinds = kinds(&report);
    assert!(
        kinds.contains(&FailureKind::AcknowledgedBeforeDurable) && kinds.contains(&FailureKind::Lost),
        "{report}"
    );
    // Found without a crash, it says where.
    let early = report.findings.first().expect("it is there");
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
        .expect("it is there");
    let shrunk = lost.shrunk.as_ref().expect("it is smaller");
    let operations = shrunk.work.workload().expect("it has operations").operations;
    assert_eq!(operations.len(), 1, "{lost}");
    // The line fails in this sweep, and only because of the bug.
    let again = finding_of(sweep.replay(&lost.replay_line()));
    assert_eq!(
        again.failure.kind,
        FailureKind::AcknowledgedBeforeDurable,
        "{again}"
    );
    replay(&lost.replay_line()).expect("without the bug it holds");
    let dir = lost.image_dir.as_ref().expect("the disk is laid out");
    assert!(lost.to_string().contains(&*dir.to_string_lossy()), "{lost}");
    let image = crate::testing::sim_disk::Image::read_from(&crate::fs::RealFiles, dir).expect("it is there");
    assert!(image.files().count() > 0);
    report.findings.iter().chain([&again]).for_each(remove_image);
}

#[test]
fn a_recovery_that_hangs_ends_as_a_finding_with_its_plan() {
    let acts = FaultCount::default();
    let sweep = PlantedBug::LeftoverHangs.plant(CrashSweep::standard(SEED, 12), &acts);
    let report = sweep.case_time(Duration::from_millis(300)).run();
    let finding = report.findings.last().expect("it hangs");
    assert_eq!(finding.failure.kind, FailureKind::Hang, "{report}");
    assert_eq!(finding.plan.crashes.len(), 1, "{finding}");
    assert!(!report.is_ok());
}

#[test]
fn what_outlives_the_database_is_a_finding() {
    let kept: Arc<Mutex<Vec<Arc<dyn FileAccess>>>> = Arc::default();
    let keeping = Arc::clone(&kept);
    let options = || tiny_options(standard_schema());
    let report = CrashSweep::standard(SEED, 4)
        .shrink(false)
        .options(options)
        .storage(move |files| {
            keeping.lock().expect("nobody panicked").push(Arc::clone(&files));
            let options = crate::storage::FileStoreOptions {
                segment_bytes_max: 1024,
                store_id: None,
            };
            let store = crate::storage::FileStore::open(files, "/store", &options)?;
            Ok(Arc::new(store))
        })
        .run();
    assert!(kinds(&report).contains(&FailureKind::LeftBehind), "{report}");
    drop(kept);
}

#[test]
fn work_on_an_unwatched_thread_is_a_finding() {
    fn checkpoint_elsewhere(driver: &Driver<'_>) -> Result<(), Error> {
        let db = driver.db();
        std::thread::scope(|scope| {
            scope
                .spawn(move || db.checkpoint().map(drop))
                .join()
                .expect("it ends")
        })
    }
    let nothing = CrashSweep::driven("a thread of its own", |driver| checkpoint_elsewhere(driver));
    let something = CrashSweep::driven("a thread of its own", |driver| {
        for operation in Workload::standard(SEED, 4).operations {
            driver.apply(&operation)?;
        }
        checkpoint_elsewhere(driver)
    });
    // A checkpoint of nothing changes nothing.
    for (sweep, is_found) in [(nothing, false), (something, true)] {
        let report = sweep.shrink(false).run();
        assert_eq!(
            kinds(&report).contains(&FailureKind::Unwatched),
            is_found,
            "{report}"
        );
    }
}
