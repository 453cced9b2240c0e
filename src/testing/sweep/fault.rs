//! Faults of single disk operations, under the running work and under recoveries.
//!
//! After the fault the run continues to its end: the handle refuses the later calls. There are two crash sites: the
//! return of the call with the fault, and the end of the run. At each site the process ends or the power is lost. The
//! disk has no faults when the database is opened again. The recovered state must hold every acknowledged call. A call
//! with an unknown outcome must be present completely or be absent.
//!
//! The operations after a fault differ from those of the run without faults, so each run with a fault has its own
//! recording and journal.

use super::case::{Case, Runner, disk_of, image_of, recovery_session};
use super::crash::fail_device;
use super::explore::{Explorer, NestedCase, RunStatistics, modes};
use super::finding::{Failure, FailureKind};
use super::record::{CrashPosition, RunRecord, seek};
use super::recover::recover;
use super::setup::Setup;
use super::shared::Counters;
use crate::testing::SimDisk;
use crate::testing::plan::{Crash, CrashMode, FaultEnd, Site};
use crate::testing::sim_disk::{DiskOperation, IoFault, Recording, Side};
use crate::testing::workload::Session;

/// The sites of faults in the operations of a recording from the ordinal `start` on, sorted by the kind of the fault,
/// then in the order of the run.
pub(super) fn fault_sites(recording: &Recording, start: u64) -> Vec<Site> {
    let mut sites = Vec::new();
    for &fault in IoFault::ALL {
        let operations = recording.operations().skip(start as usize);
        let possible = operations.filter(|operation| fault.of(operation).is_some());
        sites.extend(possible.map(|operation| Site::Fault {
            ordinal: operation.ordinal,
            fault,
            after: FaultEnd::Run,
        }));
    }
    sites
}

/// The sites of a recording at which the device can fail: both sides of each operation.
pub(super) fn device_sites(recording: &Recording) -> impl Iterator<Item = Site> {
    let ordinals = 0..recording.len();
    ordinals.flat_map(|ordinal| Side::ALL.map(|side| Site::Disk { ordinal, side }))
}

/// Selects at most `max` of the sites, spread evenly.
pub(super) fn spread(sites: &[Site], max: usize) -> Vec<Site> {
    let len = max.min(sites.len());
    (0..len).map(|step| sites[step * sites.len() / len]).collect()
}

/// Sets a fault for the operation with the ordinal of `operation`. `operation` comes from the run without faults.
fn set_fault(disk: &SimDisk, operation: Option<&DiskOperation>, fault: IoFault) -> Result<(), Failure> {
    let Some((operation, fault)) = operation.and_then(|it| Some((it, fault.of(it)?))) else {
        let message = format_args!("the fault {fault} is not possible at this operation of the run");
        return Err(Failure::new(FailureKind::NeverReached, message));
    };
    disk.fail_operation(operation.ordinal, fault);
    Ok(())
}

/// Records a whole run of the work with a fault at an operation of the run `recorded`. The run may have failures.
pub(super) fn work_with_fault(
    setup: &Setup,
    recorded: &RunRecord,
    ordinal: u64,
    fault: IoFault,
) -> Result<RunRecord, Failure> {
    let disk = setup.new_disk();
    let operation = recorded.recording.operations().nth(ordinal as usize);
    set_fault(&disk, operation, fault)?;
    let mut run = RunRecord::of_work(setup, &disk);
    // The id of the run without faults is 0. Verdicts of the two runs differ, so the ids must too.
    run.id = 1 + ordinal * IoFault::ALL.len() as u64 + fault as u64;
    if disk.faults_fired().is_empty() {
        let message = format_args!("the run with the fault {fault} ended before operation {ordinal}");
        return Err(Failure::new(FailureKind::NeverReached, message));
    }
    Ok(run)
}

/// Records the recovery on `disk` with a fault at an operation of the recovery `recorded`. `open` must return an error.
pub(super) fn recovery_with_fault(
    setup: &Setup,
    disk: &SimDisk,
    session: &Session,
    recorded: &Recording,
    site: (u64, IoFault),
) -> Result<Recording, Failure> {
    let (ordinal, fault) = site;
    let operation = recorded.operations().nth(ordinal as usize);
    set_fault(disk, operation, fault)?;
    match recover(setup, disk, session) {
        Ok(_) if disk.has_any_failure() => {
            let operation = operation.map_or_else(String::new, ToString::to_string);
            let message = format_args!("open succeeded although one of its operations failed: {operation}");
            Err(Failure::new(FailureKind::AcknowledgedAfterFault, message))
        }
        Err(failure) if failure.kind != FailureKind::Refused => Err(failure),
        Ok(_) | Err(_) => Ok(disk.recording()),
    }
}

