//! Trials on threads: the cases of a subject one after another, each distinct image once, and one that hangs is a finding.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::judge::Outcome;
use super::report::DamageReport;
use crate::testing::sim_disk::Image;
use crate::testing::sweep::now;
use crate::threads;

/// A case that takes longer hangs.
const CASE_TIME: Duration = Duration::from_secs(30);

/// The cases of one subject, by number.
pub(super) trait Trials: Send + Sync {
    /// How many there are.
    fn len(&self) -> u64;

    /// The files that are opened.
    fn image(&self, number: u64) -> Image;

    /// What comes of opening them; an error if that is not legal.
    fn judge(&self, number: u64, image: &Image) -> Result<Outcome, String>;

    /// The kind of damage, for the table.
    fn kind(&self, number: u64) -> &'static str;

    /// The case as a finding names it.
    fn text(&self, number: u64) -> String;
}

/// How trials are run.
#[derive(Debug, Clone)]
pub(super) struct Runs {
    /// When to stop, no matter how much is left.
    pub(super) time: Option<Duration>,
    /// On how many threads.
    pub(super) workers: usize,
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            time: None,
            workers: 1,
        }
    }
}

impl Runs {
    /// Runs the trials of each subject, and adds to `report`. Calls `progress` now and then.
    pub(super) fn run(
        &self,
        subjects: impl Iterator<Item = Box<dyn Trials>>,
        report: &mut DamageReport,
        mut progress: impl FnMut(&DamageReport),
    ) {
        let begin = now();
        let mut seen = HashSet::new();
        for trials in subjects {
            let len = trials.len();
            let left = self.time.map(|time| time.saturating_sub(begin.elapsed()));
            if left == Some(Duration::ZERO) {
                report.left_out += len;
                continue;
            }
            let shared = Arc::new(Shared {
                trials,
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

/// What the threads share.
struct Shared {
    trials: Box<dyn Trials>,
    next: AtomicU64,
    stop: AtomicBool,
    /// The hashes of the images that were tried.
    seen: Mutex<HashSet<u128>>,
}

/// What became of a case; nothing of one whose image was tried before.
type Judged = (u64, Result<Option<Outcome>, String>);

impl Shared {
    fn judge_all(&self, results: &Sender<Judged>) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.trials.len() {
                return;
            }
            let image = self.trials.image(number);
            let is_new = self
                .seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(image.hash());
            let judged = if is_new {
                self.trials.judge(number, &image).map(Some)
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
            Ok((number, Ok(outcome))) => report.add_case(shared.trials.kind(number), outcome),
            Ok((number, Err(what))) => {
                report.add_finding(shared.trials.kind(number), &shared.trials.text(number), &what);
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
        worker.join().expect("a worker catches what its cases do");
    }
}
