//! A real full disk for some time. The parent limits the size of files of a child process that ignores the signal, so
//! writes beyond the limit are short and then fail. In each run no acknowledged write may be lost.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Survives;
use super::context::{CheckContext, CheckedCall};
use super::parent::{EngineChild, OverLimit, open_and_check};
use super::report::{CheckResult, CheckStop, CheckTally};
use super::write_history::WriteHistory;
use super::writes::{MarkedWrite, WriteShape};
use crate::fs::RealFiles;
use crate::testing::process::FileSizeLimit;
use crate::testing::sim_disk::Image;

const FAILED: &str = "writes that failed";
const UNUSABLE: &str = "new directories that cannot be opened again";
const LATER: &str = "later writes that succeeded";
const LATER_SHAPES: [WriteShape; 4] = [
    WriteShape::Batch,
    WriteShape::Put,
    WriteShape::LargeBatch,
    WriteShape::Batch,
];

/// The behaviour of the caller while the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// Waits after the first failure. An engine that stops only after a second failure then still accepts writes.
    Waits,
    /// Continues to write and flush.
    Continues,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waits => "the caller waits after the first failure",
            Self::Continues => "the caller continues to write",
        })
    }
}

/// A run in which the disk is full for some time. A write reaches the limit after `quarters` quarters of its bytes and
/// `extra_bytes` bytes.
#[derive(Debug, Clone, Copy)]
struct FullDisk {
    shape: WriteShape,
    quarters: u64,
    extra_bytes: u64,
    reopens_before: bool,
    caller: Caller,
    /// True if the engine is dropped without a close before the child is killed.
    is_dropped: bool,
}

impl fmt::Display for FullDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shape, quarters, bytes) = (self.shape, self.quarters, self.extra_bytes);
        write!(
            f,
            "a disk that was full for some time, after {quarters}/4 and {bytes} bytes of a {shape}"
        )?;
        if self.reopens_before {
            f.write_str(", after a reopening")?;
        }
        let end = if self.is_dropped { "drop" } else { "kill" };
        write!(f, ", {}, ended by a {end}", self.caller)
    }
}

/// The disk is full in the middle of a write. Later it has room again.
pub(super) fn in_a_write(context: &CheckContext) -> CheckResult {
    context.require(Survives::ProcessCrash)?;
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
            (false, Caller::Continues, true),
        ] {
            let full_disk = FullDisk {
                shape,
                quarters,
                extra_bytes,
                reopens_before,
                caller,
                is_dropped,
            };
            let checked = check_full_disk(context, full_disk, &mut tally);
            checked.map_err(|stop| stop.map(|text| format!("{full_disk}: {text}")))?;
            tally.add("times the disk was full", 1);
        }
    }
    Ok(tally)
}

fn check_full_disk(
    context: &CheckContext,
    full_disk: FullDisk,
    tally: &mut CheckTally,
) -> Result<(), CheckStop> {
    let dir = context.dir()?;
    let mut history = WriteHistory::default();
    let mut child = EngineChild::opened(context, &dir, OverLimit::FailsWrite)?;
    child.must_write(5, &mut history)?;
    child.flush(&mut history)?.or_fail("flush")?;
    if full_disk.reopens_before {
        child.open(&dir)?.or_fail("reopening")?;
    }
    let before = content_ends(&dir)?;
    child.must_write(1, &mut history)?;
    let after = content_ends(&dir)?.into_iter();
    let grown = after.filter(|(path, end)| before.get(path).is_none_or(|before| before < end));
    let log_end = grown.map(|(_, end)| end).max().unwrap_or(0);

    let write = MarkedWrite::new(history.len(), full_disk.shape);
    let room_bytes = write.bytes_len() as u64 * full_disk.quarters / 4 + full_disk.extra_bytes;
    let limit = set_limit(&child, log_end + room_bytes)?;
    write_until_failure(&mut child, &mut history, full_disk.shape, tally)?;
    if full_disk.caller == Caller::Continues {
        for _ in 0..2 {
            child.write_small(&mut history)?.ok();
        }
        child.flush(&mut history)?.ok();
    }
    lift_limit(limit, &child)?;

    for shape in LATER_SHAPES {
        let answer = child.write(MarkedWrite::new(history.len(), shape), &mut history)?;
        tally.add(LATER, u64::from(answer.is_ok()));
        child.flush(&mut history)?.ok();
    }
    if full_disk.is_dropped {
        child.call("drop")?.or_fail("dropping")?;
    }
    child.kill()?;
    open_and_check(context, &dir, &mut history, "opening")?;
    // The recovered content must not change.
    open_and_check(context, &dir, &mut history, "opening twice")
}

