//! Damaged files: every cut, every flipped bit, and what hands and tools do to the files of a database.
//!
//! A campaign runs a workload on a simulated disk, keeps what was promised when, damages the files that are left in
//! every way, and opens each distinct result. Legal is
//!
//! - a database whose whole state is that of a beginning of the history, no shorter than what any valid header in the
//!   damaged files promises as synced, which opens again to the same state and takes further events; after an orderly close
//!   a single flipped bit takes nothing away;
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
//! [`CopiesCampaign`] mixes the files of copies of one database that diverged.
//!
//! What is promised is read from the files by the tables of their formats, not by the engine's decoders.
//!
//! ```
//! use tidaldb::testing::lab::damage::DamageCampaign;
//!
//! let report = DamageCampaign::standard(3, 40).one_in(509).run();
//! println!("{report}");
//! report.expect_clean();
//! ```

mod anatomy;
mod cases;
mod copies;
mod judge;
mod report;
mod runner;
mod subject;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use copies::CopiesCampaign;
pub use report::{DamageCounts, DamageReport};

use crate::testing::sim_disk::Image;
use crate::testing::workload::{Operation, Random, Workload, standard_schema, tiny_options};
use crate::{Durability, Options};
use cases::{Case, Damage};
use judge::{Judge, OpenResult, Then};
use runner::{CaseRunner, CaseSet};
use subject::{End, Subject};

/// Damages the files of a database and opens what comes of it. See the [module](self).
#[derive(Debug, Clone)]
pub struct DamageCampaign {
    workload: Workload,
    options: Options,
    one_in: u64,
    pairs: u64,
    seed: u64,
    runner: CaseRunner,
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

    /// A campaign over databases that ran this workload, under each policy, crashed or closed: each damage alone.
    pub fn of(workload: Workload) -> Self {
        Self {
            workload,
            options: tiny_options(standard_schema()),
            one_in: 1,
            pairs: 0,
            seed: 0,
            runner: CaseRunner::default(),
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

    /// Stops after this time.
    #[must_use]
    pub fn time(mut self, time: Duration) -> Self {
        self.runner.time = Some(time);
        self
    }

    /// The number of threads, 1 by default.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.runner.workers = workers.max(1);
        self
    }

    /// Runs the campaign.
    pub fn run(&self) -> DamageReport {
        self.run_with(|_| {})
    }

    /// Runs the campaign and calls `progress` now and then with what was found until then.
    pub fn run_with(&self, progress: impl FnMut(&DamageReport)) -> DamageReport {
        let mut report = DamageReport::default();
        let mut sets = Vec::new();
        for (index, subject) in self.subjects().into_iter().enumerate() {
            let cases = self.cases(&subject, index as u64);
            report.left_out += cases.left_out;
            sets.push(Box::new(DamageCases {
                judge: Judge::new(&subject),
                subject,
                cases: cases.chosen,
            }) as Box<dyn CaseSet>);
        }
        self.runner.run(sets.into_iter(), &mut report, progress);
        report
    }

    fn subjects(&self) -> Vec<Subject> {
        let policies = [Durability::EverySynced, Durability::OperatingSystem];
        let ends = [End::Died, End::Closed];
        let all = policies
            .into_iter()
            .flat_map(|policy| ends.map(|end| (policy, end)));
        all.map(|(policy, end)| Subject::new(&self.workload_for(end), &self.options, policy, end))
            .collect()
    }

    /// A closed database ends with a change of a collection after its last checkpoint: only the store holds it.
    fn workload_for(&self, end: End) -> Workload {
        let mut workload = self.workload.clone();
        if end == End::Closed {
            let last = Operation::CreateCollection(b"the last change".to_vec());
            workload.operations.extend([Operation::Checkpoint, last]);
        }
        workload
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

/// The damages of one database.
struct DamageCases {
    subject: Subject,
    judge: Judge,
    cases: Vec<Case>,
}

impl DamageCases {
    fn case(&self, number: u64) -> Case {
        self.cases[number as usize]
    }
}

impl CaseSet for DamageCases {
    fn len(&self) -> u64 {
        self.cases.len() as u64
    }

    fn image(&self, number: u64) -> Image {
        self.case(number).apply(&self.subject)
    }

    fn judge(&self, number: u64, image: &Image, then: Then) -> Result<OpenResult, String> {
        let opened = self.judge.judge(&self.subject, image, then)?;
        if opened == OpenResult::Shorter && self.case(number).takes_nothing_away(&self.subject) {
            return Err("damaged after an orderly close, and something is missing".to_owned());
        }
        Ok(opened)
    }

    fn kind(&self, number: u64) -> &'static str {
        self.case(number).kind()
    }

    fn text(&self, number: u64) -> String {
        self.case(number).text(&self.subject)
    }
}
