//! The parent's side of a child process: starts it, tells it what to do, kills it, and sees how it ended.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child as Process, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::child::{MARK, ROLE, VARIABLE};
use super::lab::{Lab, ensure, failed};
use super::report::Stop;
use super::steps::Step;
use crate::threads;

const SIGKILL: i32 = 9;
/// A child that says nothing for so long hangs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// How much of what a child says in its last words is kept.
const LAST_WORDS_BYTES_MAX: usize = 4_000;

/// What becomes of a child that writes beyond its limit of file sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OverLimit {
    /// A signal ends it.
    Dies,
    /// Its write fails.
    Fails,
}

/// A child process with an engine in it. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Child {
    process: Process,
    input: ChildStdin,
    answers: Receiver<String>,
    errors: LastWords,
    listeners: Vec<JoinHandle<()>>,
    status: Option<ExitStatus>,
}

type LastWords = Arc<Mutex<Vec<u8>>>;

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
        let fail = |error: std::io::Error| failed("cannot start a child process", &error);
        let program = std::env::current_exe().map_err(fail)?;
        let arguments = [
            test,
            "--exact",
            "--include-ignored",
            "--nocapture",
            "--test-threads=1",
        ]
        .map(OsStr::new);
        let mut command = match over_limit {
            OverLimit::Dies => Command::new(&program),
            OverLimit::Fails => {
                let mut command = Command::new("sh");
                command
                    .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
                    .arg(&program);
                command
            }
        };
        let mut process = command
            .args(arguments)
            .env(VARIABLE, format!("{ROLE}{}", conformance.name))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(fail)?;
        let (Some(input), Some(output), Some(errors)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            unreachable!("all three were asked for as pipes");
        };
        let (answers, answering) = listen(BufReader::new(output)).map_err(fail)?;
        let (errors, complaining) = keep_last_words(errors).map_err(fail)?;
        let mut child = Self {
            process,
            input,
            answers,
            errors,
            listeners: vec![answering, complaining],
            status: None,
        };
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

    pub(super) fn id(&self) -> u32 {
        self.process.id()
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
        self.answers
            .recv_timeout(time)
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
        // If the child has ended, why it did is found when its answer is missing.
        writeln!(self.input, "{command}").ok();
    }

    fn answer(&mut self, awaited: impl Fn() -> String) -> Result<String, Stop> {
        match self.answers.recv_timeout(ANSWER_TIME_MAX) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => Err(Stop::Failed(format!(
                "hangs: the child gave no answer to {} in {ANSWER_TIME_MAX:?}",
                awaited()
            ))),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.end()?;
                let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
                let errors = String::from_utf8_lossy(&errors).trim().replace('\n', " | ");
                Err(Stop::Failed(format!(
                    "the child process ended ({status}) instead of giving {}; its last words: {errors:?}",
                    awaited()
                )))
            }
        }
    }

    /// Kills the child, and gives the answers that it had given by then and nobody has heard.
    pub(super) fn kill(mut self) -> Result<Vec<Answer>, Stop> {
        self.process
            .kill()
            .map_err(|error| failed("cannot kill the child", &error))?;
        let status = self.end()?;
        ensure!(
            status.signal() == Some(SIGKILL),
            "the child was to be killed and had ended before: {status}"
        );
        Ok(self
            .answers
            .iter()
            .filter_map(|answer| Self::parse(&answer))
            .collect())
    }

    /// Waits for the child's end; one that has not ended is killed. All that it said has been heard then.
    fn end(&mut self) -> Result<ExitStatus, Stop> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // It may have ended.
        self.process.kill().ok();
        let status = self
            .process
            .wait()
            .map_err(|error| failed("cannot wait for the child", &error))?;
        self.status = Some(status);
        for listener in self.listeners.drain(..) {
            // A listener does not panic.
            listener.join().ok();
        }
        Ok(status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nobody is left to tell.
        self.end().ok();
    }
}

/// A thread that reads answers until the pipe ends. A last line without an end was cut short by the death.
fn listen(mut output: impl BufRead + Send + 'static) -> std::io::Result<(Receiver<String>, JoinHandle<()>)> {
    let (send, answers) = channel();
    let thread = threads::spawn("conformance answers", move || {
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            let text = String::from_utf8_lossy(&line);
            let answer = text.strip_suffix('\n').and_then(|line| line.strip_prefix(MARK));
            if answer.is_some_and(|answer| send.send(answer.to_owned()).is_err()) {
                return;
            }
            line.clear();
        }
    })?;
    Ok((answers, thread))
}

/// A thread that reads errors until the pipe ends, and keeps the beginning.
fn keep_last_words(mut errors: impl Read + Send + 'static) -> std::io::Result<(LastWords, JoinHandle<()>)> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let thread = threads::spawn("conformance errors", move || {
        let mut buffer = [0; 1024];
        while let Ok(len @ 1..) = errors.read(&mut buffer) {
            let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
            let room = LAST_WORDS_BYTES_MAX.saturating_sub(kept.len());
            kept.extend_from_slice(&buffer[..len.min(room)]);
        }
    })?;
    Ok((kept, thread))
}
