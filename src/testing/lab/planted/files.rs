//! Bugs in the file access: their actions, and the calls that they apply to.
//!
//! Each open of the database has a separate bug state, because the memory of a process is lost in a crash.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeBounds;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::fs::{FileAccess, OpenMode, read_whole, write_all_at};
use crate::testing::CrashSweep;
use crate::testing::faults::{FaultCount, FileAnswer, FileCall, FileOperation, FileRole, ForwardingFiles};
use crate::testing::lock::lock;
use crate::testing::sweep::Setup;
use crate::testing::workload::session;

pub(super) type FileResult = io::Result<FileAnswer>;

/// An action that replaces a call.
pub(crate) type FileAction = fn(&mut FileCall<'_>, &FileBugState) -> FileResult;

/// A bug in the file access. The action replaces every `one_in`-th call that the bug applies to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileBug {
    /// The names of the calls that the bug applies to; empty for all calls.
    pub(crate) calls: &'static [&'static str],
    /// The roles of the files and directories that the bug applies to; empty for all roles.
    pub(crate) roles: &'static [FileRole],
    pub(crate) one_in: u64,
    pub(crate) action: FileAction,
}

/// The state of one bug during one open of the database.
#[derive(Debug)]
pub(crate) struct FileBugState {
    pub(super) faults: FaultCount,
    /// The number of calls that the bug applies to, so far.
    matching_calls: AtomicU64,
    /// Writes that are acknowledged but not yet made, by the handle of their file.
    pub(super) pending: Mutex<BTreeMap<u64, Writes>>,
    backup: Backup,
    /// The number of the session in which the database was opened.
    pub(super) session: u32,
    /// The segments that this session created, in the order of their creation.
    created: Mutex<Vec<PathBuf>>,
}

/// Pairs of an offset and the bytes written there.
pub(super) type Writes = Vec<(u64, Vec<u8>)>;

/// Paths and contents of files, shared by all opens of a sweep.
pub(crate) type Backup = Arc<Mutex<Option<Vec<(PathBuf, Vec<u8>)>>>>;

/// Plants `bug` between the database and the files of `sweep`.
pub(super) fn plant(bug: FileBug, sweep: CrashSweep, faults: &FaultCount) -> CrashSweep {
    let (faults, backup) = (faults.clone(), Backup::default());
    sweep.with_setup(move |setup| {
        let before = setup.wrap_files.take();
        setup.wrap_files = Some(Arc::new(move |files| {
            let files = match &before {
                Some(wrap) => wrap(files),
                None => files,
            };
            Arc::new(bug.wrap(files, &faults, &backup))
        }));
    })
}

impl FileBug {
    /// Returns `files` with this bug, for one open.
    pub(crate) fn wrap(
        self,
        files: Arc<dyn FileAccess>,
        faults: &FaultCount,
        backup: &Backup,
    ) -> ForwardingFiles {
        let state = FileBugState {
            faults: faults.clone(),
            matching_calls: AtomicU64::new(0),
            pending: Mutex::default(),
            backup: Arc::clone(backup),
            session: session(),
            created: Mutex::default(),
        };
        ForwardingFiles::new(files, move |call| {
            let is_due =
                || (state.matching_calls.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.one_in);
            if self.applies_to(call) && is_due() {
                (self.action)(call, &state)
            } else {
                call.forward()
            }
        })
    }

    fn applies_to(&self, call: &FileCall<'_>) -> bool {
        (self.calls.is_empty() || self.calls.contains(&call.operation.name()))
            && (self.roles.is_empty() || self.roles.contains(&call.role()))
    }
}

impl FileBugState {
    /// Returns true for the first call that the bug applies to.
    fn is_first(&self) -> bool {
        self.matching_calls.load(Ordering::Relaxed) == 1
    }

    fn take_pending(&self, call: &FileCall<'_>) -> Writes {
        let pending = call
            .handle()
            .and_then(|handle| lock(&self.pending).remove(&handle));
        pending.unwrap_or_default()
    }

    fn write_pending(&self, call: &FileCall<'_>) -> io::Result<()> {
        let pending = self.take_pending(call);
        pending
            .iter()
            .try_for_each(|(offset, bytes)| write(call, bytes, *offset))
    }

    /// Holds the write in memory and reports it as done.
    fn defer(&self, call: &FileCall<'_>) -> FileResult {
        self.faults.count();
        if let (Some(handle), FileOperation::Write { bytes, offset }) = (call.handle(), &call.operation) {
            let mut pending = lock(&self.pending);
            pending.entry(handle).or_default().push((*offset, bytes.to_vec()));
        }
        call.skip()
    }
}