/// Writes until a write fails.
fn write_until_failure(
    child: &mut EngineChild,
    history: &mut WriteHistory,
    shape: WriteShape,
    tally: &mut CheckTally,
) -> Result<(), CheckStop> {
    /// The largest number of writes. An engine may buffer writes or continue in another file before it fails.
    const WRITES_MAX: usize = 40;
    for _ in 0..WRITES_MAX {
        if child
            .write(MarkedWrite::new(history.len(), shape), history)?
            .is_err()
        {
            tally.add(FAILED, 1);
            break;
        }
    }
    Ok(())
}

/// The disk is full when the engine is opened, with existing content and in a new directory.
pub(super) fn while_opening(context: &CheckContext) -> CheckResult {
    context.require(Survives::ProcessCrash)?;
    require_prlimit()?;
    let mut tally = CheckTally::of(&["openings on a full disk", "calls that failed"]);
    for writes_len in [6, 0] {
        for limit_bytes in [0, 1, 20, 100, 4_096] {
            let located = |text| {
                format!("opening after {writes_len} writes with files limited to {limit_bytes} bytes: {text}")
            };
            let opened = open_when_full(context, writes_len, limit_bytes, &mut tally);
            let unusable = opened.map_err(|stop| stop.map(located))?;
            if let Some(text) = unusable.filter(|_| tally.count(UNUSABLE) == 1) {
                tally.note(located(text));
            }
            tally.add("openings on a full disk", 1);
        }
    }
    Ok(tally)
}

/// Opens the engine while the disk is full. If a new directory became unusable, returns the reason as text. This loses
/// no write, because the caller can use another directory.
fn open_when_full(
    context: &CheckContext,
    writes_len: usize,
    limit_bytes: u64,
    tally: &mut CheckTally,
) -> Result<Option<String>, CheckStop> {
    let dir = context.dir()?;
    let mut history = WriteHistory::default();
    if writes_len > 0 {
        let mut child = EngineChild::opened(context, &dir, OverLimit::FailsWrite)?;
        child.must_write(writes_len, &mut history)?;
        child.kill()?;
    }
    let mut child = EngineChild::start(context, OverLimit::FailsWrite)?;
    let limit = set_limit(&child, limit_bytes)?;
    let opened = child.open(&dir)?;
    if opened.is_ok() {
        let answer = child.write_small(&mut history)?;
        tally.add("calls that failed", u64::from(answer.is_err()));
    }
    lift_limit(limit, &child)?;
    if let Err(first) = opened {
        tally.add("calls that failed", 1);
        if let Err(second) = child.open(&dir)? {
            let text = format!("the opening failed with {first:?}, and with room again with {second:?}");
            if history.len() > 0 {
                return Err(CheckStop::Failed(text));
            }
            tally.add(UNUSABLE, 1);
            return Ok(Some(text));
        }
    }
    child.write_small(&mut history)?.ok();
    child.flush(&mut history)?.ok();
    child.kill()?;
    open_and_check(context, &dir, &mut history, "opening")?;
    Ok(None)
}

fn set_limit(child: &EngineChild, bytes: u64) -> Result<FileSizeLimit, CheckStop> {
    FileSizeLimit::set(&child.process, bytes).map_err(not_applicable)
}

fn lift_limit(limit: FileSizeLimit, child: &EngineChild) -> Result<(), CheckStop> {
    limit.lift(&child.process).map_err(not_applicable)
}

/// Ends the check as not applicable if the tool that limits file sizes is missing.
fn require_prlimit() -> Result<(), CheckStop> {
    FileSizeLimit::check_available().map_err(not_applicable)
}

#[cfg(test)]
pub(super) fn is_possible() -> bool {
    FileSizeLimit::check_available().is_ok()
}

/// Ends the check as not applicable. Also writes a warning to standard error, because a test may ignore the report, and
/// the test harness hides the printed output of a test that passes.
fn not_applicable(reason: String) -> CheckStop {
    // A write to a closed standard error fails. The check ignores that.
    writeln!(
        io::stderr(),
        "WARNING: the storage conformance does not test a full disk: {reason}"
    )
    .ok();
    CheckStop::NotApplicable(reason)
}

/// The end of the content of each file below `dir`, in bytes. A preallocated file has only zeros after the end of its
/// content.
fn content_ends(dir: &Path) -> Result<BTreeMap<PathBuf, u64>, CheckStop> {
    const BLOCK: usize = 1 << 16;
    let image = loop {
        match Image::read_from(&RealFiles, dir) {
            // The engine removed a file during the read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => break read.or_fail("reading the engine's files")?,
        }
    };
    let zeros = vec![0; BLOCK];
    let end = |bytes: &[u8]| {
        // The search compares whole blocks, because a file may have many megabytes of zeros.
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
