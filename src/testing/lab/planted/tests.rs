//! The self-test: every bug is caught by the check that the table names, and a sweep without a bug finds nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::table::BugRow;
use super::*;
use crate::testing::ReplayFailure;
use crate::testing::SweepReport;
use crate::testing::report::Report;
use crate::testing::sim_disk::DiskModel;
use crate::testing::workload::{Event, Reopening, STANDARD_NOW_MS, STANDARD_SKEW_MS, SessionEnd, Workload};
use crate::{EntityId, SignalId};

const SEED: u64 = 7;

/// The work of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PlantedWork {
    /// Standard work with rotations and two checkpoints.
    Short,
    /// Standard work with a compaction of the store.
    Long,
    /// Changes of collections that divide a block, join two blocks, empty a block, and delete a collection with
    /// members.
    Blocks,
    /// Sessions that record one event and end without a close.
    Sessions,
}

impl PlantedWork {
    fn of(bug: PlantedBug) -> Self {
        match bug {
            PlantedBug::StaleRead
            | PlantedBug::OnlyRecordEndsChecked
            | PlantedBug::StoreHeaderSyncSkipped => Self::Long,
            PlantedBug::BlockDividedInParts
            | PlantedBug::BlocksJoinedInParts
            | PlantedBug::CollectionMembersNotDeleted
            | PlantedBug::DeleteIgnored => Self::Blocks,
            PlantedBug::SegmentsAccumulate => Self::Sessions,
            _ => Self::Short,
        }
    }

