//! Campaigns that this project runs on itself, and modules that its own programs need. The versioning promise of the
//! kit excludes this module: any item may change in any version.

pub mod command_line;
pub mod damage;
pub mod decoder;
pub mod event_file;
mod file_format;
pub mod planted;
pub mod programs;
#[cfg(test)]
mod tests;

/// Child processes, and a limit of file sizes that acts as a full disk on one of them.
pub mod process {
    pub use crate::testing::process::{
        ChildEnd, ChildProcess, ChildProgram, ChildSide, FileSizeLimit, NoAnswer, OverLimit,
    };
}

/// Text tables.
pub mod table {
    pub use crate::testing::report::table::*;
}

pub use super::temp_dir::TempDir;
pub use super::text::{catch_as_text, error_chain, panic_text};
pub use super::watchdog::{Hang, run_within};
pub use super::workload::random::Random;
