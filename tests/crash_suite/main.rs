//! The crash suite: crashes a database at every crash point, in every crash mode, and compares the recovered state.
//!
//! `cargo test --features test-utils --test crash_suite` runs all of it and prints a matrix; `-- --help` says more.
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
#[path = "../support/fjall_storage.rs"]
mod fjall_storage;
#[cfg(feature = "test-utils")]
mod fjall_waits;
#[cfg(feature = "test-utils")]
mod harness;
#[cfg(feature = "test-utils")]
mod input;
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
    // To standard error if a list of cases is asked for, which is empty.
    let said = "crash suite: 0 cases, built without --features test-utils; \
                run: cargo test --features test-utils --test crash_suite";
    if std::env::args().any(|argument| argument == "--list") {
        eprintln!("{said}");
    } else {
        println!("{said}");
    }
    ExitCode::SUCCESS
}

#[cfg(feature = "test-utils")]
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let [child, name, events] = &arguments[..]
        && child == "--child"
    {
        return be_child(&name.to_string_lossy(), events.into());
    }
    match args::command_line().of_process(args::read) {
        Ok(args) => run(&args),
        Err(status) => status,
    }
}

/// Crashes in a child process that the case of this name started. Returns only if it does not crash.
#[cfg(feature = "test-utils")]
fn be_child(name: &str, events: std::path::PathBuf) -> ExitCode {
    input::set_events_path(events);
    match databases::sweep_of_case(name) {
        Ok(sweep) => sweep.die_if_child(),
        Err(failure) => eprintln!("crash suite: {failure}"),
    }
    ExitCode::FAILURE
}

#[cfg(feature = "test-utils")]
fn run(args: &args::SuiteArgs) -> ExitCode {
    let mut refused = None;
    let cases = match &args.events {
        None => cases::standard(),
        Some(path) => match input::accept_events(path) {
            Ok(line) => {
                refused = line;
                cases::of_events()
            }
            Err(failure) => {
                eprintln!("crash suite: {failure}");
                return ExitCode::FAILURE;
            }
        },
    };
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    if let Err(why) = args.check(&names) {
        eprintln!("crash suite: {why}");
        return ExitCode::from(2);
    }
    if args.mode == args::SuiteMode::List {
        harness::list(&cases, args);
        return ExitCode::SUCCESS;
    }
    if args.events.is_some() {
        for point in cases::points_missed_by_events() {
            eprintln!("crash suite: no case at {point}: nothing in the file leads there");
        }
    }
    let passed = harness::run(&cases, args);
    if let Some(line) = &refused {
        eprintln!("crash suite: {line}");
    }
    if passed && refused.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
