//! A copy of the crate, in which bugs are planted and from which the program `schedules` is built.
//!
//! The copy has only the files that the program needs, and no dependency. Unchanged files keep their time, so that a
//! build compiles only the crate. A run that was killed may leave a planted bug; the next run restores all files.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::source_bugs::SourceBug;

/// The copied files and folders.
const COPIED: [&str; 4] = ["Cargo.toml", "README.md", "src", "tests/programs"];

pub(crate) struct EngineCopy {
    /// The root of the crate.
    crate_dir: PathBuf,
    /// The copy, its build output and the built programs.
    dir: PathBuf,
}

impl EngineCopy {
    /// Copies the crate to its folder `target/planted_schedules`.
    ///
    /// # Errors
    /// The error of a file operation.
    pub(crate) fn of(crate_dir: PathBuf) -> io::Result<Self> {
        let copy = Self {
            dir: crate_dir.join("target/planted_schedules"),
            crate_dir,
        };
        for name in COPIED {
            copy_all(&copy.crate_dir.join(name), &copy.source(name))?;
        }
        Ok(copy)
    }

    fn source(&self, name: &str) -> PathBuf {
        self.dir.join("source").join(name)
    }

    /// Builds the unchanged program. Returns its path.
    ///
    /// # Errors
    /// The reason for which there is no program.
    pub(crate) fn build_unchanged(&self) -> Result<PathBuf, String> {
        self.build("unchanged")
    }

    /// Builds the program with a planted bug. Returns its path.
    ///
    /// # Errors
    /// The reason for which there is no program.
    pub(crate) fn build_with(&self, bug: &SourceBug) -> Result<PathBuf, String> {
        let (original, changed) = (self.crate_dir.join(bug.file), self.source(bug.file));
        let text = fs::read_to_string(&original).map_err(|error| format!("{}: {error}", bug.file))?;
        let planted = bug.apply(&text);
        let planted = planted.map_err(|places_len| format!("the old lines occur {places_len} times"))?;
        let write = |text: &str| fs::write(&changed, text).map_err(|error| format!("{}: {error}", bug.file));
        write(&planted)?;
        let built = self.build("changed");
        write(&text)?;
        built
    }

    fn build(&self, name: &str) -> Result<PathBuf, String> {
        let output = self.dir.join("build");
        let built = Command::new("cargo")
            .current_dir(self.dir.join("source"))
            .args(["build", "--quiet", "--offline", "--features", "test-utils"])
            .args(["--example", "schedules"])
            // The runs take longer than the builds, but not by much. An optimization of the whole crate would make a
            // build long.
            .args(["--config", "profile.dev.opt-level=1"])
            .args(["--config", "profile.dev.lto=\"off\""])
            .args(["--config", "profile.dev.debug=false"])
            .env("CARGO_TARGET_DIR", &output)
            // The default of the profile, which the environment can change. A bug changes one file, so a build compiles
            // only the parts of the crate that depend on it.
            .env("CARGO_INCREMENTAL", "1")
            .env("RUSTFLAGS", "-Awarnings")
            .status();
        if !built.as_ref().is_ok_and(std::process::ExitStatus::success) {
            return Err(format!("the build failed: {built:?}"));
        }
        let (built, program) = (output.join("debug/examples/schedules"), self.dir.join(name));
        match fs::copy(&built, &program) {
            Ok(_) => Ok(program),
            Err(error) => Err(format!("{}: {error}", built.display())),
        }
    }
}

/// Copies a file or a folder. Writes only files that differ, and removes files of the copy that do not exist.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        let names = |dir: &Path| -> io::Result<HashSet<_>> {
            fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
        };
        let wanted = names(from)?;
        for name in &wanted {
            copy_all(&from.join(name), &to.join(name))?;
        }
        for name in names(to)?.difference(&wanted) {
            let old = to.join(name);
            if old.is_dir() {
                fs::remove_dir_all(old)?;
            } else {
                fs::remove_file(old)?;
            }
        }
        return Ok(());
    }
    let mut text = fs::read_to_string(from)?;
    if from.ends_with("Cargo.toml") {
        // The program needs no dependency.
        text = text
            .lines()
            .filter(|line| !line.starts_with("fjall = "))
            .collect::<Vec<_>>()
            .join("\n");
    }
    if fs::read_to_string(to).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::write(to, text)
}
