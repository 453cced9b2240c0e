//! Runs of the program `schedules`.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The beginning of a replay line.
const LINE: &str = "tidaldb-schedule:";
/// The beginning of the failure of a line that does not fit the engine.
const DOES_NOT_FIT: &str = "never reached:";
/// A replay takes less than a second.
const REPLAY_LIMIT: Duration = Duration::from_secs(60);

/// The result of an exploration up to its first finding.
#[derive(Debug)]
pub(crate) struct Exploration {
    /// The number of schedules of the programs that were explored.
    pub(crate) schedules: u64,
    /// `None` if no schedule failed.
    pub(crate) finding: Option<PrintedFinding>,
}

#[derive(Debug)]
pub(crate) struct PrintedFinding {
    /// The kind and the beginning of the message.
    pub(crate) failure: String,
    /// The line that replays the schedule.
    pub(crate) line: String,
}

impl PrintedFinding {
    /// The finding in an output of the program; `None` without one.
    fn of(output: &str) -> Option<Self> {
        let lines: Vec<&str> = output.lines().collect();
        let line = lines.iter().position(|line| line.starts_with(LINE))?;
        // The lines before it are the message, and without a replay also the counts of the program.
        let counts = lines[..line]
            .iter()
            .position(|line| line.ends_with(": 1 finding"));
        let failure = lines.get(counts.map_or(0, |counts| counts + 1))?;
        Some(Self {
            failure: (*failure).to_owned(),
            line: lines[line].to_owned(),
        })
    }

    pub(crate) fn kind(&self) -> &str {
        let mut parts = self.failure.splitn(3, ": ");
        let kind = parts.next().unwrap_or_default();
        match parts.next() {
            // The next part is the kind of hang.
            Some(hang) if kind == "hang" => hang,
            _ => kind,
        }
    }
}

/// Explores the standard programs until the first finding, at most for `time`.
///
/// # Errors
/// The reason for which the program did not run or its output is not legal.
pub(crate) fn explore(program: &Path, workers: usize, time: Duration) -> Result<Exploration, String> {
    let mut command = Command::new(program);
    command.args(["pairs", "listed", "--first"]);
    command.arg(format!("--workers={workers}"));
    command.arg(format!("--minutes={}", time.as_secs_f64() / 60.0));
    // The program starts no exploration after `time`. One that runs then may take long.
    let output = output_of(command, time + Duration::from_secs(5)).map_err(|error| error.to_string())?;
    let Some(output) = output else {
        return Ok(Exploration {
            schedules: 0,
            finding: None,
        });
    };
    let sums = output.lines().last().unwrap_or_default();
    let before = sums.split(" schedules, ").next().unwrap_or_default();
    let schedules = before.rsplit(' ').next().and_then(|number| number.parse().ok());
    Ok(Exploration {
        schedules: schedules.ok_or_else(|| format!("the program ended with the output {sums:?}"))?,
        finding: PrintedFinding::of(&output),
    })
}

/// Runs the schedule of `line`. Returns its finding; `None` if the schedule does not fail or does not fit the engine.
///
/// # Errors
/// The reason for which the program did not run.
pub(crate) fn replay(program: &Path, line: &str) -> Result<Option<PrintedFinding>, String> {
    let mut command = Command::new(program);
    command.args(["--replay", line]);
    let output = output_of(command, REPLAY_LIMIT).map_err(|error| error.to_string())?;
    let output = output.ok_or("the replay has no end")?;
    if output.starts_with("no finding: ") || output.starts_with(DOES_NOT_FIT) {
        return Ok(None);
    }
    let finding = PrintedFinding::of(&output);
    finding
        .map(Some)
        .ok_or_else(|| format!("the replay printed {output:?}"))
}

/// Runs a program, and returns its standard output. `None` if it did not end within `limit`; it is killed then.
fn output_of(mut command: Command, limit: Duration) -> io::Result<Option<String>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let (sender, output) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.read_to_string(&mut text);
        // The receiver is gone if the time is over.
        sender.send(read.map(|_| text)).unwrap_or_default();
    });
    let output = output.recv_timeout(limit);
    if output.is_err() {
        child.kill()?;
    }
    child.wait()?;
    drop(reader.join());
    output.ok().transpose()
}
