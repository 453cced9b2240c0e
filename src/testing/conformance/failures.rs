//! Failures of single disk operations on the simulated disk, and a device that is full for some time or fails
//! permanently. The caller continues after a failure. Later acknowledged writes must survive the crash at the end of
//! the run.

use std::{fmt, io};

use super::Survives;
use super::context::{CheckContext, CheckedCall, DynEngine};
use super::engine_with_map::scan;
use super::report::{CheckResult, CheckStop, CheckTally, ONLY_PROCESS_CRASHES};
use super::simulated::{Action, SimulatedEngine, actions, new_disk};
use super::write_history::{Promise, WriteHistory};
use crate::testing::sim_disk::{
    DiskModel, DiskOperation, DiskOperationKind, Fault, ImageChoice, Side, SimDisk,
};

const IMAGES_MAX: usize = 6;
const INJECTED: &str = "failures";
const CALLS: &str = "calls that failed";
const LATER: &str = "later writes that succeeded";

/// The one failure of a run.
#[derive(Debug, Clone, Copy)]
enum InducedFailure {
    /// This fault at the disk operation with this ordinal.
    Fault(u64, Fault),
    /// A permanent failure of the device on this side of the disk operation with this ordinal.
    DeviceLoss(u64, Side),
    /// The disk has room for only `room_bytes` more bytes from the action `from` on, for [`FULL_ACTIONS`] actions.
    Full { from: usize, room_bytes: u64 },
}

impl fmt::Display for InducedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(ordinal, fault) => write!(f, "{fault} at operation {ordinal}"),
            Self::DeviceLoss(ordinal, side) => {
                write!(f, "a permanent failure of the device {side} operation {ordinal}")
            }
            Self::Full { from, room_bytes } => write!(
                f,
                "room for only {room_bytes} more bytes during {FULL_ACTIONS} actions from action {from} on"
            ),
        }
    }
}

/// The number of actions during which a full disk stays full.
const FULL_ACTIONS: usize = 3;

/// The numbers of omitted images and of runs that tested less than planned.
#[derive(Debug, Default)]
struct Omissions {
    /// Images of power losses beyond the bound.
    images: u128,
    /// Runs in which the failure did not happen.
    without_failure: u64,
    /// Runs that ended before an opening after a failed sync, because data that the sync lost could still be read.
    ended_early: u64,
}

pub(super) fn at_every_operation(context: &CheckContext) -> CheckResult {
    context.require(Survives::ProcessCrash)?;
    let simulated = SimulatedEngine::new(context)?;
    let mut tally = CheckTally::of(&[INJECTED, CALLS, "images"]);
    let recording = simulated.record()?.recording;
    let mut omissions = Omissions::default();
    let mut check = |failure: InducedFailure, operation: &str| {
        let checked = check_failure(simulated, failure, &mut tally, &mut omissions);
        checked.map_err(|stop| stop.map(|text| format!("{failure}{operation}: {text}")))
    };
    for operation in recording.operations() {
        let text = format!(" ({} {})", operation.kind, operation.path.display());
        for failure in failures_of(operation) {
            check(failure, &text)?;
        }
    }
    for from in 0..actions().len() {
        for room_bytes in [0, 10, 300] {
            check(InducedFailure::Full { from, room_bytes }, "")?;
        }
    }
    tally.note("each run has one failure; opening, reading and listing files never fail");
    let Omissions {
        images,
        without_failure,
        ended_early,
    } = omissions;
    if !context.survives(Survives::PowerLoss) {
        tally.note(ONLY_PROCESS_CRASHES);
    } else if images > 0 {
        tally.note(format!(
            "at most {IMAGES_MAX} images of the power loss that ends each run; {images} left out"
        ));
    }
    if ended_early > 0 {
        tally.note(format!(
            "{ended_early} runs ended before an opening, because a failed sync had lost data that can still be read"
        ));
    }
    if without_failure > 0 {
        tally.note(format!(
            "{without_failure} runs in which the failure did not happen"
        ));
    }
    Ok(tally)
}

fn failures_of(operation: &DiskOperation) -> Vec<InducedFailure> {
    let ordinal = operation.ordinal;
    let mut faults = vec![
        Fault::ErrorBefore(io::ErrorKind::StorageFull),
        Fault::ErrorAfter(io::ErrorKind::Other),
    ];
    match operation.kind {
        DiskOperationKind::Write => {
            let half = operation.len as usize / 2;
            faults.push(Fault::ErrorMidway(half, io::ErrorKind::StorageFull));
            faults.push(Fault::Short(half.max(1)));
        }
        DiskOperationKind::Sync => faults.push(Fault::SyncLoses(io::ErrorKind::Other)),
        _ => {}
    }
    let faults = faults
        .into_iter()
        .map(|fault| InducedFailure::Fault(ordinal, fault));
    let device_losses = Side::ALL.map(|side| InducedFailure::DeviceLoss(ordinal, side));
    faults.chain(device_losses).collect()
}

