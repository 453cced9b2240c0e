//! A small storage engine, and every way to get it wrong that the checks must find.
//!
//! One file, `log`: records of length (4), CRC32C (4) and payload, one for each write. Memory holds a map. Opening
//! replays the records up to the first bad one and syncs; a bad tail is cut, by a new file with the good records that is
//! synced and takes the log's name. After a failure nothing is written.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Error;
use crate::codec::crc32c::crc32c;
use crate::fs::{File, FileAccess, OpenMode, read_whole, write_all_at};
use crate::storage::{BatchOperation, Scan, StorageEngine, WriteBatch};

/// What is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    None,
    /// Each operation of a batch is a record of its own.
    BatchInPieces,
    /// A batch is one record, but memory gets it one operation after the other.
    BatchVisibleInPieces,
    /// An operation that is refused ends the batch, and those before it stay.
    BatchHalfRefused,
    /// Of several operations on a key in one batch the first wins.
    FirstOfBatchWins,
    DeleteIgnored,
    DeleteNotLogged,
    /// An empty value is taken for a deletion.
    EmptyValueDeletes,
    /// The end of a scan's range is the prefix with its last byte increased, which may overflow.
    ScanEndOverflows,
    /// A scan continues as long as all but the last byte of the prefix agree.
    ScanSeesMore,
    /// Bytes are compared as signed.
    OrderIsSigned,
    /// A scan looks at the map again for each item.
    ScanIsLive,
    /// A scan holds the lock that a write needs.
    ScanBlocksWrites,
    /// Key lengths have 16 bits.
    LongKeyPanics,
    /// Writes are in memory until flushed.
    WritesBuffered,
    FlushDoesNothing,
    DirectoryNotSynced,
    /// After a failed write, later records are appended behind its remains, and recovery ends there.
    GoesOnAfterFailure,
    /// The same, but for a second failure.
    ForgivesOneFailure,
    /// Recovery looks for the next good record behind a bad one.
    BadRecordsSkipped,
    /// A sync that failed is tried again by the next flush, which succeeds.
    SyncRetried,
    /// A failed write is not reported.
    FailureSwallowed,
    /// Recovery leaves a bad tail, and new records go behind it.
    TailNotCut,
    /// Recovery writes the whole log again, in place.
    RecoveryRewrites,
    /// Records have no checksum.
    NoChecksum,
    CloseDoesNothing,
    /// The beginning of the log is overwritten.
    CloseDamages,
    /// After `close` nothing can be read.
    CloseEndsReads,
    /// A thread's put is in memory a moment after it returned.
    PutLate,
}

#[derive(Debug)]
pub(super) struct Toy {
    bug: Bug,
    file: Arc<dyn File>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    map: BTreeMap<Key, Vec<u8>>,
    end: u64,
    buffered: Vec<u8>,
    late: Option<(Key, Vec<u8>)>,
    failures: u32,
}

type Key = (Vec<i16>, Vec<u8>);

