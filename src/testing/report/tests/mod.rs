//! Tests of every form of the report: of a clean sweep, of one over files that lie, and of text that means harm.

mod forms;
mod strict_json;
mod table;

use std::sync::LazyLock;

use super::Report;
use crate::testing::CrashSweep;
use crate::testing::lab::planted::{FaultCount, PlantedBug};
use crate::testing::sweep::SweepReport;

/// Twelve operations that cross every point; kept, as several tests look at it.
static CLEAN: LazyLock<SweepReport> = LazyLock::new(|| CrashSweep::standard(3, 12).nested_max(4).run());

/// The same over a log that is never synced.
static LYING: LazyLock<SweepReport> = LazyLock::new(|| {
    PlantedBug::SegmentSyncSkipped
        .plant(CrashSweep::standard(3, 12), &FaultCount::default())
        .depth(0)
        .findings_max(12)
        .shrink(false)
        .run()
});

fn clean() -> Report {
    Report::from(CLEAN.clone())
}

fn lying() -> Report {
    Report::from(LYING.clone())
}
