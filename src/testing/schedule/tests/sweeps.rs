//! The parts of a sweep: programs as text, findings, lines, replays.

use std::sync::Arc;

use super::*;
use crate::testing::schedule::primitives::{AtomicU64, Mutex};
use crate::testing::sweep::FailureKind;
use crate::testing::workload::Operation;
use crate::{Durability, EntityId};
use std::sync::atomic::Ordering;

const TWO_ADDS: &str = "create:a|add:a,1|add:a,2";

fn add(entity: u64) -> Operation {
    Operation::AddToCollection(b"a".to_vec(), EntityId(entity))
}

#[test]
fn the_text_of_each_program_parses_back() {
    let random = (0..50).map(Program::random);
    for program in Program::pairs(2)
        .into_iter()
        .chain(Program::listed(3))
        .chain(random)
    {
        let parsed: Program = program.to_string().parse().unwrap();
        assert_eq!(parsed, program);
    }
    assert!("create:a|close;read".parse::<Program>().is_err());
}

#[test]
fn the_listed_programs_have_every_pair_and_at_least_fifty_larger_ones() {
    assert_eq!(Program::pairs(1).len(), 36);
    let listed = Program::listed(1);
    assert!(listed.len() >= 50, "{}", listed.len());
    for program in &listed {
        assert!((2..=6).contains(&program.calls_len()), "{program}");
    }
    assert!(listed.iter().any(|program| program.calls_len() == 6));
}

#[test]
fn a_complete_sweep_runs_both_orders_and_judges_images() {
    let report = ScheduleSweep::of(program(TWO_ADDS)).preemptions_max(0).run();
    report.expect_clean();
    assert!(report.is_complete && report.schedules >= 2, "{report}");
    assert!(report.judged >= report.images && report.images >= 4, "{report}");
    let more = ScheduleSweep::of(program(TWO_ADDS)).preemptions_max(1).run();
    assert!(more.schedules > report.schedules, "{more}");
}

#[test]
fn faults_are_tried_at_each_write_and_sync() {
    let report = ScheduleSweep::of(program(
        "|sync;checkpoint|record@1700000001000:0,1,1700000001000,1.5",
    ))
    .preemptions_max(0)
    .faults(true)
    .run();
    report.expect_clean();
    assert!(report.with_fault > 10, "{report}");
}

/// Two threads read a counter and write it back plus 1. An update is lost if one is preempted in between.
fn lost_update() -> ScheduleSweep {
    ScheduleSweep::driven("a lost update", |database| {
        let counter = Arc::new(AtomicU64::new(0));
        let increment = |counter: &AtomicU64| {
            let value = counter.load(Ordering::SeqCst);
            counter.store(value + 1, Ordering::SeqCst);
        };
        let shared = Arc::clone(&counter);
        let other = database.spawn("other", move |_| increment(&shared));
        increment(&counter);
        other.join().unwrap();
        database.apply(&Operation::CreateCollection(b"a".to_vec()))?;
        assert_eq!(counter.load(Ordering::SeqCst), 2, "an update is lost");
        Ok(())
    })
}

#[test]
fn a_lost_update_of_an_application_needs_one_preemption_and_its_line_replays_it() {
    let clean = lost_update().preemptions_max(0).run();
    assert!(clean.finding.is_none(), "{clean}");
    let report = lost_update().preemptions_max(1).run();
    let finding = report.finding.expect("one preemption loses an update");
    assert_eq!(finding.failure.kind, FailureKind::Panicked);
    assert!(finding.failure.message.contains("an update is lost"), "{finding}");
    assert!((1..=2).contains(&finding.deviations), "{finding}");
    assert!(finding.steps.contains("0: main"), "{finding}");
    assert!(finding.steps.contains("other"), "{finding}");
    let again = lost_update().replay(&finding.line).unwrap_err();
    assert_eq!(again.failure, finding.failure);
    assert_eq!(again.steps, finding.steps);
}

#[test]
fn random_schedules_find_the_lost_update_and_shrink_it() {
    let report = lost_update().random(1, 500).run();
    let finding = report.finding.expect("a random schedule loses an update");
    assert!(finding.deviations <= 2, "{finding}");
    drop(lost_update().replay(&finding.line).unwrap_err());
}

#[test]
fn a_deadlock_of_an_application_names_the_place_of_each_thread() {
    let sweep = ScheduleSweep::driven("a deadlock", |database| {
        let locks = Arc::new((Mutex::new(()), Mutex::new(())));
        let shared = Arc::clone(&locks);
        let other = database.spawn("other", move |_| {
            let _first = shared.1.lock().unwrap();
            drop(shared.0.lock().unwrap());
        });
        {
            let _first = locks.0.lock().unwrap();
            drop(locks.1.lock().unwrap());
        }
        other.join().unwrap();
        Ok(())
    });
    let finding = sweep.preemptions_max(1).run().finding.expect("a deadlock");
    assert_eq!(finding.failure.kind, FailureKind::Hang);
    let message = &finding.failure.message;
    assert!(message.starts_with("deadlock"), "{message}");
    let places = message
        .lines()
        .filter(|line| line.contains("tests/sweeps.rs"))
        .count();
    assert_eq!(places, 2, "{message}");
}

#[test]
fn a_lost_call_is_a_finding_with_its_image() {
    // The oracle expects the effect of a call that the work hides from the database.
    let sweep = ScheduleSweep::driven("a call without an oracle", |database| {
        database.apply(&Operation::CreateCollection(b"a".to_vec()))?;
        let other = database.spawn("other", |database| {
            database.db().add_to_collection("a", EntityId(3)).map(drop)
        });
        database.apply(&add(1))?;
        other.join().unwrap()?;
        Ok(())
    });
    let finding = sweep
        .preemptions_max(0)
        .run()
        .finding
        .expect("an unexpected member");
    assert!(finding.failure.message.contains("member"), "{finding}");
}

#[test]
fn a_wrong_line_says_what_is_wrong() {
    let sweep = || ScheduleSweep::of(program(TWO_ADDS));
    let wrong = [
        ("tidaldb-replay: work=x", "begins with"),
        ("tidaldb-schedule: program=create:a|nonsense", "no operation"),
        ("tidaldb-schedule: durability=never", "unknown"),
        ("tidaldb-schedule: schedule=1", "a deviation is"),
        ("tidaldb-schedule: schedule=5>1,4>1", "ascend"),
        ("tidaldb-schedule: schedule=1000000>1", "does not fit"),
        ("tidaldb-schedule: fault=99999:error", "cannot have"),
        ("tidaldb-schedule: something=else", "unknown"),
    ];
    for (line, part) in wrong {
        let finding = sweep().replay(line).unwrap_err();
        assert!(finding.failure.message.contains(part), "{line}: {finding}");
    }
}

#[test]
fn a_random_schedule_of_a_seed_gives_the_same_bytes_twice() {
    let policies = [
        Durability::EverySynced,
        Durability::SyncedEvery { interval_ms: 2000 },
        Durability::OperatingSystem,
    ];
    for seed in 0..30 {
        let sweep = ScheduleSweep::of(Program::random(seed)).durability(policies[(seed % 3) as usize]);
        let first = sweep.run_seed(seed).unwrap();
        assert!(first.steps > 100);
        assert_eq!(sweep.run_seed(seed).unwrap(), first, "seed {seed}");
    }
}
