//! Runs of the program `schedules`.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The beginning of a replay line.
const LINE: &str = "tidaldb-schedule:";
/// The exit status of a replay whose line does not fit the engine.
const DOES_NOT_FIT: i32 = 2;
/// A replay takes less than a second.
const REPLAY_LIMIT: Duration = Duration::from_secs(60);
/// The program ends its sweeps after the time of an exploration. The shrinking of a finding may take this time longer.
const SHRINKING_LIMIT: Duration = Duration::from_secs(30);

/// The result of an exploration up to its first finding.
#[derive(Debug)]
pub(crate) struct Exploration {
    /// The number of schedules of the sweeps that ended.
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

/// Runs the sweeps of the sets `pairs` and `listed` until the first finding, at most for `time`.
///
/// # Errors
/// The reason for which the program did not end or its output is not legal.
pub(crate) fn explore(program: &Path, workers: usize, time: Duration) -> Result<Exploration, String> {
    let mut command = Command::new(program);
    command.args(["pairs", "listed", "--first"]);
    command.arg(format!("--workers={workers}"));
    command.arg(format!("--minutes={}", time.as_secs_f64() / 60.0));
    let (output, _) = output_of(command, time + SHRINKING_LIMIT)?;
    // The program is of the same version, so the form of its last line is known.
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
/// The reason for which the program did not end, or printed no finding.
pub(crate) fn replay(program: &Path, line: &str) -> Result<Option<PrintedFinding>, String> {
    let mut command = Command::new(program);
    command.args(["--replay", line]);
    let (output, status) = output_of(command, REPLAY_LIMIT)?;
    if status.success() || status.code() == Some(DOES_NOT_FIT) {
        return Ok(None);
    }
    let finding = PrintedFinding::of(&output);
    finding
        .map(Some)
        .ok_or_else(|| format!("the replay printed {output:?}"))
}

/// Runs a program, and returns its standard output and its exit status.
///
/// # Errors
/// The reason for which the program did not run, or the limit within which it did not end; it is killed then.
fn output_of(mut command: Command, limit: Duration) -> Result<(String, ExitStatus), String> {
    let failed = |error: io::Error| error.to_string();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdout = child.stdout.take().ok_or("the program has no output")?;
    let (sender, output) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.read_to_string(&mut text);
        // The receiver is gone if the time is over.
        sender.send(read.map(|_| text)).unwrap_or_default();
    });
    let output = output.recv_timeout(limit);
    if output.is_err() {
        child.kill().map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    drop(reader.join());
    match output {
        Ok(output) => Ok((output.map_err(failed)?, status)),
        Err(_) => Err(format!("the program did not end within {} s", limit.as_secs())),
    }
}
