//! Every kind of failure at every file operation, in an open and in a workload of every kind of call. The error of the
//! call in progress names the failed operation and the path. All later calls fail with the same cause, and no operation
//! is tried again. After the cause is removed, an open recovers all acknowledged calls.

use std::io::ErrorKind;

use super::*;
use crate::testing::lab::error_chain;
use crate::testing::oracle::{CrashKind, Oracle, Verdict};
use crate::testing::sim_disk::{DiskOperationKind as Kind, Fault, SimDiskOptions};
use crate::testing::workload::{Workload, is_ahead_of_clock, standard_schema, tiny_options};

const SEED: u64 = 7;
const OPERATIONS: usize = 45;

/// No space, an error of the device, no permission, an interruption; before, after and in the middle of the operation;
/// and a sync that lost its writes.
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

/// Returns true if the engine continues after this fault, because POSIX allows it.
fn continues_after(kind: Kind, fault: Fault) -> bool {
    let is_transfer = matches!(kind, Kind::Write | Kind::Read);
    is_transfer
        && matches!(
            fault,
            Fault::Short(_) | Fault::ErrorBefore(ErrorKind::Interrupted)
        )
}

/// The kind of the error that the caller of an operation with this fault gets.
fn reported_kind(fault: Fault) -> Option<ErrorKind> {
    match fault {
        Fault::ErrorBefore(kind)
        | Fault::ErrorAfter(kind)
        | Fault::ErrorMidway(_, kind)
        | Fault::SyncLoses(kind) => Some(kind),
        Fault::Short(_) | Fault::DiskFull | Fault::Panic(_) => None,
    }
}

/// The operation, the path and the kind of the first cause.
fn first_cause(error: &Error) -> (&'static str, &Path, ErrorKind) {
    match error {
        Error::OutcomeUnknown { source, .. } => first_cause(source),
        Error::Poisoned { cause } => first_cause(cause),
        Error::Io {
            operation,
            path,
            source,
        } => (operation, path, source.kind()),
        other => panic!("{other:?} names no operation and no path"),
    }
}

fn small(disk: &SimDisk, durability: Durability) -> Options {
    tiny_options(standard_schema())
        .durability(durability)
        .files(Arc::new(disk.clone()))
}

/// A run of the workload on a disk that may fail.
struct FaultedWorkload {
    db: Option<TidalDb>,
    oracle: Oracle,
    failed: Option<Error>,
}

impl FaultedWorkload {
    fn begin(disk: &SimDisk, durability: Durability) -> Self {
        Self {
            db: Some(TidalDb::open(PATH, small(disk, durability)).unwrap()),
            oracle: Oracle::new(&standard_schema(), durability),
            failed: None,
        }
    }

    /// Runs the operations and the close, until a call fails.
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

    fn check(&self, disk: &SimDisk, durability: Durability, crash_kind: CrashKind) -> Verdict {
        let db = TidalDb::open(PATH, small(disk, durability)).unwrap();
        self.oracle.check(crash_kind, &db)
    }
}

/// The recorded operations of a run without a fault, after the open.
fn operations(workload: &Workload, durability: Durability) -> Vec<(u64, Kind)> {
    let disk = SimDisk::new();
    let mut run = FaultedWorkload::begin(&disk, durability);
    let opened = disk.operations_len() as usize;
    run.work(workload);
    assert!(run.failed.is_none());
    let recording = disk.recording();
    let after = recording.operations().skip(opened);
    after
        .map(|operation| (operation.ordinal, operation.kind))
        .collect()
}

/// Runs the workload with `fault` at the operation with this ordinal. Returns true if a call failed because of it.
fn run_with_fault(
    workload: &Workload,
    durability: Durability,
    (ordinal, kind): (u64, Kind),
    fault: Fault,
) -> bool {
    let disk = SimDisk::new();
    let mut run = FaultedWorkload::begin(&disk, durability);
    disk.fail_operation(ordinal, fault);
    run.work(workload);
    let context = format!("{durability:?}, {fault:?} at operation {ordinal}, {kind}");
    if disk.faults_fired().is_empty() || continues_after(kind, fault) {
        assert!(run.failed.is_none(), "{context}: {:?}", run.failed);
        return false;
    }
    let error = run.failed.as_ref().expect(&context);
    let (operation, path, found) = first_cause(error);
    let expected = reported_kind(fault).expect(&context);
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
    // If the close failed, the handle is closed, and later calls fail with `Closed`.
    let was_closing = matches!(refused[2], Err(Error::Closed));
    assert!(
        was_closing || reads.is_ok(),
        "{context}: reads continue: {reads:?}"
    );
    assert!(
        !(was_closing && error.outcome_is_unknown()),
        "{context}: a close has no unknown outcome: {error:?}"
    );
    for refusal in refused {
        let refusal = refusal.expect_err(&context);
        if !matches!(refusal, Error::Closed) {
            assert!(
                matches!(&refusal, Error::Poisoned { cause } if first_cause(cause) == (operation, path, expected)),
                "{context}: {refusal:?}"
            );
        }
    }
    drop(db);
    assert_eq!(
        disk.operations_len(),
        len,
        "{context}: no operation is tried again"
    );

    let image = |choice| crashed(&disk, &choice);
    let written = run.check(&image(ImageChoice::All), durability, CrashKind::ProcessCrash);
    assert!(written.is_ok(), "{context}: {written}");
    let durable = run.check(&image(ImageChoice::Synced), durability, CrashKind::PowerLoss);
    assert!(durable.is_ok(), "{context}, and a power loss: {durable}");
    // The fault is removed.
    let same_disk = run.check(&disk, durability, CrashKind::ProcessCrash);
    assert!(same_disk.is_ok(), "{context}, on the same disk: {same_disk}");
    true
}

