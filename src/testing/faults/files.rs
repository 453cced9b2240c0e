//! A file access that shows each call to a closure before it is made.
//!
//! Owns the names of the open files: a file keeps its identity when it is renamed. Invariant: a call that is forwarded
//! reaches the file access behind the wrapper once, unchanged, with no lock of the wrapper held. The wrapper keeps no
//! content, so a crash leaves the files as the calls did that reached them.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::FileRole;
use crate::fs::{File, FileAccess, FileLock, OpenDir, OpenMode};
use crate::lock::lock;

type InterceptFiles = dyn Fn(&mut FileCall<'_>) -> io::Result<FileAnswer> + Send + Sync;

/// The operation of a [`FileCall`]. Offsets and lengths are in bytes.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileOperation<'a> {
    /// [`FileAccess::open`]. Answer: [`FileAnswer::File`].
    Open {
        /// The mode that is asked for.
        mode: OpenMode,
    },
    /// [`FileAccess::list`]. Answer: [`FileAnswer::Names`].
    List,
    /// [`FileAccess::create_dir`]. Answer: [`FileAnswer::Done`].
    CreateDir,
    /// [`FileAccess::rename`]; the call's path is the old name. Answer: [`FileAnswer::Done`].
    Rename {
        /// The new name.
        to: &'a Path,
    },
    /// [`FileAccess::remove`]. Answer: [`FileAnswer::Done`].
    Remove,
    /// [`FileAccess::sync_dir`]. Answer: [`FileAnswer::Done`].
    SyncDir,
    /// [`FileAccess::lock`]. Answer: [`FileAnswer::Lock`].
    Lock,
    /// [`FileAccess::open_dir`]. Answer: [`FileAnswer::Dir`].
    OpenDir,
    /// [`File::read_at`]. Answer: [`FileAnswer::Bytes`].
    Read {
        /// Receives the content.
        buffer: &'a mut [u8],
        /// The offset in the file.
        offset: u64,
    },
    /// [`File::write_at`]. Answer: [`FileAnswer::Bytes`].
    Write {
        /// The content.
        bytes: Cow<'a, [u8]>,
        /// The offset in the file.
        offset: u64,
    },
    /// [`File::len`]. Answer: [`FileAnswer::Bytes`].
    Len,
    /// [`File::sync`]. Answer: [`FileAnswer::Done`].
    Sync,
    /// The last copy of an open file is being dropped. The answer is ignored; a panic here may end the process.
    Close,
}

impl FileOperation<'_> {
    /// The name of the method of [`FileAccess`] or [`File`]; "close" for [`Close`](Self::Close).
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::List => "list",
            Self::CreateDir => "create_dir",
            Self::Rename { .. } => "rename",
            Self::Remove => "remove",
            Self::SyncDir => "sync_dir",
            Self::Lock => "lock",
            Self::OpenDir => "open_dir",
            Self::Read { .. } => "read_at",
            Self::Write { .. } => "write_at",
            Self::Len => "len",
            Self::Sync => "sync",
            Self::Close => "close",
        }
    }
}

/// The result of a successful [`FileCall`].
#[derive(Debug)]
#[non_exhaustive]
pub enum FileAnswer {
    /// The call returned nothing.
    Done,
    /// The number of bytes read or written, or the length of the file.
    Bytes(u64),
    /// The opened file.
    File(Arc<dyn File>),
    /// The names in the directory.
    Names(Vec<String>),
    /// The lock; `None` if another holder has it.
    Lock(Option<Box<dyn FileLock>>),
    /// The opened directory.
    Dir(Arc<dyn OpenDir>),
}

/// One call to a file system, before it is made.
#[derive(Debug)]
pub struct FileCall<'a> {
    /// The file or directory; of an open file the name that it has now.
    pub path: &'a Path,
    /// The operation. [`forward`](Self::forward) makes the operation that stands here, so a change takes effect.
    pub operation: FileOperation<'a>,
    files: &'a dyn FileAccess,
    target: Option<&'a Target>,
}

impl<'a> FileCall<'a> {
    /// The role of [`path`](Self::path).
    pub fn role(&self) -> FileRole {
        FileRole::of(self.path)
    }

