//! The growth of the time of crashes over the user's own events: one run over all events, and one case at each of four
//! positions.

use std::sync::Arc;
use std::time::Instant;

use tidaldb::testing::lab::event_file::{schema_for, workload_from_events};
use tidaldb::testing::lab::process::ChildProgram;
use tidaldb::testing::plan::{CrashMode, Site};
use tidaldb::testing::sweep::{PrefixRun, SavedPrefix};
use tidaldb::testing::workload::{Event, tiny_options};
use tidaldb::testing::{CrashPoint, CrashSweep};
use tidaldb::{CohortId, EntityId, Options, SignalId, UserId};

use crate::board::{FigureUnit, median};
use crate::curve::Curve;

const NEXT_LEN: usize = 12;
/// A case begins after these numbers of quarters of the run.
const QUARTERS: [usize; 4] = [1, 2, 3, 4];

/// Returns the time of the run by the number of events as a curve, and the times of the run and the cases as rows of a
/// table.
pub(crate) fn measure(events_max: usize) -> (Curve, Vec<Vec<String>>) {
    let mut curve = Curve::new("own events", "events", FigureUnit::Milliseconds);
    let head = "events|run|for each event|case after a quarter|a half|three quarters|all";
    let mut rows = vec![head.split('|').map(str::to_owned).collect::<Vec<_>>()];
    for events_len in [1000, 100, 10, 1].map(|part| events_max / part) {
        let (run_ms, cases) = of_events(events_len);
        curve.add(events_len, run_ms);
        let mut row = vec![events_len.to_string(), curve.unit.show(run_ms)];
        row.push(curve.show_each(events_len, median(&[run_ms])));
        row.extend(cases.into_iter().map(|case_ms| curve.unit.show(case_ms)));
        rows.push(row);
        eprintln!("{events_len} events: done");
    }
    (curve, rows)
}

/// The times of the run and of a case at each quarter, in milliseconds.
fn of_events(events_len: usize) -> (f64, Vec<f64>) {
    let factor = (events_len / 5000).max(1);
    let entities = (events_len / 6).max(10) as u64;
    let event = |number: usize| {
        let mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        Event {
            entity: EntityId(mixed % entities),
            signal: SignalId((mixed % 3) as u16),
            weight: 1.0,
            at_ms: 1_700_000_000_000 + number as i64 * 100,
            user: mixed
                .is_multiple_of(2)
                .then_some(UserId(mixed / 2 % (entities / 2))),
            cohorts: vec![CohortId(mixed % 20); usize::from(mixed.is_multiple_of(3))],
        }
    };
    let sizes = [1, 3 * factor, 1, 8 * factor, 2 * factor];
    let work = workload_from_events((0..events_len).map(event).collect(), &sizes).operations;
    let size_factor = (events_len as u64 / 2000).max(1);
    let options = move || -> Options {
        tiny_options(schema_for(&["view", "like", "share"]))
            .segment_bytes_max(1024 * size_factor)
            .store_segment_bytes_max(4096 * size_factor)
            .checkpoint_log_bytes(8192 * size_factor)
    };
    let positions = QUARTERS.map(|quarter| (work.len() - NEXT_LEN) * quarter / QUARTERS.len());
    let begin = Instant::now();
    let run = PrefixRun::of(&work, &options, &positions, NEXT_LEN, |_| true);
    let run = run.unwrap_or_else(|failure| panic!("{failure}"));
    let run_ms = begin.elapsed().as_secs_f64() * 1e3;
    let cases = run.saved.iter().map(|(_, prefix)| case_ms(prefix, options));
    (run_ms, cases.collect())
}

/// The time of a case that crashes in its first call that records events, in milliseconds.
fn case_ms(prefix: &Arc<SavedPrefix>, options: impl Fn() -> Options + Send + Sync + 'static) -> f64 {
    let sweep = CrashSweep::from_prefix("events", prefix).options(options);
    let child = ChildProgram::this_program([""; 0]);
    let ended = sweep.crash_on_files(&sweep.plan().crash(Site::End, CrashMode::Kill), &child);
    let ended = ended.unwrap_or_else(|finding| panic!("{finding}"));
    let point = CrashPoint::WalPostAggregate;
    let crossing = ended.by_open.count(point);
    let plan = sweep
        .plan()
        .crash(Site::Point { point, crossing }, CrashMode::Panic);
    let begin = Instant::now();
    let crashed = sweep.crash_on_files(&plan, &child);
    let counts = crashed.unwrap_or_else(|finding| panic!("{finding}")).counts;
    assert!(counts.acknowledged > 0);
    begin.elapsed().as_secs_f64() * 1e3
}
