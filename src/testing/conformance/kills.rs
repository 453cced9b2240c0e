//! A real child process that is killed with `SIGKILL`: its page cache stays, its memory goes.

use std::path::Path;
use std::time::Duration;

use super::Survives;
use super::account::{Account, Fate, Promise};
use super::lab::{Lab, read_all};
use super::parent::{Child, OverLimit};
use super::report::{Checked, Stop, Tally};
use super::steps::Step;

/// Kills when nothing is under way: after opening, after a write of each kind, after a flush.
pub(super) fn between_calls(lab: &Lab) -> Checked {
    lab.require(Survives::ProcessCrash)?;
    let mut tally = Tally::of(&["kills", "acknowledged writes"]);
    let dir = lab.dir()?;
    let mut account = Account::default();
    for writes_len in [0, 1, 2, 3, 0, 9, 4, 5] {
        let mut child = opened(lab, &dir)?;
        for number in 0..writes_len {
            let step = Step::small(account.len());
            let answer = child.write(&step)?;
            answer.map_err(|text| Stop::Failed(format!("{step} failed: {text}")))?;
            account.add(step, Fate::Acknowledged);
            tally.add("acknowledged writes", 1);
            if number == 4 {
                flush(&mut child, &mut account)?;
            }
        }
        child.kill()?;
        tally.add("kills", 1);
        settle(
            lab,
            &dir,
            &mut account,
            &format!("a kill after {writes_len} writes"),
        )?;
    }
    Ok(tally)
}

/// Kills in the middle of writing, whatever it is doing at that moment.
pub(super) fn in_a_stream(lab: &Lab) -> Checked {
    /// More than a child can make until it is killed.
    const STREAM_LEN: usize = 100_000;
    lab.require(Survives::ProcessCrash)?;
    let mut tally = Tally::of(&["kills", "acknowledged writes"]);
    let dir = lab.dir()?;
    let mut account = Account::default();
    for heard_before in [1, 2, 3, 5, 8, 13, 21, 34, 40, 47] {
        let mut child = opened(lab, &dir)?;
        let from = account.len();
        child.tell_stream(from, from + STREAM_LEN);
        let mut answers = Vec::new();
        while answers.len() < heard_before {
            answers.push(child.hear(|| format!("write {}", from + answers.len()))?);
        }
        answers.extend(child.kill()?);
        tally.add("kills", 1);
        tally.add("acknowledged writes", answers.len() as u64);
        for answer in answers {
            let step = Step::small(account.len());
            answer.map_err(|text| Stop::Failed(format!("{step} failed: {text}")))?;
            account.add(step, Fate::Acknowledged);
        }
        account.add(Step::small(account.len()), Fate::InFlight);
        let context = format!(
            "a kill in a stream of writes, in or after write {}",
            account.len() - 1
        );
        settle(lab, &dir, &mut account, &context)?;
    }
    Ok(tally)
}

/// Kills while it opens what a kill has left, at moments that are later and later.
pub(super) fn while_opening(lab: &Lab) -> Checked {
    const ROUNDS_MAX: u32 = 16;
    lab.require(Survives::ProcessCrash)?;
    let mut tally = Tally::of(&["kills before it was open", "acknowledged writes"]);
    let dir = lab.dir()?;
    let mut account = Account::default();
    for round in 0..ROUNDS_MAX {
        let mut child = opened(lab, &dir)?;
        for _ in 0..6 {
            let step = Step::small(account.len());
            let answer = child.write(&step)?;
            answer.map_err(|text| Stop::Failed(format!("{step} failed: {text}")))?;
            account.add(step, Fate::Acknowledged);
            tally.add("acknowledged writes", 1);
        }
        child.kill()?;

        let mut child = Child::start(lab, OverLimit::Dies)?;
        child.tell_open(&dir)?;
        // At once, and then twice as late each time until it is too late. The time orders nothing: any moment will do.
        let wait = Duration::from_micros((1 << round) >> 1) * 25;
        let heard = child.hear_within(wait);
        let answer = child.kill()?.pop().or(heard);
        if let Some(Err(text)) = &answer {
            return Err(Stop::Failed(format!("opening after a kill failed: {text}")));
        }
        tally.add("kills before it was open", u64::from(answer.is_none()));
        settle(
            lab,
            &dir,
            &mut account,
            &format!("a kill {wait:?} after it began to open"),
        )?;
        if answer.is_some() {
            break;
        }
    }
    Ok(tally)
}

/// A child that has the engine in `dir` open.
pub(super) fn opened(lab: &Lab, dir: &Path) -> Result<Child, Stop> {
    let mut child = Child::start(lab, OverLimit::Dies)?;
    child
        .open(dir)?
        .map_err(|text| Stop::Failed(format!("opening in a child process failed: {text}")))?;
    Ok(child)
}

pub(super) fn flush(child: &mut Child, account: &mut Account) -> Result<(), Stop> {
    child
        .flush()?
        .map_err(|text| Stop::Failed(format!("flush failed: {text}")))?;
    account.flushed();
    Ok(())
}

/// Opens what there is, in this process, and holds it against the account.
pub(super) fn settle(lab: &Lab, dir: &Path, account: &mut Account, after: &str) -> Result<(), Stop> {
    let say = |text: String| format!("after {after}: {text}");
    let engine = lab.open(dir).map_err(|stop| stop.map(say))?;
    let found = read_all(engine.as_ref()).map_err(|stop| stop.map(say))?;
    let settled = account.settle(&found, Promise::Acknowledged);
    settled.map_err(|text| Stop::Failed(say(text)))
}
