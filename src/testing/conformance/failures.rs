//! Failures of single disk operations on the simulated disk, and a device that is full for a while or gone for good.
//! The caller continues after a failure: what succeeds afterwards must be there.

use std::io;

use super::Survives;
use super::account::{Promise, WriteAccount};
use super::lab::{DynEngine, Lab, OrFail};
use super::mirrored::scan;
use super::report::{CheckResult, CheckStop, CheckTally, PROCESS_CRASHES_ALONE};
use super::simulated::{Action, Simulated, actions, new_disk};
use crate::testing::sim_disk::{
    DiskModel, DiskOperation, DiskOperationKind, Fault, ImageChoice, Side, SimDisk,
};

const IMAGES_MAX: usize = 6;
const INJECTED: &str = "failures";
const CALLS: &str = "calls that failed";
const LATER: &str = "later writes that succeeded";

/// What goes wrong, once in a run.
#[derive(Debug, Clone, Copy)]
enum InducedFailure {
    /// This fault at the operation with this ordinal.
    Fault(u64, Fault),
    /// The device dies there.
    CrashKind(u64, Side),
    /// From this action on there is room for so many bytes more, until some actions later.
    Full { from: usize, room_bytes: u64 },
}

/// How many actions a full disk stays full.
const FULL_ACTIONS: usize = 3;

/// What was not tried, or not looked at.
#[derive(Debug, Default)]
struct NotTried {
    /// Images of power losses beyond the bound.
    images: u128,
    /// Troubles that no call met.
    unmet: u64,
    /// Runs that ended early: what a failed sync has lost could still be read.
    ended: u64,
}

pub(super) fn at_every_operation(lab: &Lab) -> CheckResult {
    lab.require(Survives::ProcessCrash)?;
    let simulated = Simulated::new(lab)?;
    let mut tally = CheckTally::of(&[INJECTED, CALLS, "images"]);
    let recording = simulated.record()?.recording;
    let mut not_tried = NotTried::default();
    let mut go = |trouble: InducedFailure, of: &str| {
        let gone = go_through(simulated, trouble, &mut tally, &mut not_tried);
        gone.map_err(|stop| stop.map(|text| format!("{trouble:?}{of}: {text}")))
    };
    for operation in recording.operations() {
        let of = format!(" of {} {}", operation.kind, operation.path.display());
        for trouble in troubles_of(operation) {
            go(trouble, &of)?;
        }
    }
    for from in 0..actions().len() {
        for room_bytes in [0, 10, 300] {
            go(InducedFailure::Full { from, room_bytes }, "")?;
        }
    }
    tally.note("one thing goes wrong in each run; opening, reading and listing files never fail");
    let NotTried { images, unmet, ended } = not_tried;
    if !lab.survives(Survives::PowerLoss) {
        tally.note(PROCESS_CRASHES_ALONE);
    } else if images > 0 {
        tally.note(format!(
            "at most {IMAGES_MAX} images of the power loss that ends each run; {images} left out"
        ));
    }
    if ended > 0 {
        tally.note(format!(
            "{ended} runs ended where the engine would have been opened after a sync had lost what it covered"
        ));
    }
    if unmet > 0 {
        tally.note(format!("{unmet} runs in which no call met what was to go wrong"));
    }
    Ok(tally)
}

fn troubles_of(operation: &DiskOperation) -> Vec<InducedFailure> {
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
    let deaths = Side::ALL.map(|side| InducedFailure::CrashKind(ordinal, side));
    faults.chain(deaths).collect()
}

