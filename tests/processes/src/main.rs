//! Tests with several processes on a real disk: directories that are renamed or removed while a database is open in
//! them, forked children, copied databases, other users. Linux only.
//!
//! `cargo test --manifest-path tests/processes/Cargo.toml` runs all cases, one by one, each in a separate process with
//! one thread and an empty directory. It prints a line for each case. Arguments after `--`:
//!
//! | argument | effect |
//! |---|---|
//! | `WORD` | runs only the cases whose name contains one of the words |
//! | `--exact` | a word matches only a whole name |
//! | `--skip WORD` | leaves out the cases that the word matches |
//! | `--list` | prints the names and runs no case |
//!
//! A case fails if its process panics, leaves a child process running, or takes more than 120 s. A forked child may
//! take 30 s. The directory of a failed case is not removed. A word that matches no case is an error. Cases that need
//! another user run only as root; otherwise they print a warning.
//!
//! Tests of the directories of a database are in three places:
//!
//! - `names`, `removed`, `lock` and `parent` of this package: several processes, another user, or the working
//!   directory;
//!   renamed, switched and removed directories on a real disk, under each policy and for each call.
//! - `src/db/tests/directory.rs`: directories that are accessed by path or cannot be locked, and the disk operations of
//!   a
//!   database. These tests need more than the public API.
//! - `tests/worst_day/directories.rs`: directories that are missing or wrong at open, and parts that are moved or
//!   removed,
//!   in one process.
#![allow(
    clippy::disallowed_methods,
    reason = "tests look at files from outside, measure time and start threads"
)]

#[path = "../../../src/testing/lab/command_line.rs"]
mod command_line;
mod daemon;
mod fork;
mod fork_threads;
mod histories;
mod lock;
mod names;
mod parent;
mod processes;
mod removed;
mod rot;
mod runner;
mod setup;
mod sys;
#[path = "../../../src/testing/temp_dir.rs"]
mod temp_dir;
#[path = "../../../src/testing/text.rs"]
mod text;

use std::process::ExitCode;

fn main() -> ExitCode {
    let topics = [
        names::CASES,
        removed::CASES,
        lock::CASES,
        fork::CASES,
        fork_threads::CASES,
        daemon::CASES,
        histories::CASES,
        rot::CASES,
        parent::CASES,
    ];
    let cases: Vec<_> = topics.into_iter().flatten().collect();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [runner::CASE, name, dir] => runner::run_here(&cases, name, dir.as_ref()),
        [processes::RECORD, dir, first, len] => processes::main(dir.as_ref(), first, len),
        _ => runner::run_all(&cases),
    }
}
