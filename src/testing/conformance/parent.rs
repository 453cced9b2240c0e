//! The parent's side of a child process: starts it, tells it what to do, kills it, and sees how it ended.

use std::path::Path;
use std::time::Duration;

use super::account::{Promise, WriteAccount};
use super::child::ROLE;
use super::lab::{Lab, OrFail, ensure};
use super::mirrored::scan;
use super::report::CheckStop;
use super::steps::MarkedWrite;
use crate::testing::process::{ChildProcess, NoAnswer};

pub(super) use crate::testing::process::OverLimit;

/// A child that says nothing for so long hangs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// A child process with an engine in it. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct EngineChild {
    pub(super) process: ChildProcess,
}

/// The result of a call in the child.
pub(super) type Answer = Result<(), String>;

impl EngineChild {
    /// Starts the calling test again as a child, and waits until it is there.
    pub(super) fn start(lab: &Lab, over_limit: OverLimit) -> Result<Self, CheckStop> {
        let conformance = &lab.conformance;
        let nameless = || {
            let text = "the calling thread has no name, so the kit cannot start the test again as a child: say \
                        `.in_test(\"the test's full name\")`";
            CheckStop::Failed(text.to_owned())
        };
        let program = conformance
            .child
            .clone()
            .ok_or_else(nameless)?
            .over_limit(over_limit);
        let started = program.start(&format!("{ROLE}{}", conformance.name));
        let process = started.or_fail("starting a child process")?;
        let mut child = Self { process };
        let first = child.answer("its first answer")?;
        if let Some(other) = first.strip_prefix("other ") {
            return Err(CheckStop::Failed(format!(
                "the test that is the kit's child checks {other} before {}: give each engine a test of its own",
                conformance.name
            )));
        }
        ensure!(first == "ready", "the child began with {first:?}");
        Ok(child)
    }

    /// Starts a child that opens the engine in `dir`.
    pub(super) fn opened(lab: &Lab, dir: &Path, over_limit: OverLimit) -> Result<Self, CheckStop> {
        let mut child = Self::start(lab, over_limit)?;
        child.open(dir)?.or_fail("opening in a child process")?;
        Ok(child)
    }

    /// Opens the engine in `dir`, in the place of the one that is open.
    pub(super) fn open(&mut self, dir: &Path) -> Result<Answer, CheckStop> {
        self.tell_open(dir)?;
        self.hear("opening")
    }

    /// Says that the engine is to be opened and does not wait.
    pub(super) fn tell_open(&mut self, dir: &Path) -> Result<(), CheckStop> {
        let line = dir.to_str().filter(|dir| !dir.contains('\n'));
        ensure!(
            line.is_some(),
            "the path {} cannot be said in a line",
            dir.display()
        );
        self.process.send_line(&format!("open {}", dir.display()));
        Ok(())
    }

    /// Makes a write, and enters its result into `account`.
    pub(super) fn write(
        &mut self,
        step: MarkedWrite,
        account: &mut WriteAccount,
    ) -> Result<Answer, CheckStop> {
        let answer = self.call(&format!("write {} {}", step.index, step.shape))?;
        account.add_result(step, &answer);
        Ok(answer)
    }

    /// Makes the next small write.
    pub(super) fn write_small(&mut self, account: &mut WriteAccount) -> Result<Answer, CheckStop> {
        self.write(MarkedWrite::small(account.len()), account)
    }

    /// Makes so many small writes, each of which must succeed.
    pub(super) fn must_write(&mut self, len: usize, account: &mut WriteAccount) -> Result<(), CheckStop> {
        for _ in 0..len {
            let call = MarkedWrite::small(account.len());
            self.write_small(account)?.or_fail(call)?;
        }
        Ok(())
    }

    /// Flushes, and enters a success into `account`.
    pub(super) fn flush(&mut self, account: &mut WriteAccount) -> Result<Answer, CheckStop> {
        let answer = self.call("flush")?;
        if answer.is_ok() {
            account.flushed();
        }
        Ok(answer)
    }

    /// Makes a call, `flush`, `close` or `drop`.
    pub(super) fn call(&mut self, command: &str) -> Result<Answer, CheckStop> {
        self.process.send_line(command);
        self.hear(command)
    }

    /// The answer to a call that was told; the call is what the child is blamed for if there is none.
    pub(super) fn hear(&mut self, call: &str) -> Result<Answer, CheckStop> {
        let answer = self.answer(call)?;
        Self::parse(&answer)
            .ok_or_else(|| CheckStop::Failed(format!("the child answered {call} with {answer:?}")))
    }

    /// The answer, if there is one in this time.
    pub(super) fn hear_within(&mut self, time: Duration) -> Option<Answer> {
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
        self.process.receive_answer(ANSWER_TIME_MAX).map_err(|why| {
            CheckStop::Failed(match why {
                NoAnswer::TimedOut(time) => {
                    format!("hangs: the child gave no answer to {awaited} in {time:?}")
                }
                NoAnswer::Ended(end) => format!("the child process ended instead of giving {awaited}: {end}"),
                NoAnswer::UnknownEnd(error) => format!("the child cannot be waited for: {error}"),
            })
        })
    }

    /// Kills the child. Returns its answers that were not read.
    pub(super) fn kill(self) -> Result<Vec<Answer>, CheckStop> {
        let end = self.process.kill().or_fail("killing the child")?;
        ensure!(
            end.is_killed(),
            "the child was to be killed and had ended before: {end}"
        );
        let answers = end.answers.iter();
        Ok(answers.filter_map(|answer| Self::parse(answer)).collect())
    }
}

/// Opens the engine that a child has left, in this process, and judges the content, which must stay from here on.
pub(super) fn settle(
    lab: &Lab,
    dir: &Path,
    account: &mut WriteAccount,
    after: &str,
) -> Result<(), CheckStop> {
    let settled = lab.open(dir).and_then(|engine| {
        let found = scan(engine.as_ref(), b"")?;
        account
            .settle(&found, Promise::Acknowledged)
            .map_err(CheckStop::Failed)
    });
    settled.map_err(|stop| stop.map(|text| format!("after {after}: {text}")))
}