fn go_through(
    simulated: Simulated<'_>,
    trouble: InducedFailure,
    tally: &mut CheckTally,
    not_tried: &mut NotTried,
) -> Result<(), CheckStop> {
    let disk = new_disk();
    match trouble {
        InducedFailure::Fault(ordinal, fault) => disk.fail_operation(ordinal, fault),
        InducedFailure::CrashKind(ordinal, side) => disk.crash_at(ordinal, side),
        InducedFailure::Full { .. } => {}
    }
    let mut run = FailingRun {
        simulated,
        disk: &disk,
        engine: None,
        account: WriteAccount::default(),
        calls_failed: 0,
    };
    let is_whole = run.act(trouble, tally)?;
    let (account, calls_failed) = (run.account, run.calls_failed);
    let happened = !disk.faults_fired().is_empty() || disk.has_device_failed() || calls_failed > 0;
    not_tried.unmet += u64::from(!happened);
    not_tried.ended += u64::from(!is_whole);
    tally.add(INJECTED, u64::from(happened));
    tally.add(CALLS, calls_failed);

    drop(run.engine);
    let mut cases = vec![(ImageChoice::All, Promise::Acknowledged)];
    if simulated.lab.survives(Survives::PowerLoss) {
        let choices = disk.choices(DiskModel::WEAKEST, IMAGES_MAX, simulated.lab.seed());
        not_tried.images = not_tried.images.saturating_add(choices.left_out);
        cases.extend(choices.into_iter().map(|choice| (choice, Promise::Flushed)));
    }
    for (choice, promise) in cases {
        let image = disk.image(&choice);
        let place = || format!("after a crash later on, image {choice}");
        simulated.judge(&image, &account, promise, place)?;
        tally.add("images", 1);
    }
    Ok(())
}

/// A run in which something goes wrong.
struct FailingRun<'a> {
    simulated: Simulated<'a>,
    disk: &'a SimDisk,
    engine: Option<DynEngine>,
    account: WriteAccount,
    calls_failed: u64,
}

impl FailingRun<'_> {
    /// Gives whether everything was done.
    fn act(&mut self, trouble: InducedFailure, tally: &mut CheckTally) -> Result<bool, CheckStop> {
        for (index, action) in actions().into_iter().enumerate() {
            if let InducedFailure::Full { from, room_bytes } = trouble {
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
                if self.lost_what_a_sync_covered() {
                    // A new opening cannot know that what it reads is not on disk and never will be.
                    return Ok(false);
                }
                self.open(true)?;
            }
            self.do_one(action, tally)?;
        }
        self.disk.set_capacity_bytes(None);
        if self.engine.is_none() && !self.disk.has_device_failed() && !self.lost_what_a_sync_covered() {
            // The first attempt may be the one that fails.
            self.open(true)?;
            if self.engine.is_none() {
                self.open(false)?;
            }
        }
        Ok(true)
    }

    fn do_one(&mut self, action: Action, tally: &mut CheckTally) -> Result<(), CheckStop> {
        let Some(engine) = &self.engine else {
            return Ok(());
        };
        let result = match action {
            Action::Write(step) => {
                let result = step.run(engine.as_ref());
                if result.is_ok() && self.calls_failed > 0 {
                    tally.add(LATER, 1);
                }
                self.account.add_result(step, &result);
                result
            }
            Action::Flush => {
                let result = engine.flush();
                if result.is_ok() {
                    self.account.flushed();
                    self.judge_a_power_loss()?;
                }
                result
            }
            Action::Reopen => Ok(()),
        };
        self.calls_failed += u64::from(result.is_err());
        Ok(())
    }

    /// Right after a flush, while nothing that comes later has made durable what the flush should have.
    fn judge_a_power_loss(&self) -> Result<(), CheckStop> {
        let lab = self.simulated.lab;
        if self.calls_failed == 0 || !lab.survives(Survives::PowerLoss) {
            return Ok(());
        }
        let image = self.disk.image(&ImageChoice::Synced);
        let place = || "after a power loss right after a flush".to_owned();
        let account = &self.account;
        self.simulated.judge(&image, account, Promise::Flushed, place)
    }

    /// Opens the engine, and then everything acknowledged must be there. `fails` allows that it cannot be opened.
    fn open(&mut self, fails: bool) -> Result<(), CheckStop> {
        let engine = match self.simulated.open(self.disk) {
            Err(_) if fails => {
                self.calls_failed += 1;
                return Ok(());
            }
            opened => opened.or_fail("opening, tried twice,")?,
        };
        if !self.disk.has_device_failed() {
            let found = scan(engine.as_ref(), b"")?;
            let judged = self.account.judge(&found, Promise::Acknowledged);
            judged.map_err(|text| CheckStop::Failed(format!("after reopening: {text}")))?;
        }
        self.engine = Some(engine);
        Ok(())
    }

    fn lost_what_a_sync_covered(&self) -> bool {
        let fired = self.disk.faults_fired();
        fired.iter().any(|fault| matches!(fault, Fault::SyncLoses(_)))
    }
}
