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

use std::path::Path;

use super::Conformance;
use super::lab::DynEngine;
use super::steps::{MarkedWrite, WriteShape};
use crate::Error;
use crate::testing::process::ChildSide;
use crate::testing::text::error_chain;

/// The beginning of the orders of such a child. The engine's name follows.
pub(super) const ROLE: &str = "conformance ";

/// Serves the parent if this process is the child of a check of this engine. It does not return then.
pub(super) fn serve_if_asked(conformance: &Conformance) {
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
                // The one that is open goes first: an engine may lock its directory.
                drop(engine.take());
                let opened = (conformance.open)(Path::new(rest));
                say_result(&opened);
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
            (Some(index), Some(shape)) => say_result(&MarkedWrite::new(index, shape).run(engine.as_ref())),
            _ => ChildSide::answer("failed there is no such write"),
        },
        "stream" => {
            for index in index().unwrap_or(0)..index().unwrap_or(0) {
                say_result(&MarkedWrite::small(index).run(engine.as_ref()));
            }
        }
        "flush" => say_result(&engine.flush()),
        "close" => say_result(&engine.close()),
        _ => ChildSide::answer(&format!("failed the command {command:?} is unknown")),
    }
}

fn say_result<T>(result: &Result<T, Error>) {
    match result {
        Ok(_) => ChildSide::answer("done"),
        Err(error) => ChildSide::answer(&format!("failed {}", error_chain(error))),
    }
}
