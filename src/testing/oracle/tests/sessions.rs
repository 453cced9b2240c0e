//! The oracle knows of reopenings.

use super::*;
use crate::testing::sim_disk::ImageChoice;
use crate::testing::workload::{Reopening, SessionChange, SessionEnd};

fn reopening(end: SessionEnd, changes: &[SessionChange]) -> Operation {
    let changes = changes.to_vec();
    Reopening { end, changes }.into()
}

/// Fewer rings and edges than the standard schema has.
const SMALLER: SessionChange = SessionChange::CoEngagement {
    ring_len_max: 1,
    degree_max: 1,
    users_max: 1,
    nodes_max: 1,
};

/// Calls after which co-engagement is over the bounds of [`SMALLER`].
fn calls() -> Vec<Operation> {
    records(4, 3)
}

/// The state of the calls, after the reopening too.
fn state_after(operations: &[Operation], reopening: &Operation) -> Export {
    state(&[operations, std::slice::from_ref(reopening)].concat())
}

/// No frame was missing, so a lost change of the bounds was taken to be legal.
#[test]
fn the_change_of_the_schema_in_a_reopening_is_there_once_the_session_ended() {
    let calls = calls();
    let change = reopening(SessionEnd::Drop, &[SMALLER]);
    let (old, new) = (state(&calls), state_after(&calls, &change));
    assert_ne!(old, new);
    let mut oracle = acknowledged(&calls, Guarantee::Acknowledged);
    let last = calls.len() as u64;
    // Before the session ended, only the old schema is legal.
    assert_ok(&oracle.check_export(CrashKind::ProcessCrash, &old, last));
    assert_wrong(&oracle.check_export(CrashKind::ProcessCrash, &new, last));
    let id = oracle.begin(&change);
    assert_wrong(&oracle.check_export(CrashKind::ProcessCrash, &new, last));
    oracle.session_ended(id);
    for death in [CrashKind::ProcessCrash, CrashKind::PowerLoss] {
        // The marker of the checkpoint that stores the new bounds may be there.
        for last in [last, last + 1] {
            assert_ok(&oracle.check_export(death, &new, last));
        }
        // An open applies the new bounds.
        assert_wrong(&oracle.check_export(death, &old, last));
        assert_wrong(&oracle.check_export(death, &state(&calls[..3]), 3));
    }
    // After the reopening, only the new schema is legal.
    let verdict = oracle.check_export(CrashKind::ProcessCrash, &new, last + 1);
    oracle.reopened(&verdict);
    oracle.ended(id, &Ok(None));
    assert_ok(&oracle.check_export(CrashKind::PowerLoss, &new, last + 1));
    let lost = oracle.check_export(CrashKind::PowerLoss, &old, last + 1);
    assert_wrong(&lost);
    assert!(lost.to_string().contains("co-engagement=1.1.1.1"), "{lost}");
    // Later frames are applied under the new bounds.
    let later = record(9, 3);
    let id = oracle.begin(&later);
    oracle.acknowledged(id, Some(last + 2));
    let all = [&calls[..], &[change, later]].concat();
    assert_ok(&oracle.check_export(CrashKind::PowerLoss, &state(&all), last + 2));
}

#[test]
fn a_reopening_after_a_power_loss_may_lose_what_was_not_synced_until_it_is_over() {
    let calls = calls();
    for (end, is_legal) in [
        (SessionEnd::PowerLoss(ImageChoice::Synced), true),
        (SessionEnd::Kill, false),
        (SessionEnd::Drop, false),
    ] {
        let mut oracle = acknowledged(&calls, Guarantee::Synced);
        oracle.note_durable(2);
        let lost = |oracle: &Oracle| judged(oracle, &calls[..2], 2);
        let id = oracle.begin(&reopening(end.clone(), &[]));
        assert_wrong(&lost(&oracle));
        oracle.session_ended(id);
        assert_eq!(lost(&oracle).is_ok(), is_legal, "{end}");
        // Durable frames are not lost.
        assert_wrong(&judged(&oracle, &calls[..1], 1));
        if is_legal {
            oracle.reopened(&lost(&oracle));
            assert_ok(&judged(&oracle, &calls[..2], 2));
            // The loss is settled. A process crash of the next session loses nothing.
            let id = oracle.begin(&calls[2]);
            oracle.acknowledged(id, Some(3));
            assert_wrong(&judged(&oracle, &calls[..2], 2));
            assert_ok(&judged_durable(&oracle, &calls[..2], 2));
        }
    }
}

