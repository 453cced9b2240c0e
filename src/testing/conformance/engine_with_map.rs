//! An engine and a naive map with the same writes, and the comparisons of the two. The map is in memory: a reopening of
//! the engine does not change it.

use std::path::PathBuf;

use super::Survives;
use super::context::{CheckContext, CheckedCall, DynEngine, ensure};
use super::report::CheckStop;
use super::writes::{KeyValues, MarkedWrite, apply};
use crate::storage::{StorageEngine, WriteBatch};

/// An engine in its own directory, whose calls must succeed, and the map with which it must agree.
pub(super) struct EngineWithMap<'a> {
    context: &'a CheckContext,
    dir: PathBuf,
    pub(super) engine: DynEngine,
    pub(super) pairs: KeyValues,
}

impl<'a> EngineWithMap<'a> {
    /// Opens the engine in a new directory, where it must be empty.
    pub(super) fn new(context: &'a CheckContext) -> Result<Self, CheckStop> {
        let dir = context.dir()?;
        let new = Self {
            engine: context.open(&dir)?,
            pairs: KeyValues::new(),
            context,
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

    pub(super) fn run(&mut self, write: &MarkedWrite) -> Result<(), CheckStop> {
        write.run(self.engine.as_ref()).or_fail(write)?;
        write.apply(&mut self.pairs);
        Ok(())
    }

    pub(super) fn flush(&self) -> Result<(), CheckStop> {
        self.engine.flush().or_fail("flush")
    }

    /// Opens the engine again and compares all content. Does nothing if the engine does not claim to survive a
    /// reopening.
    pub(super) fn reopen(self, after: &str) -> Result<Self, CheckStop> {
        if !self.context.survives(Survives::Reopening) {
            return Ok(self);
        }
        drop(self.engine);
        let engine = self.context.open(&self.dir)?;
        let reopened = Self { engine, ..self };
        reopened.expect_all(after)?;
        Ok(reopened)
    }

    /// Checks that a get agrees with the map.
    pub(super) fn expect(&self, key: &[u8], after: &str) -> Result<(), CheckStop> {
        let found = self.engine.get(key);
        let found = found.or_fail(format_args!("getting {}", show(key)))?;
        let expected = self.pairs.get(key);
        let text = |value: Option<&Vec<u8>>| value.map_or("nothing".to_owned(), |value| show(value));
        ensure!(
            found.as_ref() == expected,
            "after {after}, key {} gave {}, not {}",
            show(key),
            text(found.as_ref()),
            text(expected)
        );
        Ok(())
    }

    /// Checks that a scan of all keys and a get of each key agree with the map.
    pub(super) fn expect_all(&self, after: &str) -> Result<(), CheckStop> {
        let found = scan(self.engine.as_ref(), b"")?;
        if let Some(difference) = difference(&found, &self.pairs) {
            return Err(CheckStop::Failed(format!(
                "after {after}, by a scan: {difference}"
            )));
        }
        self.pairs.keys().try_for_each(|key| self.expect(key, after))
    }

    /// Checks that a scan with this prefix agrees with the map. Returns the number of its pairs.
    pub(super) fn expect_scan(&self, prefix: &[u8]) -> Result<u64, CheckStop> {
        let expected = self.pairs.iter().filter(|(key, _)| key.starts_with(prefix));
        let expected: KeyValues = expected
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let found = scan(self.engine.as_ref(), prefix)?;
        match difference(&found, &expected) {
            None => Ok(found.len() as u64),
            Some(difference) => Err(CheckStop::Failed(format!(
                "a scan of prefix {}: {difference}",
                show(prefix)
            ))),
        }
    }
}

/// The pairs of one scan. Its keys must come in ascending order.
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

/// Bytes as text. Of many bytes the text has only the beginning and the length.
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
            Some(other) if other != value => {
                let same = other.iter().zip(value).take_while(|(a, b)| a == b).count();
                let (key, other, value) = (show(key), show(other), show(value));
                return Some(format!(
                    "key {key} has value {other}, not {value}: the values differ from byte {same} on"
                ));
            }
            Some(_) => {}
        }
    }
    let extra = found.keys().find(|key| !expected.contains_key(*key))?;
    Some(format!("key {} is present and must not be", show(extra)))
}
