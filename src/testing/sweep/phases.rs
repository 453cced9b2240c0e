//! The phases of a sweep: record the work, crash at every crash position, let disk operations fail, run nested cases.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread;

use super::bounds::Bounds;
use super::case::Runner;
use super::explore::{Explorer, NestedCase, RunStatistics, select_nested_cases};
use super::fault::{device_sites, fault_sites, spread};
use super::finding::FailureKind;
use super::heartbeat::{Heartbeat, Phase, Progress};
use super::record::{CrashPosition, RunRecord};
use super::report::LeftOut;
use super::setup::Setup;
use super::shared::{Counters, FailedCase, SharedResults};
use crate::testing::inherit;
use crate::testing::plan::{Crash, Plan, Site};
use crate::testing::sim_disk::{DiskOperationKind, ImageBuilder};

/// A running sweep, which its threads share with the caller.
pub(super) struct RunningSweep {
    pub(super) setup: Setup,
    pub(super) shared: SharedResults,
    pub(super) heartbeats: Vec<Heartbeat>,
    phase: AtomicU8,
}

/// The results of the phases.
pub(super) struct PhaseResults {
    pub(super) run: RunRecord,
    /// The crash positions of the work, each with the indexes of its sites.
    pub(super) positions: Vec<(CrashPosition, Vec<usize>)>,
    /// The run statistics of each crash position; `None` if the sweep did not crash there.
    pub(super) all_statistics: Vec<Option<RunStatistics>>,
    pub(super) left_out: LeftOut,
    pub(super) recovery_crossings: BTreeMap<&'static str, u64>,
    pub(super) recovery_kinds: BTreeMap<DiskOperationKind, u64>,
}

/// The first case of `setup` that fails with `kind`, within `bounds`. Runs on the calling thread.
pub(crate) fn find_first_failure(setup: &Setup, bounds: &Bounds, kind: FailureKind) -> Option<FailedCase> {
    let bounds = Bounds {
        findings_max: 1,
        only_kind: Some(kind),
        workers: 1,
        ..bounds.clone()
    };
    let running = RunningSweep::new(setup.clone(), bounds);
    drop(running.explore());
    running.shared.failed_cases().into_iter().next()
}

impl RunningSweep {
    pub(super) fn new(setup: Setup, bounds: Bounds) -> Self {
        Self {
            setup,
            heartbeats: (0..bounds.workers).map(|_| Heartbeat::default()).collect(),
            shared: SharedResults::new(bounds),
            phase: AtomicU8::new(0),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        let phase = Phase::ALL[usize::from(self.phase.load(Ordering::Relaxed))];
        Progress::of(&self.shared, phase)
    }

    fn begin_phase(&self, phase: Phase, steps: usize) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.shared.counters.done.store(0, Ordering::Relaxed);
        self.shared.counters.total.store(steps, Ordering::Relaxed);
    }

    pub(super) fn explore(&self) -> PhaseResults {
        self.begin_phase(Phase::Record, 1);
        self.heartbeats[0].begin(&[]);
        let run = RunRecord::of_work(&self.setup, &self.setup.new_disk());
        for failure in &run.failures {
            self.shared.store_failed_case(Vec::new(), failure.clone());
        }
        let positions = run.crash_positions();
        let mut left_out = LeftOut::default();
        let (all_statistics, mut nested) = self.crash_at_positions(&run, &positions);
        for ((_, sites), statistics) in positions.iter().zip(&all_statistics) {
            match statistics {
                Some(statistics) => left_out.images = left_out.images.saturating_add(statistics.left_out),
                None => left_out.sites += sites.len(),
            }
        }
        self.fail_operations(&run, &mut left_out);
        let depth = self.shared.bounds.depth;
        let mut results = PhaseResults {
            run,
            positions,
            all_statistics,
            left_out,
            recovery_crossings: BTreeMap::new(),
            recovery_kinds: BTreeMap::new(),
        };
        if depth == 0 {
            results.left_out.recoveries = nested.len();
        } else {
            results.left_out.recoveries = select_nested_cases(&mut nested, &self.shared.bounds);
            self.count_recovery_coverage(&mut results, &nested);
            self.fail_recoveries(&results.run, &nested, &mut results.left_out);
            let (nested, not_run_len) = self.crash_recoveries(&results.run, &nested);
            results.left_out.recoveries += not_run_len;
            results.left_out.nested_images = nested.left_out;
        }
        results
    }

