//! An engine on a simulated disk, the workload of the checks with crashes, and the check of the images that a crash
//! leaves.

use std::path::Path;
use std::sync::Arc;

use super::context::{CheckContext, CheckedCall, DynEngine, SIMULATED_DIR};
use super::engine_with_map::scan;
use super::report::CheckStop;
use super::subject::OpenWithFiles;
use super::write_history::{Promise, WriteHistory, WriteStatus};
use super::writes::{KeyValues, MarkedWrite};
use crate::Error;
use crate::testing::sim_disk::{Image, ImageBuilder, Recording, Side, SimDisk};

pub(super) const WRITES: usize = 32;

/// An action of the workload.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Write(MarkedWrite),
    Flush,
    Reopen,
}

/// The workload: writes of all small shapes, some flushes, and reopenings with unflushed writes. A flush comes soon
/// after each reopening. It shows data that the opening left unsynced, before a later action makes that data durable.
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

/// The engine on simulated disks.
#[derive(Clone, Copy)]
pub(super) struct SimulatedEngine<'a> {
    pub(super) context: &'a CheckContext,
    open: &'a OpenWithFiles,
}

/// A recorded run without failures.
pub(super) struct RecordedRun {
    pub(super) recording: Recording,
    /// The writes and their status, each from this number of disk operations on.
    histories: Vec<(u64, WriteHistory)>,
}

impl<'a> SimulatedEngine<'a> {
    pub(super) fn new(context: &'a CheckContext) -> Result<Self, CheckStop> {
        let open = context.over_file_access()?;
        Ok(Self { context, open })
    }

    pub(super) fn open(&self, disk: &SimDisk) -> Result<DynEngine, Error> {
        (self.open)(Arc::new(disk.clone()), Path::new(SIMULATED_DIR))
    }

    /// Opens the engine on a new disk with this image. Returns the disk, the engine and its content.
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
        let mut history = WriteHistory::default();
        let mut histories = vec![(0, history.clone())];
        for action in actions() {
            match action {
                Action::Write(write) => {
                    let mut in_flight = history.clone();
                    in_flight.add(write.clone(), WriteStatus::InFlight);
                    let operations_before = disk.operations_len();
                    write.run(engine.as_ref()).or_fail(&write)?;
                    if disk.operations_len() > operations_before {
                        histories.push((operations_before + 1, in_flight));
                    }
                    history.add(write, WriteStatus::Acknowledged);
                }
                Action::Flush => {
                    engine.flush().or_fail("flush")?;
                    history.flushed();
                }
                Action::Reopen => {
                    drop(engine);
                    engine = open()?;
                }
            }
            histories.push((disk.operations_len(), history.clone()));
        }
        drop(engine);
        Ok(RecordedRun {
            recording: disk.recording(),
            histories,
        })
    }

    /// Opens the engine on `image` and checks its content. A failure names `place` and writes the image into a
    /// directory.
    pub(super) fn check_image(
        &self,
        image: &Image,
        history: &WriteHistory,
        promise: Promise,
        place: impl FnOnce() -> String,
    ) -> Result<(), CheckStop> {
        let checked = self
            .read(image)
            .and_then(|(_, _, found)| history.check(&found, promise).map_err(CheckStop::Failed));
        checked
            .map(drop)
            .map_err(|stop| self.context.located(stop, place(), image))
    }
}

/// Moves the image builder to the crash position after `position` disk operations.
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
    /// The writes and their status after `position` disk operations.
    pub(super) fn history_at(&self, position: u64) -> &WriteHistory {
        let later = self.histories.partition_point(|(from, _)| *from <= position);
        &self.histories[later - 1].1
    }

    /// The next disk operation after `position` disk operations, as text.
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
