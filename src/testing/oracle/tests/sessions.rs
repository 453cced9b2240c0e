//! The oracle with reopenings: changes of the schema, losses of a power loss, and changes of the policy.

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

/// The state after the calls and the reopening.
fn state_after(operations: &[Operation], reopening: &Operation) -> Export {
    state(&[operations, std::slice::from_ref(reopening)].concat())
}

/// The oracle accepted a state without the change of the bounds, because no frame was missing.
#[test]
fn a_change_of_the_schema_in_a_reopening_must_be_recovered_after_the_session_ended() {
    let calls = calls();
    let change = reopening(SessionEnd::Drop, &[SMALLER]);
    let (old, new) = (state(&calls), state_after(&calls, &change));
    assert_ne!(old, new);
    let mut oracle = acknowledged(&calls, Guarantee::Acknowledged);
    let last = calls.len() as u64;
    // Before the end of the session only the old schema is legal.
    assert_ok(&oracle.check_export(CrashKind::ProcessCrash, &old, last));
    assert_wrong(&oracle.check_export(CrashKind::ProcessCrash, &new, last));
    let id = oracle.begin(&change);
    assert_wrong(&oracle.check_export(CrashKind::ProcessCrash, &new, last));
    oracle.session_ended(id);
    for crash in [CrashKind::ProcessCrash, CrashKind::PowerLoss] {
        // The log may contain the marker of the checkpoint that stores the new bounds.
        for last in [last, last + 1] {
            assert_ok(&oracle.check_export(crash, &new, last));
        }
        // An open applies the new bounds.
        assert_wrong(&oracle.check_export(crash, &old, last));
        assert_wrong(&oracle.check_export(crash, &state(&calls[..3]), 3));
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
fn a_reopening_after_a_power_loss_may_lose_unsynced_calls_until_it_ends() {
    let calls = calls();
    for (end, is_legal) in [
        (SessionEnd::PowerLoss(ImageChoice::Synced), true),
        (SessionEnd::Kill, false),
        (SessionEnd::Drop, false),
    ] {
        let mut oracle = acknowledged(&calls, Guarantee::Synced);
        oracle.note_durable(2);
        let lost = |oracle: &Oracle| verdict_after_process_crash(oracle, &calls[..2], 2);
        let id = oracle.begin(&reopening(end.clone(), &[]));
        assert_wrong(&lost(&oracle));
        oracle.session_ended(id);
        assert_eq!(lost(&oracle).is_ok(), is_legal, "{end}");
        // Durable frames are not lost.
        assert_wrong(&verdict_after_process_crash(&oracle, &calls[..1], 1));
        if is_legal {
            oracle.reopened(&lost(&oracle));
            assert_ok(&verdict_after_process_crash(&oracle, &calls[..2], 2));
            // After the reopening the loss is final. A process crash of the next session loses nothing.
            let id = oracle.begin(&calls[2]);
            oracle.acknowledged(id, Some(3));
            assert_wrong(&verdict_after_process_crash(&oracle, &calls[..2], 2));
            assert_ok(&verdict_after_power_loss(&oracle, &calls[..2], 2));
        }
    }
}

#[test]
fn a_changed_policy_applies_from_the_next_session() {
    let calls = calls();
    let mut oracle = acknowledged(&calls[..2], Guarantee::Synced);
    assert_ok(&verdict_after_power_loss(&oracle, &calls[..0], 0));
    oracle.reopened(&verdict_after_process_crash(&oracle, &calls[..2], 2));
    oracle.set_guarantee(crate::Durability::EverySynced);
    acknowledge(&mut oracle, &calls[2..3], 2);
    assert_wrong(&verdict_after_power_loss(&oracle, &calls[..2], 2));
    assert_ok(&verdict_after_power_loss(&oracle, &calls[..3], 3));
    oracle.set_guarantee(crate::Durability::OperatingSystem);
    assert_ok(&verdict_after_power_loss(&oracle, &calls[..2], 2));
}

#[test]
fn the_promised_state_contains_every_acknowledged_call_and_no_failed_call() {
    let calls = [
        records(3, 1),
        vec![Operation::CreateCollection(b"a".to_vec()), add(1)],
    ]
    .concat();
    let mut oracle = acknowledged(&calls, Guarantee::Synced);
    let failed = oracle.begin(&record(7, 1));
    oracle.ended(failed, &Err(error_after_append(9)));
    let refused = oracle.begin(&record(8, 1));
    oracle.ended(refused, &Err(Error::Closed));
    let verdict = oracle.promised(3);
    assert_eq!(
        (verdict.recovered_calls.len(), verdict.last_sequence),
        (calls.len(), 3)
    );
    oracle.reopened(&verdict);
    assert_ok(&verdict_after_power_loss(&oracle, &calls, 3));
    assert_wrong(&verdict_after_power_loss(&oracle, &calls[..4], 3));
}

/// The marker of the checkpoint that stored the new bounds had the number of a lost frame without effect. The oracle
/// counted that frame as recovered, and rejected the correct report of its loss.
#[test]
fn a_lost_frame_without_effect_is_lost_although_a_marker_has_its_number() {
    let calls = [record(1, 3), Operation::ForgetUser(UserId(99))];
    let mut oracle = new_oracle(Guarantee::Synced);
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
    let verdict_of =
        |survived| oracle.check_recovered(CrashKind::PowerLoss, &found, None, 2, &report(survived));
    let verdict = verdict_of(1);
    assert_ok(&verdict);
    assert_eq!(verdict.prefix.frames, 1);
    assert_eq!(verdict_of(2).prefix.frames, 2);
    assert_wrong(&verdict_of(0));
}