/// Writes to the open file of the call.
fn write(call: &FileCall<'_>, bytes: &[u8], offset: u64) -> io::Result<()> {
    let file = call.file().ok_or(io::ErrorKind::Unsupported)?;
    write_all_at(file.as_ref(), bytes, offset)
}

/// Returns true for the open of a new file under its temporary name.
fn is_creation(call: &FileCall<'_>) -> bool {
    let is_open = matches!(call.operation, FileOperation::Open { .. });
    is_open && call.mode() == Some(OpenMode::Create) && call.role().is_temporary()
}

// Actions of any call.

pub(crate) fn skip(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    state.faults.count();
    call.skip()
}

pub(crate) fn swallow_error(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    call.forward().or_else(|_| skip(call, state))
}

pub(crate) fn retry(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    call.forward().or_else(|_| {
        state.faults.count();
        call.forward()
    })
}

/// Acts only in these sessions.
pub(super) fn in_sessions(
    sessions: impl RangeBounds<u32>,
    call: &mut FileCall<'_>,
    state: &FileBugState,
    action: FileAction,
) -> FileResult {
    if sessions.contains(&state.session) {
        return action(call, state);
    }
    call.forward()
}

// Actions of writes and syncs.

/// Holds the writes in memory until a sync, and makes them before the sync.
pub(crate) fn write_before_sync(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    if let FileOperation::Write { .. } = call.operation {
        return state.defer(call);
    }
    state.write_pending(call)?;
    call.forward()
}

/// Holds the writes in memory until a sync, and makes them after the sync.
pub(crate) fn write_after_sync(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    if let FileOperation::Write { .. } = call.operation {
        return state.defer(call);
    }
    let answer = call.forward()?;
    state.write_pending(call)?;
    Ok(answer)
}

/// Makes two writes in reverse order, and both before the next sync.
pub(crate) fn swap_writes(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    let FileOperation::Write { bytes, offset } = &call.operation else {
        state.write_pending(call)?;
        return call.forward();
    };
    let pending = state.take_pending(call);
    if pending.is_empty() {
        return state.defer(call);
    }
    write(call, bytes, *offset)?;
    pending
        .iter()
        .try_for_each(|(offset, bytes)| write(call, bytes, *offset))?;
    call.skip()
}

pub(crate) fn write_half(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    if let FileOperation::Write { bytes, offset } = &call.operation {
        state.faults.count();
        write(call, &bytes[..bytes.len() / 2], *offset)?;
    }
    call.skip()
}

/// A write or read of more than this number of bytes is long.
const LONG_WRITE_BYTES: usize = 2048;

/// Makes a long write without its last bytes.
pub(super) fn write_without_tail(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    match &call.operation {
        FileOperation::Write { bytes, offset } if bytes.len() > LONG_WRITE_BYTES => {
            state.faults.count();
            write(call, &bytes[..bytes.len() - 8], *offset)?;
            call.skip()
        }
        _ => call.forward(),
    }
}

/// Replaces the last bytes of a long read by zeros.
pub(super) fn read_without_tail(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    let answer = call.forward()?;
    if let (FileOperation::Read { buffer, .. }, FileAnswer::Bytes(read)) = (&mut call.operation, &answer)
        && *read as usize > LONG_WRITE_BYTES
    {
        state.faults.count();
        buffer[LONG_WRITE_BYTES..*read as usize].fill(0);
    }
    Ok(answer)
}

pub(crate) fn flip_bit(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    if let FileOperation::Write { bytes, .. } = &mut call.operation {
        state.faults.count();
        let middle = bytes.len() / 2;
        bytes.to_mut()[middle] ^= 0x10;
    }
    call.forward()
}

/// Syncs on a thread that does not inherit the injector.
pub(crate) fn sync_on_unwatched_thread(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    let file = call.file().ok_or(io::ErrorKind::Unsupported)?;
    state.faults.count();
    let synced = thread::scope(|scope| scope.spawn(|| file.sync()).join());
    synced
        .unwrap_or_else(|payload| resume_unwind(payload))
        .map(|()| FileAnswer::Done)
}

pub(crate) fn sync_at_close(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    state.faults.count();
    // A destructor has no caller to report an error to.
    call.file().map(|file| file.sync().ok());
    call.forward()
}