    /// The file access behind the wrapper. Its calls are not intercepted.
    pub fn files(&self) -> &'a dyn FileAccess {
        self.files
    }

    /// The open file behind the wrapper: of a read, write, length, sync or close. Of a rename the open file that has the old
    /// name, if there is one. Its calls are not intercepted.
    pub fn file(&self) -> Option<&'a Arc<dyn File>> {
        self.target.map(|target| &target.inner)
    }

    /// A number that is different for each open of a file through this wrapper.
    pub fn handle(&self) -> Option<u64> {
        self.target.map(|target| target.handle)
    }

    /// The mode of an open, or the mode by which the open file was opened.
    pub fn mode(&self) -> Option<OpenMode> {
        match self.operation {
            FileOperation::Open { mode } => Some(mode),
            _ => self.target.map(|target| target.mode),
        }
    }

    /// Makes the call. A second `forward` makes it again.
    ///
    /// # Errors
    /// Those of the call.
    pub fn forward(&mut self) -> io::Result<FileAnswer> {
        let (files, path, target) = (self.files, self.path, self.target);
        let file = || {
            target
                .map(|target| &target.inner)
                .ok_or(io::ErrorKind::Unsupported)
        };
        match &mut self.operation {
            FileOperation::Open { mode } => files.open(path, *mode).map(FileAnswer::File),
            FileOperation::List => files.list(path).map(FileAnswer::Names),
            FileOperation::CreateDir => files.create_dir(path).map(done),
            FileOperation::Rename { to } => files.rename(path, to).map(done),
            FileOperation::Remove => files.remove(path).map(done),
            FileOperation::SyncDir => files.sync_dir(path).map(done),
            FileOperation::Lock => files.lock(path).map(FileAnswer::Lock),
            FileOperation::OpenDir => files.open_dir(path).map(FileAnswer::Dir),
            FileOperation::Read { buffer, offset } => file()?.read_at(buffer, *offset).map(bytes),
            FileOperation::Write {
                bytes: content,
                offset,
            } => file()?.write_at(content, *offset).map(bytes),
            FileOperation::Len => file()?.len().map(FileAnswer::Bytes),
            FileOperation::Sync => file()?.sync().map(done),
            FileOperation::Close => Ok(FileAnswer::Done),
        }
    }

    /// The answer of a call that succeeded, without the call: a write wrote all its bytes, a read is at the end of the file, a
    /// directory is empty, a lock is granted.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] for [`Open`](FileOperation::Open), [`OpenDir`](FileOperation::OpenDir) and
    /// [`Len`](FileOperation::Len), whose answers only the file access has.
    pub fn skip(&self) -> io::Result<FileAnswer> {
        match &self.operation {
            FileOperation::Open { .. } | FileOperation::OpenDir | FileOperation::Len => {
                Err(io::ErrorKind::Unsupported.into())
            }
            FileOperation::List => Ok(FileAnswer::Names(Vec::new())),
            FileOperation::Lock => Ok(FileAnswer::Lock(Some(Box::new(NoLock)))),
            FileOperation::Read { .. } => Ok(FileAnswer::Bytes(0)),
            FileOperation::Write { bytes: content, .. } => Ok(bytes(content.len())),
            _ => Ok(FileAnswer::Done),
        }
    }
}

fn done((): ()) -> FileAnswer {
    FileAnswer::Done
}

fn bytes(len: usize) -> FileAnswer {
    FileAnswer::Bytes(len as u64)
}

/// A lock that locks nothing.
#[derive(Debug)]
struct NoLock;

impl FileLock for NoLock {
    fn check(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file access that shows each call to a closure, which answers it. See the [module](super) for examples. Clones share the
/// closure.
///
/// # Panics
/// A call panics if the closure gives it the answer of another operation.
#[derive(Clone)]
pub struct ForwardingFiles(Arc<ForwardedFiles>);

struct ForwardedFiles {
    inner: Arc<dyn FileAccess>,
    intercept: Box<InterceptFiles>,
    open: Mutex<Vec<Weak<Target>>>,
    next_handle: AtomicU64,
}

/// An open file.
#[derive(Debug)]
struct Target {
    inner: Arc<dyn File>,
    handle: u64,
    mode: OpenMode,
    /// The name that it has now.
    path: Mutex<Arc<Path>>,
}

impl Target {
    fn path(&self) -> Arc<Path> {
        Arc::clone(&lock(&self.path))
    }
}

impl ForwardingFiles {
    /// Wraps `files`. `intercept` sees each call before it is made: the wrapper returns its result and makes no call of
    /// itself.
    pub fn new(
        files: Arc<dyn FileAccess>,
        intercept: impl Fn(&mut FileCall<'_>) -> io::Result<FileAnswer> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(ForwardedFiles {
            inner: files,
            intercept: Box::new(intercept),
            open: Mutex::default(),
            next_handle: AtomicU64::new(0),
        }))
    }
}

