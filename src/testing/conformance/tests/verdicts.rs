//! What a report says, and that nothing passes that has not been tested.

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
    tally.note("nothing else");
    tally
}

#[test]
fn a_check_that_did_nothing_of_what_it_announced_has_failed() {
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
        "the check tested nothing: there were no kills"
    );
    assert!(!report.conforms());
}

#[test]
fn a_report_in_which_nothing_was_checked_does_not_conform() {
    assert!(!report([]).conforms());
    let why = "it cannot be".to_owned();
    assert!(!report([("one", Err(CheckStop::NotApplicable(why)))]).conforms());
}

#[test]
fn a_report_is_a_table_of_every_check() {
    let report = report([
        ("short", Ok(passed())),
        (
            "a longer name",
            Err(CheckStop::Failed("key \"k\" is missing".into())),
        ),
        ("other", Err(CheckStop::NotApplicable("there is no disk".into()))),
    ]);
    let expected = "storage conformance of an engine, seed 0xf00\n\
                    \u{20} short          passed          2 writes\n\
                    \u{20}                                (nothing else)\n\
                    \u{20} a longer name  FAILED          key \"k\" is missing\n\
                    \u{20} other          NOT APPLICABLE  there is no disk\n\
                    1 passed, 1 FAILED, 1 not applicable";
    assert_eq!(report.to_string(), expected);
    let text = std::panic::catch_unwind(|| report.assert_conforms()).unwrap_err();
    assert_eq!(text.downcast_ref::<String>().map(String::as_str), Some(expected));
}

fn in_memory(name: &str) -> Conformance {
    let mut conformance = Conformance::new(name, |_: &Path| Ok(MemoryStore::new()));
    conformance.keeps_failures = false;
    conformance
}

fn check_kills(conformance: &Conformance) -> ConformanceReport {
    conformance.check_those(|name| name == "killed-between-calls")
}

#[test]
fn an_engine_that_does_not_open_fails_every_check_that_applies() {
    let mut conformance = Conformance::new("closed", |_: &Path| -> Result<MemoryStore, Error> {
        Err(Error::storage("open", "out of order"))
    })
    .survives(Survives::Reopening);
    conformance.keeps_failures = false;
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
    let is_wanted = |name: &str| name == "killed-between-calls" || name == "reopening";
    let report = in_memory("boastful").check_those(is_wanted);
    assert_eq!(report.failed().count(), 2, "{report}");
}

#[test]
fn a_child_that_cannot_be_started_or_is_another_is_a_failure_that_says_what_to_do() {
    let wrong_test = check_kills(&in_memory("first").in_test("no::such::test"));
    let reason = reason_of(&wrong_test.checks[0]);
    assert!(reason.contains("the child process ended"), "{wrong_test}");

    let second = check_kills(&in_memory("second"));
    let expected = "checks first before second: give each engine a test of its own";
    assert!(reason_of(&second.checks[0]).contains(expected), "{second}");
}

#[test]
fn a_nameless_thread_is_told_how_to_name_the_test() {
    let conformance = in_memory("nameless");
    let report = std::thread::scope(|scope| scope.spawn(|| check_kills(&conformance)).join());
    let report = report.unwrap();
    assert!(reason_of(&report.checks[0]).contains("in_test"), "{report}");
}
