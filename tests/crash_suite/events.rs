//! Cases that record the events of a file and crash at positions spread over the file.
//!
//! Only this process reads the file, and only once, so the file may be a pipe. Each call records one or more events;
//! the calls of a longer file are longer. One run makes all calls. It saves the database at up to 27 positions. It
//! saves it at up to three more for each crash point that no calls after these positions cross ([`PrefixRun`]).
//!
//! A case begins with the copy of a saved database, makes the next calls until its crash, and recovers. It compares the
//! keys, users and items that these calls can change with the naive model. It compares the hash of the other content
//! with the hash at the position. At the end of the file the run compares the whole state, once.
//!
//! When the time is over, the remaining cases are left out. So the first cases are already spread over the file, the
//! crash points and the crash modes.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tidaldb::testing::lab::TempDir;
use tidaldb::testing::lab::event_file::{FileEvents, schema_for, workload_from_events};
use tidaldb::testing::lab::process::ChildProgram;
use tidaldb::testing::plan::{CrashMode, Site};
use tidaldb::testing::sweep::{PrefixRun, SavedPrefix};
use tidaldb::testing::workload::{Event, Operation, Workload, tiny_options};
use tidaldb::testing::{CrashPoint, CrashSweep, CrossingCounts};
use tidaldb::{Options, Schema};

use crate::cases::{MODES, Occurrence, crash_on_files, finding_text, mode_name, place};
use crate::databases::Policy;
use crate::harness::{CaseResult, CaseWork, SuiteCase, step_failed};
use crate::progress::TimeBudget;

/// The first part of the names of the cases.
pub(crate) const NAME: &str = "events";
/// The number of positions of a run, without the positions for rare points: one for each combination of policy, mode
/// and crossing.
const POSITIONS_LEN: usize = 27;
/// The number of operations that a case makes after its position.
const NEXT_LEN: usize = 12;
/// The number of operations between a position and the next checkpoint.
const LEAD_LEN: usize = 8;
/// The number of cases of each crash point.
pub(crate) const ROUNDS: usize = 27;
/// The same for the sample file: one case for each crash mode.
const SAMPLE_ROUNDS: usize = 3;
/// The numbers of events of successive calls, repeated until the end. In a long file a factor multiplies all numbers
/// except 1.
const BATCH_LENS: [usize; 5] = [1, 3, 1, 8, 2];
/// The number of events of the file for which the factor of [`BATCH_LENS`] grows by 1.
const EVENTS_OF_BATCH_FACTOR: usize = 5_000;
/// The number of events of the file for which the factor of the sizes in [`options`] grows by 1. The factor keeps the
/// numbers of segments and checkpoints small.
const EVENTS_OF_SIZE_FACTOR: u64 = 2_000;
/// The share of the time after which the reading of the file ends.
const READING_SHARE: f64 = 0.4;
/// The share of the time after which the run over the file ends.
const RUN_SHARE: f64 = 0.7;
/// The sample file.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/events.csv");

/// The events of a file as calls, and the one run over all calls.
#[derive(Debug)]
pub(crate) struct EventCases {
    path: PathBuf,
    schema: Schema,
    size_factor: u64,
    operations: Vec<Operation>,
    positions: Vec<Position>,
    run: OnceLock<CaseResult<PrefixRun>>,
    /// The directory of the files that child processes read.
    files: OnceLock<TempDir>,
}

/// A position of the run, at which cases begin.
#[derive(Debug)]
struct Position {
    /// The number of operations before the position.
    index: usize,
    events_before: usize,
    /// For each crash point, true if the next operations cross it.
    crosses: [bool; CrashPoint::ALL.len()],
    start: OnceLock<CaseResult<PositionStart>>,
}

/// The common beginning of all cases of a position.
#[derive(Debug, Clone)]
struct PositionStart {
    prefix: Arc<SavedPrefix>,
    /// The file that child processes read.
    file: PathBuf,
    /// The crossings of the open, in a run without a crash.
    by_open: CrossingCounts,
    /// The crossings of the operations, in a run without a crash.
    by_work: CrossingCounts,
}

