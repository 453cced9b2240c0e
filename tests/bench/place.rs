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

/// The bytes of this process that are in memory (`VmRSS`); 0 where the system does not tell.
pub(crate) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = field(&status, "VmRSS:").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
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
    let model =
        field(&information, "model name").map_or("unknown processor", |text| text.trim_start_matches(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    format!(
        "{cores} cores of {model}, Linux {}, {}",
        kernel.trim(),
        file_system(&mounts, path).unwrap_or("unknown file system")
    )
}

/// How many threads ran or waited on average over the last one, five and fifteen minutes.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<&str> = text.split(' ').take(3).collect();
    words.join(", ")
}

/// The day by the system's clock, in UTC, as `date` prints it.
pub(crate) fn today() -> String {
    let printed = Command::new("date").args(["-u", "+%F"]).output();
    let printed = printed.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    printed.unwrap_or_default()
}

/// The type of the file system with the longest mount point that `path` begins with.
fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let path = fs::canonicalize(path).ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let (_, name) = mounts
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.len())?;
    Some(name)
}

/// What follows `name` on the first line that begins with it.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}
