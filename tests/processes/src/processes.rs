//! Other processes: forked children, and new processes of this program that open a database.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread::park;
use std::time::Duration;

use tidaldb::{Error, TidalDb};

use crate::setup::{error_chain, event, options};
use crate::sys;

/// A forked child that has not ended after this time hangs. It needs a few milliseconds.
const CHILD_LIMIT: Duration = Duration::from_secs(30);

/// The first argument of a process that opens a database and records events. The directory, the first entity and the
/// number of events follow.
pub(crate) const RECORD: &str = "--record";

/// A child of this process.
#[derive(Debug)]
pub(crate) struct ForkedChild {
    pub(crate) pid: i32,
    output: BufReader<PipeReader>,
}

/// The pipe from a child to its parent.
#[derive(Debug)]
pub(crate) struct ParentPipe(PipeWriter);

impl ParentPipe {
    pub(crate) fn send_line(&mut self, line: &str) {
        writeln!(self.0, "{line}").expect("the parent reads");
    }
}

impl ForkedChild {
    /// Forks a child that runs `body`. The child ends without running destructors of the parent's values.
    pub(crate) fn start(body: impl FnOnce(&mut ParentPipe)) -> Self {
        let (output, input) = pipe().expect("a pipe");
        let mut parent = ParentPipe(input);
        let Some(pid) = sys::fork() else {
            let ended = catch_unwind(AssertUnwindSafe(|| body(&mut parent)));
            sys::exit_at_once(if ended.is_ok() { 0 } else { 101 });
        };
        let output = BufReader::new(output);
        Self { pid, output }
    }

    /// The next line of the child.
    pub(crate) fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the pipe of a child");
        assert!(line.ends_with('\n'), "child {} ended without a line", self.pid);
        line.trim_end().to_owned()
    }

    /// Waits for the end of the child. The child must not hang, panic or be killed, and the caller must have read all
    /// its lines.
    pub(crate) fn end(mut self) {
        let Some(status) = sys::wait(self.pid, CHILD_LIMIT) else {
            kill(self.pid);
            panic!("the child hangs: not ended after {CHILD_LIMIT:?}");
        };
        assert_eq!(status, 0, "the status of child {}", self.pid);
        let mut rest = String::new();
        let read = self.output.read_to_string(&mut rest);
        read.expect("the pipe of a child");
        assert_eq!(rest, "", "lines of child {} that were not read", self.pid);
    }

    /// Waits for the end of a child that forked a child `pid`. From now on this value is the child `pid`.
    pub(crate) fn follow(&mut self, pid: i32) {
        let status = sys::wait(self.pid, CHILD_LIMIT);
        assert_eq!(status, Some(0), "the status of child {}", self.pid);
        self.pid = pid;
    }
}

/// Kills a child of this process, or an orphan that this process adopted, and waits for its end.
pub(crate) fn kill(pid: i32) {
    sys::kill(pid);
    assert!(
        sys::wait(pid, CHILD_LIMIT).is_some(),
        "process {pid} survives SIGKILL"
    );
}

/// The results of `body` in a forked child. The child must not hang, panic or be killed.
pub(crate) fn in_a_child<const LEN: usize>(
    body: impl FnOnce() -> [Result<(), String>; LEN],
) -> [Result<(), String>; LEN] {
    let mut child = ForkedChild::start(|parent| {
        for result in body() {
            let failure = result
                .err()
                .map(|text| format!("failed: {}", text.replace('\n', " ")));
            parent.send_line(&failure.unwrap_or_default());
        }
    });
    let results = [(); LEN].map(|()| match child.read_line() {
        line if line.is_empty() => Ok(()),
        line => Err(line),
    });
    child.end();
    results
}

/// Does nothing until the process is killed.
pub(crate) fn park_forever() -> ! {
    loop {
        park();
    }
}

/// Opens the database in a new process, which is not a forked child, and records one event for each entity. Returns the
/// number of acknowledged events, or `Err` if the open was refused with `Locked`.
pub(crate) fn record_in_another_process(dir: &Path, entities: Range<u64>) -> Result<u64, String> {
    let output = Command::new(std::env::current_exe().expect("the path of this program"))
        .arg(RECORD)
        .arg(dir)
        .arg(entities.start.to_string())
        .arg((entities.end - entities.start).to_string())
        .output()
        .expect("another process");
    let stdout = String::from_utf8_lossy(&output.stdout);
    match stdout.trim().split_once(' ') {
        Some(("acknowledged", len)) => Ok(len.parse().expect("a number")),
        Some(("locked", error)) => Err(error.to_owned()),
        _ => panic!(
            "another process: {stdout}{}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

/// The work of the process that [`record_in_another_process`] starts.
pub(crate) fn main(dir: &Path, first: &str, len: &str) -> ExitCode {
    let (first, len): (u64, u64) = (first.parse().expect("a number"), len.parse().expect("a number"));
    match TidalDb::open(dir, options()) {
        Ok(db) => {
            let acknowledged = (first..first + len).take_while(|entity| db.record(&event(*entity)).is_ok());
            println!("acknowledged {}", acknowledged.count());
        }
        Err(error @ Error::Locked { .. }) => println!("locked {}", error_chain(&error)),
        Err(error) => println!("failed: {}", error_chain(&error)),
    }
    ExitCode::SUCCESS
}
