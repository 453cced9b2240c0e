//! The start of a child process: a shell sets limits and signals, then replaces itself with the program (`exec`).
//!
//! Invariant: the child has the limits before its first instruction.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::{ChildProcess, ORDERS};

/// The effect on the child of a write beyond the limit on file sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OverLimit {
    /// The signal `SIGXFSZ` ends the child.
    #[default]
    EndsProcess,
    /// The write writes only the bytes below the limit, and the next write fails, as on a full disk.
    FailsWrite,
}

/// The command that starts this program again as a child process.
///
/// The child writes no core dump. It prints no backtrace: a backtrace would push the message of a panic out of the
/// retained end of the standard error.
#[derive(Debug, Clone)]
pub struct ChildProgram {
    arguments: Vec<OsString>,
    over_limit: OverLimit,
    memory_bytes_max: Option<u64>,
    user: Option<u32>,
}

impl ChildProgram {
    /// This program with other arguments.
    pub fn this_program<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self {
            arguments: arguments.into_iter().map(Into::into).collect(),
            over_limit: OverLimit::default(),
            memory_bytes_max: None,
            user: None,
        }
    }

    /// This test binary, which runs one test only. Parent and child run the same test function, so the test begins with
    /// a call of [`ChildSide::orders`](super::ChildSide::orders).
    ///
    /// `full_name` is the path of the test with its crate: `concat!(module_path!(), "::name_of_the_test")`. The test
    /// harness uses the path without the crate.
    pub fn this_test(full_name: &str) -> Self {
        let name = full_name.split_once("::").map_or(full_name, |(_, name)| name);
        Self::named_test(name)
    }

    /// Like [`this_test`](Self::this_test), for the test of the calling thread: the test harness names the thread after
    /// the test. `None` on a thread without a name and on the main thread.
    pub fn calling_test() -> Option<Self> {
        let thread = std::thread::current();
        thread.name().filter(|name| *name != "main").map(Self::named_test)
    }

    /// Like [`this_test`](Self::this_test), with the name that the test harness lists.
    pub fn named_test(name: &str) -> Self {
        Self::this_program([name, "--exact", "--nocapture", "--include-ignored"])
    }

    /// Sets the effect of a write beyond the limit on file sizes. See [`FileSizeLimit`](super::FileSizeLimit).
    #[must_use]
    pub fn over_limit(mut self, over_limit: OverLimit) -> Self {
        self.over_limit = over_limit;
        self
    }

    /// Limits the address space of the child to `bytes`, rounded down to KiB. An allocation beyond the limit fails.
    #[must_use]
    pub fn memory_bytes_max(mut self, bytes: u64) -> Self {
        self.memory_bytes_max = Some(bytes);
        self
    }

    /// Runs the child with this number as user id and as group id. Only root may do this.
    #[must_use]
    pub fn as_user(mut self, id: u32) -> Self {
        self.user = Some(id);
        self
    }

    /// Starts the child. In the child, [`ChildSide::orders`](super::ChildSide::orders) returns `orders`, a text without
    /// a zero byte.
    ///
    /// Begin the orders with a word that only this caller uses: a test with several kinds of children receives the
    /// orders of all of them.
    ///
    /// # Errors
    /// The error of the operating system if it cannot start the program or `sh`.
    pub fn start(&self, orders: &str) -> io::Result<ChildProcess> {
        let mut command = Command::new("sh");
        command
            .args(["-c", &self.script()])
            .arg(env::current_exe()?)
            .args(&self.arguments)
            .env(ORDERS, orders)
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(id) = self.user {
            command.uid(id).gid(id);
        }
        let child = command.spawn().map_err(|error| {
            let message = format!("cannot start `sh`, which starts the child process: {error}");
            io::Error::new(error.kind(), message)
        })?;
        ChildProcess::from_pipes(child)
    }

    /// The script of the shell: sets limits and signals, which the standard library cannot set, then runs the program.
    fn script(&self) -> String {
        let mut steps = vec!["ulimit -S -c 0".to_owned()];
        steps.extend(
            self.memory_bytes_max
                .map(|bytes| format!("ulimit -v {}", bytes >> 10)),
        );
        if self.over_limit == OverLimit::FailsWrite {
            steps.push("trap '' XFSZ".to_owned());
        }
        steps.push(r#"exec "$0" "$@""#.to_owned());
        steps.join(" && ")
    }
}
