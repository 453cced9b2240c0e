//! The effects of the calls of one thread: gets, puts, deletes, batches and reopenings.

use super::Survives;
use super::context::{CheckContext, ensure};
use super::engine_with_map::{EngineWithMap, difference, scan};
use super::report::{CheckResult, CheckStop, CheckTally};
use super::writes::{MarkedWrite, WriteShape, apply};
use crate::storage::WriteBatch;

/// Every way to write and to read one key.
pub(super) fn basic_operations(context: &CheckContext) -> CheckResult {
    let mut tally = CheckTally::of(&["calls"]);
    let mut store = EngineWithMap::new(context)?;
    store.expect(b"key", "opening")?;
    for value in [&b"one"[..], b"", b"a longer value than the one before", b"\0\xff"] {
        store.put(b"key", value)?;
        store.expect(b"key", "a put")?;
        tally.add("calls", 3);
    }
    store.put(b"ke", b"shorter")?;
    store.put(b"key\0", b"longer!")?;
    for after in ["a delete", "a second delete"] {
        store.delete(b"key")?;
        store.expect(b"key", after)?;
        tally.add("calls", 3);
    }
    store.expect(b"ke", "a delete of a longer key")?;
    store.expect(b"key\0", "a delete of a shorter key")?;
    store.put(b"key", b"again")?;
    store.expect(b"key", "a put after the delete")?;
    store.flush()?;
    store.expect(b"key", "a flush")?;
    Ok(tally)
}

/// Operations of one batch on one key.
pub(super) fn batch_order(context: &CheckContext) -> CheckResult {
    let mut tally = CheckTally::of(&["batches"]);
    let mut store = EngineWithMap::new(context)?;
    // All sequences of up to four operations on one key. `p` and `q` put different values, and `d` deletes.
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
        batch.put(format!("before {number}"), "value");
        for operation in sequence.chars() {
            match operation {
                'd' => batch.delete(key.clone()),
                value => batch.put(key.clone(), format!("{number}{value}")),
            }
        }
        batch.put(format!("after {number}"), "value");
        batch.delete(format!("after {}", number.wrapping_sub(1)));
        store.write(&batch)?;
        store.expect_all(&format!("batch {number}, {sequence:?} on {key:?}"))?;
        tally.add("batches", 1);
    }
    store.write(&WriteBatch::new())?;
    store.expect_all("an empty batch")?;
    let mut empty = EngineWithMap::new(context)?;
    empty.write(&WriteBatch::new())?;
    empty.reopen("an empty batch and reopening")?;
    Ok(tally)
}

/// Batches in which the engine may refuse one operation. If it does, the other operations must have no effect, and
/// later acknowledged writes must have theirs.
pub(super) fn batch_refused(context: &CheckContext) -> CheckResult {
    let mut tally = CheckTally::of(&["batches with an extreme operation"]);
    for (name, key) in super::limits::extreme_keys() {
        for position in 0..3 {
            let call = format!("a batch with {name} at position {position}");
            write_extreme_batch(context, &key, position, &call, &mut tally)?;
        }
    }
    Ok(tally)
}

fn write_extreme_batch(
    context: &CheckContext,
    key: &[u8],
    position: usize,
    call: &str,
    tally: &mut CheckTally,
) -> Result<(), CheckStop> {
    let mut store = EngineWithMap::new(context)?;
    store.run(&MarkedWrite::new(0, WriteShape::Batch))?;
    let mut batch = WriteBatch::new();
    for index in 0..3 {
        if index == position {
            batch.put(key.to_vec(), "extreme");
        }
        batch.put(format!("part {index}"), "value");
    }
    let is_refused = store.engine.write_batch(batch.clone()).is_err();
    tally.add("batches with an extreme operation", 1);
    tally.add("refusals", u64::from(is_refused));
    let mut with = store.pairs.clone();
    apply(&mut with, &batch);
    let found = scan(store.engine.as_ref(), b"")?;
    // After an error the batch may have its whole effect or none.
    if found == with {
        store.pairs = with;
    } else {
        ensure!(is_refused, "{call} was acknowledged, and a part of it is missing");
        if let Some(difference) = difference(&found, &store.pairs) {
            let text = format!("{call} failed and had a part of its effect: {difference}");
            return Err(CheckStop::Failed(text));
        }
    }
    let later = MarkedWrite::new(1, WriteShape::Put);
    if later.run(store.engine.as_ref()).is_ok() {
        later.apply(&mut store.pairs);
        tally.add("later writes that succeeded", 1);
    }
    store.expect_all(&format!("{call}, and a later write"))?;
    store.reopen(&format!("{call}, a later write and reopening"))?;
    Ok(())
}

/// Repeated reopenings, with and without a flush before them.
pub(super) fn reopening(context: &CheckContext) -> CheckResult {
    context.require(Survives::Reopening)?;
    let mut tally = CheckTally::of(&["reopenings", "writes"]);
    let mut store = EngineWithMap::new(context)?;
    for round in 0..6 {
        for index in 0..8 {
            store.run(&MarkedWrite::small(round * 8 + index))?;
            tally.add("writes", 1);
        }
        if round % 2 == 0 {
            store.flush()?;
        }
        store.expect_all(&format!("the writes of round {round}"))?;
        store = store.reopen(&format!("reopening {} times", round + 1))?;
        tally.add("reopenings", 1);
    }
    Ok(tally)
}
