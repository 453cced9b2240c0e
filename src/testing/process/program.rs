//! The start of a child process: a shell sets limits and signals, then replaces itself with the program (`exec`).

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::{ChildProcess, ORDERS};

/// The effect of a write beyond the limit of file sizes on the child.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OverLimit {
    /// A signal ends it.
    #[default]
    Dies,
    /// Its write is cut short, and the next one fails, as on a full disk.
    Fails,
}

/// This program, to be started as a child process.
///
/// The child writes no core dump, and prints no backtraces, which would push the message of a panic out of the kept end
/// of its standard error.
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

    /// This test binary, run for one test alone. The child calls the test as its parent did, so the test begins with
    /// [`ChildSide::orders`](super::ChildSide::orders).
    ///
    /// `full_name` is the name of the test with that of its crate,
    /// `concat!(module_path!(), "::name_of_the_test")`; the harness names tests without the crate.
    pub fn this_test(full_name: &str) -> Self {
        let name = full_name.split_once("::").map_or(full_name, |(_, name)| name);
        Self::named_test(name)
    }

    /// As [`this_test`](Self::this_test) for the test of the calling thread, which the harness has named after the test.
    /// `None` on a thread without a name and on the main thread.
    pub fn calling_test() -> Option<Self> {
        let thread = std::thread::current();
        thread.name().filter(|name| *name != "main").map(Self::named_test)
    }

    /// As [`this_test`](Self::this_test), by the name that the harness lists.
    pub fn named_test(name: &str) -> Self {
        Self::this_program([name, "--exact", "--nocapture", "--include-ignored"])
    }

    /// The effect of a write beyond the limit of file sizes, see [`FileSizeLimit`](super::FileSizeLimit).
    #[must_use]
    pub fn over_limit(mut self, over_limit: OverLimit) -> Self {
        self.over_limit = over_limit;
        self
    }

    /// Limits the address space of the child, so that a larger allocation fails. Rounded down to KiB.
    #[must_use]
    pub fn memory_bytes_max(mut self, bytes: u64) -> Self {
        self.memory_bytes_max = Some(bytes);
        self
    }

    /// Runs the child as this user and group. Needs the rights of root.
    #[must_use]
    pub fn as_user(mut self, id: u32) -> Self {
        self.user = Some(id);
        self
    }

    /// Starts the child with `orders`, any text without a zero byte, which its
    /// [`ChildSide::orders`](super::ChildSide::orders) returns.
    ///
    /// Orders begin with a word that only the caller uses: a test that has several kinds of children meets the orders of all of
    /// them.
    ///
    /// # Errors
    /// That of the operating system, if the program or `sh` cannot be started.
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
        ChildProcess::of(child)
    }

    /// The shell sets limits and signals on behalf of the program, which std cannot, and makes way for it.
    fn script(&self) -> String {
        let mut steps = vec!["ulimit -S -c 0".to_owned()];
        steps.extend(
            self.memory_bytes_max
                .map(|bytes| format!("ulimit -v {}", bytes >> 10)),
        );
        if self.over_limit == OverLimit::Fails {
            steps.push("trap '' XFSZ".to_owned());
        }
        steps.push(r#"exec "$0" "$@""#.to_owned());
        steps.join(" && ")
    }
}