/// Skips the syncs of the first segment that a session creates, in every session except the first.
pub(super) fn skip_sync_of_first_created(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    track_created_segment(call, state);
    let is_first = lock(&state.created)
        .first()
        .is_some_and(|first| first == call.path);
    if state.session > 1 && is_first && matches!(call.operation, FileOperation::Sync) {
        return skip(call, state);
    }
    call.forward()
}

/// Skips the sync of a copy that will replace a segment.
pub(super) fn skip_sync_of_copy(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    if segments(call.files()).contains(&call.path.with_extension("")) {
        return skip(call, state);
    }
    call.forward()
}

/// Skips the removal of segments of earlier sessions.
pub(super) fn skip_removal_of_earlier_segments(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    track_created_segment(call, state);
    let is_earlier = !lock(&state.created).iter().any(|created| created == call.path);
    if is_earlier && matches!(call.operation, FileOperation::Remove) {
        return skip(call, state);
    }
    call.forward()
}

/// Records the segment that gets its final name by this call, unless it replaces a segment.
fn track_created_segment(call: &FileCall<'_>, state: &FileBugState) {
    if let FileOperation::Rename { to } = call.operation
        && FileRole::of(to) == FileRole::Segment
        && !segments(call.files()).iter().any(|segment| segment == to)
    {
        lock(&state.created).push(to.to_path_buf());
    }
}

/// Returns true for the error of a full disk or of an injected fault, and false for the error of a failed device.
fn is_injected_or_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull || error.to_string().starts_with("injected")
}

/// Reports the failure of one operation as a success.
pub(crate) fn ignore_failure(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    match call.forward() {
        Err(error) if is_injected_or_full(&error) => skip(call, state),
        answered => answered,
    }
}

/// Repeats a failed operation once. A file system that lost writes in a failed sync reports success for the next sync.
pub(crate) fn repeat_once(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    match call.forward() {
        Err(error) if is_injected_or_full(&error) => {
            state.faults.count();
            call.forward()
        }
        answered => answered,
    }
}

/// Continues a write that failed in the middle, one byte after the position where it stopped.
pub(crate) fn continue_too_far(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    let answered = call.forward();
    match (&answered, &call.operation) {
        (Err(error), FileOperation::Write { bytes, offset }) if is_injected_or_full(error) => {
            state.faults.count();
            let half = bytes.len() / 2;
            write(call, &bytes[half..], offset + half as u64 + 1)?;
            call.skip()
        }
        _ => answered,
    }
}

// Actions of names and locks.

/// Renames a new file first, and syncs it afterwards.
pub(crate) fn rename_before_sync(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    match call.operation {
        FileOperation::Rename { .. } => {
            let answer = call.forward()?;
            state.faults.count();
            call.file().map_or(Ok(()), |file| file.sync())?;
            Ok(answer)
        }
        _ if call.role().is_temporary() => call.skip(),
        _ => call.forward(),
    }
}

pub(crate) fn create_under_final_name(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    let final_name = call.path.with_extension("");
    match call.operation {
        FileOperation::Open { mode } if is_creation(call) => {
            state.faults.count();
            call.files().open(&final_name, mode).map(FileAnswer::File)
        }
        FileOperation::Rename { to } if to == final_name => call.skip(),
        _ => call.forward(),
    }
}

/// Leaves an empty file under the old name.
pub(crate) fn leave_old_name(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    let answer = call.forward()?;
    state.faults.count();
    call.files().open(call.path, OpenMode::Create)?;
    Ok(answer)
}

/// Removes the oldest segment before a third one is created, even if no checkpoint covers it. A removal of a missing
/// file succeeds.
pub(crate) fn remove_oldest(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    if is_creation(call)
        && let [oldest, _, ..] = &segments(call.files())[..]
    {
        state.faults.count();
        call.files().remove(oldest)?;
    }
    match call.forward() {
        Err(error)
            if matches!(call.operation, FileOperation::Remove) && error.kind() == io::ErrorKind::NotFound =>
        {
            call.skip()
        }
        answered => answered,
    }
}

pub(super) fn grant_lock(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    match call.forward()? {
        FileAnswer::Lock(None) => skip(call, state),
        answer => Ok(answer),
    }
}

pub(crate) fn leak_lock(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    match call.forward()? {
        FileAnswer::Lock(Some(lock)) => {
            std::mem::forget(lock);
            skip(call, state)
        }
        answer => Ok(answer),
    }
}

pub(crate) fn leak_file(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    let answer = call.forward()?;
    if let FileAnswer::File(file) = &answer {
        state.faults.count();
        std::mem::forget(Arc::clone(file));
    }
    Ok(answer)
}

