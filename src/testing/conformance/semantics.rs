//! What one thread sees of its own calls.

use super::Survives;
use super::lab::ensure;
use super::lab::{Lab, Pairs, difference, failed, read_all, show};
use super::report::{Checked, Stop, Tally};
use super::steps::{Shape, Step, apply};
use crate::storage::{StorageEngine, WriteBatch};

/// Every way to write and to read one key.
pub(super) fn basic_operations(lab: &Lab) -> Checked {
    let mut tally = Tally::of(&["calls"]);
    let engine = lab.open_new()?;
    let engine = engine.as_ref();
    expect(engine, b"key", None, "nothing was put")?;
    for value in [&b"one"[..], b"", b"a longer value than the one before", b"\0\xff"] {
        engine
            .put(b"key", value)
            .map_err(|error| failed("put failed", &error))?;
        expect(engine, b"key", Some(value), "it was put")?;
        tally.add("calls", 3);
    }
    for (key, value) in [(&b"ke"[..], b"shorter"), (b"key\0", b"longer!")] {
        engine
            .put(key, value)
            .map_err(|error| failed("put failed", &error))?;
    }
    for what in ["it was deleted", "it was deleted twice"] {
        engine
            .delete(b"key")
            .map_err(|error| failed("delete failed", &error))?;
        expect(engine, b"key", None, what)?;
        tally.add("calls", 3);
    }
    expect(engine, b"ke", Some(b"shorter"), "a longer key was deleted")?;
    expect(engine, b"key\0", Some(b"longer!"), "a shorter key was deleted")?;
    engine
        .put(b"key", b"again")
        .map_err(|error| failed("put failed", &error))?;
    expect(engine, b"key", Some(b"again"), "it was put again")?;
    engine.flush().map_err(|error| failed("flush failed", &error))?;
    expect(engine, b"key", Some(b"again"), "it was flushed")?;
    Ok(tally)
}

/// Operations of one batch on one key.
pub(super) fn batch_order(lab: &Lab) -> Checked {
    let mut tally = Tally::of(&["batches"]);
    let engine = lab.open_new()?;
    let mut pairs = Pairs::new();
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
        write(engine.as_ref(), &batch, &mut pairs)?;
        expect_all(
            engine.as_ref(),
            &pairs,
            &format!("batch {number}, {sequence:?} on {key:?}"),
        )?;
        tally.add("batches", 1);
    }
    write(engine.as_ref(), &WriteBatch::new(), &mut pairs)?;
    expect_all(engine.as_ref(), &pairs, "an empty batch")?;
    if lab.require(Survives::Reopening).is_ok() {
        let dir = lab.dir()?;
        let engine = lab.open(&dir)?;
        write(engine.as_ref(), &WriteBatch::new(), &mut Pairs::new())?;
        drop(engine);
        expect_all(
            lab.open(&dir)?.as_ref(),
            &Pairs::new(),
            "an empty batch and reopening",
        )?;
    }
    Ok(tally)
}

/// A batch of which the engine refuses one operation: the others must not be done either, and what the engine accepts
/// afterwards counts.
pub(super) fn batch_refused(lab: &Lab) -> Checked {
    let mut tally = Tally::of(&["batches with an extreme operation"]);
    for (what, key) in super::limits::extreme_keys() {
        for position in 0..3 {
            let dir = lab.dir()?;
            let engine = lab.open(&dir)?;
            let mut pairs = Pairs::new();
            Step::new(0, Shape::Batch)
                .run(engine.as_ref())
                .map_err(|error| failed("a write failed", &error))?;
            Step::new(0, Shape::Batch).apply(&mut pairs);
            let mut batch = WriteBatch::new();
            for index in 0..3 {
                if index == position {
                    batch.put(key.clone(), "extreme");
                }
                batch.put(format!("part {index}"), "there");
            }
            let is_refused = engine.write_batch(batch.clone()).is_err();
            tally.add("batches with an extreme operation", 1);
            tally.add("refusals", u64::from(is_refused));
            let context = format!("a batch with {what} in place {position}");
            let mut with = pairs.clone();
            for operation in batch.into_operations() {
                apply(&mut with, operation);
            }
            let found = read_all(engine.as_ref())?;
            // After an error it may be either, and whole.
            if found == with {
                pairs = with;
            } else {
                ensure!(is_refused, "{context} was acknowledged and is not all there");
                let what = difference(&found, &pairs);
                ensure!(
                    what.is_none(),
                    "{context} failed and was half done: {}",
                    what.unwrap_or_default()
                );
            }
            let later = Step::new(1, Shape::Put);
            if later.run(engine.as_ref()).is_ok() {
                later.apply(&mut pairs);
                tally.add("later writes that succeeded", 1);
            }
            expect_all(engine.as_ref(), &pairs, &format!("{context}, and a later write"))?;
            drop(engine);
            if lab.require(Survives::Reopening).is_ok() {
                let engine = lab.open(&dir)?;
                expect_all(
                    engine.as_ref(),
                    &pairs,
                    &format!("{context}, a later write and reopening"),
                )?;
            }
        }
    }
    Ok(tally)
}

/// Closing and opening again and again, flushed or not.
pub(super) fn reopening(lab: &Lab) -> Checked {
    lab.require(Survives::Reopening)?;
    let mut tally = Tally::of(&["reopenings", "writes"]);
    let dir = lab.dir()?;
    let mut pairs = Pairs::new();
    for round in 0..6 {
        let engine = lab.open(&dir)?;
        expect_all(engine.as_ref(), &pairs, &format!("reopening {round} times"))?;
        for index in 0..8 {
            let step = Step::new(round * 8 + index, Shape::of(index));
            step.run(engine.as_ref())
                .map_err(|error| failed(format_args!("{step} failed"), &error))?;
            step.apply(&mut pairs);
            tally.add("writes", 1);
        }
        if round % 2 == 0 {
            engine.flush().map_err(|error| failed("flush failed", &error))?;
        }
        expect_all(engine.as_ref(), &pairs, &format!("the writes of round {round}"))?;
        tally.add("reopenings", 1);
    }
    expect_all(lab.open(&dir)?.as_ref(), &pairs, "the last reopening")?;
    Ok(tally)
}

pub(super) fn write(engine: &dyn StorageEngine, batch: &WriteBatch, pairs: &mut Pairs) -> Result<(), Stop> {
    engine
        .write_batch(batch.clone())
        .map_err(|error| failed("write_batch failed", &error))?;
    for operation in batch.operations().iter().cloned() {
        apply(pairs, operation);
    }
    Ok(())
}

pub(super) fn expect(
    engine: &dyn StorageEngine,
    key: &[u8],
    expected: Option<&[u8]>,
    after: &str,
) -> Result<(), Stop> {
    let found = engine
        .get(key)
        .map_err(|error| failed(format_args!("getting {} failed", show(key)), &error))?;
    let in_words = |value: Option<&[u8]>| value.map_or("nothing".to_owned(), show);
    ensure!(
        found.as_deref() == expected,
        "after {after}, key {} gave {}, not {}",
        show(key),
        in_words(found.as_deref()),
        in_words(expected)
    );
    Ok(())
}

/// A scan of everything and a get of each key agree with `pairs`.
pub(super) fn expect_all(engine: &dyn StorageEngine, pairs: &Pairs, after: &str) -> Result<(), Stop> {
    let found = read_all(engine)?;
    if let Some(what) = difference(&found, pairs) {
        return Err(Stop::Failed(format!("after {after}, by a scan: {what}")));
    }
    for (key, value) in pairs {
        expect(engine, key, Some(value), after)?;
    }
    Ok(())
}
