//! Sweeps of large calls at some of their crash positions, under tiny limits and under the limits of production.

use super::*;
use crate::limits::{Limits, SEGMENT_BYTES_MIN};
use crate::testing::workload::{
    Workload, large_options, large_schema, standard_schema, tiny_options, with_many_segments,
};
use crate::{Options, Schema};

/// Tiny options with smaller limits, so that writes are split and a close makes a checkpoint too.
pub(super) fn tinier_options(schema: Schema) -> Options {
    let options = tiny_options(schema);
    let limits = Limits {
        zeros_bytes_max: 300,
        store_write_bytes: 2048,
        closed_log_bytes_max: 512,
        ..options.limits
    };
    Options { limits, ..options }
}

/// Runs the sweep at `positions_len` crash positions, with the image of a process crash and a few images of power
/// losses at each.
fn run_sampled(sweep: CrashSweep, positions_len: usize) -> SweepReport {
    let sweep = sweep
        .findings_max(3)
        .shrink(false)
        .depth(0)
        .faults_max(0)
        .sessions_max(0)
        .images_max(2)
        .workers(2);
    sweep.crash_positions_max(positions_len).run()
}

#[test]
fn large_calls_survive_sampled_crashes_under_tiny_limits() {
    let options = || tinier_options(large_schema());
    let sweep = CrashSweep::named("large, tiny limits", Workload::large(SEED, 200)).options(options);
    let report = run_sampled(sweep, 200);
    println!("{report}");
    report.expect_clean();
}

/// The sampled sweeps have only a few images with a gap inside a frame.
#[test]
fn a_call_in_many_sectors_survives_completely_or_is_lost_completely() {
    let operations = Workload::standard(SEED, 60).operations;
    let events = operations.into_iter().flat_map(|operation| match operation {
        Operation::Record { events, .. } => events,
        _ => Vec::new(),
    });
    let call = Operation::record(events.collect());
    let operations = vec![call.clone(), call];
    let sweep = CrashSweep::named("calls in many sectors", Workload { operations });
    let report = sweep.depth(0).faults_max(0).images_max(128).shrink(false).run();
    report.expect_clean();
}

/// The log has dozens of segments, which no checkpoint trims before the close.
#[test]
fn a_long_log_survives_sampled_crashes_under_tiny_limits() {
    let options = || {
        with_many_segments(tinier_options(standard_schema()))
            .segment_bytes_max(SEGMENT_BYTES_MIN)
            .checkpoint_log_bytes(1 << 30)
    };
    let mut workload = Workload::standard(SEED, 150);
    workload.operations.retain(|it| *it != Operation::Checkpoint);
    let sweep = CrashSweep::named("long log", workload).options(options);
    let report = run_sampled(sweep, 150);
    println!("{report}");
    report.expect_clean();
}

#[test]
fn calls_of_thousands_of_events_survive_sampled_crashes_under_the_limits_of_production() {
    let sweep = CrashSweep::named("large", Workload::large(SEED, 4500)).options(large_options);
    // Every opening after a crash is slow, so the sweep does not continue after recovery.
    let report = run_sampled(sweep.continue_after_recovery(false), 40);
    println!("{report}");
    report.expect_clean();
}
