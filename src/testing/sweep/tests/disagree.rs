//! Crash modes that leave different files: a destructor writes if a panic unwinds, and does not run if the process is
//! killed.

use super::*;
use crate::testing::faults::{FileOperation, FileRole, ForwardingFiles};

/// A file access whose files have a destructor that writes to an open segment while a panic unwinds.
fn write_while_panicking(files: Arc<dyn FileAccess>) -> Arc<dyn FileAccess> {
    Arc::new(ForwardingFiles::new(files, |call| {
        let is_close = matches!(call.operation, FileOperation::Close);
        if let Some(file) = call.file()
            && is_close
            && call.role() == FileRole::Segment
            && std::thread::panicking()
        {
            // A file that is open for reading refuses the write.
            file.write_at(b"the end", 900).ok();
        }
        call.forward()
    }))
}

#[test]
fn crash_modes_that_leave_different_files_are_a_finding() {
    let test = concat!(
        module_path!(),
        "::crash_modes_that_leave_different_files_are_a_finding"
    );
    let sweep = CrashSweep::standard(SEED, 6).files(write_while_panicking);
    let plan = Plan::standard(SEED, 6).crash_at(CrashPoint::WalPostAggregate, 0);
    let finding = sweep
        .compare_crash_modes(&plan, test)
        .expect_err("a destructor wrote");
    assert_eq!(finding.failure.kind, FailureKind::ModesDisagree, "{finding}");
    let message = &finding.failure.message;
    assert!(
        message.contains("the image and panic leave different files"),
        "{message}"
    );
    assert!(message.contains("/db/log/"), "{message}");

    // The test to paste compares the crash modes again. A replay of the line would not.
    let pasted = finding.test_to_paste();
    let line = plan.replay_line();
    let expected = format!(
        r#"#[test]
fn crash_modes_agree() {{
    let plan: tidaldb::testing::Plan = {line:?}.parse().unwrap();
    drop(sweep().compare_crash_modes(&plan, concat!(module_path!(), "::crash_modes_agree")).unwrap());
}}"#
    );
    assert_eq!(pasted, expected);
    assert_eq!(line.parse(), Ok(plan));
}

#[test]
fn a_plan_with_a_panic_finds_a_destructor_that_writes() {
    let sweep = CrashSweep::standard(SEED, 6).files(write_while_panicking);
    let site = "WalPostAggregate#0".parse().expect("a site");
    let plan = Plan::standard(SEED, 6).crash(site, CrashMode::Panic);
    let finding = sweep.run_plan(&plan).expect_err("a destructor wrote");
    remove_image(&finding);
    assert_eq!(finding.failure.kind, FailureKind::ModesDisagree, "{finding}");
}
