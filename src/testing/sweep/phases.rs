//! The phases of a sweep: record, crash at every moment, let operations of the disk fail, crash in recoveries.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread;

use super::bounds::Bounds;
use super::case::Runner;
use super::explore::{Explorer, NestedCase, Tally, draw_nested};
use super::fault::{device_sites, fault_sites, spread};
use super::finding::FailureKind;
use super::heartbeat::{Heartbeat, Phase, Progress};
use super::memory::{Counters, FailedCase, SweepMemory};
use super::record::{CrashPosition, Recorded};
use super::report::LeftOut;
use super::setup::Setup;
use crate::testing::inherit;
use crate::testing::plan::{Crash, Plan, Site};
use crate::testing::sim_disk::{DiskOperationKind, ImageBuilder};

/// A running sweep, which its threads share with the caller.
pub(super) struct Running {
    pub(super) setup: Setup,
    pub(super) memory: SweepMemory,
    pub(super) heartbeats: Vec<Heartbeat>,
    phase: AtomicU8,
}

/// The results of the phases.
pub(super) struct Explored {
    pub(super) run: Recorded,
    pub(super) moments: Vec<(CrashPosition, Vec<usize>)>,
    pub(super) tallies: Vec<Option<Tally>>,
    pub(super) left_out: LeftOut,
    pub(super) recovery_crossings: BTreeMap<&'static str, u64>,
    pub(super) recovery_kinds: BTreeMap<DiskOperationKind, u64>,
}

/// The first case of `setup` that goes wrong with `kind`, within `bounds`. Runs on the calling thread.
pub(crate) fn first_failing(setup: &Setup, bounds: &Bounds, kind: FailureKind) -> Option<FailedCase> {
    let bounds = Bounds {
        findings_max: 1,
        wanted: Some(kind),
        workers: 1,
        ..bounds.clone()
    };
    let running = Running::new(setup.clone(), bounds);
    drop(running.explore());
    running.memory.failed_cases().into_iter().next()
}

impl Running {
    pub(super) fn new(setup: Setup, bounds: Bounds) -> Self {
        Self {
            setup,
            heartbeats: (0..bounds.workers).map(|_| Heartbeat::default()).collect(),
            memory: SweepMemory::new(bounds),
            phase: AtomicU8::new(0),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        let phase = Phase::ALL[usize::from(self.phase.load(Ordering::Relaxed))];
        Progress::of(&self.memory, phase)
    }

    fn enter(&self, phase: Phase, steps: usize) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.memory.counters.done.store(0, Ordering::Relaxed);
        self.memory.counters.total.store(steps, Ordering::Relaxed);
    }

    pub(super) fn explore(&self) -> Explored {
        self.enter(Phase::Record, 1);
        self.heartbeats[0].begin(&[]);
        let run = Recorded::of_work(&self.setup, &self.setup.new_disk());
        for failure in &run.failures {
            self.memory.keep_failed(Vec::new(), failure.clone());
        }
        let moments = run.moments();
        let mut left_out = LeftOut::default();
        let (tallies, mut nested) = self.crash_everywhere(&run, &moments);
        for ((_, sites), tally) in moments.iter().zip(&tallies) {
            match tally {
                Some(tally) => left_out.images = left_out.images.saturating_add(tally.left_out),
                None => left_out.sites += sites.len(),
            }
        }
        self.fail_operations(&run, &mut left_out);
        let depth = self.memory.bounds.depth;
        let mut explored = Explored {
            run,
            moments,
            tallies,
            left_out,
            recovery_crossings: BTreeMap::new(),
            recovery_kinds: BTreeMap::new(),
        };
        if depth == 0 {
            explored.left_out.recoveries = nested.len();
        } else {
            explored.left_out.recoveries = draw_nested(&mut nested, &self.memory.bounds);
            self.cover_recoveries(&mut explored, &nested);
            self.fail_recoveries(&explored.run, &nested, &mut explored.left_out);
            let (nested, undone) = self.crash_recoveries(&explored.run, &nested);
            explored.left_out.recoveries += undone;
            explored.left_out.nested_images = nested.left_out;
        }
        explored
    }

