//! The parts of a sweep: programs as text, reports, findings, lines, replays.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::EntityId;
use crate::testing::lab::programs::{self, POLICIES};
use crate::testing::schedule::primitives::{AtomicU64, Builder, Mutex};
use crate::testing::sweep::FailureKind;
use crate::testing::workload::Operation;

const TWO_ADDS: &str = "create:a|add:a,1|add:a,2";

fn finding_of(replayed: Result<ReplayedSchedule, ReplayFailure>) -> ScheduleFinding {
    match replayed {
        Err(ReplayFailure::FoundSchedule(finding)) => *finding,
        other => panic!("no finding: {other:?}"),
    }
}

fn add(entity: u64) -> Operation {
    Operation::AddToCollection(b"a".to_vec(), EntityId(entity))
}

#[test]
fn a_program_with_an_incomplete_call_does_not_parse() {
    assert!("create:a|close;read:1".parse::<Program>().is_ok());
    assert!("create:a|close;read".parse::<Program>().is_err());
}

#[test]
fn a_complete_sweep_runs_both_orders_and_judges_images() {
    let report = ScheduleSweep::of(program(TWO_ADDS)).preemptions_max(0).run();
    report.expect_clean();
    assert!(
        report.end == ScheduleSweepEnd::Complete && report.schedules >= 2,
        "{report}"
    );
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
    assert!(report.faults > 10, "{report}");
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
    assert!((1..=2).contains(&finding.deviations_len), "{finding}");
    assert!(finding.steps.contains("0: main"), "{finding}");
    assert!(finding.steps.contains("other"), "{finding}");
    let line = finding.replay_line();
    let again = finding_of(lost_update().replay(&line));
    assert_eq!(again.failure, finding.failure);
    assert_eq!(again.steps, finding.steps);
    let (_, schedule) = line.rsplit_once("schedule=").unwrap();
    for deviation in schedule.split(',') {
        assert!(
            finding.steps.contains(&format!("{deviation} ")),
            "{deviation}: {finding}"
        );
    }
    let test = format!("sweep().replay({line:?})");
    assert!(finding.test_to_paste().contains(&test), "{finding}");
}

#[test]
fn the_panic_of_a_thread_is_a_finding_also_if_nobody_joins_it() {
    let sweep = ScheduleSweep::driven("a panic", |database| {
        let other = database.spawn("other", |_| panic!("an index is out of bounds"));
        drop(other.join());
        database
            .apply(&Operation::CreateCollection(b"a".to_vec()))
            .map(drop)
    });
    let finding = sweep.preemptions_max(0).run().finding.expect("a panic");
    assert_eq!(finding.failure.kind, FailureKind::Panicked);
    let message = &finding.failure.message;
    assert_eq!(message, "thread other: an index is out of bounds");
}

#[test]
fn a_program_that_depends_on_earlier_runs_is_a_finding() {
    let runs = AtomicUsize::new(0);
    let sweep = ScheduleSweep::driven("a program with a counter", move |database| {
        database.apply(&Operation::CreateCollection(b"a".to_vec()))?;
        if runs.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            database.apply(&add(10))?;
        }
        let other = database.spawn("other", |database| database.apply(&add(1)));
        database.apply(&add(2))?;
        other.join().unwrap().map(drop)
    });
    let finding = sweep.preemptions_max(1).run().finding.expect("other steps");
    assert_eq!(finding.failure.kind, FailureKind::NeverReached);
    assert!(finding.failure.message.contains("not deterministic"), "{finding}");
}

