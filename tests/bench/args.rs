//! The command line.

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
    /// False in a test run of all targets, which starts the program without cargo's `--bench`.
    pub(crate) is_measured: bool,
    /// The measurement of memory that this process was started for.
    pub(crate) child: Option<String>,
}

/// The command line of the program; with `--quick` it has other defaults.
pub(crate) fn command_line(is_quick: bool) -> CommandLine {
    let [events, synced, spread, rounds] = if is_quick {
        [20_000, 160, 20_000, 1]
    } else {
        [1_000_000, 4000, 1_000_000, 5]
    };
    CommandLine::new("ledger [OPTIONS] [GROUP...]")
        .option("--events N", events, "events of the job")
        .option(
            "--synced N",
            synced,
            "events where each call is synced, by one thread; by 16 threads four times as many",
        )
        .option("--spread N", spread, "changed states of the large checkpoint")
        .option("--rounds N", rounds, "how often everything is measured")
        .option(
            "--dir PATH",
            "",
            "where the databases lie; default below the target directory of the build",
        )
        .option(
            "--processor",
            "",
            "rates per processor second too, which a busy machine changes less",
        )
        .option(
            "--growth",
            "",
            "how the figures grow over three decades, instead of the groups",
        )
        .option("--svg FILE", "", "draws that there too")
        .option(
            "--quick",
            "",
            "small sizes and one round by default: whether it runs, not how fast",
        )
        .option("--bench", "", "")
        .option("--child GROUP", "", "")
        .words(
            "Groups, all unless given:",
            GROUPS.map(|(name, what, _)| (name, what)),
        )
}

/// Looks the values of the options up.
///
/// # Errors
/// The first wrong value.
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
