//! A small storage engine with a [flaw](StoreFlaw) in its check of a record. Each flaw expects more of the disk than
//! the contract of the disk promises.
//!
//! A file `N.dat` begins with its number. A record for each batch follows: marker (4), length (4), the CRC32C (4) that
//! the flawed engine checks, the CRC32C (4) of a correct check, payload, marker (4). A record begins at a multiple of
//! [`SLOT_BYTES`], so records of two files begin at the same offsets. Markers and checksums depend on the file's
//! number. The second checksum serves only to count the invalid records that the flawed engine accepts.
//!
//! An open reads the records of the newest file up to the first invalid one, and writes their content to the next file
//! as one record. A write beyond [`FILE_BYTES_MAX`] does the same. A new file is synced under a temporary name and
//! renamed, and its directory is synced, before the old file is removed. So a crash leaves at least one complete file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::Error;
use crate::codec::{Reader, Write, crc32c};
use crate::fs::{File, FileAccess, OpenMode, read_whole, write_all_at};
use crate::storage::{BatchOperation, Scan, StorageEngine, WriteBatch};
use crate::testing::CrashSweep;
use crate::testing::faults::FaultCount;
use crate::testing::lock::lock;

const STORE_DIR: &str = "/planted";
const SLOT_BYTES: usize = 512;
/// The size of a block. A block begins at a multiple of its size.
const BLOCK_BYTES: usize = 4096;
const FILE_BYTES_MAX: usize = 8 << 10;
const MARKER: u32 = 0x7265_636f;
const HEADER_BYTES: usize = 16;

/// The flaw in the check of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreFlaw {
    /// The checksum covers only the first and the last sector.
    OnlyEndsChecked,
    /// A record within one block of 4096 bytes is accepted if its two markers are valid.
    BlockAssumedAtomic,
    /// Marker and checksum do not depend on the file's number.
    OtherFilesAccepted,
    /// An open continues the newest file if it ends with a valid record. It expects that a sync makes all bytes durable
    /// that it read.
    FileContinued,
}

#[derive(Debug)]
pub(crate) struct PlantedStore {
    format: RecordFormat,
    files: Arc<dyn FileAccess>,
    state: Mutex<StoreState>,
}

/// Writes and reads records like an engine with this flaw, or without one.
#[derive(Debug, Clone, Copy)]
struct RecordFormat(Option<StoreFlaw>);

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug)]
struct StoreState {
    content: Content,
    number: u64,
    file: Arc<dyn File>,
    end: usize,
}

/// Sets the storage of `sweep` to a store with this flaw, or without one.
pub(super) fn plant(flaw: Option<StoreFlaw>, sweep: CrashSweep, faults: &FaultCount) -> CrashSweep {
    let faults = faults.clone();
    sweep.storage(move |files| {
        let opened = PlantedStore::open(files, RecordFormat(flaw), &faults);
        Ok(Arc::new(opened.map_err(|error| Error::storage("open", error))?))
    })
}

impl PlantedStore {
    fn open(files: Arc<dyn FileAccess>, format: RecordFormat, faults: &FaultCount) -> io::Result<Self> {
        let dir = Path::new(STORE_DIR);
        files.create_dir(dir)?;
        files.sync_dir(Path::new("/"))?;
        let names = files.list(dir)?;
        let numbers = names
            .iter()
            .filter_map(|name| name.strip_suffix(".dat")?.parse::<u64>().ok());
        let newest = numbers.max();
        let mut content = Content::new();
        let mut continued = None;
        if let Some(number) = newest {
            let file = files.open(&path_of(number), OpenMode::Write)?;
            let bytes = read_whole(file.as_ref())?;
            let mut at = SLOT_BYTES;
            while let Some(payload) = format.payload_at(&bytes, at, number, faults) {
                for operation in decode(payload) {
                    apply(&mut content, operation);
                }
                at = next_slot(at + record_bytes(payload.len()));
            }
            if format.0 == Some(StoreFlaw::FileContinued) && at >= bytes.len() {
                faults.count();
                file.sync()?;
                continued = Some((number, file, at));
            }
        }
        let (number, file, end) = if let Some(continued) = continued {
            continued
        } else {
            let number = newest.map_or(1, |newest| newest + 1);
            let (file, end) = format.new_file(files.as_ref(), number, &content)?;
            (number, file, end)
        };
        // The temporary file of a new file with the same number was reused.
        let current = [path_of(number), path_of(number).with_extension("tmp")];
        for old in names
            .iter()
            .map(|name| dir.join(name))
            .filter(|old| !current.contains(old))
        {
            files.remove(&old)?;
        }
        files.sync_dir(dir)?;
        let state = StoreState {
            content,
            number,
            file,
            end,
        };
        Ok(Self {
            format,
            files,
            state: Mutex::new(state),
        })
    }

