//! A database in a child process. The child runs the calling test again and executes the commands of its parent until
//! it is killed.
//!
//! | command of the parent | action of the child | answer of the child |
//! |---|---|---|
//! | `open DIR` | closes the open database and opens this one | `done` or `failed TEXT` |
//! | `record I` | records event number I | `done` or `failed TEXT` |
//! | `collect I` | adds entity I to the collection | `done` or `failed TEXT` |
//! | `checkpoint`, `sync`, `close` | calls this function | `done` or `failed TEXT` |
//! | `count` | exports the state | `done N M`, with the numbers of states and of members, or `failed TEXT` |

use std::io::{Write, stderr};
use std::path::Path;
use std::time::Duration;

use tidaldb::testing::lab::process::{ChildProcess, ChildProgram, ChildSide, OverLimit};
use tidaldb::{EntityId, Error, TidalDb};

use crate::setup::{causes, options, record};

const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
const COLLECTION: &str = "saved";

/// Executes commands if this process is a child, and then does not return. Each test with children calls it first.
pub(crate) fn run_if_child() {
    if ChildSide::orders().is_none() {
        return;
    }
    ChildSide::answer("ready");
    let mut db: Option<TidalDb> = None;
    while let Some(line) = ChildSide::read_line() {
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        if command == "open" {
            // The open database is dropped first, because it holds the lock.
            drop(db.take());
            let opened = TidalDb::open(rest, options());
            answer_result(opened.as_ref().map(|_| String::new()));
            db = opened.ok();
            continue;
        }
        let Some(db) = &db else {
            ChildSide::answer("failed the database is not open");
            continue;
        };
        let result = match command {
            "record" => record(db, rest.parse().unwrap()).map(drop),
            "collect" => collect(db, EntityId(rest.parse().unwrap())),
            "checkpoint" => db.checkpoint().map(drop),
            "sync" => db.sync(),
            "close" => db.close(),
            "count" => {
                answer_result(db.export().as_ref().map(|state| {
                    let members = state.collections.iter().map(|it| it.members.len());
                    format!(" {} {}", state.signals.len(), members.sum::<usize>())
                }));
                continue;
            }
            _ => panic!("the command {line:?} is unknown"),
        };
        answer_result(result.as_ref().map(|()| String::new()));
    }
    ChildSide::end()
}

fn collect(db: &TidalDb, entity: EntityId) -> Result<(), Error> {
    if db.collections()?.is_empty() {
        db.create_collection(COLLECTION)?;
    }
    db.add_to_collection(COLLECTION, entity).map(|_| ())
}

fn answer_result(result: Result<String, &Error>) {
    match result {
        Ok(value) => ChildSide::answer(&format!("done{value}")),
        Err(error) => ChildSide::answer(&format!("failed {}", causes(error))),
    }
}

/// The parent's handle of a child. Dropping it kills the child.
pub(crate) struct DatabaseChild(ChildProcess);

impl DatabaseChild {
    /// Starts a child. Its writes beyond a limit of file sizes return an error.
    pub(crate) fn start() -> Self {
        Self::start_as(None).unwrap()
    }

    /// Starts a child, as another user if `user` is set.
    ///
    /// # Errors
    /// The reason why the child cannot be started.
    pub(crate) fn start_as(user: Option<u32>) -> Result<Self, String> {
        let program = ChildProgram::calling_test().expect("the harness names the thread");
        let mut program = program.over_limit(OverLimit::FailsWrite);
        if let Some(user) = user {
            program = program.as_user(user);
        }
        let mut process = program.start("").map_err(|error| error.to_string())?;
        match process.receive_answer(ANSWER_TIME_MAX) {
            Ok(ready) if ready == "ready" => Ok(Self(process)),
            Ok(other) => Err(format!("the first answer of the child is {other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn process(&self) -> &ChildProcess {
        &self.0
    }

    /// Sends a command and waits for the answer. Returns the text after `done`, or the message of the failed call.
    pub(crate) fn call(&mut self, line: &str) -> Result<String, String> {
        self.0.send_line(line);
        let answer = self.0.receive_answer(ANSWER_TIME_MAX);
        let answer = answer.unwrap_or_else(|error| panic!("after {line:?}: {error}"));
        match answer.split_once(' ').unwrap_or((&answer, "")) {
            ("done", value) => Ok(value.to_owned()),
            ("failed", text) => Err(text.to_owned()),
            _ => panic!("the child answered {line:?} with {answer:?}"),
        }
    }

    pub(crate) fn open(&mut self, dir: &Path) -> Result<String, String> {
        self.call(&format!("open {}", dir.display()))
    }

    pub(crate) fn record(&mut self, i: u64) -> Result<String, String> {
        self.call(&format!("record {i}"))
    }

    /// Ends the child with `SIGKILL`.
    pub(crate) fn kill(self) {
        let end = self.0.kill().unwrap();
        assert!(end.is_killed(), "{end}");
    }
}

/// Prints a warning about a test that cannot run here. It writes to standard error directly: the harness captures the
/// output of `eprintln!`.
pub(crate) fn warn(text: &str) {
    let mut stderr = stderr();
    // If standard error is closed, the warning is lost.
    stderr.write_all(format!("WARNING: {text}\n").as_bytes()).ok();
}
