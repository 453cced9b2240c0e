//! A limit on the size of the files that one child process writes. It imitates a full disk: the test sets the limit and
//! lifts it again while the child runs.
//!
//! Invariant: only the limit of the child changes. A crash of the child ends the limit with the process.

use std::process::Command;

use super::ChildProcess;

/// A limit on the file size of a running child process. [`OverLimit`](super::OverLimit) selects the effect of a write
/// beyond the limit; with `FailsWrite` the child runs as on a full disk.
///
/// The limit is the soft limit (`RLIMIT_FSIZE`). The hard limit does not change, so that the soft limit can be lifted
/// again. The child can still write to the part of a longer file that is below the limit, as a process can write to
/// preallocated files on a full disk.
#[derive(Debug)]
pub struct FileSizeLimit {
    /// The soft limit before, in the text form of `prlimit`.
    previous: String,
}

impl FileSizeLimit {
    /// Limits each file of `child` to `bytes` bytes, with the program `prlimit` of util-linux.
    ///
    /// # Errors
    /// The message of `prlimit`, or the reason why `prlimit` cannot run.
    pub fn set(child: &ChildProcess, bytes: u64) -> Result<Self, String> {
        let previous = prlimit(child, &["--fsize", "--noheadings", "--raw", "--output", "SOFT"])?;
        prlimit(child, &[&format!("--fsize={bytes}:")])?;
        Ok(Self { previous })
    }

    /// Restores the previous limit: the disk has space again.
    ///
    /// # Errors
    /// Those of [`set`](Self::set).
    pub fn lift(self, child: &ChildProcess) -> Result<(), String> {
        prlimit(child, &[&format!("--fsize={}:", self.previous)]).map(drop)
    }

    /// Checks that the program `prlimit` is installed and runs.
    ///
    /// # Errors
    /// The reason why `prlimit` cannot run.
    pub fn check_available() -> Result<(), String> {
        match Command::new("prlimit").arg("--version").output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("`prlimit --version` ended with {}", output.status)),
            Err(error) => Err(format!(
                "cannot run `prlimit`, which limits the file size: install util-linux ({error})"
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
    Err(format!("prlimit failed: {}", text.trim()))
}
