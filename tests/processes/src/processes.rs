//! Other processes: forked children, and programs that open a database in a process that has nothing to do with the case.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread::park;
use std::time::Duration;

use tidaldb::{Error, TidalDb};

use crate::setup::{event, options, text};
use crate::sys;

/// A forked child that has not ended after this time hangs. They take a few milliseconds.
const CHILD_LIMIT: Duration = Duration::from_secs(30);

/// The first argument of a process that opens a database and records: directory, first entity and length follow.
pub(crate) const RECORD: &str = "--record";

/// A child of this process.
#[derive(Debug)]
pub(crate) struct Forked {
    pid: i32,
    said: BufReader<PipeReader>,
}

/// How a child tells its parent a line.
#[derive(Debug)]
pub(crate) struct Parent(PipeWriter);

impl Parent {
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.0, "{line}").expect("the parent listens");
    }
}

impl Forked {
    /// Forks a child that runs `body`. It ends without running any destructor of the parent's values.
    pub(crate) fn start(body: impl FnOnce(&mut Parent)) -> Self {
        let (said, mut parent) = pipe().map(|(said, told)| (said, Parent(told))).expect("a pipe");
        let Some(pid) = sys::fork() else {
            let ended = catch_unwind(AssertUnwindSafe(|| body(&mut parent)));
            sys::exit_at_once(if ended.is_ok() { 0 } else { 101 });
        };
        Self {
            pid,
            said: BufReader::new(said),
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// The next line that the child tells.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("the pipe of a child");
        assert!(line.ends_with('\n'), "child {} ended before it told", self.pid);
        line.trim_end().to_owned()
    }

    /// Waits for the end of the child; gives the lines that are left. It must not hang, panic or be killed.
    pub(crate) fn end(mut self) -> String {
        let Some(status) = sys::wait(self.pid, CHILD_LIMIT) else {
            self.kill();
            panic!("the child hangs: not ended after {CHILD_LIMIT:?}");
        };
        assert_eq!(status, 0, "the status of child {}", self.pid);
        let mut lines = String::new();
        self.said.read_to_string(&mut lines).expect("the pipe of a child");
        lines.trim_end().to_owned()
    }

    /// The child forked in its turn and exits: from now on this is its child `pid`.
    pub(crate) fn follow(&mut self, pid: i32) {
        let status = sys::wait(self.pid, CHILD_LIMIT);
        assert_eq!(status, Some(0), "the status of child {}", self.pid);
        self.pid = pid;
    }

    /// Kills the child and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        kill(self.pid);
    }
}

/// Kills a child of this process, or an orphan that it adopted, and waits until it is gone.
pub(crate) fn kill(pid: i32) {
    sys::kill(pid);
    assert!(
        sys::wait(pid, CHILD_LIMIT).is_some(),
        "process {pid} survives SIGKILL"
    );
}

/// Does nothing until the process is killed.
pub(crate) fn park_for_ever() -> ! {
    loop {
        park();
    }
}

/// Opens the database in a process of its own, not a forked one, and records events there. Gives how many were
/// acknowledged, or `Err` if the open was refused with `Locked`.
pub(crate) fn record_elsewhere(dir: &Path, entities: Range<u64>) -> Result<u64, String> {
    let output = Command::new(std::env::current_exe().expect("the path of this program"))
        .arg(RECORD)
        .arg(dir)
        .arg(entities.start.to_string())
        .arg((entities.end - entities.start).to_string())
        .output()
        .expect("another process");
    let said = String::from_utf8_lossy(&output.stdout);
    match said.trim().split_once(' ') {
        Some(("acknowledged", len)) => Ok(len.parse().expect("a number")),
        Some(("locked", error)) => Err(error.to_owned()),
        _ => panic!(
            "another process: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

/// The process of [`record_elsewhere`].
pub(crate) fn main(dir: &Path, first: &str, len: &str) -> ExitCode {
    let (first, len): (u64, u64) = (first.parse().expect("a number"), len.parse().expect("a number"));
    match TidalDb::open(dir, options()) {
        Ok(db) => {
            let acknowledged = (first..first + len).take_while(|entity| db.record(&event(*entity)).is_ok());
            println!("acknowledged {}", acknowledged.count());
        }
        Err(error @ Error::Locked { .. }) => println!("locked {}", text(&error)),
        Err(error) => println!("failed: {}", text(&error)),
    }
    ExitCode::SUCCESS
}
