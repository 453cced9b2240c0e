//! Prefix scans: their order, their bounds and their snapshots.

use super::context::{CheckContext, CheckedCall};
use super::engine_with_map::{EngineWithMap, difference};
use super::report::{CheckResult, CheckStop, CheckTally};
use super::writes::KeyValues;
use crate::storage::{StorageEngine, WriteBatch};

/// All keys of one to three of these bytes, not sorted.
fn keys() -> Vec<Vec<u8>> {
    const BYTES: [u8; 6] = [0x7f, 0xff, 0x00, 0x61, 0x80, 0xfe];
    let mut keys = vec![Vec::new()];
    for from in 0.. {
        let Some(key) = keys.get(from).filter(|key| key.len() < 3).cloned() else {
            break;
        };
        keys.extend(BYTES.iter().map(|byte| [&key[..], &[*byte]].concat()));
    }
    keys.remove(0);
    keys
}

fn with_all_keys(context: &CheckContext) -> Result<EngineWithMap<'_>, CheckStop> {
    let mut store = EngineWithMap::new(context)?;
    for (index, keys) in keys().chunks(5).enumerate() {
        let mut batch = WriteBatch::new();
        for key in keys {
            batch.put(key.clone(), format!("{index}"));
        }
        store.write(&batch)?;
    }
    Ok(store)
}

/// Checks the order of scans: bytes are compared as unsigned, and a key comes before its extensions.
pub(super) fn order(context: &CheckContext) -> CheckResult {
    let mut tally = CheckTally::of(&["pairs"]);
    let mut store = with_all_keys(context)?;
    // The second scan comes after writes in another order.
    for _ in 0..2 {
        tally.add("pairs", store.expect_scan(b"")?);
        for (key, value) in store.pairs.clone().iter().rev().step_by(3) {
            store.put(key, value)?;
        }
    }
    Ok(tally)
}

/// Compares scans with prefixes of keys, and with other prefixes, with a naive filter.
pub(super) fn bounds(context: &CheckContext) -> CheckResult {
    let mut tally = CheckTally::of(&["prefixes with keys", "prefixes without keys"]);
    let mut store = with_all_keys(context)?;
    // Some keys are removed, so that some prefixes are no keys, and whole ranges are empty.
    let is_removed = |key: &Vec<u8>| key.len() < 3 && key.ends_with(&[0xff]) || key.starts_with(&[0xfe]);
    keys()
        .into_iter()
        .filter(is_removed)
        .try_for_each(|key| store.delete(&key))?;
    let others: [&[u8]; 7] = [
        b"",
        b"b",
        b"\x60",
        &[0xff; 4],
        b"a\xff\xff\xff",
        b"\xfe\xff",
        b"aaaa",
    ];
    for prefix in keys().iter().map(Vec::as_slice).chain(others) {
        let unit = match store.expect_scan(prefix)? {
            0 => "prefixes without keys",
            _ => "prefixes with keys",
        };
        tally.add(unit, 1);
    }
    Ok(tally)
}

/// Checks that a scan does not show writes after its start, before the first item or between two items.
pub(super) fn snapshot(context: &CheckContext) -> CheckResult {
    let mut tally = CheckTally::of(&["scans with concurrent writes"]);
    for taken_before in [0, 1, 20, 39] {
        for change in ["replace", "delete", "insert", "all of it in batches"] {
            let mut store = EngineWithMap::new(context)?;
            let mut batch = WriteBatch::new();
            for index in 0..40 {
                batch.put(format!("scan/{index:03}"), vec![index; 100]);
            }
            store.write(&batch)?;
            let engine = store.engine.as_ref();
            let call = format!("scanning while others {change}");
            let mut items = engine.scan_prefix(b"scan/").or_fail(&call)?;
            let mut found = KeyValues::new();
            for item in items.by_ref().take(taken_before) {
                found.extend([item.or_fail(&call)?]);
            }
            write_during_scan(engine, change)?;
            for item in items {
                found.extend([item.or_fail(&call)?]);
            }
            if let Some(difference) = difference(&found, &store.pairs) {
                return Err(CheckStop::Failed(format!(
                    "a scan showed a later write ({change}) after {taken_before} items: {difference}"
                )));
            }
            tally.add("scans with concurrent writes", 1);
        }
    }
    Ok(tally)
}

fn write_during_scan(engine: &dyn StorageEngine, change: &str) -> Result<(), CheckStop> {
    let call = "a write during a scan";
    for index in 0..40 {
        let key = format!("scan/{index:03}").into_bytes();
        let new = format!("scan/{index:03}/new").into_bytes();
        match change {
            "replace" => engine.put(&key, b"later").or_fail(call)?,
            "delete" => engine.delete(&key).or_fail(call)?,
            "insert" => engine.put(&new, b"later").or_fail(call)?,
            _ => {
                let mut batch = WriteBatch::new();
                if index % 2 == 0 {
                    batch.delete(key);
                } else {
                    batch.put(key, "later");
                }
                batch.put(new, "later");
                engine.write_batch(batch).or_fail(call)?;
            }
        }
    }
    engine.flush().or_fail(call)
}
