//! Runs the cases. Each case runs in a new process of this program, in a separate process group, with an empty
//! directory and a time limit.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::command_line::{CommandLine, Filters};
use crate::sys;
use crate::temp_dir::TempDir;

/// The first argument of a process that runs one case. The name and the directory of the case follow.
pub(crate) const CASE: &str = "--case";

/// A case that has not ended after this time hangs. Most take less than a second.
const CASE_LIMIT: Duration = Duration::from_secs(120);

/// The beginning of a line that is printed also if the case passes.
const WARNING: &str = "WARNING: ";

/// One case.
#[derive(Debug)]
pub(crate) struct ProcessCase {
    pub(crate) name: &'static str,
    /// Gets the path of an empty directory. Panics if the case fails.
    pub(crate) body: fn(&Path),
}

/// Declares the cases of a topic: functions of this module, named `topic::function`.
macro_rules! cases {
    ($topic:literal: $($function:ident),+ $(,)?) => {
        pub(crate) const CASES: &[crate::runner::ProcessCase] = &[$(crate::runner::ProcessCase {
            name: concat!($topic, "::", stringify!($function)),
            body: $function,
        }),+];
    };
}
pub(crate) use cases;

/// Prints a line that is printed also if the case passes.
pub(crate) fn warn(text: &str) {
    println!("{WARNING}{text}");
}

/// Runs the case `name` in this process.
pub(crate) fn run_here(cases: &[&ProcessCase], name: &str, dir: &Path) -> ExitCode {
    let case = cases.iter().find(|case| case.name == name).expect("a case");
    let dir = dir.canonicalize().expect("the directory of the case");
    sys::adopt_orphans();
    let body = || {
        (case.body)(&dir);
        assert!(!sys::has_children(), "the case leaves a child process running");
    };
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        // Kills this process and all its remaining children: this process leads its own group.
        sys::kill(0);
    }
    ExitCode::SUCCESS
}

/// Runs the cases that the command line selects, or lists them.
pub(crate) fn run_all(cases: &[&ProcessCase]) -> ExitCode {
    let line = Filters::declare(CommandLine::new("processes [FILTER...] [OPTIONS]"));
    let line = line.option("--list", "", "prints the names and runs no case");
    let read = line.of_process(|given| Ok((Filters::of(given), given.has("--list"))));
    let (filters, is_list) = match read {
        Ok(values) => values,
        Err(status) => return status,
    };
    let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    if let Err(cause) = filters.check(&names) {
        eprintln!("processes: {cause}");
        return ExitCode::from(2);
    }
    let mut selected = cases.to_vec();
    selected.retain(|case| filters.selects(case.name));
    if is_list {
        for case in selected {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    let begun = Instant::now();
    println!("running {} of {} cases", selected.len(), cases.len());
    let failed = selected.iter().filter(|case| !passes(case)).count();
    let (passed, seconds) = (selected.len() - failed, begun.elapsed().as_secs_f64());
    println!("processes: {passed} passed, {failed} failed, in {seconds:.1} s");
    ExitCode::from(u8::from(failed > 0))
}

/// Runs a case in a new process and prints its line. After a failure it also prints the output of the case.
fn passes(case: &ProcessCase) -> bool {
    let begun = Instant::now();
    let outer = TempDir::new("processes");
    // The output is outside the directory of the case, which must be empty.
    let (dir, output) = (outer.path().join("case"), outer.path().join("output"));
    let ended = fs::create_dir(&dir).and_then(|()| run(case, &dir, &output));
    let seconds = begun.elapsed().as_secs_f64();
    let output = fs::read(&output).unwrap_or_default();
    let output = String::from_utf8_lossy(&output);
    let failure = match ended {
        Ok(Some(0)) => None,
        Ok(Some(_)) => Some("failed".to_owned()),
        Ok(None) => Some(format!("hangs: not ended after {} s", CASE_LIMIT.as_secs())),
        Err(error) => Some(format!("cannot run: {error}")),
    };
    let Some(failure) = failure else {
        println!("{} ... ok, {seconds:.2} s", case.name);
        for warning in output.lines().filter(|line| line.starts_with(WARNING)) {
            println!("    {warning}");
        }
        return true;
    };
    println!("{} ... FAILED, {seconds:.2} s: {failure}", case.name);
    for line in output.lines().chain(outer.keep().lines().take(1)) {
        println!("    {line}");
    }
    println!(
        "    repeat: cargo test --manifest-path tests/processes/Cargo.toml -- --exact {}",
        case.name
    );
    false
}

/// Runs the case in a new process and returns its status. Kills a process that hangs with its children, and returns
/// `None`.
fn run(case: &ProcessCase, dir: &Path, output: &Path) -> io::Result<Option<i32>> {
    let output = File::create(output)?;
    let process = Command::new(std::env::current_exe()?)
        .args([CASE, case.name])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()?;
    let pid = process.id().cast_signed();
    let status = sys::wait(pid, CASE_LIMIT);
    if status.is_none() {
        // `wait` has not returned the status, so the process id still belongs to the group of the case.
        sys::kill(-pid);
        sys::wait(pid, CASE_LIMIT);
    }
    Ok(status)
}
