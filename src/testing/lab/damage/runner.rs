//! Runs the cases of sets on worker threads, each distinct image once. A case that hangs is a finding and stops the
//! run.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::check::{AfterOpen, OpenResult};
use super::report::DamageReport;
use crate::testing::sim_disk::Image;
use crate::testing::sweep::now;
use crate::testing::threads;
use crate::testing::watchdog::run_within;

/// One in this number of cases also records an event and reads it back.
const RECORD_ONE_IN: u64 = 8;

/// Cases by number: damages of one database, or mixtures of the files of its copies.
pub(super) trait CaseSet: Send + Sync {
    /// The number of cases.
    fn len(&self) -> u64;

    /// The number of cases that the campaign leaves out.
    fn left_out(&self) -> u64;

    /// The damaged files.
    fn image(&self, number: u64) -> Image;

    /// Opens `image` and checks the result. `Err` is the failure as text.
    fn check(&self, number: u64, image: &Image, then: AfterOpen) -> Result<OpenResult, String>;

    /// The kind of damage, for the table.
    fn kind(&self, number: u64) -> &'static str;

    /// The description of the case in a finding.
    fn text(&self, number: u64) -> String;
}

/// Runs cases, with a time limit and a number of threads.
#[derive(Debug, Clone)]
pub(super) struct CaseRunner {
    /// The run stops after this time.
    pub(super) time: Option<Duration>,
    /// The number of threads.
    pub(super) workers: usize,
    /// A case that takes longer counts as hung.
    pub(super) case_time: Duration,
}

impl Default for CaseRunner {
    fn default() -> Self {
        Self {
            time: None,
            workers: 1,
            case_time: Duration::from_secs(30),
        }
    }
}

impl CaseRunner {
    /// Runs the cases of each set. Calls `progress` after every 256 cases of a set.
    pub(super) fn run(
        &self,
        sets: Vec<Box<dyn CaseSet>>,
        mut progress: impl FnMut(&DamageReport),
    ) -> DamageReport {
        let begin = now();
        let is_over = || self.time.is_some_and(|time| begin.elapsed() >= time);
        let mut report = DamageReport::default();
        let tested = Arc::default();
        for cases in sets {
            let len = cases.len();
            report.left_out += cases.left_out();
            let queue = Arc::new(CaseQueue {
                cases,
                case_time: self.case_time,
                next: AtomicU64::new(0),
                stop: AtomicBool::new(is_over()),
                tested: Arc::clone(&tested),
            });
            let (results, checked) = channel();
            let spawn = |_| {
                let (queue, results) = (Arc::clone(&queue), results.clone());
                threads::spawn("tidaldb-damage", move || queue.check_all(&results)).expect("a thread starts")
            };
            let workers: Vec<_> = (0..self.workers).map(spawn).collect();
            drop(results);
            for ((number, checked), count) in checked.iter().zip(1_u64..) {
                let kind = queue.cases.kind(number);
                match checked {
                    Ok(result) => report.add_case(kind, result),
                    Err(failure) => report.add_finding(kind, &queue.cases.text(number), &failure),
                }
                if count.is_multiple_of(256) {
                    report.elapsed = begin.elapsed();
                    progress(&report);
                    queue.stop.fetch_or(is_over(), Ordering::Relaxed);
                }
            }
            for worker in workers {
                worker.join().expect("a worker thread does not panic");
            }
            report.left_out += len - queue.next.load(Ordering::Relaxed).min(len);
        }
        report.elapsed = begin.elapsed();
        report
    }
}

/// The state that the threads share.
struct CaseQueue {
    cases: Box<dyn CaseSet>,
    case_time: Duration,
    next: AtomicU64,
    stop: AtomicBool,
    /// The hashes of the tested images.
    tested: Arc<Mutex<HashSet<u128>>>,
}

/// The number and the result of a case; `None` if an earlier case had the same image.
type CheckedCase = (u64, Result<Option<OpenResult>, String>);

impl CaseQueue {
    fn check_all(self: &Arc<Self>, results: &Sender<CheckedCase>) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.cases.len() {
                return;
            }
            let queue = Arc::clone(self);
            let checked = run_within(self.case_time, "tidaldb-damage", move || queue.check(number));
            let checked = checked.unwrap_or_else(|hang| {
                // Other cases are likely to hang too.
                self.stop.store(true, Ordering::Relaxed);
                Err(hang.to_string())
            });
            if results.send((number, checked)).is_err() {
                return;
            }
        }
    }

    fn check(&self, number: u64) -> Result<Option<OpenResult>, String> {
        let image = self.cases.image(number);
        let mut tested = self.tested.lock().unwrap_or_else(PoisonError::into_inner);
        if !tested.insert(image.hash()) {
            return Ok(None);
        }
        drop(tested);
        let then = if number.is_multiple_of(RECORD_ONE_IN) {
            AfterOpen::Record
        } else {
            AfterOpen::Reopen
        };
        self.cases.check(number, &image, then).map(Some)
    }
}
