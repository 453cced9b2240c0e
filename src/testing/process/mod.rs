//! Child processes of the kit. The parent sends tasks as lines and the child answers in lines, until the child ends or
//! is killed. All parts of the kit use this one protocol.
//!
//! Some tests need a separate process: a test of the files that a killed process leaves, and a test of a process whose
//! files cannot grow. The module owns the environment variable with the child's orders, the pipes, the threads that
//! read the pipes, and the limit on file sizes, which imitates a full disk for one process. Invariants: the parent
//! receives every answer that the child sent before it ended, and no child outlives its handle.
//!
//! The child runs the same program as the parent, often the calling test. An answer is a line of the child's standard
//! output that begins with a mark, because the test harness prints to the same output. Each answer is one write. A kill
//! can truncate the last line: the parent drops a last line without a line end. The child reads the end of its input
//! when its parent has ended.

mod child;
mod limit;
mod program;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use child::ChildSide;
pub use limit::FileSizeLimit;
pub use program::{ChildProgram, OverLimit};

use crate::testing::threads;

/// The environment variable with the orders of a child. The kit has no other one.
const ORDERS: &str = "TIDALDB_TESTING_CHILD";
/// The beginning of each answer.
const MARK: &str = "tidaldb-child: ";
/// The retained length of the end of a child's standard error.
const STDERR_TAIL_BYTES_MAX: usize = 4_000;

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// A child process. Dropping the handle kills the process.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use tidaldb::testing::lab::process::{ChildProgram, ChildSide};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // The same program is parent and child.
/// if let Some(orders) = ChildSide::orders() {
///     while let Some(line) = ChildSide::read_line() {
///         ChildSide::answer(&format!("{orders}, {line}!"));
///     }
///     ChildSide::end();
/// }
/// let mut child = ChildProgram::this_program([""; 0]).start("hello")?;
/// child.send_line("world");
/// assert_eq!(child.receive_answer(Duration::from_secs(60))?, "hello, world!");
/// let end = child.kill()?;
/// assert!(end.is_killed() && end.answers.is_empty(), "{end}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ChildProcess {
    process: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    errors: StderrTail,
    readers: Vec<JoinHandle<()>>,
    status: Option<ExitStatus>,
}

type StderrTail = Arc<Mutex<VecDeque<u8>>>;

/// The result of a child process that has ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct ChildEnd {
    /// The exit status.
    pub status: ExitStatus,
    /// The answers that the child sent and the parent had not received.
    pub answers: Vec<String>,
    /// The end of the child's standard error, as one line.
    pub stderr_tail: String,
}

impl ChildEnd {
    /// Returns true if `SIGKILL` ended the child.
    pub fn is_killed(&self) -> bool {
        self.status.signal() == Some(SIGKILL)
    }

    /// Returns true if the child aborted (`SIGABRT`).
    pub fn is_aborted(&self) -> bool {
        self.status.signal() == Some(SIGABRT)
    }
}

impl fmt::Display for ChildEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            status, stderr_tail, ..
        } = self;
        write!(f, "{status}; the end of its standard error: {stderr_tail:?}")
    }
}

/// The reason why the parent receives no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The child sent no answer in this time.
    TimedOut(Duration),
    /// The child has ended, and the parent has received all its answers.
    Ended(ChildEnd),
    /// The operating system returned an error instead of the child's exit status.
    UnknownEnd(io::Error),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(time) => write!(f, "hangs: the child gave no answer in {time:?}"),
            Self::Ended(end) => write!(f, "the child process ended: {end}"),
            Self::UnknownEnd(_) => f.write_str("cannot wait for the end of the child process"),
        }
    }
}

impl std::error::Error for NoAnswer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::UnknownEnd(error) => Some(error),
            Self::TimedOut(_) | Self::Ended(_) => None,
        }
    }
}