impl Toy {
    pub(super) fn open(files: &dyn FileAccess, dir: &Path, bug: Bug) -> Result<Self, Error> {
        let path = dir.join("log");
        let fail = |error| Error::io("open", &path, error);
        let file = match files.open(&path, OpenMode::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => files.open(&path, OpenMode::Create),
            other => other,
        };
        let file = file.map_err(fail)?;
        if bug != Bug::DirectoryNotSynced {
            files.sync_dir(dir).map_err(fail)?;
        }
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
                    self.apply(&mut state, operation);
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
            Bug::TailNotCut => state.end = bytes.len() as u64,
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
                if self.bug != Bug::DirectoryNotSynced {
                    files.sync_dir(dir)?;
                }
            }
            _ => {}
        }
        self.file.sync()
    }

    fn next_record<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let (header, rest) = bytes.split_at_checked(8)?;
        let len = u32::from_le_bytes(header[..4].try_into().unwrap()) as usize;
        let (payload, after) = rest.split_at_checked(len)?;
        let sum = u32::from_le_bytes(header[4..].try_into().unwrap());
        // So that zeros are no record.
        let is_good = len > 0 && (sum == crc32c(payload) || self.bug == Bug::NoChecksum);
        is_good.then_some((payload, after))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, key: &[u8]) -> Key {
        let signed = |byte: &u8| match self.bug {
            Bug::OrderIsSigned => i16::from(*byte as i8),
            _ => i16::from(*byte),
        };
        (key.iter().map(signed).collect(), key.to_vec())
    }

    fn apply(&self, state: &mut State, operation: BatchOperation) {
        match operation {
            BatchOperation::Put { key, value } if value.is_empty() && self.bug == Bug::EmptyValueDeletes => {
                state.map.remove(&self.key(&key));
            }
            BatchOperation::Put { key, value } => _ = state.map.insert(self.key(&key), value),
            BatchOperation::Delete { .. } if self.bug == Bug::DeleteIgnored => {}
            BatchOperation::Delete { key } => _ = state.map.remove(&self.key(&key)),
        }
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
        let logged = match self.bug {
            Bug::DeleteNotLogged => {
                let is_put = |operation: &&BatchOperation| matches!(operation, BatchOperation::Put { .. });
                operations.iter().filter(is_put).cloned().collect()
            }
            _ => operations.to_vec(),
        };
        let mut state = self.state();
        if self.is_closed(&state) {
            return Err(Error::storage("write", "an earlier write failed"));
        }
        if self.bug == Bug::WritesBuffered {
            state.buffered.extend(encode(&logged));
        } else if let Err(error) = self.append(&mut state, &encode(&logged))
            && self.bug != Bug::FailureSwallowed
        {
            state.failures += 1;
            return Err(Error::storage("write", error));
        }
        for operation in operations {
            self.apply(&mut state, operation.clone());
            if self.bug == Bug::BatchVisibleInPieces {
                drop(state);
                std::thread::yield_now();
                state = self.state();
            }
        }
        Ok(())
    }

    /// Whether an earlier failure ended all writing.
    fn is_closed(&self, state: &State) -> bool {
        match self.bug {
            Bug::GoesOnAfterFailure => false,
            Bug::ForgivesOneFailure => state.failures > 1,
            _ => state.failures > 0,
        }
    }

    fn append(&self, state: &mut State, record: &[u8]) -> io::Result<()> {
        if matches!(self.bug, Bug::GoesOnAfterFailure | Bug::ForgivesOneFailure) {
            state.end = self.file.len()?;
        }
        write_all_at(self.file.as_ref(), record, state.end)?;
        state.end += record.len() as u64;
        Ok(())
    }

    fn matches(&self, key: &[u8], prefix: &[u8]) -> bool {
        match (self.bug, prefix.split_last()) {
            (Bug::ScanSeesMore, Some((last, front))) => {
                key.starts_with(front) && key.get(front.len()).is_some_and(|byte| byte >= last)
            }
            (Bug::ScanEndOverflows, Some((last, front))) => {
                let end = [front, &[last.wrapping_add(1)]].concat();
                key >= prefix && key < end.as_slice()
            }
            _ => key.starts_with(prefix),
        }
    }
}

