//! Bugs at the public handle: their actions, and the calls that they apply to. An action makes other calls than those
//! that the oracle records.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::testing::CrashSweep;
use crate::testing::faults::FaultCount;
use crate::testing::sweep::CallExecutor;
use crate::testing::workload::{Event, Operation, session, standard_schema};
use crate::{Error, Options, Receipt, Schema, Signal, TidalDb};

type PlantedCallResult = Result<Option<Receipt>, Error>;

/// An action that replaces the call of an operation.
pub(super) type CallAction = fn(&mut CallBugState, &TidalDb, &Operation) -> PlantedCallResult;

/// A bug at the public handle. The action replaces every `one_in`-th call that the bug applies to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallBug {
    /// Returns true for the operations that the bug applies to.
    pub(super) applies_to: fn(&Operation) -> bool,
    pub(super) one_in: u64,
    pub(super) action: CallAction,
}

/// The state of one bug in one run.
#[derive(Debug)]
pub(crate) struct CallBugState {
    bug: CallBug,
    faults: FaultCount,
    is_first_run: bool,
    /// The number of operations that the bug applies to, so far.
    matching_calls: u64,
    /// An operation that is acknowledged but not yet applied.
    pending: Option<Operation>,
}

/// Plants `bug` into the calls of `sweep`.
pub(super) fn plant(bug: CallBug, sweep: CrashSweep, faults: &FaultCount) -> CrashSweep {
    let (faults, runs) = (faults.clone(), AtomicU64::new(0));
    sweep.with_setup(|setup| {
        setup.call_executor = Some(Arc::new(move || {
            Box::new(CallBugState {
                bug,
                faults: faults.clone(),
                is_first_run: runs.fetch_add(1, Ordering::Relaxed) == 0,
                matching_calls: 0,
                pending: None,
            })
        }));
    })
}

/// Changes the options of each open in `sweep`. `change` gets the number of the open, from 1.
pub(super) fn plant_options(
    change: fn(Options, u64) -> Options,
    sweep: CrashSweep,
    faults: &FaultCount,
) -> CrashSweep {
    let (faults, openings) = (faults.clone(), AtomicU64::new(0));
    sweep.with_setup(|setup| {
        setup.change_options = Some(Arc::new(move |options| {
            faults.count();
            change(options, openings.fetch_add(1, Ordering::Relaxed) + 1)
        }));
    })
}

impl CallExecutor for CallBugState {
    fn call(&mut self, db: &TidalDb, operation: &Operation) -> PlantedCallResult {
        if !(self.bug.applies_to)(operation) {
            return operation.apply(db);
        }
        self.matching_calls += 1;
        if self.matching_calls.is_multiple_of(self.bug.one_in) {
            (self.bug.action)(self, db, operation)
        } else {
            operation.apply(db)
        }
    }
}

/// Changes the options of every session except the first. Counts these sessions as faults.
pub(super) fn plant_later_options(
    change: fn(Options) -> Options,
    sweep: CrashSweep,
    faults: &FaultCount,
) -> CrashSweep {
    let faults = faults.clone();
    sweep.with_setup(|setup| {
        setup.change_options = Some(Arc::new(move |options| {
            if session() < 2 {
                return options;
            }
            faults.count();
            change(options)
        }));
    })
}

// The options of later sessions.

/// Replaces the bounds of co-engagement by those of the first session.
pub(super) fn with_first_bounds(options: Options) -> Options {
    let schema = options.schema.clone();
    let schema = schema.co_engagement(*standard_schema().co_engagement_config());
    Options { schema, ..options }
}

/// Removes the flag `positive` from the appended signals, so that their events do not feed co-engagement.
pub(super) fn with_neutral_signals(options: Options) -> Options {
    let first_len = standard_schema().signals().len();
    let schema = standard_schema().co_engagement(*options.schema.co_engagement_config());
    let appended = options.schema.signals().iter().skip(first_len);
    let neutral = appended.map(|signal| {
        let half_lives_ms = signal.half_lives_ms().iter();
        let neutral = Signal::new(signal.name()).rings(signal.window_rings());
        half_lives_ms.fold(neutral, |neutral, &ms| neutral.half_life_ms(ms))
    });
    let schema = neutral.fold(schema, Schema::signal);
    Options { schema, ..options }
}

// The calls.

pub(super) fn is_record(operation: &Operation) -> bool {
    matches!(operation, Operation::Record { .. })
}

pub(super) fn is_batch(operation: &Operation) -> bool {
    matches!(operation, Operation::Record { events, .. } if events.len() > 1)
}

/// A call with more than this number of events is large.
const LARGE_CALL_LEN: usize = 64;

