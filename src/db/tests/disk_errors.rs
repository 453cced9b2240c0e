//! Every kind of failure at every file operation, in opening and in a workload of every kind of call: the call in
//! progress says what failed and where, everything after it says the same, nothing is tried again, and what was
//! acknowledged is there once the cause is gone.

use std::io::ErrorKind;

use super::*;
use crate::testing::lab::error_chain;
use crate::testing::oracle::{CrashKind, Oracle, Verdict};
use crate::testing::sim_disk::{DiskOperationKind as Kind, Fault, SimDiskOptions};
use crate::testing::workload::{Workload, is_ahead_of_clock, standard_schema, tiny_options};

const SEED: u64 = 7;
const OPERATIONS: usize = 45;

/// No space, an error of the device, no permission, an interruption; before the operation, after it, in the middle of it;
/// a sync that lost what it was to make durable.
const FAULTS: [Fault; 8] = [
    Fault::ErrorBefore(ErrorKind::StorageFull),
    Fault::ErrorBefore(ErrorKind::Other),
    Fault::ErrorBefore(ErrorKind::PermissionDenied),
    Fault::ErrorBefore(ErrorKind::Interrupted),
    Fault::ErrorAfter(ErrorKind::Other),
    Fault::ErrorMidway(13, ErrorKind::StorageFull),
    Fault::Short(7),
    Fault::SyncLoses(ErrorKind::Other),
];

/// True if the engine continues after it, as POSIX has it.
fn is_gone_on_with(kind: Kind, fault: Fault) -> bool {
    let is_transfer = matches!(kind, Kind::Write | Kind::Read);
    is_transfer
        && matches!(
            fault,
            Fault::Short(_) | Fault::ErrorBefore(ErrorKind::Interrupted)
        )
}

/// What the caller of a failing operation is told.
fn told_as(fault: Fault) -> Option<ErrorKind> {
    match fault {
        Fault::ErrorBefore(kind)
        | Fault::ErrorAfter(kind)
        | Fault::ErrorMidway(_, kind)
        | Fault::SyncLoses(kind) => Some(kind),
        Fault::Short(_) | Fault::DiskFull | Fault::Panic(_) => None,
    }
}

/// The error at the bottom, and what it says of the operation, the path and the cause.
fn bottom(error: &Error) -> (&'static str, &Path, ErrorKind) {
    match error {
        Error::OutcomeUnknown { source, .. } => bottom(source),
        Error::Poisoned { cause } => bottom(cause),
        Error::Io {
            operation,
            path,
            source,
        } => (operation, path, source.kind()),
        other => panic!("{other:?} does not say what failed where"),
    }
}

fn small(disk: &SimDisk, durability: Durability) -> Options {
    tiny_options(standard_schema())
        .durability(durability)
        .files(Arc::new(disk.clone()))
}

/// A run of the workload on a disk that may fail.
struct FaultedRun {
    db: Option<TidalDb>,
    oracle: Oracle,
    failed: Option<Error>,
}

impl FaultedRun {
    fn begin(disk: &SimDisk, durability: Durability) -> Self {
        Self {
            db: Some(TidalDb::open(PATH, small(disk, durability)).unwrap()),
            oracle: Oracle::new(&standard_schema(), durability),
            failed: None,
        }
    }

    /// Goes on until a call fails or all is done, the closing too.
    fn work(&mut self, workload: &Workload) {
        let db = self.db.as_ref().unwrap();
        for operation in &workload.operations {
            let id = self.oracle.begin(operation);
            let result = operation.apply(db);
            self.oracle.ended(id, &result);
            if let Err(error) = result
                && !(operation.must_be_refused() && is_ahead_of_clock(&error))
            {
                self.failed = Some(error);
                return;
            }
        }
        self.failed = db.close().err();
    }

    fn check(&self, disk: &SimDisk, durability: Durability, death: CrashKind) -> Verdict {
        let db = TidalDb::open(PATH, small(disk, durability)).unwrap();
        self.oracle.check(death, &db)
    }
}

/// The recorded operations of an undisturbed run, from the one after opening.
fn operations(workload: &Workload, durability: Durability) -> Vec<(u64, Kind)> {
    let disk = SimDisk::new();
    let mut run = FaultedRun::begin(&disk, durability);
    let opened = disk.operations_len() as usize;
    run.work(workload);
    assert!(run.failed.is_none());
    let recording = disk.recording();
    let after = recording.operations().skip(opened);
    after
        .map(|operation| (operation.ordinal, operation.kind))
        .collect()
}

