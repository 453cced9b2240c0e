//! Storage conformance: one call that checks any implementation of [`StorageEngine`](crate::storage::StorageEngine)
//! against the promises of that trait.
//!
//! ```
//! use tidaldb::storage::MemoryStore;
//! use tidaldb::testing::conformance::{Conformance, Survives};
//!
//! // For an engine in files pass `|dir| MyEngine::open(dir)` and do not call `survives`.
//! let report = Conformance::new("in memory", |_dir| Ok(MemoryStore::new()))
//!     .survives(Survives::Nothing)
//!     .check();
//! report.assert_conforms();
//!
//! // The report also lists the checks that were not made.
//! assert!(report.not_applicable().any(|check| check == "power-loss"));
//! ```
//!
//! # Checks
//! | check | promise |
//! |---|---|
//! | `basic-operations` | a get returns the last put value until the key is replaced or deleted, also by a batch |
//! | `batch-order` | the last operation of a key in a batch wins; an empty batch is legal |
//! | `batch-refused` | a batch with a refused operation is refused as a whole, and later acknowledged writes survive |
//! | `scan-order` | pairs come in ascending byte order |
//! | `scan-bounds` | a scan returns exactly the keys with the prefix |
//! | `scan-snapshot` | a scan does not show later writes |
//! | `random-model` | random operations, scans and reopenings agree with a map |
//! | `value-sizes`, `key-sizes` | every size works or is an error, never a panic; keys up to the promised limit work |
//! | `reopening` | all content is present after a reopening |
//! | `closing` | all content is readable after `close`, and present after a reopening |
//! | `concurrent-use` | other threads read batches as a whole and in order; no write is lost |
//! | `killed-between-calls`, `killed-in-a-stream`, `killed-while-opening` | acknowledged writes survive `SIGKILL`, batches are whole, and the writes have no gap |
//! | `killed-after-closing` | writes before `close` survive `SIGKILL` after it |
//! | `disk-full`, `disk-full-while-opening` | if a real disk is full for some time, no write acknowledged before, during or after that time is lost |
//! | `power-loss` | at every disk operation of a workload: each image of a power loss contains all flushed writes, as a whole and without a gap |
//! | `power-loss-after-closing` | writes before `close` survive a power loss after it, without a flush |
//! | `writes-after-recovery` | writes that are flushed after a recovery survive the next power loss |
//! | `recovery-interrupted` | a power loss inside a recovery does not change the recovered content |
//! | `disk-failures` | if any one disk operation fails, or the disk is full for some time: the promise of `disk-full`, also after power losses |
//!
//! The last five checks need an engine that reaches its files through [`FileAccess`](crate::fs::FileAccess). The checks
//! with `SIGKILL` and with a full disk use a real child process, which is the calling test, run again. The child serves
//! the parent inside [`Conformance::check`] and ends there, or with its parent. So each child repeats the statements of
//! the test before that call, and a test may make only one such call.
//!
//! A check fails if it did not do its work, for example if it killed no process. The report lists a check that was not
//! made as not applicable.
//!
//! Invariant: for every write an oracle outside the engine records if the write was acknowledged, failed or was in
//! flight. It checks whole contents, never single keys.

mod child;
mod closing;
mod concurrent;
mod context;
mod disk_full;
mod engine_with_map;
mod failures;
mod kills;
mod limits;
mod parent;
mod power_loss;
mod random_model;
mod report;
mod scans;
mod semantics;
mod simulated;
mod subject;
#[cfg(test)]
mod tests;
mod write_history;
mod writes;

use std::fmt;

pub use report::{Check, CheckOutcome, ConformanceReport};
pub use subject::{Conformance, Survives};

use crate::testing::process::ChildProgram;
use crate::testing::temp_dir::TempDir;
use crate::testing::text::catch_as_text;
use crate::testing::watchdog::run_within;
use context::CheckContext;
use report::{CheckResult, CheckStop};

impl Conformance {
    /// Makes every check that applies. Each check has its own directory below the system's directory for temporary
    /// files. If a check fails, its directory remains and contains the image on which it failed.
    pub fn check(&self) -> ConformanceReport {
        self.check_only(|_| true)
    }

    /// Makes the selected checks.
    pub(in crate::testing) fn check_only(&self, is_selected: impl Fn(&str) -> bool) -> ConformanceReport {
        child::serve_if_child(self);
        let mut this = self.clone();
        this.child = this.child.or_else(ChildProgram::calling_test);
        let selected = CHECK_FUNCTIONS.iter().filter(|(name, _)| is_selected(name));
        ConformanceReport {
            engine: self.name.clone(),
            seed: self.seed,
            checks: selected
                .map(|(name, check)| this.make_check(name, *check))
                .collect(),
        }
    }

    fn make_check(&self, name: &'static str, check: fn(&CheckContext) -> CheckResult) -> Check {
        let root = match TempDir::try_new("conformance") {
            Ok(root) => root,
            Err(error) => return Check::new(name, Err(CheckStop::Failed(error.to_string()))),
        };
        let context = CheckContext::new(self, root.path());
        // A hang or a panic of the engine fails the check.
        let checked = run_within(self.time_limit, name, move || catch_as_text(|| check(&context)))
            .map_err(|hang| CheckStop::Failed(hang.to_string()))
            .and_then(|caught| caught.unwrap_or_else(|text| Err(CheckStop::Failed(text))));
        let checked = checked.map_err(|stop| {
            stop.map(|reason| {
                if !self.keeps_files_of_failures {
                    return reason;
                }
                root.keep();
                format!("{reason} [files in {}]", root.path().display())
            })
        });
        Check::new(name, checked)
    }
}

impl fmt::Debug for Conformance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conformance")
            .field("name", &self.name)
            .field("is_over_file_access", &self.open_with_files.is_some())
            .field("survives", &self.survives)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

type CheckFunction = fn(&CheckContext) -> CheckResult;

/// The names of the checks, in their order.
pub const CHECKS: &[&str] = &{
    let mut names = [""; CHECK_FUNCTIONS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = CHECK_FUNCTIONS[index].0;
        index += 1;
    }
    names
};

const CHECK_FUNCTIONS: &[(&str, CheckFunction)] = &[
    ("basic-operations", semantics::basic_operations),
    ("batch-order", semantics::batch_order),
    ("batch-refused", semantics::batch_refused),
    ("scan-order", scans::order),
    ("scan-bounds", scans::bounds),
    ("scan-snapshot", scans::snapshot),
    ("random-model", random_model::random_model),
    ("value-sizes", limits::value_sizes),
    ("key-sizes", limits::key_sizes),
    ("reopening", semantics::reopening),
    ("closing", closing::reads_and_reopenings),
    ("concurrent-use", concurrent::concurrent_use),
    ("killed-between-calls", kills::between_calls),
    ("killed-in-a-stream", kills::in_a_stream),
    ("killed-while-opening", kills::while_opening),
    ("killed-after-closing", closing::kill_after_close),
    ("disk-full", disk_full::in_a_write),
    ("disk-full-while-opening", disk_full::while_opening),
    ("power-loss", power_loss::at_every_operation),
    ("power-loss-after-closing", closing::power_loss_after_close),
    ("writes-after-recovery", power_loss::writes_after_recovery),
    ("recovery-interrupted", power_loss::inside_recovery),
    ("disk-failures", failures::at_every_operation),
];
