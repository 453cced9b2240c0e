//! Crashes of the running work: the device fails, or a panic unwinds. Unlike images they find threads that continue
//! after the crash, and destructors that write.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::finding::{Failure, FailureKind};
use super::journal::Journal;
use super::location::DatabaseLocation;
use super::record::{RunRecord, run_work};
use super::setup::Setup;
use crate::TidalDb;
use crate::testing::plan::Site;
use crate::testing::sim_disk::ImageChoice;
use crate::testing::{
    CrashInjector, CrossingCounts, NotCrashed, NotCrashedReason, run_to_crash, scoped_injector,
};

/// Lets the device fail at `site` under the running work. After the failure no thread may change anything, and no call
/// may be acknowledged. The disk must hold exactly the writes of the recorded run before `site`.
pub(crate) fn fail_device(setup: &Setup, run: &RunRecord, site: Site) -> Result<(), Failure> {
    let disk = setup.new_disk();
    let failed = match site {
        // At the end no thread uses the device any more. After a fault the run differs from the recorded one.
        Site::End | Site::Fault { .. } => return Ok(()),
        Site::Disk { ordinal, side } => {
            disk.crash_at(ordinal, side);
            RunRecord::of_work(setup, &disk)
        }
        Site::Point { point, crossing } => {
            let injector = CrashInjector::with_action(point, crossing, disk.fail_action());
            let _installed = scoped_injector(&injector);
            RunRecord::of_work(setup, &disk)
        }
    };
    if !disk.has_device_failed() {
        let crossed = CrossingCounts::of(&failed.crossings);
        let message = format_args!("the device did not fail at {site}; {crossed}");
        return Err(Failure::new(FailureKind::NeverReached, message));
    }
    if let Some(failure) = failed.failures.first() {
        return Err(failure.clone());
    }
    if let Some(call) = disk.changes_after_refusal().first() {
        return Err(Failure::new(FailureKind::ContinuedAfterFault, call));
    }
    let (builder, _) = run.builder_at(site)?;
    let (recorded, failed) = (builder.image(&ImageChoice::All), disk.image(&ImageChoice::All));
    if recorded != failed {
        let differences = recorded.differences(&failed).join("; ");
        let message =
            format_args!("the recorded run and the run whose device failed at {site} differ: {differences}");
        return Err(Failure::new(FailureKind::ModesDisagree, message));
    }
    Ok(())
}

/// The payload of a panic inside a disk operation.
struct PanicAtOperation;

/// Runs the work until a panic at `site`. The panic drops the database. If `handle` is given, the database remains in
/// it.
pub(crate) fn panic_at(
    setup: &Setup,
    site: Site,
    location: &mut DatabaseLocation,
    journal: &Journal,
    handle: Option<&mut Option<TidalDb>>,
) -> Result<(), Failure> {
    let never_reached = |message: String| Failure::new(FailureKind::NeverReached, message);
    let disk = location.disk.clone();
    let work = || {
        let mut dropped = None;
        run_work(setup, location, journal, handle.unwrap_or(&mut dropped))
    };
    match site {
        Site::Point { point, crossing } => {
            match run_to_crash(point, crossing, work) {
                Ok(_) => Ok(()),
                // The work has further threads, and the crash ended one of them. The panic poisons the handle for the
                // others.
                Err(NotCrashed {
                    reason: NotCrashedReason::OnAnotherThread(thread),
                    value: Some(closed),
                    ..
                }) if journal.has_threads() => {
                    if closed.is_err() {
                        return Ok(());
                    }
                    let message = format_args!("close succeeded after the panic of thread {thread}");
                    Err(Failure::new(FailureKind::Wrong, message))
                }
                Err(NotCrashed {
                    value: Some(Err(failure)),
                    ..
                }) => Err(failure),
                Err(not_crashed) => Err(never_reached(not_crashed.to_string())),
            }
        }
        Site::Disk { ordinal, side } => {
            let Some(disk) = disk else {
                return Err(never_reached(
                    "only a simulated disk has numbered operations".to_owned(),
                ));
            };
            disk.observe(move |call| {
                if (call.ordinal, call.side) == (Some(ordinal), side) {
                    // Unlike `panic_any` this prints nothing.
                    resume_unwind(Box::new(PanicAtOperation));
                }
            });
            let outcome = catch_unwind(AssertUnwindSafe(work));
            disk.observe(|_| {});
            match outcome {
                Err(payload) if payload.is::<PanicAtOperation>() => Ok(()),
                Err(payload) => resume_unwind(payload),
                Ok(_) => Err(never_reached(format!("the run ended without {site}"))),
            }
        }
        Site::End | Site::Fault { .. } => {
            let message = "a panic needs a crossing or one side of a disk operation as its site";
            Err(never_reached(message.to_owned()))
        }
    }
}
