//! The steps of threads under a scheduler: the actions at which the scheduler chooses the next thread, and the objects
//! that the actions access.

use std::fmt;
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::testing::crash_injector::CrashPoint;

/// An action at which the scheduler chooses the next thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::testing) enum StepAction {
    Begin,
    End,
    Lock,
    TryLock,
    Unlock,
    ReadLock,
    ReadUnlock,
    WriteLock,
    WriteUnlock,
    /// A wait on the object, a condition variable, which also releases this mutex.
    Wait {
        mutex: u64,
    },
    NotifyOne,
    NotifyAll,
    Load,
    Store,
    Update,
    Yield,
    Sleep,
    /// The end of a sleep or of a wait with a time limit.
    Timer,
    Spawn,
    /// Waits for the end of the thread with this index.
    Join(usize),
    /// A file call that reads.
    ReadFile,
    /// A file call whose result no other call changes.
    CheckFile,
    /// A file call that changes the disk.
    ChangeFile,
    /// Releases the lock of a directory. Every change of the disk must come before it.
    ReleaseFile,
    Cross(CrashPoint),
    /// The beginning of a call of the program. The order of two beginnings does not matter.
    BeginCall,
    /// The end of a call. A call that begins later comes after this one in every legal state.
    EndCall,
}

impl StepAction {
    /// Returns true if two of these actions on one object have the same result in either order.
    pub(in crate::testing) fn only_reads(self) -> bool {
        matches!(
            self,
            Self::ReadLock | Self::ReadUnlock | Self::Load | Self::ReadFile | Self::BeginCall
        )
    }

    /// Returns true if the result can change because another thread makes `other`, on the same object, before this action.
    pub(in crate::testing) fn is_affected_by(self, other: Self) -> bool {
        !(self.only_reads() && other.only_reads())
    }

    /// The object that the action releases, if any: a step on this object of another thread may wait for the release.
    pub(in crate::testing) fn released(self, object: u64) -> Option<u64> {
        match self {
            Self::Unlock | Self::ReadUnlock | Self::WriteUnlock => Some(object),
            Self::Wait { mutex } => Some(mutex),
            _ => None,
        }
    }

    /// Returns true if the action takes a lock, and waits until the lock is free.
    pub(in crate::testing) fn waits_for_lock(self) -> bool {
        matches!(self, Self::Lock | Self::ReadLock | Self::WriteLock)
    }

    /// Writes the action and its place.
    pub(in crate::testing) fn fmt_at(self, place: &Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cross(_) | Self::Begin | Self::End => write!(f, "{self}"),
            Self::ReadFile | Self::CheckFile | Self::ChangeFile | Self::ReleaseFile => write!(f, "{place}"),
            _ => write!(f, "{self} {place}"),
        }
    }

    /// A number that distinguishes the actions, for the fingerprint.
    pub(in crate::testing) fn code(self) -> u64 {
        match self {
            Self::Begin => 1,
            Self::End => 2,
            Self::Lock => 3,
            Self::TryLock => 4,
            Self::Unlock => 5,
            Self::ReadLock => 6,
            Self::ReadUnlock => 7,
            Self::WriteLock => 8,
            Self::WriteUnlock => 9,
            Self::Wait { .. } => 10,
            Self::NotifyOne => 11,
            Self::NotifyAll => 12,
            Self::Load => 13,
            Self::Store => 14,
            Self::Update => 15,
            Self::Yield => 16,
            Self::Sleep => 17,
            Self::Timer => 18,
            Self::Spawn => 19,
            Self::BeginCall => 20,
            Self::EndCall => 21,
            Self::ReadFile => 22,
            Self::ChangeFile => 23,
            Self::CheckFile => 24,
            Self::ReleaseFile => 25,
            Self::Join(thread) => 1 << 32 | thread as u64,
            Self::Cross(point) => 2 << 32 | point as u64,
        }
    }
}

