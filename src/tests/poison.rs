//! Reads and writes after a failure or a panic.

use crate::Error;
use crate::poison::*;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

#[test]
fn a_failed_write_ends_writing_with_the_first_cause_and_reads_continue() {
    let poison = Poison::default();
    assert!(poison.check_write().is_ok() && poison.check_read().is_ok());
    drop(poison.fail(Error::Closed));
    drop(poison.fail(Error::Panicked { operation: "second" }));
    let Err(Error::Poisoned { cause }) = poison.check_write() else {
        panic!("not poisoned")
    };
    assert!(matches!(*cause, Error::Closed), "{cause:?}");
    assert!(poison.check_read().is_ok());
}

/// Attempts a step that panics; returns the poison.
fn after_a_panic(memory: Memory) -> Poison {
    let poison = Poison::default();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        poison.attempt("apply", memory, || -> Result<(), Error> {
            resume_unwind(Box::new("planned"))
        })
    }));
    assert!(caught.is_err());
    poison
}

#[test]
fn reads_fail_after_a_panic_that_may_have_left_memory_half_changed() {
    for (memory, readable) in [(Memory::Intact, true), (Memory::HalfChanged, false)] {
        let poison = after_a_panic(memory);
        assert!(poison.check_write().is_err());
        assert_eq!(poison.check_read().is_ok(), readable, "{memory:?}");
    }
}

#[test]
fn a_panic_in_a_destructor_during_unwinding_ends_writing_too() {
    struct Dropped(std::sync::mpsc::Sender<bool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let poison = after_a_panic(Memory::Intact);
            self.0.send(poison.check_write().is_err()).unwrap();
        }
    }
    let (send, receive) = std::sync::mpsc::channel();
    let outer = catch_unwind(AssertUnwindSafe(|| {
        let _dropped = Dropped(send);
        resume_unwind(Box::new("planned"));
    }));
    assert!(outer.is_err());
    assert!(receive.recv().unwrap());
}

#[test]
fn an_error_ends_writing_and_a_success_does_not() {
    let poison = Poison::default();
    assert_eq!(poison.attempt("step", Memory::HalfChanged, || Ok(7)).unwrap(), 7);
    assert!(poison.check_write().is_ok());
    let failed = poison.attempt("step", Memory::HalfChanged, || Err::<(), _>(Error::Closed));
    assert!(matches!(failed, Err(Error::Poisoned { cause }) if matches!(*cause, Error::Closed)));
    assert!(poison.check_read().is_ok(), "an error does not end reading");
    let refused = poison.attempt("step", Memory::Intact, || -> Result<(), Error> {
        unreachable!("no step runs after a failure")
    });
    assert!(matches!(refused, Err(Error::Poisoned { .. })));
}
