//! The damage campaign: every truncation and every flipped bit in the files of a database, and damage to whole files as
//! users and tools cause it.
//!
//! A campaign runs a workload on a simulated disk and records the promises of each step. It then damages the files of
//! the database in every way below, and opens each distinct result. A legal result is one of these two:
//!
//! - The database opens to a state after a prefix of the history. The prefix includes everything that a valid header in
//!   the damaged files promises as synced. The database opens again to the same state and records further events. After
//!   an orderly close, one damage within the database's own files never shortens the history.
//! - The open returns an error that names the position: the file, the offset in a file, and the sequence number in the
//!   log. Every byte stays unchanged.
//!
//! In both cases the calls and bytes of the open are bounded by the size of the files. The open does not panic or hang.
//!
//! | damage | scope |
//! |---|---|
//! | truncation | every file at every byte |
//! | flipped bit | every bit of every file |
//! | zeroed range | zeros from every multiple of 8, of several lengths |
//! | tail | zeros, ones, noise, or the file's own beginning after the end of every file |
//! | forged length | every length: off by one step, at the edges of its type, above its limit; valid checksums |
//! | removed | every file, each directory |
//! | reordered | every two files exchanged, and the files of directories rotated |
//! | duplicated | every file over every other file, and under other numbers |
//! | of another database | every file of another database, added or in place of every file; directories |
//! | older copy | of every file and of directories, from several earlier states |
//! | two of these | drawn at random |
//!
//! A forged length in an entry of a store record has the old checksum, because the position of that checksum depends on
//! the length.
//!
//! [`DamageCampaign::of_copies`] mixes the files of diverged copies of one database.
//!
//! The campaign reads the promises with a second implementation of the file formats, not with the engine's decoders.
//!
//! ```
//! use tidaldb::testing::lab::damage::DamageCampaign;
//!
//! let report = DamageCampaign::standard(3, 40).one_in(509).run();
//! println!("{report}");
//! report.expect_clean();
//! ```

mod cases;
mod check;
mod copies;
mod report;
mod runner;
mod single;
mod structure;
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
    /// Mixtures of the files of this number of copies of one database.
    Copies(usize),
}

impl DamageCampaign {
    /// A campaign of every single damage. The databases ran the standard workload under each policy, and then crashed
    /// or were closed. The second half of the workload makes no checkpoint, so the log has several segments after the
    /// checkpoint.
    pub fn standard(seed: u64, operations_len: usize) -> Self {
        Self::of(Source::Damages(Damages::standard(seed, operations_len)))
    }

    /// A campaign of every mixture of the files of two or three diverged copies of one database.
    ///
    /// The database was closed, had crashed, or was open when it was copied. Each copy was closed or crashed at its
    /// end. Both policies are covered. For each file name of any copy, a mixture has the file of one copy or no file.
    ///
    /// An error is legal if every byte stays unchanged. A state is legal if events and collections are those after a
    /// prefix of the history of one copy. The prefix includes everything that the files of that history promise, and is
    /// the whole history if all its files are present. A prefix that several histories share must satisfy this for each
    /// of them.
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

    /// Tests only one of this number of mixtures, or of damages within a file. Tests all damages of whole files.
    #[must_use]
    pub fn one_in(self, one_in: u64) -> Self {
        Self {
            one_in: one_in.max(1),
            ..self
        }
    }

    /// Adds this number of random pairs of damages, drawn from `seed`, to each database. Mixtures have no pairs.
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

    /// Sets the number of threads; 1 by default.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.runner.workers = workers.max(1);
        self
    }

    /// Runs the campaign.
    pub fn run(&self) -> DamageReport {
        self.run_with(|_| {})
    }

    /// Runs the campaign, and passes the intermediate report to `progress` after every 256 cases.
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
