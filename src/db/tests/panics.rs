//! Panics at each file operation and at each call of a storage engine, also inside a destructor of a thread that
//! unwinds already. The handle is poisoned, the engine writes nothing after the panic, and a reopening recovers all
//! acknowledged calls.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::*;
use crate::testing::oracle::{CrashKind, Oracle};
use crate::testing::sim_disk::{DiskOperationKind as Kind, Fault, InjectedPanic, Side, SimDiskOptions};
use crate::testing::workload::{Workload, standard_schema, tiny_options};

const SEED: u64 = 11;
const OPERATIONS: usize = 45;

/// Where a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallPlace {
    Plain,
    /// In a destructor, while the thread unwinds from a panic of the application.
    Destructor,
}

pub(super) const CALL_PLACES: [CallPlace; 2] = [CallPlace::Plain, CallPlace::Destructor];

impl CallPlace {
    /// Runs `body` in this place. Returns the payload of its panic, if it panicked.
    pub(super) fn run(self, body: impl FnOnce()) -> Option<Box<dyn std::any::Any + Send>> {
        struct RunOnDrop<'a>(&'a mut dyn FnMut());
        impl Drop for RunOnDrop<'_> {
            fn drop(&mut self) {
                (self.0)();
            }
        }
        let mut body = Some(body);
        let mut payload = None;
        let mut caught = || {
            let body = body.take().unwrap();
            payload = catch_unwind(AssertUnwindSafe(body)).err();
        };
        match self {
            Self::Plain => caught(),
            Self::Destructor => {
                let outer = catch_unwind(AssertUnwindSafe(|| {
                    let _unwinding = RunOnDrop(&mut caught);
                    resume_unwind(Box::new("of the application"));
                }));
                assert!(outer.is_err());
            }
        }
        payload
    }
}

fn options_of(disk: &SimDisk, durability: Durability) -> Options {
    tiny_options(standard_schema())
        .durability(durability)
        .files(Arc::new(disk.clone()))
}

/// Checks that every call that writes fails with `Poisoned`, or with `Closed` after the close.
pub(super) fn expect_poisoned(db: &TidalDb, context: &str) {
    let refused = [
        db.forget_user(UserId(1)).map(drop),
        db.create_collection(b"after"),
        db.sync(),
        db.checkpoint().map(drop),
        db.close(),
    ];
    for refusal in refused {
        let refusal = refusal.expect_err(context);
        assert!(
            matches!(refusal, Error::Poisoned { .. } | Error::Closed),
            "{context}: {refusal:?}"
        );
    }
}

/// Runs the workload with a panic at the file operation `ordinal`.
fn panic_at(
    workload: &Workload,
    durability: Durability,
    (ordinal, kind): (u64, Kind),
    (side, place): (Side, CallPlace),
) {
    let context = format!("{durability:?}, {place:?}, a panic {side:?} operation {ordinal}, {kind}");
    let disk = SimDisk::new();
    let db = TidalDb::open(PATH, options_of(&disk, durability)).unwrap();
    let mut oracle = Oracle::new(&standard_schema(), durability);
    disk.fail_operation(ordinal, Fault::Panic(side));
    let payload = place.run(|| {
        for operation in &workload.operations {
            let id = oracle.begin(operation);
            let result = operation.apply(&db);
            oracle.ended(id, &result);
        }
        db.close().expect("it panics");
    });
    let payload = payload.expect(&context);
    assert_eq!(
        payload.downcast_ref(),
        Some(&InjectedPanic { operation: kind }),
        "{context}"
    );
    let len = disk.operations_len();
    expect_poisoned(&db, &context);
    assert!(db.statistics().is_err() || db.statistics().unwrap().poison.is_some());
    drop(db);
    assert_eq!(
        disk.operations_len(),
        len,
        "{context}: the engine writes nothing after the panic"
    );
    for (choice, crash_kind) in [
        (ImageChoice::All, CrashKind::ProcessCrash),
        (ImageChoice::Synced, CrashKind::PowerLoss),
    ] {
        let reopened = TidalDb::open(PATH, options_of(&crashed(&disk, &choice), durability)).expect(&context);
        let verdict = oracle.check(crash_kind, &reopened);
        assert!(verdict.is_ok(), "{context}, {choice}: {verdict}");
    }
}

