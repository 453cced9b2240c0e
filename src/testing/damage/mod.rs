//! Damaged files: every cut, every flipped bit, and what hands and tools do to the files of a database.
//!
//! A campaign runs a workload on a simulated disk, keeps what was promised when, damages the files that are left in
//! every way, and opens each distinct result. Legal is
//!
//! - a database whose whole state is that of a beginning of the history, no shorter than what any valid header in the
//!   damaged files promises as synced, which opens again to the same state and takes further events;
//! - a refusal that says where: the file, in a file the offset, in the log the sequence number too, with every byte left
//!   as it was.
//!
//! In either case opening asks the disk for no more calls and bytes than the files' size allows, does not panic, and
//! comes to an end.
//!
//! | damage | where |
//! |---|---|
//! | cut | every file at every byte |
//! | flipped bit | every bit of every file |
//! | hole | zeros from every multiple of 8, of several lengths |
//! | tail | zeros, ones, noise, or the file's own beginning after the end of every file |
//! | forged length | every length in every file, off by one step, at the edges of its type, beyond its limit; under checksums that hold where that can be |
//! | removed | every file, each directory |
//! | reordered | every two files, and directories in a ring |
//! | duplicated | every file over every other one and under other numbers |
//! | of another database | every file in the place of every file, or beside them; directories |
//! | older copy | of every file, of directories, from several moments |
//! | two of these | drawn at random |
//!
//! What is promised is read from the files by the tables of their formats, not by the engine's decoders.
//!
//! ```
//! use tidaldb::testing::damage::DamageCampaign;
//!
//! let report = DamageCampaign::standard(3, 40).one_in(509).run();
//! println!("{report}");
//! report.expect_clean();
//! ```

mod anatomy;
mod cases;
mod judge;
mod report;
mod subject;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use report::{DamageCounts, DamageReport};

use super::sweep::now;
use super::workload::{Operation, Random, Workload, standard_schema, tiny_options};
use crate::{Durability, Options, threads};
use cases::{Case, Damage};
use judge::{Judge, Outcome};
use subject::{End, Subject};

/// A case that takes longer hangs.
const CASE_TIME: Duration = Duration::from_secs(30);
/// After one in so many cases that opened, an event is recorded and looked for again.
const GOES_ON_ONE_IN: u64 = 8;

/// Damages the files of a database and opens what comes of it. See the [module](self).
#[derive(Debug, Clone)]
pub struct DamageCampaign {
    workload: Workload,
    options: Options,
    one_in: u64,
    pairs: u64,
    seed: u64,
    time: Option<Duration>,
    workers: usize,
}

impl DamageCampaign {
    /// A campaign over the standard workload, with no checkpoint in its second half, so that the log has several
    /// segments beside the checkpoint, and all structures are in use.
    pub fn standard(seed: u64, operations_len: usize) -> Self {
        let mut workload = Workload::standard(seed, operations_len);
        let half = workload.operations.len() / 2;
        let later = workload.operations.split_off(half).into_iter();
        let no_checkpoint = later.filter(|operation| *operation != Operation::Checkpoint);
        workload.operations.extend(no_checkpoint);
        Self::of(workload).options(tiny_options(standard_schema()).checkpoint_log_bytes(u64::MAX))
    }

    /// A campaign over databases that did this, under each policy, died or closed: every single damage, and none on top
    /// of another.
    pub fn of(workload: Workload) -> Self {
        Self {
            workload,
            options: tiny_options(standard_schema()),
            one_in: 1,
            pairs: 0,
            seed: 0,
            time: None,
            workers: 1,
        }
    }

