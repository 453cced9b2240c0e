//! The planted bugs of storage engines that the checks must find. Most bugs are wrappers around the calls of a correct
//! engine or of its files. The others are inside the [`Toy`].

use std::path::Path;
use std::sync::Arc;

use super::toy::Toy;
use crate::Error;
use crate::fs::FileAccess;
use crate::testing::faults::{FaultCount, ForwardingStorage, StorageAnswer, StorageCall};
use crate::testing::lab::planted::BugPlace;
use crate::testing::lab::planted::files::{self, Backup};
use crate::testing::lab::planted::storage::{
    self, StorageBug, StorageBugState, StorageResult, one_by_one, scan, scanned, write_in_parts,
};

/// A bug in a storage engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    None,
    /// Each operation of a batch is a separate record. A refused operation ends the batch, and the operations before it
    /// stay.
    BatchInPieces,
    /// A batch is one record, but its operations are applied to memory one after another.
    BatchVisibleInPieces,
    /// The first of several operations on a key in one batch wins.
    FirstOfBatchWins,
    DeleteIgnored,
    DeleteNotLogged,
    /// A put of an empty value deletes the key.
    EmptyValueDeletes,
    /// The end of a scan's range is the prefix with its last byte increased, which may overflow.
    ScanEndOverflows,
    /// A scan continues as long as all bytes of the prefix except the last one agree.
    ScanReturnsMore,
    /// Bytes are compared as signed.
    OrderIsSigned,
    /// A scan reads the map again for each item.
    ScanIsLive,
    /// A scan holds the lock that a write needs.
    ScanBlocksWrites,
    /// Key lengths have 16 bits, and a longer key causes a panic.
    LongKeyPanics,
    /// Writes are only in memory until a flush.
    WritesBuffered,
    FlushDoesNothing,
    DirectoryNotSynced,
    /// After a failed write, later records are appended after its partial record, where recovery stops.
    WritesAfterFailure,
    /// Like [`WritesAfterFailure`](Self::WritesAfterFailure), but a second failure ends all writing.
    IgnoresOneFailure,
    /// Recovery skips bad records and continues with the next good record.
    BadRecordsSkipped,
    /// After a failed sync the next flush syncs again and reports success.
    SyncRetried,
    /// A failed write is reported as a success.
    FailureNotReported,
    /// Recovery does not truncate a bad tail, and new records are appended after it.
    TailNotTruncated,
    /// Recovery writes the whole log again, in place.
    RecoveryRewrites,
    /// Records have no checksum.
    NoChecksum,
    CloseDoesNothing,
    /// The beginning of the log is overwritten.
    CloseDamages,
    /// After `close` nothing can be read.
    CloseEndsReads,
    /// A put takes effect only at the next call that writes, flushes or closes.
    PutLate,
}

impl Bug {
    pub(super) const ALL: &[Self] = &[
        Self::None,
        Self::BatchInPieces,
        Self::BatchVisibleInPieces,
        Self::FirstOfBatchWins,
        Self::DeleteIgnored,
        Self::DeleteNotLogged,
        Self::EmptyValueDeletes,
        Self::ScanEndOverflows,
        Self::ScanReturnsMore,
        Self::OrderIsSigned,
        Self::ScanIsLive,
        Self::ScanBlocksWrites,
        Self::LongKeyPanics,
        Self::WritesBuffered,
        Self::FlushDoesNothing,
        Self::DirectoryNotSynced,
        Self::WritesAfterFailure,
        Self::IgnoresOneFailure,
        Self::BadRecordsSkipped,
        Self::SyncRetried,
        Self::FailureNotReported,
        Self::TailNotTruncated,
        Self::RecoveryRewrites,
        Self::NoChecksum,
        Self::CloseDoesNothing,
        Self::CloseDamages,
        Self::CloseEndsReads,
        Self::PutLate,
    ];

