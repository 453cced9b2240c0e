//! The session after a crash: one recorded run that recovers and continues the work.
//!
//! Crashes at sites before the return of `open` are inside the recovery. Crashes at later sites are in the calls of the
//! session: the journal has their oracle snapshots, as in the work.

use super::case::{image_of, recovery_session};
use super::driver::{Driver, Opener};
use super::finding::Failure;
use super::journal::OracleSnapshot;
use super::record::{CrashPosition, RunRecord};
use super::recover::{catch_panic, check_durable, further_operations, open};
use super::setup::Setup;
use super::state::RecoveredState;
use crate::testing::SimDisk;
use crate::testing::oracle::CrashKind;
use crate::testing::plan::{Crash, Site};
use crate::testing::sim_disk::ImageBuilder;
use crate::testing::workload::Operation;

/// The largest number of further operations of the work in the session.
const OPERATIONS_LEN: usize = 12;

/// A recorded session after a crash.
#[derive(Debug)]
pub(crate) struct NextSession {
    pub(crate) run: RunRecord,
    /// The recovered state.
    pub(crate) state: RecoveredState,
    /// The number of disk operations when `open` returned.
    pub(crate) opened_at: u64,
}

impl NextSession {
    /// Recovers on `disk`, which the last of `crashes` left, and continues with the rest of the work. `builder` is at
    /// that crash, and `snapshot` is the oracle snapshot there.
    ///
    /// # Errors
    /// The failure of the recovery.
    pub(crate) fn record(
        setup: &Setup,
        disk: &SimDisk,
        builder: &ImageBuilder,
        snapshot: &OracleSnapshot,
        crashes: &[Crash],
    ) -> Result<Self, Failure> {
        let Some(Crash { mode, .. }) = crashes.last() else {
            unreachable!("there is a crash before this session")
        };
        // Operations that a power loss removed stay lost after later crashes in recoveries.
        let keeps_writes = crashes.iter().all(|crash| crash.mode.keeps_writes());
        let crash_kind = if keeps_writes {
            CrashKind::ProcessCrash
        } else {
            CrashKind::PowerLoss
        };
        let session = recovery_session(snapshot, builder.image_hash(&image_of(mode)));
        let mut opened = None;
        let (run, result) = RunRecord::of(disk, snapshot.clone(), |journal| {
            let mut location = setup.location_on_disk(disk, session.clone());
            let mut handle = None;
            catch_panic(|| {
                let db = handle.insert(open(setup, &location)?);
                let state = RecoveredState::of(db)?;
                check_durable(db, &state)?;
                opened = Some((state, disk.operations_len()));
                let lost = journal.recovered(db, crash_kind, setup.durability_of(&session), &session);
                let mut driver = setup
                    .driver(&mut location, &mut handle, journal)
                    .with_disk_checks(journal);
                let rest = rest_of_work(setup, snapshot, &driver);
                for operation in lost.iter().chain(&rest) {
                    // The journal notes calls that fail. They do not end the work.
                    driver.apply(operation).ok();
                }
                Ok(())
            })
        });
        match (opened, result) {
            (Some((state, opened_at)), Some(Ok(()))) => Ok(Self {
                run: run.after(crashes),
                state,
                opened_at,
            }),
            (_, Some(Err(failure))) => Err(failure),
            (_, None) | (None, Some(Ok(()))) => unreachable!("`catch_panic` catches panics"),
        }
    }

    /// The first and the middle crash position of each operation after `open`, and the end of the run, each with its
    /// site.
    pub(crate) fn crash_positions(&self) -> Vec<(CrashPosition, Site)> {
        let run = &self.run;
        let operation_of = |position: &CrashPosition| run.snapshots[position.snapshot_index].operation;
        let mut positions: Vec<(CrashPosition, Site)> = Vec::new();
        // Snapshot 0 is that of the crash. It is current until `open` returns.
        let after_open = run
            .sites
            .iter()
            .filter(|(_, position)| position.snapshot_index > 0);
        let after_open: Vec<_> = after_open.collect();
        for of_operation in after_open.chunk_by(|(_, a), (_, b)| operation_of(a) == operation_of(b)) {
            for index in [0, of_operation.len() / 2] {
                let (site, position) = *of_operation[index];
                if positions.last().is_none_or(|(last, _)| *last != position) {
                    positions.push((position, site));
                }
            }
        }
        positions.extend(run.position_of(Site::End).map(|position| (position, Site::End)));
        positions
    }
}

/// The operations of the work after the operation that the crash interrupted; further operations if a closure makes the
/// work.
fn rest_of_work(setup: &Setup, snapshot: &OracleSnapshot, driver: &Driver<'_>) -> Vec<Operation> {
    match setup.operations() {
        Some(operations) => {
            let begun_len = snapshot.operation.map_or(0, |operation| operation + 1);
            operations
                .into_iter()
                .skip(begun_len)
                .take(OPERATIONS_LEN)
                .collect()
        }
        None => further_operations(setup, driver),
    }
}
