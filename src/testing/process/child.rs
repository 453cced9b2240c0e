//! The child's side: takes its orders, hears lines and answers, until it is killed or its parent is gone.

use std::env;
use std::io::{self, Write};

use super::{MARK, ORDERS};

/// The exit status of a child that ends by itself.
const ORPHANED: i32 = 3;

/// The process that calls, as a child of the test kit.
#[derive(Debug)]
pub enum ChildSide {}

impl ChildSide {
    /// The orders that the parent started this process with; `None` in a process that is no child of the kit.
    ///
    /// # Panics
    /// If they are no UTF-8, which no parent sets.
    pub fn orders() -> Option<String> {
        let orders = env::var_os(ORDERS)?;
        Some(orders.into_string().expect("orders are text"))
    }

    /// Says a line to the parent, in one write: the parent gets the whole line or nothing of it, however soon this process
    /// dies. Line ends in `line` become spaces.
    ///
    /// If the parent is gone, this ends the process as [`end`](Self::end) does.
    pub fn answer(line: &str) {
        // A harness prints to the same place, and its line may have no end yet.
        let line = format!("\n{MARK}{}\n", line.replace('\n', " "));
        let mut output = io::stdout().lock();
        let written = output.write_all(line.as_bytes()).and_then(|()| output.flush());
        if written.is_err() {
            Self::end();
        }
    }

    /// Waits for the next line of the parent, without its end. `None` if the parent is gone, or has ended the input.
    pub fn hear() -> Option<String> {
        io::stdin().lines().next()?.ok()
    }

    /// Answers `line`, then waits to be killed. If the parent is gone, this ends the process as [`end`](Self::end)
    /// does.
    pub fn park(line: &str) -> ! {
        Self::answer(line);
        while Self::hear().is_some() {}
        Self::end()
    }

    /// Ends this process with exit status 3 and without any destructor: a child must not continue the test that it
    /// repeats.
    #[expect(
        clippy::disallowed_methods,
        reason = "a child must not continue the test that it repeats"
    )]
    pub fn end() -> ! {
        std::process::exit(ORPHANED)
    }
}
