//! Tests of the report: its text, and the failure of checks that tested nothing.

use std::path::Path;

use super::super::report::{CheckResult, CheckStop, CheckTally};
use super::super::{CHECKS, Check, CheckOutcome, Conformance, ConformanceReport, Survives};
use super::planted::reason_of;
use crate::Error;
use crate::storage::MemoryStore;

fn report(checks: impl IntoIterator<Item = (&'static str, CheckResult)>) -> ConformanceReport {
    let checks = checks
        .into_iter()
        .map(|(name, checked)| Check::new(name, checked));
    ConformanceReport {
        engine: "an engine".into(),
        seed: 0xf00,
        checks: checks.collect(),
    }
}

fn passed() -> CheckTally {
    let mut tally = CheckTally::of(&["writes"]);
    tally.add("writes", 2);
    tally.note("a note");
    tally
}

#[test]
fn a_check_with_a_required_count_of_zero_fails() {
    let mut half = CheckTally::of(&["kills", "writes"]);
    half.add("writes", 7);
    let report = report([
        ("idle", Ok(CheckTally::default())),
        ("half", Ok(half)),
        ("whole", Ok(passed())),
    ]);
    assert_eq!(report.failed().collect::<Vec<_>>(), ["idle", "half"]);
    assert_eq!(
        reason_of(&report.checks[1]),
        "the check tested nothing: it counted no kills"
    );
    assert!(!report.conforms());
}

#[test]
fn a_report_without_a_passed_check_does_not_conform() {
    assert!(!report([]).conforms());
    let reason = "the disk is missing".to_owned();
    assert!(!report([("one", Err(CheckStop::NotApplicable(reason)))]).conforms());
}

#[test]
fn the_text_of_a_report_is_a_table_with_a_line_for_each_check() {
    let report = report([
        ("short", Ok(passed())),
        (
            "a longer name",
            Err(CheckStop::Failed("key \"k\" is missing".into())),
        ),
        (
            "other",
            Err(CheckStop::NotApplicable("the disk is missing".into())),
        ),
    ]);
    let expected = "storage conformance of an engine, seed 0xf00\n\
                    \u{20} short          passed          2 writes\n\
                    \u{20}                                (a note)\n\
                    \u{20} a longer name  FAILED          key \"k\" is missing\n\
                    \u{20} other          NOT APPLICABLE  the disk is missing\n\
                    1 passed, 1 FAILED, 1 not applicable";
    assert_eq!(report.to_string(), expected);
    let text = std::panic::catch_unwind(|| report.assert_conforms()).unwrap_err();
    assert_eq!(text.downcast_ref::<String>().map(String::as_str), Some(expected));
}

fn in_memory(name: &str) -> Conformance {
    let mut conformance = Conformance::new(name, |_: &Path| Ok(MemoryStore::new()));
    conformance.keeps_files_of_failures = false;
    conformance
}

fn check_kills(conformance: &Conformance) -> ConformanceReport {
    conformance.check_only(|name| name == "killed-between-calls")
}

#[test]
fn an_engine_that_cannot_be_opened_fails_every_applicable_check() {
    let mut conformance = Conformance::new("closed", |_: &Path| -> Result<MemoryStore, Error> {
        Err(Error::storage("open", "out of order"))
    })
    .survives(Survives::Reopening);
    conformance.keeps_files_of_failures = false;
    let report = conformance.check();
    assert_eq!(report.checks.len(), CHECKS.len());
    for check in &report.checks {
        match &check.outcome {
            CheckOutcome::Failed { reason } => {
                let expected = "the storage engine failed in open: out of order";
                assert!(reason.contains(expected), "{report}");
            }
            outcome => assert_ne!(*outcome, CheckOutcome::Passed, "{report}"),
        }
    }
    assert!(report.failed().next().is_some(), "{report}");
}

#[test]
fn an_engine_in_memory_that_claims_to_survive_a_kill_is_caught() {
    let is_selected = |name: &str| name == "killed-between-calls" || name == "reopening";
    let report = in_memory("false claim").check_only(is_selected);
    assert_eq!(report.failed().count(), 2, "{report}");
}

#[test]
fn a_child_that_ends_at_once_or_checks_another_engine_is_a_failure_with_advice() {
    let wrong_test = check_kills(&in_memory("first").in_test("no::such::test"));
    let reason = reason_of(&wrong_test.checks[0]);
    assert!(reason.contains("the child process ended"), "{wrong_test}");

    let second = check_kills(&in_memory("second"));
    let expected = "checks first before second: give each engine its own test";
    assert!(reason_of(&second.checks[0]).contains(expected), "{second}");
}

#[test]
fn the_failure_on_a_thread_without_a_name_asks_for_the_name_of_the_test() {
    let conformance = in_memory("no thread name");
    let report = std::thread::scope(|scope| scope.spawn(|| check_kills(&conformance)).join());
    let report = report.unwrap();
    assert!(reason_of(&report.checks[0]).contains("in_test"), "{report}");
}
