//! A simulated disk that yields to other threads around each open, write, sync, rename and removal. The yields follow from a
//! seed and the number of earlier calls.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tidaldb::fs::{File, FileAccess, FileLock, OpenDir, OpenMode};
use tidaldb::testing::SimDisk;

use super::scramble;

/// A thread gives way at most this often at a time: long enough for a sync of another thread.
const YIELDS_MAX: u64 = 24;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Jittery {
    disk: SimDisk,
    jitter: Arc<Jitter>,
}

#[derive(Debug)]
struct Jitter {
    seed: u64,
    calls: AtomicU64,
}

#[derive(Debug)]
struct JitteryFile {
    file: Arc<dyn File>,
    jitter: Arc<Jitter>,
}

impl Jitter {
    fn give_way(&self) {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let random = scramble(self.seed ^ number);
        if random.is_multiple_of(3) {
            for _ in 0..(random >> 32) % YIELDS_MAX {
                thread::yield_now();
            }
        }
    }

    fn around<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.give_way();
        let result = call();
        self.give_way();
        result
    }
}

impl Jittery {
    pub(crate) fn new(disk: SimDisk, seed: u64) -> Self {
        let calls = AtomicU64::new(0);
        Self {
            disk,
            jitter: Arc::new(Jitter { seed, calls }),
        }
    }
}

impl FileAccess for Jittery {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.jitter.around(|| self.disk.open(path, mode))?;
        let jitter = Arc::clone(&self.jitter);
        Ok(Arc::new(JitteryFile { file, jitter }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.jitter.around(|| self.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.jitter.around(|| self.disk.remove(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.jitter.around(|| self.disk.sync_dir(path))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        self.disk.lock(path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn OpenDir>> {
        self.disk.open_dir(path)
    }
}

impl File for JitteryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.jitter.around(|| self.file.write_at(bytes, offset))
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync(&self) -> io::Result<()> {
        self.jitter.around(|| self.file.sync())
    }
}
