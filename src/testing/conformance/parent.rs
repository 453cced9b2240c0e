//! The parent's side of a child process: starts it, tells it what to do, kills it, and sees how it ended.

use std::path::Path;
use std::time::Duration;

use super::account::{Account, Promise};
use super::child::ROLE;
use super::lab::{Lab, OrFail, ensure};
use super::mirrored::scan;
use super::report::Stop;
use super::steps::Step;
use crate::testing::process::{ChildProcess, NoAnswer};

pub(super) use crate::testing::process::OverLimit;

/// A child that says nothing for so long hangs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// A child process with an engine in it. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Child {
    process: ChildProcess,
}

/// The result of a call in the child.
pub(super) type Answer = Result<(), String>;

impl Child {
    /// Starts the calling test again as a child, and waits until it is there.
    pub(super) fn start(lab: &Lab, over_limit: OverLimit) -> Result<Self, Stop> {
        let conformance = &lab.conformance;
        let Some(program) = &conformance.child else {
            return Err(Stop::Failed(
                "the calling thread has no name, so the kit cannot start the test again as a child: say \
                 `.in_test(\"the test's full name\")`"
                    .to_owned(),
            ));
        };
        let process = program
            .clone()
            .over_limit(over_limit)
            .start(&format!("{ROLE}{}", conformance.name))
            .or_fail("starting a child process")?;
        let mut child = Self { process };
        let first = child.answer("its first answer")?;
        match first.strip_prefix("other ") {
            None => ensure!(first == "ready", "the child began with {first:?}"),
            Some(other) => {
                return Err(Stop::Failed(format!(
                    "the test that is the kit's child checks {other} before {}: give each engine a test of its own",
                    conformance.name
                )));
            }
        }
        Ok(child)
    }

    /// Starts a child that opens the engine in `dir`.
    pub(super) fn opened(lab: &Lab, dir: &Path, over_limit: OverLimit) -> Result<Self, Stop> {
        let mut child = Self::start(lab, over_limit)?;
        child.open(dir)?.or_fail("opening in a child process")?;
        Ok(child)
    }

    pub(super) fn process(&self) -> &ChildProcess {
        &self.process
    }

    /// Opens the engine in `dir`, in the place of the one that is open.
    pub(super) fn open(&mut self, dir: &Path) -> Result<Answer, Stop> {
        self.tell_open(dir)?;
        self.hear("opening")
    }

    /// Says that the engine is to be opened and does not wait.
    pub(super) fn tell_open(&mut self, dir: &Path) -> Result<(), Stop> {
        let Some(dir) = dir.to_str().filter(|dir| !dir.contains('\n')) else {
            return Err(Stop::Failed(format!(
                "the path {} cannot be said in a line",
                dir.display()
            )));
        };
        self.process.tell(&format!("open {dir}"));
        Ok(())
    }

    /// Makes a write, and enters its result into `account`.
    pub(super) fn write(&mut self, step: Step, account: &mut Account) -> Result<Answer, Stop> {
        let answer = self.call(&format!("write {} {}", step.index, step.shape))?;
        account.add_result(step, &answer);
        Ok(answer)
    }

    /// Makes so many small writes, each of which must succeed.
    pub(super) fn must_write(&mut self, len: usize, account: &mut Account) -> Result<(), Stop> {
        for _ in 0..len {
            let step = Step::small(account.len());
            self.write(step.clone(), account)?.or_fail(step)?;
        }
        Ok(())
    }

    /// Says that the writes from `from` to before `to` are to be made, and does not wait.
    pub(super) fn tell_stream(&mut self, from: usize, to: usize) {
        self.process.tell(&format!("stream {from} {to}"));
    }

    /// Flushes, and enters a success into `account`.
    pub(super) fn flush(&mut self, account: &mut Account) -> Result<Answer, Stop> {
        let answer = self.call("flush")?;
        if answer.is_ok() {
            account.flushed();
        }
        Ok(answer)
    }

    /// Makes a call, `flush`, `close` or `drop`.
    pub(super) fn call(&mut self, command: &str) -> Result<Answer, Stop> {
        self.process.tell(command);
        self.hear(command)
    }

    /// The answer to a call that was told; the call is what the child is blamed for if there is none.
    pub(super) fn hear(&mut self, call: &str) -> Result<Answer, Stop> {
        let answer = self.answer(call)?;
        Self::parse(&answer).ok_or_else(|| Stop::Failed(format!("the child answered {call} with {answer:?}")))
    }

    /// The answer, if there is one in this time.
    pub(super) fn hear_within(&mut self, time: Duration) -> Option<Answer> {
        let answer = self.process.answer(time).ok()?;
        Self::parse(&answer)
    }

    fn parse(answer: &str) -> Option<Answer> {
        match answer.split_once(' ').unwrap_or((answer, "")) {
            ("done", "") => Some(Ok(())),
            ("failed", text) => Some(Err(text.to_owned())),
            _ => None,
        }
    }

    fn answer(&mut self, awaited: &str) -> Result<String, Stop> {
        self.process.answer(ANSWER_TIME_MAX).map_err(|why| {
            Stop::Failed(match why {
                NoAnswer::Silent(time) => format!("hangs: the child gave no answer to {awaited} in {time:?}"),
                NoAnswer::Ended(end) => format!("the child process ended instead of giving {awaited}: {end}"),
                NoAnswer::Lost(error) => format!("the child cannot be waited for: {error}"),
            })
        })
    }

    /// Kills the child. Returns its answers that were not read.
    pub(super) fn kill(self) -> Result<Vec<Answer>, Stop> {
        let end = self.process.kill().or_fail("killing the child")?;
        ensure!(
            end.is_killed(),
            "the child was to be killed and had ended before: {end}"
        );
        Ok(end
            .answers
            .iter()
            .filter_map(|answer| Self::parse(answer))
            .collect())
    }
}

/// Opens the engine that a child has left, in this process, and judges what is there. It must stay there from here on.
pub(super) fn settle(lab: &Lab, dir: &Path, account: &mut Account, after: &str) -> Result<(), Stop> {
    let found = lab.open(dir).and_then(|engine| scan(engine.as_ref(), b""));
    found
        .and_then(|found| {
            account
                .settle(&found, Promise::Acknowledged)
                .map_err(Stop::Failed)
        })
        .map_err(|stop| stop.map(|text| format!("after {after}: {text}")))
}
