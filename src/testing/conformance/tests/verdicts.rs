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

#[test]
fn an_engine_that_does_not_open_fails_every_check_that_applies() {
    let mut conformance = Conformance::new("closed", |_: &Path| -> Result<MemoryStore, Error> {
        Err(Error::storage("open", "out of order"))
    })
    .survives(Survives::Reopening);
    conformance.keeps_failures = false;
    let report = conformance.check();
    assert_eq!(report.passed().count(), 0, "{report}");
    assert_eq!(
        report.failed().count() + report.not_applicable().count(),
        CHECKS.len()
    );
    for check in &report.checks {
        if let CheckOutcome::Failed { reason } = &check.outcome {
            assert!(
                reason.contains("the storage engine failed in open: out of order"),
                "{report}"
            );
        }
    }
}

#[test]
fn an_engine_in_memory_that_claims_to_survive_a_kill_is_caught() {
    let mut conformance = Conformance::new("boastful", |_: &Path| Ok(MemoryStore::new()));
    conformance.keeps_failures = false;
    let report = conformance.check_those(|name| name == "killed-between-calls" || name == "reopening");
    assert_eq!(report.failed().count(), 2, "{report}");
}

#[test]
fn a_child_that_cannot_be_started_or_is_another_is_a_failure_that_says_what_to_do() {
    let engine = |name: &str| {
        let mut conformance = Conformance::new(name, |_: &Path| Ok(MemoryStore::new()));
        conformance.keeps_failures = false;
        conformance
    };
    let only_kills =
        |conformance: &Conformance| conformance.check_those(|name| name == "killed-between-calls");
    let wrong_test = only_kills(&engine("first").in_test("no::such::test"));
    assert!(
        reason_of(&wrong_test.checks[0]).contains("the child process ended"),
        "{wrong_test}"
    );

    let second = only_kills(&engine("second"));
    let expected = "checks first before second: give each engine a test of its own";
    assert!(reason_of(&second.checks[0]).contains(expected), "{second}");
}

#[test]
fn what_is_written_beside_the_child_is_no_answer_and_a_nameless_thread_is_told_so() {
    let conformance = Conformance::new("nameless", |_: &Path| Ok(MemoryStore::new()));
    let report = std::thread::scope(|scope| {
        let of_thread = || {
            let mut conformance = conformance.clone();
            conformance.keeps_failures = false;
            conformance.check_those(|name| name == "killed-between-calls")
        };
        scope.spawn(of_thread).join()
    });
    let report = report.unwrap();
    assert!(reason_of(&report.checks[0]).contains("in_test"), "{report}");
}
