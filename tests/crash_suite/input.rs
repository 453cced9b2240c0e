//! What the databases are fed with: the kit's standard workload, or the events of a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tidaldb::testing::lab::event_file::{EventFile, schema_for, signal_names, workload_from_events};
use tidaldb::testing::oracle::{Oracle, Timeline};
use tidaldb::testing::workload::{Event, Operation, Workload, standard_schema, tiny_options};
use tidaldb::{Durability, Options, Schema};

use crate::outcome::{Checked, Failure};
use crate::plan::Input;

/// The seed of the standard workload.
pub(crate) const SEED: u64 = 0x7469_6461_6c64_6221;
/// So many of its operations run before and in the crash ...
const STANDARD_RUN_LEN: usize = 120;
/// ... and so many more after recovery.
const STANDARD_MORE_LEN: usize = 40;
/// Of the events of a file this part is left for after recovery.
const EVENTS_MORE_OF: usize = 8;
/// Calls with the events of a file hold so many, again and again.
const BATCH_SIZES: [usize; 5] = [1, 3, 1, 8, 2];
/// The sample file.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/events.csv");

static EVENTS_PATH: OnceLock<PathBuf> = OnceLock::new();

/// The states of more operations than this are not kept.
const TIMELINE_LEN_MAX: usize = 1000;

/// Operations, and the schema they are over.
#[derive(Debug)]
pub(crate) struct Operations {
    pub(crate) schema: Schema,
    pub(crate) all: Vec<Operation>,
    /// How many of them the run that crashes has; the others follow after recovery.
    pub(crate) run_len: usize,
    /// The states they lead through, shared by all cases, unless that takes too much memory.
    timeline: Option<Arc<Timeline>>,
}

impl Operations {
    fn new(schema: Schema, all: Vec<Operation>, run_len: usize) -> Self {
        let timeline = (all.len() <= TIMELINE_LEN_MAX).then(|| Timeline::new(&schema, &all));
        Self {
            schema,
            all,
            run_len,
            timeline,
        }
    }

    /// An oracle for a database that is fed with them.
    pub(crate) fn oracle(&self, durability: Durability) -> Oracle {
        match &self.timeline {
            Some(timeline) => Oracle::following(timeline, durability),
            None => Oracle::new(&self.schema, durability),
        }
    }

    /// Small options for few operations, so that each run rotates segments and makes checkpoints; larger for many, so
    /// that time stays in proportion.
    pub(crate) fn options(&self) -> Options {
        let options = tiny_options(self.schema.clone());
        let factor = (self.all.len() / 1000) as u64;
        if factor < 2 {
            return options;
        }
        options
            .segment_bytes_max(1024 * factor)
            .store_segment_bytes_max(4096 * factor)
            .checkpoint_log_bytes(8192 * factor)
    }

    /// The operations of the run that crashes.
    pub(crate) fn run(&self) -> &[Operation] {
        &self.all[..self.run_len]
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
pub(crate) fn operations(input: Input) -> Checked<&'static Operations> {
    static STANDARD: OnceLock<Operations> = OnceLock::new();
    static EVENTS: OnceLock<Checked<Operations>> = OnceLock::new();
    match input {
        Input::Standard => Ok(STANDARD.get_or_init(standard)),
        Input::Events => EVENTS
            .get_or_init(|| read_events(events_path()).map(from_events))
            .as_ref()
            .map_err(Clone::clone),
    }
}

fn standard() -> Operations {
    let mut all = Workload::standard(SEED, STANDARD_RUN_LEN + STANDARD_MORE_LEN).operations;
    // This seed has no call that must be refused.
    let refused = all.iter().enumerate().find_map(too_far_ahead);
    if let Some((index, refused)) = refused {
        all.insert(index, refused);
    }
    Operations::new(standard_schema(), all, STANDARD_RUN_LEN)
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

fn from_events(read: Read) -> Operations {
    let all = workload_from_events(read.events, &BATCH_SIZES).operations;
    let run_len = all.len() - all.len() / EVENTS_MORE_OF;
    Operations::new(read.schema, all, run_len)
}

/// What a file of events holds up to the first line that is none.
#[derive(Debug)]
struct Read {
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
fn read_events(path: &Path) -> Checked<Read> {
    let bytes =
        fs::read(path).map_err(|error| Failure::of(&format!("cannot read {}", path.display()), &error))?;
    let mut sound = &bytes[..];
    let names = signal_names(sound).or_else(|error| {
        sound = lines_before(&bytes, error.line);
        signal_names(sound)
    });
    let names = names.map_err(|error| Failure::of("reading the names of the signals", &error))?;
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
    Ok(Read {
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
pub(crate) fn accept_events(path: &Path) -> Checked<Option<String>> {
    // Children run elsewhere for all that is known.
    let path = std::path::absolute(path)
        .map_err(|error| Failure::of(&format!("cannot find {}", path.display()), &error))?;
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
        return Err(Failure::new(reason));
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