/// One run that meets `fault` at the operation with this ordinal. Whether a call failed of it.
fn meet(workload: &Workload, durability: Durability, (ordinal, kind): (u64, Kind), fault: Fault) -> bool {
    let disk = SimDisk::new();
    let mut run = FaultedRun::begin(&disk, durability);
    disk.fail_operation(ordinal, fault);
    run.work(workload);
    let context = format!("{durability:?}, {fault:?} at operation {ordinal}, {kind}");
    if disk.faults_fired().is_empty() || is_gone_on_with(kind, fault) {
        assert!(run.failed.is_none(), "{context}: {:?}", run.failed);
        return false;
    }
    let error = run.failed.as_ref().expect(&context);
    let (operation, path, found) = bottom(error);
    let expected = told_as(fault).expect(&context);
    assert_eq!(found, expected, "{context}");
    assert!(!operation.is_empty() && path.starts_with(PATH), "{context}");
    let text = error_chain(error);
    assert!(
        text.contains(operation) && text.contains(PATH),
        "{context}: {text}"
    );

    let (len, db) = (disk.operations_len(), run.db.take().unwrap());
    let reads = db.export();
    let refused = [
        workload.operations[0].apply(&db).map(drop),
        db.create_collection(b"after"),
        db.sync(),
        db.checkpoint().map(drop),
        db.close(),
    ];
    // An error of the close itself closes: then nothing is left to refuse.
    let was_closing = matches!(refused[2], Err(Error::Closed));
    assert!(
        was_closing || reads.is_ok(),
        "{context}: reads continue: {reads:?}"
    );
    assert!(
        !(was_closing && error.outcome_is_unknown()),
        "{context}: a close is no call whose outcome is unknown: {error:?}"
    );
    for refusal in refused {
        let refusal = refusal.expect_err(&context);
        if !matches!(refusal, Error::Closed) {
            assert!(
                matches!(&refusal, Error::Poisoned { cause } if bottom(cause) == (operation, path, expected)),
                "{context}: {refusal:?}"
            );
        }
    }
    drop(db);
    assert_eq!(disk.operations_len(), len, "{context}: nothing is tried again");

    let image = |choice| crashed(&disk, &choice);
    let kept = run.check(&image(ImageChoice::All), durability, CrashKind::ProcessCrash);
    assert!(kept.is_ok(), "{context}: {kept}");
    let durable = run.check(&image(ImageChoice::Synced), durability, CrashKind::PowerLoss);
    assert!(durable.is_ok(), "{context}, and a power loss: {durable}");
    // The cause is gone, and so is the fault.
    let same_disk = run.check(&disk, durability, CrashKind::ProcessCrash);
    assert!(same_disk.is_ok(), "{context}, on the same disk: {same_disk}");
    true
}

fn meet_all(durability: Durability, one_in: usize) {
    let workload = Workload::standard(SEED, OPERATIONS);
    let operations = operations(&workload, durability);
    for kind in [
        Kind::Create,
        Kind::Write,
        Kind::Sync,
        Kind::Rename,
        Kind::Remove,
        Kind::SyncDir,
    ] {
        assert!(
            operations.iter().any(|(_, found)| *found == kind),
            "the workload has no {kind}"
        );
    }
    let (mut failed, mut went_on) = (0, 0);
    let all = operations.iter().flat_map(|&at| FAULTS.map(|fault| (at, fault)));
    for (at, fault) in all.step_by(one_in) {
        if meet(&workload, durability, at, fault) {
            failed += 1;
        } else {
            went_on += 1;
        }
    }
    println!(
        "seed {SEED}: {} operations, {failed} runs failed, {went_on} continued, one in {one_in} tried",
        operations.len()
    );
    assert!(failed * one_in > operations.len() * 4 && went_on > 0);
}

