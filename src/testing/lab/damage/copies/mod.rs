//! Mixtures of the files of diverged copies of one database.
//! [`DamageCampaign::of_copies`](super::DamageCampaign::of_copies) defines the legal results.
//!
//! The copies run the same calls with different entity ids, so frames and records with the same number have the same
//! length. The third copy makes no checkpoint. Each copy uses different opening ids.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::check::{self, AfterOpen, OpenResult, PromisedMinimum};
use super::runner::CaseSet;
use super::subject::{DB_DIR, DamageSubject, HistoryEnd, content, histories};
use crate::testing::SimDisk;
use crate::testing::sim_disk::Image;
use crate::testing::workload::{
    Event, Operation, PolicyText, STANDARD_NOW_MS, standard_schema, tiny_options, with_many_segments,
};
use crate::{CohortId, Durability, EntityId, Options, SignalId, TidalDb, UserId};

/// The collection that all copies change.
const COLLECTION: &[u8] = b"kept";

/// The state of the database when it is copied: the end of the history that the copies share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CopyOrigin {
    Closed,
    Crashed,
    /// The files are copied while the database is open. The original is the first copy and continues.
    Open,
}

impl CopyOrigin {
    const ALL: [Self; 3] = [Self::Closed, Self::Crashed, Self::Open];

    fn kind(self) -> &'static str {
        match self {
            Self::Closed => "copied after close",
            Self::Crashed => "copied after crash",
            Self::Open => "copied while open",
        }
    }
}

/// The mixtures of the files of `copies_len` copies, for each origin, end and policy. Each set has one of `one_in`
/// mixtures.
pub(super) fn copy_sets(copies_len: usize, one_in: u64) -> impl Iterator<Item = CopySet> {
    let all = CopyOrigin::ALL
        .into_iter()
        .flat_map(|origin| histories().map(move |history| (origin, history)));
    all.zip(0..).map(move |((origin, (policy, end)), shift)| {
        let copies = copies(copies_len, origin, end, policy);
        CopySet::new(copies, origin, one_in, shift)
    })
}

/// The mixtures of the copies of one database.
pub(super) struct CopySet {
    name: String,
    origin: CopyOrigin,
    copies: Vec<DamageSubject>,
    /// The names of all log and store files of the copies.
    names: Vec<PathBuf>,
    one_in: u64,
    /// The number of the first mixture, which differs between sets if they do not have all mixtures.
    shift: u64,
}

impl CopySet {
    fn new(copies: Vec<DamageSubject>, origin: CopyOrigin, one_in: u64, shift: u64) -> Self {
        let names: BTreeSet<_> = copies
            .iter()
            .flat_map(|copy| copy.files.iter().cloned())
            .collect();
        Self {
            name: format!("{}, each copy {}", origin.kind(), copies[0].name),
            origin,
            copies,
            names: names.into_iter().collect(),
            one_in,
            shift: shift % one_in,
        }
    }

    /// The number of mixtures, duplicates included.
    fn mixtures_len(&self) -> u64 {
        (self.copies.len() as u64 + 1).pow(self.names.len() as u32)
    }

    /// The copy whose file each name has in a case; `None` for no file.
    fn choices(&self, number: u64) -> impl Iterator<Item = (&PathBuf, Option<&DamageSubject>)> {
        let base = self.copies.len() as u64 + 1;
        let mut digits = number * self.one_in + self.shift;
        self.names.iter().map(move |name| {
            let copy = self.copies.get((digits % base) as usize);
            digits /= base;
            (name, copy)
        })
    }

    /// Checks `db`, whose state is a prefix of the history of `copy`, against the files of that history.
    fn check_history(copy: &DamageSubject, image: &Image, db: &TidalDb) -> Result<OpenResult, String> {
        let is_own = |path: &Path| image.file(path).is_some() && image.file(path) == copy.image.file(path);
        let own = image.files().filter(|(path, _)| is_own(path));
        let minimum = check::promised_minimum(copy, own);
        let result = check::check_state(copy, minimum, db)?;
        if result != OpenResult::Whole && copy.files.iter().all(|path| is_own(path)) {
            return Err(
                "all files of this history are present, but a part of it is not recovered".to_owned(),
            );
        }
        Ok(result)
    }

    /// Checks that the state of `db` is a prefix of a history, and legal for each history that has this prefix.
    fn check_histories(&self, image: &Image, db: &TidalDb) -> Result<OpenResult, String> {
        let (mut results, mut mismatches) = (Vec::new(), Vec::new());
        for (index, copy) in self.copies.iter().enumerate() {
            let of_copy = |failure: String| format!("copy {index}: {failure}");
            match check::check_state(copy, PromisedMinimum::default(), db) {
                Ok(_) => results.push(Self::check_history(copy, image, db).map_err(of_copy)?),
                Err(failure) => mismatches.push(of_copy(failure)),
            }
        }
        let result = results.into_iter().min();
        result.ok_or_else(|| format!("no history has this state: {}", mismatches.join("; ")))
    }
}

