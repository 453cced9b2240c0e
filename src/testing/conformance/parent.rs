//! The parent side of a check with a child process: starts the child, sends commands, reads answers and kills it. After
//! a kill the files of the engine remain, and the parent opens them.

use std::path::Path;
use std::time::Duration;

use super::child::ROLE;
use super::context::{CheckContext, CheckedCall, ensure};
use super::engine_with_map::scan;
use super::report::CheckStop;
use super::write_history::{Promise, WriteHistory};
use super::writes::MarkedWrite;
use crate::testing::process::{ChildProcess, NoAnswer};

pub(super) use crate::testing::process::OverLimit;

/// A child that gives no answer for this time counts as hanging.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// A child process with an engine. A drop kills the process.
#[derive(Debug)]
pub(super) struct EngineChild {
    pub(super) process: ChildProcess,
}

/// The result of a call in the child.
pub(super) type Answer = Result<(), String>;

impl EngineChild {
    /// Starts the calling test again as a child, and waits until the child is ready.
    pub(super) fn start(context: &CheckContext, over_limit: OverLimit) -> Result<Self, CheckStop> {
        let conformance = &context.conformance;
        let no_thread_name = || {
            let text = "the calling thread has no name, so the kit cannot start the test again as a child: call \
                        `.in_test(\"the test's full name\")`";
            CheckStop::Failed(text.to_owned())
        };
        let program = conformance
            .child
            .clone()
            .ok_or_else(no_thread_name)?
            .over_limit(over_limit);
        let started = program.start(&format!("{ROLE}{}", conformance.name));
        let process = started.or_fail("starting a child process")?;
        let mut child = Self { process };
        let first = child.answer("the start")?;
        if let Some(other) = first.strip_prefix("other ") {
            return Err(CheckStop::Failed(format!(
                "the child process, which is the calling test, checks {other} before {}: give each engine its own test",
                conformance.name
            )));
        }
        ensure!(first == "ready", "the first answer of the child was {first:?}");
        Ok(child)
    }

    /// Starts a child that opens the engine in `dir`.
    pub(super) fn opened(
        context: &CheckContext,
        dir: &Path,
        over_limit: OverLimit,
    ) -> Result<Self, CheckStop> {
        let mut child = Self::start(context, over_limit)?;
        child.open(dir)?.or_fail("opening in a child process")?;
        Ok(child)
    }

    /// Drops the open engine, then opens the engine in `dir`.
    pub(super) fn open(&mut self, dir: &Path) -> Result<Answer, CheckStop> {
        self.send_open(dir)?;
        self.answer_to("opening")
    }

    /// Sends the command that opens the engine in `dir`, without waiting for the answer.
    pub(super) fn send_open(&mut self, dir: &Path) -> Result<(), CheckStop> {
        let line = dir.to_str().filter(|dir| !dir.contains('\n'));
        ensure!(
            line.is_some(),
            "the path {} is no UTF-8 or has a line break",
            dir.display()
        );
        self.process.send_line(&format!("open {}", dir.display()));
        Ok(())
    }

    /// Makes a write and adds it with its result to `history`.
    pub(super) fn write(
        &mut self,
        write: MarkedWrite,
        history: &mut WriteHistory,
    ) -> Result<Answer, CheckStop> {
        let answer = self.call(&format!("write {} {}", write.index, write.shape))?;
        history.add_result(write, &answer);
        Ok(answer)
    }

    /// Makes the next small write.
    pub(super) fn write_small(&mut self, history: &mut WriteHistory) -> Result<Answer, CheckStop> {
        self.write(MarkedWrite::small(history.len()), history)
    }

    /// Makes `len` small writes, each of which must succeed.
    pub(super) fn must_write(&mut self, len: usize, history: &mut WriteHistory) -> Result<(), CheckStop> {
        for _ in 0..len {
            let call = MarkedWrite::small(history.len());
            self.write_small(history)?.or_fail(call)?;
        }
        Ok(())
    }

    /// Flushes the engine and records a success in `history`.
    pub(super) fn flush(&mut self, history: &mut WriteHistory) -> Result<Answer, CheckStop> {
        let answer = self.call("flush")?;
        if answer.is_ok() {
            history.flushed();
        }
        Ok(answer)
    }

    /// Sends a command, for example `flush`, `close` or `drop`, and returns its answer.
    pub(super) fn call(&mut self, command: &str) -> Result<Answer, CheckStop> {
        self.process.send_line(command);
        self.answer_to(command)
    }

    /// The answer to a command that was sent. If the child gives none, the failure names `call`.
    pub(super) fn answer_to(&mut self, call: &str) -> Result<Answer, CheckStop> {
        let answer = self.answer(call)?;
        Self::parse(&answer)
            .ok_or_else(|| CheckStop::Failed(format!("the child answered {call} with {answer:?}")))
    }

    /// The answer to a command that was sent, if it comes within this time.
    pub(super) fn answer_within(&mut self, time: Duration) -> Option<Answer> {
        let answer = self.process.receive_answer(time).ok()?;
        Self::parse(&answer)
    }

    fn parse(answer: &str) -> Option<Answer> {
        match answer.split_once(' ').unwrap_or((answer, "")) {
            ("done", "") => Some(Ok(())),
            ("failed", text) => Some(Err(text.to_owned())),
            _ => None,
        }
    }

    fn answer(&mut self, awaited: &str) -> Result<String, CheckStop> {
        self.process.receive_answer(ANSWER_TIME_MAX).map_err(|error| {
            CheckStop::Failed(match error {
                NoAnswer::TimedOut(time) => {
                    format!("hangs: the child did not answer {awaited} within {time:?}")
                }
                NoAnswer::Ended(end) => {
                    format!("the child process ended before the answer to {awaited}: {end}")
                }
                NoAnswer::UnknownEnd(error) => format!("waiting for the child failed: {error}"),
            })
        })
    }

    /// Kills the child. Returns the answers that were not read before.
    pub(super) fn kill(self) -> Result<Vec<Answer>, CheckStop> {
        let end = self.process.kill().or_fail("killing the child")?;
        ensure!(end.is_killed(), "the child ended before the kill: {end}");
        let answers = end.answers.iter();
        Ok(answers.filter_map(|answer| Self::parse(answer)).collect())
    }
}

/// Opens the engine of a killed child in this process, and checks the content. Later openings must find the same
/// content.
pub(super) fn open_and_check(
    context: &CheckContext,
    dir: &Path,
    history: &mut WriteHistory,
    after: &str,
) -> Result<(), CheckStop> {
    let checked = context.open(dir).and_then(|engine| {
        let found = scan(engine.as_ref(), b"")?;
        history
            .check_reopened(&found, Promise::Acknowledged)
            .map_err(CheckStop::Failed)
    });
    checked.map_err(|stop| stop.map(|text| format!("after {after}: {text}")))
}
