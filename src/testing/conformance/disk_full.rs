//! A real disk-full that comes and goes: a limit on the size of files, set from outside on a child process that ignores
//! the signal, so that writes beyond it are cut short and fail.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Survives;
use super::account::Account;
use super::lab::{Lab, OrFail};
use super::parent::{Child, OverLimit, settle};
use super::report::{Checked, Stop, Tally};
use super::steps::{Shape, Step};
use crate::fs::{FileAccess, OpenMode, RealFiles, read_full_at};
use crate::testing::process::FileSizeLimit;

const FAILED: &str = "writes that failed";
const UNUSABLE: &str = "new directories that cannot be opened any more";
const LATER: &str = "later writes that succeeded";

/// How a child ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Killed,
    /// The engine is dropped without a close, then the child is killed.
    Dropped,
}

/// What the caller does while the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// It waits after the first failure. An engine that only notices a second one still takes writes then.
    Waits,
    /// It continues to write and flush.
    Insists,
}

/// What is done around one time when the disk is full.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// The write that finds the disk full,
    shape: Shape,
    /// so many quarters of it
    quarters: u64,
    /// and so many bytes into it.
    extra_bytes: u64,
    reopens_before: bool,
    caller: Caller,
    ending: Ending,
}

fn plans() -> impl Iterator<Item = Plan> {
    let strikes = [
        (Shape::Batch, 0, 0),
        (Shape::Batch, 2, 0),
        (Shape::LargeBatch, 0, 1),
        (Shape::LargeBatch, 1, 0),
        (Shape::LargeBatch, 3, 0),
        (Shape::LargePut, 2, 0),
    ];
    let ways = [
        (false, Caller::Waits, Ending::Killed),
        (true, Caller::Waits, Ending::Dropped),
        (false, Caller::Insists, Ending::Dropped),
    ];
    strikes
        .into_iter()
        .flat_map(move |(shape, quarters, extra_bytes)| {
            ways.map(|(reopens_before, caller, ending)| Plan {
                shape,
                quarters,
                extra_bytes,
                reopens_before,
                caller,
                ending,
            })
        })
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            shape,
            quarters,
            extra_bytes,
            ..
        } = self;
        write!(
            f,
            "a disk that was full for a while, {quarters}/4 and {extra_bytes} bytes into a {shape}"
        )?;
        if self.reopens_before {
            f.write_str(", reopened before")?;
        }
        write!(f, ", caller {:?}, {:?} at last", self.caller, self.ending)
    }
}

/// The disk is full in the middle of a write, and then it is not.
pub(super) fn comes_and_goes(lab: &Lab) -> Checked {
    lab.require(Survives::ProcessCrash)?;
    require_prlimit()?;
    let mut tally = Tally::of(&["times the disk was full", FAILED]);
    for plan in plans() {
        strike(lab, plan, &mut tally).map_err(|stop| stop.map(|text| format!("{plan}: {text}")))?;
        tally.add("times the disk was full", 1);
    }
    Ok(tally)
}

fn strike(lab: &Lab, plan: Plan, tally: &mut Tally) -> Result<(), Stop> {
    let dir = lab.dir()?;
    let mut account = Account::default();
    let mut child = Child::opened(lab, &dir, OverLimit::Fails)?;
    child.must_write(5, &mut account)?;
    child.flush(&mut account)?.or_fail("flush")?;
    if plan.reopens_before {
        child.open(&dir)?.or_fail("reopening")?;
    }
    let before = ends(&dir)?;
    child.must_write(1, &mut account)?;
    let log_end = grown(&before, &ends(&dir)?);

    let step = Step::new(account.len(), plan.shape);
    let into = step.bytes_len() as u64 * plan.quarters / 4 + plan.extra_bytes;
    let limit = set_limit(&child, log_end + into)?;
    fill(&mut child, &mut account, step, tally)?;
    if plan.caller == Caller::Insists {
        for _ in 0..2 {
            let step = Step::small(account.len());
            child.write(step, &mut account)?.ok();
        }
        child.flush(&mut account)?.ok();
    }
    lift(limit, &child)?;

    for shape in [Shape::Batch, Shape::Put, Shape::LargeBatch, Shape::Batch] {
        let step = Step::new(account.len(), shape);
        let answer = child.write(step, &mut account)?;
        tally.add(LATER, u64::from(answer.is_ok()));
        child.flush(&mut account)?.ok();
    }
    if plan.ending == Ending::Dropped {
        child.call("drop")?.or_fail("dropping")?;
    }
    child.kill()?;
    settle(lab, &dir, &mut account, "opening")?;
    // What was found must be there for good.
    settle(lab, &dir, &mut account, "opening twice")
}

/// Writes until something fails.
fn fill(child: &mut Child, account: &mut Account, first: Step, tally: &mut Tally) -> Result<(), Stop> {
    /// An engine may buffer or move to another file first.
    const WRITES_MAX: usize = 40;
    let shape = first.shape;
    let mut step = first;
    for _ in 0..WRITES_MAX {
        let answer = child.write(step, account)?;
        if answer.is_err() {
            tally.add(FAILED, 1);
            return Ok(());
        }
        step = Step::new(account.len(), shape);
    }
    Ok(())
}