/// The cases over the sample file.
pub(crate) fn sample_cases() -> Vec<SuiteCase> {
    let read = read(Path::new(SAMPLE), |_| true);
    let read = read.unwrap_or_else(|failure| panic!("the sample file: {failure}"));
    let cases = Arc::new(EventCases::of(PathBuf::from(SAMPLE), read));
    cases
        .cases(SAMPLE_ROUNDS)
        .into_iter()
        .map(|(_, case)| case)
        .collect()
}

/// Reads the events of a file or a pipe, while `continues` returns true. `continues` gets the number of events read.
///
/// # Errors
/// If the file cannot be opened.
pub(crate) fn read(path: &Path, continues: impl FnMut(usize) -> bool) -> CaseResult<FileEvents> {
    let file =
        File::open(path).map_err(|error| step_failed(&format!("opening {}", path.display()), &error))?;
    Ok(FileEvents::read(
        BufReader::with_capacity(1 << 16, file),
        continues,
    ))
}

impl EventCases {
    /// Prepares the cases over these events. Expects at least one event.
    pub(crate) fn of(path: PathBuf, read: FileEvents) -> Self {
        let events_len = read.events.len();
        let factor = (events_len / EVENTS_OF_BATCH_FACTOR).max(1);
        let lens = BATCH_LENS.map(|len| if len == 1 { 1 } else { len * factor });
        let schema = read.schema();
        let operations = workload_from_events(read.events, &lens).operations;
        Self {
            path,
            schema,
            size_factor: (events_len as u64 / EVENTS_OF_SIZE_FACTOR).max(1),
            positions: positions(&operations),
            operations,
            run: OnceLock::new(),
            files: OnceLock::new(),
        }
    }

    /// The cases in the order in which they should run, each with the number of operations before it.
    pub(crate) fn cases(self: &Arc<Self>, rounds: usize) -> Vec<(usize, SuiteCase)> {
        let mut cases = Vec::new();
        for round in 0..rounds {
            for (number, point) in CrashPoint::ALL.into_iter().enumerate() {
                let crossing: Vec<usize> = (0..self.positions.len())
                    .filter(|&position| self.positions[position].crosses[number])
                    .collect();
                if crossing.is_empty() {
                    continue;
                }
                let position = crossing[spread(round + number, crossing.len())];
                let combination = round + number;
                let mode = MODES[combination % 3].clone();
                let policy = Policy::ALL[combination / 3 % 3];
                let occurrence = Occurrence::ALL[round / 9 % 3];
                cases.push((
                    self.positions[position].index,
                    self.case(position, point, policy, occurrence, mode),
                ));
            }
        }
        cases
    }

    fn case(
        self: &Arc<Self>,
        position: usize,
        point: CrashPoint,
        policy: Policy,
        occurrence: Occurrence,
        mode: CrashMode,
    ) -> SuiteCase {
        let (policy_name, column) = (policy.name(), mode_name(&mode));
        let before = self.positions[position].events_before;
        let name = format!(
            "{NAME}/{policy_name}/{point}/{}-after-{before}/{column}",
            occurrence.name()
        );
        let (events, case_name) = (Arc::clone(self), name.clone());
        let body = move || {
            let start = events.start(position)?;
            let crossings = start.by_work.count(point);
            if crossings == 0 {
                return Err(format!("the run never crosses {point}; {}", start.by_work));
            }
            let crossing = start.by_open.count(point) + occurrence.crossing(crossings);
            let sweep = events.sweep(&start.prefix).durability(policy.durability());
            let plan = sweep.plan().crash(Site::Point { point, crossing }, mode.clone());
            crash_on_files(&sweep, &plan, &case_name, &[start.file.into_os_string()])
        };
        SuiteCase {
            name,
            place: place(NAME, &point.to_string(), policy_name, column),
            work: CaseWork::Workload(format!("the events of {}", self.path.display())),
            body: Arc::new(body),
        }
    }

    /// The crash points without a case: no call that records events of the file crosses them.
    pub(crate) fn uncrossed_points(&self) -> Vec<CrashPoint> {
        let is_uncrossed =
            |(number, _): &(usize, CrashPoint)| !self.positions.iter().any(|it| it.crosses[*number]);
        let points = CrashPoint::ALL.into_iter().enumerate().filter(is_uncrossed);
        points.map(|(_, point)| point).collect()
    }

