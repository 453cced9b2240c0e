//! Lists, filters and runs cases as the standard test harness does. Several cases run at the same time.

use std::collections::{BTreeSet, VecDeque};
use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write, stdout};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use tidaldb::testing::lab::{catch_as_text, error_chain};
use tidaldb::testing::oracle::Counts;

use crate::args::{Color, SuiteArgs};
use crate::matrix::{self, MatrixEntry, MatrixPlace};
use crate::progress::TimeBudget;

/// The reason why the numbers of acknowledged and recovered events may differ.
const RECOVERED_MAY_DIFFER: &str = "\
An event in flight may be recovered although it was not acknowledged. An event that the policy\n\
allows a power loss to remove does not count as lost.\n";

/// After this many cases that hang no further case begins, because each hang takes the time limit of a case.
const HANGS_MAX: usize = 4;

/// The result of a step of a case. The error is a message.
pub(crate) type CaseResult<T> = Result<T, String>;

/// The counts of a case that passed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CaseCounts {
    pub(crate) counts: Counts,
}

/// The function that runs a case.
pub(crate) type Body = Arc<dyn Fn() -> CaseResult<CaseCounts> + Send + Sync>;

/// One case: a name, a place in the matrix, and a body.
#[derive(Clone)]
pub(crate) struct SuiteCase {
    pub(crate) name: String,
    pub(crate) place: MatrixPlace,
    /// Printed with a failure.
    pub(crate) work: CaseWork,
    pub(crate) body: Body,
}

/// The description of the work of a case.
#[derive(Debug, Clone)]
pub(crate) enum CaseWork {
    Workload(String),
    Command(&'static str),
}

impl fmt::Display for CaseWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(text) => write!(f, "workload: {text}"),
            Self::Command(text) => write!(f, "command: {text}"),
        }
    }
}

/// A case that has ended.
struct EndedCase {
    case: SuiteCase,
    outcome: CaseResult<CaseCounts>,
}

/// The message for an error in the step `step`.
pub(crate) fn step_failed(step: &str, error: &(dyn Error + 'static)) -> String {
    format!("{step}: {}", error_chain(error))
}

/// Prints the names of the selected cases, one for each line, in the format that `cargo nextest` reads.
pub(crate) fn list(cases: &[SuiteCase], args: &SuiteArgs) {
    let mut names = String::new();
    for case in cases.iter().filter(|case| args.selects(&case.name)) {
        writeln!(names, "{}: test", case.name).ok();
    }
    print(&names);
}

/// Runs the selected cases until the time is over, and prints the matrix and every failure. The cases `unreached` are
/// left out. Returns true if no case failed, at least one case ran for each pair of a crash point and a crash mode, the
/// directory for temporary files still exists, and `is_complete` is true.
pub(crate) fn run(
    cases: &[SuiteCase],
    (unreached, is_complete): (&[SuiteCase], bool),
    args: &SuiteArgs,
    budget: &TimeBudget,
) -> bool {
    #[expect(clippy::disallowed_methods, reason = "the harness prints the time of a run")]
    let started = Instant::now();
    let select = |cases: &[SuiteCase]| -> Vec<SuiteCase> {
        let selected = cases.iter().filter(|case| args.selects(&case.name));
        selected.cloned().collect()
    };
    let (selected, unreached) = (select(cases), select(unreached));
    print(&format!("\nrunning {} crash cases\n", selected.len()));

    let mut ended = run_all(&selected, args, budget);
    let order = |case: &SuiteCase| selected.iter().position(|other| other.name == case.name);
    ended.sort_by_key(|ended| order(&ended.case));

    let colored = match args.color {
        Color::Auto => stdout().is_terminal(),
        Color::Always => true,
        Color::Never => false,
    };
    if !ended.is_empty() {
        let entries: Vec<MatrixEntry> = ended.iter().map(entry).collect();
        print(&format!("\n{}", matrix::render(&entries, colored)));
        print(RECOVERED_MAY_DIFFER);
    }
    let failed: Vec<&EndedCase> = ended.iter().filter(|ended| ended.outcome.is_err()).collect();
    print(&failures(&failed, args));
    let left_out = selected.len() - ended.len() + unreached.len();
    let untried = untried(selected.iter().chain(&unreached), &ended);
    let removed = removed_temp_dir();
    if left_out > 0 {
        let reason = removed.as_deref().unwrap_or("--minutes N gives more time");
        print(&format!(
            "\nleft out: {left_out} of {} cases; {reason}\n",
            ended.len() + left_out
        ));
    }
    if let Some(first) = untried.first() {
        print(&format!(
            "not enough for a pass: no case ran for {first}, and for {} more such pairs\n",
            untried.len() - 1
        ));
    }
    let passed = failed.is_empty() && untried.is_empty() && is_complete && removed.is_none();
    print(&format!(
        "\ntest result: {}. {} passed; {} failed; {left_out} left out; 0 ignored; 0 measured; {} filtered out; \
         finished in {:.2}s\n\n",
        if passed { "ok" } else { "FAILED" },
        ended.len() - failed.len(),
        failed.len(),
        cases.len() - selected.len(),
        started.elapsed().as_secs_f64()
    ));
    passed
}

/// The pairs of a crash point and a crash mode for which no case ran, under any policy.
fn untried<'a>(all: impl Iterator<Item = &'a SuiteCase>, ended: &[EndedCase]) -> Vec<String> {
    let of = |case: &SuiteCase| {
        (
            case.place.table.clone(),
            case.place.row.clone(),
            case.place.column.clone(),
        )
    };
    let tried: BTreeSet<_> = ended.iter().map(|ended| of(&ended.case)).collect();
    let all: BTreeSet<_> = all.map(of).collect();
    let untried = all.difference(&tried);
    untried
        .map(|(_, row, column)| format!("{row} by {column}"))
        .collect()
}

