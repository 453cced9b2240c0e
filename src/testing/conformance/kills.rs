//! A real child process that is killed with `SIGKILL`: its page cache stays, its memory goes.

use std::time::Duration;

use super::Survives;
use super::account::{WriteAccount, WriteFate};
use super::lab::{Lab, OrFail};
use super::parent::{EngineChild, OverLimit, settle};
use super::report::{CheckResult, CheckStop, CheckTally};
use super::steps::MarkedWrite;

/// Kills when nothing is under way: after opening, after a write of each kind, after a flush.
pub(super) fn between_calls(lab: &Lab) -> CheckResult {
    kill_after(
        lab,
        &[0, 1, 2, 3, 0, 9, 4, 5],
        "",
        |child, writes_len, account| {
            let before_flush = writes_len.min(5);
            child.must_write(before_flush, account)?;
            if before_flush == 5 {
                child.flush(account)?.or_fail("flush")?;
            }
            child.must_write(writes_len - before_flush, account)
        },
    )
}

/// Opens, does `work` with so many writes and kills, one time after the other.
pub(super) fn kill_after(
    lab: &Lab,
    writes: &[usize],
    what: &str,
    work: impl Fn(&mut EngineChild, usize, &mut WriteAccount) -> Result<(), CheckStop>,
) -> CheckResult {
    lab.require(Survives::ProcessCrash)?;
    let mut tally = CheckTally::of(&["kills", "acknowledged writes"]);
    let dir = lab.dir()?;
    let mut account = WriteAccount::default();
    for writes_len in writes {
        let mut child = EngineChild::opened(lab, &dir, OverLimit::EndsProcess)?;
        work(&mut child, *writes_len, &mut account)?;
        child.kill()?;
        tally.add("kills", 1);
        tally.add("acknowledged writes", *writes_len as u64);
        let context = format!("{what} a kill after {writes_len} writes");
        settle(lab, &dir, &mut account, context.trim())?;
    }
    Ok(tally)
}

/// Kills in the middle of writing, whatever it is doing at that moment.
pub(super) fn in_a_stream(lab: &Lab) -> CheckResult {
    /// More than a child can make until it is killed.
    const STREAM_LEN: usize = 100_000;
    lab.require(Survives::ProcessCrash)?;
    let mut tally = CheckTally::of(&["kills", "acknowledged writes"]);
    let dir = lab.dir()?;
    let mut account = WriteAccount::default();
    for heard_before in [1, 2, 3, 5, 8, 13, 21, 34, 40, 47] {
        let mut child = EngineChild::opened(lab, &dir, OverLimit::EndsProcess)?;
        let from = account.len();
        child
            .process
            .send_line(&format!("stream {from} {}", from + STREAM_LEN));
        let mut answers = Vec::new();
        while answers.len() < heard_before {
            answers.push(child.hear(&format!("write {}", from + answers.len()))?);
        }
        answers.extend(child.kill()?);
        tally.add("kills", 1);
        tally.add("acknowledged writes", answers.len() as u64);
        for answer in answers {
            let step = MarkedWrite::small(account.len());
            answer.or_fail(&step)?;
            account.add(step, WriteFate::Acknowledged);
        }
        account.add(MarkedWrite::small(account.len()), WriteFate::InFlight);
        let last = account.len() - 1;
        let context = format!("a kill in a stream of writes, in or after write {last}");
        settle(lab, &dir, &mut account, &context)?;
    }
    Ok(tally)
}

/// Kills while it opens what a kill has left, at moments that are later and later.
pub(super) fn while_opening(lab: &Lab) -> CheckResult {
    const ROUNDS_MAX: u32 = 16;
    lab.require(Survives::ProcessCrash)?;
    let mut tally = CheckTally::of(&["kills before it was open", "acknowledged writes"]);
    let dir = lab.dir()?;
    let mut account = WriteAccount::default();
    for round in 0..ROUNDS_MAX {
        let mut child = EngineChild::opened(lab, &dir, OverLimit::EndsProcess)?;
        child.must_write(6, &mut account)?;
        tally.add("acknowledged writes", 6);
        child.kill()?;

        let mut child = EngineChild::start(lab, OverLimit::EndsProcess)?;
        child.tell_open(&dir)?;
        // At once, and then twice as late each time until it is too late. The time orders nothing: any moment will do.
        let wait = Duration::from_micros((1 << round) >> 1) * 25;
        let heard = child.hear_within(wait);
        let answer = child.kill()?.pop().or(heard);
        let is_open = answer.is_some();
        answer.unwrap_or(Ok(())).or_fail("opening after a kill")?;
        tally.add("kills before it was open", u64::from(!is_open));
        let context = format!("a kill {wait:?} after it began to open");
        settle(lab, &dir, &mut account, &context)?;
        if is_open {
            break;
        }
    }
    Ok(tally)
}
