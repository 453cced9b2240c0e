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
//! [`DamageCampaign::of_copies`] mixes the files of copies of one database that diverged.
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
mod single;
mod subject;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use report::{DamageCounts, DamageReport};

use copies::copy_sets;
use runner::{CaseRunner, CaseSet};
use single::Damages;

/// Damages the files of databases and opens the results. See the [module](self).
#[derive(Debug, Clone)]
pub struct DamageCampaign {
    source: Source,
    one_in: u64,
    runner: CaseRunner,
}

/// The source of the cases.
#[derive(Debug, Clone)]
enum Source {
    /// Damages of one database.
    Damages(Damages),
    /// Mixtures of the files of so many copies of one database.
    Copies(usize),
}

impl DamageCampaign {
    /// A campaign of every single damage, of databases that ran the standard workload under each policy and died or were
    /// closed. The second half of the workload makes no checkpoint, so that the log has several segments beside the
    /// checkpoint.
    pub fn standard(seed: u64, operations_len: usize) -> Self {
        Self::of(Source::Damages(Damages::standard(seed, operations_len)))
    }

    /// A campaign of every mixture of the files of two or three diverged copies of one database, which was closed, died, or is
    /// open; the copies closed or died; events synced or not.
    ///
    /// For each name that any copy has, a mixture holds the file of one copy, or no file. Legal is a refusal that leaves
    /// every byte as it was, or a beginning of the history of one copy, events and collections alike: no shorter than the
    /// files of that history promise, and whole if all its files are there. A beginning that several histories share must meet
    /// this for each.
    ///
    /// ```
    /// use tidaldb::testing::lab::damage::DamageCampaign;
    ///
    /// DamageCampaign::of_copies(2).one_in(97).run().expect_clean();
    /// ```
    pub fn of_copies(copies_len: usize) -> Self {
        Self::of(Source::Copies(copies_len.clamp(2, 3)))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            one_in: 1,
            runner: CaseRunner::default(),
        }
    }

    /// Tries one in this many mixtures, or damages of single places in files. Damages of whole files are all tried.
    #[must_use]
    pub fn one_in(self, one_in: u64) -> Self {
        Self {
            one_in: one_in.max(1),
            ..self
        }
    }

    /// The number of random pairs of damages, drawn from `seed`, of each database. Mixtures have no pairs.
    #[must_use]
    pub fn pairs(mut self, pairs: u64, seed: u64) -> Self {
        if let Source::Damages(damages) = &mut self.source {
            (damages.pairs, damages.seed) = (pairs, seed);
        }
        self
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
        let sets: Vec<Box<dyn CaseSet>> = match &self.source {
            Source::Damages(damages) => boxed(damages.sets(self.one_in)),
            Source::Copies(copies_len) => boxed(copy_sets(*copies_len, self.one_in)),
        };
        self.runner.run(sets, progress)
    }
}

fn boxed<T: CaseSet + 'static>(sets: impl Iterator<Item = T>) -> Vec<Box<dyn CaseSet>> {
    sets.map(|set| Box::new(set) as Box<dyn CaseSet>).collect()
}
