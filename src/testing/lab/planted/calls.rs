//! Bugs at the public handle: calls that are not made as the oracle is told, and databases that are not opened as was
//! promised.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Acts, PlantedBug};
use crate::testing::CrashSweep;
use crate::testing::sweep::Calls;
use crate::testing::workload::{Event, Operation};
use crate::{Durability, Error, Options, Receipt, TidalDb};

type Called = Result<Option<Receipt>, Error>;

/// Changes how the calls of `sweep` are made or the database is opened.
pub(super) fn plant(bug: PlantedBug, sweep: CrashSweep, acts: &Acts) -> CrashSweep {
    let acts = acts.clone();
    match bug {
        PlantedBug::WeakerPolicy => changed_options(sweep, move |options| {
            acts.count();
            options.durability(Durability::OperatingSystem)
        }),
        PlantedBug::SkewUnlimited => changed_options(sweep, move |options| {
            acts.count();
            options.skew_ms_max(u64::MAX)
        }),
        PlantedBug::RandomBytes => changed_options(sweep, move |options| {
            acts.count();
            Options {
                database_id: None,
                ..options
            }
        }),
        PlantedBug::OtherDatabase => {
            let openings = AtomicU64::new(1);
            changed_options(sweep, move |options| {
                acts.count();
                options.database_id(openings.fetch_add(1, Ordering::Relaxed).into())
            })
        }
        _ => {
            let runs = Arc::new(AtomicU64::new(0));
            sweep.with_setup(|setup| {
                setup.calls = Some(Arc::new(move || {
                    Box::new(PlantedCalls {
                        bug,
                        acts: acts.clone(),
                        is_first_run: runs.fetch_add(1, Ordering::Relaxed) == 0,
                        frames: 0,
                        held: None,
                    })
                }));
            })
        }
    }
}

fn changed_options(
    sweep: CrashSweep,
    change: impl Fn(Options) -> Options + Send + Sync + 'static,
) -> CrashSweep {
    sweep.with_setup(|setup| setup.changed_options = Some(Arc::new(change)))
}

/// Makes the calls of one run.
#[derive(Debug)]
struct PlantedCalls {
    bug: PlantedBug,
    acts: Acts,
    is_first_run: bool,
    /// How many frames were asked for.
    frames: u64,
    /// What was acknowledged and is still to be done.
    held: Option<Operation>,
}

impl Calls for PlantedCalls {
    fn call(&mut self, db: &TidalDb, operation: &Operation) -> Called {
        self.frames += u64::from(operation.is_frame());
        let is_third = operation.is_frame() && self.frames.is_multiple_of(3);
        match (self.bug, operation) {
            (PlantedBug::AcknowledgedFirst, _) if operation.is_frame() => {
                self.acts.count();
                // Nobody hears of it if that fails.
                self.held
                    .replace(operation.clone())
                    .map(|held| held.apply(db).ok());
                Ok(None)
            }
            (PlantedBug::CallTwice, _) if is_third => {
                self.acts.count();
                operation.apply(db)?;
                operation.apply(db)
            }
            (PlantedBug::NumberRepeated, _) if is_third => {
                self.acts.count();
                Ok(operation.apply(db)?.map(|receipt| Receipt {
                    sequence: receipt.sequence.saturating_sub(1),
                    ..receipt
                }))
            }
            (PlantedBug::CallDropped, _) if is_third => {
                self.acts.count();
                Ok(None)
            }
            (PlantedBug::SyncDropped, Operation::Sync)
            | (PlantedBug::CheckpointDropped, Operation::Checkpoint) => {
                self.acts.count();
                Ok(None)
            }
            (PlantedBug::RefusedAndDone, _) if is_third => {
                self.acts.count();
                operation.apply(db)?;
                Err(Error::invalid("weight", "what was given", "nobody likes it"))
            }
            (PlantedBug::RunsDiffer, _) if !self.is_first_run && self.frames > 2 => {
                self.acts.count();
                Err(Error::Closed)
            }
            (PlantedBug::SetBackIgnored, Operation::Record { events, .. })
                if operation.set_back().is_some() && !operation.is_refused() =>
            {
                self.acts.count();
                let receipt = Operation::record(events.clone()).apply(db)?;
                let set_back = operation.set_back();
                Ok(receipt.map(|receipt| Receipt { set_back, ..receipt }))
            }
            (_, Operation::Record { now_ms, events }) => self.record(db, *now_ms, events),
            _ => operation.apply(db),
        }
    }
}

impl PlantedCalls {
    fn record(&self, db: &TidalDb, now_ms: i64, events: &[Event]) -> Called {
        let record = |events| Operation::Record { now_ms, events }.apply(db);
        let mut changed = events.to_vec();
        match self.bug {
            PlantedBug::CallSplit if events.len() > 1 => {
                self.acts.count();
                let rest = changed.split_off(events.len() / 2);
                record(changed)?;
                return record(rest);
            }
            PlantedBug::BatchReversed => changed.reverse(),
            PlantedBug::CohortsDropped => changed.iter_mut().for_each(|event| event.cohorts.clear()),
            PlantedBug::UserDropped => changed.iter_mut().for_each(|event| event.user = None),
            _ => {}
        }
        if changed != events {
            self.acts.count();
        }
        record(changed)
    }
}
