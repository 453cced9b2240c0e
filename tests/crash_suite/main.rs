//! The crash suite: crashes a database at every crash point, in every way to die, and compares what comes back.
//!
//! `cargo test --features test-utils --test crash_suite` runs all of it and prints a matrix; `-- --help` says more.
#![allow(clippy::disallowed_methods, reason = "tests look at files from outside")]

#[cfg(feature = "test-utils")]
mod account;
#[cfg(feature = "test-utils")]
mod args;
#[cfg(feature = "test-utils")]
mod cases;
#[cfg(feature = "test-utils")]
mod child;
#[cfg(feature = "test-utils")]
#[path = "../../src/testing/temp_dir.rs"]
mod common;
#[cfg(feature = "test-utils")]
mod crash;
#[cfg(feature = "test-utils")]
mod crossings;
#[cfg(feature = "test-utils")]
mod disk_steps;
#[cfg(feature = "test-utils")]
mod durability;
#[cfg(feature = "test-utils")]
#[path = "../support/fjall_storage.rs"]
mod fjall_storage;
#[cfg(feature = "test-utils")]
mod fjall_waits;
#[cfg(feature = "test-utils")]
mod harness;
#[cfg(feature = "test-utils")]
mod home;
#[cfg(feature = "test-utils")]
mod input;
#[cfg(feature = "test-utils")]
mod matrix;
#[cfg(feature = "test-utils")]
mod outcome;
#[cfg(feature = "test-utils")]
mod parent;
#[cfg(feature = "test-utils")]
mod plan;
#[cfg(feature = "test-utils")]
mod progress;
#[cfg(feature = "test-utils")]
mod protocol;
#[cfg(feature = "test-utils")]
mod refusals;
#[cfg(feature = "test-utils")]
mod threads;
#[cfg(feature = "test-utils")]
mod tracked_files;

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
    if std::env::var_os(child::ENVIRONMENT).is_some() {
        return child::main();
    }
    match args::command_line().of_process() {
        Ok(args) => run(&args),
        Err(status) => status,
    }
}

#[cfg(feature = "test-utils")]
fn run(args: &args::Args) -> ExitCode {
    use args::Mode;
    use cases::Selection;

    let mut refused = None;
    let selection = match &args.events {
        None => Selection::Default,
        Some(path) => match input::accept_events(path) {
            Ok(line) => {
                refused = line;
                Selection::Events
            }
            Err(failure) => {
                eprintln!("crash suite: {failure}");
                return ExitCode::FAILURE;
            }
        },
    };
    let cases = cases::all(selection);
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    if let Err(why) = args.check(&names) {
        eprintln!("crash suite: {why}");
        return ExitCode::from(2);
    }
    if args.mode == Mode::List {
        harness::list(&cases, args);
        return ExitCode::SUCCESS;
    }
    if selection == Selection::Events {
        for point in cases::points_not_crossed_by_events() {
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