// Actions of reads and lists.

/// The number of readable bytes at the beginning of a segment.
const READABLE_BYTES: u64 = 300;

/// Reads no bytes from a file that this handle created.
pub(crate) fn read_as_created(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    match call.mode() {
        Some(OpenMode::Create) => skip(call, state),
        _ => call.forward(),
    }
}

/// Reports the first unreadable byte as the end of the file.
pub(crate) fn end_early(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    let file = call.file().ok_or(io::ErrorKind::Unsupported)?;
    let FileOperation::Read { buffer, offset } = &mut call.operation else {
        return call.forward();
    };
    let readable = READABLE_BYTES.saturating_sub(*offset) as usize;
    if buffer.len() < readable {
        return call.forward();
    }
    if readable == 0 {
        return skip(call, state);
    }
    let read = file.read_at(&mut buffer[..readable], *offset)?;
    Ok(FileAnswer::Bytes(read as u64))
}

/// A temporary segment in the listed directory, if one exists.
fn leftover(call: &FileCall<'_>) -> Option<PathBuf> {
    files_in(call.files(), call.path, FileRole::NewSegment).pop()
}

pub(crate) fn panic_at_leftover(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    if let Some(path) = leftover(call) {
        state.faults.count();
        // Panics without a message on the standard error.
        resume_unwind(Box::new(format!("{} is unexpected", path.display())));
    }
    call.forward()
}

pub(crate) fn hang_at_leftover(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    if leftover(call).is_some() {
        state.faults.count();
        loop {
            thread::park();
        }
    }
    call.forward()
}

// Actions before the first call of an open.

/// The files in `dir` that have this role, in the order of their names; none if the directory is missing.
pub(super) fn files_in(files: &dyn FileAccess, dir: &Path, role: FileRole) -> Vec<PathBuf> {
    let names = files.list(dir).unwrap_or_default();
    let mut paths: Vec<_> = names.iter().map(|name| dir.join(name)).collect();
    paths.retain(|path| FileRole::of(path) == role);
    paths.sort_unstable();
    paths
}

/// Removes the selected files before the first call of an open. A failed device refuses the removals.
pub(super) fn remove_files(
    call: &mut FileCall<'_>,
    state: &FileBugState,
    select: fn(&dyn FileAccess) -> Vec<PathBuf>,
) -> FileResult {
    if state.is_first() {
        for path in select(call.files()) {
            if call.files().remove(&path).is_ok() {
                state.faults.count();
            }
        }
    }
    call.forward()
}

pub(super) fn segments(files: &dyn FileAccess) -> Vec<PathBuf> {
    files_in(files, &Setup::log_and_store().0, FileRole::Segment)
}

pub(super) fn store_files(files: &dyn FileAccess) -> Vec<PathBuf> {
    files_in(files, &Setup::log_and_store().1, FileRole::StoreFile)
}

/// Backs up the store when it gets its second file, and restores this backup before the first call of an open.
pub(crate) fn roll_store_back(call: &mut FileCall<'_>, state: &FileBugState) -> FileResult {
    if state.is_first() {
        // A failed device refuses the restore.
        restore(call.files(), state).ok();
    }
    if let FileOperation::Rename { to } = call.operation
        && FileRole::of(to) == FileRole::StoreFile
    {
        back_up(call.files(), state)?;
    }
    call.forward()
}

/// Backs up the content of the store, unless the store is empty or a backup exists.
fn back_up(files: &dyn FileAccess, state: &FileBugState) -> io::Result<()> {
    let store = store_files(files);
    let mut backup = lock(&state.backup);
    if backup.is_none() && !store.is_empty() {
        let read = |path: PathBuf| {
            let bytes = read_whole(files.open(&path, OpenMode::Read)?.as_ref())?;
            Ok((path, bytes))
        };
        *backup = Some(store.into_iter().map(read).collect::<io::Result<_>>()?);
    }
    Ok(())
}

fn restore(files: &dyn FileAccess, state: &FileBugState) -> io::Result<()> {
    let backup = lock(&state.backup);
    let store = store_files(files);
    let Some(backup) = backup.as_ref().filter(|_| store.len() > 1) else {
        return Ok(());
    };
    state.faults.count();
    for path in store {
        files.remove(&path)?;
    }
    for (path, bytes) in backup {
        let file = files.open(path, OpenMode::Create)?;
        write_all_at(file.as_ref(), bytes, 0)?;
        file.sync()?;
    }
    files.sync_dir(&Setup::log_and_store().1)
}
