//! Workloads in several sessions on real files, in this process and in child processes.

use super::*;
use crate::testing::oracle::CrashKind;
use crate::testing::workload::{Reopening, SessionChange, SessionEnd, Workload};

/// A workload whose sessions end without a power loss, because a power loss needs a simulated disk.
fn workload() -> Workload {
    let mut workload = Workload::sessions(9, 50);
    let mut ends = [SessionEnd::Close, SessionEnd::Drop, SessionEnd::Kill]
        .into_iter()
        .cycle();
    for operation in &mut workload.operations {
        if let Operation::Reopen(reopening) = operation {
            reopening.end = ends.next().expect("an endless iterator");
        }
    }
    workload
}

/// Crossings in the first session and in later sessions.
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
fn a_database_on_real_files_survives_a_crash_in_any_session_in_every_mode() {
    let child = ChildProgram::this_test(concat!(
        module_path!(),
        "::a_database_on_real_files_survives_a_crash_in_any_session_in_every_mode"
    ));
    let sweep = CrashSweep::of(workload());
    sweep.crash_if_child();
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
fn all_crash_modes_leave_the_same_files_in_later_sessions() {
    let test = concat!(
        module_path!(),
        "::all_crash_modes_leave_the_same_files_in_later_sessions"
    );
    let plan = CrashSweep::of(workload()).plan();
    let on_disk = "disk#150:after".parse().expect("a site");
    for site in sites().skip(1).take(2).chain([on_disk]) {
        let plan = plan.clone().crash(site, CrashMode::Kill);
        let comparison = compare_crash_modes(&plan, test).unwrap_or_else(|finding| panic!("{finding}"));
        assert!(
            comparison.modes.is_empty() || comparison.modes.len() >= 2,
            "{comparison:?}"
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
        .expect_err("a power loss needs a simulated disk");
    assert!(
        finding.to_string().contains("real files lose no write"),
        "{finding}"
    );
    remove_image(&finding);
}

/// A child prints two lines for a reopening. After the first line the journal has the next session, and after the
/// second line the state and the policy.
#[test]
fn the_two_lines_of_a_reopening_end_a_session_and_begin_the_next() {
    let setup = CrashSweep::standard(SEED, 0)
        .durability(Durability::OperatingSystem)
        .setup;
    let journal = journal::Journal::new(journal::OracleSnapshot::first(setup.oracle()));
    let mut reader = child::ChildLineReader::new(&journal);
    let mut read_line = |line: &str| reader.read_line(line).map(drop);
    let create = Operation::CreateCollection(b"a".to_vec());
    let reopening = Operation::from(Reopening {
        end: SessionEnd::Kill,
        changes: vec![SessionChange::AppendSignal],
    });
    read_line(&format!("begin 0 {create}")).unwrap();
    read_line("ok 0 -").unwrap();
    read_line(&format!("begin 1 {reopening}")).unwrap();
    assert_eq!(journal.last().1.recovery.number, 2, "the crash is in session 1");
    read_line("ended-session 1 7").unwrap();
    let snapshot = journal.last().1;
    assert_eq!((snapshot.session.number, snapshot.recovery.number), (2, 3));
    assert_eq!((snapshot.session.now_ms, snapshot.now_ms), (7, 7));
    let schema = setup.options(&snapshot.recovery).schema;
    assert_eq!(schema.signals().len(), 6);
    assert_eq!(journal.acknowledged(), (0, 1));
    read_line("reopened 0 every-synced").unwrap();
    read_line("ok 1 -").unwrap();
    // The first collection is in the state after the reopening. The next collection must survive a power loss.
    assert_eq!(journal.acknowledged(), (0, 0));
    read_line("begin 2 create:b").unwrap();
    read_line("ok 2 -").unwrap();
    let mut expected = crate::testing::model::Model::new(&schema);
    expected.apply(&create);
    let is_legal = |journal: &journal::Journal, export| {
        let oracle = journal.last().1.oracle;
        oracle.check_export(CrashKind::PowerLoss, &export, 0).is_ok()
    };
    assert!(!is_legal(&journal, expected.export()));
    expected.apply(&Operation::CreateCollection(b"b".to_vec()));
    assert!(is_legal(&journal, expected.export()));
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
        let failure = read_line(line).expect_err(line);
        assert_eq!(failure.kind, FailureKind::NeverReached, "{line}");
    }
}
