//! Openings: receipts are unique, and the report has the last surviving call of each earlier opening.

use std::io::ErrorKind;

use super::*;
use crate::testing::sim_disk::{DiskOperationKind, Fault};
use crate::{EarlierOpening, Receipt};

fn receipt(db: &TidalDb) -> Receipt {
    db.forget_user(UserId(1)).unwrap()
}

#[test]
fn the_receipt_of_a_failed_call_is_unique_and_the_report_shows_that_the_call_is_lost() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    let first = receipt(&db);
    disk.fail_next(
        DiskOperationKind::Write,
        Fault::ErrorBefore(ErrorKind::StorageFull),
    );
    let error = db.forget_user(UserId(2)).unwrap_err();
    assert!(error.outcome_is_unknown());
    let failed = error.receipt().unwrap();
    assert_eq!((failed.opening, failed.sequence), (first.opening, 2));
    drop(db);
    let db = open(&disk, Durability::EverySynced).unwrap();
    let again = receipt(&db);
    assert_eq!(
        again.sequence, failed.sequence,
        "the number is used again, and the opening distinguishes the calls"
    );
    assert_ne!(again, failed);
    let report = db.recovery_report();
    assert_eq!(report.opening, again.opening);
    assert_eq!(
        report.earlier_openings,
        [EarlierOpening {
            opening: first.opening,
            survived_sequence: 1
        }]
    );
    assert_eq!(report.survived(first), Some(true));
    assert_eq!(report.survived(failed), Some(false));
    assert_eq!(report.survived(again), None, "it is of this opening");
}

#[test]
fn the_report_shows_calls_lost_in_a_power_loss_also_after_later_openings() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::OperatingSystem).unwrap();
    let survived = receipt(&db);
    db.sync().unwrap();
    let lost = receipt(&db);
    drop(db);
    let mut disk = crashed(&disk, &ImageChoice::Synced);
    for opening in 0..5 {
        let db = open(&disk, Durability::OperatingSystem).unwrap();
        let report = db.recovery_report();
        assert_eq!(report.earlier_openings.len(), opening + 1);
        assert_eq!(report.survived(survived), Some(true), "opening {opening}");
        assert_eq!(report.survived(lost), Some(false), "opening {opening}");
        // Later calls have larger numbers than the lost call, and survive.
        for _ in 0..3 {
            receipt(&db);
        }
        db.sync().unwrap();
        drop(db);
        disk = crashed(&disk, &ImageChoice::Synced);
    }
}

#[test]
fn receipts_are_unique_when_any_operation_of_the_second_session_fails() {
    let mut given: Vec<Receipt> = Vec::new();
    let mut images = 0;
    for at in 0.. {
        // Three sessions. From its operation number `at` on, the second one fails.
        let disk = SimDisk::new();
        let mut of_this_disk = Vec::new();
        let mut ended = true;
        let session = |disk: &SimDisk, receipts: &mut Vec<Receipt>| -> Result<(), Error> {
            let db = open(disk, Durability::OperatingSystem)?;
            for user in 0..3 {
                let result = db.forget_user(UserId(user));
                receipts.extend(
                    result
                        .as_ref()
                        .map_or_else(Error::receipt, |receipt| Some(*receipt)),
                );
                result?;
            }
            Ok(())
        };
        session(&disk, &mut of_this_disk).unwrap();
        let middle = disk.operations_len() + at;
        disk.fail_from(middle, Fault::ErrorBefore(ErrorKind::Other));
        if session(&disk, &mut of_this_disk).is_ok() {
            ended = false;
        }
        for choice in [ImageChoice::All, ImageChoice::Synced] {
            let mut receipts = of_this_disk.clone();
            let last = crashed(&disk, &choice);
            session(&last, &mut receipts).unwrap();
            let mut sorted: Vec<_> = receipts.iter().map(|it| (it.opening, it.sequence)).collect();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(
                sorted.len(),
                receipts.len(),
                "operation {at}, {choice}: {receipts:?}"
            );
            images += 1;
        }
        given.extend(of_this_disk);
        if !ended {
            break;
        }
    }
    assert!(images > 20 && !given.is_empty(), "{images} images");
}

#[test]
fn failed_openings_do_not_replace_earlier_openings_in_the_report() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    let survived = receipt(&db);
    drop(db);
    for _ in 0..40 {
        // The new segment cannot be created.
        disk.fail_next(
            DiskOperationKind::Create,
            Fault::ErrorBefore(ErrorKind::StorageFull),
        );
        open(&disk, Durability::EverySynced).unwrap_err();
    }
    let mut failed = 0;
    loop {
        // Each operation of an open fails once. The last ones fail after the record of the opening was written.
        disk.fail_operation(
            disk.operations_len() + failed,
            Fault::ErrorBefore(ErrorKind::StorageFull),
        );
        match open(&disk, Durability::EverySynced) {
            Err(_) => failed += 1,
            Ok(db) => {
                let report = db.recovery_report();
                assert_eq!(report.survived(survived), Some(true));
                assert!(report.earlier_openings.len() < 4, "{report:?}");
                break;
            }
        }
    }
    assert!(failed > 10, "{failed} operations");
}

#[test]
fn a_receipt_made_from_two_stored_numbers_can_be_checked() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    let Receipt {
        opening, sequence, ..
    } = receipt(&db);
    drop(db);
    let db = open(&disk, Durability::EverySynced).unwrap();
    let stored = Receipt::new(opening, sequence);
    assert_eq!(db.recovery_report().survived(stored), Some(true));
}

#[test]
fn opening_ids_are_random_unless_the_options_set_a_step() {
    let disk = SimDisk::new();
    let opening = |options: Options| {
        let db = TidalDb::open(PATH, options).unwrap();
        db.recovery_report().opening
    };
    let random = |disk: &SimDisk| opening(options(disk, Durability::EverySynced));
    let (first, second) = (random(&disk), random(&disk));
    assert_ne!(first, second);
    assert_ne!(
        first,
        random(&SimDisk::new()),
        "another database has other openings"
    );
    let given = SimDisk::new();
    let numbered = || opening(options(&given, Durability::EverySynced).predictable_opening_ids(40));
    assert_eq!([numbered(), numbered(), numbered()], [40, 80, 120]);
}

#[test]
fn a_refused_change_and_a_change_with_unknown_outcome_have_different_errors() {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::EverySynced).unwrap();
    db.create_collection("a").unwrap();
    disk.fail_next(DiskOperationKind::Sync, Fault::ErrorBefore(ErrorKind::Other));
    let unknown = db.add_to_collection("a", EntityId(1)).unwrap_err();
    assert!(unknown.outcome_is_unknown(), "{unknown:?}");
    assert_eq!(unknown.receipt(), None);
    let refused = [
        db.create_collection("b").unwrap_err(),
        db.delete_collection("a").unwrap_err(),
        db.add_to_collection("a", EntityId(2)).unwrap_err(),
        db.remove_from_collection("a", EntityId(1)).unwrap_err(),
        record(&db, 0).unwrap_err(),
        db.forget_entity(EntityId(1)).unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, Error::Poisoned { .. }), "{error:?}");
        assert!(!error.outcome_is_unknown());
    }
    drop(db);
    let db = open(&disk, Durability::EverySynced).unwrap();
    assert_eq!(db.collections().unwrap(), [b"a"]);
    assert_eq!(db.last_sequence(), 0);
    // The application makes the change again, in both cases.
    db.add_to_collection("a", EntityId(1)).unwrap();
    assert_eq!(db.collection_members("a").unwrap(), [EntityId(1)]);
}
