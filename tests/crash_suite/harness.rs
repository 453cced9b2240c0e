//! Runs cases as the standard harness does: lists and filters them, several at once, each under a watchdog.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use crate::args::{Args, Color};
use crate::matrix::{self, Entry, Place};
use crate::outcome::{Counts, Failure, Outcome};
use crate::progress::Progress;

/// A case that has not ended after this time hangs. Cases take a fraction of a second on an idle machine.
const CASE_LIMIT: Duration = Duration::from_secs(60);
/// So much longer for each operation of a long input.
const OPERATION_LIMIT: Duration = Duration::from_millis(100);

/// Why the numbers of events acknowledged and recovered are not the same.
const RECOVERED_MAY_DIFFER: &str = "\
An event in flight may be recovered though nobody was told of it; what a power loss takes within the\n\
limits of the policy is not lost.\n";

/// After so many cases that hang no further one is begun: each takes its whole limit.
const HANGS_MAX: usize = 4;

/// What a case does.
pub(crate) type Body = Arc<dyn Fn() -> Outcome + Send + Sync>;

/// One case: a name, a place in the matrix, and what it does.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// What is crashed, in words: printed with a failure.
    pub(crate) plan: String,
    /// How much it has to do.
    pub(crate) operations_len: u32,
    pub(crate) body: Body,
}

/// A case that has ended.
struct Ended {
    case: Case,
    outcome: Outcome,
}

/// Prints the names of the selected cases, one a line, as `cargo nextest` wants them.
pub(crate) fn list(cases: &[Case], args: &Args) {
    let mut names = String::new();
    for case in cases.iter().filter(|case| args.selects(&case.name)) {
        writeln!(names, "{}: test", case.name).ok();
    }
    print(&names);
}

/// Runs the selected cases, prints the matrix and every failure, and tells whether all passed.
pub(crate) fn run(cases: &[Case], args: &Args) -> bool {
    #[expect(clippy::disallowed_methods, reason = "the harness tells how long a run took")]
    let started = Instant::now();
    let selected: Vec<Case> = cases
        .iter()
        .filter(|case| args.selects(&case.name))
        .cloned()
        .collect();
    let filtered_out = cases.len() - selected.len();
    print(&format!("\nrunning {} crash cases\n", selected.len()));

    let mut ended = run_all(&selected, args);
    let order = |case: &Case| selected.iter().position(|other| other.name == case.name);
    ended.sort_by_key(|ended| order(&ended.case));

    let colored = match args.color {
        Color::Auto => stdout().is_terminal(),
        Color::Always => true,
        Color::Never => false,
    };
    if !ended.is_empty() {
        let entries: Vec<Entry> = ended.iter().map(entry).collect();
        print(&format!("\n{}", matrix::render(&entries, colored)));
        print(RECOVERED_MAY_DIFFER);
    }
    let failed: Vec<&Ended> = ended
        .iter()
        .filter(|ended| ended.outcome.failure.is_some())
        .collect();
    print(&failures(&failed, args));
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    print(&format!(
        "\ntest result: {verdict}. {} passed; {} failed; 0 ignored; 0 measured; {filtered_out} filtered out; \
         finished in {:.2}s\n\n",
        ended.len() - failed.len(),
        failed.len(),
        started.elapsed().as_secs_f64()
    ));
    failed.is_empty()
}

fn entry(ended: &Ended) -> Entry {
    Entry {
        place: ended.case.place.clone(),
        counts: ended.outcome.counts,
        passed: ended.outcome.failure.is_none(),
    }
}

fn failures(failed: &[&Ended], args: &Args) -> String {
    let mut text = String::new();
    if failed.is_empty() {
        return text;
    }
    text.push_str("\nfailures:\n");
    for ended in failed {
        let Some(failure) = &ended.outcome.failure else {
            continue;
        };
        writeln!(text, "\n---- {}", ended.case.name).ok();
        for line in failure.to_string().lines().chain(ended.case.plan.lines()) {
            writeln!(text, "     {line}").ok();
        }
        writeln!(text, "     repeat: {}", repeat_line(&ended.case.name, args)).ok();
    }
    text
}

/// A command that runs exactly this case again.
fn repeat_line(name: &str, args: &Args) -> String {
    let events = args
        .events
        .as_ref()
        .map_or_else(String::new, |path| format!(" --events '{}'", path.display()));
    format!("cargo test --features test-utils --test crash_suite -- --exact {name}{events}")
}

fn run_all(selected: &[Case], args: &Args) -> Vec<Ended> {
    let queue = Mutex::new(selected.iter().cloned().collect::<VecDeque<Case>>());
    let ended = Mutex::new(Vec::new());
    let hangs = AtomicUsize::new(0);
    let progress = Mutex::new(Progress::new(selected.len(), args.quiet));
    thread::scope(|scope| {
        for _ in 0..args.threads_len().min(selected.len()) {
            scope.spawn(|| {
                loop {
                    let next = lock(&queue).pop_front();
                    let Some(case) = next else { break };
                    let outcome = if hangs.load(Ordering::SeqCst) < HANGS_MAX {
                        run_watched(&case, &hangs)
                    } else {
                        failed(Failure::new(format!("not run, since {HANGS_MAX} others hang")))
                    };
                    lock(&progress).ended(&case.name, outcome.failure.is_none());
                    lock(&ended).push(Ended { case, outcome });
                }
            });
        }
    });
    ended.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a case on a thread of its own. One that hangs is a failure; its thread is left behind until the process ends.
fn run_watched(case: &Case, hangs: &AtomicUsize) -> Outcome {
    let limit = CASE_LIMIT + OPERATION_LIMIT * case.operations_len;
    let (send, receive) = channel();
    let body = Arc::clone(&case.body);
    let spawned = Builder::new().name(case.name.clone()).spawn(move || {
        let outcome =
            catch_unwind(AssertUnwindSafe(|| body())).unwrap_or_else(|payload| failed(panicked(&*payload)));
        // Nobody listens any more if the watchdog was faster.
        send.send(outcome).ok();
    });
    if let Err(error) = spawned {
        return failed(Failure::of("cannot start a thread for the case", &error));
    }
    receive.recv_timeout(limit).unwrap_or_else(|error| {
        failed(match error {
            RecvTimeoutError::Timeout => {
                hangs.fetch_add(1, Ordering::SeqCst);
                Failure::new(format!("hangs: not ended after {} s", limit.as_secs()))
            }
            RecvTimeoutError::Disconnected => Failure::new("ended without an outcome"),
        })
    })
}

fn failed(failure: Failure) -> Outcome {
    Outcome {
        counts: Counts::default(),
        failure: Some(failure),
    }
}

/// What a panic that nobody planned says.
pub(crate) fn panicked(payload: &(dyn std::any::Any + Send)) -> Failure {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    Failure::new(format!(
        "panicked: {}",
        text.unwrap_or("with a payload that is no text")
    ))
}

/// Prints to standard output. A reader that went away, as `head` does, is no reason to fail.
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
