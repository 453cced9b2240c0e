//! The primitives on threads without a scheduler: each method behaves as that of the standard library.

use std::sync::atomic::Ordering;
use std::sync::{TryLockError, TryLockResult};
use std::time::Duration;

use super::super::primitives as own;

/// The result of a try to lock, without its guard.
fn kind<T>(result: &TryLockResult<T>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(TryLockError::Poisoned(_)) => "poisoned",
        Err(TryLockError::WouldBlock) => "would block",
    }
}

/// Runs `body` and then panics, on another thread.
fn panic_after<T>(body: impl FnOnce() -> T + Send) {
    let result = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let _held = body();
            std::panic::resume_unwind(Box::new(()));
        });
        thread.join()
    });
    assert!(result.is_err());
}

/// Defines a function that uses types of the same interface, and returns a text of the results.
macro_rules! both {
    ($name:ident, $type:ident, $body:expr) => {
        #[test]
        fn $name() {
            let of_std = {
                use std::sync::$type;
                $body
            };
            let own = {
                use own::$type;
                $body
            };
            assert_eq!(own, of_std);
        }
    };
}

both!(a_mutex_locks_and_is_poisoned_as_in_the_standard_library, Mutex, {
    let mut mutex = Mutex::new(5);
    let mut results = Vec::new();
    let held = mutex.lock();
    results.push(format!("{:?}", held.as_deref()));
    let other = std::thread::scope(|scope| scope.spawn(|| kind(&mutex.try_lock())).join());
    results.push(other.unwrap().to_owned());
    drop(held);
    results.push(kind(&mutex.try_lock()).to_owned());
    *mutex.get_mut().unwrap() += 1;
    panic_after(|| *mutex.lock().unwrap() += 1);
    results.push(format!("{:?}", mutex.lock().map(|guard| *guard).is_err()));
    panic_after(|| mutex.lock());
    results.push(kind(&mutex.try_lock()).to_owned());
    results.push(format!(
        "{:?}",
        mutex.lock().map_err(|poisoned| *poisoned.into_inner()).err()
    ));
    results.push(format!(
        "{:?}",
        mutex.get_mut().map_err(|poisoned| *poisoned.into_inner())
    ));
    results.push(format!(
        "{:?}",
        mutex.into_inner().map_err(std::sync::PoisonError::into_inner)
    ));
    results
});

both!(
    a_lock_for_readers_and_writers_is_poisoned_as_in_the_standard_library,
    RwLock,
    {
        let mut lock = RwLock::new(5);
        let mut results = Vec::new();
        {
            let first = lock.read().unwrap();
            let second = std::thread::scope(|scope| scope.spawn(|| *lock.read().unwrap()).join());
            results.push(format!("{:?} {:?}", *first, second.ok()));
        }
        *lock.write().unwrap() += 1;
        *lock.get_mut().unwrap() += 1;
        panic_after(|| lock.read());
        results.push(format!("{:?}", lock.read().map(|guard| *guard).is_ok()));
        panic_after(|| lock.write());
        results.push(format!(
            "{:?}",
            lock.read().map_err(|poisoned| *poisoned.into_inner()).err()
        ));
        results.push(format!(
            "{:?}",
            lock.write().map_err(|poisoned| *poisoned.into_inner()).err()
        ));
        results.push(format!(
            "{:?}",
            lock.get_mut().map_err(|poisoned| *poisoned.into_inner())
        ));
        results
    }
);

both!(a_value_is_set_once_as_in_the_standard_library, OnceLock, {
    let value = OnceLock::new();
    [
        format!("{:?}", value.get()),
        format!("{:?}", value.get_or_init(|| 1)),
        format!("{:?}", value.get_or_init(|| 2)),
        format!("{:?}", value.get()),
    ]
});