    /// The wrapped calls of the bug, to the engine or to its files. `None` if the bug is inside the engine.
    fn place(self) -> Option<BugPlace> {
        Some(match self {
            Self::BatchInPieces => BugPlace::storage(&["write_batch"], |call, state| {
                write_in_parts(call, state, one_by_one)
            }),
            Self::DeleteIgnored => BugPlace::storage(&["delete"], storage::skip),
            Self::ScanEndOverflows => BugPlace::storage(&["scan_prefix"], |call, _| {
                scan_between(call, |prefix, last| [prefix, &[last.wrapping_add(1)]].concat())
            }),
            Self::ScanReturnsMore => BugPlace::storage(&["scan_prefix"], |call, _| {
                scan_between(call, |front, _| [front, &[u8::MAX; 9]].concat())
            }),
            Self::OrderIsSigned => BugPlace::storage(&["scan_prefix"], scan_in_signed_order),
            Self::ScanIsLive => BugPlace::storage(&["scan_prefix"], scan_live),
            Self::WritesBuffered => BugPlace::files(&["write_at", "sync"], &[], files::write_before_sync),
            Self::FlushDoesNothing => BugPlace::storage(&["flush"], storage::skip),
            Self::DirectoryNotSynced => BugPlace::files(&["sync_dir"], &[], files::skip),
            Self::FailureNotReported => BugPlace::files(&["write_at"], &[], files::swallow_error),
            Self::CloseDoesNothing => BugPlace::storage(&["close"], storage::skip),
            Self::PutLate => BugPlace::storage(
                &["put", "delete", "write_batch", "flush", "close"],
                |call, state| storage::defer(call, state, storage::is_put),
            ),
            _ => return None,
        })
    }

    /// Opens an engine with this bug.
    pub(super) fn open(self, files: Arc<dyn FileAccess>, dir: &Path) -> Result<ForwardingStorage, Error> {
        let place = self.place();
        let files = match place {
            Some(BugPlace::Files(bug)) => {
                Arc::new(bug.wrap(files, &FaultCount::default(), &Backup::default()))
            }
            _ => files,
        };
        let engine = Toy::open(files.as_ref(), dir, self)?;
        let bug = match place {
            Some(BugPlace::Storage(bug)) => bug,
            _ => StorageBug {
                calls: &[],
                action: storage::skip,
            },
        };
        Ok(bug.wrap(Arc::new(engine), &FaultCount::default()))
    }
}

/// Returns the pairs from the prefix to an end. `end` computes this end from all bytes of the prefix except the last,
/// and from the last byte.
fn scan_between<'a>(call: &StorageCall<'a>, end: fn(&[u8], u8) -> Vec<u8>) -> StorageResult<'a> {
    let (prefix, pairs) = scan(call)?;
    let Some((last, front)) = prefix.split_last() else {
        return Ok(scanned(pairs));
    };
    let range = prefix.clone()..end(front, *last);
    let mut pairs = call.engine().scan_prefix(&[])?.collect::<Result<Vec<_>, _>>()?;
    pairs.retain(|(key, _)| range.contains(key));
    Ok(scanned(pairs))
}

fn scan_in_signed_order<'a>(call: &mut StorageCall<'a>, _: &StorageBugState) -> StorageResult<'a> {
    let (_, mut pairs) = scan(call)?;
    pairs.sort_by_key(|(key, _)| key.iter().map(|byte| *byte as i8).collect::<Vec<_>>());
    Ok(scanned(pairs))
}

/// Scans again for each item.
fn scan_live<'a>(call: &mut StorageCall<'a>, _: &StorageBugState) -> StorageResult<'a> {
    let (prefix, _) = scan(call)?;
    let engine = call.engine();
    let mut shown: Vec<u8> = Vec::new();
    Ok(StorageAnswer::Scan(Box::new(std::iter::from_fn(move || {
        let pairs = engine.scan_prefix(&prefix).expect("the engine is sound");
        let next = pairs.flatten().find(|(key, _)| *key > shown)?;
        shown.clone_from(&next.0);
        Some(Ok(next))
    }))))
}
