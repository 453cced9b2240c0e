//! The first test of a crate that uses the kit. The test must fail if it tests nothing, for any reason.

use super::*;
use crate::SignalEvent;
use crate::testing::report::Report;

fn change(driver: &mut Driver<'_>) -> Result<(), Error> {
    driver.apply(&Operation::CreateCollection(b"to watch".to_vec()))?;
    driver.apply(&Operation::AddToCollection(b"to watch".to_vec(), EntityId(7)))?;
    Ok(())
}

/// Runs the first test of the documentation with this work function. Returns the reason of its failure; `None` if it
/// passes.
fn first_test(work: impl Fn(&mut Driver<'_>) -> Result<(), Error> + Send + Sync + 'static) -> Option<String> {
    let report = CrashSweep::driven("watch list", work).shrink(false).run();
    let panicked = std::panic::catch_unwind(|| report.expect_clean()).err();
    assert_eq!(panicked.is_none(), report.is_ok(), "{report}");
    assert_eq!(Report::from(report.clone()).is_ok(), report.is_ok(), "{report}");
    let finding = report.findings.first().map(|finding| finding.failure.to_string());
    finding.or_else(|| report.reason_not_clean())
}

#[track_caller]
fn assert_fails(work: impl Fn(&mut Driver<'_>) -> Result<(), Error> + Send + Sync + 'static, expected: &str) {
    let reason =
        first_test(work).unwrap_or_else(|| panic!("the test passes, but must fail with {expected:?}"));
    assert!(reason.contains(expected), "{reason}");
}

#[test]
fn a_driven_sweep_with_successful_changes_passes() {
    assert_eq!(first_test(change), None);
}

#[test]
fn a_driven_sweep_without_changes_fails() {
    assert_fails(|_| Ok(()), "no operation was acknowledged");
    assert_fails(
        |driver| driver.apply(&Operation::Sync).map(drop),
        "no crash point was crossed",
    );
}

#[test]
fn a_driven_sweep_whose_calls_all_fail_fails_even_if_it_ignores_the_errors() {
    let to_missing_collection = || Operation::AddToCollection(b"none".to_vec(), EntityId(7));
    assert_fails(
        move |driver| driver.apply(&to_missing_collection()).map(drop),
        "the work failed",
    );
    assert_fails(
        move |driver| {
            driver.apply(&to_missing_collection()).ok();
            Ok(())
        },
        "no operation was acknowledged",
    );
}

#[test]
fn a_driven_sweep_that_panics_fails() {
    assert_fails(
        |_| panic!("an assertion of the work function"),
        "an assertion of the work function",
    );
}

#[test]
fn a_driven_sweep_that_writes_without_the_driver_fails() {
    assert_fails(
        |driver| {
            change(driver)?;
            let view = driver.db().signal("view")?;
            driver
                .db()
                .record(&SignalEvent::new(view, EntityId(1), 0))
                .map(drop)
        },
        "expected",
    );
}

#[test]
fn a_driven_sweep_whose_work_differs_between_runs_fails() {
    let runs = std::sync::atomic::AtomicU64::new(0);
    assert_fails(
        move |driver| {
            change(driver)?;
            let run = runs.fetch_add(1, Ordering::Relaxed);
            driver
                .apply(&Operation::AddToCollection(
                    b"to watch".to_vec(),
                    EntityId(100 + run),
                ))
                .map(drop)
        },
        "differ",
    );
}

#[test]
fn a_driven_sweep_whose_bounds_exclude_every_crash_fails() {
    let sweep = || CrashSweep::driven("watch list", change);
    for bounded in [
        sweep().time(Duration::ZERO),
        sweep().images_max(0),
        sweep().distinct_max(0),
    ] {
        let report = bounded.run();
        let why = report.reason_not_clean();
        assert_eq!(
            why.as_deref(),
            Some("the sweep tests nothing: no image was recovered"),
            "{report}"
        );
    }
    // Without crash positions the cases with faults still have images.
    let report = sweep().crash_positions_max(0).run();
    assert!(report.distinct > 0, "{report}");
    let why = report.reason_not_clean().expect("no crash of the work");
    assert!(why.contains("it crashed at no site of the work"), "{why}");
}

#[test]
fn a_sweep_of_sessions_without_a_reopening_fails() {
    let sweep = |operations_len| {
        CrashSweep::sessions(SEED, operations_len)
            .images_max(1)
            .nested_max(0)
            .faults_max(0)
    };
    let why = sweep(3).run().reason_not_clean().expect("it has one session");
    assert!(why.contains("no second session"), "{why}");
    sweep(30).run().expect_clean();
}
