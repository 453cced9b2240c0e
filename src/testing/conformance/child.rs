//! The child's side: the calling test, run again, opens the engine and does what its parent says until it is killed.
//!
//! | the parent says | the child does | and answers |
//! |---|---|---|
//! | | starts | `ready`, or `other NAME` if the test checks another engine first |
//! | `open DIR` | opens the engine, in the place of the one that is open | `done` or `failed TEXT` |
//! | `write INDEX SHAPE` | makes this write | `done` or `failed TEXT` |
//! | `stream FROM TO` | makes these writes, one after the other | the same, for each |
//! | `flush`, `close` | flushes or closes the engine | `done` or `failed TEXT` |
//! | `drop` | drops the engine | `done` |
//!
//! An answer is a line of its own that begins with a mark, since a test harness prints to the same place. The end of the
//! input ends the child: its parent is gone.

use std::env;
use std::io::{self, BufRead, Write};
use std::path::Path;

use super::Conformance;
use super::lab::Engine;
use super::steps::{Shape, Step};
use crate::Error;
use crate::testing::text::error_chain;

/// Set in a child process of the test kit, and nowhere else.
pub(super) const VARIABLE: &str = "TIDALDB_TESTING_CHILD";
/// What the variable's value begins with for this part of the kit. The engine's name follows.
pub(super) const ROLE: &str = "conformance ";
/// What each answer begins with.
pub(super) const MARK: &str = "tidaldb-conformance: ";

const ORPHANED: i32 = 3;
const OTHER_ENGINE: i32 = 4;

/// Serves the parent if this process is the child of a check of this engine. It does not return then.
pub(super) fn serve_if_asked(conformance: &Conformance) {
    let Ok(asked) = env::var(VARIABLE) else { return };
    let Some(name) = asked.strip_prefix(ROLE) else {
        return;
    };
    if name != conformance.name {
        say(&format!("other {}", conformance.name));
        exit(OTHER_ENGINE);
    }
    say("ready");
    let mut engine = None;
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match command {
            "open" => {
                // The one that is open goes first: an engine may lock its directory.
                drop(engine.take());
                let opened = (conformance.open)(Path::new(rest));
                say_result(&opened);
                engine = opened.ok();
            }
            "write" => {
                let mut words = rest.split(' ');
                let index = words.next().and_then(|word| word.parse().ok());
                let shape = words.next().and_then(|word| word.parse().ok());
                write(engine.as_ref(), index, shape);
            }
            "stream" => {
                let mut ends = rest.split(' ').filter_map(|word| word.parse().ok());
                for index in ends.next().unwrap_or(0)..ends.next().unwrap_or(0) {
                    write(engine.as_ref(), Some(index), Some(Shape::of(index)));
                }
            }
            "flush" => match &engine {
                Some(engine) => say_result(&engine.flush()),
                None => say("failed the engine is not open"),
            },
            "close" => match &engine {
                Some(engine) => say_result(&engine.close()),
                None => say("failed the engine is not open"),
            },
            "drop" => {
                engine = None;
                say("done");
            }
            _ => say(&format!("failed the command {line:?} is unknown")),
        }
    }
    exit(ORPHANED);
}

fn write(engine: Option<&Engine>, index: Option<usize>, shape: Option<Shape>) {
    match (engine, index, shape) {
        (Some(engine), Some(index), Some(shape)) => {
            say_result(&Step::new(index, shape).run(engine.as_ref()));
        }
        (None, ..) => say("failed the engine is not open"),
        _ => say("failed there is no such write"),
    }
}

fn say_result<T>(result: &Result<T, Error>) {
    match result {
        Ok(_) => say("done"),
        Err(error) => say(&format!("failed {}", error_chain(error).replace('\n', " "))),
    }
}

/// In one write, so that it is said wholly or not at all. The line before may have no end.
fn say(answer: &str) {
    let line = format!("\n{MARK}{answer}\n");
    let mut stdout = io::stdout().lock();
    if stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush())
        .is_err()
    {
        exit(ORPHANED);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a child must not continue the test it is a copy of"
)]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}