#[test]
fn random_schedules_find_the_lost_update_and_shrink_it() {
    let report = lost_update().random(1, 500).run();
    let finding = report.finding.expect("a random schedule loses an update");
    assert!(finding.deviations_len <= 2, "{finding}");
    drop(finding_of(lost_update().replay(&finding.replay_line())));
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
fn a_call_that_the_oracle_does_not_know_is_a_finding() {
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
    let right = format!(
        "tidaldb-schedule: program={TWO_ADDS} durability=every-synced background=own-threads schedule=default"
    );
    sweep().replay(&right).unwrap();
    let wrong = [
        ("tidaldb-schedule:", "tidaldb-replay:", "begins with"),
        ("add:a,2", "nonsense", "no operation"),
        ("=every-synced", "=never", "unknown"),
        ("=own-threads", "=nothing", "the background work is"),
        ("=default", "=1", "a deviation is"),
        ("=default", "=5>1,4>1", "ascend"),
        ("=default", "=default fault=1", "a fault is"),
        ("=default", "=default fault=1:error fault=2:error", "ends before"),
        (" schedule", " schedule=default schedule", "`fault=` is expected"),
        ("durability=every-synced ", "", "`durability=` is expected"),
        (" schedule=default", "", "no field `schedule=`"),
        ("program=", "something=", "`program=` is expected"),
    ];
    for (part, replacement, reason) in wrong {
        let line = right.replacen(part, replacement, 1);
        match sweep().replay(&line).unwrap_err() {
            ReplayFailure::NotASchedule(text) => assert!(text.contains(reason), "{line}: {text}"),
            other => panic!("{line}: {other}"),
        }
    }
    for (schedule, reason) in [
        ("1000000>1", "deviation"),
        ("default fault=99999:error", "cannot have"),
    ] {
        let line = right.replace("default", schedule);
        match sweep().replay(&line).unwrap_err() {
            ReplayFailure::DoesNotFit(text) => assert!(text.contains(reason), "{line}: {text}"),
            other => panic!("{line}: {other}"),
        }
    }
    let failure = lost_update().replay(&right).unwrap_err();
    assert!(failure.to_string().contains("another application"), "{failure}");
}

#[test]
fn blanks_of_a_name_are_replaced_in_the_line() {
    let sweep = || ScheduleSweep::of_threads("two\tthreads or\nnone", || panic!("a panic"));
    let report = sweep().run();
    assert_eq!(report.end, ScheduleSweepEnd::Finding);
    let line = report.finding.unwrap().replay_line();
    assert!(line.contains("program=two_threads_or_none "), "{line}");
    drop(finding_of(sweep().replay(&line)));
}

#[test]
fn a_sweep_of_threads_is_clean_only_if_they_use_the_same_primitives() {
    let sweep = |is_shared: bool| {
        ScheduleSweep::of_threads("counters", move || {
            let counter = Arc::new(AtomicU64::new(0));
            let other = if is_shared {
                Arc::clone(&counter)
            } else {
                Arc::new(AtomicU64::new(0))
            };
            let thread = Builder::new().spawn(move || other.fetch_add(1, Ordering::SeqCst));
            counter.fetch_add(1, Ordering::SeqCst);
            thread.unwrap().join().unwrap();
        })
    };
    let report = sweep(true).run();
    report.expect_clean();
    assert!(!report.has_database && report.images == 0, "{report}");
    for report in [sweep(false).run(), sweep(false).random(1, 20).run()] {
        assert!(report.finding.is_none() && !report.is_ok(), "{report}");
    }
}

#[test]
fn a_limit_ends_a_sweep_that_is_not_complete() {
    let sweep = || ScheduleSweep::of(program(TWO_ADDS));
    assert_eq!(sweep().schedules_max(3).run().end, ScheduleSweepEnd::SchedulesMax);
    assert_eq!(sweep().time(Duration::ZERO).run().end, ScheduleSweepEnd::Time);
    assert_eq!(sweep().random(1, 3).run().end, ScheduleSweepEnd::Sampled);
}

#[test]
fn a_refused_open_in_a_run_is_reported_as_such_and_not_as_a_panic() {
    let kind_of = |ordinal: u64| {
        let line = format!(
            "tidaldb-schedule: program={TWO_ADDS} durability=every-synced background=own-threads schedule=default \
             fault={ordinal}:error"
        );
        let replayed = ScheduleSweep::of(program(TWO_ADDS)).replay(&line);
        Some(replayed.err()?.failure()?.kind)
    };
    // The first disk operations are those of the opening.
    let kinds: Vec<_> = (0..8).filter_map(kind_of).collect();
    assert!(kinds.contains(&FailureKind::Refused), "{kinds:?}");
    assert!(!kinds.contains(&FailureKind::Panicked), "{kinds:?}");
}

#[test]
fn a_random_schedule_of_a_seed_gives_the_same_bytes_twice() {
    for seed in 0..30 {
        let sweep = ScheduleSweep::of(programs::random(seed)).durability(POLICIES[(seed % 3) as usize]);
        let first = sweep.run_seed(seed).unwrap();
        assert!(first.steps > 100);
        assert_eq!(sweep.run_seed(seed).unwrap(), first, "seed {seed}");
    }
}
