//! What one thread sees of its own calls.

use super::Survives;
use super::lab::{Lab, ensure};
use super::mirrored::{Mirrored, difference, scan};
use super::report::{CheckResult, CheckStop, CheckTally};
use super::steps::{MarkedWrite, WriteShape, apply};
use crate::storage::WriteBatch;

/// Every way to write and to read one key.
pub(super) fn basic_operations(lab: &Lab) -> CheckResult {
    let mut tally = CheckTally::of(&["calls"]);
    let mut it = Mirrored::new(lab)?;
    it.expect(b"key", "nothing was put")?;
    for value in [&b"one"[..], b"", b"a longer value than the one before", b"\0\xff"] {
        it.put(b"key", value)?;
        it.expect(b"key", "it was put")?;
        tally.add("calls", 3);
    }
    it.put(b"ke", b"shorter")?;
    it.put(b"key\0", b"longer!")?;
    for what in ["it was deleted", "it was deleted twice"] {
        it.delete(b"key")?;
        it.expect(b"key", what)?;
        tally.add("calls", 3);
    }
    it.expect(b"ke", "a longer key was deleted")?;
    it.expect(b"key\0", "a shorter key was deleted")?;
    it.put(b"key", b"again")?;
    it.expect(b"key", "it was put again")?;
    it.flush()?;
    it.expect(b"key", "it was flushed")?;
    Ok(tally)
}

/// Operations of one batch on one key.
pub(super) fn batch_order(lab: &Lab) -> CheckResult {
    let mut tally = CheckTally::of(&["batches"]);
    let mut it = Mirrored::new(lab)?;
    // All sequences of up to four operations on one key: p and q put different values, d deletes.
    let mut sequences = vec![String::new()];
    for from in 0.. {
        let Some(sequence) = sequences.get(from).filter(|sequence| sequence.len() < 4).cloned() else {
            break;
        };
        sequences.extend("pqd".chars().map(|operation| format!("{sequence}{operation}")));
    }
    for (number, sequence) in sequences.iter().enumerate() {
        let key = format!("key {}", number % 7);
        let mut batch = WriteBatch::new();
        batch.put(format!("before {number}"), "there");
        for operation in sequence.chars() {
            match operation {
                'd' => batch.delete(key.clone()),
                value => batch.put(key.clone(), format!("{number}{value}")),
            }
        }
        batch.put(format!("after {number}"), "there");
        batch.delete(format!("after {}", number.wrapping_sub(1)));
        it.write(&batch)?;
        it.expect_all(&format!("batch {number}, {sequence:?} on {key:?}"))?;
        tally.add("batches", 1);
    }
    it.write(&WriteBatch::new())?;
    it.expect_all("an empty batch")?;
    let mut empty = Mirrored::new(lab)?;
    empty.write(&WriteBatch::new())?;
    empty.reopen("an empty batch and reopening")?;
    Ok(tally)
}

/// A batch of which the engine refuses one operation: the others must not be done either, and what the engine accepts
/// afterwards counts.
pub(super) fn batch_refused(lab: &Lab) -> CheckResult {
    let mut tally = CheckTally::of(&["batches with an extreme operation"]);
    for (what, key) in super::limits::extreme_keys() {
        for position in 0..3 {
            let context = format!("a batch with {what} in place {position}");
            refuse_batch(lab, &key, position, &context, &mut tally)?;
        }
    }
    Ok(tally)
}

fn refuse_batch(
    lab: &Lab,
    key: &[u8],
    position: usize,
    context: &str,
    tally: &mut CheckTally,
) -> Result<(), CheckStop> {
    let mut it = Mirrored::new(lab)?;
    it.run(&MarkedWrite::new(0, WriteShape::Batch))?;
    let mut batch = WriteBatch::new();
    for index in 0..3 {
        if index == position {
            batch.put(key.to_vec(), "extreme");
        }
        batch.put(format!("part {index}"), "there");
    }
    let is_refused = it.engine.write_batch(batch.clone()).is_err();
    tally.add("batches with an extreme operation", 1);
    tally.add("refusals", u64::from(is_refused));
    let mut with = it.pairs.clone();
    apply(&mut with, &batch);
    let found = scan(it.engine.as_ref(), b"")?;
    // After an error it may be either, and whole.
    if found == with {
        it.pairs = with;
    } else {
        ensure!(is_refused, "{context} was acknowledged and is not all there");
        if let Some(what) = difference(&found, &it.pairs) {
            let text = format!("{context} failed and was half done: {what}");
            return Err(CheckStop::Failed(text));
        }
    }
    let later = MarkedWrite::new(1, WriteShape::Put);
    if later.run(it.engine.as_ref()).is_ok() {
        later.apply(&mut it.pairs);
        tally.add("later writes that succeeded", 1);
    }
    it.expect_all(&format!("{context}, and a later write"))?;
    it.reopen(&format!("{context}, a later write and reopening"))?;
    Ok(())
}

/// Opening again and again, flushed or not.
pub(super) fn reopening(lab: &Lab) -> CheckResult {
    lab.require(Survives::Reopening)?;
    let mut tally = CheckTally::of(&["reopenings", "writes"]);
    let mut it = Mirrored::new(lab)?;
    for round in 0..6 {
        for index in 0..8 {
            it.run(&MarkedWrite::small(round * 8 + index))?;
            tally.add("writes", 1);
        }
        if round % 2 == 0 {
            it.flush()?;
        }
        it.expect_all(&format!("the writes of round {round}"))?;
        it = it.reopen(&format!("reopening {} times", round + 1))?;
        tally.add("reopenings", 1);
    }
    Ok(tally)
}
