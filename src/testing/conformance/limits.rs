//! Sizes of keys and values: what must work works, and what need not is an error and not a panic.

use super::Survives;
use super::lab::{Lab, Pairs, ensure, failed};
use super::report::{Checked, Stop, Tally};
use super::semantics::{expect, expect_all, write};
use crate::limits::STORAGE_KEY_BYTES_MAX;
use crate::storage::WriteBatch;
use crate::testing::workload::Random;

const MIB: usize = 1 << 20;

/// Values from nothing to several MiB, by put and by batch.
pub(super) fn value_sizes(lab: &Lab) -> Checked {
    const SIZES: [usize; 14] = [
        0,
        1,
        127,
        128,
        255,
        256,
        4_095,
        4_096,
        65_535,
        65_536,
        65_537,
        MIB - 1,
        MIB,
        3 * MIB,
    ];
    let mut tally = Tally::of(&["values", "bytes"]);
    let dir = lab.dir()?;
    let engine = lab.open(&dir)?;
    let mut random = Random::new(lab.seed());
    let mut pairs = Pairs::new();
    for (index, size) in SIZES.into_iter().enumerate() {
        let value = random.bytes(size);
        let key = format!("put {size}").into_bytes();
        engine
            .put(&key, &value)
            .map_err(|error| failed(format_args!("putting a value of {size} bytes failed"), &error))?;
        expect(
            engine.as_ref(),
            &key,
            Some(&value),
            &format!("putting {size} bytes"),
        )?;
        pairs.insert(key, value);
        tally.add("values", 2);
        tally.add("bytes", 2 * size as u64);

        // Two sizes in one batch, the larger one not always last.
        let mut batch = WriteBatch::new();
        for size in [size, SIZES[(index + 5) % SIZES.len()].min(70_000)] {
            batch.put(format!("batch {index} {size}"), random.bytes(size));
        }
        write(engine.as_ref(), &batch, &mut pairs)?;
    }
    expect_all(engine.as_ref(), &pairs, "values of all sizes")?;
    if lab.require(Survives::Reopening).is_ok() {
        drop(engine);
        expect_all(
            lab.open(&dir)?.as_ref(),
            &pairs,
            "values of all sizes, and reopening",
        )?;
        tally.add("reopenings", 1);
    }
    Ok(tally)
}

/// Keys that an engine need not take.
pub(super) fn extreme_keys() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("an empty key", Vec::new()),
        ("a key of 1,025 bytes", vec![b'k'; STORAGE_KEY_BYTES_MAX + 1]),
        ("a key of 65,535 bytes", vec![b'k'; 65_535]),
        ("a key of 65,536 bytes", vec![b'k'; 65_536]),
        ("a key of 1 MiB", vec![b'k'; MIB]),
    ]
}

/// Keys to the limit work; beyond it, and empty, they work or are refused, by every call.
pub(super) fn key_sizes(lab: &Lab) -> Checked {
    let mut tally = Tally::of(&["keys within the limit", "calls with extreme keys"]);
    let dir = lab.dir()?;
    let engine = lab.open(&dir)?;
    let mut pairs = Pairs::new();
    for len in [
        1,
        2,
        127,
        128,
        255,
        256,
        STORAGE_KEY_BYTES_MAX - 1,
        STORAGE_KEY_BYTES_MAX,
    ] {
        for last in [0, b'k', 0xff] {
            let mut key = vec![b'k'; len];
            key[len - 1] = last;
            let mut batch = WriteBatch::new();
            batch.put(key.clone(), len.to_string());
            write(engine.as_ref(), &batch, &mut pairs)?;
            expect(engine.as_ref(), &key, Some(len.to_string().as_bytes()), "a batch")?;
            tally.add("keys within the limit", 1);
        }
    }
    expect_all(engine.as_ref(), &pairs, "keys of all sizes")?;
    drop(engine);
    if lab.require(Survives::Reopening).is_ok() {
        expect_all(
            lab.open(&dir)?.as_ref(),
            &pairs,
            "keys of all sizes, and reopening",
        )?;
    }
    for (what, key) in extreme_keys() {
        for call in ["put", "batch"] {
            write_extreme(lab, what, &key, call, &mut tally)?;
        }
        read_extreme(lab, what, &key, &mut tally)?;
    }
    Ok(tally)
}

/// One write with an extreme key in a new engine, since after an error nothing need be taken.
fn write_extreme(lab: &Lab, what: &str, key: &[u8], call: &str, tally: &mut Tally) -> Result<(), Stop> {
    let dir = lab.dir()?;
    let engine = lab.open(&dir)?;
    let mut pairs = Pairs::new();
    let mut ordinary = WriteBatch::new();
    ordinary.put("ordinary", "there");
    write(engine.as_ref(), &ordinary, &mut pairs)?;
    let result = if call == "put" {
        engine.put(key, b"extreme")
    } else {
        let mut batch = WriteBatch::new();
        batch.put(key.to_vec(), "extreme");
        engine.write_batch(batch)
    };
    let context = match &result {
        Ok(()) => format!("{call} of {what}, acknowledged"),
        Err(error) => {
            ensure!(
                !error.to_string().is_empty(),
                "{call} of {what} failed without a word"
            );
            format!("{call} of {what}, refused")
        }
    };
    tally.add("calls with extreme keys", 1);
    match result {
        Ok(()) => _ = pairs.insert(key.to_vec(), b"extreme".to_vec()),
        Err(_) => tally.add("refusals", 1),
    }
    expect_all(engine.as_ref(), &pairs, &context)?;
    drop(engine);
    if lab.require(Survives::Reopening).is_ok() {
        expect_all(
            lab.open(&dir)?.as_ref(),
            &pairs,
            &format!("{context}, and reopening"),
        )?;
    }
    Ok(())
}

/// Reads and deletes of a key that is not there: nothing, or an error.
fn read_extreme(lab: &Lab, what: &str, key: &[u8], tally: &mut Tally) -> Result<(), Stop> {
    let engine = lab.open_new()?;
    let got = engine.get(key);
    ensure!(
        !matches!(got, Ok(Some(_))),
        "getting {what} that was never put gave a value"
    );
    let scanned = engine
        .scan_prefix(key)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>);
    ensure!(
        !scanned.is_ok_and(|pairs| !pairs.is_empty()),
        "a scan with {what} as its prefix gave something from an empty engine"
    );
    tally.add(
        "calls with extreme keys",
        2 + u64::from(engine.delete(key).is_ok()),
    );
    expect_all(
        engine.as_ref(),
        &Pairs::new(),
        &format!("getting and deleting {what}"),
    )
}
