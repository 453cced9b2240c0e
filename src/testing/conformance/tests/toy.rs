//! A small storage engine, with the planted [bugs](Bug) that are inside an engine.
//!
//! The engine has one file, `log`, with a record for each write: length (4 bytes), CRC32C (4 bytes) and payload. The
//! content is a map in memory. Opening replays the records up to the first bad one and syncs. It truncates a bad tail:
//! it writes the good records to a new file, syncs it and renames it to `log`. After a failure the engine writes
//! nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bugs::Bug;
use crate::Error;
use crate::codec::Reader;
use crate::codec::crc32c::crc32c;
use crate::fs::{File, FileAccess, OpenMode, read_whole, write_all_at};
use crate::storage::{BatchOperation, Scan, StorageEngine, WriteBatch};

#[derive(Debug)]
pub(super) struct Toy {
    bug: Bug,
    file: Arc<dyn File>,
    state: Mutex<ToyState>,
}

#[derive(Debug, Default)]
struct ToyState {
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    end: u64,
    failures: u32,
}

impl Toy {
    pub(super) fn open(files: &dyn FileAccess, dir: &Path, bug: Bug) -> Result<Self, Error> {
        let path = dir.join("log");
        let fail = |error| Error::io("open", &path, error);
        let file = match files.open(&path, OpenMode::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => files.open(&path, OpenMode::Create),
            other => other,
        };
        let file = file.map_err(fail)?;
        files.sync_dir(dir).map_err(fail)?;
        let mut toy = Self {
            bug,
            file,
            state: Mutex::default(),
        };
        toy.recover(files, dir).map_err(fail)?;
        Ok(toy)
    }

    fn recover(&mut self, files: &dyn FileAccess, dir: &Path) -> io::Result<()> {
        let path = dir.join("log");
        let bytes = read_whole(self.file.as_ref())?;
        let mut state = self.state();
        let mut rest = &bytes[..];
        loop {
            if let Some((payload, after)) = self.next_record(rest) {
                for operation in decode(payload) {
                    apply(&mut state, operation);
                }
                rest = after;
            } else if self.bug == Bug::BadRecordsSkipped && !rest.is_empty() {
                rest = &rest[1..];
            } else {
                break;
            }
        }
        state.end = (bytes.len() - rest.len()) as u64;
        let good = &bytes[..state.end as usize];
        match self.bug {
            Bug::TailNotTruncated => state.end = bytes.len() as u64,
            Bug::RecoveryRewrites => {
                drop(state);
                self.file = files.open(&path, OpenMode::Create)?;
                write_all_at(self.file.as_ref(), good, 0)?;
            }
            _ if good.len() < bytes.len() => {
                drop(state);
                let temporary = dir.join("log.tmp");
                self.file = files.open(&temporary, OpenMode::Create)?;
                write_all_at(self.file.as_ref(), good, 0)?;
                self.file.sync()?;
                files.rename(&temporary, &path)?;
                files.sync_dir(dir)?;
            }
            _ => {}
        }
        self.file.sync()
    }

    fn next_record<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let mut reader = Reader::new(bytes);
        let (len, sum) = (reader.u32()?, reader.u32()?);
        let payload = reader.bytes(len as usize)?;
        // A length of 0 is bad, so that zeros are no record.
        let is_good = len > 0 && (sum == crc32c(payload) || self.bug == Bug::NoChecksum);
        is_good.then(|| (payload, &bytes[8 + payload.len()..]))
    }

    fn state(&self) -> MutexGuard<'_, ToyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, operations: &[BatchOperation]) -> Result<(), Error> {
        for operation in operations {
            let (BatchOperation::Put { key, .. } | BatchOperation::Delete { key }) = operation;
            if self.bug == Bug::LongKeyPanics {
                u16::try_from(key.len()).expect("a key's length has 16 bits");
            }
            if key.is_empty() {
                return Err(Error::invalid("key", "empty", "it must have a byte"));
            }
        }
        let mut logged = operations.to_vec();
        if self.bug == Bug::DeleteNotLogged {
            logged.retain(|operation| matches!(operation, BatchOperation::Put { .. }));
        }
        let mut state = self.state();
        if self.is_closed(&state) {
            return Err(Error::storage("write", "an earlier write failed"));
        }
        if let Err(error) = self.append(&mut state, &encode(&logged)) {
            state.failures += 1;
            return Err(Error::storage("write", error));
        }
        for operation in operations {
            apply(&mut state, operation.clone());
            if self.bug == Bug::BatchVisibleInPieces {
                drop(state);
                std::thread::yield_now();
                state = self.state();
            }
        }
        Ok(())
    }

    /// Returns true if an earlier failure ended all writing.
    fn is_closed(&self, state: &ToyState) -> bool {
        match self.bug {
            Bug::WritesAfterFailure => false,
            Bug::IgnoresOneFailure => state.failures > 1,
            _ => state.failures > 0,
        }
    }

    fn append(&self, state: &mut ToyState, record: &[u8]) -> io::Result<()> {
        if matches!(self.bug, Bug::WritesAfterFailure | Bug::IgnoresOneFailure) {
            state.end = self.file.len()?;
        }
        write_all_at(self.file.as_ref(), record, state.end)?;
        state.end += record.len() as u64;
        Ok(())
    }
}

