//! A real disk-full that comes and goes: a limit on the size of files, set from outside on a child process that ignores
//! the signal, so that writes beyond it are cut short and fail.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Survives;
use super::account::WriteAccount;
use super::lab::{Lab, OrFail};
use super::parent::{EngineChild, OverLimit, settle};
use super::report::{CheckResult, CheckStop, CheckTally};
use super::steps::{MarkedWrite, WriteShape};
use crate::fs::RealFiles;
use crate::testing::process::FileSizeLimit;
use crate::testing::sim_disk::Image;

const FAILED: &str = "writes that failed";
const UNUSABLE: &str = "new directories that cannot be opened any more";
const LATER: &str = "later writes that succeeded";
const LATER_SHAPES: [WriteShape; 4] = [
    WriteShape::Batch,
    WriteShape::Put,
    WriteShape::LargeBatch,
    WriteShape::Batch,
];

/// The caller while the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// It waits after the first failure. An engine that only notices a second one still takes writes then.
    Waits,
    /// It continues to write and flush.
    Insists,
}

/// The work around one time when the disk is full.
#[derive(Debug, Clone, Copy)]
struct FullDisk {
    /// The write that finds the disk full,
    shape: WriteShape,
    /// so many quarters of it
    quarters: u64,
    /// and so many bytes into it.
    extra_bytes: u64,
    reopens_before: bool,
    caller: Caller,
    /// Whether the engine is dropped without a close before the child is killed.
    is_dropped: bool,
}

impl fmt::Display for FullDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shape, quarters, bytes) = (self.shape, self.quarters, self.extra_bytes);
        write!(
            f,
            "a disk that was full for a while, {quarters}/4 and {bytes} bytes into a {shape}"
        )?;
        if self.reopens_before {
            f.write_str(", reopened before")?;
        }
        let end = if self.is_dropped { "dropped" } else { "killed" };
        write!(f, ", caller {:?}, {end} at last", self.caller)
    }
}

/// The disk is full in the middle of a write, and then it is not.
pub(super) fn comes_and_goes(lab: &Lab) -> CheckResult {
    lab.require(Survives::ProcessCrash)?;
    require_prlimit()?;
    let mut tally = CheckTally::of(&["times the disk was full", FAILED]);
    for (shape, quarters, extra_bytes) in [
        (WriteShape::Batch, 0, 0),
        (WriteShape::Batch, 2, 0),
        (WriteShape::LargeBatch, 0, 1),
        (WriteShape::LargeBatch, 1, 0),
        (WriteShape::LargeBatch, 3, 0),
        (WriteShape::LargePut, 2, 0),
    ] {
        for (reopens_before, caller, is_dropped) in [
            (false, Caller::Waits, false),
            (true, Caller::Waits, true),
            (false, Caller::Insists, true),
        ] {
            let work = FullDisk {
                shape,
                quarters,
                extra_bytes,
                reopens_before,
                caller,
                is_dropped,
            };
            strike(lab, work, &mut tally).map_err(|stop| stop.map(|text| format!("{work}: {text}")))?;
            tally.add("times the disk was full", 1);
        }
    }
    Ok(tally)
}

fn strike(lab: &Lab, work: FullDisk, tally: &mut CheckTally) -> Result<(), CheckStop> {
    let dir = lab.dir()?;
    let mut account = WriteAccount::default();
    let mut child = EngineChild::opened(lab, &dir, OverLimit::FailsWrite)?;
    child.must_write(5, &mut account)?;
    child.flush(&mut account)?.or_fail("flush")?;
    if work.reopens_before {
        child.open(&dir)?.or_fail("reopening")?;
    }
    let before = ends(&dir)?;
    child.must_write(1, &mut account)?;
    let after = ends(&dir)?.into_iter();
    let grown = after.filter(|(path, end)| before.get(path).is_none_or(|before| before < end));
    let log_end = grown.map(|(_, end)| end).max().unwrap_or(0);

    let step = MarkedWrite::new(account.len(), work.shape);
    let into = step.bytes_len() as u64 * work.quarters / 4 + work.extra_bytes;
    let limit = set_limit(&child, log_end + into)?;
    fill(&mut child, &mut account, work.shape, tally)?;
    if work.caller == Caller::Insists {
        for _ in 0..2 {
            child.write_small(&mut account)?.ok();
        }
        child.flush(&mut account)?.ok();
    }
    lift(limit, &child)?;

    for shape in LATER_SHAPES {
        let answer = child.write(MarkedWrite::new(account.len(), shape), &mut account)?;
        tally.add(LATER, u64::from(answer.is_ok()));
        child.flush(&mut account)?.ok();
    }
    if work.is_dropped {
        child.call("drop")?.or_fail("dropping")?;
    }
    child.kill()?;
    settle(lab, &dir, &mut account, "opening")?;
    // What was found must be there for good.
    settle(lab, &dir, &mut account, "opening twice")
}

