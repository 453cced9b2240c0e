//! A file access that passes each call to a closure.
//!
//! Owns the names of the open files: a renamed file keeps its identity. Invariant: each `forward` makes one call to the
//! wrapped file access, while the wrapper holds no lock. The wrapper stores no content, so after a crash the files have
//! the effects of exactly the forwarded calls.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::FileRole;
use crate::fs::{File, FileAccess, FileLock, OpenDir, OpenMode};
use crate::testing::lock::lock;

type InterceptFiles = dyn Fn(&mut FileCall<'_>) -> io::Result<FileAnswer> + Send + Sync;

/// The operation of a [`FileCall`]. Offsets and lengths are in bytes.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileOperation<'a> {
    /// [`FileAccess::open`]. Answer: [`FileAnswer::File`].
    Open {
        /// The requested mode.
        mode: OpenMode,
    },
    /// [`FileAccess::list`]. Answer: [`FileAnswer::Names`].
    List,
    /// [`FileAccess::create_dir`]. Answer: [`FileAnswer::Done`].
    CreateDir,
    /// [`FileAccess::rename`]. The path of the call is the old name. Answer: [`FileAnswer::Done`].
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
        /// The buffer for the content.
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
    /// The drop of an open file. The wrapper ignores the answer. A panic here can abort the process.
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
    /// The answer of a call without a return value.
    Done,
    /// The number of bytes read or written, or the length of the file.
    Bytes(u64),
    /// The opened file.
    File(Arc<dyn File>),
    /// The names in the listed directory.
    Names(Vec<String>),
    /// The lock. `None` if another process holds it.
    Lock(Option<Box<dyn FileLock>>),
    /// The opened directory.
    Dir(Arc<dyn OpenDir>),
}

/// One intercepted call to a file system.
#[derive(Debug)]
pub struct FileCall<'a> {
    /// The path of the file or directory. For an open file, its current name.
    pub path: &'a Path,
    /// The operation. [`forward`](Self::forward) makes the operation in this field, so the closure can change it.
    pub operation: FileOperation<'a>,
    files: &'a dyn FileAccess,
    open_file: Option<&'a OpenedFile>,
}

impl<'a> FileCall<'a> {
    /// The role of [`path`](Self::path).
    pub fn role(&self) -> FileRole {
        FileRole::of(self.path)
    }

