//! The deep profile: one sweep after another, two recoveries deep, until the time or the number of images is reached. Each
//! sweeps another standard workload, in one session or in several.

use std::fmt;
use std::time::Duration;

use super::CrashSweep;
use super::bounds::now;
use super::finding::Finding;
use super::heartbeat::Progress;
use super::report::SweepReport;
use crate::Durability;
use crate::testing::workload::{STANDARD_SYNC_MS, Workload, large_options};

/// The bounds of the deep profile. Every field has a default.
#[derive(Debug, Clone, PartialEq)]
pub struct DeepProfile {
    /// The time after which it ends.
    pub time: Duration,
    /// The number of distinct images after which it ends.
    pub distinct_max: u64,
    /// The seed of the first workload. Each further workload has the next seed. Every second one is on sectors of 4096 bytes.
    pub first_seed: u64,
    /// The number of operations of each workload.
    pub operations_len: usize,
    /// If not 0, the workloads are [`Workload::large`] with calls of this many events, under [`large_options`].
    pub large_events_len: usize,
    /// The number of nested recoveries that are crashed in.
    pub depth: u32,
    /// The number of threads that recover.
    pub workers: usize,
    /// The number of distinct images of each workload after which it continues in another session, in which the sweep crashes.
    pub sessions_max: usize,
    /// The largest number of images of a moment, for each disk model.
    pub images_max: usize,
    /// The same in recoveries.
    pub nested_images_max: usize,
    /// The number of faults of disk operations under each running workload.
    pub faults_max: usize,
    /// If true, each recovered disk is opened again, written to, closed and reopened.
    pub continues: bool,
    /// The time between two calls of `progress`.
    pub progress_interval: Duration,
}

impl Default for DeepProfile {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(60),
            distinct_max: 1_000_000,
            first_seed: 1,
            operations_len: 100,
            large_events_len: 0,
            depth: 2,
            sessions_max: 64,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            images_max: 512,
            nested_images_max: 32,
            faults_max: 64,
            continues: true,
            progress_interval: Duration::from_secs(1),
        }
    }
}

/// Counts of all sweeps so far.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct DeepTotals {
    /// Sweeps that ended.
    pub sweeps: u64,
    /// Sites of the works.
    pub sites: u64,
    /// Images that were built, recovered or known, and judged.
    pub images: u64,
    /// Distinct images, of each work by itself.
    pub distinct: u64,
    /// Recoveries.
    pub recoveries: u64,
    /// Crashes in recoveries.
    pub nested: u64,
    /// Failing cases, of which at most some of each sweep are kept.
    pub findings_len: u64,
    /// Failing cases.
    pub findings: Vec<Finding>,
    /// The number of threads that recover.
    pub workers: usize,
    /// Time since the beginning.
    pub elapsed: Duration,
}

impl DeepTotals {
    /// Distinct images recovered each second by each thread.
    pub fn distinct_per_second_and_thread(&self) -> f64 {
        self.distinct as f64 / (self.elapsed.as_secs_f64() * self.workers as f64).max(1e-9)
    }

    fn add(&mut self, report: &SweepReport) {
        self.sweeps += 1;
        self.sites += report.sites.len() as u64;
        self.images += report.images;
        self.distinct += report.distinct;
        self.recoveries += report.recoveries;
        self.nested += report.nested;
        self.findings_len += report.findings_len;
        self.findings.extend(report.findings.iter().cloned());
    }
}

impl fmt::Display for DeepTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64().max(1e-9);
        write!(
            f,
            "{} sweeps, {} sites, {} cases judged ({:.0}/s), {} distinct images recovered ({:.0}/s on each of {} \
             threads), {} crashes in recoveries, {} findings, {seconds:.0} s",
            self.sweeps,
            self.sites,
            self.images,
            self.images as f64 / seconds,
            self.distinct,
            self.distinct_per_second_and_thread(),
            self.workers,
            self.nested,
            self.findings_len,
        )
    }
}

impl DeepProfile {
    fn sweep(&self, of_work: fn(u64, usize) -> CrashSweep, seed: u64) -> CrashSweep {
        match self.large_events_len {
            0 => of_work(seed, self.operations_len),
            len => CrashSweep::named("large", Workload::large(seed, len)).options(large_options),
        }
    }

    /// Sweeps until a bound is reached. Calls `tell` after each sweep, and `progress` while a sweep runs, both on the calling
    /// thread.
    pub fn run(
        &self,
        progress: impl Fn(&Progress) + Send + Sync + Clone + 'static,
        mut tell: impl FnMut(&SweepReport, &DeepTotals),
    ) -> DeepTotals {
        const POLICIES: [Durability; 3] = [
            Durability::EverySynced,
            Durability::SyncedEvery {
                interval_ms: STANDARD_SYNC_MS,
            },
            Durability::OperatingSystem,
        ];
        let works: [fn(u64, usize) -> CrashSweep; 2] = [CrashSweep::standard, CrashSweep::sessions];
        let started = now();
        let mut totals = DeepTotals {
            workers: self.workers,
            ..DeepTotals::default()
        };
        let policies = POLICIES.into_iter().cycle();
        for ((seed, durability), of_work) in (self.first_seed..).zip(policies).zip(works.into_iter().cycle())
        {
            totals.elapsed = now().duration_since(started);
            let time_left = self.time.saturating_sub(totals.elapsed);
            if time_left.is_zero() || totals.distinct >= self.distinct_max {
                break;
            }
            let before = totals.clone();
            let (time, progress) = (self.time, progress.clone());
            let report = self
                .sweep(of_work, seed)
                .durability(durability)
                .depth(self.depth)
                .images_max(self.images_max)
                .nested_images_max(self.nested_images_max)
                .nested_max(usize::MAX)
                .sessions_max(self.sessions_max)
                .faults_max(self.faults_max)
                .continue_after_recovery(self.continues)
                .distinct_max(self.distinct_max - totals.distinct)
                .workers(self.workers)
                .seed(seed)
                .sector_bytes(if seed % 2 == 0 { 4096 } else { 512 })
                .time(time_left)
                .progress(self.progress_interval, move |sweep| {
                    progress(&before.and(sweep, time));
                })
                .run();
            totals.add(&report);
            totals.elapsed = now().duration_since(started);
            tell(&report, &totals);
        }
        totals
    }
}

impl DeepTotals {
    /// The progress of all sweeps, while the current sweep has made the progress `sweep`.
    fn and(&self, sweep: &Progress, time: Duration) -> Progress {
        let elapsed = self.elapsed + sweep.elapsed;
        let recoveries = self.recoveries + sweep.recoveries;
        Progress {
            images: self.images + sweep.images,
            distinct: self.distinct + sweep.distinct,
            recoveries,
            per_second: recoveries as f64 / elapsed.as_secs_f64().max(1e-9),
            findings: self.findings_len + sweep.findings,
            time_left: Some(time.saturating_sub(elapsed)),
            elapsed,
            ..*sweep
        }
    }
}
