//! Prefix scans: their order, their bounds, and that they are snapshots.

use super::lab::{Lab, OrFail};
use super::mirrored::{Mirrored, difference};
use super::report::{CheckResult, CheckStop, CheckTally};
use super::steps::KeyValues;
use crate::storage::{StorageEngine, WriteBatch};

/// All keys of one to three bytes from these, in an order that is none.
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

fn filled(lab: &Lab) -> Result<Mirrored<'_>, CheckStop> {
    let mut it = Mirrored::new(lab)?;
    for (index, keys) in keys().chunks(5).enumerate() {
        let mut batch = WriteBatch::new();
        for key in keys {
            batch.put(key.clone(), format!("{index}"));
        }
        it.write(&batch)?;
    }
    Ok(it)
}

/// Bytes are compared as unsigned, and a key comes before its extensions.
pub(super) fn order(lab: &Lab) -> CheckResult {
    let mut tally = CheckTally::of(&["pairs"]);
    let mut it = filled(lab)?;
    // As written, and written again in another order.
    for _ in 0..2 {
        tally.add("pairs", it.expect_scan(b"")?);
        for (key, value) in it.pairs.clone().iter().rev().step_by(3) {
            it.put(key, value)?;
        }
    }
    Ok(tally)
}

/// Every prefix of a key, and every one that is none, against a naive filter.
pub(super) fn bounds(lab: &Lab) -> CheckResult {
    let mut tally = CheckTally::of(&["prefixes with keys", "prefixes without keys"]);
    let mut it = filled(lab)?;
    // Some keys away, so that prefixes stand alone, and whole ranges are empty.
    let is_away = |key: &Vec<u8>| key.len() < 3 && key.ends_with(&[0xff]) || key.starts_with(&[0xfe]);
    keys()
        .into_iter()
        .filter(is_away)
        .try_for_each(|key| it.delete(&key))?;
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
        let what = match it.expect_scan(prefix)? {
            0 => "prefixes without keys",
            _ => "prefixes with keys",
        };
        tally.add(what, 1);
    }
    Ok(tally)
}

/// What is written after the call does not show, whether before the first item is taken or between two.
pub(super) fn snapshot(lab: &Lab) -> CheckResult {
    let mut tally = CheckTally::of(&["scans with writes behind their back"]);
    for taken_before in [0, 1, 20, 39] {
        for change in ["replace", "delete", "insert", "all of it in batches"] {
            let mut it = Mirrored::new(lab)?;
            let mut batch = WriteBatch::new();
            for index in 0..40 {
                batch.put(format!("scan/{index:03}"), vec![index; 100]);
            }
            it.write(&batch)?;
            let engine = it.engine.as_ref();
            let call = format!("scanning while others {change}");
            let mut items = engine.scan_prefix(b"scan/").or_fail(&call)?;
            let mut found = KeyValues::new();
            for item in items.by_ref().take(taken_before) {
                found.extend([item.or_fail(&call)?]);
            }
            write_behind(engine, change)?;
            for item in items {
                found.extend([item.or_fail(&call)?]);
            }
            if let Some(what) = difference(&found, &it.pairs) {
                return Err(CheckStop::Failed(format!(
                    "a scan showed a later write ({change}), {taken_before} items were taken before it: {what}"
                )));
            }
            tally.add("scans with writes behind their back", 1);
        }
    }
    Ok(tally)
}

fn write_behind(engine: &dyn StorageEngine, change: &str) -> Result<(), CheckStop> {
    let call = "a write while a scan was open";
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
