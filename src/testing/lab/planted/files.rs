//! Actions of bugs in the file access, and the calls that they apply to.
//!
//! Each opening of the database has a state of its own, so that an action's memory is lost with the process.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeBounds;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::fs::{FileAccess, OpenMode, read_whole, write_all_at};
use crate::lock::lock;
use crate::testing::CrashSweep;
use crate::testing::faults::{FaultCount, FileAnswer, FileCall, FileOperation, FileRole, ForwardingFiles};
use crate::testing::sweep::Setup;
use crate::testing::workload::session;

pub(super) type FileResult = io::Result<FileAnswer>;

/// Replaces a call.
pub(crate) type FileReplacement = fn(&mut FileCall<'_>, &FileMemory) -> FileResult;

/// A bug in the file access. The action replaces every so many of the calls that the bug applies to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileBug {
    /// The names of the calls that the bug applies to; empty for all.
    pub(crate) calls: &'static [&'static str],
    /// The roles of their files and directories; empty for all.
    pub(crate) roles: &'static [FileRole],
    pub(crate) one_in: u64,
    pub(crate) act: FileReplacement,
}

/// The state of one bug in one opening of the database.
#[derive(Debug)]
pub(crate) struct FileMemory {
    pub(super) acts: FaultCount,
    /// The calls that the bug applied to.
    matched: AtomicU64,
    /// Writes that were acknowledged and not made, by the handle of their file.
    pub(super) kept: Mutex<BTreeMap<u64, Writes>>,
    backup: Backup,
    /// The number of the session in which the database was opened.
    pub(super) session: u32,
    /// The segments that this session made, in the order of their creation.
    made: Mutex<Vec<PathBuf>>,
}

/// Offsets, each with its bytes.
pub(super) type Writes = Vec<(u64, Vec<u8>)>;

/// Files with their content, shared by all openings of a sweep.
pub(crate) type Backup = Arc<Mutex<Option<Vec<(PathBuf, Vec<u8>)>>>>;

/// Puts `bug` between the database and the files of `sweep`.
pub(super) fn plant(bug: FileBug, sweep: CrashSweep, acts: &FaultCount) -> CrashSweep {
    let (acts, backup) = (acts.clone(), Backup::default());
    sweep.with_setup(move |setup| {
        let before = setup.wrap_files.take();
        setup.wrap_files = Some(Arc::new(move |files| {
            let files = match &before {
                Some(wrap) => wrap(files),
                None => files,
            };
            Arc::new(bug.wrap(files, &acts, &backup))
        }));
    })
}