    /// Makes the run over the whole file, until its share of the time is over. Returns the number of operations that it
    /// made, and true if it reached the end and compared the state there.
    ///
    /// # Errors
    /// If an operation failed, or the state differs from the model.
    pub(crate) fn run(&self, budget: &TimeBudget) -> CaseResult<(usize, bool)> {
        let all = self.operations.len() as u64;
        let run = self.run.get_or_init(|| {
            self.run_while(|done| {
                budget.show("one run over the file", done as u64, all);
                !budget.is_over(RUN_SHARE)
            })
        });
        let run = run.as_ref().map_err(Clone::clone)?;
        Ok((run.operations_len, run.is_complete))
    }

    fn run_while(&self, continues: impl FnMut(usize) -> bool) -> CaseResult<PrefixRun> {
        let positions: Vec<usize> = self.positions.iter().map(|position| position.index).collect();
        let options = || options(&self.schema, self.size_factor);
        PrefixRun::of(&self.operations, &options, &positions, NEXT_LEN, continues)
            .map_err(|failure| format!("the run without a crash: {failure}"))
    }

    fn sweep(&self, prefix: &Arc<SavedPrefix>) -> CrashSweep {
        let (schema, size_factor) = (self.schema.clone(), self.size_factor);
        CrashSweep::from_prefix(NAME, prefix).options(move || options(&schema, size_factor))
    }

    /// The start of the cases of a position. The first call makes the next operations once, without a crash.
    fn start(&self, position: usize) -> CaseResult<PositionStart> {
        let Position { index, start, .. } = &self.positions[position];
        let make_start = || {
            let run = self.run.get_or_init(|| self.run_while(|_| true));
            let run = run.as_ref().map_err(Clone::clone)?;
            let mut saved = run.saved.iter();
            let Some((_, prefix)) = saved.find(|(saved, _)| saved == index) else {
                return Err(format!("the run ended before operation {index}"));
            };
            let file = self.files()?.join(index.to_string());
            fs::write(&file, self.child_text(&prefix.next))
                .map_err(|error| step_failed(&format!("writing {}", file.display()), &error))?;
            let sweep = self.sweep(prefix);
            let plan = sweep.plan().crash(Site::End, CrashMode::Kill);
            let ended = sweep.crash_on_files(&plan, &ChildProgram::this_program([""; 0]));
            let ended = ended.map_err(|finding| {
                format!(
                    "operations {index} on, without a crash: {}",
                    finding_text(&finding)
                )
            })?;
            Ok(PositionStart {
                prefix: Arc::clone(prefix),
                file,
                by_open: ended.by_open,
                by_work: ended.by_work,
            })
        };
        start.get_or_init(make_start).clone()
    }

    /// The directory of the files that child processes read.
    fn files(&self) -> CaseResult<&Path> {
        if self.files.get().is_none() {
            let dir = TempDir::try_new("events").map_err(|error| error.to_string())?;
            // If another case has created a directory in the meantime, `set` fails and that directory is used.
            self.files.set(dir).ok();
        }
        Ok(self.files.get().map_or(Path::new(""), TempDir::path))
    }

    /// The options and operations of a position as text, which [`sweep_of_child`] reads.
    fn child_text(&self, next: &Workload) -> String {
        let names = self.schema.signals().iter().map(|signal| {
            signal.name().iter().fold(String::new(), |mut digits, byte| {
                write!(digits, "{byte:02x}").ok();
                digits
            })
        });
        let names = names.collect::<Vec<_>>().join(" ");
        format!("{}\n{names}\n{next}\n", self.size_factor)
    }
}

/// The sweep of a case, in the child process of the case. `start` holds the path of the file with the operations.
pub(crate) fn sweep_of_child(policy: Policy, start: &[OsString]) -> CaseResult<CrashSweep> {
    let [file] = start else {
        return Err("the child process of a case over events needs a file".to_owned());
    };
    let text = fs::read_to_string(file)
        .map_err(|error| step_failed("reading the file of the operations", &error))?;
    let mut lines = text.lines();
    let mut line = || lines.next().ok_or("the file of the operations is too short");
    let size_factor = line()?
        .parse()
        .map_err(|error| step_failed("reading the factor", &error))?;
    let names = line()?.split(' ').map(bytes_of_hex).collect::<Option<Vec<_>>>();
    let schema = schema_for(&names.ok_or("a name is not in hexadecimal digits")?);
    let workload: Workload = line()?
        .parse()
        .map_err(|error| step_failed("reading the operations", &error))?;
    let sweep = CrashSweep::named(NAME, workload).options(move || options(&schema, size_factor));
    Ok(sweep.durability(policy.durability()))
}