/// Writes until something fails.
fn fill(
    child: &mut EngineChild,
    account: &mut WriteAccount,
    shape: WriteShape,
    tally: &mut CheckTally,
) -> Result<(), CheckStop> {
    /// An engine may buffer or move to another file first.
    const WRITES_MAX: usize = 40;
    for _ in 0..WRITES_MAX {
        if child
            .write(MarkedWrite::new(account.len(), shape), account)?
            .is_err()
        {
            tally.add(FAILED, 1);
            break;
        }
    }
    Ok(())
}

/// The disk is full when the engine is opened: one with something in it, and a new one.
pub(super) fn while_opening(lab: &Lab) -> CheckResult {
    lab.require(Survives::ProcessCrash)?;
    require_prlimit()?;
    let mut tally = CheckTally::of(&["openings on a full disk", "calls that failed"]);
    for writes_len in [6, 0] {
        for limit_bytes in [0, 1, 20, 100, 4_096] {
            let located = |text| {
                format!(
                    "opening with {writes_len} writes there and files limited to {limit_bytes} bytes: {text}"
                )
            };
            let opened = open_when_full(lab, writes_len, limit_bytes, &mut tally);
            let unusable = opened.map_err(|stop| stop.map(located))?;
            if let Some(text) = unusable.filter(|_| tally.count(UNUSABLE) == 1) {
                tally.note(located(text));
            }
            tally.add("openings on a full disk", 1);
        }
    }
    Ok(tally)
}

/// Returns how a new directory became unusable, by which nothing is lost: the caller can begin with another one.
fn open_when_full(
    lab: &Lab,
    writes_len: usize,
    limit_bytes: u64,
    tally: &mut CheckTally,
) -> Result<Option<String>, CheckStop> {
    let dir = lab.dir()?;
    let mut account = WriteAccount::default();
    if writes_len > 0 {
        let mut child = EngineChild::opened(lab, &dir, OverLimit::FailsWrite)?;
        child.must_write(writes_len, &mut account)?;
        child.kill()?;
    }
    let mut child = EngineChild::start(lab, OverLimit::FailsWrite)?;
    let limit = set_limit(&child, limit_bytes)?;
    let opened = child.open(&dir)?;
    if opened.is_ok() {
        let answer = child.write_small(&mut account)?;
        tally.add("calls that failed", u64::from(answer.is_err()));
    }
    lift(limit, &child)?;
    if let Err(first) = opened {
        tally.add("calls that failed", 1);
        if let Err(second) = child.open(&dir)? {
            let text = format!("it failed with {first:?}, and with room again with {second:?}");
            if account.len() > 0 {
                return Err(CheckStop::Failed(text));
            }
            tally.add(UNUSABLE, 1);
            return Ok(Some(text));
        }
    }
    child.write_small(&mut account)?.ok();
    child.flush(&mut account)?.ok();
    child.kill()?;
    settle(lab, &dir, &mut account, "opening")?;
    Ok(None)
}

fn set_limit(child: &EngineChild, bytes: u64) -> Result<FileSizeLimit, CheckStop> {
    FileSizeLimit::set(&child.process, bytes).map_err(not_possible)
}

fn lift(limit: FileSizeLimit, child: &EngineChild) -> Result<(), CheckStop> {
    limit.lift(&child.process).map_err(not_possible)
}

/// The tool that fills the disk must be there.
fn require_prlimit() -> Result<(), CheckStop> {
    FileSizeLimit::check_available().map_err(not_possible)
}

#[cfg(test)]
pub(super) fn is_possible() -> bool {
    FileSizeLimit::check_available().is_ok()
}

/// Prints to standard error too: the report may stay unread, and the harness keeps the output of a test.
fn not_possible(why: String) -> CheckStop {
    // A closed standard error takes no words.
    writeln!(
        io::stderr(),
        "WARNING: the storage conformance does not test a full disk: {why}"
    )
    .ok();
    CheckStop::NotApplicable(why)
}

/// Where the content of each file below `dir` ends. A file that was made longer ahead of need has zeros after that.
fn ends(dir: &Path) -> Result<BTreeMap<PathBuf, u64>, CheckStop> {
    const BLOCK: usize = 1 << 16;
    let image = loop {
        match Image::read_from(&RealFiles, dir) {
            // The engine has removed a file meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => break read.or_fail("looking at the engine's files")?,
        }
    };
    let zeros = vec![0; BLOCK];
    let end = |bytes: &[u8]| {
        // Block by block, since a file may have many megabytes of zeros.
        let last = bytes
            .chunks(BLOCK)
            .rposition(|block| *block != zeros[..block.len()])?;
        bytes[..bytes.len().min((last + 1) * BLOCK)]
            .iter()
            .rposition(|byte| *byte != 0)
    };
    let ends = image.files().map(|(path, bytes)| {
        let end = end(bytes).map_or(0, |last| last as u64 + 1);
        (path.to_path_buf(), end)
    });
    Ok(ends.collect())
}