    fn write(&self, operations: Vec<BatchOperation>) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.end > FILE_BYTES_MAX {
            let old = path_of(state.number);
            let (file, end) = self
                .format
                .new_file(self.files.as_ref(), state.number + 1, &state.content)?;
            (state.number, state.file, state.end) = (state.number + 1, file, end);
            self.files.remove(&old)?;
            self.files.sync_dir(Path::new(STORE_DIR))?;
        }
        let record = self.format.record(&encode(&operations), state.number);
        write_all_at(state.file.as_ref(), &record, state.end as u64)?;
        state.end = next_slot(state.end + record.len());
        for operation in operations {
            apply(&mut state.content, operation);
        }
        Ok(())
    }
}

fn path_of(number: u64) -> PathBuf {
    Path::new(STORE_DIR).join(format!("{number}.dat"))
}

fn next_slot(at: usize) -> usize {
    at.next_multiple_of(SLOT_BYTES)
}

fn record_bytes(payload_len: usize) -> usize {
    HEADER_BYTES + payload_len + 4
}

fn checksum(number: u64, parts: &[&[u8]]) -> u32 {
    let begin = crc32c::crc32c(&number.to_le_bytes());
    parts.iter().fold(begin, |crc, part| crc32c::extend(crc, part))
}

impl RecordFormat {
    /// Makes the file with this number and with `content`. Returns the file and the offset of its next record.
    fn new_file(
        self,
        files: &dyn FileAccess,
        number: u64,
        content: &Content,
    ) -> io::Result<(Arc<dyn File>, usize)> {
        let (path, temporary) = (path_of(number), path_of(number).with_extension("tmp"));
        let put = |(key, value): (&Vec<u8>, &Vec<u8>)| BatchOperation::Put {
            key: key.clone(),
            value: value.clone(),
        };
        let record = self.record(&encode(&content.iter().map(put).collect::<Vec<_>>()), number);
        let file = files.open(&temporary, OpenMode::Create)?;
        write_all_at(file.as_ref(), &number.to_le_bytes(), 0)?;
        write_all_at(file.as_ref(), &record, SLOT_BYTES as u64)?;
        file.sync()?;
        files.rename(&temporary, &path)?;
        files.sync_dir(Path::new(STORE_DIR))?;
        Ok((file, next_slot(SLOT_BYTES + record.len())))
    }

    fn record(self, payload: &[u8], number: u64) -> Vec<u8> {
        let mut record = Vec::with_capacity(record_bytes(payload.len()));
        record.put_u32(self.marker(number));
        record.put_u32(payload.len() as u32);
        record.put_u32(self.checksum(payload, number));
        record.put_u32(checksum(number, &[payload]));
        record.extend(payload);
        record.put_u32(self.marker(number));
        record
    }

    fn marker(self, number: u64) -> u32 {
        match self.0 {
            Some(StoreFlaw::OtherFilesAccepted) => MARKER,
            _ => MARKER ^ number as u32,
        }
    }