    /// The options, in the place of [`tiny_options`] of [`standard_schema`]. Policy, files and database id are the
    /// campaign's.
    #[must_use]
    pub fn options(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// Of the damages of single places in files only one in so many is tried: those of whole files all are.
    #[must_use]
    pub fn one_in(self, one_in: u64) -> Self {
        Self {
            one_in: one_in.max(1),
            ..self
        }
    }

    /// How many random pairs of damages are tried too, drawn from `seed`.
    #[must_use]
    pub fn pairs(self, pairs: u64, seed: u64) -> Self {
        Self { pairs, seed, ..self }
    }

    /// When to stop, whatever is left.
    #[must_use]
    pub fn time(self, time: Duration) -> Self {
        Self {
            time: Some(time),
            ..self
        }
    }

    /// On how many threads.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self {
            workers: workers.max(1),
            ..self
        }
    }

    /// Runs the campaign.
    pub fn run(&self) -> DamageReport {
        self.run_with(|_| {})
    }

    /// Runs the campaign and calls `progress` now and then with what was found until then.
    pub fn run_with(&self, mut progress: impl FnMut(&DamageReport)) -> DamageReport {
        let begin = now();
        let mut report = DamageReport::default();
        let mut seen = HashSet::new();
        for (index, subject) in self.subjects().into_iter().enumerate() {
            let cases = self.cases(&subject, index as u64);
            report.left_out += cases.left_out;
            let left = self.time.map(|time| time.saturating_sub(begin.elapsed()));
            if left == Some(Duration::ZERO) {
                report.left_out += cases.chosen.len() as u64;
                continue;
            }
            let shared = Shared {
                judge: Judge::new(&subject),
                subject,
                cases: cases.chosen,
                next: AtomicU64::new(0),
                stop: AtomicBool::new(false),
                seen: Mutex::new(std::mem::take(&mut seen)),
            };
            let shared = Arc::new(shared);
            work(&shared, self.workers, left, &mut report, |report| {
                report.elapsed = begin.elapsed();
                progress(report);
            });
            let done = shared.next.load(Ordering::Relaxed).min(shared.cases.len() as u64);
            report.left_out += shared.cases.len() as u64 - done;
            seen = std::mem::take(&mut shared.seen.lock().unwrap_or_else(PoisonError::into_inner));
        }
        report.elapsed = begin.elapsed();
        report
    }

    fn subjects(&self) -> Vec<Subject> {
        let policies = [Durability::EverySynced, Durability::OperatingSystem];
        let ends = [End::Died, End::Closed];
        let all = policies
            .into_iter()
            .flat_map(|policy| ends.map(|end| (policy, end)));
        all.map(|(policy, end)| Subject::new(&self.workload, &self.options, policy, end))
            .collect()
    }

    fn cases(&self, subject: &Subject, index: u64) -> Cases {
        let all = Damage::all(subject);
        let mut random = Random::new(self.seed ^ index);
        let draw = |random: &mut Random| *random.pick(&all);
        let pairs = (0..self.pairs).map(|_| Case {
            first: draw(&mut random),
            second: Some(draw(&mut random)),
        });
        let pairs: Vec<_> = pairs.collect();
        let is_chosen = |&(number, damage): &(u64, Damage)| {
            // Another part of each database.
            !damage.is_of_bytes() || (number + index).is_multiple_of(self.one_in)
        };
        let singles = (0..).zip(all.iter().copied()).filter(is_chosen);
        let mut chosen: Vec<_> = singles.map(|(_, first)| Case { first, second: None }).collect();
        let left_out = (all.len() - chosen.len()) as u64;
        chosen.extend(pairs);
        Cases { chosen, left_out }
    }
}

struct Cases {
    chosen: Vec<Case>,
    left_out: u64,
}

/// What the threads share.
struct Shared {
    subject: Subject,
    judge: Judge,
    cases: Vec<Case>,
    next: AtomicU64,
    stop: AtomicBool,
    /// The hashes of the images that were tried.
    seen: Mutex<HashSet<u128>>,
}

/// What became of a case; nothing of one whose image was tried before.
type Judged = (Case, Result<Option<Outcome>, String>);

impl Shared {
    fn judge_all(&self, results: &Sender<Judged>) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(&case) = self.cases.get(number as usize) else {
                return;
            };
            let image = case.apply(&self.subject);
            let is_new = self
                .seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(image.hash());
            let goes_on = number.is_multiple_of(GOES_ON_ONE_IN);
            let judged = if is_new {
                self.judge.judge(&self.subject, &image, goes_on).map(Some)
            } else {
                Ok(None)
            };
            if results.send((case, judged)).is_err() {
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
            Ok((case, Ok(outcome))) => report.add_case(case.kind(), outcome),
            Ok((case, Err(what))) => {
                report.add_finding(case.kind(), &case.text(&shared.subject), &what);
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
