//! The tests that findings print to paste, compiled and run as they are: the files of the folder beside this one hold the
//! text of a test each, and are what a finding prints.

use super::*;
use crate::testing::workload::{standard_schema, tiny_options};

/// As in a crate that depends on this one.
extern crate self as tidaldb;

mod of_the_standard_parts {
    use super::tidaldb;

    include!("standard.rs");
}

mod without_a_crash {
    use super::tidaldb;

    include!("end.rs");
}

mod of_a_sweep_of_its_own {
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

fn finding(line: &str, kind: FailureKind, of_own_sweep: bool) -> Finding {
    let plan = line.parse().expect("a plan");
    Finding {
        of_own_sweep,
        ..Finding::new(plan, Failure::new(kind, "nothing, now"))
    }
}

#[test]
fn what_a_finding_prints_to_paste_is_what_is_compiled_and_run_here() {
    for (line, kind, of_own_sweep, pasted) in [
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
        assert_eq!(finding(line, kind, of_own_sweep).test_to_paste() + "\n", pasted);
    }
}

#[test]
fn every_kind_of_failure_makes_a_name_of_a_test() {
    for &kind in FailureKind::ALL {
        let text = finding("work=standard:7:20 durability=every-synced", kind, false).test_to_paste();
        let (_, after) = text.split_once("fn ").expect("a function");
        let (name, _) = after.split_once("() {").expect("its name");
        let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(name.bytes().all(is_legal), "{name}");
    }
}

/// A finding without a crash once printed a line that no engine could pass, since it came to no crash.
#[test]
fn a_test_of_what_goes_wrong_without_a_crash_fails_as_long_as_it_does_and_then_passes() {
    let operations = vec![Operation::CreateCollection(b"a".to_vec()), Operation::Sync];
    let sweep = CrashSweep::of(Workload { operations }).durability(Durability::OperatingSystem);
    let acts = crate::testing::lab::planted::FaultCount::default();
    let planted = crate::testing::lab::planted::PlantedBug::SyncDropped.plant(sweep.clone(), &acts);
    let report = planted.run();
    let finding = report.findings.first().expect("it is found");
    assert_eq!(finding.failure.kind, FailureKind::AcknowledgedBeforeDurable);
    assert!(
        finding.plan.crashes.is_empty() && finding.of_own_sweep,
        "{finding}"
    );
    let line = finding.replay_line();
    let again = finding_of(planted.replay(&line));
    assert_eq!(again.failure.kind, finding.failure.kind);
    sweep.replay(&line).unwrap();
    replay(&line).unwrap();
}

#[test]
fn only_a_sweep_with_parts_of_its_own_needs_them_for_its_findings() {
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
