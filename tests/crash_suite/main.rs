//! The crash suite: crashes a database at every crash point, in every crash mode, and compares the recovered state.
//!
//! `cargo test --features test-utils --test crash_suite` runs all cases and prints a matrix. `-- --help` lists the
//! options.
#![allow(clippy::disallowed_methods, reason = "tests look at files from outside")]

#[cfg(feature = "test-utils")]
mod args;
#[cfg(feature = "test-utils")]
mod cases;
#[cfg(feature = "test-utils")]
#[path = "../../src/testing/temp_dir.rs"]
mod common;
#[cfg(feature = "test-utils")]
mod databases;
#[cfg(feature = "test-utils")]
mod events;
#[cfg(feature = "test-utils")]
#[path = "../support/fjall_storage.rs"]
mod fjall_storage;
#[cfg(feature = "test-utils")]
mod fjall_waits;
#[cfg(feature = "test-utils")]
mod harness;
#[cfg(feature = "test-utils")]
mod input;
#[cfg(feature = "test-utils")]
mod inputs;
#[cfg(feature = "test-utils")]
mod matrix;
#[cfg(feature = "test-utils")]
mod progress;
#[cfg(feature = "test-utils")]
mod refusals;
#[cfg(feature = "test-utils")]
mod threads;

use std::process::ExitCode;

#[cfg(not(feature = "test-utils"))]
fn main() -> ExitCode {
    // `--list` prints an empty list, so this message goes to standard error then.
    let message = "crash suite: 0 cases, built without --features test-utils; \
                run: cargo test --features test-utils --test crash_suite";
    if std::env::args().any(|argument| argument == "--list") {
        eprintln!("{message}");
    } else {
        println!("{message}");
    }
    ExitCode::SUCCESS
}

#[cfg(feature = "test-utils")]
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let [child, name, start @ ..] = &arguments[..]
        && child == "--child"
    {
        return run_child(&name.to_string_lossy(), start);
    }
    match args::command_line().of_process(args::read) {
        Ok(args) => run(&args),
        Err(status) => status,
    }
}

/// Runs the child process of the case `name`. The child crashes; this function returns only if it does not.
#[cfg(feature = "test-utils")]
fn run_child(name: &str, start: &[std::ffi::OsString]) -> ExitCode {
    match databases::sweep_of_case(name, start) {
        Ok(sweep) => sweep.crash_if_child(),
        Err(failure) => eprintln!("crash suite: {failure}"),
    }
    ExitCode::FAILURE
}

#[cfg(feature = "test-utils")]
fn run(args: &args::SuiteArgs) -> ExitCode {
    // The time does not limit `--list`, which reads the whole file.
    let time = args.time.filter(|_| args.mode == args::SuiteMode::Run);
    let budget = progress::TimeBudget::new(time, args.quiet);
    let ended = match &args.events {
        None => run_cases(&cases::standard(), args, |_| Ok((Vec::new(), true)), &budget),
        Some(path) => run_events(path, args, &budget),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err((status, cause)) => {
            budget.clear();
            eprintln!("crash suite: {cause}");
            ExitCode::from(status)
        }
    }
}

/// The exit status of a run that cannot begin, and the cause.
#[cfg(feature = "test-utils")]
type Refusal = (u8, String);

/// Lists or runs these cases. `prepare` is called before the first case runs. It returns the cases to leave out, and
/// false if the suite must fail even if no case fails.
#[cfg(feature = "test-utils")]
fn run_cases(
    cases: &[harness::SuiteCase],
    args: &args::SuiteArgs,
    prepare: impl FnOnce(&progress::TimeBudget) -> Result<(Vec<harness::SuiteCase>, bool), Refusal>,
    budget: &progress::TimeBudget,
) -> Result<bool, Refusal> {
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    args.check(&names).map_err(|cause| (2, cause))?;
    if args.mode == args::SuiteMode::List {
        harness::list(cases, args);
        return Ok(true);
    }
    // If the directory for temporary files is missing, the run prints one message instead of one for each case.
    common::TempDir::try_new("suite").map_err(|error| (1, error.to_string()))?;
    let (left_out, is_complete) = prepare(budget)?;
    let is_left_out = |case: &&harness::SuiteCase| left_out.iter().any(|other| other.name == case.name);
    let reached: Vec<_> = cases.iter().filter(|case| !is_left_out(case)).cloned().collect();
    Ok(harness::run(&reached, (&left_out, is_complete), args, budget))
}

/// Reads the events of the file at `path`, prints their number, and crashes the database while it records them. If a
/// line is not an event, the run uses the events before this line and returns false. It also returns false if the time
/// was over before the end of the file.
#[cfg(feature = "test-utils")]
fn run_events(
    path: &std::path::Path,
    args: &args::SuiteArgs,
    budget: &progress::TimeBudget,
) -> Result<bool, Refusal> {
    let path = std::path::absolute(path).map_err(|error| (1, format!("{}: {error}", path.display())))?;
    let shown = path.display().to_string();
    let read = events::read(&path, |len| {
        if len.is_multiple_of(1000) {
            budget.show("events read", len as u64, 0);
        }
        events::is_read_in_time(budget)
    });
    let read = read.map_err(|failure| (1, failure))?;
    budget.clear();
    let (len, years) = (read.events.len(), read.years());
    let problem = match &read.refused {
        Some(line) if len == 0 => return Err((1, format!("{shown}, {line}"))),
        None if len == 0 => return Err((1, format!("{shown} holds no event"))),
        Some(line) => Some(format!(
            "{shown}, {line}; the {len} events before it are accepted; {years}"
        )),
        None if read.is_stopped => Some(format!(
            "{shown}: the time was over after {len} events; these are accepted, the rest was not read: \
             --minutes N gives more time; {years}"
        )),
        None => None,
    };
    match &problem {
        Some(problem) => eprintln!("crash suite: {problem}"),
        None => eprintln!("crash suite: {len} events of {shown} are accepted; {years}"),
    }
    let event_cases = std::sync::Arc::new(events::EventCases::of(path, read));
    let numbered = event_cases.cases(events::ROUNDS);
    let cases: Vec<_> = numbered.iter().map(|(_, case)| case.clone()).collect();
    let prepare = |budget: &progress::TimeBudget| {
        for point in event_cases.uncrossed_points() {
            eprintln!("crash suite: no case at {point}: no event of the file leads to it");
        }
        let (operations_len, is_whole) = event_cases.run(budget).map_err(|failure| (1, failure))?;
        budget.clear();
        if is_whole {
            eprintln!("crash suite: one run over all events ended in the state of the model");
        } else {
            eprintln!(
                "crash suite: the time was over before one run had made all calls, so the end of the file was not \
                 compared: --minutes N gives more time"
            );
        }
        let unreached = numbered.iter().filter(|(before, _)| *before >= operations_len);
        let is_complete = is_whole && problem.is_none();
        Ok((unreached.map(|(_, case)| case.clone()).collect(), is_complete))
    };
    let passed = run_cases(&cases, args, prepare, budget)?;
    if let Some(problem) = &problem {
        eprintln!("crash suite: {problem}");
    }
    Ok(passed && problem.is_none())
}
