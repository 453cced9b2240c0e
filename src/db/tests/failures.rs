//! Failing operations: the call fails, the handle is poisoned with the first cause, reads continue, and no acknowledged
//! event is lost.

use std::io::ErrorKind;

use super::*;
use crate::testing::sim_disk::{DiskOperationKind, Fault};

/// Records events, makes checkpoints and creates a collection until a call fails. Returns the number of acknowledged
/// events, and the error.
fn run(db: &TidalDb) -> (u64, Option<Error>) {
    let mut acknowledged = 0;
    let mut step = || -> Result<(), Error> {
        db.create_collection("saved")?;
        for i in 0..30 {
            record(db, i)?;
            acknowledged += 1;
            if i % 8 == 7 {
                db.checkpoint()?;
            }
        }
        db.close()
    };
    let failed = step().err();
    (acknowledged, failed)
}

fn first_cause(error: &Error) -> &Error {
    match error {
        Error::OutcomeUnknown { source, .. } => first_cause(source),
        Error::Poisoned { cause } => first_cause(cause),
        other => other,
    }
}

#[test]
fn short_and_interrupted_writes_are_continued() {
    for fault in [Fault::Short(7), Fault::ErrorBefore(ErrorKind::Interrupted)] {
        let disk = SimDisk::new();
        let db = open(&disk, Durability::EverySynced).unwrap();
        for i in 0..10 {
            disk.fail_next(DiskOperationKind::Write, fault);
            record(&db, i).unwrap();
        }
        assert_eq!(disk.faults_fired().len(), 10);
        let reopened = open(&crashed(&disk, &ImageChoice::Synced), Durability::EverySynced).unwrap();
        assert_eq!(reopened.export().unwrap(), state_after(10), "{fault:?}");
    }
}

#[test]
fn after_a_full_disk_has_space_again_the_database_opens_with_everything_acknowledged() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    disk.set_capacity_bytes(Some(6000));
    let mut acknowledged = 0;
    let error = loop {
        match record(&db, acknowledged) {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(acknowledged > 5);
    let Error::Io { source, .. } = first_cause(&error) else {
        panic!("{error:?}")
    };
    assert_eq!(source.kind(), ErrorKind::StorageFull);
    drop(db);
    disk.set_capacity_bytes(None);
    let db = open(&disk, Durability::EverySynced).unwrap();
    let found = db.export().unwrap();
    assert!(found == state_after(acknowledged) || found == state_after(acknowledged + 1));
}

#[test]
fn an_error_of_an_aggregate_ends_reads_too_and_is_the_cause_of_every_later_error() {
    let db = open(&SimDisk::new(), Durability::EverySynced).unwrap();
    // The public calls refuse a signal that is not in the schema. Here it causes an error of an aggregate.
    let event = SignalEvent::new(SignalId(99), EntityId(1), NOW_MS);
    let error = db.shared.ledger.record_signal(&[event]).unwrap_err();
    assert_eq!(error.receipt().map(|receipt| receipt.sequence), Some(1));
    let refused = [
        error,
        record(&db, 0).unwrap_err(),
        db.checkpoint().unwrap_err(),
        db.export().unwrap_err(),
        db.score(EntityId(1), SignalId(0), 0, NOW_MS).unwrap_err(),
    ];
    for error in refused {
        assert!(
            matches!(first_cause(&error), Error::UnknownSignal { signal } if signal == "99"),
            "{error:?}"
        );
    }
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn any_failing_operation_poisons_the_handle_and_loses_nothing_acknowledged() {
        let operations = {
            let disk = SimDisk::new();
            let opened = {
                let db = open(&disk, Durability::EverySynced).unwrap();
                let opened = disk.operations_len();
                assert!(run(&db).1.is_none());
                opened
            };
            opened..disk.operations_len()
        };
        let faults = [
            Fault::ErrorBefore(ErrorKind::StorageFull),
            Fault::ErrorAfter(ErrorKind::Other),
            Fault::ErrorMidway(13, ErrorKind::StorageFull),
            Fault::SyncLoses(ErrorKind::Other),
        ];
        let mut failed_runs = 0;
        for (ordinal, fault) in operations.flat_map(|ordinal| faults.map(|fault| (ordinal, fault))) {
            let disk = SimDisk::new();
            let db = open(&disk, Durability::EverySynced).unwrap();
            disk.fail_operation(ordinal, fault);
            let (acknowledged, failed) = run(&db);
            if disk.faults_fired().is_empty() {
                assert!(
                    failed.is_none(),
                    "operation {ordinal} is of no kind that {fault:?} applies to"
                );
                continue;
            }
            failed_runs += 1;
            let context = format!("{fault:?} at operation {ordinal}: {failed:?}");
            let error = failed.expect(&context);
            let Error::Io { path, source, .. } = first_cause(&error) else {
                panic!("{context}")
            };
            assert!(path.starts_with(PATH), "{context}");
            let expected = match fault {
                Fault::ErrorBefore(kind)
                | Fault::ErrorAfter(kind)
                | Fault::SyncLoses(kind)
                | Fault::ErrorMidway(_, kind) => kind,
                other => panic!("{other:?} fails nothing"),
            };
            assert_eq!(source.kind(), expected, "{context}");
            let operations_len = disk.operations_len();
            let again = record(&db, 99).unwrap_err();
            assert!(
                matches!(again, Error::Poisoned { .. } | Error::Closed),
                "{context}: {again}"
            );
            if !matches!(again, Error::Closed) {
                assert_eq!(
                    first_cause(&again).to_string(),
                    first_cause(&error).to_string(),
                    "{context}"
                );
                db.export().expect(&context);
                assert!(db.close().is_err());
            }
            drop(db);
            assert_eq!(
                disk.operations_len(),
                operations_len,
                "{context}: no operation is tried again, no segment is trimmed"
            );
            for choice in [ImageChoice::All, ImageChoice::Synced] {
                let reopened = open(&crashed(&disk, &choice), Durability::EverySynced).expect(&context);
                let mut found = reopened.export().unwrap();
                found.collections.clear();
                let in_flight = found == state_after(acknowledged + 1);
                assert!(
                    in_flight || found == state_after(acknowledged),
                    "{context}: {choice}"
                );
            }
        }
        assert!(failed_runs > 200, "only {failed_runs} runs failed");
    }
}