fn apply(state: &mut ToyState, operation: BatchOperation) {
    match operation {
        BatchOperation::Put { key, value } => _ = state.map.insert(key, value),
        BatchOperation::Delete { key } => _ = state.map.remove(&key),
    }
}

impl StorageEngine for Toy {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.state().map.get(key).cloned())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if value.is_empty() && self.bug == Bug::EmptyValueDeletes {
            return self.delete(key);
        }
        let (key, value) = (key.to_vec(), value.to_vec());
        self.commit(&[BatchOperation::Put { key, value }])
    }

    fn delete(&self, key: &[u8]) -> Result<(), Error> {
        let key = key.to_vec();
        self.commit(&[BatchOperation::Delete { key }])
    }

    fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error> {
        let state = self.state();
        let found = state.map.iter().filter(|(key, _)| key.starts_with(prefix));
        let found: Vec<_> = found
            .map(|(key, value)| Ok((key.clone(), value.clone())))
            .collect();
        // The iterator owns the lock that it holds.
        let held = (self.bug == Bug::ScanBlocksWrites).then_some(state);
        Ok(Box::new(found.into_iter().inspect(move |_| {
            let _is_held = &held;
        })))
    }

    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut operations = batch.into_operations();
        if self.bug == Bug::FirstOfBatchWins {
            operations.reverse();
        }
        self.commit(&operations)
    }

    fn flush(&self) -> Result<(), Error> {
        let mut state = self.state();
        if self.is_closed(&state) && self.bug != Bug::SyncRetried {
            return Err(Error::storage("flush", "an earlier call failed"));
        }
        self.file.sync().map_err(|error| {
            state.failures += 1;
            Error::storage("flush", error)
        })
    }

    fn close(&self) -> Result<(), Error> {
        if self.bug == Bug::CloseDamages {
            let damaged = write_all_at(self.file.as_ref(), &[0xff; 8], 0);
            damaged.map_err(|error| Error::storage("close", error))?;
        }
        if self.bug == Bug::CloseEndsReads {
            self.state().map.clear();
        }
        self.flush()
    }
}

fn encode(operations: &[BatchOperation]) -> Vec<u8> {
    let mut payload = Vec::new();
    for operation in operations {
        let (tag, key, value) = match operation {
            BatchOperation::Put { key, value } => (1, key, &value[..]),
            BatchOperation::Delete { key } => (2, key, &b""[..]),
        };
        payload.push(tag);
        for part in [key, value] {
            payload.extend((part.len() as u32).to_le_bytes());
            payload.extend(part);
        }
    }
    if payload.is_empty() {
        return payload;
    }
    let header = [payload.len() as u32, crc32c(&payload)].map(u32::to_le_bytes);
    [header.as_flattened(), &payload].concat()
}

/// The operations of a payload, up to the first bytes that are no operation. Only a record without a checksum can have
/// such bytes.
fn decode(payload: &[u8]) -> impl Iterator<Item = BatchOperation> {
    let mut reader = Reader::new(payload);
    std::iter::from_fn(move || {
        let tag = reader.u8()?;
        let mut part = || {
            let len = reader.u32()?;
            reader.bytes(len as usize).map(<[u8]>::to_vec)
        };
        let (key, value) = (part()?, part()?);
        Some(match tag {
            1 => BatchOperation::Put { key, value },
            _ => BatchOperation::Delete { key },
        })
    })
}