#[test]
fn another_policy_promises_from_the_next_session_on() {
    let calls = calls();
    let mut oracle = acknowledged(&calls[..2], Guarantee::Synced);
    assert_ok(&judged_durable(&oracle, &calls[..0], 0));
    oracle.reopened(&judged(&oracle, &calls[..2], 2));
    oracle.set_guarantee(crate::Durability::EverySynced);
    acknowledge(&mut oracle, &calls[2..3], 2);
    assert_wrong(&judged_durable(&oracle, &calls[..2], 2));
    assert_ok(&judged_durable(&oracle, &calls[..3], 3));
    oracle.set_guarantee(crate::Durability::OperatingSystem);
    assert_ok(&judged_durable(&oracle, &calls[..2], 2));
}

#[test]
fn the_promised_state_holds_every_acknowledged_call_and_none_that_failed() {
    let calls = [
        records(3, 1),
        vec![Operation::CreateCollection(b"a".to_vec()), add(1)],
    ]
    .concat();
    let mut oracle = acknowledged(&calls, Guarantee::Synced);
    let failed = oracle.begin(&record(7, 1));
    oracle.ended(failed, &Err(after_append(9)));
    let refused = oracle.begin(&record(8, 1));
    oracle.ended(refused, &Err(Error::Closed));
    let verdict = oracle.promised(3);
    assert_eq!((verdict.found.len(), verdict.last_sequence), (calls.len(), 3));
    oracle.reopened(&verdict);
    assert_ok(&judged_durable(&oracle, &calls, 3));
    assert_wrong(&judged_durable(&oracle, &calls[..4], 3));
}

/// The marker of the checkpoint that stored the new bounds has the number of a lost frame without effect. The oracle took that
/// frame to be there, and rejected the report that it is lost.
#[test]
fn a_lost_frame_without_effect_is_lost_although_a_marker_has_its_number() {
    let calls = [record(1, 3), Operation::ForgetUser(UserId(99))];
    let mut oracle = new(Guarantee::Synced);
    for (operation, sequence) in calls.iter().zip(1..) {
        let id = oracle.begin(operation);
        oracle.ended(id, &Ok(Some(crate::Receipt::new(1, sequence))));
    }
    let change = reopening(SessionEnd::PowerLoss(ImageChoice::Synced), &[SMALLER]);
    let id = oracle.begin(&change);
    oracle.session_ended(id);
    let found = state_after(&calls[..1], &change);
    let options = crate::testing::workload::tiny_options(standard_schema());
    let disk = Arc::new(crate::testing::SimDisk::new());
    let db = crate::TidalDb::open("/db", options.files(disk)).unwrap();
    let report = |survived_sequence| {
        let mut report = db.recovery_report().clone();
        (report.opening, report.last_sequence) = (2, survived_sequence);
        let opening = 1;
        report.earlier_openings = vec![crate::EarlierOpening {
            opening,
            survived_sequence,
        }];
        report
    };
    let judged = |survived| oracle.check_recovered(CrashKind::PowerLoss, &found, None, 2, &report(survived));
    let verdict = judged(1);
    assert_ok(&verdict);
    assert_eq!(verdict.prefix.frames, 1);
    assert_eq!(judged(2).prefix.frames, 2);
    assert_wrong(&judged(0));
}
