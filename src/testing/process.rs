//! A child process that is told what to do in lines and answers in lines, until it is killed.
//!
//! What a process leaves behind that dies, and what it does when its files may grow no more, only a process of its own
//! shows. Owns the pipes, the threads that read them, and the limit of file sizes, by which a real disk is full for one
//! process and for as long as the test says. Invariant: every answer that the child had given when it died is heard,
//! and no child outlives its handle.
//!
//! The child itself is a program of the caller's, often the calling test again: an answer is a line of its standard
//! output that begins with a mark, as a test harness prints to the same place. It ends when its input ends.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::threads;

/// How much of what a child says in its last words is kept.
const LAST_WORDS_BYTES_MAX: usize = 4_000;

/// What becomes of a child that writes beyond its limit of file sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverLimit {
    /// A signal ends it.
    Dies,
    /// Its write is cut short, and the next one fails, as on a full disk.
    Fails,
}

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The child said nothing for this time.
    Silent(Duration),
    /// The child has ended.
    Ended {
        /// How.
        status: ExitStatus,
        /// What it said on its standard error.
        last_words: String,
    },
    /// It cannot be waited for.
    Lost(io::Error),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(time) => write!(f, "hangs: the child gave no answer in {time:?}"),
            Self::Ended { status, last_words } => {
                write!(
                    f,
                    "the child process ended ({status}); its last words: {last_words:?}"
                )
            }
            Self::Lost(_) => f.write_str("the child cannot be waited for"),
        }
    }
}

impl std::error::Error for NoAnswer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lost(error) => Some(error),
            Self::Silent(_) | Self::Ended { .. } => None,
        }
    }
}

/// A child process. Dropped, it is killed.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use tidaldb::testing::lab::process::{ChildProcess, OverLimit};
///
/// let mut command = ChildProcess::command("sh", OverLimit::Dies);
/// command.args(["-c", "while read line; do echo \"answer: $line!\"; done"]);
/// let mut child = ChildProcess::start(command, "answer: ")?;
/// child.tell("hello");
/// assert_eq!(child.answer(Duration::from_secs(60))?, "hello!");
/// let (_status, unheard) = child.kill()?;
/// assert!(unheard.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ChildProcess {
    process: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    errors: LastWords,
    listeners: Vec<JoinHandle<()>>,
    status: Option<ExitStatus>,
}

type LastWords = Arc<Mutex<VecDeque<u8>>>;

impl ChildProcess {
    /// A command that runs `program`, to be given its arguments. With [`OverLimit::Fails`] a shell ignores the signal
    /// on behalf of the program and makes way for it.
    pub fn command(program: impl AsRef<OsStr>, over_limit: OverLimit) -> Command {
        match over_limit {
            OverLimit::Dies => Command::new(program),
            OverLimit::Fails => {
                let mut command = Command::new("sh");
                command
                    .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
                    .arg(program);
                command
            }
        }
    }

    /// Starts the child, whose answers begin with `mark`.
    ///
    /// # Errors
    /// That of the operating system.
    pub fn start(mut command: Command, mark: &'static str) -> io::Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (Some(input), Some(output), Some(errors)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            unreachable!("all three were asked for as pipes");
        };
        let (answers, answering) = listen(BufReader::new(output), mark)?;
        let (errors, complaining) = keep_last_words(errors)?;
        Ok(Self {
            process,
            input,
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
        // If the child has ended, why it did is found when its answer is missing.
        writeln!(self.input, "{line}").ok();
    }

    /// The child's next answer, without the mark, for which it is given so much time.
    ///
    /// # Errors
    /// Why there is none.
    pub fn answer(&mut self, time_max: Duration) -> Result<String, NoAnswer> {
        match self.answers.recv_timeout(time_max) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => Err(NoAnswer::Silent(time_max)),
            Err(RecvTimeoutError::Disconnected) => Err(match self.end() {
                Ok(status) => NoAnswer::Ended {
                    status,
                    last_words: self.last_words(),
                },
                Err(error) => NoAnswer::Lost(error),
            }),
        }
    }

    /// What it said last on its standard error, as one line.
    pub fn last_words(&self) -> String {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let errors: Vec<u8> = errors.iter().copied().collect();
        String::from_utf8_lossy(&errors).trim().replace('\n', " | ")
    }

    /// Kills the child. Gives how it ended, which is by `SIGKILL` unless it was faster, and the answers that it had
    /// given by then and nobody has heard.
    ///
    /// # Errors
    /// That of the operating system.
    pub fn kill(mut self) -> io::Result<(ExitStatus, Vec<String>)> {
        let status = self.end()?;
        Ok((status, self.answers.iter().collect()))
    }

    /// Waits for the child's end; one that has not ended is killed. All that it said has been read then.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // It may have ended.
        self.process.kill().ok();
        let status = self.process.wait()?;
        self.status = Some(status);
        for listener in self.listeners.drain(..) {
            // A listener does not panic.
            listener.join().ok();
        }
        Ok(status)
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // Nobody is left to tell.
        self.end().ok();
    }
}

/// A thread that reads answers until the pipe ends. A last line without an end was cut short by the death.
fn listen(
    mut output: impl BufRead + Send + 'static,
    mark: &'static str,
) -> io::Result<(Receiver<String>, JoinHandle<()>)> {
    let (send, answers) = channel();
    let thread = threads::spawn("child answers", move || {
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            let text = String::from_utf8_lossy(&line);
            let answer = text.strip_suffix('\n').and_then(|line| line.strip_prefix(mark));
            if answer.is_some_and(|answer| send.send(answer.to_owned()).is_err()) {
                return;
            }
            line.clear();
        }
    })?;
    Ok((answers, thread))
}

/// A thread that reads errors until the pipe ends, and keeps the end.
fn keep_last_words(mut errors: impl Read + Send + 'static) -> io::Result<(LastWords, JoinHandle<()>)> {
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

/// A limit on the size of files that is set on a child from outside: to it, a disk that is full.
///
/// The child's hard limit stays, so that the soft one can be lifted again. A file that is longer already can be written
/// below the limit, as preallocated files can on a full disk.
#[derive(Debug)]
pub struct FileSizeLimit {
    before: String,
}

impl FileSizeLimit {
    /// Sets the limit on `child`.
    ///
    /// # Errors
    /// Why the tool that does it, `prlimit` of util-linux, does not do it here.
    pub fn set(child: &ChildProcess, bytes: u64) -> Result<Self, String> {
        let before = prlimit(child, &["--fsize", "--noheadings", "--raw", "--output", "SOFT"])?;
        prlimit(child, &[&format!("--fsize={bytes}:")])?;
        Ok(Self { before })
    }

    /// Takes it away again: there is room on the disk.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn lift(self, child: &ChildProcess) -> Result<(), String> {
        prlimit(child, &[&format!("--fsize={}:", self.before)]).map(drop)
    }

    /// Whether there is the tool that it takes.
    ///
    /// # Errors
    /// Why not.
    pub fn check_possible() -> Result<(), String> {
        match Command::new("prlimit").arg("--version").output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("`prlimit --version` ended with {}", output.status)),
            Err(error) => Err(format!(
                "there is no `prlimit` (of util-linux) to fill a disk with: {error}"
            )),
        }
    }
}

fn prlimit(child: &ChildProcess, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("prlimit")
        .args(["--pid", &child.id().to_string()])
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot run prlimit: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("prlimit does not do it here: {}", text.trim()))
}
