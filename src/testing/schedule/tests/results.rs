//! Wrong results of calls under schedules are findings.

use super::*;
use crate::testing::lab::programs::{self, POLICIES};
use crate::testing::oracle::FoundRead;
use crate::testing::sweep::FailureKind;
use crate::testing::workload::Operation;
use crate::{EntityId, Error, TidalDb};

/// Programs whose threads change and read one collection.
const COLLECTION_PROGRAMS: [&str; 3] = [
    "|create:a;add:a,1|create:a;delete:a",
    "create:a|add:a,1;remove:a,1|add:a,1;delete:a",
    "create:a|delete:a;create:a|read:1;add:a,1",
];

fn operation(text: &str) -> Operation {
    text.parse().unwrap()
}

/// The finding of a sweep whose first call makes the collection `a`.
fn message_of(
    work: impl Fn(&ScheduledDatabase) -> Result<(), Error> + Send + Sync + 'static,
) -> Option<String> {
    let sweep = ScheduleSweep::driven("wrong results", move |database| {
        database.apply(&operation("create:a"))?;
        work(database)
    });
    let finding = sweep.preemptions_max(0).run().finding?;
    assert_eq!(finding.failure.kind, FailureKind::Wrong, "{finding}");
    Some(finding.failure.message)
}

#[track_caller]
fn assert_contains(message: Option<String>, text: &str) {
    let message = message.expect("a finding");
    assert!(message.contains(text), "{message}");
}

#[test]
fn a_refusal_that_no_order_of_the_calls_explains_is_a_finding() {
    let message = message_of(|database| {
        let other = database.spawn("other", |database| database.apply(&operation("add:a,2")));
        let unknown = |_: &TidalDb| Err(Error::UnknownCollection { name: "a".to_owned() });
        drop(database.apply_by(&operation("add:a,1"), unknown));
        other.join().unwrap().map(drop)
    });
    assert_contains(message, "add:a,1 returned UnknownCollection");
}

#[test]
fn a_member_that_two_threads_both_add_is_a_finding() {
    let add = |database: &ScheduledDatabase| {
        let add = |db: &TidalDb| db.add_to_collection(b"a", EntityId(1)).map(|_| (None, true));
        database.apply_by(&operation("add:a,1"), add).map(drop)
    };
    let message = message_of(move |database| {
        let other = database.spawn("other", move |database| add(&database));
        add(database)?;
        other.join().unwrap()
    });
    assert_contains(message, "add:a,1 returned Ok(true)");
}

#[test]
fn a_wrong_score_and_a_read_that_misses_an_acknowledged_event_are_findings() {
    for (score, is_wrong) in [(12345.0, true), (0.0, true), (1.5, false)] {
        let message = message_of(move |database| {
            database.apply(&operation("record@1700000000000:0,1,1700000000000,1.5"))?;
            let mut found = None;
            database.read_by(EntityId(1), |db| {
                let read = ScheduledDatabase::values_of(db, EntityId(1))?;
                found = Some(read.score);
                Ok(FoundRead { score, ..read })
            })?;
            assert_eq!(found, Some(1.5));
            Ok(())
        });
        if is_wrong {
            assert_contains(message, &format!("read:1 returned the score {score},"));
        } else {
            assert_eq!(message, None);
        }
    }
}

#[test]
fn a_read_that_misses_an_acknowledged_member_is_a_finding() {
    let message = message_of(|database| {
        database.apply(&operation("add:a,7"))?;
        database.read_by(EntityId(1), |db| {
            let mut read = ScheduledDatabase::values_of(db, EntityId(1))?;
            read.members = vec![(b"a".to_vec(), Some(Vec::new()))];
            Ok(read)
        })
    });
    assert_contains(message, "read:1 returned the members [] of \"a\"");
}

#[test]
fn a_refusal_by_a_call_that_changes_no_collection_is_a_finding() {
    let sweep = ScheduleSweep::driven("a wrong refusal", |database| {
        let unknown = |_: &TidalDb| Err(Error::UnknownCollection { name: "a".to_owned() });
        drop(database.apply_by(&Operation::Sync, unknown));
        Ok(())
    });
    let finding = sweep.preemptions_max(0).run().finding.expect("a finding");
    assert!(finding.failure.message.starts_with("sync failed"), "{finding}");
}

#[test]
fn calls_and_reads_of_one_collection_have_results_of_some_order() {
    for text in COLLECTION_PROGRAMS {
        let sweep = ScheduleSweep::of(program(text)).preemptions_max(0);
        sweep.run().expect_clean();
    }
}

/// Tests of more than a second, which the quick set leaves out.
mod full {
    use super::*;

    #[test]
    fn calls_and_reads_of_one_collection_have_results_of_some_order_with_one_preemption() {
        for (text, durability) in COLLECTION_PROGRAMS.iter().zip(POLICIES) {
            let sweep = ScheduleSweep::of(program(text)).durability(durability);
            sweep.preemptions_max(1).run().expect_clean();
        }
    }

    #[test]
    fn random_programs_with_faults_have_results_of_some_order() {
        for seed in 0..8 {
            let sweep = ScheduleSweep::of(programs::random(seed)).faults(true);
            sweep.random(seed, 10).run().expect_clean();
        }
    }
}
