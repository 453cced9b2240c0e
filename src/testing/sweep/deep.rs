//! The deep profile: a series of sweeps with crashes in two nested recoveries. It ends at a bound on time or on the
//! number of images. Each sweep has another standard workload, in one session or in several sessions.

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
    /// The time after which the series ends.
    pub time: Duration,
    /// The number of distinct images after which the series ends.
    pub distinct_max: u64,
    /// The seed of the first workload. Each further workload has the next seed. A workload with an even seed runs on
    /// sectors of 4096 bytes.
    pub first_seed: u64,
    /// The number of operations of each workload.
    pub operations_len: usize,
    /// If not 0, the workloads are [`Workload::large`] with calls of this many events, under [`large_options`].
    pub large_events_len: usize,
    /// The largest number of crashes inside recoveries of one nested case.
    pub depth: u32,
    /// The number of worker threads.
    pub workers: usize,
    /// The largest number of distinct images of each workload after which the work continues in another session, in
    /// which the sweep crashes too.
    pub sessions_max: usize,
    /// The largest number of images of a crash position, for each disk model.
    pub images_max: usize,
    /// The largest number of images of a crash position in a recovery, for each disk model.
    pub nested_images_max: usize,
    /// The largest number of faults of disk operations under each running workload.
    pub faults_max: usize,
    /// If true, the sweeps continue after recovery, once for each distinct recovered disk.
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
    /// The number of completed sweeps.
    pub sweeps: u64,
    /// The number of sites in all workloads.
    pub sites: u64,
    /// The number of cases: each has an image, new or found before, whose recovered state was checked.
    pub images: u64,
    /// The number of distinct images. Each workload is counted separately.
    pub distinct: u64,
    /// The number of recoveries.
    pub recoveries: u64,
    /// The number of crashes in recoveries.
    pub nested: u64,
    /// The number of failing cases.
    pub findings_len: u64,
    /// The failing cases that the sweeps stored, see [`CrashSweep::findings_max`].
    pub findings: Vec<Finding>,
    /// The number of worker threads.
    pub workers: usize,
    /// The time since the start of the series.
    pub elapsed: Duration,
}

impl DeepTotals {
    /// The number of distinct images recovered each second by each thread.
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
            "{} sweeps, {} sites, {} cases checked ({:.0}/s), {} distinct images recovered ({:.0}/s on each of {} \
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

    /// Runs sweeps until a bound is reached. Calls `report` after each sweep, and `progress` while a sweep runs, both
    /// on the calling thread.
    pub fn run(
        &self,
        progress: impl Fn(&Progress) + Send + Sync + Clone + 'static,
        mut report: impl FnMut(&SweepReport, &DeepTotals),
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
            let sweep_report = self
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
                    progress(&before.with_current_sweep(sweep, time));
                })
                .run();
            totals.add(&sweep_report);
            totals.elapsed = now().duration_since(started);
            report(&sweep_report, &totals);
        }
        totals
    }
}

impl DeepTotals {
    /// The progress of the completed sweeps and of the current sweep, whose progress is `sweep`.
    fn with_current_sweep(&self, sweep: &Progress, time: Duration) -> Progress {
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