/// Opens on disks that fail at each operation in turn, reads too, each in each way; then without a fault.
fn open_with_each_fault(image: &Image, is_legal: impl Fn(&TidalDb) -> bool) -> (u64, u64) {
    let options = SimDiskOptions {
        records_reads: true,
        ..SimDiskOptions::default()
    };
    let disk_of = || SimDisk::with_options(image, options);
    let undisturbed = disk_of();
    drop(open(&undisturbed, Durability::EverySynced).unwrap());
    let recording = undisturbed.recording();
    let (mut refused, mut opened) = (0, 0);
    for operation in recording.operations() {
        for fault in FAULTS {
            let disk = disk_of();
            disk.fail_operation(operation.ordinal, fault);
            let context = format!("{fault:?} at {operation}");
            match open(&disk, Durability::EverySynced) {
                // Of some failures opening needs to know nothing: what it needs it finds out when it needs it.
                Ok(db) => {
                    assert!(is_legal(&db), "{context}");
                    opened += 1;
                }
                Err(error) => {
                    assert!(!is_gone_on_with(operation.kind, fault), "{context}: {error}");
                    let (what, path, kind) = bottom(&error);
                    assert!(!what.is_empty(), "{context}");
                    assert!(
                        path.starts_with(PATH) || Path::new(PATH).starts_with(path),
                        "{context}: {}",
                        path.display()
                    );
                    assert_eq!(Some(kind), told_as(fault), "{context}");
                    let last = disk.recording();
                    let last = last.operations().last().cloned().unwrap();
                    assert_eq!(
                        (last.ordinal, last.error),
                        (operation.ordinal, Some(kind)),
                        "{context}: nothing comes after what failed"
                    );
                    refused += 1;
                }
            }
            assert!(disk.locks_held().is_empty(), "{context}");
            for choice in [ImageChoice::All, ImageChoice::Synced] {
                let db = open(&crashed(&disk, &choice), Durability::EverySynced).expect(&context);
                assert!(is_legal(&db), "{context}, {choice}");
            }
            let db = open(&disk, Durability::EverySynced).expect(&context);
            assert!(is_legal(&db), "{context}, on the same disk");
        }
    }
    (refused, opened)
}

#[test]
fn every_failure_at_every_operation_of_creating_a_database_is_told_and_it_can_be_created_again() {
    let (refused, opened) = open_with_each_fault(&Image::new(), |db| {
        db.last_sequence() == 0 && db.export().unwrap() == Export::default()
    });
    assert!(refused > 100 && opened > 10, "{refused} refused, {opened} opened");
}

#[test]
fn a_failure_on_the_engines_own_threads_ends_writing_with_its_cause_and_reads_continue() {
    // Under the first policy only a checkpoint syncs; under the second only the timer does.
    for (durability, checkpoint_log_bytes) in [
        (Durability::OperatingSystem, 2048),
        (Durability::SyncedEvery { interval_ms: 1 }, u64::MAX),
    ] {
        let disk = SimDisk::new();
        let options = options(&disk, durability)
            .background(Background::OwnThreads)
            .segment_bytes_max(1 << 24)
            .preallocate_bytes(1 << 18)
            .checkpoint_log_bytes(checkpoint_log_bytes);
        let db = TidalDb::open(PATH, options).unwrap();
        disk.fail_every(Kind::Sync, Fault::ErrorBefore(ErrorKind::Other));
        let mut acknowledged = 0;
        let error = loop {
            match record(&db, acknowledged) {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
        };
        let (operation, path, kind) = bottom(&error);
        assert!(
            operation.starts_with("sync") && path.starts_with(PATH),
            "{error:?}"
        );
        assert_eq!(kind, ErrorKind::Other);
        assert_eq!(disk.faults_fired().len(), 1, "nothing is tried again");
        assert!(db.export().is_ok());
        let statistics = db.statistics().unwrap();
        assert!(statistics.poison.is_some(), "{statistics:?}");
        drop(db);
        assert_eq!(disk.faults_fired().len(), 1, "{durability:?}");
        let reopened = open(&crashed(&disk, &ImageChoice::All), durability).unwrap();
        let found = reopened.last_sequence();
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "{found} of {acknowledged}"
        );
    }
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn every_failure_at_every_operation_of_a_recovery_is_told_and_loses_nothing() {
        const LEN: u64 = 40;
        let disk = SimDisk::new();
        let db = open(&disk, Durability::EverySynced).unwrap();
        db.create_collection("saved").unwrap();
        for i in 0..LEN {
            record(&db, i).unwrap();
            if i == 12 {
                db.checkpoint().unwrap();
            }
        }
        db.add_to_collection("saved", EntityId(3)).unwrap();
        let expected = db.export().unwrap();
        drop(db);
        let mut image = content(&disk);
        assert!(log_files(&image).len() > 3);
        // Something to remove, too.
        image.insert_file(format!("{PATH}/log/00000000000000000099.wal.tmp"), [1; 30]);
        image.insert_file(format!("{PATH}/store/00000000000000000099.tdstore.tmp"), [1; 30]);
        let (refused, opened) = open_with_each_fault(&image, |db| db.export().unwrap() == expected);
        assert!(refused > 150 && opened > 20, "{refused} refused, {opened} opened");
    }

    #[test]
    fn every_failure_at_every_operation_of_a_workload_is_told_poisons_and_loses_nothing() {
        meet_all(Durability::EverySynced, 3);
    }

    #[test]
    fn every_failure_under_a_policy_that_syncs_less_loses_nothing_that_it_promised() {
        meet_all(Durability::OperatingSystem, 5);
        meet_all(Durability::SyncedEvery { interval_ms: 1 }, 5);
    }
}