fn run_with_all_faults(durability: Durability, one_in: usize) {
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
    let (mut failed, mut continued) = (0, 0);
    let all = operations.iter().flat_map(|&at| FAULTS.map(|fault| (at, fault)));
    for (at, fault) in all.step_by(one_in) {
        if run_with_fault(&workload, durability, at, fault) {
            failed += 1;
        } else {
            continued += 1;
        }
    }
    println!(
        "seed {SEED}: {} operations, {failed} runs failed, {continued} continued, one in {one_in} tried",
        operations.len()
    );
    assert!(failed * one_in > operations.len() * 4 && continued > 0);
}

/// Opens copies of the disk with each fault at each operation, reads included, and then without a fault. Returns the
/// number of refused opens and of successful ones.
fn open_with_each_fault(image: &Image, is_legal: impl Fn(&TidalDb) -> bool) -> (u64, u64) {
    let options = SimDiskOptions {
        records_reads: true,
        ..SimDiskOptions::default()
    };
    let disk_of = || SimDisk::with_options(image, options);
    let sound = disk_of();
    drop(open(&sound, Durability::EverySynced).unwrap());
    let recording = sound.recording();
    let (mut refused, mut opened) = (0, 0);
    for operation in recording.operations() {
        for fault in FAULTS {
            let disk = disk_of();
            disk.fail_operation(operation.ordinal, fault);
            let context = format!("{fault:?} at {operation}");
            match open(&disk, Durability::EverySynced) {
                // An open ignores the failures of some operations, because it does not need their results.
                Ok(db) => {
                    assert!(is_legal(&db), "{context}");
                    opened += 1;
                }
                Err(error) => {
                    assert!(!continues_after(operation.kind, fault), "{context}: {error}");
                    let (name, path, kind) = first_cause(&error);
                    assert!(!name.is_empty(), "{context}");
                    assert!(
                        path.starts_with(PATH) || Path::new(PATH).starts_with(path),
                        "{context}: {}",
                        path.display()
                    );
                    assert_eq!(Some(kind), reported_kind(fault), "{context}");
                    let last = disk.recording();
                    let last = last.operations().last().cloned().unwrap();
                    assert_eq!(
                        (last.ordinal, last.error),
                        (operation.ordinal, Some(kind)),
                        "{context}: no operation follows the failed one"
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
fn each_failure_of_a_creation_is_reported_and_the_next_open_creates_the_database() {
    let (refused, opened) = open_with_each_fault(&Image::new(), |db| {
        db.last_sequence() == 0 && db.export().unwrap() == Export::default()
    });
    assert!(refused > 100 && opened > 10, "{refused} refused, {opened} opened");
}

#[test]
fn a_failure_on_a_background_thread_ends_writes_with_its_cause_and_reads_continue() {
    // Under the first policy only a checkpoint syncs. Under the second one only the timer does.
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
        let (operation, path, kind) = first_cause(&error);
        assert!(
            operation.starts_with("sync") && path.starts_with(PATH),
            "{error:?}"
        );
        assert_eq!(kind, ErrorKind::Other);
        assert_eq!(disk.faults_fired().len(), 1, "no operation is tried again");
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
    fn each_failure_of_a_recovery_is_reported_and_loses_nothing() {
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
        // Temporary files, which the open removes.
        image.insert_file(format!("{PATH}/log/00000000000000000099.wal.tmp"), [1; 30]);
        image.insert_file(format!("{PATH}/store/00000000000000000099.tdstore.tmp"), [1; 30]);
        let (refused, opened) = open_with_each_fault(&image, |db| db.export().unwrap() == expected);
        assert!(refused > 150 && opened > 20, "{refused} refused, {opened} opened");
    }

    #[test]
    fn each_failure_in_a_workload_is_reported_and_poisons_and_loses_nothing() {
        run_with_all_faults(Durability::EverySynced, 3);
    }

    #[test]
    fn each_failure_under_the_other_policies_loses_nothing_that_was_promised() {
        run_with_all_faults(Durability::OperatingSystem, 5);
        run_with_all_faults(Durability::SyncedEvery { interval_ms: 1 }, 5);
    }
}
