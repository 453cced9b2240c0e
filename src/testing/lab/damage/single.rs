//! The case sets of damaged single databases.

use super::cases::{Damage, DamageCase};
use super::check::{self, AfterOpen, OpenResult};
use super::runner::CaseSet;
use super::subject::{DamageSubject, HistoryEnd, histories};
use crate::Options;
use crate::testing::sim_disk::Image;
use crate::testing::workload::{
    Operation, Random, Workload, standard_schema, tiny_options, with_many_segments,
};

/// Every single damage of databases that ran a workload, and random pairs of damages.
#[derive(Debug, Clone)]
pub(super) struct Damages {
    workload: Workload,
    /// The number of random pairs for each database.
    pub(super) pairs: u64,
    pub(super) seed: u64,
}

impl Damages {
    /// Damages of databases after the standard workload, with no checkpoint in its second half.
    pub(super) fn standard(seed: u64, operations_len: usize) -> Self {
        let mut workload = Workload::standard(seed, operations_len);
        let half = workload.operations.len() / 2;
        let later = workload.operations.split_off(half).into_iter();
        let no_checkpoint = later.filter(|operation| *operation != Operation::Checkpoint);
        workload.operations.extend(no_checkpoint);
        Self {
            workload,
            pairs: 0,
            seed: 0,
        }
    }

    /// The cases of each database: all damages of whole files, and one in `one_in` damages within a file.
    pub(super) fn sets(&self, one_in: u64) -> impl Iterator<Item = DamageSet> {
        self.subjects()
            .zip(0..)
            .map(move |(subject, index)| self.set(subject, index, one_in))
    }

    pub(super) fn subjects(&self) -> impl Iterator<Item = DamageSubject> {
        histories().map(|(policy, end)| DamageSubject::new(&self.workload_for(end), &options(), policy, end))
    }

    /// The workload of a database with this end. A closed database ends with a change of a collection after its last
    /// checkpoint, which only the store contains.
    pub(super) fn workload_for(&self, end: HistoryEnd) -> Workload {
        let mut workload = self.workload.clone();
        if end == HistoryEnd::Closed {
            let last = Operation::CreateCollection(b"the last change".to_vec());
            workload.operations.extend([Operation::Checkpoint, last]);
        }
        workload
    }

    fn set(&self, subject: DamageSubject, index: u64, one_in: u64) -> DamageSet {
        let all = Damage::all(&subject);
        let is_chosen = |&(number, damage): &(u64, &Damage)| {
            // The index gives each database other damages.
            !matches!(damage, Damage::Bytes { .. }) || (number + index).is_multiple_of(one_in)
        };
        let singles = (0..).zip(&all).filter(is_chosen);
        let single = |first: &Damage| DamageCase {
            first: first.clone(),
            second: None,
        };
        let mut cases: Vec<_> = singles.map(|(_, first)| single(first)).collect();
        let left_out = (all.len() - cases.len()) as u64;
        let mut random = Random::new(self.seed ^ index);
        cases.extend((0..self.pairs).map(|_| DamageCase {
            first: random.pick(&all).clone(),
            second: Some(random.pick(&all).clone()),
        }));
        DamageSet {
            subject,
            cases,
            left_out,
        }
    }
}

/// The options of the databases. Only their workload makes checkpoints.
pub(super) fn options() -> Options {
    with_many_segments(tiny_options(standard_schema())).checkpoint_log_bytes(u64::MAX)
}

/// The damages of one database.
pub(super) struct DamageSet {
    subject: DamageSubject,
    cases: Vec<DamageCase>,
    left_out: u64,
}

impl DamageSet {
    fn case(&self, number: u64) -> &DamageCase {
        &self.cases[number as usize]
    }
}

impl CaseSet for DamageSet {
    fn len(&self) -> u64 {
        self.cases.len() as u64
    }

    fn left_out(&self) -> u64 {
        self.left_out
    }

    fn image(&self, number: u64) -> Image {
        self.case(number).apply(&self.subject)
    }

    fn check(&self, number: u64, image: &Image, then: AfterOpen) -> Result<OpenResult, String> {
        let opened = check::check_image(&self.subject, image, then)?;
        if opened == OpenResult::Shorter && self.case(number).must_recover_everything(&self.subject) {
            return Err("a part of the history is missing after one damage of a closed database".to_owned());
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