impl fmt::Display for StepAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begin => "begins",
            Self::End => "ends",
            Self::Lock => "locks",
            Self::TryLock => "tries to lock",
            Self::Unlock => "unlocks",
            Self::ReadLock => "locks for reading",
            Self::ReadUnlock => "unlocks after reading",
            Self::WriteLock => "locks for writing",
            Self::WriteUnlock => "unlocks after writing",
            Self::Wait { .. } => "waits",
            Self::NotifyOne => "wakes one thread",
            Self::NotifyAll => "wakes all threads",
            Self::Load => "loads",
            Self::Store => "stores",
            Self::Update => "updates",
            Self::Yield => "yields",
            Self::Sleep => "sleeps",
            Self::Timer => "timer fires",
            Self::Spawn => "spawns a thread",
            Self::Join(thread) => return write!(f, "joins thread {thread}"),
            Self::ReadFile => "reads",
            Self::CheckFile => "checks",
            Self::ReleaseFile => "releases",
            Self::ChangeFile => "changes",
            Self::Cross(point) => return write!(f, "crosses {point}"),
            Self::BeginCall => "calls",
            Self::EndCall => "returns from",
        })
    }
}

/// The position and the subject of a step, for the text of a finding.
#[derive(Debug, Clone)]
pub(in crate::testing) enum Place {
    /// A line of the engine or of the program.
    Code(&'static Location<'static>),
    /// The kind of a file call, and its file or directory.
    File(&'static str, Arc<Path>),
    /// The text of a call on the database. Empty for a crossing, and for the beginning and the end of a thread.
    Text(Arc<str>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(location) => {
                let file = location.file();
                let file = file.rsplit_once("src/").map_or(file, |(_, file)| file);
                write!(f, "{file}:{}", location.line())
            }
            Self::File(kind, path) => write!(f, "{kind} {}", path.display()),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// One step of a thread.
#[derive(Debug, Clone)]
pub(in crate::testing) struct Step {
    pub(in crate::testing) thread: usize,
    pub(in crate::testing) action: StepAction,
    /// The accessed object; 0 if the step accesses no shared object.
    pub(in crate::testing) object: u64,
    pub(in crate::testing) place: Place,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.action.fmt_at(&self.place, f)
    }
}

/// The object of the disk. The order of its changes determines the images of a crash.
pub(in crate::testing) const DISK: u64 = 1;
/// The object of the beginnings and ends of calls.
pub(in crate::testing) const CALLS: u64 = 2;

/// The object of the numbers of threads, which depend on the order of spawning.
pub(in crate::testing) const THREAD_NUMBERS: u64 = 3;

/// The number of low bits of an [`ObjectKey`] that hold the id of the object. The other bits hold the run.
const ID_BITS: u32 = 40;

/// The bit of the ids that can differ in another schedule.
const CAN_DIFFER: u64 = 1 << (ID_BITS - 1);

/// Returns true if another schedule can give the object with this id another one.
pub(in crate::testing) fn id_can_differ(id: u64) -> bool {
    id & CAN_DIFFER != 0
}

/// The id of an object that threads share, assigned at its first use in a run. The same schedule gives an object the
/// same id in every run.
#[derive(Debug)]
pub(in crate::testing) struct ObjectKey(AtomicU64);

impl ObjectKey {
    pub(in crate::testing) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The id in the run with the number `run`. `new_id` gives the id of an object that the run has not used yet;
    /// `can_differ` is true if another schedule can give it another one.
    pub(in crate::testing) fn id(&self, run: u64, can_differ: bool, new_id: impl FnOnce() -> u64) -> u64 {
        let run = run << ID_BITS;
        let mask = (1 << ID_BITS) - 1;
        let key = self.0.load(Ordering::Relaxed);
        if key != 0 && key & !mask == run {
            return key & mask;
        }
        // The ids up to `THREAD_NUMBERS` are not ids of objects in memory.
        let id = (new_id() & (mask >> 1)).max(THREAD_NUMBERS + 1);
        let id = if can_differ { id | CAN_DIFFER } else { id };
        self.0.store(run | id, Ordering::Relaxed);
        id
    }
}

impl Default for ObjectKey {
    fn default() -> Self {
        Self::new()
    }
}

/// The last accesses of a thread to an object, as the number of the thread's steps up to it. 0 for no access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::testing) struct LastAccess {
    pub(in crate::testing) read: u64,
    pub(in crate::testing) change: u64,
}

impl LastAccess {
    /// The last access of the thread that conflicts with an action of another thread.
    pub(in crate::testing) fn conflicting(&self, action: StepAction) -> u64 {
        if action.only_reads() {
            self.change
        } else {
            self.change.max(self.read)
        }
    }

    /// The later of both accesses.
    pub(in crate::testing) fn max(self, other: Self) -> Self {
        Self {
            read: self.read.max(other.read),
            change: self.change.max(other.change),
        }
    }
}
