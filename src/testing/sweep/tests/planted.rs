//! Bugs that are planted, one for each thing that a sweep looks for.

use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::fs::{File, FileLock, OpenMode};
use crate::testing::workload::Workload;

/// What goes wrong in the file access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// Files below the log are not synced.
    LogNotSynced,
    /// Directories are not synced.
    DirNotSynced,
    /// Reading the log hangs.
    Hangs,
    /// Reading the log panics.
    Panics,
}

#[derive(Debug)]
struct Planted {
    inner: Arc<dyn FileAccess>,
    bug: Bug,
}

#[derive(Debug)]
struct PlantedFile {
    inner: Arc<dyn File>,
    bug: Bug,
    is_log: bool,
}

fn plant(bug: Bug) -> impl Fn(Arc<dyn FileAccess>) -> Arc<dyn FileAccess> + Send + Sync + 'static {
    move |inner| Arc::new(Planted { inner, bug })
}

impl FileAccess for Planted {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let is_log = path.to_string_lossy().contains("/log/");
        if is_log && mode != OpenMode::Create {
            match self.bug {
                Bug::Hangs => park(),
                Bug::Panics => panic!("planted"),
                _ => {}
            }
        }
        let inner = self.inner.open(path, mode)?;
        let bug = self.bug;
        Ok(Arc::new(PlantedFile { inner, bug, is_log }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.inner.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.bug == Bug::DirNotSynced {
            return Ok(());
        }
        self.inner.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        self.inner.lock(path)
    }
}

impl File for PlantedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.inner.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn sync(&self) -> io::Result<()> {
        if self.is_log && self.bug == Bug::LogNotSynced {
            return Ok(());
        }
        self.inner.sync()
    }
}

/// Waits for what never comes.
fn park() {
    let (_sender, receiver): (Sender<()>, Receiver<()>) = channel();
    // The sender lives as long as the thread waits.
    receiver.recv().ok();
}

fn kinds(report: &SweepReport) -> Vec<FailureKind> {
    report
        .findings
        .iter()
        .map(|finding| finding.failure.kind)
        .collect()
}

#[test]
fn a_log_that_is_not_synced_is_found_shrunk_and_replayed() {
    let sweep = CrashSweep::standard(SEED, 30)
        .depth(0)
        .files(plant(Bug::LogNotSynced));
    let report = sweep.run();
    assert!(!report.is_ok());
    let kinds = kinds(&report);
    assert!(
        kinds.contains(&FailureKind::AcknowledgedBeforeDurable) && kinds.contains(&FailureKind::Lost),
        "{report}"
    );
    let lost = report
        .findings
        .iter()
        .find(|finding| finding.failure.kind == FailureKind::Lost)
        .expect("it is there");
    let shrunk = lost.shrunk.as_ref().expect("it is smaller");
    let operations = shrunk.work.workload().expect("it has operations").operations;
    assert_eq!(operations.len(), 1, "{lost}");
    // The line fails in this sweep, and only because of the bug.
    let again = sweep.replay(&lost.replay_line()).expect_err("the bug is there");
    assert_eq!(
        again.failure.kind,
        FailureKind::AcknowledgedBeforeDurable,
        "{again}"
    );
    replay(&lost.replay_line()).expect("without the bug it holds");
    let dir = lost.image_dir.as_ref().expect("the disk is laid out");
    assert!(lost.to_string().contains(&*dir.to_string_lossy()), "{lost}");
    let image = crate::testing::sim_disk::Image::read_from(&crate::fs::RealFiles, dir).expect("it is there");
    assert!(image.files().count() > 0);
    remove(report.findings.iter().chain([&*again]));
}

#[test]
fn directories_that_are_not_synced_are_found() {
    let report = CrashSweep::standard(SEED, 20)
        .depth(0)
        .shrink(false)
        .files(plant(Bug::DirNotSynced))
        .run();
    assert!(kinds(&report).contains(&FailureKind::Refused), "{report}");
}

#[test]
fn a_recovery_that_hangs_ends_as_a_finding_with_its_plan() {
    let report = CrashSweep::standard(SEED, 4)
        .files(plant(Bug::Hangs))
        .case_time(Duration::from_millis(300))
        .run();
    let finding = report.findings.last().expect("it hangs");
    assert_eq!(finding.failure.kind, FailureKind::Hang, "{report}");
    assert_eq!(finding.plan.crashes.len(), 1, "{finding}");
    assert!(!report.is_ok());
}

#[test]
fn a_recovery_that_panics_is_a_finding() {
    let report = CrashSweep::standard(SEED, 4)
        .shrink(false)
        .files(plant(Bug::Panics))
        .run();
    assert!(kinds(&report).contains(&FailureKind::Panicked), "{report}");
}

#[test]
fn what_outlives_the_database_is_a_finding() {
    let kept: Arc<Mutex<Vec<Arc<dyn FileAccess>>>> = Arc::default();
    let keeping = Arc::clone(&kept);
    let options = || crate::testing::workload::tiny_options(crate::testing::workload::standard_schema());
    let report = CrashSweep::standard(SEED, 4)
        .shrink(false)
        .options(options)
        .storage(move |files| {
            keeping.lock().expect("nobody panicked").push(Arc::clone(&files));
            let options = crate::storage::FileStoreOptions {
                segment_bytes_max: 1024,
                store_id: None,
            };
            let store = crate::storage::FileStore::open(files, "/store", &options)?;
            Ok(Arc::new(store))
        })
        .run();
    assert!(kinds(&report).contains(&FailureKind::LeftBehind), "{report}");
    drop(kept);
}

#[test]
fn a_thread_that_nobody_watches_is_a_finding() {
    let report = CrashSweep::driven("a thread of its own", |driver| {
        std::thread::scope(|scope| {
            let db = driver.db();
            scope
                .spawn(move || db.checkpoint().map(drop))
                .join()
                .expect("it ends")
        })
    })
    .shrink(false)
    .run();
    assert!(
        !kinds(&report).contains(&FailureKind::Unwatched),
        "nothing was recorded, so nothing was done: {report}"
    );
    let report = CrashSweep::driven("a thread of its own", |driver| {
        for operation in Workload::standard(SEED, 4).operations {
            driver.apply(&operation)?;
        }
        std::thread::scope(|scope| {
            let db = driver.db();
            scope
                .spawn(move || db.checkpoint().map(drop))
                .join()
                .expect("it ends")
        })
    })
    .shrink(false)
    .run();
    assert!(kinds(&report).contains(&FailureKind::Unwatched), "{report}");
}

#[test]
fn an_acknowledgement_that_comes_too_early_is_found_without_a_crash() {
    // The policy of the database is weaker than the one that was promised.
    let report = CrashSweep::standard(SEED, 10)
        .depth(0)
        .shrink(false)
        .files(plant(Bug::LogNotSynced))
        .images_max(1)
        .run();
    let finding = report.findings.first().expect("it is found");
    assert_eq!(finding.failure.kind, FailureKind::AcknowledgedBeforeDurable);
    assert!(finding.plan.crashes.is_empty());
    assert!(
        finding.failure.message.contains("/db/log/") && finding.failure.message.contains("at offset"),
        "{finding}"
    );
}

/// Removes the directories that findings were laid out in.
fn remove<'a>(findings: impl Iterator<Item = &'a Finding>) {
    for dir in findings.filter_map(|finding| finding.image_dir.as_ref()) {
        #[expect(clippy::disallowed_methods, reason = "a test's own directory")]
        std::fs::remove_dir_all(dir).expect("it was laid out");
    }
}
