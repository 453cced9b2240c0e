//! The tests to paste that findings print, compiled and run. Each other file of this folder is the text of one such
//! test.

use super::*;
use crate::testing::workload::{standard_schema, tiny_options};

/// The texts use the name of this crate, as in a crate that depends on it.
extern crate self as tidaldb;

mod with_the_standard_setup {
    use super::tidaldb;

    include!("standard.rs");
}

mod without_a_crash {
    use super::tidaldb;

    include!("end.rs");
}

mod with_its_own_sweep {
    use super::watch_list as sweep;

    include!("own.rs");
}

fn watch_list() -> CrashSweep {
    CrashSweep::driven("watch list", |driver| {
        driver.apply(&Operation::CreateCollection(b"to watch".to_vec()))?;
        driver.apply(&Operation::AddToCollection(b"to watch".to_vec(), EntityId(7)))?;
        Ok(())
    })
}

fn finding(line: &str, kind: FailureKind, has_own_setup: bool) -> Finding {
    let plan = line.parse().expect("a plan");
    Finding {
        has_own_setup,
        ..Finding::new(plan, Failure::new(kind, "nothing, now"))
    }
}

#[test]
fn the_files_of_this_folder_are_the_texts_that_findings_print() {
    for (line, kind, has_own_setup, pasted) in [
        (
            "work=standard:7:20 durability=every-synced crash=WalPostAggregate#3 mode=power-loss:synced",
            FailureKind::Lost,
            false,
            include_str!("standard.rs"),
        ),
        (
            "work=ops:create:a;checkpoint durability=operating-system",
            FailureKind::AcknowledgedBeforeDurable,
            false,
            include_str!("end.rs"),
        ),
        (
            "work=driven:watch%20list durability=every-synced crash=CollectionIndexUpdate#1 mode=kill",
            FailureKind::Doubled,
            true,
            include_str!("own.rs"),
        ),
    ] {
        assert_eq!(finding(line, kind, has_own_setup).test_to_paste() + "\n", pasted);
    }
}

#[test]
fn every_kind_of_failure_makes_a_valid_test_name() {
    for &kind in FailureKind::ALL {
        let text = finding("work=standard:7:20 durability=every-synced", kind, false).test_to_paste();
        let (_, after) = text.split_once("fn ").expect("a function");
        let (name, _) = after.split_once("() {").expect("a name");
        let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(name.bytes().all(is_legal), "{name}");
    }
}

/// The line of a finding without a crash once had no crash, so its replay always failed.
#[test]
fn the_line_of_a_finding_without_a_crash_fails_with_the_bug_and_passes_without_it() {
    let operations = vec![Operation::CreateCollection(b"a".to_vec()), Operation::Sync];
    let sweep = CrashSweep::of(Workload { operations }).durability(Durability::OperatingSystem);
    let acts = crate::testing::lab::planted::FaultCount::default();
    let planted = crate::testing::lab::planted::PlantedBug::SyncDropped.plant(sweep.clone(), &acts);
    let report = planted.run();
    let finding = report.findings.first().expect("the bug is found");
    assert_eq!(finding.failure.kind, FailureKind::AcknowledgedBeforeDurable);
    assert!(
        finding.plan.crashes.is_empty() && finding.has_own_setup,
        "{finding}"
    );
    let line = finding.replay_line();
    let again = finding_of(planted.replay(&line));
    assert_eq!(again.failure.kind, finding.failure.kind);
    sweep.replay(&line).unwrap();
    replay(&line).unwrap();
}

#[test]
fn a_sweep_with_its_own_work_options_storage_or_files_is_not_standard() {
    let standard = CrashSweep::standard(SEED, 4).durability(Durability::OperatingSystem);
    assert!(standard.setup.is_standard());
    for own in [
        watch_list(),
        standard.clone().files(|files| files),
        standard.clone().options(|| tiny_options(standard_schema())),
        standard.storage(|_| Ok(Arc::new(crate::storage::MemoryStore::new()))),
    ] {
        assert!(!own.setup.is_standard(), "{own:?}");
    }
}
