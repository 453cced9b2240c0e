//! An engine beside a naive map of the same writes, and the comparisons of the two.

use std::path::PathBuf;

use super::Survives;
use super::lab::{DynEngine, Lab, OrFail, ensure};
use super::report::CheckStop;
use super::steps::{KeyValues, MarkedWrite, apply};
use crate::storage::{StorageEngine, WriteBatch};

/// An engine in a directory of its own, whose calls succeed, and the map that it must agree with.
pub(super) struct Mirrored<'a> {
    lab: &'a Lab,
    dir: PathBuf,
    pub(super) engine: DynEngine,
    pub(super) pairs: KeyValues,
}

impl<'a> Mirrored<'a> {
    /// Opens the engine in a new directory, where it must be empty.
    pub(super) fn new(lab: &'a Lab) -> Result<Self, CheckStop> {
        let dir = lab.dir()?;
        let new = Self {
            engine: lab.open(&dir)?,
            pairs: KeyValues::new(),
            lab,
            dir,
        };
        new.expect_all("opening in an empty directory")?;
        Ok(new)
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), CheckStop> {
        let call = || format!("putting a value of {} bytes at {}", value.len(), show(key));
        self.engine.put(key, value).or_fail(call())?;
        self.pairs.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> Result<(), CheckStop> {
        self.engine.delete(key).or_fail("delete")?;
        self.pairs.remove(key);
        Ok(())
    }

    pub(super) fn write(&mut self, batch: &WriteBatch) -> Result<(), CheckStop> {
        self.engine.write_batch(batch.clone()).or_fail("write_batch")?;
        apply(&mut self.pairs, batch);
        Ok(())
    }

    pub(super) fn run(&mut self, step: &MarkedWrite) -> Result<(), CheckStop> {
        step.run(self.engine.as_ref()).or_fail(step)?;
        step.apply(&mut self.pairs);
        Ok(())
    }

    pub(super) fn flush(&self) -> Result<(), CheckStop> {
        self.engine.flush().or_fail("flush")
    }

    /// Opens the engine again, if it survives that, and compares everything.
    pub(super) fn reopen(self, after: &str) -> Result<Self, CheckStop> {
        if !self.lab.survives(Survives::Reopening) {
            return Ok(self);
        }
        drop(self.engine);
        let engine = self.lab.open(&self.dir)?;
        let reopened = Self { engine, ..self };
        reopened.expect_all(after)?;
        Ok(reopened)
    }

    /// A get agrees with the map.
    pub(super) fn expect(&self, key: &[u8], after: &str) -> Result<(), CheckStop> {
        let found = self.engine.get(key);
        let found = found.or_fail(format_args!("getting {}", show(key)))?;
        let expected = self.pairs.get(key);
        let in_words = |value: Option<&Vec<u8>>| value.map_or("nothing".to_owned(), |value| show(value));
        ensure!(
            found.as_ref() == expected,
            "after {after}, key {} gave {}, not {}",
            show(key),
            in_words(found.as_ref()),
            in_words(expected)
        );
        Ok(())
    }

    /// A scan of everything and a get of each key agree with the map.
    pub(super) fn expect_all(&self, after: &str) -> Result<(), CheckStop> {
        let found = scan(self.engine.as_ref(), b"")?;
        if let Some(what) = difference(&found, &self.pairs) {
            return Err(CheckStop::Failed(format!("after {after}, by a scan: {what}")));
        }
        self.pairs.keys().try_for_each(|key| self.expect(key, after))
    }

    /// A scan with this prefix agrees with the map. Returns the number of its pairs.
    pub(super) fn expect_scan(&self, prefix: &[u8]) -> Result<u64, CheckStop> {
        let expected = self.pairs.iter().filter(|(key, _)| key.starts_with(prefix));
        let expected: KeyValues = expected
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let found = scan(self.engine.as_ref(), prefix)?;
        match difference(&found, &expected) {
            None => Ok(found.len() as u64),
            Some(what) => Err(CheckStop::Failed(format!(
                "a scan of prefix {}: {what}",
                show(prefix)
            ))),
        }
    }
}

/// One scan, whose keys must come in ascending order.
pub(super) fn scan(engine: &dyn StorageEngine, prefix: &[u8]) -> Result<KeyValues, CheckStop> {
    let pairs = engine
        .scan_prefix(prefix)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let pairs = pairs.or_fail(format_args!("scanning {}", show(prefix)))?;
    if let Some(wrong) = pairs.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        let (prefix, first, second) = (show(prefix), show(&wrong[0].0), show(&wrong[1].0));
        return Err(CheckStop::Failed(format!(
            "a scan of prefix {prefix} gave key {first} and then {second}: not in ascending order"
        )));
    }
    Ok(pairs.into_iter().collect())
}

/// Bytes as text, the beginning and the length if there are many.
pub(super) fn show(bytes: &[u8]) -> String {
    const SHOWN: usize = 40;
    match bytes.split_at_checked(SHOWN) {
        Some((shown, rest)) if !rest.is_empty() => {
            format!("\"{}\"... of {} bytes", shown.escape_ascii(), bytes.len())
        }
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// The first difference between the content and the expected content.
pub(super) fn difference(found: &KeyValues, expected: &KeyValues) -> Option<String> {
    for (key, value) in expected {
        match found.get(key) {
            None => return Some(format!("key {} is missing", show(key))),
            Some(there) if there != value => {
                let same = there.iter().zip(value).take_while(|(a, b)| a == b).count();
                let (key, there, value) = (show(key), show(there), show(value));
                return Some(format!(
                    "key {key} has value {there}, not {value}: they differ from byte {same} on"
                ));
            }
            Some(_) => {}
        }
    }
    let extra = found.keys().find(|key| !expected.contains_key(*key))?;
    Some(format!("key {} is there and should not be", show(extra)))
}
