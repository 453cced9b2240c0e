//! Mutexes, locks for readers and writers, and their poison.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, TryLockError};

use super::super::StepAction;
use super::super::primitives::{Mutex, RwLock, yield_now};
use super::*;

/// Counts the threads in a section. It makes no step.
#[derive(Debug, Default)]
struct Section {
    inside: AtomicU32,
    most: AtomicU32,
}

impl Section {
    /// Passes the section, and yields to other threads in it.
    fn pass(&self) {
        let inside = 1 + self.inside.fetch_add(1, Ordering::SeqCst);
        self.most.fetch_max(inside, Ordering::SeqCst);
        yield_now();
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self) -> u32 {
        self.most.load(Ordering::SeqCst)
    }
}

#[test]
fn two_threads_never_hold_a_mutex_at_the_same_time() {
    let most = explore(2, || {
        let shared = Arc::new((Mutex::new(()), Section::default()));
        let threads = [0, 1].map(|_| {
            let shared = Arc::clone(&shared);
            spawn("", move || {
                let _guard = shared.0.lock();
                shared.1.pass();
            })
        });
        threads.into_iter().for_each(join);
        shared.1.most()
    });
    assert!(most.len() > 10 && most.iter().all(|&most| most == 1), "{most:?}");
}

#[test]
fn without_a_lock_two_threads_are_in_a_section_at_the_same_time() {
    let most = explore(1, || {
        let section = Arc::new(Section::default());
        let threads = [0, 1].map(|_| {
            let section = Arc::clone(&section);
            spawn("", move || section.pass())
        });
        threads.into_iter().for_each(join);
        section.most()
    });
    assert!(most.contains(&1) && most.contains(&2), "{most:?}");
}

#[test]
fn every_order_of_two_threads_that_lock_twice_is_reached() {
    let orders = explore(3, || {
        let order = Arc::new(Mutex::new(String::new()));
        let threads = ['a', 'b'].map(|name| {
            let order = Arc::clone(&order);
            spawn("", move || {
                for _ in 0..2 {
                    order.lock().expect("no thread panics").push(name);
                }
            })
        });
        threads.into_iter().for_each(join);
        order.lock().expect("no thread panics").clone()
    });
    let orders: BTreeSet<_> = orders.iter().map(String::as_str).collect();
    let all = ["aabb", "abab", "abba", "baab", "baba", "bbaa"];
    assert_eq!(orders, BTreeSet::from(all));
}

#[test]
fn try_lock_fails_exactly_while_another_thread_holds_the_lock() {
    let results = explore(2, || {
        let shared = Arc::new((Mutex::new(()), AtomicU32::new(0)));
        let holder = {
            let shared = Arc::clone(&shared);
            spawn("", move || {
                let guard = shared.0.lock();
                shared.1.store(1, Ordering::SeqCst);
                yield_now();
                shared.1.store(0, Ordering::SeqCst);
                drop(guard);
            })
        };
        let result = match shared.0.try_lock() {
            Ok(_guard) => {
                assert_eq!(shared.1.load(Ordering::SeqCst), 0);
                true
            }
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Poisoned(_)) => panic!("no thread panics"),
        };
        join(holder);
        result
    });
    assert!(results.contains(&true) && results.contains(&false), "{results:?}");
}

#[test]
fn try_lock_takes_the_lock() {
    let stuck = run_planned("default", || {
        let mutex = Mutex::new(());
        let _held = mutex.try_lock();
        drop(mutex.lock());
    });
    assert_eq!(stuck.stuck().kind, StuckKind::Deadlock);
}

#[test]
fn readers_hold_a_lock_together_and_a_writer_holds_it_alone() {
    let both = explore(2, || {
        let shared = Arc::new((RwLock::new(()), Section::default(), Section::default()));
        let reader = |shared: &Arc<(RwLock<()>, Section, Section)>| {
            let shared = Arc::clone(shared);
            move || {
                let _guard = shared.0.read();
                shared.1.pass();
                assert_eq!(shared.2.inside.load(Ordering::SeqCst), 0);
            }
        };
        let threads = [(); 2].map(|()| spawn("", reader(&shared)));
        {
            let _guard = shared.0.write();
            assert_eq!(shared.1.inside.load(Ordering::SeqCst), 0);
            shared.2.pass();
            assert_eq!(shared.1.inside.load(Ordering::SeqCst), 0);
        }
        threads.into_iter().for_each(join);
        shared.1.most()
    });
    assert!(both.contains(&1) && both.contains(&2), "{both:?}");
}

#[test]
fn no_reader_takes_the_lock_while_a_writer_waits() {
    let body = || {
        let lock = Arc::new(RwLock::new(()));
        let held = lock.read();
        let writer = {
            let lock = Arc::clone(&lock);
            spawn("writer", move || drop(lock.write()))
        };
        let reader = {
            let lock = Arc::clone(&lock);
            spawn("reader", move || drop(lock.read()))
        };
        yield_now();
        drop(held);
        join(writer);
        join(reader);
    };
    let (mut waited, mut overtook) = (0, 0);
    explore_until(2, body, |ran| {
        let position = |thread: usize, action: StepAction| {
            let steps = ran.record.steps.iter().enumerate();
            let steps = steps.filter(move |(_, step)| step.thread == thread && step.action == action);
            steps.map(|(index, _)| index).collect::<Vec<_>>()
        };
        let (writes, reads) = (
            position(1, StepAction::WriteLock),
            position(2, StepAction::ReadLock),
        );
        assert!(ran.value.is_some() && reads.len() == 1);
        match writes[..] {
            [attempt, taken] => {
                waited += 1;
                assert!(reads[0] < attempt || reads[0] > taken, "{:?}", ran.record.steps);
                overtook += u32::from(reads[0] < attempt);
            }
            [_] => {}
            _ => panic!("a writer attempts once: {writes:?}"),
        }
        false
    });
    assert!(waited > overtook && overtook > 0, "{waited} {overtook}");
}

#[test]
fn a_second_read_of_a_thread_deadlocks_behind_a_waiting_writer() {
    let stuck = first_stuck(|| {
        let lock = Arc::new(RwLock::new(()));
        let writer = {
            let lock = Arc::clone(&lock);
            spawn("writer", move || drop(lock.write()))
        };
        {
            let _first = lock.read();
            let _second = lock.read();
        }
        join(writer);
    });
    assert_eq!(stuck.kind, StuckKind::Deadlock);
}

#[test]
fn a_panic_poisons_a_mutex_and_a_written_lock_but_no_read_lock() {
    let poisoned = run_planned("default", || {
        let shared = Arc::new((Mutex::new(()), RwLock::new(()), RwLock::new(())));
        let panicking = {
            let shared = Arc::clone(&shared);
            spawn("", move || {
                let _locked = shared.0.lock();
                let _written = shared.1.write();
                let _read = shared.2.read();
                std::panic::resume_unwind(Box::new(()));
            })
        };
        assert!(panicking.join().is_err());
        let is_locked_poisoned = shared.0.lock().is_err();
        let is_tried_poisoned = matches!(shared.0.try_lock(), Err(TryLockError::Poisoned(_)));
        // Separate statements: a result holds its lock until the statement ends.
        let is_read_poisoned = [&shared.1, &shared.2].map(|lock| lock.read().is_err());
        let is_write_poisoned = [&shared.1, &shared.2].map(|lock| lock.write().is_err());
        (
            is_locked_poisoned,
            is_tried_poisoned,
            is_read_poisoned,
            is_write_poisoned,
        )
    });
    assert_eq!(poisoned.value(), (true, true, [true, false], [true, false]));
}