fn bytes_of_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}

/// Options with small sizes for a few events, so that each run rotates segments and makes checkpoints, and larger sizes
/// for many events.
fn options(schema: &Schema, size_factor: u64) -> Options {
    tiny_options(schema.clone())
        .segment_bytes_max(1024 * size_factor)
        .store_segment_bytes_max(4096 * size_factor)
        .checkpoint_log_bytes(8192 * size_factor)
}

/// Returns true until the share of the time for reading the file is over.
pub(crate) fn is_read_in_time(budget: &TimeBudget) -> bool {
    !budget.is_over(READING_SHARE)
}

/// An index below `len`. The indices of successive numbers are spread evenly, each far from the previous ones.
fn spread(number: usize, len: usize) -> usize {
    // The fraction of the golden ratio, as 64 bits.
    let fraction = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((u128::from(fraction) * len as u128) >> 64) as usize
}

/// Positions spread evenly over the operations, each shortly before the next checkpoint if one exists. If the
/// operations after these positions never cross a crash point, the first, the middle and the last operation that cross
/// it are positions too.
fn positions(operations: &[Operation]) -> Vec<Position> {
    let crossed: Vec<_> = operations.iter().map(crossed_by).collect();
    let is_checkpoint = |operation: &Operation| *operation == Operation::Checkpoint;
    let last = operations.len().saturating_sub(NEXT_LEN);
    let mut indices: Vec<usize> = (0..POSITIONS_LEN)
        .map(|number| {
            let even = number * last / (POSITIONS_LEN - 1);
            let distance = operations[even..].iter().position(is_checkpoint);
            match distance {
                Some(distance) if number > 0 => (even + distance).saturating_sub(LEAD_LEN).min(last),
                _ => even,
            }
        })
        .collect();
    let crosses = |index: usize, number: usize| {
        let next = crossed[index..].iter().take(NEXT_LEN);
        next.clone().any(|crossed| crossed[number])
    };
    for number in 0..CrashPoint::ALL.len() {
        if !indices.iter().any(|&index| crosses(index, number)) {
            let all = (0..crossed.len()).filter(|&index| crossed[index][number]);
            let all: Vec<usize> = all.collect();
            if let (Some(first), Some(last)) = (all.first(), all.last()) {
                indices.extend([*first, all[all.len() / 2], *last]);
            }
        }
    }
    indices.sort_unstable();
    indices.dedup();
    let position = |index: usize| Position {
        index,
        events_before: operations[..index].iter().map(events_len).sum(),
        crosses: std::array::from_fn(|number| crosses(index, number)),
        start: OnceLock::new(),
    };
    indices.into_iter().map(position).collect()
}

fn events_len(operation: &Operation) -> usize {
    match operation {
        Operation::Record { events, .. } => events.len(),
        _ => 0,
    }
}

/// For each crash point, true if the operation certainly crosses it.
fn crossed_by(operation: &Operation) -> [bool; CrashPoint::ALL.len()] {
    let crosses = |point: CrashPoint| match (operation, point) {
        (
            Operation::Record { .. },
            CrashPoint::WalPreAggregate | CrashPoint::WalPostAggregate | CrashPoint::SignalAggregationUpdate,
        )
        | (Operation::Checkpoint, CrashPoint::CheckpointPreFlush | CrashPoint::CheckpointPostFlush)
        | (Operation::CreateCollection(_), CrashPoint::CollectionIndexUpdate) => true,
        (Operation::Record { events, .. }, CrashPoint::CohortLedgerUpdate) => {
            events.iter().any(|event| !event.cohorts.is_empty())
        }
        (Operation::Record { events, .. }, CrashPoint::CoEngagementUpdate) => {
            let feeds_co_engagement = |event: &Event| event.user.is_some() && event.weight > 0.0;
            events.iter().any(feeds_co_engagement)
        }
        _ => false,
    };
    CrashPoint::ALL.map(crosses)
}
