//! Storage conformance: one call that checks what [`StorageEngine`](crate::storage::StorageEngine) promises against any implementation of it.
//!
//! ```
//! use tidaldb::storage::MemoryStore;
//! use tidaldb::testing::conformance::{Conformance, Survives};
//!
//! // A test of an engine in files says `|dir| MyEngine::open(dir)` and leaves `survives` as it is.
//! let report = Conformance::new("in memory", |_dir| Ok(MemoryStore::new()))
//!     .survives(Survives::Nothing)
//!     .check();
//! report.assert_conforms();
//!
//! // Checks that were not made are in the report too.
//! assert!(report.not_applicable().any(|check| check == "power-loss"));
//! ```
//!
//! # What is checked
//! | check | promise |
//! |---|---|
//! | `basic-operations` | what was put is got until it is replaced or deleted, by batches too |
//! | `batch-order` | the last operation of a key in a batch wins; an empty batch is legal |
//! | `batch-refused` | a batch with an operation the engine refuses is refused whole, and later successes count |
//! | `scan-order` | pairs come in ascending byte order |
//! | `scan-bounds` | a scan gives the keys with the prefix, all of them and no other |
//! | `scan-snapshot` | a scan does not show later writes |
//! | `random-model` | random operations, scans and reopenings agree with a map |
//! | `value-sizes`, `key-sizes` | every size works or is an error, never a panic; keys to the promised limit work |
//! | `reopening` | everything is there again |
//! | `closing` | after `close` everything is readable, and is there again |
//! | `concurrent-use` | batches are whole and in order for every other thread; nothing is lost |
//! | `killed-between-calls`, `killed-in-a-stream`, `killed-while-opening` | what was acknowledged survives `SIGKILL`, batches are whole, nothing is missing in between |
//! | `killed-after-closing` | what was written before `close` survives `SIGKILL` after it |
//! | `disk-full`, `disk-full-while-opening` | when a real disk is full for a while, nothing acknowledged before, meanwhile or afterwards is lost |
//! | `power-loss` | at every disk operation of a workload: each image of a power loss holds what was flushed, whole and without a hole |
//! | `power-loss-after-closing` | what was written before `close` survives a power loss after it, with no flush |
//! | `writes-after-recovery` | what is written and flushed after a recovery survives the next power loss |
//! | `recovery-interrupted` | a power loss inside the recovery from that changes nothing |
//! | `disk-failures` | when any one disk operation fails, or the disk is full for a while: as for `disk-full`, for power losses too |
//!
//! The last five need an engine that reaches its files through [`FileAccess`](crate::fs::FileAccess). For every other engine the ones above
//! use a real child process, which is the calling test, run again: the child serves the parent inside
//! [`Conformance::check`] and ends there, or with its parent. So each child repeats the statements of the test before that
//! call, and a test makes one such call.
//!
//! A check fails if it did not reach its work, as one that killed no process; one that was not made says so.
//!
//! Invariant: an oracle outside of the engine knows of every write whether it was acknowledged, failed or was under way.
//! It judges whole contents, never single keys.

mod account;
mod child;
mod closing;
mod concurrent;
mod disk_full;
mod failures;
mod kills;
mod lab;
mod limits;
mod mirrored;
mod parent;
mod power_loss;
mod random_model;
mod report;
mod scans;
mod semantics;
mod simulated;
mod steps;
mod subject;
#[cfg(test)]
mod tests;

use std::fmt;

pub use report::{Check, CheckOutcome, ConformanceReport};
pub use subject::{Conformance, Survives};

use crate::testing::process::ChildProgram;
use crate::testing::temp_dir::TempDir;
use crate::testing::text::catch_as_text;
use crate::testing::watchdog::run_within;
use lab::Lab;
use report::{CheckResult, CheckStop};

impl Conformance {
    /// Makes every check that applies. Each has a directory of its own below the system's one for temporary files, which
    /// stays if the check fails, with the image it failed on.
    pub fn check(&self) -> ConformanceReport {
        self.check_those(|_| true)
    }

    pub(in crate::testing) fn check_those(&self, is_wanted: impl Fn(&str) -> bool) -> ConformanceReport {
        child::serve_if_asked(self);
        let mut this = self.clone();
        this.child = this.child.or_else(ChildProgram::calling_test);
        let wanted = CHECK_FUNCTIONS.iter().filter(|(name, _)| is_wanted(name));
        ConformanceReport {
            engine: self.name.clone(),
            seed: self.seed,
            checks: wanted.map(|(name, check)| this.make(name, *check)).collect(),
        }
    }

    fn make(&self, name: &'static str, check: fn(&Lab) -> CheckResult) -> Check {
        let root = match TempDir::try_new("conformance") {
            Ok(root) => root,
            Err(error) => return Check::new(name, Err(CheckStop::Failed(error.to_string()))),
        };
        let lab = Lab::new(self, root.path());
        // A hang or a panic of the engine is a verdict too.
        let checked = run_within(self.time_limit, name, move || catch_as_text(|| check(&lab)))
            .map_err(|hang| CheckStop::Failed(hang.to_string()))
            .and_then(|caught| caught.unwrap_or_else(|text| Err(CheckStop::Failed(text))));
        let checked = checked.map_err(|stop| {
            stop.map(|reason| {
                if !self.keeps_failures {
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
            .field("is_over_file_access", &self.open_over.is_some())
            .field("survives", &self.survives)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

type CheckFunction = fn(&Lab) -> CheckResult;

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
    ("closing", closing::in_process),
    ("concurrent-use", concurrent::concurrent_use),
    ("killed-between-calls", kills::between_calls),
    ("killed-in-a-stream", kills::in_a_stream),
    ("killed-while-opening", kills::while_opening),
    ("killed-after-closing", closing::then_killed),
    ("disk-full", disk_full::comes_and_goes),
    ("disk-full-while-opening", disk_full::while_opening),
    ("power-loss", power_loss::at_every_operation),
    ("power-loss-after-closing", closing::then_power_loss),
    ("writes-after-recovery", power_loss::writes_after_recovery),
    ("recovery-interrupted", power_loss::inside_recovery),
    ("disk-failures", failures::at_every_operation),
];