fn entry(ended: &EndedCase) -> MatrixEntry {
    MatrixEntry {
        place: ended.case.place.clone(),
        counts: ended
            .outcome
            .as_ref()
            .map_or(Counts::default(), |outcome| outcome.counts),
        passed: ended.outcome.is_ok(),
    }
}

fn failures(failed: &[&EndedCase], args: &SuiteArgs) -> String {
    let mut text = String::new();
    if failed.is_empty() {
        return text;
    }
    text.push_str("\nfailures:\n");
    let mut shown = BTreeSet::new();
    for ended in failed {
        let Err(failure) = &ended.outcome else { continue };
        if !shown.insert(failure) {
            writeln!(
                text,
                "\n---- {}: the same failure as a case above",
                ended.case.name
            )
            .ok();
            continue;
        }
        writeln!(text, "\n---- {}", ended.case.name).ok();
        for line in failure.lines() {
            writeln!(text, "     {line}").ok();
        }
        writeln!(text, "     {}", ended.case.work).ok();
        writeln!(text, "     repeat: {}", repeat_line(&ended.case.name, args)).ok();
    }
    text
}

/// The command that runs exactly this case again.
fn repeat_line(name: &str, args: &SuiteArgs) -> String {
    let release = if cfg!(debug_assertions) { "" } else { "--release " };
    let events = args
        .events
        .as_ref()
        .map(|path| format!(" --events '{}'", path.display()));
    // The list of cases depends on the events that were read in this time.
    let minutes = args
        .time
        .map(|time| format!(" --minutes {}", time.as_secs_f64() / 60.0));
    let of_events = events.into_iter().chain(minutes).collect::<String>();
    format!("cargo test {release}--features test-utils --test crash_suite -- --exact {name}{of_events}")
}

fn run_all(selected: &[SuiteCase], args: &SuiteArgs, budget: &TimeBudget) -> Vec<EndedCase> {
    let queue = Mutex::new(selected.iter().cloned().collect::<VecDeque<SuiteCase>>());
    let ended = Mutex::new(Vec::new());
    let (hangs, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..args.threads_len().min(selected.len()) {
            scope.spawn(|| {
                while !budget.is_over(1.0) && removed_temp_dir().is_none() {
                    let next = lock(&queue).pop_front();
                    let Some(case) = next else { break };
                    let mut outcome = if hangs.load(Ordering::SeqCst) < HANGS_MAX {
                        catch_as_text(|| (case.body)()).and_then(|outcome| outcome)
                    } else {
                        Err(format!("not run, because {HANGS_MAX} other cases hang"))
                    };
                    if outcome.is_err()
                        && let Some(removed) = removed_temp_dir()
                    {
                        outcome = Err(removed);
                    }
                    if outcome.as_ref().is_err_and(|failure| failure.starts_with("hang")) {
                        hangs.fetch_add(1, Ordering::SeqCst);
                    }
                    let mut ended = lock(&ended);
                    if outcome.is_err() {
                        failed.fetch_add(1, Ordering::SeqCst);
                        budget.print(&format!("test {} ... FAILED", case.name));
                    }
                    ended.push(EndedCase { case, outcome });
                    let (done, all) = (ended.len() as u64, selected.len() as u64);
                    budget.show_cases(done, all, failed.load(Ordering::SeqCst) as u64);
                }
            });
        }
    });
    budget.clear();
    ended.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The message of a run whose directory for temporary files was removed, or `None` if it exists. Every case works in
/// it.
fn removed_temp_dir() -> Option<String> {
    let dir = std::env::temp_dir();
    (!dir.is_dir()).then(|| format!("{} was removed during the run", dir.display()))
}

/// Prints to standard output. A closed pipe is not a failure: `head` closes it early.
pub(crate) fn print(text: &str) {
    let mut stdout = stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .ok();
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
