//! The oracle checks the engine. After a drop, a close and a crash at each point the engine continues and keeps every
//! promise.

use std::sync::Arc;

use super::{assert_ok, new_oracle};
use crate::testing::oracle::{CrashKind, Guarantee, Oracle};
use crate::testing::workload::{STANDARD_SYNC_MS, Workload, standard_schema, tiny_options};
use crate::testing::{CrashInjector, CrashPoint, SimDisk, run_with_crash};
use crate::{Durability, TidalDb};

const DURABILITIES: [Durability; 3] = [
    Durability::EverySynced,
    Durability::SyncedEvery {
        interval_ms: 4 * STANDARD_SYNC_MS,
    },
    Durability::OperatingSystem,
];

#[test]
fn a_database_that_crashes_repeatedly_at_every_point_keeps_its_promises() {
    let mut crashes = 0;
    for (seed, durability) in (0..).zip(DURABILITIES) {
        for point in CrashPoint::ALL {
            let disk = SimDisk::new();
            let options = || {
                tiny_options(standard_schema())
                    .files(Arc::new(disk.clone()))
                    .durability(durability)
            };
            let mut oracle = Oracle::new(&standard_schema(), durability);
            let operations = Workload::standard(seed, 150).operations;
            let mut done = 0;
            for fire_after in 0.. {
                let injector = CrashInjector::new(point, fire_after % 5);
                let ended = run_with_crash(&injector, || {
                    injector.disarm();
                    let db = TidalDb::open("/db", options()).unwrap();
                    let verdict = oracle.check(CrashKind::ProcessCrash, &db);
                    assert!(verdict.is_ok(), "seed {seed} {durability:?} {point}: {verdict}");
                    oracle.reopened(&verdict);
                    injector.arm();
                    while let Some(operation) = operations.get(done) {
                        done += 1;
                        let id = oracle.begin(operation);
                        oracle.ended(id, &operation.apply(&db));
                    }
                });
                crashes += usize::from(ended.is_err());
                if ended.is_ok() {
                    break;
                }
            }
            let db = TidalDb::open("/db", options()).unwrap();
            assert_ok(&oracle.check(CrashKind::ProcessCrash, &db));
        }
    }
    assert!(crashes > 100, "{crashes}");
}

#[test]
fn a_wrong_report_of_a_receipt_and_a_repeated_opening_id_are_findings() {
    let operations = Workload::standard(5, 30).operations;
    let disk = SimDisk::new();
    let open = || {
        let options = tiny_options(standard_schema()).files(Arc::new(disk.clone()));
        TidalDb::open("/db", options).unwrap()
    };
    let work = |oracle: &mut Oracle, db: &TidalDb| {
        for operation in &operations {
            let id = oracle.begin(operation);
            oracle.ended(id, &operation.apply(db));
        }
    };
    let mut oracle = new_oracle(Guarantee::Acknowledged);
    work(&mut oracle, &open());
    let db = open();
    let legal = oracle.check(CrashKind::ProcessCrash, &db);
    assert_ok(&legal);
    // The report lacks this opening.
    let mut other = oracle.clone();
    other.opening = Some(99);
    let verdict = other.check(CrashKind::ProcessCrash, &db);
    assert!(verdict.to_string().contains("survived"), "{verdict}");
    // An earlier opening had the same id.
    oracle.reopened(&legal);
    oracle.earlier_openings.push(db.recovery_report().opening);
    work(&mut oracle, &db);
    let verdict = oracle.check(CrashKind::ProcessCrash, &db);
    assert!(
        verdict.to_string().contains("a receipt of a new opening"),
        "{verdict}"
    );
}