/// The disk is full when the engine is opened: one with something in it, and a new one.
pub(super) fn while_opening(lab: &Lab) -> Checked {
    lab.require(Survives::ProcessCrash)?;
    require_prlimit()?;
    let mut tally = Tally::of(&["openings on a full disk", "calls that failed"]);
    for writes_len in [6, 0] {
        for limit_bytes in [0, 1, 20, 100, 4_096] {
            let context =
                format!("opening with {writes_len} writes there and files limited to {limit_bytes} bytes");
            open_when_full(lab, writes_len, limit_bytes, &context, &mut tally)
                .map_err(|stop| stop.map(|text| format!("{context}: {text}")))?;
            tally.add("openings on a full disk", 1);
        }
    }
    Ok(tally)
}

fn open_when_full(
    lab: &Lab,
    writes_len: usize,
    limit_bytes: u64,
    context: &str,
    tally: &mut Tally,
) -> Result<(), Stop> {
    let dir = lab.dir()?;
    let mut account = Account::default();
    if writes_len > 0 {
        let mut child = Child::opened(lab, &dir, OverLimit::Fails)?;
        child.must_write(writes_len, &mut account)?;
        child.kill()?;
    }
    let mut child = Child::start(lab, OverLimit::Fails)?;
    let limit = set_limit(&child, limit_bytes)?;
    let opened = child.open(&dir)?;
    if opened.is_ok() {
        let step = Step::small(account.len());
        let answer = child.write(step, &mut account)?;
        tally.add("calls that failed", u64::from(answer.is_err()));
    }
    lift(limit, &child)?;
    if let Err(first) = opened {
        tally.add("calls that failed", 1);
        if let Err(second) = child.open(&dir)? {
            if account.len() == 0 {
                // Nothing is lost: the caller can begin with another directory.
                if tally.count(UNUSABLE) == 0 {
                    tally.note(format!(
                        "{context} failed with {first:?}, and with room again with {second:?}"
                    ));
                }
                tally.add(UNUSABLE, 1);
                return Ok(());
            }
            return Err(Stop::Failed(format!(
                "it failed with {first:?}, and with room again with {second:?}"
            )));
        }
    }
    let step = Step::small(account.len());
    child.write(step, &mut account)?.ok();
    child.flush(&mut account)?.ok();
    child.kill()?;
    settle(lab, &dir, &mut account, "opening")
}

fn set_limit(child: &Child, bytes: u64) -> Result<FileSizeLimit, Stop> {
    FileSizeLimit::set(child.process(), bytes).map_err(not_possible)
}

fn lift(limit: FileSizeLimit, child: &Child) -> Result<(), Stop> {
    limit.lift(child.process()).map_err(not_possible)
}

/// The tool that fills the disk must be there.
fn require_prlimit() -> Result<(), Stop> {
    FileSizeLimit::check_possible().map_err(not_possible)
}

#[cfg(test)]
pub(super) fn is_possible() -> bool {
    FileSizeLimit::check_possible().is_ok()
}

/// Prints to standard error too: the report may stay unread, and the harness keeps the output of a test.
fn not_possible(why: String) -> Stop {
    // A closed standard error takes no words.
    writeln!(
        io::stderr(),
        "WARNING: the storage conformance does not test a full disk: {why}"
    )
    .ok();
    Stop::NotApplicable(why)
}

/// Where the content of each file below `dir` ends. A file that was made longer ahead of need has zeros after that.
fn ends(dir: &Path) -> Result<BTreeMap<PathBuf, u64>, Stop> {
    let mut ends = BTreeMap::new();
    collect_ends(dir, &mut ends).or_fail("looking at the engine's files")?;
    Ok(ends)
}

fn collect_ends(path: &Path, ends: &mut BTreeMap<PathBuf, u64>) -> io::Result<()> {
    match RealFiles.list(path) {
        Ok(names) => names
            .iter()
            .try_for_each(|name| collect_ends(&path.join(name), ends)),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            ends.insert(path.to_path_buf(), end(path)?);
            Ok(())
        }
        // The engine has removed it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn end(path: &Path) -> io::Result<u64> {
    const BLOCK: u64 = 1 << 16;
    let file = RealFiles.open(path, OpenMode::Read)?;
    let mut blocks = file.len()?.div_ceil(BLOCK);
    let (mut block, zeros) = (vec![0; BLOCK as usize], vec![0; BLOCK as usize]);
    while blocks > 0 {
        blocks -= 1;
        let read = read_full_at(file.as_ref(), &mut block, blocks * BLOCK)?;
        // Block by block, since a file may have many megabytes of zeros.
        if block[..read] != zeros[..read]
            && let Some(last) = block[..read].iter().rposition(|byte| *byte != 0)
        {
            return Ok(blocks * BLOCK + last as u64 + 1);
        }
    }
    Ok(0)
}

/// The end of the file that a write has made grow.
fn grown(before: &BTreeMap<PathBuf, u64>, after: &BTreeMap<PathBuf, u64>) -> u64 {
    let grown = after
        .iter()
        .filter(|(path, end)| before.get(*path).is_none_or(|before| before < end));
    grown.map(|(_, end)| *end).max().unwrap_or(0)
}
