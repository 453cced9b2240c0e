//! Values whose change panics or fails.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::Error;
use crate::intact::Intact;
use crate::testing::lock::lock;
use std::sync::Mutex;

/// Runs its closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Makes a change that panics.
fn panic_in_a_change(shared: &Mutex<Intact<u32>>) {
    let caught = catch_unwind(AssertUnwindSafe(|| {
        lock(shared).change(|value| -> Result<(), Error> {
            *value += 1;
            resume_unwind(Box::new("planned"));
        })
    }));
    assert!(caught.is_err());
}

#[test]
fn a_value_is_unreadable_after_a_panic_in_a_change_also_while_unwinding() {
    let shared = Mutex::new(Intact::new("change", 1));
    panic_in_a_change(&shared);
    assert!(matches!(lock(&shared).get(), Err(Error::Panicked { .. })));

    let shared = Mutex::new(Intact::new("change", 1));
    let outer = catch_unwind(AssertUnwindSafe(|| {
        let _unwinding = OnDrop(|| panic_in_a_change(&shared));
        resume_unwind(Box::new("planned"));
    }));
    assert!(outer.is_err());
    assert!(
        !shared.is_poisoned(),
        "the standard library does not notice the panic"
    );
    assert!(matches!(lock(&shared).get(), Err(Error::Panicked { .. })));
    assert!(lock(&shared).change(|_| Ok(())).is_err());
}

#[test]
fn a_value_is_unreadable_after_a_failed_change() {
    let mut value = Intact::new("change", 1);
    assert_eq!(value.change(|value| Ok(*value + 1)).unwrap(), 2);
    assert_eq!(*value.get().unwrap(), 1);
    assert!(matches!(
        value.change(|_| Err::<(), _>(Error::Closed)),
        Err(Error::Closed)
    ));
    assert!(value.get().is_err());
}
