//! Kills of a real child process with `SIGKILL`. After a kill the page cache of the child remains and its memory is
//! lost.

use std::time::Duration;

use super::Survives;
use super::context::{CheckContext, CheckedCall};
use super::parent::{EngineChild, OverLimit, open_and_check};
use super::report::{CheckResult, CheckStop, CheckTally};
use super::write_history::{WriteHistory, WriteStatus};
use super::writes::MarkedWrite;

/// Kills between calls: after opening, after a write of each kind, after a flush.
pub(super) fn between_calls(context: &CheckContext) -> CheckResult {
    kill_after(
        context,
        &[0, 1, 2, 3, 0, 9, 4, 5],
        "",
        |child, writes_len, history| {
            let before_flush = writes_len.min(5);
            child.must_write(before_flush, history)?;
            if before_flush == 5 {
                child.flush(history)?.or_fail("flush")?;
            }
            child.must_write(writes_len - before_flush, history)
        },
    )
}

/// For each number in `writes`, opens the engine in a child, does `work` with so many writes, kills the child and
/// checks the content. `place` is a text for the place of the kill.
pub(super) fn kill_after(
    context: &CheckContext,
    writes: &[usize],
    place: &str,
    work: impl Fn(&mut EngineChild, usize, &mut WriteHistory) -> Result<(), CheckStop>,
) -> CheckResult {
    context.require(Survives::ProcessCrash)?;
    let mut tally = CheckTally::of(&["kills", "acknowledged writes"]);
    let dir = context.dir()?;
    let mut history = WriteHistory::default();
    for writes_len in writes {
        let mut child = EngineChild::opened(context, &dir, OverLimit::EndsProcess)?;
        work(&mut child, *writes_len, &mut history)?;
        child.kill()?;
        tally.add("kills", 1);
        tally.add("acknowledged writes", *writes_len as u64);
        let after = format!("{place} a kill after {writes_len} writes");
        open_and_check(context, &dir, &mut history, after.trim())?;
    }
    Ok(tally)
}

/// Kills during a stream of writes, at any point of a write.
pub(super) fn in_a_stream(context: &CheckContext) -> CheckResult {
    /// More writes than a child can make before the kill.
    const STREAM_LEN: usize = 100_000;
    context.require(Survives::ProcessCrash)?;
    let mut tally = CheckTally::of(&["kills", "acknowledged writes"]);
    let dir = context.dir()?;
    let mut history = WriteHistory::default();
    for answers_before in [1, 2, 3, 5, 8, 13, 21, 34, 40, 47] {
        let mut child = EngineChild::opened(context, &dir, OverLimit::EndsProcess)?;
        let from = history.len();
        child
            .process
            .send_line(&format!("stream {from} {}", from + STREAM_LEN));
        let mut answers = Vec::new();
        while answers.len() < answers_before {
            answers.push(child.answer_to(&format!("write {}", from + answers.len()))?);
        }
        answers.extend(child.kill()?);
        tally.add("kills", 1);
        tally.add("acknowledged writes", answers.len() as u64);
        for answer in answers {
            let write = MarkedWrite::small(history.len());
            answer.or_fail(&write)?;
            history.add(write, WriteStatus::Acknowledged);
        }
        history.add(MarkedWrite::small(history.len()), WriteStatus::InFlight);
        let last = history.len() - 1;
        let after = format!("a kill in a stream of writes, in or after write {last}");
        open_and_check(context, &dir, &mut history, &after)?;
    }
    Ok(tally)
}

/// Kills during the recovery from an earlier kill, each time after a longer delay.
pub(super) fn while_opening(context: &CheckContext) -> CheckResult {
    const ROUNDS_MAX: u32 = 16;
    context.require(Survives::ProcessCrash)?;
    let mut tally = CheckTally::of(&["kills during opening", "acknowledged writes"]);
    let dir = context.dir()?;
    let mut history = WriteHistory::default();
    for round in 0..ROUNDS_MAX {
        let mut child = EngineChild::opened(context, &dir, OverLimit::EndsProcess)?;
        child.must_write(6, &mut history)?;
        tally.add("acknowledged writes", 6);
        child.kill()?;

        let mut child = EngineChild::start(context, OverLimit::EndsProcess)?;
        child.send_open(&dir)?;
        // The first kill has no delay. The delay doubles until the engine is open before the kill. The delay orders no
        // threads: a kill at any time is a valid test.
        let wait = Duration::from_micros((1 << round) >> 1) * 25;
        let answer_before = child.answer_within(wait);
        let answer = child.kill()?.pop().or(answer_before);
        let is_open = answer.is_some();
        answer.unwrap_or(Ok(())).or_fail("opening after a kill")?;
        tally.add("kills during opening", u64::from(!is_open));
        let after = format!("a kill {wait:?} after the start of the opening");
        open_and_check(context, &dir, &mut history, &after)?;
        if is_open {
            break;
        }
    }
    Ok(tally)
}