impl StorageEngine for Toy {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.state().map.get(&self.key(key)).cloned())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let (key, value) = (key.to_vec(), value.to_vec());
        if self.bug == Bug::PutLate {
            let mut state = self.state();
            if let Some((key, value)) = state.late.take() {
                state.map.insert(key, value);
            }
            let old = state.map.get(&self.key(&key)).cloned();
            drop(state);
            let late = (self.key(&key), value.clone());
            self.commit(&[BatchOperation::Put { key, value }])?;
            let mut state = self.state();
            match old {
                Some(old) => state.map.insert(late.0.clone(), old),
                None => state.map.remove(&late.0),
            };
            state.late = Some(late);
            return Ok(());
        }
        self.commit(&[BatchOperation::Put { key, value }])
    }

    fn delete(&self, key: &[u8]) -> Result<(), Error> {
        let key = key.to_vec();
        self.commit(&[BatchOperation::Delete { key }])
    }

    fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error> {
        let prefix = prefix.to_vec();
        let state = self.state();
        match self.bug {
            Bug::ScanIsLive => {
                let mut last: Option<Key> = None;
                drop(state);
                Ok(Box::new(std::iter::from_fn(move || {
                    let state = self.state();
                    let from = last.clone().map_or(Bound::Unbounded, Bound::Excluded);
                    let mut later = state.map.range((from, Bound::Unbounded));
                    let (key, value) = later.find(|(key, _)| self.matches(&key.1, &prefix))?;
                    last = Some(key.clone());
                    Some(Ok((key.1.clone(), value.clone())))
                })))
            }
            Bug::ScanBlocksWrites => {
                let keys: Vec<_> = state.map.keys().cloned().collect();
                Ok(Box::new(keys.into_iter().filter_map(move |key| {
                    let value = state.map.get(&key)?.clone();
                    key.1.starts_with(&prefix).then_some(Ok((key.1, value)))
                })))
            }
            _ => {
                let found = state.map.iter().filter(|(key, _)| self.matches(&key.1, &prefix));
                let found: Vec<_> = found
                    .map(|(key, value)| Ok((key.1.clone(), value.clone())))
                    .collect();
                Ok(Box::new(found.into_iter()))
            }
        }
    }

    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
        let mut operations = batch.into_operations();
        match self.bug {
            Bug::BatchInPieces | Bug::BatchHalfRefused => {
                for operation in operations {
                    self.commit(&[operation])?;
                }
                return Ok(());
            }
            Bug::FirstOfBatchWins => operations.reverse(),
            _ if operations.is_empty() => return Ok(()),
            _ => {}
        }
        self.commit(&operations)
    }

    fn flush(&self) -> Result<(), Error> {
        let mut state = self.state();
        if self.is_closed(&state) && self.bug != Bug::SyncRetried {
            return Err(Error::storage("flush", "an earlier call failed"));
        }
        let buffered = std::mem::take(&mut state.buffered);
        let flushed = match self.bug {
            Bug::FlushDoesNothing => Ok(()),
            Bug::WritesBuffered => self.append(&mut state, &buffered).and_then(|()| self.file.sync()),
            _ => self.file.sync(),
        };
        flushed.map_err(|error| {
            state.failures += 1;
            Error::storage("flush", error)
        })
    }

    fn close(&self) -> Result<(), Error> {
        match self.bug {
            Bug::CloseDoesNothing => return Ok(()),
            Bug::CloseEndsReads => self.state().map.clear(),
            Bug::CloseDamages => {
                let damaged = write_all_at(self.file.as_ref(), &[0xff; 8], 0);
                damaged.map_err(|error| Error::storage("close", error))?;
            }
            _ => {}
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
    let header = [
        (payload.len() as u32).to_le_bytes(),
        crc32c(&payload).to_le_bytes(),
    ];
    [header.as_flattened(), &payload].concat()
}

/// What is no operation ends the payload: only a record without a checksum has that.
fn decode(mut payload: &[u8]) -> Vec<BatchOperation> {
    fn part(payload: &mut &[u8]) -> Option<Vec<u8>> {
        let (len, rest) = payload.split_at_checked(4)?;
        let len = u32::from_le_bytes(len.try_into().unwrap()) as usize;
        let (part, rest) = rest.split_at_checked(len)?;
        *payload = rest;
        Some(part.to_vec())
    }
    let mut operations = Vec::new();
    while let Some((tag, rest)) = payload.split_first() {
        payload = rest;
        let (Some(key), Some(value)) = (part(&mut payload), part(&mut payload)) else {
            break;
        };
        operations.push(match tag {
            1 => BatchOperation::Put { key, value },
            _ => BatchOperation::Delete { key },
        });
    }
    operations
}