    /// Runs the steps `0..len` on the workers. Each worker takes the next step that has not begun. Returns the value of
    /// each worker, which `new` makes and its steps change.
    fn run_steps<T: Send>(
        &self,
        len: usize,
        step: impl Fn(&Heartbeat, &mut T, usize) + Sync,
        new: impl Fn() -> T + Sync,
    ) -> Vec<T> {
        let next = AtomicUsize::new(0);
        let work = |heartbeat: &Heartbeat| {
            let mut value = new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= len || self.shared.is_stopped() {
                    break;
                }
                step(heartbeat, &mut value, index);
                self.shared.counters.done.fetch_add(1, Ordering::Relaxed);
            }
            heartbeat.pause();
            value
        };
        let Some((first, others)) = self.heartbeats.split_first() else {
            unreachable!("a sweep has at least one worker")
        };
        thread::scope(|scope| {
            let others: Vec<_> = others
                .iter()
                .map(|heartbeat| scope.spawn(inherit(|| work(heartbeat))))
                .collect();
            let mut all = vec![work(first)];
            for other in others {
                match other.join() {
                    Ok(value) => all.push(value),
                    Err(payload) => std::panic::resume_unwind(payload),
                }
            }
            all
        })
    }

    /// Crashes at the crash positions of the work. Returns the run statistics of each position, and the nested cases.
    fn crash_at_positions(
        &self,
        run: &RunRecord,
        positions: &[(CrashPosition, Vec<usize>)],
    ) -> (Vec<Option<RunStatistics>>, Vec<NestedCase>) {
        let steps_len = self.shared.bounds.crash_positions_max.min(positions.len());
        self.begin_phase(Phase::Crash, steps_len);
        let new = || (run.recording.images(), Vec::new(), Vec::new());
        let done = self.run_steps(
            steps_len,
            |heartbeat, (builder, all_statistics, nested), step| {
                // Spread over the whole run.
                let index = step * positions.len() / steps_len;
                let (position, sites) = &positions[index];
                let explorer = self.explorer(run, heartbeat);
                // The name of a crash point describes the position better than a disk operation.
                let site = sites.iter().map(|site| run.sites[*site].0);
                let site = site.min_by_key(|site| matches!(site, Site::Disk { .. }));
                if let Some(site) = site {
                    let statistics =
                        explorer.crash_at(builder, *position, site, self.shared.bounds.images_max, nested);
                    all_statistics.push((index, statistics));
                }
            },
            new,
        );
        let mut all = vec![None; positions.len()];
        let mut all_nested = Vec::new();
        for (_, all_statistics, nested) in done {
            for (index, statistics) in all_statistics {
                all[index] = Some(statistics);
            }
            all_nested.extend(nested);
        }
        // The order of the workers is random. After sorting, the seed selects from the same list in each run.
        (all, NestedCase::distinct(all_nested))
    }

    /// Lets disk operations fail under the running work. Adds the number of excluded faults to `left_out`.
    fn fail_operations(&self, run: &RunRecord, left_out: &mut LeftOut) {
        let mut sites: Vec<Site> = device_sites(&run.recording).collect();
        sites.extend(fault_sites(&run.recording, 0));
        let selected = spread(&sites, self.shared.bounds.faults_max);
        self.begin_phase(Phase::Fault, selected.len());
        let done = self.run_steps(
            selected.len(),
            |heartbeat, (sum, done): &mut (RunStatistics, usize), step| {
                sum.add(&self.explorer(run, heartbeat).run_fault(selected[step]));
                Counters::increment(&self.shared.counters.faults);
                *done += 1;
            },
            || (RunStatistics::default(), 0),
        );
        left_out.faults += sites.len();
        for (statistics, done) in done {
            left_out.faults -= done;
            left_out.fault_images = left_out.fault_images.saturating_add(statistics.left_out);
        }
    }

    /// Lets disk operations of a few recoveries fail. Adds the number of excluded faults to `left_out`.
    fn fail_recoveries(&self, run: &RunRecord, nested: &[NestedCase], left_out: &mut LeftOut) {
        let nested = &nested[..nested.len().min(RECOVERIES_FAILED)];
        let faults_max = self.shared.bounds.faults_max / RECOVERIES_FAILED;
        self.begin_phase(Phase::Fault, nested.len());
        let done = self.run_steps(
            nested.len(),
            |heartbeat, (sum, faults): &mut (RunStatistics, usize), step| {
                let explorer = self.explorer(run, heartbeat);
                let (statistics, left_out) = explorer.recovery_faults(&nested[step], faults_max);
                sum.add(&statistics);
                *faults += left_out;
            },
            || (RunStatistics::default(), 0),
        );
        for (statistics, faults) in done {
            left_out.faults += faults;
            left_out.fault_images = left_out.fault_images.saturating_add(statistics.left_out);
        }
    }

    /// Runs the nested cases. Returns their run statistics, and the number of cases that did not run.
    fn crash_recoveries(&self, run: &RunRecord, nested: &[NestedCase]) -> (RunStatistics, usize) {
        self.begin_phase(Phase::Nested, nested.len());
        let done = self.run_steps(
            nested.len(),
            |heartbeat, (builder, sum, done): &mut (ImageBuilder, RunStatistics, usize), step| {
                let bounds = &self.shared.bounds;
                let (depth, continues) = (bounds.depth, step < bounds.sessions_max);
                let explorer = self.explorer(run, heartbeat);
                let statistics = explorer.crash_nested(builder, &nested[step], depth, continues);
                sum.add(&statistics);
                *done += 1;
            },
            || (run.recording.images(), RunStatistics::default(), 0),
        );
        let mut all = RunStatistics::default();
        let mut done_len = 0;
        for (_, statistics, done) in done {
            all.add(&statistics);
            done_len += done;
        }
        (all, nested.len() - done_len)
    }

    /// Records a few recoveries, and counts their crossings and disk operations.
    fn count_recovery_coverage(&self, results: &mut PhaseResults, nested: &[NestedCase]) {
        for nested in nested.iter().take(RECOVERIES_COUNTED) {
            if self.shared.is_stopped() {
                break;
            }
            let recorded = self
                .explorer(&results.run, &self.heartbeats[0])
                .record_recovery(nested);
            for crossing in &recorded.crossings {
                *results
                    .recovery_crossings
                    .entry(crossing.point.name())
                    .or_default() += 1;
            }
            for operation in recorded.recording.operations() {
                *results.recovery_kinds.entry(operation.kind).or_default() += 1;
            }
        }
        self.heartbeats[0].pause();
    }

    fn explorer<'a>(&'a self, run: &'a RunRecord, heartbeat: &'a Heartbeat) -> Explorer<'a> {
        Explorer(Runner {
            setup: &self.setup,
            run,
            shared: &self.shared,
            heartbeat,
        })
    }

    pub(super) fn plan(&self, crashes: Vec<Crash>) -> Plan {
        Plan {
            crashes,
            ..self.setup.plan()
        }
    }
}

/// The number of recoveries that run with faults.
const RECOVERIES_FAILED: usize = 4;
/// The number of recoveries whose crossings and disk operations are counted.
const RECOVERIES_COUNTED: usize = 64;