impl Explorer<'_> {
    /// Runs the work with the fault at `site`, and then a case for each crash after the fault. At a site of
    /// [`device_sites`] the device fails, and only the rest of that run is checked.
    pub(super) fn run_fault(&self, site: Site) -> RunStatistics {
        let Runner { setup, run, .. } = self.0;
        let mut statistics = RunStatistics::default();
        let crash = |mode| Crash { site, mode };
        self.0.heartbeat.begin(&[crash(CrashMode::Kill)]);
        let Site::Fault { ordinal, fault, .. } = site else {
            if let Err(failure) = fail_device(setup, run, site) {
                self.add_failure(&[crash(CrashMode::Kill)], failure, &mut statistics);
            }
            return statistics;
        };
        let run = match work_with_fault(setup, run, ordinal, fault) {
            Ok(run) => run,
            Err(failure) => {
                self.add_failure(&[crash(CrashMode::Kill)], failure, &mut statistics);
                return statistics;
            }
        };
        for failure in &run.failures {
            self.add_failure(&[crash(CrashMode::Kill)], failure.clone(), &mut statistics);
        }
        let own = Explorer(Runner { run: &run, ..self.0 });
        for after in [FaultEnd::Call, FaultEnd::Run] {
            let site = Site::Fault {
                ordinal,
                fault,
                after,
            };
            own.crash_after_fault(site, &mut statistics);
        }
        statistics
    }

    /// Runs a case for each image at `site` of a run with a fault.
    fn crash_after_fault(&self, site: Site, statistics: &mut RunStatistics) {
        let Runner { run, shared, .. } = self.0;
        let bounds = &shared.bounds;
        let Ok((mut builder, snapshot_index)) = run.builder_at(site) else {
            unreachable!("the fault has happened in this run");
        };
        let images_max = bounds.images_max.min(bounds.nested_images_max);
        for mode in modes(&builder, bounds, images_max, &mut statistics.left_out) {
            if shared.is_stopped() {
                statistics.left_out += 1;
                continue;
            }
            // After a failed sync the disk still returns bytes that it may have lost. A recovery must not rely on them.
            let returns_lost_bytes = matches!(
                site,
                Site::Fault {
                    fault: IoFault::SyncLost,
                    after: FaultEnd::Run,
                    ..
                }
            );
            let is_nested = returns_lost_bytes && mode.keeps_writes() && bounds.depth > 0;
            let crash = Crash { site, mode };
            let case = Case::in_run(run, crash.clone(), snapshot_index);
            let outcome = self.run(&builder, &case, false, statistics);
            if is_nested {
                let position = CrashPosition {
                    operations_len: builder.position(),
                    snapshot_index,
                };
                let nested = NestedCase {
                    position,
                    crash,
                    disk: outcome.image,
                };
                statistics.add(&self.crash_nested(&mut builder, &nested, 1, false));
            }
        }
    }

    /// Runs the recovery from the image of `nested` with at most `faults_max` faults, each in its own run, and a case
    /// for each crash at the end of that run. Also returns the number of faults that the bound excludes.
    pub(super) fn recovery_faults(&self, nested: &NestedCase, faults_max: usize) -> (RunStatistics, usize) {
        let mut statistics = RunStatistics::default();
        let mut builder = self.0.run.recording.images();
        let case = nested.seek(self.0.run, &mut builder);
        let disk = disk_of(&builder, case.mode());
        self.0.heartbeat.begin(&case.crashes);
        let start = disk.operations_len();
        let image = builder.image_hash(&image_of(case.mode()));
        let session = recovery_session(&self.0.run.snapshots[case.snapshot_index], image);
        // If this recovery fails without a fault, the case of the image has already reported the failure.
        let Ok(state) = recover(self.0.setup, &disk, &session) else {
            return (statistics, 0);
        };
        let recording = disk.recording();
        let all = fault_sites(&recording, start);
        let sites = spread(&all, faults_max);
        let state = self.0.shared.intern(state);
        for site in &sites {
            Counters::increment(&self.0.shared.counters.faults);
            let Site::Fault { ordinal, fault, .. } = *site else {
                unreachable!("every site is a fault");
            };
            let in_recovery = |mode| case.in_recovery(Crash { site: *site, mode }, false, &state);
            let disk = disk_of(&builder, case.mode());
            let failed = recovery_with_fault(self.0.setup, &disk, &session, &recording, (ordinal, fault));
            let failed = match failed {
                Ok(failed) => failed,
                Err(failure) => {
                    self.add_failure(&in_recovery(CrashMode::Kill).crashes, failure, &mut statistics);
                    continue;
                }
            };
            let mut builder = failed.images();
            seek(&mut builder, failed.len());
            let bounds = &self.0.shared.bounds;
            let images_max = bounds.images_max.min(bounds.nested_images_max);
            for mode in modes(&builder, bounds, images_max, &mut statistics.left_out) {
                if self.0.shared.is_stopped() {
                    statistics.left_out += 1;
                } else {
                    self.run(&builder, &in_recovery(mode), false, &mut statistics);
                }
            }
        }
        (statistics, all.len() - sites.len())
    }
}
