//! The parent's side of a child process: starts it, listens, kills it where it parks, and takes note of its death.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::Builder;
use std::time::Duration;

use tidaldb::testing::CrashPoint;

use crate::child::{ENVIRONMENT, Orders};
use crate::home::Home;
use crate::input;
use crate::outcome::{Checked, Failure, ensure};
use crate::plan::Death;
use crate::protocol::Line;

/// A child that has said nothing for this time hangs. Shorter than the limit of a case, so that none is left behind.
const SILENCE_LIMIT: Duration = Duration::from_secs(40);
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// What a child is to die of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sentence<'a> {
    /// The name of the case.
    pub(crate) name: &'a str,
    pub(crate) point: CrashPoint,
    pub(crate) fire_after: u64,
    pub(crate) death: Death,
}

/// Runs a child until it is dead, hands everything it said to `hear`, and checks that it died as planned.
pub(crate) fn run(
    sentence: &Sentence<'_>,
    home: &Home,
    mut hear: impl FnMut(Line) -> Checked<()>,
) -> Checked<()> {
    let errors_path = home.dir().join("stderr");
    let errors = File::create(&errors_path)
        .map_err(|error| Failure::of("cannot make a file for the child's errors", &error))?;
    let mut child = Running::start(sentence, home, errors)?;
    let mut parked = None;
    let mut ended = None;
    let listened = loop {
        match child.lines.recv_timeout(SILENCE_LIMIT) {
            Ok(line) => {
                match &line {
                    Line::Parked(at) => {
                        parked = Some(at.clone());
                        if let Err(error) = child.process.kill() {
                            break Err(Failure::of("cannot kill the child", &error));
                        }
                    }
                    Line::Ended(how) => ended = Some(how.clone()),
                    _ => {}
                }
                if let Err(failure) = hear(line) {
                    break Err(failure);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                break Err(Failure::new(format!(
                    "hangs: the child said nothing for {} s",
                    SILENCE_LIMIT.as_secs()
                )));
            }
        }
    };
    let status = child.end(listened.is_err())?;
    let errors = fs::read_to_string(&errors_path)
        .map_err(|error| Failure::of("cannot read the child's errors", &error))?;
    let because = |failure: Failure| {
        if errors.is_empty() {
            failure
        } else {
            failure.with(format!("the child's standard error: {}", errors.trim()))
        }
    };
    listened
        .and_then(|()| check_death(sentence, status, parked.as_deref(), ended.as_deref(), &errors))
        .map_err(because)
}

fn check_death(
    sentence: &Sentence<'_>,
    status: ExitStatus,
    parked: Option<&str>,
    ended: Option<&str>,
    errors: &str,
) -> Checked<()> {
    if let Some(how) = ended {
        return Err(Failure::new(format!("the child did not crash: it {how}")));
    }
    let Sentence {
        point,
        fire_after,
        death,
        ..
    } = sentence;
    let crossing = fire_after + 1;
    match death {
        Death::Sigkill => {
            let expected = format!("{point} {crossing}");
            ensure!(
                parked == Some(expected.as_str()),
                "the child parked at {parked:?}, not at {expected:?}; it ended with {status}"
            );
            ensure!(
                status.signal() == Some(SIGKILL),
                "the child was to be killed and ended with {status}"
            );
        }
        Death::Abort => {
            ensure!(
                status.signal() == Some(SIGABRT),
                "the child was to abort and ended with {status}"
            );
            let expected = format!("CrashInjector: simulated crash at {point:?} after {crossing} crossings");
            ensure!(
                errors.contains(&expected),
                "the child aborted without saying {expected:?}"
            );
        }
        Death::Panic => return Err(Failure::new("a panic needs no child")),
    }
    Ok(())
}

/// A child that is not waited for yet; dropped, it is killed.
struct Running {
    process: Child,
    lines: Receiver<Line>,
    waited: bool,
}

impl Running {
    fn start(sentence: &Sentence<'_>, home: &Home, errors: File) -> Checked<Self> {
        let fail = |error: std::io::Error| Failure::of("cannot start the child", &error);
        let program = std::env::current_exe().map_err(fail)?;
        let orders = Orders {
            name: sentence.name.to_owned(),
            dir: home.dir().to_path_buf(),
            fire_after: sentence.fire_after,
            events: input::events_path().to_path_buf(),
        };
        let mut process = Command::new(program)
            .args(orders.to_arguments())
            .env(ENVIRONMENT, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(fail)?;
        let Some(stdout) = process.stdout.take() else {
            unreachable!("standard output was asked for as a pipe");
        };
        let lines = listen(stdout).map_err(fail)?;
        Ok(Self {
            process,
            lines,
            waited: false,
        })
    }

    /// Waits for the child, which is killed before if something went wrong.
    fn end(&mut self, kill: bool) -> Checked<ExitStatus> {
        if kill {
            // It may be dead already.
            self.process.kill().ok();
        }
        let status = self
            .process
            .wait()
            .map_err(|error| Failure::of("cannot wait for the child", &error))?;
        self.waited = true;
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.waited {
            self.end(true).ok();
        }
    }
}

/// A thread that reads lines until the pipe ends. A last line without an end was cut short by the death.
fn listen(stdout: ChildStdout) -> std::io::Result<Receiver<Line>> {
    let (send, lines) = channel();
    Builder::new().name("listen".to_owned()).spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|len| len > 0) {
            let parsed = line.strip_suffix('\n').map(Line::parse);
            let told = match parsed {
                Some(Some(parsed)) => send.send(parsed),
                Some(None) => send.send(Line::Ended(format!("said {line:?}"))),
                None => return,
            };
            if told.is_err() {
                return;
            }
            line.clear();
        }
    })?;
    Ok(lines)
}
