//! Schedules, their texts and fingerprints: equal schedules give equal runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::primitives::{AtomicU64, Mutex, yield_now};
use super::*;

static LONG_LIVED: Mutex<u64> = Mutex::new(0);

/// Three threads with locks, atomics and yields. Returns the value after them.
fn program() -> u64 {
    let shared = Arc::new((Mutex::new(0), AtomicU64::new(0)));
    let threads = [1_u64, 2, 3].map(|number| {
        let shared = Arc::clone(&shared);
        spawn("", move || {
            for _ in 0..3 {
                let mut value = shared.0.lock().expect("no thread panics");
                *value = *value * 3 + number;
                drop(value);
                shared.1.fetch_add(number, Ordering::SeqCst);
                yield_now();
            }
        })
    });
    threads.into_iter().for_each(join);
    let value = *shared.0.lock().expect("no thread panics");
    value + shared.1.load(Ordering::SeqCst)
}

/// The steps with their objects, the fingerprint and the choices.
fn text_of<T: std::fmt::Debug>(ran: &Ran<T>) -> String {
    let steps: Vec<_> = ran
        .record
        .steps
        .iter()
        .map(|step| (step.thread, step.action, step.object))
        .collect();
    let choices: Vec<_> = ran
        .record
        .decisions
        .iter()
        .map(|decision| decision.chosen)
        .collect();
    format!(
        "{steps:?} {choices:?} {:x} {:?}",
        ran.record.fingerprint, ran.value
    )
}

/// The deviations of a run, as the text of a schedule.
fn schedule_of<T>(ran: &Ran<T>) -> String {
    let decisions = ran.record.decisions.iter().enumerate();
    let deviating = decisions.filter(|(_, decision)| decision.chosen != decision.default);
    let deviations = deviating.map(|(number, decision)| (number as u64, decision.chosen));
    Deviations(deviations.collect()).to_string()
}

#[test]
fn a_seed_and_the_schedule_that_it_chose_give_the_same_run_each_time() {
    let mut texts = BTreeSet::new();
    for seed in 0..20 {
        let first = run_random(seed, program);
        assert_eq!(text_of(&first), text_of(&run_random(seed, program)));
        let planned = run_planned(&schedule_of(&first), program);
        assert!(planned.record.schedule_fits);
        assert_eq!(text_of(&first), text_of(&planned));
        texts.insert(text_of(&first));
    }
    assert!(texts.len() > 10, "{} distinct runs", texts.len());
}

#[test]
fn a_schedule_that_does_not_fit_the_run_is_reported() {
    assert!(run_planned("default", program).record.schedule_fits);
    for schedule in ["100000>1", "0>9", "0>31", "0>4294967296"] {
        let ran = run_planned(schedule, program);
        assert!(!ran.record.schedule_fits, "{schedule}");
        assert_eq!(
            ran.record.fingerprint,
            run_planned("default", program).record.fingerprint
        );
    }
}

/// The fingerprints of all schedules of two threads with one step each.
fn fingerprints_of(steps: fn(&(AtomicU64, AtomicU64), usize)) -> Vec<u64> {
    let body = move || {
        let shared = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        // The first use determines the id of an object.
        shared.0.load(Ordering::SeqCst);
        shared.1.load(Ordering::SeqCst);
        let threads = [0, 1].map(|index| {
            let shared = Arc::clone(&shared);
            spawn("", move || steps(&shared, index))
        });
        threads.into_iter().for_each(join);
    };
    let mut fingerprints = Vec::new();
    explore_until(2, body, |ran| {
        fingerprints.push(ran.record.fingerprint);
        false
    });
    assert!(fingerprints.len() > 2);
    fingerprints.sort_unstable();
    fingerprints.dedup();
    fingerprints
}

#[test]
fn independent_steps_have_one_fingerprint_in_every_order() {
    let of_different_objects = fingerprints_of(|shared, index| {
        let value = if index == 0 { &shared.0 } else { &shared.1 };
        value.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(of_different_objects.len(), 1);
    let of_reads = fingerprints_of(|shared, _| {
        shared.0.load(Ordering::SeqCst);
    });
    assert_eq!(of_reads.len(), 1);
}

#[test]
fn conflicting_steps_have_a_fingerprint_for_each_order() {
    let of_changes = fingerprints_of(|shared, _| {
        shared.0.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(of_changes.len(), 2);
    let of_a_read_and_a_change = fingerprints_of(|shared, index| {
        if index == 0 {
            shared.0.load(Ordering::SeqCst);
        } else {
            shared.0.store(1, Ordering::SeqCst);
        }
    });
    assert_eq!(of_a_read_and_a_change.len(), 2);
}

#[test]
fn an_object_that_lives_longer_than_a_run_has_the_same_id_in_each_run() {
    let body = || {
        let other = spawn("", || *LONG_LIVED.lock().expect("no thread panics") += 1);
        *LONG_LIVED.lock().expect("no thread panics") += 1;
        join(other);
    };
    let first = run_random(7, body);
    for _ in 0..3 {
        assert_eq!(text_of(&first), text_of(&run_random(7, body)));
    }
}

#[test]
fn runs_at_the_same_time_do_not_disturb_each_other() {
    let alone: Vec<_> = (0..30).map(|seed| text_of(&run_random(seed, program))).collect();
    std::thread::scope(|scope| {
        let again = || {
            (0..30)
                .map(|seed| text_of(&run_random(seed, program)))
                .collect::<Vec<_>>()
        };
        for thread in [scope.spawn(again), scope.spawn(again)] {
            assert_eq!(thread.join().expect("no run panics"), alone);
        }
    });
}

#[test]
fn the_text_of_a_schedule_parses_back_and_a_wrong_text_is_an_error() {
    for text in ["default", "0>1", "17>1,40>0,41>3"] {
        let deviations: Deviations = text.parse().expect("the text is legal");
        assert_eq!(deviations.to_string(), text);
    }
    assert_eq!("default".parse(), Ok(Deviations(Vec::new())));
    assert_eq!("17>1,40>0".parse(), Ok(Deviations(vec![(17, 1), (40, 0)])));
    for text in [
        "", "1", "1>", ">1", "a>1", "1>b", "1>-1", "1>1,", "2>1,1>1", "1>0,1>1", "1>1 2>1",
    ] {
        assert!(text.parse::<Deviations>().is_err(), "{text:?}");
    }
}