impl FileBug {
    /// `files` with this bug, for one opening.
    pub(crate) fn wrap(
        self,
        files: Arc<dyn FileAccess>,
        acts: &FaultCount,
        backup: &Backup,
    ) -> ForwardingFiles {
        let state = FileMemory {
            acts: acts.clone(),
            matched: AtomicU64::new(0),
            kept: Mutex::default(),
            backup: Arc::clone(backup),
            session: session(),
            made: Mutex::default(),
        };
        ForwardingFiles::new(files, move |call| {
            let is_due = || (state.matched.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.one_in);
            if self.applies_to(call) && is_due() {
                (self.act)(call, &state)
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

impl FileMemory {
    /// Returns true for the first call that the bug applies to.
    fn is_first(&self) -> bool {
        self.matched.load(Ordering::Relaxed) == 1
    }

    fn take_kept(&self, call: &FileCall<'_>) -> Writes {
        let kept = call.handle().and_then(|handle| lock(&self.kept).remove(&handle));
        kept.unwrap_or_default()
    }

    fn write_kept(&self, call: &FileCall<'_>) -> io::Result<()> {
        let kept = self.take_kept(call);
        kept.iter()
            .try_for_each(|(offset, bytes)| write(call, bytes, *offset))
    }

    /// Keeps the write in memory and reports it as made.
    fn keep(&self, call: &FileCall<'_>) -> FileResult {
        self.acts.count();
        if let (Some(handle), FileOperation::Write { bytes, offset }) = (call.handle(), &call.operation) {
            let mut kept = lock(&self.kept);
            kept.entry(handle).or_default().push((*offset, bytes.to_vec()));
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

pub(crate) fn skip(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    state.acts.count();
    call.skip()
}

pub(crate) fn swallow_error(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    call.forward().or_else(|_| skip(call, state))
}

pub(crate) fn retry(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    call.forward().or_else(|_| {
        state.acts.count();
        call.forward()
    })
}

/// Acts only in these sessions.
pub(super) fn in_sessions(
    sessions: impl RangeBounds<u32>,
    call: &mut FileCall<'_>,
    state: &FileMemory,
    act: FileReplacement,
) -> FileResult {
    if sessions.contains(&state.session) {
        return act(call, state);
    }
    call.forward()
}

// Of writes and syncs.

/// Keeps the writes in memory until a sync, and makes them before it.
pub(crate) fn write_before_sync(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    if let FileOperation::Write { .. } = call.operation {
        return state.keep(call);
    }
    state.write_kept(call)?;
    call.forward()
}

/// Keeps the writes in memory until a sync, and makes them after it.
pub(crate) fn write_after_sync(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    if let FileOperation::Write { .. } = call.operation {
        return state.keep(call);
    }
    let answer = call.forward()?;
    state.write_kept(call)?;
    Ok(answer)
}

/// Makes the later one of two writes first, both not later than a sync.
pub(crate) fn swap_writes(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    let FileOperation::Write { bytes, offset } = &call.operation else {
        state.write_kept(call)?;
        return call.forward();
    };
    let kept = state.take_kept(call);
    if kept.is_empty() {
        return state.keep(call);
    }
    write(call, bytes, *offset)?;
    kept.iter()
        .try_for_each(|(offset, bytes)| write(call, bytes, *offset))?;
    call.skip()
}

pub(crate) fn write_half(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    if let FileOperation::Write { bytes, offset } = &call.operation {
        state.acts.count();
        write(call, &bytes[..bytes.len() / 2], *offset)?;
    }
    call.skip()
}

/// A write of more bytes is long.
const LONG_WRITE_BYTES: usize = 2048;

/// Makes a long write without its last bytes.
pub(super) fn write_without_tail(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    match &call.operation {
        FileOperation::Write { bytes, offset } if bytes.len() > LONG_WRITE_BYTES => {
            state.acts.count();
            write(call, &bytes[..bytes.len() - 8], *offset)?;
            call.skip()
        }
        _ => call.forward(),
    }
}

/// Puts zeros in the place of the last bytes of a long read.
pub(super) fn read_without_tail(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    let answer = call.forward()?;
    if let (FileOperation::Read { buffer, .. }, FileAnswer::Bytes(read)) = (&mut call.operation, &answer)
        && *read as usize > LONG_WRITE_BYTES
    {
        state.acts.count();
        buffer[LONG_WRITE_BYTES..*read as usize].fill(0);
    }
    Ok(answer)
}

pub(crate) fn flip_bit(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    if let FileOperation::Write { bytes, .. } = &mut call.operation {
        state.acts.count();
        let middle = bytes.len() / 2;
        bytes.to_mut()[middle] ^= 0x10;
    }
    call.forward()
}

/// Syncs on a thread that does not inherit the injector.
pub(crate) fn sync_elsewhere(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    let file = call.file().ok_or(io::ErrorKind::Unsupported)?;
    state.acts.count();
    let synced = thread::scope(|scope| scope.spawn(|| file.sync()).join());
    synced
        .unwrap_or_else(|payload| resume_unwind(payload))
        .map(|()| FileAnswer::Done)
}

pub(crate) fn sync_at_close(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    state.acts.count();
    // A destructor has no caller to report an error to.
    call.file().map(|file| file.sync().ok());
    call.forward()
}

/// Skips the syncs of the first segment of every session but the first.
pub(super) fn skip_sync_of_first_made(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    note_made(call, state);
    let is_first = lock(&state.made).first().is_some_and(|first| first == call.path);
    if state.session > 1 && is_first && matches!(call.operation, FileOperation::Sync) {
        return skip(call, state);
    }
    call.forward()
}

/// Skips the sync of a copy that is to replace a segment.
pub(super) fn skip_sync_of_copy(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    if segments(call.files()).contains(&call.path.with_extension("")) {
        return skip(call, state);
    }
    call.forward()
}

/// Does not remove the segments of earlier sessions.
pub(super) fn keep_earlier(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    note_made(call, state);
    let is_earlier = !lock(&state.made).iter().any(|made| made == call.path);
    if is_earlier && matches!(call.operation, FileOperation::Remove) {
        return skip(call, state);
    }
    call.forward()
}

/// Notes the segment that gets its name with this call, unless it replaces a segment.
fn note_made(call: &FileCall<'_>, state: &FileMemory) {
    if let FileOperation::Rename { to } = call.operation
        && FileRole::of(to) == FileRole::Segment
        && !segments(call.files()).iter().any(|segment| segment == to)
    {
        lock(&state.made).push(to.to_path_buf());
    }
}

/// Returns true for the error of a full disk or of a fault of one operation, and false for that of a failed device.
fn is_of_one_operation(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull || error.to_string().starts_with("injected")
}

/// Reports the failure of one operation as a success.
pub(crate) fn ignore_failure(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    match call.forward() {
        Err(error) if is_of_one_operation(&error) => skip(call, state),
        answered => answered,
    }
}

/// Repeats one operation that failed: a file system that lost writes in a failed sync reports the next one as done.
pub(crate) fn repeat_once(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    match call.forward() {
        Err(error) if is_of_one_operation(&error) => {
            state.acts.count();
            call.forward()
        }
        answered => answered,
    }
}

/// Continues a write that failed in the middle, one byte after the place where it stopped.
pub(crate) fn continue_too_far(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    let answered = call.forward();
    match (&answered, &call.operation) {
        (Err(error), FileOperation::Write { bytes, offset }) if is_of_one_operation(error) => {
            state.acts.count();
            let half = bytes.len() / 2;
            write(call, &bytes[half..], offset + half as u64 + 1)?;
            call.skip()
        }
        _ => answered,
    }
}

// Of names and locks.

/// Renames a new file, and syncs it then.
pub(crate) fn rename_before_sync(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    match call.operation {
        FileOperation::Rename { .. } => {
            let answer = call.forward()?;
            state.acts.count();
            call.file().map_or(Ok(()), |file| file.sync())?;
            Ok(answer)
        }
        _ if call.role().is_temporary() => call.skip(),
        _ => call.forward(),
    }
}

pub(crate) fn make_under_final_name(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    let final_name = call.path.with_extension("");
    match call.operation {
        FileOperation::Open { mode } if is_creation(call) => {
            state.acts.count();
            call.files().open(&final_name, mode).map(FileAnswer::File)
        }
        FileOperation::Rename { to } if to == final_name => call.skip(),
        _ => call.forward(),
    }
}

/// Leaves an empty file under the old name.
pub(crate) fn keep_old_name(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    let answer = call.forward()?;
    state.acts.count();
    call.files().open(call.path, OpenMode::Create)?;
    Ok(answer)
}

/// Removes the oldest segment before a third one is made, covered by a checkpoint or not. A removal of a file that is gone
/// succeeds.
pub(crate) fn remove_oldest(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    if is_creation(call)
        && let [oldest, _, ..] = &segments(call.files())[..]
    {
        state.acts.count();
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

pub(super) fn grant_lock(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    match call.forward()? {
        FileAnswer::Lock(None) => skip(call, state),
        answer => Ok(answer),
    }
}

pub(crate) fn leak_lock(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    match call.forward()? {
        FileAnswer::Lock(Some(lock)) => {
            std::mem::forget(lock);
            skip(call, state)
        }
        answer => Ok(answer),
    }
}

pub(crate) fn leak_file(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    let answer = call.forward()?;
    if let FileAnswer::File(file) = &answer {
        state.acts.count();
        std::mem::forget(Arc::clone(file));
    }
    Ok(answer)
}

// Of reads and lists.

/// The readable beginning of a segment.
const READABLE_BYTES: u64 = 300;

/// Reads a file that was created by this handle as it was then.
pub(crate) fn read_as_created(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    match call.mode() {
        Some(OpenMode::Create) => skip(call, state),
        _ => call.forward(),
    }
}

/// Reports an unreadable place as the end of the file.
pub(crate) fn end_early(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
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

/// The temporary segment in the directory of a list, if there is one.
fn leftover(call: &FileCall<'_>) -> Option<PathBuf> {
    files_in(call.files(), call.path, FileRole::NewSegment).pop()
}

pub(crate) fn panic_at_leftover(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    if let Some(path) = leftover(call) {
        state.acts.count();
        // As a panic, but for its message.
        resume_unwind(Box::new(format!("{} is unexpected", path.display())));
    }
    call.forward()
}

pub(crate) fn hang_at_leftover(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    if leftover(call).is_some() {
        state.acts.count();
        loop {
            thread::park();
        }
    }
    call.forward()
}

// Of an opening: before its first call.

/// The files in `dir` that have this role, in the order of their names; none without the directory.
pub(super) fn files_in(files: &dyn FileAccess, dir: &Path, role: FileRole) -> Vec<PathBuf> {
    let names = files.list(dir).unwrap_or_default();
    let mut paths: Vec<_> = names.iter().map(|name| dir.join(name)).collect();
    paths.retain(|path| FileRole::of(path) == role);
    paths.sort_unstable();
    paths
}

/// Removes files. A dead device keeps them.
pub(super) fn lose(
    call: &mut FileCall<'_>,
    state: &FileMemory,
    lost: fn(&dyn FileAccess) -> Vec<PathBuf>,
) -> FileResult {
    if state.is_first() {
        for path in lost(call.files()) {
            if call.files().remove(&path).is_ok() {
                state.acts.count();
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

/// Puts the store's content of the moment when it got its second file into its place.
pub(crate) fn roll_store_back(call: &mut FileCall<'_>, state: &FileMemory) -> FileResult {
    if state.is_first() {
        // A device that died meanwhile keeps its content.
        restore(call.files(), state).ok();
    }
    if let FileOperation::Rename { to } = call.operation
        && FileRole::of(to) == FileRole::StoreFile
    {
        back_up(call.files(), state)?;
    }
    call.forward()
}

/// Keeps the content of the store, unless it is empty or was kept before.
fn back_up(files: &dyn FileAccess, state: &FileMemory) -> io::Result<()> {
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

fn restore(files: &dyn FileAccess, state: &FileMemory) -> io::Result<()> {
    let backup = lock(&state.backup);
    let store = store_files(files);
    let Some(backup) = backup.as_ref().filter(|_| store.len() > 1) else {
        return Ok(());
    };
    state.acts.count();
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
