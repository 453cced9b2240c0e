//! Every way to get a storage engine wrong that the checks must find. Most bugs lie in the calls to a sound engine or to its
//! files; the others lie inside of the [`Toy`], which knows them.

use std::path::Path;
use std::sync::Arc;

use super::toy::Toy;
use crate::Error;
use crate::fs::FileAccess;
use crate::testing::faults::{FaultCount, ForwardingStorage, StorageAnswer, StorageCall};
use crate::testing::lab::planted::BugPlace;
use crate::testing::lab::planted::files::{self, Backup};
use crate::testing::lab::planted::storage::{
    self, StorageBug, StorageMemory, StorageResult, one_by_one, scan, scanned, write_in_parts,
};

/// A bug in a storage engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    None,
    /// Each operation of a batch is a record of its own. One that is refused ends the batch, and those before it stay.
    BatchInPieces,
    /// A batch is one record, but memory gets it one operation after the other.
    BatchVisibleInPieces,
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
    /// A put is made when the next write is.
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
        Self::ScanSeesMore,
        Self::OrderIsSigned,
        Self::ScanIsLive,
        Self::ScanBlocksWrites,
        Self::LongKeyPanics,
        Self::WritesBuffered,
        Self::FlushDoesNothing,
        Self::DirectoryNotSynced,
        Self::GoesOnAfterFailure,
        Self::ForgivesOneFailure,
        Self::BadRecordsSkipped,
        Self::SyncRetried,
        Self::FailureSwallowed,
        Self::TailNotCut,
        Self::RecoveryRewrites,
        Self::NoChecksum,
        Self::CloseDoesNothing,
        Self::CloseDamages,
        Self::CloseEndsReads,
        Self::PutLate,
    ];

    /// The place of a bug in the calls to the engine or to its files; `None` inside of the engine.
    fn place(self) -> Option<BugPlace> {
        Some(match self {
            Self::BatchInPieces => BugPlace::storage(&["write_batch"], |call, state| {
                write_in_parts(call, state, one_by_one)
            }),
            Self::DeleteIgnored => BugPlace::storage(&["delete"], storage::skip),
            Self::ScanEndOverflows => BugPlace::storage(&["scan_prefix"], |call, _| {
                scan_between(call, |prefix, last| [prefix, &[last.wrapping_add(1)]].concat())
            }),
            Self::ScanSeesMore => BugPlace::storage(&["scan_prefix"], |call, _| {
                scan_between(call, |front, _| [front, &[u8::MAX; 9]].concat())
            }),
            Self::OrderIsSigned => BugPlace::storage(&["scan_prefix"], scan_in_signed_order),
            Self::ScanIsLive => BugPlace::storage(&["scan_prefix"], scan_live),
            Self::WritesBuffered => BugPlace::files(&["write_at", "sync"], &[], files::write_before_sync),
            Self::FlushDoesNothing => BugPlace::storage(&["flush"], storage::skip),
            Self::DirectoryNotSynced => BugPlace::files(&["sync_dir"], &[], files::skip),
            Self::FailureSwallowed => BugPlace::files(&["write_at"], &[], files::swallow_error),
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
                act: storage::skip,
            },
        };
        Ok(bug.wrap(Arc::new(engine), &FaultCount::default()))
    }
}

/// Shows the pairs from the prefix on to the end that `end` makes of all but its last byte and of that byte.
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

fn scan_in_signed_order<'a>(call: &mut StorageCall<'a>, _: &StorageMemory) -> StorageResult<'a> {
    let (_, mut pairs) = scan(call)?;
    pairs.sort_by_key(|(key, _)| key.iter().map(|byte| *byte as i8).collect::<Vec<_>>());
    Ok(scanned(pairs))
}

/// Scans again for each item.
fn scan_live<'a>(call: &mut StorageCall<'a>, _: &StorageMemory) -> StorageResult<'a> {
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
