//! The operations: the kit's standard workload, or the events of a file.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tidaldb::testing::CrashSweep;
use tidaldb::testing::lab::event_file::{EventFile, schema_for, signal_names, workload_from_events};
use tidaldb::testing::workload::{Event, Operation, SessionEnd, Workload, standard_schema, tiny_options};
use tidaldb::{Options, Schema};

use crate::harness::{CaseResult, doing};

/// The seed of the standard workload.
pub(crate) const SEED: u64 = 0x7469_6461_6c64_6221;
/// The number of its operations.
const STANDARD_LEN: usize = 160;
/// Calls with the events of a file hold so many, again and again.
const BATCH_SIZES: [usize; 5] = [1, 3, 1, 8, 2];
/// The sample file.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/events.csv");

static EVENTS_PATH: OnceLock<PathBuf> = OnceLock::new();

/// The source of the operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Input {
    /// The kit's standard workload.
    Standard,
    /// The kit's standard workload in several sessions.
    Sessions,
    /// The file of events: that of the command line, or the sample.
    Events,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => write!(f, "the standard workload of seed {SEED:#x}"),
            Self::Sessions => write!(f, "the workload in sessions of seed {SEED:#x}"),
            Self::Events => write!(f, "the events of {}", events_path().display()),
        }
    }
}

/// Operations, and the schema of their events.
#[derive(Debug)]
pub(crate) struct InputOperations {
    name: &'static str,
    schema: Schema,
    pub(crate) all: Vec<Operation>,
}

impl InputOperations {
    /// A sweep of them, with small options for few operations, so that each run rotates segments and makes checkpoints,
    /// and larger options for many, so that the time stays in proportion.
    pub(crate) fn sweep(&self) -> CrashSweep {
        let operations = self.all.clone();
        let (schema, factor) = (self.schema.clone(), (self.all.len() / 1000) as u64);
        CrashSweep::named(self.name, Workload { operations }).options(move || {
            let options: Options = tiny_options(schema.clone());
            if factor < 2 {
                return options;
            }
            options
                .segment_bytes_max(1024 * factor)
                .store_segment_bytes_max(4096 * factor)
                .checkpoint_log_bytes(8192 * factor)
        })
    }
}

/// Takes the events from this file instead of the sample. To be called before [`operations`].
pub(crate) fn set_events_path(path: PathBuf) {
    // Called once, by main; a second call would be for the same path.
    EVENTS_PATH.set(path).ok();
}

/// The file that the events come from.
pub(crate) fn events_path() -> &'static Path {
    EVENTS_PATH.get_or_init(|| PathBuf::from(SAMPLE))
}

/// The operations of an input, made once in a process.
pub(crate) fn operations(input: Input) -> CaseResult<&'static InputOperations> {
    static STANDARD: OnceLock<InputOperations> = OnceLock::new();
    static SESSIONS: OnceLock<InputOperations> = OnceLock::new();
    static EVENTS: OnceLock<CaseResult<InputOperations>> = OnceLock::new();
    match input {
        Input::Sessions => Ok(SESSIONS.get_or_init(sessions)),
        Input::Standard => Ok(STANDARD.get_or_init(standard)),
        Input::Events => EVENTS
            .get_or_init(|| read_events(events_path()).map(from_events))
            .as_ref()
            .map_err(Clone::clone),
    }
}

fn standard() -> InputOperations {
    let mut all = Workload::standard(SEED, STANDARD_LEN).operations;
    // The workload of this seed has no call that must be refused.
    let refused = all.iter().enumerate().find_map(too_far_ahead);
    if let Some((index, refused)) = refused {
        all.insert(index, refused);
    }
    InputOperations {
        name: "standard",
        schema: standard_schema(),
        all,
    }
}

/// Sessions that end by a close, a drop or a kill, because real files have no power loss.
fn sessions() -> InputOperations {
    let mut all = Workload::sessions(SEED, STANDARD_LEN).operations;
    for operation in &mut all {
        if let Operation::Reopen(reopening) = operation
            && let SessionEnd::PowerLoss(_) = reopening.end
        {
            reopening.end = SessionEnd::Kill;
        }
    }
    InputOperations {
        name: "sessions",
        schema: standard_schema(),
        all,
    }
}

/// The call with its last event as far ahead of the clock as time goes, if it has events.
fn too_far_ahead((index, operation): (usize, &Operation)) -> Option<(usize, Operation)> {
    let mut refused = operation.clone();
    let Operation::Record { events, .. } = &mut refused else {
        return None;
    };
    events.last_mut()?.at_ms = i64::MAX;
    Some((index, refused))
}

fn from_events(read: ReadEvents) -> InputOperations {
    InputOperations {
        name: "events",
        all: workload_from_events(read.events, &BATCH_SIZES).operations,
        schema: read.schema,
    }
}

/// What a file of events holds up to the first line that is none.
#[derive(Debug)]
struct ReadEvents {
    events: Vec<Event>,
    /// With the signals that they name.
    schema: Schema,
    /// What is wrong with the line after them.
    refused: Option<String>,
}

/// Reads a file of events.
///
/// # Errors
/// If it cannot be read.
fn read_events(path: &Path) -> CaseResult<ReadEvents> {
    let bytes = fs::read(path).map_err(|error| doing(&format!("reading {}", path.display()), &error))?;
    let mut sound = &bytes[..];
    let names = signal_names(sound).or_else(|error| {
        sound = lines_before(&bytes, error.line);
        signal_names(sound)
    });
    let names = names.map_err(|error| doing("reading the names of the signals", &error))?;
    let schema = schema_for(&names);
    let mut events = Vec::new();
    let mut refused = None;
    for event in EventFile::parse(&bytes[..], &schema) {
        match event {
            Ok(event) => events.push(event),
            Err(error) => {
                refused = Some(error.to_string());
                break;
            }
        }
    }
    Ok(ReadEvents {
        events,
        schema,
        refused,
    })
}

/// What stands before the line of this number, which counts from 1.
fn lines_before(bytes: &[u8], line: u64) -> &[u8] {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let end = match line.checked_sub(2) {
        Some(ends_before) => ends
            .map(|(at, _)| at + 1)
            .nth(ends_before as usize)
            .unwrap_or(bytes.len()),
        None => 0,
    };
    &bytes[..end]
}

/// Takes the events of the file at `path` as the input, says how many there are, and gives what is wrong with the first
/// line that is none. The events before it are accepted.
///
/// # Errors
/// If the file cannot be opened or holds no event.
pub(crate) fn accept_events(path: &Path) -> CaseResult<Option<String>> {
    // A child may have another working directory.
    let path =
        std::path::absolute(path).map_err(|error| doing(&format!("finding {}", path.display()), &error))?;
    let read = read_events(&path)?;
    let accepted = read.events.len();
    let refused = read.refused.map(|line| {
        format!(
            "{}, {line}; the {accepted} events before it are accepted",
            path.display()
        )
    });
    if accepted == 0 {
        let reason = refused.unwrap_or_else(|| format!("{} holds no event", path.display()));
        return Err(reason);
    }
    match &refused {
        Some(refused) => eprintln!("crash suite: {refused}"),
        None => eprintln!(
            "crash suite: {accepted} events of {} are accepted",
            path.display()
        ),
    }
    set_events_path(path);
    Ok(refused)
}
