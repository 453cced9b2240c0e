//! An engine on a simulated disk, and the workload that it is put through.

use std::path::Path;
use std::sync::Arc;

use super::account::{Promise, WriteAccount, WriteFate};
use super::lab::{DynEngine, Lab, OpenOver, OrFail, SIMULATED_DIR};
use super::mirrored::{KeyValues, scan};
use super::report::CheckStop;
use super::steps::MarkedWrite;
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
    writes: Vec<Timed>,
    /// Of each flush: how many writes came before, and how many disk operations had been done when it returned.
    flushes: Vec<(usize, u64)>,
}

/// A write, and how many disk operations had been done when it began and when it returned.
struct Timed {
    step: MarkedWrite,
    began: u64,
    ended: u64,
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
        let (mut writes, mut flushes) = (Vec::new(), Vec::new());
        for action in actions() {
            match action {
                Action::Write(step) => {
                    let began = disk.operations_len();
                    step.run(engine.as_ref()).or_fail(&step)?;
                    let ended = disk.operations_len();
                    writes.push(Timed { step, began, ended });
                }
                Action::Flush => {
                    engine.flush().or_fail("flush")?;
                    flushes.push((writes.len(), disk.operations_len()));
                }
                Action::Reopen => {
                    drop(engine);
                    engine = open()?;
                }
            }
        }
        drop(engine);
        Ok(RecordedRun {
            recording: disk.recording(),
            writes,
            flushes,
        })
    }

    /// Opens what `image` holds and judges it. A failure tells `place` and lays out the image.
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
    pub(super) fn account_at(&self, position: u64) -> WriteAccount {
        let mut account = WriteAccount::default();
        for write in &self.writes {
            if write.ended <= position {
                account.add(write.step.clone(), WriteFate::Acknowledged);
            } else if write.began < position {
                account.add(write.step.clone(), WriteFate::InFlight);
            }
        }
        let flushed = self.flushes.iter().rev().find(|(_, ended)| *ended <= position);
        account.flushed_len = flushed.map_or(0, |(writes_len, _)| *writes_len);
        account
    }

    /// The disk operation that would have come next, in words.
    pub(super) fn next_operation(&self, position: u64) -> String {
        let next = self.recording.operations().nth(position as usize);
        next.map_or("the end".to_owned(), |operation| {
            format!(
                "disk operation {position} ({} {})",
                operation.kind,
                operation.path.display()
            )
        })
    }
}
