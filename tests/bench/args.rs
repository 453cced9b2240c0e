//! The command line of the benchmarks.

use std::path::PathBuf;

use crate::GROUPS;
use crate::command_line::{CommandLine, GivenArguments};

/// The parsed command line.
#[derive(Debug, Clone)]
pub(crate) struct BenchArgs {
    pub(crate) groups: Vec<String>,
    pub(crate) events: usize,
    pub(crate) synced: usize,
    pub(crate) spread: usize,
    pub(crate) rounds: usize,
    pub(crate) dir: PathBuf,
    pub(crate) processor: bool,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) is_growth: bool,
    /// True if the program got `--bench`. `cargo test --all-targets` starts the program without it.
    pub(crate) is_measured: bool,
    /// The name of the measurement, in a child process that was started for one.
    pub(crate) child: Option<String>,
}

/// The command line of the program. With `--quick` the defaults differ.
pub(crate) fn command_line(is_quick: bool) -> CommandLine {
    let [events, synced, spread, rounds] = if is_quick {
        [20_000, 160, 20_000, 1]
    } else {
        [1_000_000, 4000, 1_000_000, 5]
    };
    CommandLine::new("ledger [OPTIONS] [GROUP...]")
        .option("--events N", events, "the number of events of the job")
        .option(
            "--synced N",
            synced,
            "the number of events where one thread syncs each call; four times as many for 16 threads",
        )
        .option(
            "--spread N",
            spread,
            "the number of changed states of the large checkpoint",
        )
        .option("--rounds N", rounds, "the number of rounds")
        .option(
            "--dir PATH",
            "",
            "the directory of the databases; default: below the target directory of the build",
        )
        .option(
            "--processor",
            "",
            "also prints rates for each second of processor time, which a busy machine changes less",
        )
        .option(
            "--growth",
            "",
            "measures the growth of the figures over three decades instead of the groups",
        )
        .option("--svg FILE", "", "with --growth: draws the curves to this file")
        .option(
            "--quick",
            "",
            "sets small sizes and one round as defaults: a test of the program, not of its speed",
        )
        .option("--bench", "", "")
        .option("--child GROUP", "", "")
        .words(
            "Groups; default: all of them:",
            GROUPS.map(|(name, description, _)| (name, description)),
        )
}

/// Reads the values of the options.
///
/// # Errors
/// The message for the first wrong value.
pub(crate) fn read(given: &GivenArguments) -> Result<BenchArgs, String> {
    let dir = given.path("--dir");
    Ok(BenchArgs {
        groups: given.operands.clone(),
        events: given.number("--events", 1..=usize::MAX)?,
        synced: given.number("--synced", 1..=usize::MAX)?,
        spread: given.number("--spread", 1..=usize::MAX)?,
        rounds: given.number("--rounds", 1..=usize::MAX)?,
        dir: dir.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into()),
        processor: given.has("--processor"),
        svg: given.path("--svg"),
        is_growth: given.has("--growth"),
        is_measured: given.has("--bench"),
        child: given.texts("--child").pop(),
    })
}
