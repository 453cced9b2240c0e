//! Tests of every form of the report: of a clean sweep, of a sweep with findings, and of hostile text.

mod forms;
mod strict_json;
mod table;

use std::sync::LazyLock;

use super::Report;
use crate::testing::CrashSweep;
use crate::testing::lab::planted::{FaultCount, PlantedBug};
use crate::testing::sweep::SweepReport;

/// A sweep of twelve operations that cross every point. Several tests use it.
static CLEAN: LazyLock<SweepReport> = LazyLock::new(|| CrashSweep::standard(3, 12).nested_max(4).run());

/// The same sweep on files that never sync the log.
static WITH_FINDINGS: LazyLock<SweepReport> = LazyLock::new(|| {
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

fn with_findings() -> Report {
    Report::from(WITH_FINDINGS.clone())
}
