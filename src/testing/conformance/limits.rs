//! Sizes of keys and values: what must work works, and what need not is an error and not a panic.

use super::Survives;
use super::lab::{Lab, ensure};
use super::mirrored::Mirrored;
use super::report::{CheckResult, CheckStop, CheckTally};
use crate::limits::STORAGE_KEY_BYTES_MAX;
use crate::storage::WriteBatch;
use crate::testing::workload::Random;

const MIB: usize = 1 << 20;

/// Values from nothing to several MiB, by put and by batch.
pub(super) fn value_sizes(lab: &Lab) -> CheckResult {
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
    let mut tally = CheckTally::of(&["values", "bytes"]);
    let mut it = Mirrored::new(lab)?;
    let mut random = Random::new(lab.seed());
    for (index, size) in SIZES.into_iter().enumerate() {
        let key = format!("put {size}").into_bytes();
        it.put(&key, &random.bytes(size))?;
        it.expect(&key, &format!("putting {size} bytes"))?;
        tally.add("values", 2);
        tally.add("bytes", 2 * size as u64);

        // Two sizes in one batch, the larger one not always last.
        let mut batch = WriteBatch::new();
        for size in [size, SIZES[(index + 5) % SIZES.len()].min(70_000)] {
            batch.put(format!("batch {index} {size}"), random.bytes(size));
        }
        it.write(&batch)?;
    }
    it.expect_all("values of all sizes")?;
    it.reopen("values of all sizes, and reopening")?;
    tally.add("reopenings", u64::from(lab.survives(Survives::Reopening)));
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
pub(super) fn key_sizes(lab: &Lab) -> CheckResult {
    let mut tally = CheckTally::of(&["keys within the limit", "calls with extreme keys"]);
    let mut it = Mirrored::new(lab)?;
    let limit = STORAGE_KEY_BYTES_MAX;
    for len in [1, 2, 127, 128, 255, 256, limit - 1, limit] {
        for last in [0, b'k', 0xff] {
            let mut key = vec![b'k'; len];
            key[len - 1] = last;
            let mut batch = WriteBatch::new();
            batch.put(key.clone(), len.to_string());
            it.write(&batch)?;
            it.expect(&key, "a batch")?;
            tally.add("keys within the limit", 1);
        }
    }
    it.expect_all("keys of all sizes")?;
    it.reopen("keys of all sizes, and reopening")?;
    for (what, key) in extreme_keys() {
        for call in ["put", "batch"] {
            write_extreme(lab, what, &key, call, &mut tally)?;
        }
        read_extreme(lab, what, &key, &mut tally)?;
    }
    Ok(tally)
}

/// One write with an extreme key in a new engine, since after an error nothing need be taken.
fn write_extreme(
    lab: &Lab,
    what: &str,
    key: &[u8],
    call: &str,
    tally: &mut CheckTally,
) -> Result<(), CheckStop> {
    let mut it = Mirrored::new(lab)?;
    it.put(b"ordinary", b"there")?;
    let result = if call == "put" {
        it.engine.put(key, b"extreme")
    } else {
        let mut batch = WriteBatch::new();
        batch.put(key.to_vec(), "extreme");
        it.engine.write_batch(batch)
    };
    tally.add("calls with extreme keys", 1);
    let end = match result {
        Ok(()) => {
            it.pairs.insert(key.to_vec(), b"extreme".to_vec());
            "acknowledged"
        }
        Err(error) => {
            let has_words = !error.to_string().is_empty();
            ensure!(has_words, "{call} of {what} failed without a word");
            tally.add("refusals", 1);
            "refused"
        }
    };
    it.expect_all(&format!("{call} of {what}, {end}"))?;
    it.reopen(&format!("{call} of {what}, {end}, and reopening"))?;
    Ok(())
}

/// Reads and deletes of a key that is not there: nothing, or an error.
fn read_extreme(lab: &Lab, what: &str, key: &[u8], tally: &mut CheckTally) -> Result<(), CheckStop> {
    let it = Mirrored::new(lab)?;
    let got = it.engine.get(key).is_ok_and(|value| value.is_some());
    ensure!(!got, "getting {what} that was never put gave a value");
    let scanned = it
        .engine
        .scan_prefix(key)
        .map(|mut pairs| pairs.any(|pair| pair.is_ok()));
    let scanned = scanned.unwrap_or(false);
    ensure!(
        !scanned,
        "a scan with {what} as its prefix gave something from an empty engine"
    );
    let deleted = it.engine.delete(key).is_ok();
    tally.add("calls with extreme keys", 2 + u64::from(deleted));
    it.expect_all(&format!("getting and deleting {what}"))
}