    /// Lets the workers do the steps `0..len`, each taking the next one.
    fn each_step<T: Send>(
        &self,
        len: usize,
        step: impl Fn(&Heartbeat, &mut T, usize) + Sync,
        new: impl Fn() -> T + Sync,
    ) -> Vec<T> {
        let next = AtomicUsize::new(0);
        let work = |heartbeat: &Heartbeat| {
            let mut own = new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= len || self.memory.is_over() {
                    break;
                }
                step(heartbeat, &mut own, index);
                self.memory.counters.done.fetch_add(1, Ordering::Relaxed);
            }
            heartbeat.rest();
            own
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
                    Ok(own) => all.push(own),
                    Err(payload) => std::panic::resume_unwind(payload),
                }
            }
            all
        })
    }

    fn crash_everywhere(
        &self,
        run: &Recorded,
        moments: &[(CrashPosition, Vec<usize>)],
    ) -> (Vec<Option<Tally>>, Vec<NestedCase>) {
        let wanted = self.memory.bounds.moments_max.min(moments.len());
        self.enter(Phase::Crash, wanted);
        let new = || (run.recording.images(), Vec::new(), Vec::new());
        let done = self.each_step(
            wanted,
            |heartbeat, (builder, tallies, nested), step| {
                // Spread over the whole run.
                let index = step * moments.len() / wanted;
                let (moment, sites) = &moments[index];
                let explorer = self.explorer(run, heartbeat);
                // The name of a crash point says more than the disk operation beside it.
                let site = sites.iter().map(|site| run.sites[*site].0);
                let site = site.min_by_key(|site| matches!(site, Site::Disk { .. }));
                if let Some(site) = site {
                    let tally =
                        explorer.moment(builder, *moment, site, self.memory.bounds.images_max, nested);
                    tallies.push((index, tally));
                }
            },
            new,
        );
        let mut all = vec![None; moments.len()];
        let mut all_nested = Vec::new();
        for (_, tallies, nested) in done {
            for (index, tally) in tallies {
                all[index] = Some(tally);
            }
            all_nested.extend(nested);
        }
        // The workers end in any order. The seed draws from the same list in each run.
        (all, NestedCase::distinct(all_nested))
    }

    /// Lets operations of the disk fail under the running work. Adds the number of faults that are left out.
    fn fail_operations(&self, run: &Recorded, left_out: &mut LeftOut) {
        let mut sites: Vec<Site> = device_sites(&run.recording).collect();
        sites.extend(fault_sites(&run.recording, 0));
        let wanted = spread(&sites, self.memory.bounds.faults_max);
        self.enter(Phase::Fault, wanted.len());
        let done = self.each_step(
            wanted.len(),
            |heartbeat, (sum, done): &mut (Tally, usize), step| {
                sum.add(&self.explorer(run, heartbeat).fault(wanted[step]));
                Counters::add(&self.memory.counters.faults);
                *done += 1;
            },
            || (Tally::default(), 0),
        );
        left_out.faults += sites.len();
        for (tally, done) in done {
            left_out.faults -= done;
            left_out.fault_images = left_out.fault_images.saturating_add(tally.left_out);
        }
    }

    /// Lets operations of a few recoveries fail. Adds the number of faults that are left out.
    fn fail_recoveries(&self, run: &Recorded, nested: &[NestedCase], left_out: &mut LeftOut) {
        let nested = &nested[..nested.len().min(RECOVERIES_FAILED)];
        let faults_max = self.memory.bounds.faults_max / RECOVERIES_FAILED;
        self.enter(Phase::Fault, nested.len());
        let done = self.each_step(
            nested.len(),
            |heartbeat, (sum, faults): &mut (Tally, usize), step| {
                let explorer = self.explorer(run, heartbeat);
                let (tally, left_out) = explorer.recovery_faults(&nested[step], faults_max);
                sum.add(&tally);
                *faults += left_out;
            },
            || (Tally::default(), 0),
        );
        for (tally, faults) in done {
            left_out.faults += faults;
            left_out.fault_images = left_out.fault_images.saturating_add(tally.left_out);
        }
    }

    fn crash_recoveries(&self, run: &Recorded, nested: &[NestedCase]) -> (Tally, usize) {
        self.enter(Phase::Nested, nested.len());
        let done = self.each_step(
            nested.len(),
            |heartbeat, (builder, sum, done): &mut (ImageBuilder, Tally, usize), step| {
                let bounds = &self.memory.bounds;
                let (depth, continues) = (bounds.depth, step < bounds.sessions_max);
                let explorer = self.explorer(run, heartbeat);
                let tally = explorer.nested(builder, &nested[step], depth, continues);
                sum.add(&tally);
                *done += 1;
            },
            || (run.recording.images(), Tally::default(), 0),
        );
        let mut all = Tally::default();
        let mut done_len = 0;
        for (_, tally, done) in done {
            all.add(&tally);
            done_len += done;
        }
        (all, nested.len() - done_len)
    }

    /// Counts the crossings and disk operations of a few recoveries.
    fn cover_recoveries(&self, explored: &mut Explored, nested: &[NestedCase]) {
        for nested in nested.iter().take(RECOVERIES_COUNTED) {
            if self.memory.is_over() {
                break;
            }
            let recorded = self.explorer(&explored.run, &self.heartbeats[0]).recorded(nested);
            for crossing in &recorded.crossings {
                *explored
                    .recovery_crossings
                    .entry(crossing.point.name())
                    .or_default() += 1;
            }
            for operation in recorded.recording.operations() {
                *explored.recovery_kinds.entry(operation.kind).or_default() += 1;
            }
        }
        self.heartbeats[0].rest();
    }

    fn explorer<'a>(&'a self, run: &'a Recorded, heartbeat: &'a Heartbeat) -> Explorer<'a> {
        Explorer(Runner {
            setup: &self.setup,
            run,
            memory: &self.memory,
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

/// The number of recoveries that are run with faults.
const RECOVERIES_FAILED: usize = 4;
/// How many recoveries are recorded with their crossings.
const RECOVERIES_COUNTED: usize = 64;
