//! The directory of the measured databases, and the facts that the operating system reports about this process and
//! machine.
//!
//! A crash of the benchmark leaves the directory `bench-PID` behind. It may be removed.
#![expect(
    clippy::disallowed_methods,
    reason = "makes and removes the directories of the measured databases"
)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory of this process, removed when dropped.
#[derive(Debug)]
pub(crate) struct BenchDir(PathBuf);

impl BenchDir {
    /// A new, empty directory below `parent`.
    pub(crate) fn new(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The empty directory `name` in this directory. Removes an old directory of this name.
    pub(crate) fn empty_dir(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Drop for BenchDir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The bytes that this process has written to files; 0 if the system does not report them.
pub(crate) fn written_bytes() -> u64 {
    let counts = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let written = field(&counts, "wchar").and_then(|text| text.parse().ok());
    written.unwrap_or(0)
}

/// The resident memory of this process (`VmRSS`) in bytes; 0 if the system does not report it.
pub(crate) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = field(&status, "VmRSS").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// The processor time of this process in seconds, in steps of a hundredth; 0 if the system does not report it.
pub(crate) fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may contain spaces. The twelfth and thirteenth field after it are the
    // user and system time.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks = fields.split(' ').skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The machine and the file system of `path`, in one line. Names a part "unknown" if the system does not report it.
pub(crate) fn machine(path: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&information, "model name").unwrap_or("unknown processor");
    let (kernel, path) = (printed("uname", &["-r"]), path.display().to_string());
    let file_system = printed("df", &["--output=fstype", &path]);
    let file_system = file_system.lines().last().unwrap_or("unknown file system");
    format!("{cores} cores of {model}, Linux {kernel}, {file_system}")
}

/// The average number of running or waiting threads over the last one, five and fifteen minutes.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<&str> = text.split(' ').take(3).collect();
    words.join(", ")
}

/// The day by the system's clock, in UTC.
pub(crate) fn today() -> String {
    printed("date", &["-u", "+%F"])
}

/// The output of a program; empty if the program cannot be started.
fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| String::new(),
        |it| String::from_utf8_lossy(&it.stdout).trim().to_owned(),
    )
}

/// The value after `name` in the first line that begins with `name`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.map(|value| value.trim_start_matches(['\t', ' ', ':']))
}
