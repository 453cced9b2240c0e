//! Crash points and the kit that proves recovery by enumerating crashes. Test builds only.

pub mod conformance;
pub mod crash_injector;
pub mod event_file;
#[cfg(test)]
mod hook_rule;
pub mod model;
pub mod oracle;
pub mod plan;
pub mod planted;
pub mod report;
mod shrink;
pub mod sim_disk;
pub mod sweep;
pub mod verdict;
pub mod workload;

pub use crash_injector::{
    CrashAction, CrashInjector, CrashPayload, CrashPoint, Crossing, CrossingRecorder, ParseCrashPointError,
    SlotGuard, UnwatchedListener, check_crash_point, clear_injector, crash_of, inherit, install_injector,
    run_with_crash, scoped_injector, scoped_recorder,
};
pub use plan::Plan;
pub use sim_disk::SimDisk;
pub use sweep::{CrashSweep, Driver, Finding, Recovered, SweepReport, replay};

/// The README's examples are compiled and run with the documentation's tests.
#[doc = include_str!("../../README.md")]
mod readme {}
