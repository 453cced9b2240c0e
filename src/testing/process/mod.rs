//! A child process that gets its tasks as lines and answers in lines, until it ends or is killed: the one protocol
//! between the kit and its children.
//!
//! Only a process of its own shows what a process leaves behind that dies, and what it does when its files may grow no
//! more. Owns the environment variable with the child's orders, the pipes, the threads that read them, and the limit of
//! file sizes, by which a real disk is full for one process. Invariants: every answer that the child had given when it
//! died is heard, and no child outlives its handle.
//!
//! The child is this program again, often the calling test. An answer is a line of its standard output that begins with
//! a mark, since a test harness prints to the same place; each is one write, and a last line without an end, cut short
//! by the death, is dropped. The end of its input tells the child that its parent is gone.

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

use crate::threads;

/// Holds the orders of a child. The only environment variable of the kit.
const ORDERS: &str = "TIDALDB_TESTING_CHILD";
/// The beginning of each answer.
const MARK: &str = "tidaldb-child: ";
/// How much of the end of a child's standard error is kept.
const LAST_WORDS_BYTES_MAX: usize = 4_000;

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// A child process. Dropped, it is killed.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use tidaldb::testing::lab::process::{ChildProgram, ChildSide};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // The same program is parent and child.
/// if let Some(orders) = ChildSide::orders() {
///     while let Some(line) = ChildSide::hear() {
///         ChildSide::answer(&format!("{orders}, {line}!"));
///     }
///     ChildSide::end();
/// }
/// let mut child = ChildProgram::this_program([""; 0]).start("hello")?;
/// child.tell("world");
/// assert_eq!(child.answer(Duration::from_secs(60))?, "hello, world!");
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
    listeners: Vec<JoinHandle<()>>,
    status: Option<ExitStatus>,
}

type StderrTail = Arc<Mutex<VecDeque<u8>>>;

/// The end of a child process.
#[derive(Debug)]
#[non_exhaustive]
pub struct ChildEnd {
    /// The exit status.
    pub status: ExitStatus,
    /// The answers that it gave before, and that were not taken yet.
    pub answers: Vec<String>,
    /// The end of its standard error, as one line.
    pub last_words: String,
}

impl ChildEnd {
    /// Returns true if `SIGKILL` ended it.
    pub fn is_killed(&self) -> bool {
        self.status.signal() == Some(SIGKILL)
    }

    /// Returns true if it aborted.
    pub fn is_aborted(&self) -> bool {
        self.status.signal() == Some(SIGABRT)
    }
}

impl fmt::Display for ChildEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            status, last_words, ..
        } = self;
        write!(f, "{status}; its last words: {last_words:?}")
    }
}

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The child said nothing for this time.
    Silent(Duration),
    /// The child has ended, and all its answers were taken.
    Ended(ChildEnd),
    /// The operating system does not tell how the child ended.
    Lost(io::Error),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(time) => write!(f, "hangs: the child gave no answer in {time:?}"),
            Self::Ended(end) => write!(f, "the child process ended: {end}"),
            Self::Lost(_) => f.write_str("the child cannot be waited for"),
        }
    }
}

impl std::error::Error for NoAnswer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lost(error) => Some(error),
            Self::Silent(_) | Self::Ended(_) => None,
        }
    }
}

impl ChildProcess {
    /// Takes over a child whose input and outputs are pipes.
    fn of(mut process: Child) -> io::Result<Self> {
        let (Some(input), Some(output), Some(errors)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            unreachable!("all three were asked for as pipes");
        };
        let (answers, answering) = listen(BufReader::new(output))?;
        let (errors, complaining) = keep_last_words(errors)?;
        Ok(Self {
            process,
            input: Some(input),
            answers,
            errors,
            listeners: vec![answering, complaining],
            status: None,
        })
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Says a line to the child, and does not wait.
    pub fn tell(&mut self, line: &str) {
        if let Some(input) = &mut self.input {
            // If the child has ended, the missing answer tells why.
            writeln!(input, "{line}").ok();
        }
    }

    /// Waits for the child's next answer, at most `time_max`.
    ///
    /// # Errors
    /// [`NoAnswer`] if there is none: the child hangs, or it has ended. An answer from before its end comes first.
    pub fn answer(&mut self, time_max: Duration) -> Result<String, NoAnswer> {
        match self.answers.recv_timeout(time_max) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => Err(NoAnswer::Silent(time_max)),
            Err(RecvTimeoutError::Disconnected) => Err(match self.end() {
                Ok(end) => NoAnswer::Ended(end),
                Err(error) => NoAnswer::Lost(error),
            }),
        }
    }

    /// The end of its standard error so far, as one line.
    pub fn last_words(&self) -> String {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let errors: Vec<u8> = errors.iter().copied().collect();
        String::from_utf8_lossy(&errors).trim().replace('\n', " | ")
    }

    /// Kills the child: [`ChildEnd::is_killed`], unless it ended before.
    ///
    /// # Errors
    /// That of the operating system.
    pub fn kill(mut self) -> io::Result<ChildEnd> {
        self.end()
    }

    /// Ends the child's input and waits until it ends by itself.
    ///
    /// # Errors
    /// [`NoAnswer::Silent`] if it gives no answer for `time_max` and does not end either; it is killed then.
    /// [`NoAnswer::Lost`] if the operating system does not tell how it ended.
    pub fn wait(mut self, time_max: Duration) -> Result<ChildEnd, NoAnswer> {
        self.input = None;
        let mut answers = Vec::new();
        loop {
            match self.answer(time_max) {
                Ok(answer) => answers.push(answer),
                Err(NoAnswer::Ended(end)) => return Ok(ChildEnd { answers, ..end }),
                Err(why) => return Err(why),
            }
        }
    }

    /// Waits for the child's end; one that has not ended is killed. All that it said has been read then.
    fn end(&mut self) -> io::Result<ChildEnd> {
        let status = if let Some(status) = self.status {
            status
        } else {
            // It may have ended: then this changes nothing.
            self.process.kill().ok();
            self.process.wait()?
        };
        self.status = Some(status);
        for listener in self.listeners.drain(..) {
            // A listener does not panic.
            listener.join().ok();
        }
        Ok(ChildEnd {
            status,
            answers: self.answers.try_iter().collect(),
            last_words: self.last_words(),
        })
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // An error has no receiver here.
        self.end().ok();
    }
}

/// A thread that reads answers until the pipe ends. A last line without an end was cut short by the death.
fn listen(mut output: impl BufRead + Send + 'static) -> io::Result<(Receiver<String>, JoinHandle<()>)> {
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

/// A thread that reads errors until the pipe ends, and keeps the end.
fn keep_last_words(mut errors: impl Read + Send + 'static) -> io::Result<(StderrTail, JoinHandle<()>)> {
    let kept = Arc::new(Mutex::new(VecDeque::new()));
    let keep = Arc::clone(&kept);
    let thread = threads::spawn("child errors", move || {
        let mut buffer = [0; 1024];
        while let Ok(len @ 1..) = errors.read(&mut buffer) {
            let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(&buffer[..len]);
            let surplus = kept.len().saturating_sub(LAST_WORDS_BYTES_MAX);
            kept.drain(..surplus);
        }
    })?;
    Ok((kept, thread))
}