#[test]
fn a_panic_during_the_fence_of_a_checkpoint_poisons_the_handle() {
    for place in CALL_PLACES {
        let disk = SimDisk::new();
        let db = open(&disk, Durability::EverySynced).unwrap();
        record(&db, 0).unwrap();
        // A fence that was never taken is a bug of the engine. The next checkpoint panics because of it.
        db.shared.ledger.state.signals.begin_fence().unwrap();
        assert!(place.run(|| drop(db.checkpoint())).is_some(), "{place:?}");
        expect_poisoned(&db, &format!("{place:?}"));
        drop(db);
        let db = open(&disk, Durability::EverySynced).unwrap();
        assert_eq!(db.export().unwrap(), state_after(1));
    }
}

fn panic_everywhere(durability: Durability) {
    let workload = Workload::standard(SEED, OPERATIONS);
    let disk = SimDisk::new();
    let db = TidalDb::open(PATH, options_of(&disk, durability)).unwrap();
    let opened = disk.operations_len() as usize;
    for operation in &workload.operations {
        operation.apply(&db).ok();
    }
    db.close().unwrap();
    let recording = disk.recording();
    let operations = recording.operations().skip(opened);
    let mut kinds = std::collections::BTreeSet::new();
    for operation in operations {
        kinds.insert(operation.kind.to_string());
        for side in [Side::Before, Side::After] {
            for place in CALL_PLACES {
                let at = (operation.ordinal, operation.kind);
                panic_at(&workload, durability, at, (side, place));
            }
        }
    }
    assert!(kinds.len() >= 6, "{kinds:?}");
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn a_panic_in_any_file_operation_poisons_and_loses_nothing_also_in_a_destructor() {
        panic_everywhere(Durability::EverySynced);
    }

    #[test]
    fn a_panic_in_any_file_operation_loses_nothing_without_syncs_of_every_event() {
        panic_everywhere(Durability::OperatingSystem);
    }

    #[test]
    fn a_panic_in_any_file_operation_of_an_open_leaves_a_database_that_opens() {
        let disk = SimDisk::new();
        let db = open(&disk, Durability::EverySynced).unwrap();
        db.create_collection("saved").unwrap();
        for i in 0..30 {
            record(&db, i).unwrap();
            if i == 12 {
                db.checkpoint().unwrap();
            }
        }
        let expected = db.export().unwrap();
        drop(db);
        let image = content(&disk);
        let disk_of = || {
            let options = SimDiskOptions {
                records_reads: true,
                ..SimDiskOptions::default()
            };
            SimDisk::with_options(&image, options)
        };
        let sound = disk_of();
        drop(open(&sound, Durability::EverySynced).unwrap());
        let mut panicked = 0;
        for operation in sound.recording().operations() {
            for side in [Side::Before, Side::After] {
                for place in CALL_PLACES {
                    let context = format!("{place:?}, a panic {side:?} {operation}");
                    let disk = disk_of();
                    disk.fail_operation(operation.ordinal, Fault::Panic(side));
                    let payload = place.run(|| drop(open(&disk, Durability::EverySynced)));
                    assert!(payload.expect(&context).is::<InjectedPanic>(), "{context}");
                    assert!(disk.locks_held().is_empty(), "{context}");
                    for choice in [ImageChoice::All, ImageChoice::Synced] {
                        let db = open(&crashed(&disk, &choice), Durability::EverySynced).expect(&context);
                        assert_eq!(db.export().unwrap(), expected, "{context}, {choice}");
                    }
                    panicked += 1;
                }
            }
        }
        assert!(panicked > 200, "only {panicked} panics");
    }
}
