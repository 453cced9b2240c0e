//! Prefix scans: their order, their bounds, and that they are snapshots.

use super::lab::{Lab, Pairs, difference, ensure, failed, scan, show};
use super::report::{Checked, Stop, Tally};
use super::semantics::write;
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

fn filled(lab: &Lab) -> Result<(super::lab::Engine, Pairs), Stop> {
    let engine = lab.open_new()?;
    let mut pairs = Pairs::new();
    for (index, keys) in keys().chunks(5).enumerate() {
        let mut batch = WriteBatch::new();
        for key in keys {
            batch.put(key.clone(), format!("{index}"));
        }
        write(engine.as_ref(), &batch, &mut pairs)?;
    }
    Ok((engine, pairs))
}

/// Bytes are compared as unsigned, and a key comes before its extensions.
pub(super) fn order(lab: &Lab) -> Checked {
    let mut tally = Tally::of(&["pairs"]);
    let (engine, pairs) = filled(lab)?;
    // As written, and written again in another order.
    for _ in 0..2 {
        let found = scan(engine.as_ref(), b"")?;
        if let Some(wrong) = found.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            let (first, second) = (show(&wrong[0].0), show(&wrong[1].0));
            return Err(Stop::Failed(format!(
                "a scan gave key {first} and then {second}: not in ascending order"
            )));
        }
        ensure!(
            found.len() == pairs.len(),
            "a scan gave {} of {} pairs",
            found.len(),
            pairs.len()
        );
        tally.add("pairs", found.len() as u64);
        for (key, value) in pairs.iter().rev().step_by(3) {
            engine
                .put(key, value)
                .map_err(|error| failed("put failed", &error))?;
        }
    }
    Ok(tally)
}

/// Every prefix of a key, and every one that is none, against a naive filter.
pub(super) fn bounds(lab: &Lab) -> Checked {
    let mut tally = Tally::of(&["prefixes with keys", "prefixes without keys"]);
    let (engine, mut pairs) = filled(lab)?;
    // Some keys away, so that prefixes stand alone, and whole ranges are empty.
    for key in keys()
        .iter()
        .filter(|key| key.len() < 3 && key.last() == Some(&0xff) || key.starts_with(&[0xfe]))
    {
        engine
            .delete(key)
            .map_err(|error| failed("delete failed", &error))?;
        pairs.remove(key);
    }
    let others = [
        &b""[..],
        b"b",
        b"\x60",
        b"\xff\xff\xff\xff",
        b"a\xff\xff\xff",
        b"\xfe\xff",
        b"aaaa",
    ];
    let prefixes = keys()
        .into_iter()
        .chain(others.iter().map(|prefix| prefix.to_vec()));
    for prefix in prefixes {
        let found: Pairs = scan(engine.as_ref(), &prefix)?.into_iter().collect();
        let expected: Pairs = pairs
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if let Some(what) = difference(&found, &expected) {
            return Err(Stop::Failed(format!(
                "a scan of prefix {}: {what}",
                show(&prefix)
            )));
        }
        let what = if expected.is_empty() {
            "prefixes without keys"
        } else {
            "prefixes with keys"
        };
        tally.add(what, 1);
    }
    Ok(tally)
}

/// What is written after the call does not show, whether before the first item is taken or between two.
pub(super) fn snapshot(lab: &Lab) -> Checked {
    let mut tally = Tally::of(&["scans with writes behind their back"]);
    for taken_before in [0, 1, 20, 39] {
        for change in ["replace", "delete", "insert", "all of it in batches"] {
            let engine = lab.open_new()?;
            let mut pairs = Pairs::new();
            let mut batch = WriteBatch::new();
            for index in 0..40 {
                batch.put(format!("scan/{index:03}"), vec![index; 100]);
            }
            write(engine.as_ref(), &batch, &mut pairs)?;
            let before: Vec<_> = pairs.clone().into_iter().collect();
            let fail = |error| failed(format_args!("scanning while others {change} failed"), &error);
            let mut items = engine.scan_prefix(b"scan/").map_err(fail)?;
            let mut found = Vec::new();
            for item in items.by_ref().take(taken_before) {
                found.push(item.map_err(fail)?);
            }
            write_behind(engine.as_ref(), change)?;
            for item in items.by_ref() {
                found.push(item.map_err(fail)?);
            }
            drop(items);
            let wrong = found.iter().zip(&before).find(|(found, before)| found != before);
            if let Some((found, _)) = wrong {
                let key = show(&found.0);
                return Err(Stop::Failed(format!(
                    "a scan showed a later write ({change}) at key {key}, {taken_before} items were taken before it"
                )));
            }
            ensure!(
                found.len() == before.len(),
                "a scan showed a later write ({change}): it gave {} pairs of {}, {taken_before} were taken before it",
                found.len(),
                before.len()
            );
            tally.add("scans with writes behind their back", 1);
        }
    }
    Ok(tally)
}

fn write_behind(engine: &dyn StorageEngine, change: &str) -> Result<(), Stop> {
    let fail = |error| failed("a write while a scan was open failed", &error);
    for index in 0..40 {
        let key = format!("scan/{index:03}").into_bytes();
        let new = format!("scan/{index:03}/new").into_bytes();
        match change {
            "replace" => engine.put(&key, b"later").map_err(fail)?,
            "delete" => engine.delete(&key).map_err(fail)?,
            "insert" => engine.put(&new, b"later").map_err(fail)?,
            _ => {
                let mut batch = WriteBatch::new();
                if index % 2 == 0 {
                    batch.delete(key);
                } else {
                    batch.put(key, "later");
                }
                batch.put(new, "later");
                engine.write_batch(batch).map_err(fail)?;
            }
        }
    }
    engine.flush().map_err(fail)
}