impl CaseSet for CopySet {
    fn len(&self) -> u64 {
        (self.mixtures_len() - self.shift).div_ceil(self.one_in)
    }

    fn left_out(&self) -> u64 {
        self.mixtures_len() - self.len()
    }

    fn image(&self, number: u64) -> Image {
        let mut image = self.copies[0].image.clone();
        for name in &self.names {
            image.remove(name);
        }
        for (name, copy) in self.choices(number) {
            if let Some(bytes) = copy.and_then(|copy| copy.image.file(name)) {
                image.insert_file(name, bytes);
            }
        }
        image
    }

    fn check(&self, _: u64, image: &Image, then: AfterOpen) -> Result<OpenResult, String> {
        check::open_and_check(&self.copies[0], image, then, |db| self.check_histories(image, db))
    }

    fn kind(&self, _: u64) -> &'static str {
        self.origin.kind()
    }

    fn text(&self, number: u64) -> String {
        let choices = self.choices(number).map(|(name, copy)| {
            let copy = copy.and_then(|chosen| {
                chosen.image.file(name)?;
                self.copies.iter().position(|copy| std::ptr::eq(copy, chosen))
            });
            let name = name.strip_prefix(DB_DIR).unwrap_or(name).display();
            match copy {
                Some(copy) => format!("{name} of copy {copy}"),
                None => format!("no {name}"),
            }
        });
        format!("{}: {}", self.name, choices.collect::<Vec<_>>().join(", "))
    }
}

/// Options under which few calls fill several small files.
fn options() -> Options {
    with_many_segments(tiny_options(standard_schema()))
        .segment_bytes_max(512)
        .store_segment_bytes_max(768)
        .checkpoint_log_bytes(u64::MAX)
}

/// Makes a database and its copies, and runs their work.
fn copies(len: usize, origin: CopyOrigin, end: HistoryEnd, policy: Durability) -> Vec<DamageSubject> {
    let origin_end = match origin {
        CopyOrigin::Closed => HistoryEnd::Closed,
        CopyOrigin::Crashed | CopyOrigin::Open => end,
    };
    let (mut common, db, disk) = common_database(policy, origin_end);
    let mut copies = Vec::new();
    let image = if origin == CopyOrigin::Open {
        let image = content(&disk);
        let mut original = common.clone();
        original.apply(&work_of(0), &db, &disk);
        original.finish(db, &disk);
        copies.push(original);
        image
    } else {
        common.finish(db, &disk);
        common.image.clone()
    };
    for copy in copies.len()..len {
        let mut subject = common.clone();
        subject.name = format!("{}, {end}", PolicyText(policy));
        subject.end = end;
        // Each copy has its own step between opening ids, so that no two copies share an id.
        subject.options = subject.options.predictable_opening_ids(copy as u64 + 1);
        let disk = SimDisk::from_image(&image);
        let db = subject.open(&disk).expect("a copy opens");
        subject.apply(&work_of(copy), &db, &disk);
        subject.finish(db, &disk);
        copies.push(subject);
    }
    copies
}

/// The open database before the copies diverge.
fn common_database(policy: Durability, end: HistoryEnd) -> (DamageSubject, TidalDb, SimDisk) {
    let mut common = DamageSubject::empty(&options(), policy, end);
    let disk = SimDisk::new();
    let db = common.open(&disk).expect("a new database opens");
    let mut operations = vec![Operation::CreateCollection(COLLECTION.to_vec())];
    operations.extend([event(1, 1), member(1), event(2, 2), member(2)]);
    common.apply(&operations, &db, &disk);
    (common, db, disk)
}

/// An event. Events differ in entity, cohort and time only.
fn event(entity: u64, at: i64) -> Operation {
    Operation::record(vec![Event {
        entity: EntityId(entity),
        signal: SignalId(0),
        weight: 1.0,
        at_ms: STANDARD_NOW_MS + at,
        user: Some(UserId(1)),
        cohorts: vec![CohortId(entity)],
    }])
}

fn member(entity: u64) -> Operation {
    Operation::AddToCollection(COLLECTION.to_vec(), EntityId(entity))
}

/// The operations of one copy after it diverges.
fn work_of(copy: usize) -> Vec<Operation> {
    let id = 10 * (copy as u64 + 1);
    let mut operations = vec![event(id, 3), member(id)];
    if copy < 2 {
        operations.push(Operation::Checkpoint);
    }
    for at in 1..5 {
        operations.extend([event(id + at, 3 + at as i64), member(id + at)]);
    }
    operations
}
