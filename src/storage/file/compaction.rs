//! Compaction: keeps the files within [`bytes_max`], twice the live data and one segment.
//!
//! The log is a ring: always the oldest file is cleaned. What is still live in it is appended again at the
//! tail, the last of these records says that the file is not needed, the tail is synced, the file is removed.
//! Removals (of keys) need not be kept: they concern older files only, and none of those is needed either.
//!
//! A crash before that last record is durable leaves copies beside the originals; they say the same, and the
//! later ones win. A crash after it leaves at worst the file, alone or with older ones whose removal a power
//! loss took back; open loads no file older than the oldest needed, so what was removed before never comes
//! back.
//!
//! The loop ends: cleaning a file never adds more than it removes but for a file header per segment written
//! and a record header per file cleaned, and once every file was cleaned nothing dead is left beside such
//! headers, which are less than the allowance for segments of at least
//! [`SEGMENT_BYTES_MIN`](crate::limits::SEGMENT_BYTES_MIN) bytes.

use std::sync::{Arc, RwLock};

use super::apply;
use super::data_file::DataFile;
use super::format::{FILE_HEADER_LEN, KeyChange, RECORD_HEADER_LEN, Record};
use super::index::KeyIndex;
use super::log::StoreLog;
use crate::Error;
use crate::lock::{self, Whole};

/// What the files may take when no call is under way.
pub(super) fn bytes_max(live_bytes: u64, segment_bytes_max: u64) -> u64 {
    2 * live_bytes + segment_bytes_max
}

/// Returns true if the files are over the bound.
pub(super) fn is_due(log: &StoreLog, index: &RwLock<Whole<KeyIndex>>) -> Result<bool, Error> {
    let live_bytes = lock::read(index).get()?.live_bytes();
    Ok(log.total_bytes() > bytes_max(live_bytes, log.segment_bytes_max()))
}

/// Cleans files, oldest first, until the rest and a promise of it are within the bound.
///
/// While it runs the files may be over the bound by the live data of one file, beside what the call that made
/// it necessary wrote.
pub(super) fn compact(log: &mut StoreLog, index: &RwLock<Whole<KeyIndex>>) -> Result<(), Error> {
    loop {
        let live_bytes = lock::read(index).get()?.live_bytes();
        let with_promise = log.total_bytes() + RECORD_HEADER_LEN as u64;
        if with_promise <= bytes_max(live_bytes, log.segment_bytes_max()) {
            return Ok(());
        }
        clean_oldest(log, index)?;
    }
}

fn clean_oldest(log: &mut StoreLog, index: &RwLock<Whole<KeyIndex>>) -> Result<(), Error> {
    // If it is the only file it is over the bound alone, so longer than a segment: the first append below
    // seals it.
    let file = Arc::clone(&log.oldest().file);
    let end = match file.live_bytes() {
        0 => FILE_HEADER_LEN as u64,
        _ => log.oldest().end,
    };
    let bytes = file.read_front(end)?;
    let live = live_operations(&file, &bytes, end as usize, lock::read(index).get()?)?;
    let mut chunks = Chunks {
        operations: &live,
        bytes_max: log.segment_bytes_max(),
    };
    loop {
        let chunk = chunks.next();
        let is_last = chunks.operations.is_empty();
        let oldest = file.number + u64::from(is_last);
        let (to, offset) = log.append(chunk, oldest)?;
        apply(index, chunk, &to, offset)?;
        if is_last {
            break;
        }
    }
    debug_assert_eq!(
        file.live_bytes(),
        0,
        "something live is left in file {}",
        file.number
    );
    log.sync()?;
    log.remove_oldest()
}

/// What the index still points at in `file`, whose content up to `end` is `bytes`.
fn live_operations<'a>(
    file: &DataFile,
    bytes: &'a [u8],
    end: usize,
    index: &KeyIndex,
) -> Result<Vec<KeyChange<'a>>, Error> {
    let mut live = Vec::new();
    let mut offset = FILE_HEADER_LEN;
    while offset < end {
        let Some(record) = Record::decode(bytes, file.seed(), offset) else {
            let what = "a record that was valid is not any more";
            return Err(Error::corrupt(file.path(), offset as u64, None, what));
        };
        let mut entry_offset = record.entries_offset as u64;
        for operation in record.operations() {
            if index.points_at(operation.key, file.number, entry_offset) {
                live.push(operation);
            }
            entry_offset += operation.entry_len() as u64;
        }
        offset = record.end;
    }
    Ok(live)
}

/// Cuts operations into records of at most `bytes_max`, but at least one operation each.
struct Chunks<'o, 'a> {
    operations: &'o [KeyChange<'a>],
    bytes_max: u64,
}

impl<'o, 'a> Chunks<'o, 'a> {
    fn next(&mut self) -> &'o [KeyChange<'a>] {
        let mut bytes = 0;
        let fitting = self.operations.iter().take_while(|operation| {
            bytes += operation.entry_len() as u64;
            bytes <= self.bytes_max
        });
        let len = fitting.count().max(1).min(self.operations.len());
        let (chunk, rest) = self.operations.split_at(len);
        self.operations = rest;
        chunk
    }
}