/// Runs the workload with this failure and checks the images of the crash at its end.
fn check_failure(
    simulated: SimulatedEngine<'_>,
    failure: InducedFailure,
    tally: &mut CheckTally,
    omissions: &mut Omissions,
) -> Result<(), CheckStop> {
    let disk = new_disk();
    match failure {
        InducedFailure::Fault(ordinal, fault) => disk.fail_operation(ordinal, fault),
        InducedFailure::DeviceLoss(ordinal, side) => disk.crash_at(ordinal, side),
        InducedFailure::Full { .. } => {}
    }
    let mut run = FailingRun {
        simulated,
        disk: &disk,
        engine: None,
        history: WriteHistory::default(),
        calls_failed: 0,
    };
    let is_complete = run.make_actions(failure, tally)?;
    let (history, calls_failed) = (run.history, run.calls_failed);
    let happened = !disk.faults_fired().is_empty() || disk.has_device_failed() || calls_failed > 0;
    omissions.without_failure += u64::from(!happened);
    omissions.ended_early += u64::from(!is_complete);
    tally.add(INJECTED, u64::from(happened));
    tally.add(CALLS, calls_failed);

    drop(run.engine);
    let mut cases = vec![(ImageChoice::All, Promise::Acknowledged)];
    if simulated.context.survives(Survives::PowerLoss) {
        let choices = disk.choices(DiskModel::WEAKEST, IMAGES_MAX, simulated.context.seed());
        omissions.images = omissions.images.saturating_add(choices.left_out);
        cases.extend(choices.into_iter().map(|choice| (choice, Promise::Flushed)));
    }
    for (choice, promise) in cases {
        let image = disk.image(&choice);
        let place = || format!("after a crash at the end of the run, image {choice}");
        simulated.check_image(&image, &history, promise, place)?;
        tally.add("images", 1);
    }
    Ok(())
}

/// A run with one failure.
struct FailingRun<'a> {
    simulated: SimulatedEngine<'a>,
    disk: &'a SimDisk,
    engine: Option<DynEngine>,
    history: WriteHistory,
    calls_failed: u64,
}

impl FailingRun<'_> {
    /// Makes the actions of the workload. Returns true if it made all of them.
    fn make_actions(&mut self, failure: InducedFailure, tally: &mut CheckTally) -> Result<bool, CheckStop> {
        for (index, action) in actions().into_iter().enumerate() {
            if let InducedFailure::Full { from, room_bytes } = failure {
                let is_full = (from..from + FULL_ACTIONS).contains(&index);
                if index == from {
                    let used_bytes = self.disk.image(&ImageChoice::All).bytes_len();
                    self.disk.set_capacity_bytes(Some(used_bytes + room_bytes));
                } else if !is_full {
                    self.disk.set_capacity_bytes(None);
                }
            }
            if matches!(action, Action::Reopen) {
                self.engine = None;
            }
            if self.engine.is_none() {
                if self.sync_lost_data() {
                    // A new opening cannot detect that the bytes it reads are not on disk and never will be.
                    return Ok(false);
                }
                self.open(true)?;
            }
            self.make_action(action, tally)?;
        }
        self.disk.set_capacity_bytes(None);
        if self.engine.is_none() && !self.disk.has_device_failed() && !self.sync_lost_data() {
            // The failure may happen in the first attempt.
            self.open(true)?;
            if self.engine.is_none() {
                self.open(false)?;
            }
        }
        Ok(true)
    }

    fn make_action(&mut self, action: Action, tally: &mut CheckTally) -> Result<(), CheckStop> {
        let Some(engine) = &self.engine else {
            return Ok(());
        };
        let result = match action {
            Action::Write(write) => {
                let result = write.run(engine.as_ref());
                if result.is_ok() && self.calls_failed > 0 {
                    tally.add(LATER, 1);
                }
                self.history.add_result(write, &result);
                result
            }
            Action::Flush => {
                let result = engine.flush();
                if result.is_ok() {
                    self.history.flushed();
                    self.check_power_loss_after_flush()?;
                }
                result
            }
            Action::Reopen => Ok(()),
        };
        self.calls_failed += u64::from(result.is_err());
        Ok(())
    }

    /// Checks the image of a power loss directly after a flush. Later actions could make durable the data that the
    /// flush left unsynced.
    fn check_power_loss_after_flush(&self) -> Result<(), CheckStop> {
        let context = self.simulated.context;
        if self.calls_failed == 0 || !context.survives(Survives::PowerLoss) {
            return Ok(());
        }
        let image = self.disk.image(&ImageChoice::Synced);
        let place = || "after a power loss directly after a flush".to_owned();
        let history = &self.history;
        self.simulated
            .check_image(&image, history, Promise::Flushed, place)
    }

    /// Opens the engine and checks that all acknowledged writes are present. With `may_fail` the opening may fail.
    fn open(&mut self, may_fail: bool) -> Result<(), CheckStop> {
        let engine = match self.simulated.open(self.disk) {
            Err(_) if may_fail => {
                self.calls_failed += 1;
                return Ok(());
            }
            opened => opened.or_fail("the second attempt to open the engine")?,
        };
        if !self.disk.has_device_failed() {
            let found = scan(engine.as_ref(), b"")?;
            let checked = self.history.check(&found, Promise::Acknowledged);
            checked.map_err(|text| CheckStop::Failed(format!("after reopening: {text}")))?;
        }
        self.engine = Some(engine);
        Ok(())
    }

    /// Returns true if a failed sync lost the data that it covered.
    fn sync_lost_data(&self) -> bool {
        let fired = self.disk.faults_fired();
        fired.iter().any(|fault| matches!(fault, Fault::SyncLoses(_)))
    }
}
