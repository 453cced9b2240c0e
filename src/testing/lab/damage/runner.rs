//! Runs the cases of a subject on threads: each distinct image once. A case that hangs is a finding.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::judge::{OpenResult, Then};
use super::report::DamageReport;
use crate::testing::sim_disk::Image;
use crate::testing::sweep::now;
use crate::threads;

/// A case that takes longer hangs.
const CASE_TIME: Duration = Duration::from_secs(30);
/// In one of this many opened cases an event is recorded and read back.
const RECORD_ONE_IN: u64 = 8;

/// The cases of one subject, by number.
pub(super) trait CaseSet: Send + Sync {
    /// The number of cases.
    fn len(&self) -> u64;

    /// The files that are opened.
    fn image(&self, number: u64) -> Image;

    /// Opens `image` and checks the result. `Err` says what is wrong.
    fn judge(&self, number: u64, image: &Image, then: Then) -> Result<OpenResult, String>;

    /// The kind of damage, for the table.
    fn kind(&self, number: u64) -> &'static str;

    /// The case as a finding names it.
    fn text(&self, number: u64) -> String;
}

/// Runs cases, with a time limit and a number of threads.
#[derive(Debug, Clone)]
pub(super) struct CaseRunner {
    /// Stops after this time.
    pub(super) time: Option<Duration>,
    /// The number of threads.
    pub(super) workers: usize,
}

impl Default for CaseRunner {
    fn default() -> Self {
        Self {
            time: None,
            workers: 1,
        }
    }
}

impl CaseRunner {
    /// Runs the trials of each subject, and adds to `report`. Calls `progress` now and then.
    pub(super) fn run(
        &self,
        sets: impl Iterator<Item = Box<dyn CaseSet>>,
        report: &mut DamageReport,
        mut progress: impl FnMut(&DamageReport),
    ) {
        let begin = now();
        let mut seen = HashSet::new();
        for cases in sets {
            let len = cases.len();
            let left = self.time.map(|time| time.saturating_sub(begin.elapsed()));
            if left == Some(Duration::ZERO) {
                report.left_out += len;
                continue;
            }
            let shared = Arc::new(Shared {
                cases,
                next: AtomicU64::new(0),
                stop: AtomicBool::new(false),
                seen: Mutex::new(std::mem::take(&mut seen)),
            });
            work(&shared, self.workers, left, report, |report| {
                report.elapsed = begin.elapsed();
                progress(report);
            });
            report.left_out += len - shared.next.load(Ordering::Relaxed).min(len);
            seen = std::mem::take(&mut shared.seen.lock().unwrap_or_else(PoisonError::into_inner));
        }
        report.elapsed = begin.elapsed();
    }
}

/// The state that the threads share.
struct Shared {
    cases: Box<dyn CaseSet>,
    next: AtomicU64,
    stop: AtomicBool,
    /// The hashes of the images that were tried.
    seen: Mutex<HashSet<u128>>,
}

/// The number and the result of a case; `None` if its image was tried before.
type Judged = (u64, Result<Option<OpenResult>, String>);

impl Shared {
    fn judge_all(&self, results: &Sender<Judged>) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.cases.len() {
                return;
            }
            let image = self.cases.image(number);
            let is_new = self
                .seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(image.hash());
            let judged = if is_new {
                let then = if number.is_multiple_of(RECORD_ONE_IN) {
                    Then::Record
                } else {
                    Then::Reopen
                };
                self.cases.judge(number, &image, then).map(Some)
            } else {
                Ok(None)
            };
            if results.send((number, judged)).is_err() {
                return;
            }
        }
    }
}

/// Judges the cases on threads of their own, so that one that hangs is a finding too; its thread is left behind.
fn work(
    shared: &Arc<Shared>,
    workers: usize,
    time: Option<Duration>,
    report: &mut DamageReport,
    mut progress: impl FnMut(&mut DamageReport),
) {
    let (begin, (results, judged)) = (now(), channel());
    let spawn = |_| {
        let (shared, results) = (Arc::clone(shared), results.clone());
        threads::spawn("tidaldb-damage", move || shared.judge_all(&results)).expect("a thread starts")
    };
    let workers: Vec<_> = (0..workers).map(spawn).collect();
    drop(results);
    let mut count = 0_u64;
    loop {
        match judged.recv_timeout(CASE_TIME) {
            Ok((number, Ok(outcome))) => report.add_case(shared.cases.kind(number), outcome),
            Ok((number, Err(what))) => {
                report.add_finding(shared.cases.kind(number), &shared.cases.text(number), &what);
            }
            Err(RecvTimeoutError::Timeout) => {
                let number = shared.next.load(Ordering::Relaxed);
                let what = format!("no end after {CASE_TIME:?}");
                report.add_finding("hang", &format!("one of the cases before {number}"), &what);
                shared.stop.store(true, Ordering::Relaxed);
                return;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        count += 1;
        if count.is_multiple_of(1000) {
            progress(report);
        }
        if time.is_some_and(|time| begin.elapsed() >= time) {
            shared.stop.store(true, Ordering::Relaxed);
        }
    }
    for worker in workers {
        worker.join().expect("a worker catches the panics of its cases");
    }
}