macro_rules! compare_atomic {
    ($name:ident, $values:expr) => {{
        const ORDER: Ordering = Ordering::SeqCst;
        let values = $values;
        let of_std = std::sync::atomic::$name::new(values[0]);
        let own = own::$name::new(values[0]);
        for value in values {
            assert_eq!(own.load(ORDER), of_std.load(ORDER));
            assert_eq!(own.swap(value, ORDER), of_std.swap(value, ORDER));
            for (current, new) in [(values[0], values[1]), (values[1], values[0])] {
                assert_eq!(
                    own.compare_exchange(current, new, ORDER, ORDER),
                    of_std.compare_exchange(current, new, ORDER, ORDER)
                );
            }
            own.store(value, ORDER);
            of_std.store(value, ORDER);
        }
        (own, of_std)
    }};
}

macro_rules! compare_integer {
    ($name:ident, $type:ty) => {{
        let values = [0, 1, 7, <$type>::MAX, <$type>::MIN];
        let (own, of_std) = compare_atomic!($name, values);
        for value in values {
            let order = Ordering::SeqCst;
            assert_eq!(own.fetch_add(value, order), of_std.fetch_add(value, order));
            assert_eq!(own.fetch_max(value, order), of_std.fetch_max(value, order));
            assert_eq!(own.fetch_sub(value, order), of_std.fetch_sub(value, order));
        }
        assert_eq!(own.into_inner(), of_std.into_inner());
    }};
}

#[test]
fn atomics_return_the_values_of_the_standard_library() {
    let (own, of_std) = compare_atomic!(AtomicBool, [false, true]);
    assert_eq!(own.into_inner(), of_std.into_inner());
    compare_integer!(AtomicU8, u8);
    compare_integer!(AtomicU32, u32);
    compare_integer!(AtomicU64, u64);
    compare_integer!(AtomicI64, i64);
}

/// Threads that hand a number to each other with all kinds of wake-ups.
#[test]
fn threads_without_a_scheduler_wake_each_other() {
    let shared = (own::Mutex::new(0_u64), own::Condvar::new());
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let shared = &shared;
            scope.spawn(move || {
                for _ in 0..50 {
                    let mut value = shared.0.lock().unwrap();
                    while *value % 3 != thread {
                        value = shared.1.wait(value).unwrap();
                    }
                    *value += 1;
                    shared.1.notify_all();
                }
            });
        }
    });
    assert_eq!(*shared.0.lock().unwrap(), 150);
}

#[test]
fn a_time_limit_without_a_scheduler_passes_in_real_time() {
    let (mutex, condvar) = (own::Mutex::new(1), own::Condvar::new());
    let limit = Duration::from_millis(5);
    let (value, timed_out) = condvar
        .wait_timeout_while(mutex.lock().unwrap(), limit, |value| *value == 1)
        .unwrap();
    assert_eq!((*value, timed_out), (1, true));
    let (mut value, timed_out) = condvar.wait_timeout_while(value, limit, |_| false).unwrap();
    assert!(!timed_out);
    // The guard still holds the lock.
    assert_eq!(kind(&mutex.try_lock()), "would block");
    *value = 2;
    drop(value);
    assert_eq!(kind(&mutex.try_lock()), "ok");
}

#[test]
fn a_wait_returns_the_poison_of_its_mutex() {
    let (mutex, condvar) = (own::Mutex::new(1), own::Condvar::new());
    panic_after(|| mutex.lock());
    let guard = mutex.lock().unwrap_err().into_inner();
    let limit = Duration::from_millis(1);
    let waited = condvar.wait_timeout_while(guard, limit, |_| true);
    let (value, timed_out) = waited.unwrap_err().into_inner();
    assert_eq!((*value, timed_out), (1, true));
}

#[test]
fn threads_without_a_scheduler_have_their_names_results_and_panics() {
    let named = own::Builder::new().name("named".to_owned());
    let named = named.spawn(|| {
        own::yield_now();
        own::spin_loop();
        own::sleep(Duration::from_nanos(1));
        std::thread::current().name().map(str::to_owned)
    });
    assert_eq!(named.unwrap().join().unwrap().as_deref(), Some("named"));
    let panicking = own::Builder::new().spawn(|| std::panic::resume_unwind(Box::new(7)));
    let payload: Box<dyn std::any::Any + Send> = panicking.unwrap().join().map(|(): ()| ()).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&7));
}
