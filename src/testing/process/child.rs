//! The child's side of the protocol: reads the orders and the lines of the parent, and sends answers.
//!
//! Invariants: each answer is one write, and the parent drops a line without a line end. So after a kill the parent has
//! the whole answer or nothing. A child whose parent has ended ends too.

use std::env;
use std::io::{self, Write};

use super::{MARK, ORDERS};

/// The exit status of [`ChildSide::end`].
const END_STATUS: i32 = 3;

/// The functions of a process that the test kit started as a child.
#[derive(Debug)]
pub enum ChildSide {}

impl ChildSide {
    /// The orders that the parent passed to this process. `None` if this process is not a child of the kit.
    ///
    /// # Panics
    /// If the orders are not UTF-8. No parent sets such orders.
    pub fn orders() -> Option<String> {
        let orders = env::var_os(ORDERS)?;
        Some(orders.into_string().expect("orders are text"))
    }

    /// Sends an answer to the parent, in one write. If this process ends during the call, the parent receives the whole
    /// line or nothing. Line ends in `line` become spaces.
    ///
    /// If the parent has ended, this ends the process as [`end`](Self::end) does.
    pub fn answer(line: &str) {
        // The test harness prints to the same output, and its last line may have no line end yet.
        let line = format!("\n{MARK}{}\n", line.replace('\n', " "));
        let mut output = io::stdout().lock();
        let written = output.write_all(line.as_bytes()).and_then(|()| output.flush());
        if written.is_err() {
            Self::end();
        }
    }

    /// Waits for the next line of the parent and returns it without its line end. `None` if the parent has ended or has
    /// closed the input.
    pub fn read_line() -> Option<String> {
        io::stdin().lines().next()?.ok()
    }

    /// Sends the answer `line`, then waits to be killed. If the parent ends, this ends the process as
    /// [`end`](Self::end) does.
    pub fn park(line: &str) -> ! {
        Self::answer(line);
        while Self::read_line().is_some() {}
        Self::end()
    }

    /// Ends this process with exit status 3. No destructor runs: a child must not continue the test that its parent
    /// runs.
    #[expect(
        clippy::disallowed_methods,
        reason = "a child must not continue the test that its parent runs"
    )]
    pub fn end() -> ! {
        std::process::exit(END_STATUS)
    }
}
