//! Ways to die that do not agree: a destructor that writes runs when a panic unwinds, and never when the process is killed.

use std::io;
use std::path::Path;

use super::*;
use crate::fs::{File, FileLock, OpenMode};

/// Hands everything on; files of the log are written to once more when they are dropped by a panic.
#[derive(Debug)]
struct Parting(Arc<dyn FileAccess>);

impl FileAccess for Parting {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.0.open(path, mode)?;
        if path.components().any(|part| part.as_os_str() == "log") {
            return Ok(Arc::new(PartingFile(file)));
        }
        Ok(file)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        self.0.lock(path)
    }
}

#[derive(Debug)]
struct PartingFile(Arc<dyn File>);

impl File for PartingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

impl Drop for PartingFile {
    fn drop(&mut self) {
        // A file that is open for reading refuses it.
        if std::thread::panicking() {
            self.0.write_at(b"the end", 900).ok();
        }
    }
}

#[test]
fn ways_to_die_that_leave_other_files_are_a_finding() {
    let test = concat!(
        module_path!(),
        "::ways_to_die_that_leave_other_files_are_a_finding"
    );
    let sweep = CrashSweep::standard(SEED, 6).files(|files| Arc::new(Parting(files)));
    let plan = Plan::standard(SEED, 6).crash_at(CrashPoint::WalPostAggregate, 0);
    let finding = sweep.agree(&plan, test).expect_err("a destructor wrote");
    assert_eq!(finding.failure.kind, FailureKind::DeathsDisagree, "{finding}");
    let message = &finding.failure.message;
    assert!(
        message.contains("image and unwinding panic leave other things"),
        "{message}"
    );
    assert!(message.contains("/db/log/"), "{message}");

    // Pasted, it compares again, as no replay of the line would.
    let pasted = finding.test_to_paste();
    let line = plan.replay_line();
    let expected = format!(
        r#"#[test]
fn ways_to_die_agree() {{
    let plan: tidaldb::testing::Plan = {line:?}.parse().unwrap();
    drop(sweep().agree(&plan, concat!(module_path!(), "::ways_to_die_agree")).unwrap());
}}"#
    );
    assert_eq!(pasted, expected);
    assert_eq!(line.parse(), Ok(plan));
}
