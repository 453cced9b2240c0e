//! Rooted files on top of files that note the path of each call.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fs::rooted::*;
use crate::fs::{FileAccess, OpenDir, OpenMode};
use crate::testing::SimDisk;
use crate::testing::faults::{FileAnswer, FileOperation, ForwardingFiles};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The noted calls. The directory that is opened as number N has the path `/through/N`.
#[derive(Debug, Default)]
struct CallNotes {
    calls: Mutex<Vec<String>>,
    dirs_len: Mutex<usize>,
    /// The check of every directory fails while it is true.
    is_lost: Arc<AtomicBool>,
    /// True if the next call sets `is_lost`.
    is_lost_by_next_call: AtomicBool,
}

#[derive(Debug)]
struct NotingDir {
    path: PathBuf,
    is_lost: Arc<AtomicBool>,
}

impl OpenDir for NotingDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn check(&self) -> io::Result<()> {
        if self.is_lost.load(Ordering::Relaxed) {
            return Err(io::Error::other("lost"));
        }
        Ok(())
    }
}

impl CallNotes {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
        if self.is_lost_by_next_call.load(Ordering::Relaxed) {
            self.is_lost.store(true, Ordering::Relaxed);
        }
    }

    fn open_dir(&self) -> Arc<dyn OpenDir> {
        let mut dirs_len = self.dirs_len.lock().unwrap();
        let path = PathBuf::from(format!("/through/{dirs_len}"));
        *dirs_len += 1;
        let is_lost = Arc::clone(&self.is_lost);
        Arc::new(NotingDir { path, is_lost })
    }

    /// The calls since the last `take`.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

/// Files on an empty disk. Each call is noted.
fn noted(notes: Arc<CallNotes>) -> ForwardingFiles {
    let disk = Arc::new(SimDisk::new());
    ForwardingFiles::new(disk, move |call| {
        let path = call.path.display();
        match call.operation {
            FileOperation::Open { mode } => {
                notes.note(format!("{mode:?} {path}"));
                let file = call.files().open(Path::new("/file"), OpenMode::Create)?;
                Ok(FileAnswer::File(file))
            }
            FileOperation::OpenDir => {
                notes.note(format!("open_dir {path}"));
                Ok(FileAnswer::Dir(notes.open_dir()))
            }
            FileOperation::Rename { to } => {
                notes.note(format!("rename {path} {}", to.display()));
                call.skip()
            }
            FileOperation::Close => call.forward(),
            _ => {
                notes.note(format!("{} {path}", call.operation.name()));
                call.skip()
            }
        }
    })
}

fn rooted() -> (Arc<CallNotes>, RootedFiles) {
    let notes = Arc::new(CallNotes::default());
    let files = noted(Arc::clone(&notes));
    (notes, RootedFiles::new(Arc::new(files), PathBuf::from("/db")))
}

/// An operation on the directory of the second argument, or on names in it.
type RootedCall = fn(&RootedFiles, &Path) -> io::Result<()>;

/// The operations that change a directory, each with its call in the directory `.`.
const CHANGES: [(RootedCall, &str); 5] = [
    (
        |files, dir| files.open(&dir.join("a"), OpenMode::Create).map(drop),
        "Create ./a",
    ),
    (|files, dir| files.create_dir(&dir.join("a")), "create_dir ./a"),
    (
        |files, dir| files.rename(&dir.join("a"), &dir.join("b")),
        "rename ./a ./b",
    ),
    (|files, dir| files.remove(&dir.join("a")), "remove ./a"),
    (|files, dir| files.lock(&dir.join("a")).map(drop), "lock ./a"),
];

const SYNC: (RootedCall, &str) = (|files, dir| files.sync_dir(dir), "sync_dir .");

/// The other operations.
const READS: [(RootedCall, &str); 4] = [
    (
        |files, dir| files.open(&dir.join("a"), OpenMode::Read).map(drop),
        "Read ./a",
    ),
    (
        |files, dir| files.open(&dir.join("a"), OpenMode::Write).map(drop),
        "Write ./a",
    ),
    (|files, dir| files.list(dir).map(drop), "list ."),
    (
        |files, dir| files.open_dir(&dir.join("a")).map(drop),
        "open_dir ./a",
    ),
];

fn all() -> impl Iterator<Item = (RootedCall, &'static str)> {
    CHANGES.into_iter().chain([SYNC]).chain(READS)
}

/// The call in the directory `dir`.
fn in_dir(call: &str, dir: &str) -> String {
    call.replace('.', dir)
}

#[test]
fn every_operation_goes_through_the_open_directory_which_is_opened_once() {
    for (operation, call) in all() {
        let (notes, files) = rooted();
        operation(&files, Path::new("/db")).unwrap();
        let opened = "open_dir /db".to_owned();
        assert_eq!(notes.take(), [opened, in_dir(call, "/through/0")]);
        operation(&files, Path::new("/db")).unwrap();
        assert_eq!(notes.take(), [in_dir(call, "/through/0")]);
    }
}

#[test]
fn a_directory_below_the_root_is_opened_through_the_open_root() {
    for (operation, call) in all() {
        let (notes, files) = rooted();
        operation(&files, Path::new("/db/log")).unwrap();
        let opened = ["open_dir /db", "open_dir /through/0/log"].map(str::to_owned);
        let expected = [&opened[..], &[in_dir(call, "/through/1")]].concat();
        assert_eq!(notes.take(), expected);
        operation(&files, Path::new("/db/log")).unwrap();
        assert_eq!(notes.take(), [in_dir(call, "/through/1")]);
    }
}

#[test]
fn paths_outside_the_root_are_unchanged_and_their_directories_are_not_opened() {
    for dir in ["/", "/other", "/db.old"] {
        for (operation, call) in all() {
            let (notes, files) = rooted();
            operation(&files, Path::new(dir)).unwrap();
            let expected = in_dir(call, dir).replace("//", "/");
            assert_eq!(notes.take(), [expected]);
        }
    }
}

#[test]
fn a_lost_directory_is_not_changed() {
    for dir in ["/db", "/db/log"] {
        for (operation, call) in CHANGES {
            let (notes, files) = rooted();
            files.list(Path::new(dir)).unwrap();
            notes.take();
            notes.is_lost.store(true, Ordering::Relaxed);
            let error = operation(&files, Path::new(dir)).expect_err(call);
            assert_eq!(error.to_string(), "lost", "{call}");
            assert_eq!(notes.take(), [""; 0], "{call}");
        }
    }
}

#[test]
fn a_change_or_sync_during_which_the_directory_is_lost_fails() {
    for dir in ["/db", "/db/log"] {
        for (operation, call) in CHANGES.into_iter().chain([SYNC]) {
            let (notes, files) = rooted();
            files.list(Path::new(dir)).unwrap();
            notes.take();
            notes.is_lost_by_next_call.store(true, Ordering::Relaxed);
            let error = operation(&files, Path::new(dir)).expect_err(call);
            assert_eq!(error.to_string(), "lost", "{call}");
            assert_eq!(notes.take().len(), 1, "{call}");
        }
    }
}
