//! Tests of the watchdog.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::testing::watchdog::*;
use crate::testing::{CrashInjector, CrashPoint, check_crash_point, run_with_crash};
use std::panic::resume_unwind;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_panic_of_the_body_continues_on_the_calling_thread_with_the_same_payload() {
    let payload = catch_unwind(AssertUnwindSafe(|| {
        run_within(MINUTE, "panics", || resume_unwind(Box::new(42_u8)))
    }));
    let payload: Box<dyn std::any::Any + Send> = match payload {
        Err(payload) => payload,
        Ok(result) => {
            let result: Result<(), Hang> = result;
            panic!("no panic, but {result:?}")
        }
    };
    assert_eq!(payload.downcast_ref(), Some(&42_u8));
}

#[test]
fn a_body_that_does_not_end_in_time_returns_a_hang() {
    let time_max = Duration::from_millis(20);
    let hang = run_within::<(), _>(time_max, "hangs", || {
        loop {
            std::thread::park();
        }
    });
    assert_eq!(hang, Err(Hang { time_max }));
}

#[test]
fn the_injector_of_the_calling_thread_crashes_the_body() {
    let point = CrashPoint::WalPreAggregate;
    let injector = CrashInjector::new(point, 0);
    let outcome = run_with_crash(&injector, || {
        run_within(MINUTE, "crosses", move || check_crash_point(point))
    });
    assert_eq!(outcome, Err(point));
}