pub(super) fn is_large(operation: &Operation) -> bool {
    matches!(operation, Operation::Record { events, .. } if events.len() > LARGE_CALL_LEN)
}

/// Returns true for a call whose events are set back to the clock.
pub(super) fn is_set_back(operation: &Operation) -> bool {
    is_record(operation) && operation.set_back().is_some() && !operation.must_be_refused()
}

// The actions.

#[expect(clippy::unnecessary_wraps, reason = "all actions have one signature")]
pub(super) fn skip(state: &mut CallBugState, _: &TidalDb, _: &Operation) -> PlantedCallResult {
    state.faults.count();
    Ok(None)
}

/// Acknowledges the call, and applies it during the next call. Ignores its error.
pub(super) fn acknowledge_first(
    state: &mut CallBugState,
    db: &TidalDb,
    operation: &Operation,
) -> PlantedCallResult {
    let pending = state.pending.replace(operation.clone());
    pending.map(|pending| pending.apply(db).ok());
    skip(state, db, operation)
}

pub(super) fn call_twice(state: &mut CallBugState, db: &TidalDb, operation: &Operation) -> PlantedCallResult {
    state.faults.count();
    operation.apply(db)?;
    operation.apply(db)
}

pub(super) fn repeat_sequence_number(
    state: &mut CallBugState,
    db: &TidalDb,
    operation: &Operation,
) -> PlantedCallResult {
    state.faults.count();
    Ok(operation.apply(db)?.map(|receipt| Receipt {
        sequence: receipt.sequence.saturating_sub(1),
        ..receipt
    }))
}

pub(super) fn apply_and_refuse(
    state: &mut CallBugState,
    db: &TidalDb,
    operation: &Operation,
) -> PlantedCallResult {
    state.faults.count();
    operation.apply(db)?;
    Err(Error::invalid("weight", "planted", "the call is refused"))
}

/// Refuses calls in every run except the first.
pub(super) fn refuse_later_runs(
    state: &mut CallBugState,
    db: &TidalDb,
    operation: &Operation,
) -> PlantedCallResult {
    if state.is_first_run || state.matching_calls < 3 {
        return operation.apply(db);
    }
    state.faults.count();
    Err(Error::Closed)
}

/// Records the events at their own times, but reports in the receipt that they were set back.
pub(super) fn ignore_set_back(
    state: &mut CallBugState,
    db: &TidalDb,
    operation: &Operation,
) -> PlantedCallResult {
    let Operation::Record { events, .. } = operation else {
        return operation.apply(db);
    };
    state.faults.count();
    let receipt = Operation::record(events.clone()).apply(db)?;
    let set_back = operation.set_back();
    Ok(receipt.map(|receipt| Receipt { set_back, ..receipt }))
}

pub(super) fn split_batch(
    state: &mut CallBugState,
    db: &TidalDb,
    operation: &Operation,
) -> PlantedCallResult {
    let Operation::Record { now_ms, events } = operation else {
        return operation.apply(db);
    };
    state.faults.count();
    let record = |events: &[Event]| {
        let (now_ms, events) = (*now_ms, events.to_vec());
        Operation::Record { now_ms, events }.apply(db)
    };
    let (first, rest) = events.split_at(events.len() / 2);
    record(first)?;
    record(rest)
}

/// Records only the first [`LARGE_CALL_LEN`] events.
pub(super) fn truncate_large(
    state: &mut CallBugState,
    db: &TidalDb,
    operation: &Operation,
) -> PlantedCallResult {
    change_events(state, db, operation, |events| events.truncate(LARGE_CALL_LEN))
}

/// Records the event after the first [`LARGE_CALL_LEN`] events twice.
pub(super) fn repeat_in_large(
    state: &mut CallBugState,
    db: &TidalDb,
    operation: &Operation,
) -> PlantedCallResult {
    change_events(state, db, operation, |events| {
        events.push(events[LARGE_CALL_LEN].clone());
    })
}

/// Applies the call with a change of each event.
pub(super) fn change_each_event(
    state: &mut CallBugState,
    db: &TidalDb,
    operation: &Operation,
    change: fn(&mut Event),
) -> PlantedCallResult {
    change_events(state, db, operation, |events| events.iter_mut().for_each(change))
}

/// Applies the call with changed events.
pub(super) fn change_events(
    state: &mut CallBugState,
    db: &TidalDb,
    operation: &Operation,
    change: impl FnOnce(&mut Vec<Event>),
) -> PlantedCallResult {
    let mut changed = operation.clone();
    if let Operation::Record { events, .. } = &mut changed {
        change(events);
    }
    if changed != *operation {
        state.faults.count();
    }
    changed.apply(db)
}
