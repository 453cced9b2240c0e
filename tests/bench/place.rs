//! Where the measured databases lie, and what the operating system tells of this process and machine.
//!
//! A crash leaves the directory behind; it is named for the process and may be removed.
#![expect(
    clippy::disallowed_methods,
    reason = "it makes and removes directories around what is measured"
)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory of its own, removed when dropped.
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

    /// A directory in it that is empty, whatever was there before.
    pub(crate) fn fresh(&self, name: &str) -> io::Result<PathBuf> {
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

/// The bytes that this process has written to files; 0 where the system does not tell.
pub(crate) fn written_bytes() -> u64 {
    let counts = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let written = field(&counts, "wchar").and_then(|text| text.parse().ok());
    written.unwrap_or(0)
}

/// The bytes of this process that are in memory (`VmRSS`); 0 where the system does not tell.
pub(crate) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = field(&status, "VmRSS").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// The processor time that this process has used, in seconds, in steps of a hundredth; 0 where the system does not tell.
pub(crate) fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may hold spaces; the twelfth and thirteenth field after it are user and system time.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks = fields.split(' ').skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The machine and the file system that `path` is on, as far as the system tells, one line.
pub(crate) fn machine(path: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&information, "model name").unwrap_or("unknown processor");
    let (kernel, path) = (printed("uname", &["-r"]), path.display().to_string());
    let file_system = printed("df", &["--output=fstype", &path]);
    let file_system = file_system.lines().last().unwrap_or("unknown file system");
    format!("{cores} cores of {model}, Linux {kernel}, {file_system}")
}

/// How many threads ran or waited on average over the last one, five and fifteen minutes.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<&str> = text.split(' ').take(3).collect();
    words.join(", ")
}

/// The day by the system's clock, in UTC.
pub(crate) fn today() -> String {
    printed("date", &["-u", "+%F"])
}

/// The text that a program prints; empty if it cannot be started.
fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| String::new(),
        |it| String::from_utf8_lossy(&it.stdout).trim().to_owned(),
    )
}

/// The value behind `name` on the first line that begins with it.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.map(|value| value.trim_start_matches(['\t', ' ', ':']))
}
