//! A database in a child process: the calling test, run again, does what its parent says until it is killed.
//!
//! | the parent says | the child does | and answers |
//! |---|---|---|
//! | `open DIR` | opens the database, in the place of the one that is open | `done` or `failed TEXT` |
//! | `record I` | records event number I | `done` or `failed TEXT` |
//! | `collect I` | adds entity I to the collection | `done` or `failed TEXT` |
//! | `checkpoint`, `sync`, `close` | calls that | `done` or `failed TEXT` |
//! | `count` | exports the state | `done N M`, the numbers of states and of members, or `failed TEXT` |

use std::io::{Write, stderr};
use std::path::Path;
use std::time::Duration;

use tidaldb::testing::lab::process::{ChildProcess, ChildProgram, ChildSide, OverLimit};
use tidaldb::{EntityId, Error, TidalDb};

use crate::setup::{causes, options, record};

const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
const COLLECTION: &str = "saved";

/// To be called first in each test that has children. In a child it does not return.
pub(crate) fn serve_if_asked() {
    if ChildSide::orders().is_none() {
        return;
    }
    ChildSide::answer("ready");
    let mut db: Option<TidalDb> = None;
    while let Some(line) = ChildSide::read_line() {
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        if command == "open" {
            // The one that is open goes first: it has the lock.
            drop(db.take());
            let opened = TidalDb::open(rest, options());
            say_result(opened.as_ref().map(|_| String::new()));
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
                say_result(db.export().as_ref().map(|state| {
                    let members = state.collections.iter().map(|it| it.members.len());
                    format!(" {} {}", state.signals.len(), members.sum::<usize>())
                }));
                continue;
            }
            _ => panic!("the command {line:?} is unknown"),
        };
        say_result(result.as_ref().map(|()| String::new()));
    }
    ChildSide::end()
}

fn collect(db: &TidalDb, entity: EntityId) -> Result<(), Error> {
    if db.collections()?.is_empty() {
        db.create_collection(COLLECTION)?;
    }
    db.add_to_collection(COLLECTION, entity).map(|_| ())
}

fn say_result(result: Result<String, &Error>) {
    match result {
        Ok(value) => ChildSide::answer(&format!("done{value}")),
        Err(error) => ChildSide::answer(&format!("failed {}", causes(error))),
    }
}

/// The parent's side. Dropped, the child is killed.
pub(crate) struct DatabaseChild(ChildProcess);

impl DatabaseChild {
    /// Starts a child whose writes fail beyond the limit that is set on it.
    pub(crate) fn start() -> Self {
        Self::start_as(None).unwrap()
    }

    /// Starts a child as another user.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub(crate) fn start_as(user: Option<u32>) -> Result<Self, String> {
        let program = ChildProgram::calling_test().expect("the harness names the thread");
        let mut program = program.over_limit(OverLimit::FailsWrite);
        if let Some(user) = user {
            program = program.as_user(user);
        }
        let mut process = program.start("").map_err(|error| error.to_string())?;
        match process.receive_answer(ANSWER_TIME_MAX) {
            Ok(ready) if ready == "ready" => Ok(Self(process)),
            Ok(other) => Err(format!("the child began with {other:?}")),
            Err(why) => Err(why.to_string()),
        }
    }

    pub(crate) fn process(&self) -> &ChildProcess {
        &self.0
    }

    /// Says a line and waits for the answer: what is after `done`, or why the call failed.
    pub(crate) fn call(&mut self, line: &str) -> Result<String, String> {
        self.0.send_line(line);
        let answer = self.0.receive_answer(ANSWER_TIME_MAX);
        let answer = answer.unwrap_or_else(|why| panic!("after {line:?}: {why}"));
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

    /// Ends it by `SIGKILL`.
    pub(crate) fn kill(self) {
        let end = self.0.kill().unwrap();
        assert!(end.is_killed(), "{end}");
    }
}

/// Says what is not tested here, past the harness, which keeps what a test prints.
pub(crate) fn warn(what: &str) {
    let mut stderr = stderr();
    // A closed standard error takes no words.
    stderr.write_all(format!("WARNING: {what}\n").as_bytes()).ok();
}
