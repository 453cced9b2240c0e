//! Converts errors and panics to text. It has no state.
//!
//! Tests that also run without the kit include this file by its path.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "a test that includes the file uses only some of the functions"
)]

use std::any::Any;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The message of an error and the messages of its causes, joined by colons.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// The message of a panic.
pub fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

/// Runs `body`. Converts a panic to the error `panicked: ` with the panic message.
///
/// # Errors
/// If `body` panics.
pub fn catch_as_text<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| format!("panicked: {}", panic_text(&*payload)))
}
