//! An engine on a simulated disk, and the workload that it is put through.

use std::path::Path;
use std::sync::Arc;

use super::account::{Promise, WriteAccount, WriteFate};
use super::lab::{DynEngine, Lab, OrFail, SIMULATED_DIR};
use super::mirrored::scan;
use super::report::CheckStop;
use super::steps::{KeyValues, MarkedWrite};
use super::subject::OpenOver;
use crate::Error;
use crate::testing::sim_disk::{Image, ImageBuilder, Recording, Side, SimDisk};

pub(super) const WRITES: usize = 32;

/// What is done to an engine.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Write(MarkedWrite),
    Flush,
    Reopen,
}

/// Writes of all shapes that are small, some flushed, and reopening with something unflushed. What an opening has left
/// to be made durable is told by a flush soon after it, before anything else makes it so.
pub(super) fn actions() -> Vec<Action> {
    let mut actions = Vec::new();
    for index in 0..WRITES {
        actions.push(Action::Write(MarkedWrite::small(index)));
        if index % 5 == 4 || index % 11 == 0 {
            actions.push(Action::Flush);
        }
        if index % 11 == 10 {
            actions.push(Action::Reopen);
        }
    }
    actions
}

/// An engine's way to a simulated disk.
#[derive(Clone, Copy)]
pub(super) struct Simulated<'a> {
    pub(super) lab: &'a Lab,
    open: &'a OpenOver,
}

/// A run in which nothing failed.
pub(super) struct RecordedRun {
    pub(super) recording: Recording,
    /// The caller's knowledge after this many disk operations.
    accounts: Vec<(u64, WriteAccount)>,
}

impl<'a> Simulated<'a> {
    pub(super) fn new(lab: &'a Lab) -> Result<Self, CheckStop> {
        let open = lab.over_file_access()?;
        Ok(Self { lab, open })
    }

    pub(super) fn open(&self, disk: &SimDisk) -> Result<DynEngine, Error> {
        (self.open)(Arc::new(disk.clone()), Path::new(SIMULATED_DIR))
    }

    /// What the engine shows on a disk with this content.
    pub(super) fn read(&self, image: &Image) -> Result<(SimDisk, DynEngine, KeyValues), CheckStop> {
        let disk = SimDisk::from_image(image);
        let engine = self.open(&disk).or_fail("opening")?;
        let pairs = scan(engine.as_ref(), b"")?;
        Ok((disk, engine, pairs))
    }

    /// Runs the workload on a disk that does not fail.
    pub(super) fn record(&self) -> Result<RecordedRun, CheckStop> {
        let disk = new_disk();
        let open = || self.open(&disk).or_fail("opening on a simulated disk");
        let mut engine = open()?;
        let mut account = WriteAccount::default();
        let mut accounts = vec![(0, account.clone())];
        for action in actions() {
            match action {
                Action::Write(step) => {
                    let mut under_way = account.clone();
                    under_way.add(step.clone(), WriteFate::InFlight);
                    let began = disk.operations_len();
                    step.run(engine.as_ref()).or_fail(&step)?;
                    if disk.operations_len() > began {
                        accounts.push((began + 1, under_way));
                    }
                    account.add(step, WriteFate::Acknowledged);
                }
                Action::Flush => {
                    engine.flush().or_fail("flush")?;
                    account.flushed();
                }
                Action::Reopen => {
                    drop(engine);
                    engine = open()?;
                }
            }
            accounts.push((disk.operations_len(), account.clone()));
        }
        drop(engine);
        Ok(RecordedRun {
            recording: disk.recording(),
            accounts,
        })
    }

    /// Opens the content of `image` and judges it. A failure tells `place` and lays out the image.
    pub(super) fn judge(
        &self,
        image: &Image,
        account: &WriteAccount,
        promise: Promise,
        place: impl FnOnce() -> String,
    ) -> Result<(), CheckStop> {
        let judged = self
            .read(image)
            .and_then(|(_, _, found)| account.judge(&found, promise).map_err(CheckStop::Failed));
        judged
            .map(drop)
            .map_err(|stop| self.lab.located(stop, place(), image))
    }
}

/// Goes to the moment after so many disk operations.
pub(super) fn seek(images: &mut ImageBuilder, position: u64) -> Result<(), CheckStop> {
    let sought = images.seek(position, Side::Before);
    sought.map_err(|error| CheckStop::Failed(format!("the recording is too short: {error}")))
}

/// A disk with an empty directory for the engine.
pub(super) fn new_disk() -> SimDisk {
    let mut image = Image::new();
    image.insert_dir(SIMULATED_DIR);
    SimDisk::from_image(&image)
}

impl RecordedRun {
    /// What was known to the caller when so many disk operations had been done.
    pub(super) fn account_at(&self, position: u64) -> &WriteAccount {
        let later = self.accounts.partition_point(|(from, _)| *from <= position);
        &self.accounts[later - 1].1
    }

    /// The disk operation that would have come next, in words.
    pub(super) fn next_operation(&self, position: u64) -> String {
        let next = self.recording.operations().nth(position as usize);
        next.map_or("the end".to_owned(), |next| {
            format!(
                "disk operation {position} ({} {})",
                next.kind,
                next.path.display()
            )
        })
    }
}
