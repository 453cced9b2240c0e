//! Work in several sessions on real files, in this process and in children.

use super::*;
use crate::testing::oracle::CrashKind;
use crate::testing::workload::{Reopening, SessionChange, SessionEnd, Workload};

/// A workload whose sessions end without a power loss, which real files do not have.
fn workload() -> Workload {
    let mut workload = Workload::sessions(9, 50);
    let mut ends = [SessionEnd::Close, SessionEnd::Drop, SessionEnd::Kill]
        .into_iter()
        .cycle();
    for operation in &mut workload.operations {
        if let Operation::Reopen(reopening) = operation {
            reopening.end = ends.next().expect("without an end");
        }
    }
    workload
}

/// Crossings of the first session and of later ones.
fn sites() -> impl Iterator<Item = Site> {
    let sites = [
        "WalPreAggregate#2",
        "WalPostAggregate#12",
        "CheckpointPostFlush#4",
        "CollectionIndexUpdate#5",
        "SignalAggregationUpdate#90",
    ];
    sites.into_iter().map(|site| site.parse().expect("a site"))
}

#[test]
fn a_crash_in_any_session_on_real_files_keeps_every_promise_in_every_mode() {
    let child = ChildProgram::this_test(concat!(
        module_path!(),
        "::a_crash_in_any_session_on_real_files_keeps_every_promise_in_every_mode"
    ));
    let sweep = CrashSweep::of(workload());
    sweep.die_if_child();
    for site in sites() {
        for mode in [CrashMode::Panic, CrashMode::Abort, CrashMode::Kill] {
            let plan = sweep.plan().crash(site, mode);
            let crashed = sweep
                .crash_on_files(&plan, &child)
                .unwrap_or_else(|finding| panic!("{finding}"));
            assert_eq!(crashed.counts.lost, 0, "{plan}");
        }
    }
    let plan = sweep.plan().crash(Site::End, CrashMode::Kill);
    let ended = sweep
        .crash_on_files(&plan, &child)
        .unwrap_or_else(|finding| panic!("{finding}"));
    assert!(ended.counts.recovered > 20, "{ended:?}");
}

#[test]
fn crash_modes_agree_in_later_sessions() {
    let test = concat!(module_path!(), "::crash_modes_agree_in_later_sessions");
    let plan = CrashSweep::of(workload()).plan();
    let on_disk = "disk#150:after".parse().expect("a site");
    for site in sites().skip(1).take(2).chain([on_disk]) {
        let plan = plan.clone().crash(site, CrashMode::Kill);
        let agreement = compare_crash_modes(&plan, test).unwrap_or_else(|finding| panic!("{finding}"));
        assert!(
            agreement.modes.is_empty() || agreement.modes.len() >= 2,
            "{agreement:?}"
        );
    }
}

#[test]
fn a_power_loss_between_sessions_is_refused_on_real_files() {
    let operations = vec![Reopening::after(SessionEnd::PowerLoss(ImageChoice::Synced)).into()];
    let sweep = CrashSweep::of(Workload { operations });
    let plan = sweep.plan().crash(Site::End, CrashMode::Kill);
    let finding = sweep
        .crash_on_files(&plan, &ChildProgram::this_program([""; 0]))
        .expect_err("real files have no power loss");
    assert!(
        finding.to_string().contains("real files keep all writes"),
        "{finding}"
    );
    remove_image(&finding);
}

/// A child writes two lines for a reopening. The journal knows the next session after the first line, and the state and the
/// policy after the second.
#[test]
fn the_lines_of_a_reopening_end_a_session_and_begin_the_next() {
    let setup = CrashSweep::standard(SEED, 0)
        .durability(Durability::OperatingSystem)
        .setup;
    let journal = journal::Journal::new(journal::OracleSnapshot::first(setup.oracle()));
    let mut heard = child::FromChild::new(&journal);
    let mut hear = |line: &str| heard.hear(line).map(drop);
    let create = Operation::CreateCollection(b"a".to_vec());
    let reopening = Operation::from(Reopening {
        end: SessionEnd::Kill,
        changes: vec![SessionChange::AppendSignal],
    });
    hear(&format!("begin 0 {create}")).unwrap();
    hear("ok 0 -").unwrap();
    hear(&format!("begin 1 {reopening}")).unwrap();
    assert_eq!(journal.last().1.recovery.number, 2, "the crash is in session 1");
    hear("ended-session 1 7").unwrap();
    let known = journal.last().1;
    assert_eq!((known.session.number, known.recovery.number), (2, 3));
    assert_eq!((known.session.now_ms, known.now_ms), (7, 7));
    let schema = setup.options(&known.recovery).schema;
    assert_eq!(schema.signals().len(), 6);
    assert_eq!(journal.acknowledged(), (0, 1));
    hear("reopened 0 every-synced").unwrap();
    hear("ok 1 -").unwrap();
    // The collection is settled, and the next one must survive a power loss.
    assert_eq!(journal.acknowledged(), (0, 0));
    hear("begin 2 create:b").unwrap();
    hear("ok 2 -").unwrap();
    let mut expected = crate::testing::model::Model::new(&schema);
    expected.apply(&create);
    let lost = |journal: &journal::Journal, export| {
        let oracle = journal.last().1.oracle;
        !oracle.check_export(CrashKind::PowerLoss, &export, 0).is_ok()
    };
    assert!(lost(&journal, expected.export()));
    expected.apply(&Operation::CreateCollection(b"b".to_vec()));
    assert!(!lost(&journal, expected.export()));
    for line in [
        "ended-session",
        "ended-session 1",
        "ended-session 9 0",
        "ended-session 2 0",
        "ended-session 1 x",
        "reopened 0",
        "reopened x every-synced",
        "reopened 0 often",
    ] {
        let failure = hear(line).expect_err(line);
        assert_eq!(failure.kind, FailureKind::NeverReached, "{line}");
    }
}