impl ForwardedFiles {
    fn call(
        &self,
        path: &Path,
        operation: FileOperation<'_>,
        target: Option<&Target>,
    ) -> io::Result<FileAnswer> {
        (self.intercept)(&mut FileCall {
            path,
            operation,
            files: self.inner.as_ref(),
            target,
        })
    }

    fn call_done(
        &self,
        path: &Path,
        operation: FileOperation<'_>,
        target: Option<&Target>,
    ) -> io::Result<()> {
        match self.call(path, operation, target)? {
            FileAnswer::Done => Ok(()),
            answer => answer.refuse("call that returns nothing"),
        }
    }

    fn target(&self, path: &Path) -> Option<Arc<Target>> {
        let mut open = lock(&self.open);
        open.retain(|target| target.strong_count() > 0);
        let mut targets = open.iter().filter_map(Weak::upgrade);
        targets.find(|target| *target.path() == *path)
    }
}

impl FileAnswer {
    fn refuse(&self, call: &str) -> ! {
        panic!("the closure of ForwardingFiles answered a {call} with {self:?}")
    }
}

impl FileAccess for ForwardingFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inner = match self.0.call(path, FileOperation::Open { mode }, None)? {
            FileAnswer::File(file) => file,
            answer => answer.refuse("open"),
        };
        let target = Arc::new(Target {
            inner,
            handle: self.0.next_handle.fetch_add(1, Ordering::Relaxed),
            mode,
            path: Mutex::new(path.into()),
        });
        lock(&self.0.open).push(Arc::downgrade(&target));
        Ok(Arc::new(ForwardingFile {
            target,
            files: Arc::clone(&self.0),
        }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        match self.0.call(path, FileOperation::List, None)? {
            FileAnswer::Names(names) => Ok(names),
            answer => answer.refuse("list"),
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.call_done(path, FileOperation::CreateDir, None)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let target = self.0.target(from);
        self.0
            .call_done(from, FileOperation::Rename { to }, target.as_deref())?;
        if let Some(target) = target {
            *lock(&target.path) = to.into();
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.call_done(path, FileOperation::Remove, None)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.call_done(path, FileOperation::SyncDir, None)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        match self.0.call(path, FileOperation::Lock, None)? {
            FileAnswer::Lock(lock) => Ok(lock),
            answer => answer.refuse("lock"),
        }
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn OpenDir>> {
        match self.0.call(path, FileOperation::OpenDir, None)? {
            FileAnswer::Dir(dir) => Ok(dir),
            answer => answer.refuse("open_dir"),
        }
    }
}

impl fmt::Debug for ForwardingFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ForwardingFiles").field(&self.0.inner).finish()
    }
}

struct ForwardingFile {
    target: Arc<Target>,
    files: Arc<ForwardedFiles>,
}

impl ForwardingFile {
    fn call(&self, operation: FileOperation<'_>) -> io::Result<FileAnswer> {
        let path = self.target.path();
        self.files.call(&path, operation, Some(&self.target))
    }

    fn call_bytes(&self, operation: FileOperation<'_>) -> io::Result<u64> {
        match self.call(operation)? {
            FileAnswer::Bytes(len) => Ok(len),
            answer => answer.refuse("call that returns a number of bytes"),
        }
    }
}

impl File for ForwardingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.call_bytes(FileOperation::Read { buffer, offset })?;
        Ok(read as usize)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let bytes = Cow::Borrowed(bytes);
        let written = self.call_bytes(FileOperation::Write { bytes, offset })?;
        Ok(written as usize)
    }

    fn len(&self) -> io::Result<u64> {
        self.call_bytes(FileOperation::Len)
    }

    fn sync(&self) -> io::Result<()> {
        let path = self.target.path();
        self.files
            .call_done(&path, FileOperation::Sync, Some(&self.target))
    }
}

impl Drop for ForwardingFile {
    fn drop(&mut self) {
        // A destructor has no caller to report an error to.
        self.call(FileOperation::Close).ok();
    }
}

impl fmt::Debug for ForwardingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ForwardingFile").field(&self.target).finish()
    }
}
