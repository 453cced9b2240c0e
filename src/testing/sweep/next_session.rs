//! The session after a crash: one recorded run that recovers and continues the work.
//!
//! Crashes at its sites before the return of `open` are inside the recovery. Crashes at later sites are in a later session: the
//! journal knows their legal states, as in the work.

use super::case::{image_of, recovery_session};
use super::driver::{Driver, Opener};
use super::finding::Failure;
use super::journal::OracleSnapshot;
use super::record::{CrashPosition, Recorded};
use super::recover::{caught, check_durable, further_operations, open};
use super::setup::Setup;
use super::state::RecoveredState;
use crate::testing::SimDisk;
use crate::testing::oracle::CrashKind;
use crate::testing::plan::{Crash, Site};
use crate::testing::sim_disk::ImageBuilder;
use crate::testing::workload::Operation;

/// The largest number of operations of the work with which the session continues.
const OPERATIONS_LEN: usize = 12;

/// A recorded session after a crash.
#[derive(Debug)]
pub(crate) struct NextSession {
    pub(crate) run: Recorded,
    /// The recovered state.
    pub(crate) state: RecoveredState,
    /// The number of disk operations when open returned.
    pub(crate) opened_at: u64,
}

impl NextSession {
    /// Recovers on `disk`, which the last of `crashes` left, and continues with the rest of the work. `builder` is at that crash,
    /// and `known` is the knowledge at it.
    ///
    /// # Errors
    /// The recovery failed.
    pub(crate) fn record(
        setup: &Setup,
        disk: &SimDisk,
        builder: &ImageBuilder,
        known: &OracleSnapshot,
        crashes: &[Crash],
    ) -> Result<Self, Failure> {
        let Some(Crash { mode, .. }) = crashes.last() else {
            unreachable!("a session after a crash has one before it")
        };
        // Operations that a power loss took stay lost when later crashes interrupt recoveries.
        let keeps_writes = crashes.iter().all(|crash| crash.mode.keeps_writes());
        let death = if keeps_writes {
            CrashKind::ProcessCrash
        } else {
            CrashKind::PowerLoss
        };
        let session = recovery_session(known, builder.image_hash(&image_of(mode)));
        let mut opened = None;
        let (run, result) = Recorded::of(disk, known.clone(), |journal| {
            let mut home = setup.on_disk(disk, session.clone());
            let mut handle = None;
            caught(|| {
                let db = handle.insert(open(setup, &home)?);
                let state = RecoveredState::of(db)?;
                check_durable(db, &state)?;
                opened = Some((state, disk.operations_len()));
                let lost = journal.recovered(db, death, setup.durability_of(&session), &session);
                let mut driver = setup.driver(&mut home, &mut handle, journal).checked(journal);
                let rest = rest_of_work(setup, known, &driver);
                for operation in lost.iter().chain(&rest) {
                    // Calls that fail are part of the work.
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
            (_, None) | (None, Some(Ok(()))) => unreachable!("panics are caught"),
        }
    }

    /// The first and the middle moment of each operation after `open`, and the end of the run, each with its site.
    pub(crate) fn moments(&self) -> Vec<(CrashPosition, Site)> {
        let run = &self.run;
        let operation_of = |moment: &CrashPosition| run.known[moment.known].operation;
        let mut moments: Vec<(CrashPosition, Site)> = Vec::new();
        // Entry 0 holds until `open` returns: it is the knowledge at the crash.
        let continued: Vec<_> = run.sites.iter().filter(|(_, moment)| moment.known > 0).collect();
        for of_operation in continued.chunk_by(|(_, a), (_, b)| operation_of(a) == operation_of(b)) {
            for index in [0, of_operation.len() / 2] {
                let (site, moment) = *of_operation[index];
                if moments.last().is_none_or(|(last, _)| *last != moment) {
                    moments.push((moment, site));
                }
            }
        }
        moments.extend(run.moment_of(Site::End).map(|moment| (moment, Site::End)));
        moments
    }
}

/// The operations after the one that the crash interrupted.
fn rest_of_work(setup: &Setup, known: &OracleSnapshot, driver: &Driver<'_>) -> Vec<Operation> {
    match setup.operations() {
        Some(operations) => {
            let begun = known.operation.map_or(0, |operation| operation + 1);
            operations.into_iter().skip(begun).take(OPERATIONS_LEN).collect()
        }
        None => further_operations(setup, driver),
    }
}
