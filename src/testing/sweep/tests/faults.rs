//! Faults of single disk operations in sweeps and plans.

use std::sync::Arc;

use super::*;
use crate::testing::faults::{FileAnswer, FileOperation, ForwardingFiles, log_dir};
use crate::testing::plan::FaultEnd;
use crate::testing::run_plan;
use crate::testing::sim_disk::{DiskOperationKind, IoFault};

/// The plan of a short workload with this fault at the operation with this ordinal.
fn plan(ordinal: u64, fault: IoFault, mode: &str) -> Plan {
    let mode = mode.parse().expect("a mode");
    let after = FaultEnd::Run;
    Plan::standard(SEED, 20).crash(
        Site::Fault {
            ordinal,
            fault,
            after,
        },
        mode,
    )
}

#[test]
fn a_replay_line_with_a_fault_is_replayed_for_each_fault_and_kind_of_operation() {
    let setup = Setup::new(Plan::standard(SEED, 20).work, Durability::EverySynced);
    let run = record::RunRecord::of_work(&setup, &setup.new_disk());
    let sites = fault::fault_sites(&run.recording, 0);
    let operations: Vec<_> = run.recording.operations().cloned().collect();
    for &fault in IoFault::ALL {
        let mut last_by_kind = BTreeMap::new();
        for site in &sites {
            if let Site::Fault {
                ordinal,
                fault: of_site,
                ..
            } = *site
                && of_site == fault
            {
                last_by_kind.insert(operations[ordinal as usize].kind, ordinal);
            }
        }
        let kinds: Vec<_> = last_by_kind.keys().copied().collect();
        match fault {
            IoFault::Error => assert!(kinds.len() >= 8, "{kinds:?}"),
            IoFault::SyncLost => assert_eq!(kinds, [DiskOperationKind::Sync]),
            _ => assert_eq!(kinds, [DiskOperationKind::Write], "{fault}"),
        }
        // The last operation of each kind.
        for &ordinal in last_by_kind.values() {
            for mode in ["kill", "power-loss:synced"] {
                let plan = plan(ordinal, fault, mode);
                let recovered = replay(&plan.replay_line());
                recovered.unwrap_or_else(|finding| panic!("{plan}: {finding}"));
            }
        }
    }
}

#[test]
fn a_plan_with_a_fault_that_is_not_possible_at_its_operation_fails() {
    for (ordinal, fault) in [
        (0, IoFault::SyncLost),
        (0, IoFault::DiskFull),
        (100_000, IoFault::Error),
    ] {
        let finding = run_plan(&plan(ordinal, fault, "kill")).expect_err("nothing is tested");
        assert_eq!(finding.failure.kind, FailureKind::NeverReached, "{finding}");
        remove_image(&finding);
    }
}

#[test]
fn calls_before_a_fault_survive_and_calls_after_it_are_refused() {
    let whole = run_plan(&Plan::standard(SEED, 20).crash(Site::End, CrashMode::Kill)).expect("no finding");
    // The fault is in the middle of the work.
    for after in [FaultEnd::Call, FaultEnd::Run] {
        let site = Site::Fault {
            ordinal: 60,
            fault: IoFault::Error,
            after,
        };
        let failed = run_plan(&Plan::standard(SEED, 20).crash(site, CrashMode::Kill)).expect("no finding");
        assert!(
            failed.acknowledged() > 0 && failed.acknowledged() < whole.acknowledged(),
            "{after:?}"
        );
        assert!(failed.events() < whole.events());
    }
}

/// A sweep whose reopenings ignore the failure of an operation. The first open of a database does not ignore it.
fn sweep_that_ignores_faults_at_reopening() -> CrashSweep {
    let operations = Workload::standard(SEED, 12).operations;
    let sweep = CrashSweep::of(Workload { operations }).files(|files| {
        let log = log_dir(Path::new("/db"));
        let is_reopening = files.list(&log).is_ok_and(|names| !names.is_empty());
        Arc::new(ForwardingFiles::new(files, move |call| match call.forward() {
            Err(error) if is_reopening && error.to_string().starts_with("injected") => match call.operation {
                FileOperation::Write { ref bytes, .. } => Ok(FileAnswer::Bytes(bytes.len() as u64)),
                FileOperation::Sync | FileOperation::SyncDir => Ok(FileAnswer::Done),
                _ => Err(error),
            },
            answered => answered,
        }))
    });
    sweep.images_max(4).nested_images_max(2).shrink(false)
}

#[test]
fn an_open_that_hides_a_failed_operation_is_found_and_replayed() {
    let sweep = sweep_that_ignores_faults_at_reopening();
    let report = sweep.run();
    let finding = report.findings.first().expect("the bug is found");
    assert_eq!(
        finding.failure.kind,
        FailureKind::AcknowledgedAfterFault,
        "{finding}"
    );
    let sites: Vec<_> = finding.plan.crashes.iter().map(|crash| crash.site).collect();
    assert!(matches!(sites[..], [_, Site::Fault { .. }]), "{finding}");
    let again = finding_of(sweep.replay(&finding.replay_line()));
    assert_eq!(again.failure, finding.failure);
    remove_image(&again);
    report.findings.iter().for_each(remove_image);
    // A sweep without faults has no finding.
    sweep_that_ignores_faults_at_reopening()
        .faults_max(0)
        .run()
        .expect_clean();
}

#[test]
fn a_finding_with_a_fault_is_shrunk_to_a_smaller_case_with_a_fault() {
    use crate::testing::lab::planted::{FaultCount, PlantedBug};
    let sweep = PlantedBug::FullDiskIgnored.plant(CrashSweep::standard(SEED, 16), &FaultCount::default());
    let report = sweep.findings_max(1).run();
    let finding = &report.findings[0];
    let shrunk = finding.shrunk.as_ref().expect("a smaller case is found");
    let Work::Operations(workload) = &shrunk.work else {
        panic!("the shrunk case has no list of operations: {finding}");
    };
    assert!(workload.operations.len() <= 2, "{finding}");
    assert!(matches!(shrunk.crashes[0].site, Site::Fault { .. }), "{finding}");
    remove_image(finding);
}

/// Runs each fault at each operation of a short workload, and crashes after each fault.
#[test]
fn every_fault_of_a_short_workload_leaves_a_legal_state_on_sectors_of_both_sizes() {
    for sector_bytes in [512, 4096] {
        let report = CrashSweep::standard(SEED, 16)
            .quick()
            .sector_bytes(sector_bytes)
            .faults_max(usize::MAX)
            .run();
        report.expect_clean();
        assert_eq!(report.left_out.faults, 0, "{report}");
        assert!(report.faults > 300, "{report}");
    }
}
