//! The parent's side of a child process: starts it, tells it what to do, kills it, and sees how it ended.

use std::path::Path;
use std::time::Duration;

use super::child::ROLE;
use super::lab::{Lab, ensure, failed};
use super::report::Stop;
use super::steps::Step;
use crate::testing::process::{ChildProcess, ChildProgram, NoAnswer};

pub(super) use crate::testing::process::OverLimit;

/// A child that says nothing for so long hangs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// A child process with an engine in it. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Child {
    process: ChildProcess,
}

/// What a call in the child gave.
pub(super) type Answer = Result<(), String>;

impl Child {
    /// Starts the calling test again as a child, and waits until it is there.
    pub(super) fn start(lab: &Lab, over_limit: OverLimit) -> Result<Self, Stop> {
        let conformance = &lab.conformance;
        let Some(test) = &conformance.test else {
            return Err(Stop::Failed(
                "the calling thread has no name, so the kit cannot start the test again as a child: say \
                 `.in_test(\"the test's full name\")`"
                    .to_owned(),
            ));
        };
        let process = ChildProgram::named_test(test)
            .over_limit(over_limit)
            .start(&format!("{ROLE}{}", conformance.name))
            .map_err(|error| failed("cannot start a child process", &error))?;
        let mut child = Self { process };
        let first = child.answer(|| "its first answer".to_owned())?;
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

    pub(super) fn process(&self) -> &ChildProcess {
        &self.process
    }

    pub(super) fn open(&mut self, dir: &Path) -> Result<Answer, Stop> {
        self.tell_open(dir)?;
        self.hear(|| "opening".to_owned())
    }

    /// Says that the engine is to be opened and does not wait.
    pub(super) fn tell_open(&mut self, dir: &Path) -> Result<(), Stop> {
        let Some(dir) = dir.to_str().filter(|dir| !dir.contains('\n')) else {
            return Err(Stop::Failed(format!(
                "the path {} cannot be said in a line",
                dir.display()
            )));
        };
        self.tell(&format!("open {dir}"));
        Ok(())
    }

    pub(super) fn write(&mut self, step: &Step) -> Result<Answer, Stop> {
        self.tell(&format!("write {} {}", step.index, step.shape));
        self.hear(|| step.to_string())
    }

    /// Says that the writes from `from` to before `to` are to be made, and does not wait.
    pub(super) fn tell_stream(&mut self, from: usize, to: usize) {
        self.tell(&format!("stream {from} {to}"));
    }

    pub(super) fn flush(&mut self) -> Result<Answer, Stop> {
        self.tell("flush");
        self.hear(|| "a flush".to_owned())
    }

    pub(super) fn drop_engine(&mut self) -> Result<Answer, Stop> {
        self.tell("drop");
        self.hear(|| "dropping".to_owned())
    }

    pub(super) fn close(&mut self) -> Result<Answer, Stop> {
        self.tell("close");
        self.hear(|| "closing".to_owned())
    }

    /// The answer to a call that was told; the call is what the child is blamed for if there is none.
    pub(super) fn hear(&mut self, call: impl Fn() -> String) -> Result<Answer, Stop> {
        let answer = self.answer(&call)?;
        Self::parse(&answer)
            .ok_or_else(|| Stop::Failed(format!("the child answered {} with {answer:?}", call())))
    }

    /// The answer, if there is one in this time.
    pub(super) fn hear_within(&mut self, time: Duration) -> Option<Answer> {
        self.process
            .answer(time)
            .ok()
            .and_then(|answer| Self::parse(&answer))
    }

    fn parse(answer: &str) -> Option<Answer> {
        match answer.split_once(' ').unwrap_or((answer, "")) {
            ("done", "") => Some(Ok(())),
            ("failed", text) => Some(Err(text.to_owned())),
            _ => None,
        }
    }

    fn tell(&mut self, command: &str) {
        self.process.tell(command);
    }

    fn answer(&mut self, awaited: impl Fn() -> String) -> Result<String, Stop> {
        self.process.answer(ANSWER_TIME_MAX).map_err(|why| match why {
            NoAnswer::Silent(time) => Stop::Failed(format!(
                "hangs: the child gave no answer to {} in {time:?}",
                awaited()
            )),
            NoAnswer::Ended(end) => Stop::Failed(format!(
                "the child process ended instead of giving {}: {end}",
                awaited()
            )),
            NoAnswer::Lost(error) => failed("cannot wait for the child", &error),
        })
    }

    /// Kills the child. Returns its answers that were not read.
    pub(super) fn kill(self) -> Result<Vec<Answer>, Stop> {
        let end = self
            .process
            .kill()
            .map_err(|error| failed("cannot kill the child", &error))?;
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