    /// The wrapped file access. The wrapper does not intercept its calls.
    pub fn files(&self) -> &'a dyn FileAccess {
        self.files
    }

    /// The wrapped open file of a read, write, length, sync or close. For a rename, the open file with the old name, if
    /// any. The wrapper does not intercept its calls.
    pub fn file(&self) -> Option<&'a Arc<dyn File>> {
        self.open_file.map(|open_file| &open_file.inner)
    }

    /// The number of the open file. Each open through this wrapper gets a new number.
    pub fn handle(&self) -> Option<u64> {
        self.open_file.map(|open_file| open_file.handle)
    }

    /// The mode of this open call, or the mode in which the open file was opened.
    pub fn mode(&self) -> Option<OpenMode> {
        match self.operation {
            FileOperation::Open { mode } => Some(mode),
            _ => self.open_file.map(|open_file| open_file.mode),
        }
    }

    /// Makes the call. A second `forward` makes it again.
    ///
    /// # Errors
    /// The error of the call.
    pub fn forward(&mut self) -> io::Result<FileAnswer> {
        let (files, path, open_file) = (self.files, self.path, self.open_file);
        let file = || {
            open_file
                .map(|open_file| &open_file.inner)
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

    /// Returns the answer of a successful call, and does not make the call. A write reports all its bytes as written, a
    /// read reports the end of the file, a list reports an empty directory, and a lock is granted.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] for [`Open`](FileOperation::Open), [`OpenDir`](FileOperation::OpenDir) and
    /// [`Len`](FileOperation::Len): only the file access can answer these.
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

/// A file access that passes each call to a closure, which answers the call. Clones share the closure. The
/// [module](super) has examples.
///
/// # Panics
/// A call panics if the closure returns an answer that does not match the operation.
#[derive(Clone)]
pub struct ForwardingFiles(Arc<ForwardedFiles>);

struct ForwardedFiles {
    inner: Arc<dyn FileAccess>,
    intercept: Box<InterceptFiles>,
    open: Mutex<Vec<Weak<OpenedFile>>>,
    next_handle: AtomicU64,
}

/// A file that was opened through the wrapper.
#[derive(Debug)]
struct OpenedFile {
    inner: Arc<dyn File>,
    handle: u64,
    mode: OpenMode,
    /// The current name.
    path: Mutex<Arc<Path>>,
}

impl OpenedFile {
    fn path(&self) -> Arc<Path> {
        Arc::clone(&lock(&self.path))
    }
}

impl ForwardingFiles {
    /// Wraps `files`. The wrapper passes each call to `intercept` and returns its result. It makes no other calls.
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
        open_file: Option<&OpenedFile>,
    ) -> io::Result<FileAnswer> {
        (self.intercept)(&mut FileCall {
            path,
            operation,
            files: self.inner.as_ref(),
            open_file,
        })
    }

    fn call_done(
        &self,
        path: &Path,
        operation: FileOperation<'_>,
        open_file: Option<&OpenedFile>,
    ) -> io::Result<()> {
        match self.call(path, operation, open_file)? {
            FileAnswer::Done => Ok(()),
            answer => answer.panic_wrong_answer("call that returns nothing"),
        }
    }

    fn open_file(&self, path: &Path) -> Option<Arc<OpenedFile>> {
        let mut open = lock(&self.open);
        open.retain(|open_file| open_file.strong_count() > 0);
        let mut open_files = open.iter().filter_map(Weak::upgrade);
        open_files.find(|open_file| *open_file.path() == *path)
    }
}

impl FileAnswer {
    fn panic_wrong_answer(&self, call: &str) -> ! {
        panic!("the closure of ForwardingFiles answered a {call} with {self:?}")
    }
}

impl FileAccess for ForwardingFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inner = match self.0.call(path, FileOperation::Open { mode }, None)? {
            FileAnswer::File(file) => file,
            answer => answer.panic_wrong_answer("open"),
        };
        let open_file = Arc::new(OpenedFile {
            inner,
            handle: self.0.next_handle.fetch_add(1, Ordering::Relaxed),
            mode,
            path: Mutex::new(path.into()),
        });
        lock(&self.0.open).push(Arc::downgrade(&open_file));
        Ok(Arc::new(ForwardingFile {
            open_file,
            files: Arc::clone(&self.0),
        }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        match self.0.call(path, FileOperation::List, None)? {
            FileAnswer::Names(names) => Ok(names),
            answer => answer.panic_wrong_answer("list"),
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.call_done(path, FileOperation::CreateDir, None)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let open_file = self.0.open_file(from);
        self.0
            .call_done(from, FileOperation::Rename { to }, open_file.as_deref())?;
        if let Some(open_file) = open_file {
            *lock(&open_file.path) = to.into();
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
            answer => answer.panic_wrong_answer("lock"),
        }
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn OpenDir>> {
        match self.0.call(path, FileOperation::OpenDir, None)? {
            FileAnswer::Dir(dir) => Ok(dir),
            answer => answer.panic_wrong_answer("open_dir"),
        }
    }
}

impl fmt::Debug for ForwardingFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ForwardingFiles").field(&self.0.inner).finish()
    }
}

struct ForwardingFile {
    open_file: Arc<OpenedFile>,
    files: Arc<ForwardedFiles>,
}

impl ForwardingFile {
    fn call(&self, operation: FileOperation<'_>) -> io::Result<FileAnswer> {
        let path = self.open_file.path();
        self.files.call(&path, operation, Some(&self.open_file))
    }

    fn call_bytes(&self, operation: FileOperation<'_>) -> io::Result<u64> {
        match self.call(operation)? {
            FileAnswer::Bytes(len) => Ok(len),
            answer => answer.panic_wrong_answer("call that returns a number of bytes"),
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
        let path = self.open_file.path();
        self.files
            .call_done(&path, FileOperation::Sync, Some(&self.open_file))
    }
}

impl Drop for ForwardingFile {
    fn drop(&mut self) {
        // A destructor cannot return an error.
        self.call(FileOperation::Close).ok();
    }
}

impl fmt::Debug for ForwardingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ForwardingFile").field(&self.open_file).finish()
    }
}
