//! A disk that is full for one process, for as long as the test says: a limit on the size of its files.

use std::process::Command;

use super::ChildProcess;

/// A limit on the size of files that is set on a child from outside: to it, a disk that is full.
///
/// The child's hard limit stays, so that the soft one can be lifted again. A file that is longer already can be written
/// below the limit, as preallocated files can on a full disk.
#[derive(Debug)]
pub struct FileSizeLimit {
    before: String,
}

impl FileSizeLimit {
    /// Sets the limit on `child`.
    ///
    /// # Errors
    /// Why the tool that does it, `prlimit` of util-linux, does not do it here.
    pub fn set(child: &ChildProcess, bytes: u64) -> Result<Self, String> {
        let before = prlimit(child, &["--fsize", "--noheadings", "--raw", "--output", "SOFT"])?;
        prlimit(child, &[&format!("--fsize={bytes}:")])?;
        Ok(Self { before })
    }

    /// Takes it away again: there is room on the disk.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn lift(self, child: &ChildProcess) -> Result<(), String> {
        prlimit(child, &[&format!("--fsize={}:", self.before)]).map(drop)
    }

    /// Whether there is the tool that it takes.
    ///
    /// # Errors
    /// Why not.
    pub fn check_possible() -> Result<(), String> {
        match Command::new("prlimit").arg("--version").output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("`prlimit --version` ended with {}", output.status)),
            Err(error) => Err(format!(
                "there is no `prlimit` (of util-linux) to fill a disk with: {error}"
            )),
        }
    }
}

fn prlimit(child: &ChildProcess, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("prlimit")
        .args(["--pid", &child.id().to_string()])
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot run prlimit: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("prlimit does not do it here: {}", text.trim()))
}
