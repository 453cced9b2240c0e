//! Sizes of keys and values. Promised sizes must work. Other sizes may be refused with an error, but must not cause a
//! panic.

use super::Survives;
use super::context::{CheckContext, ensure};
use super::engine_with_map::EngineWithMap;
use super::report::{CheckResult, CheckStop, CheckTally};
use crate::limits::STORAGE_KEY_BYTES_MAX;
use crate::storage::WriteBatch;
use crate::testing::workload::Random;

const MIB: usize = 1 << 20;

/// Values from empty to several MiB, by put and by batch.
pub(super) fn value_sizes(context: &CheckContext) -> CheckResult {
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
    let mut store = EngineWithMap::new(context)?;
    let mut random = Random::new(context.seed());
    for (index, size) in SIZES.into_iter().enumerate() {
        let key = format!("put {size}").into_bytes();
        store.put(&key, &random.bytes(size))?;
        store.expect(&key, &format!("putting {size} bytes"))?;
        tally.add("values", 2);
        tally.add("bytes", 2 * size as u64);

        // A batch with two sizes. The larger value is not always the last.
        let mut batch = WriteBatch::new();
        for size in [size, SIZES[(index + 5) % SIZES.len()].min(70_000)] {
            batch.put(format!("batch {index} {size}"), random.bytes(size));
        }
        store.write(&batch)?;
    }
    store.expect_all("values of all sizes")?;
    store.reopen("values of all sizes, and reopening")?;
    tally.add("reopenings", u64::from(context.survives(Survives::Reopening)));
    Ok(tally)
}

/// Keys that an engine may refuse.
pub(super) fn extreme_keys() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("an empty key", Vec::new()),
        ("a key of 1,025 bytes", vec![b'k'; STORAGE_KEY_BYTES_MAX + 1]),
        ("a key of 65,535 bytes", vec![b'k'; 65_535]),
        ("a key of 65,536 bytes", vec![b'k'; 65_536]),
        ("a key of 1 MiB", vec![b'k'; MIB]),
    ]
}

/// Keys up to the limit must work. Empty keys and keys beyond the limit must work or be refused, by every call.
pub(super) fn key_sizes(context: &CheckContext) -> CheckResult {
    let mut tally = CheckTally::of(&["keys within the limit", "calls with extreme keys"]);
    let mut store = EngineWithMap::new(context)?;
    let limit = STORAGE_KEY_BYTES_MAX;
    for len in [1, 2, 127, 128, 255, 256, limit - 1, limit] {
        for last in [0, b'k', 0xff] {
            let mut key = vec![b'k'; len];
            key[len - 1] = last;
            let mut batch = WriteBatch::new();
            batch.put(key.clone(), len.to_string());
            store.write(&batch)?;
            store.expect(&key, "a batch")?;
            tally.add("keys within the limit", 1);
        }
    }
    store.expect_all("keys of all sizes")?;
    store.reopen("keys of all sizes, and reopening")?;
    for (name, key) in extreme_keys() {
        for call in ["put", "batch"] {
            write_extreme(context, name, &key, call, &mut tally)?;
        }
        read_extreme(context, name, &key, &mut tally)?;
    }
    Ok(tally)
}

/// One write with an extreme key. The engine is new, because after an error an engine may refuse every write.
fn write_extreme(
    context: &CheckContext,
    name: &str,
    key: &[u8],
    call: &str,
    tally: &mut CheckTally,
) -> Result<(), CheckStop> {
    let mut store = EngineWithMap::new(context)?;
    store.put(b"ordinary", b"value")?;
    let result = if call == "put" {
        store.engine.put(key, b"extreme")
    } else {
        let mut batch = WriteBatch::new();
        batch.put(key.to_vec(), "extreme");
        store.engine.write_batch(batch)
    };
    tally.add("calls with extreme keys", 1);
    let outcome = match result {
        Ok(()) => {
            store.pairs.insert(key.to_vec(), b"extreme".to_vec());
            "acknowledged"
        }
        Err(error) => {
            let has_text = !error.to_string().is_empty();
            ensure!(has_text, "{call} of {name} failed with an error without text");
            tally.add("refusals", 1);
            "refused"
        }
    };
    store.expect_all(&format!("{call} of {name}, {outcome}"))?;
    store.reopen(&format!("{call} of {name}, {outcome}, and reopening"))?;
    Ok(())
}

/// Reads and a delete of a missing key. Each must return nothing or an error.
fn read_extreme(
    context: &CheckContext,
    name: &str,
    key: &[u8],
    tally: &mut CheckTally,
) -> Result<(), CheckStop> {
    let store = EngineWithMap::new(context)?;
    let got = store.engine.get(key).is_ok_and(|value| value.is_some());
    ensure!(!got, "getting {name} that was never put returned a value");
    let scanned = store
        .engine
        .scan_prefix(key)
        .map(|mut pairs| pairs.any(|pair| pair.is_ok()));
    let scanned = scanned.unwrap_or(false);
    ensure!(
        !scanned,
        "a scan of an empty engine with {name} as its prefix returned a pair"
    );
    let deleted = store.engine.delete(key).is_ok();
    tally.add("calls with extreme keys", 2 + u64::from(deleted));
    store.expect_all(&format!("getting and deleting {name}"))
}
