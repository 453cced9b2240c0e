//! The child side of a check with a child process. The child is the calling test, run again. It opens the engine and
//! executes the commands of its parent until it is killed. The child writes nothing itself: after a kill only the
//! engine's files remain.
//!
//! | command of the parent | action of the child | answer |
//! |---|---|---|
//! | | starts | `ready`, or `other NAME` if the test checks another engine first |
//! | `open DIR` | drops the open engine, then opens the engine in `DIR` | `done` or `failed TEXT` |
//! | `write INDEX SHAPE` | makes this write | `done` or `failed TEXT` |
//! | `stream FROM TO` | makes these writes, one after another | `done` or `failed TEXT` for each |
//! | `flush`, `close` | flushes or closes the engine | `done` or `failed TEXT` |
//! | `drop` | drops the engine | `done` |

use std::path::Path;

use super::Conformance;
use super::context::DynEngine;
use super::writes::{MarkedWrite, WriteShape};
use crate::Error;
use crate::testing::process::ChildSide;
use crate::testing::text::error_chain;

/// The beginning of the orders of such a child. The name of the engine follows.
pub(super) const ROLE: &str = "conformance ";

/// If this process is the child of a check of this engine, serves the parent and does not return.
pub(super) fn serve_if_child(conformance: &Conformance) {
    let Some(orders) = ChildSide::orders() else {
        return;
    };
    let Some(name) = orders.strip_prefix(ROLE) else {
        return;
    };
    if name != conformance.name {
        ChildSide::answer(&format!("other {}", conformance.name));
        ChildSide::end();
    }
    ChildSide::answer("ready");
    let mut engine = None;
    while let Some(line) = ChildSide::read_line() {
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match (command, &engine) {
            ("open", _) => {
                // The open engine is dropped first, because an engine may lock its directory.
                drop(engine.take());
                let opened = (conformance.open)(Path::new(rest));
                answer_result(&opened);
                engine = opened.ok();
            }
            (_, None) => ChildSide::answer("failed the engine is not open"),
            ("drop", Some(_)) => {
                engine = None;
                ChildSide::answer("done");
            }
            (_, Some(engine)) => call(engine, command, rest),
        }
    }
    ChildSide::end();
}

fn call(engine: &DynEngine, command: &str, rest: &str) {
    let mut words = rest.split(' ');
    let mut index = || words.next().and_then(|word| word.parse::<usize>().ok());
    match command {
        "write" => match (index(), words.next().and_then(WriteShape::named)) {
            (Some(index), Some(shape)) => answer_result(&MarkedWrite::new(index, shape).run(engine.as_ref())),
            _ => ChildSide::answer("failed the write is unknown"),
        },
        "stream" => {
            for index in index().unwrap_or(0)..index().unwrap_or(0) {
                answer_result(&MarkedWrite::small(index).run(engine.as_ref()));
            }
        }
        "flush" => answer_result(&engine.flush()),
        "close" => answer_result(&engine.close()),
        _ => ChildSide::answer(&format!("failed the command {command:?} is unknown")),
    }
}

fn answer_result<T>(result: &Result<T, Error>) {
    match result {
        Ok(_) => ChildSide::answer("done"),
        Err(error) => ChildSide::answer(&format!("failed {}", error_chain(error))),
    }
}