impl ChildProcess {
    /// Starts the reader threads of a child whose input and outputs are pipes.
    fn from_pipes(mut process: Child) -> io::Result<Self> {
        let (Some(input), Some(output), Some(errors)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            unreachable!("the command sets all three as pipes");
        };
        let (answers, answer_reader) = read_answers(BufReader::new(output))?;
        let (errors, stderr_reader) = read_stderr(errors)?;
        Ok(Self {
            process,
            input: Some(input),
            answers,
            errors,
            readers: vec![answer_reader, stderr_reader],
            status: None,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a line to the child and does not wait for an answer.
    pub fn send_line(&mut self, line: &str) {
        if let Some(input) = &mut self.input {
            // If the child has ended, `receive_answer` returns the reason.
            writeln!(input, "{line}").ok();
        }
    }

    /// Waits at most `time_max` for the child's next answer.
    ///
    /// # Errors
    /// [`NoAnswer`] if the child hangs or has ended. Answers that the child sent before its end are returned first.
    pub fn receive_answer(&mut self, time_max: Duration) -> Result<String, NoAnswer> {
        match self.answers.recv_timeout(time_max) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => Err(NoAnswer::TimedOut(time_max)),
            Err(RecvTimeoutError::Disconnected) => Err(match self.end() {
                Ok(end) => NoAnswer::Ended(end),
                Err(error) => NoAnswer::UnknownEnd(error),
            }),
        }
    }

    /// The end of the child's standard error so far, as one line.
    pub fn stderr_tail(&self) -> String {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let errors: Vec<u8> = errors.iter().copied().collect();
        String::from_utf8_lossy(&errors).trim().replace('\n', " | ")
    }

    /// Kills the child. [`ChildEnd::is_killed`] is true then, unless the child ended before.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn kill(mut self) -> io::Result<ChildEnd> {
        self.end()
    }

    /// Closes the child's input and waits until the child ends.
    ///
    /// # Errors
    /// [`NoAnswer::TimedOut`] if the child neither answers nor ends within `time_max`: this kills the child.
    /// [`NoAnswer::UnknownEnd`] if the operating system returns an error instead of the exit status.
    pub fn wait(mut self, time_max: Duration) -> Result<ChildEnd, NoAnswer> {
        self.input = None;
        let mut answers = Vec::new();
        loop {
            match self.receive_answer(time_max) {
                Ok(answer) => answers.push(answer),
                Err(NoAnswer::Ended(end)) => return Ok(ChildEnd { answers, ..end }),
                Err(reason) => return Err(reason),
            }
        }
    }

    /// Kills the child if it still runs, and waits for its end. Then the reader threads have read all of its output.
    fn end(&mut self) -> io::Result<ChildEnd> {
        let status = if let Some(status) = self.status {
            status
        } else {
            // If the child has ended, this has no effect.
            self.process.kill().ok();
            self.process.wait()?
        };
        self.status = Some(status);
        for reader in self.readers.drain(..) {
            // Reader threads do not panic.
            reader.join().ok();
        }
        Ok(ChildEnd {
            status,
            answers: self.answers.try_iter().collect(),
            stderr_tail: self.stderr_tail(),
        })
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // A destructor cannot return an error.
        self.end().ok();
    }
}

/// Starts a thread that reads answers until the pipe ends. It drops a last line without a line end, which the end of
/// the child truncated.
fn read_answers(mut output: impl BufRead + Send + 'static) -> io::Result<(Receiver<String>, JoinHandle<()>)> {
    let (send, answers) = channel();
    let thread = threads::spawn("child answers", move || {
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

/// Starts a thread that reads the standard error until the pipe ends, and retains its end.
fn read_stderr(mut errors: impl Read + Send + 'static) -> io::Result<(StderrTail, JoinHandle<()>)> {
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let shared = Arc::clone(&tail);
    let thread = threads::spawn("child errors", move || {
        let mut buffer = [0; 1024];
        while let Ok(len @ 1..) = errors.read(&mut buffer) {
            let mut tail = shared.lock().unwrap_or_else(PoisonError::into_inner);
            tail.extend(&buffer[..len]);
            let surplus = tail.len().saturating_sub(STDERR_TAIL_BYTES_MAX);
            tail.drain(..surplus);
        }
    })?;
    Ok((tail, thread))
}