    fn operations(self) -> Vec<Operation> {
        match self {
            Self::Short => Workload::standard(SEED, 30).operations,
            Self::Long => Workload::standard(SEED, 80).operations,
            Self::Sessions => {
                let session = |weight| [ahead((weight, 0)), Reopening::after(SessionEnd::Drop).into()];
                [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
                    .into_iter()
                    .flat_map(session)
                    .collect()
            }
            Self::Blocks => {
                let name = || b"first".to_vec();
                let add = |id| Operation::AddToCollection(name(), EntityId(id));
                let remove = |id| Operation::RemoveFromCollection(name(), EntityId(id));
                let mut operations = vec![Operation::CreateCollection(name())];
                operations.extend([1, 2, 3, 40, 80].map(add));
                operations.extend([2, 3, 80, 1, 40].map(remove));
                operations.extend([add(7), Operation::DeleteCollection(name())]);
                operations
            }
        }
    }
}

/// A call with an event of this weight, ahead of the clock by `ahead_ms`.
fn ahead((weight, ahead_ms): (f64, i64)) -> Operation {
    Operation::Record {
        now_ms: STANDARD_NOW_MS,
        events: vec![Event {
            entity: EntityId(3),
            signal: SignalId(0),
            weight,
            at_ms: STANDARD_NOW_MS + ahead_ms,
            user: None,
            cohorts: Vec::new(),
        }],
    }
}

/// The sweep into which every bug is planted. It begins with changes of collections and with events ahead of the clock,
/// because the standard work has few of both.
fn sweep(work: PlantedWork) -> CrashSweep {
    let name = || b"first".to_vec();
    let mut operations = vec![Operation::CreateCollection(name())];
    operations.extend([1, 2, 3].map(|id| Operation::AddToCollection(name(), EntityId(id))));
    operations.push(Operation::RemoveFromCollection(name(), EntityId(2)));
    operations.push(Operation::DeleteCollection(name()));
    operations.extend([(1.5, 1), (1.75, STANDARD_SKEW_MS as i64 + 1)].map(ahead));
    operations.extend(work.operations());
    CrashSweep::of(Workload { operations })
        .quick()
        .workers(1)
        .images_max(8)
        .nested_max(24)
        .nested_images_max(3)
        .faults_max(256)
        .shrink(false)
}

/// Plants each bug of one place, once for each kind of its findings, and prints the results.
fn assert_all_caught(is_of_place: fn(BugPlace) -> bool) {
    let mut missed = Vec::new();
    println!("seed {SEED}");
    println!(
        "{:10} {:30} {:28} {:>6} {:>6} {:>6}",
        "kind", "bug", "caught by", "images", "faults", "ms"
    );
    for &bug in PlantedBug::ALL.iter().filter(|bug| is_of_place(bug.row().place)) {
        for (index, &kind) in bug.caught_by().iter().enumerate() {
            let faults = FaultCount::default();
            let mut planted = bug.plant(sweep(PlantedWork::of(bug)), &faults).findings_max(1);
            if index > 0 {
                // A given kind of finding needs more images than the first finding.
                planted = planted.images_max(32).only_kind(kind);
            }
            let report = planted.run();
            let found = report.findings.first().map(|finding| finding.failure.kind);
            let caught_by = found.map_or("nothing", FailureKind::name);
            println!(
                "{:10} {bug:30} {caught_by:28} {:6} {:6} {:6}",
                bug.kind(),
                report.images + report.faults,
                faults.len(),
                report.elapsed.as_millis()
            );
            if found != Some(kind) {
                missed.push(format!(
                    "{bug} must be caught by {kind}, but was caught by {caught_by}:\n{report}"
                ));
            }
            if faults.is_empty() {
                missed.push(format!("the action of {bug} was never called"));
            }
            if index == 0 {
                missed.extend(replay(bug, &planted, &report));
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Replays the line of the first finding. Returns a message if this gives another finding or none.
fn replay(bug: PlantedBug, planted: &CrashSweep, report: &SweepReport) -> Option<String> {
    let finding = report.findings.first()?;
    // A replay of a plan that hangs takes a minute, and one run cannot show that runs differ.
    if matches!(
        bug,
        PlantedBug::LeftoverHangs | PlantedBug::RandomBytes | PlantedBug::RunsDiffer
    ) {
        return None;
    }
    let line = finding.replay_line();
    match planted.replay(&line) {
        Ok(_) => Some(format!("{bug}: no finding in the replay of {line}")),
        Err(ReplayFailure::Found(again)) => {
            if let Some(dir) = &again.image_dir {
                remove(dir);
            }
            let (expected, found) = (finding.failure.kind, again.failure.kind);
            (found != expected).then(|| format!("{bug}: {expected} was replayed as {found}: {line}"))
        }
        Err(error) => Some(format!("{bug}: {line}: {error}")),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "replays write the image of a finding below the directory for temporary files"
)]
fn remove(dir: &Path) {
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn each_bug_in_files_is_caught_by_the_check_that_the_table_names() {
    assert_all_caught(|place| matches!(place, BugPlace::Files(_)));
}

#[test]
fn each_bug_in_storage_is_caught_by_the_check_that_the_table_names() {
    assert_all_caught(|place| matches!(place, BugPlace::Storage(_)));
}

#[test]
fn each_flaw_of_a_store_is_caught_by_the_check_that_the_table_names() {
    assert_all_caught(|place| matches!(place, BugPlace::Store(_)));
}

#[test]
fn each_bug_in_calls_or_options_is_caught_by_the_check_that_the_table_names() {
    assert_all_caught(|place| matches!(place, BugPlace::Calls(_) | BugPlace::Options(_)));
}

#[test]
fn each_bug_in_the_options_of_later_sessions_is_caught_by_the_check_that_the_table_names() {
    assert_all_caught(|place| matches!(place, BugPlace::LaterOptions(_)));
}

#[test]
fn each_kind_has_at_least_five_bugs() {
    assert!(PlantedBug::ALL.len() >= 60, "{}", PlantedBug::ALL.len());
    for kind in [BugKind::Sessions, BugKind::Changes, BugKind::Sizes, BugKind::Disk] {
        let bugs = PlantedBug::ALL.iter().filter(|bug| bug.kind() == kind);
        assert!(bugs.count() >= 5, "{kind}");
    }
}

#[test]
fn the_same_sweeps_find_nothing_without_a_bug() {
    let mut swept = BTreeSet::new();
    for bug in PlantedBug::ALL {
        let BugRow { needs, place, .. } = bug.row();
        // A sweep with short cases differs only in its time limit.
        if needs != Needs::ShortCases {
            swept.insert((
                needs,
                matches!(place, BugPlace::Storage(_)),
                PlantedWork::of(*bug),
            ));
        }
    }
    let faults = FaultCount::default();
    for (needs, has_storage, work) in swept {
        let wrapped = BugPlace::files(&["none"], &[], files::skip);
        let mut sweep = wrapped.plant(needs.prepare(sweep(work)), &faults);
        if has_storage {
            sweep = BugPlace::storage(&[], storage::skip).plant(sweep, &faults);
        }
        let report = sweep.run();
        println!("{needs:?} {work:?}: {report}");
        report.expect_clean();
    }
    assert!(faults.is_empty());
}

#[test]
fn the_planted_store_without_a_flaw_keeps_every_promise() {
    for sector_bytes in [512, 4096] {
        let faults = FaultCount::default();
        let sweep = store::plant(None, sweep(PlantedWork::Short), &faults).sector_bytes(sector_bytes);
        let report = sweep.run();
        println!("{report}");
        report.expect_clean();
        assert!(faults.is_empty());
    }
}

#[test]
fn a_flaw_is_found_only_with_the_sector_sizes_and_disk_models_on_which_it_can_happen() {
    for (bug, sector_bytes, models, is_found) in [
        (PlantedBug::BlockAssumedAtomic, 512, None, true),
        (PlantedBug::BlockAssumedAtomic, 4096, None, false),
        (
            PlantedBug::StaleRecordRead,
            512,
            Some(DiskModel::EXT4_WRITEBACK),
            true,
        ),
        (
            PlantedBug::StaleRecordRead,
            512,
            Some(DiskModel::EXT4_ORDERED),
            false,
        ),
        (
            PlantedBug::StaleRecordRead,
            512,
            Some(DiskModel::COPY_ON_WRITE),
            false,
        ),
        (
            PlantedBug::OnlyRecordEndsChecked,
            512,
            Some(DiskModel::EXT4_ORDERED),
            true,
        ),
        (
            PlantedBug::OnlyRecordEndsChecked,
            512,
            Some(DiskModel::BTRFS),
            false,
        ),
    ] {
        let sweep = sweep(PlantedWork::Short)
            .sector_bytes(sector_bytes)
            .findings_max(1)
            .images_max(32);
        let sweep = match models {
            None => sweep,
            Some(model) => sweep.models(&[model]),
        };
        let report = bug.plant(sweep.nested_max(4), &FaultCount::default()).run();
        assert_eq!(
            !report.findings.is_empty(),
            is_found,
            "{bug}, {sector_bytes}: {report}"
        );
        assert_eq!(report.plan.sector_bytes, sector_bytes);
        let Some(finding) = report.findings.first() else {
            continue;
        };
        if let Some(model) = models {
            assert!(finding.models.contains(&model), "{finding}");
        }
        let excluded = if bug == PlantedBug::StaleRecordRead {
            DiskModel::EXT4_ORDERED
        } else {
            DiskModel::COPY_ON_WRITE
        };
        assert!(!finding.models.contains(&excluded), "{finding}");
    }
}

#[test]
fn a_finding_names_its_disk_models_as_text_json_and_html() {
    let planted = PlantedBug::StaleRecordRead
        .plant(sweep(PlantedWork::Short), &FaultCount::default())
        .findings_max(1);
    let report = planted.run();
    let finding = &report.findings[0];
    let models = "ext4-writeback, in-order, weakest";
    assert!(
        finding.to_string().contains(&format!("happens on {models}\n")),
        "{finding}"
    );
    let Err(ReplayFailure::Found(again)) = planted.replay(&finding.replay_line()) else {
        panic!("the replay line does not give the finding again");
    };
    assert_eq!(again.models, finding.models);
    again.image_dir.iter().for_each(|dir| remove(dir));
    let mut page = Report::new("models");
    page.add(report.clone());
    let json = format!("\"models\":[\"{}\"]", models.replace(", ", "\",\""));
    assert!(page.json().contains(&json), "{}", page.json());
    assert!(page.html().contains(&format!("Happens on {models}")));
    // A process crash leaves the same image on every disk model.
    let planted = PlantedBug::CallDropped.plant(sweep(PlantedWork::Short), &FaultCount::default());
    let report = planted.findings_max(1).run();
    assert_eq!(report.findings[0].models, DiskModel::ALL);
}

#[test]
fn every_kind_of_failure_is_the_finding_of_at_least_one_bug() {
    let caught: BTreeSet<_> = PlantedBug::ALL.iter().flat_map(|bug| bug.caught_by()).collect();
    for kind in FailureKind::ALL {
        assert!(caught.contains(&kind), "no bug is caught by {kind}");
    }
}

#[test]
fn a_bug_can_be_planted_into_a_sweep_with_its_own_files() {
    assert_eq!(PlantedBug::CallTwice.to_string(), "CallTwice");
    let wrapped = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&wrapped);
    let sweep = sweep(PlantedWork::Short).files(move |files| {
        counted.fetch_add(1, Ordering::Relaxed);
        files
    });
    let planted = PlantedBug::SegmentSyncSkipped.plant(sweep, &FaultCount::default());
    let report = planted.findings_max(1).run();
    assert_eq!(
        report.findings[0].failure.kind,
        FailureKind::AcknowledgedBeforeDurable
    );
    assert!(wrapped.load(Ordering::Relaxed) > 0);
}