    /// The checksum of the flawed engine.
    fn checksum(self, payload: &[u8], number: u64) -> u32 {
        match self.0 {
            Some(StoreFlaw::OnlyEndsChecked) => {
                let (first, rest) = payload.split_at(payload.len().min(SLOT_BYTES - HEADER_BYTES));
                checksum(number, &[first, &rest[rest.len().saturating_sub(SLOT_BYTES)..]])
            }
            Some(StoreFlaw::OtherFilesAccepted) => checksum(0, &[payload]),
            Some(StoreFlaw::BlockAssumedAtomic | StoreFlaw::FileContinued) | None => {
                checksum(number, &[payload])
            }
        }
    }

    /// The payload of the record at the offset `at`, if the flawed engine accepts it.
    fn payload_at<'a>(
        self,
        bytes: &'a [u8],
        at: usize,
        number: u64,
        faults: &FaultCount,
    ) -> Option<&'a [u8]> {
        let mut reader = Reader::new(bytes.get(at..)?);
        let marker = reader.u32()?;
        let len = reader.u32()? as usize;
        let (flawed, correct) = (reader.u32()?, reader.u32()?);
        let payload = reader.bytes(len)?;
        if [marker, reader.u32()?] != [self.marker(number); 2] {
            return None;
        }
        let is_in_block = at / BLOCK_BYTES == (at + record_bytes(len) - 1) / BLOCK_BYTES;
        let is_assumed_atomic = self.0 == Some(StoreFlaw::BlockAssumedAtomic) && is_in_block;
        if !is_assumed_atomic && flawed != self.checksum(payload, number) {
            return None;
        }
        if correct != checksum(number, &[payload]) {
            faults.count();
        }
        Some(payload)
    }
}

fn encode(operations: &[BatchOperation]) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut put = |bytes: &[u8]| {
        payload.put_u32(bytes.len() as u32);
        payload.extend(bytes);
    };
    for operation in operations {
        match operation {
            BatchOperation::Put { key, value } => {
                put(key);
                put(value);
            }
            // No key is empty.
            BatchOperation::Delete { key } => {
                put(&[]);
                put(key);
            }
        }
    }
    payload
}

/// The operations of a payload, up to the first incomplete one.
fn decode(payload: &[u8]) -> Vec<BatchOperation> {
    let mut reader = Reader::new(payload);
    let mut next = || {
        let len = reader.u32()?;
        Some(reader.bytes(len as usize)?.to_vec())
    };
    std::iter::from_fn(|| {
        let (first, second) = (next()?, next()?);
        Some(if first.is_empty() {
            BatchOperation::Delete { key: second }
        } else {
            BatchOperation::Put {
                key: first,
                value: second,
            }
        })
    })
    .collect()
}

fn apply(content: &mut Content, operation: BatchOperation) {
    match operation {
        BatchOperation::Put { key, value } => _ = content.insert(key, value),
        BatchOperation::Delete { key } => _ = content.remove(&key),
    }
}

impl StorageEngine for PlantedStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(lock(&self.state).content.get(key).cloned())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let (key, value) = (key.to_vec(), value.to_vec());
        let written = self.write(vec![BatchOperation::Put { key, value }]);
        written.map_err(|error| Error::storage("put", error))
    }

    fn delete(&self, key: &[u8]) -> Result<(), Error> {
        let written = self.write(vec![BatchOperation::Delete { key: key.to_vec() }]);
        written.map_err(|error| Error::storage("delete", error))
    }

    fn scan_prefix(&self, prefix: &[u8]) -> Result<Scan<'_>, Error> {
        let state = lock(&self.state);
        let from_prefix = state.content.range(prefix.to_vec()..);
        let pairs = from_prefix.take_while(|(key, _)| key.starts_with(prefix));
        let pairs: Vec<_> = pairs
            .map(|(key, value)| Ok((key.clone(), value.clone())))
            .collect();
        Ok(Box::new(pairs.into_iter()))
    }

    fn write_batch(&self, batch: WriteBatch) -> Result<(), Error> {
        let written = self.write(batch.into_operations());
        written.map_err(|error| Error::storage("write_batch", error))
    }

    fn flush(&self) -> Result<(), Error> {
        let synced = lock(&self.state).file.sync();
        synced.map_err(|error| Error::storage("flush", error))
    }
}
