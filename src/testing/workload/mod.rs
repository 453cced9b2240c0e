//! Workloads: the operations of a plan on a database, as values that can be printed, stored and replayed.
//!
//! Invariant: a workload follows from its arguments alone, so every run of it makes the same calls.

mod clock;
mod large;
pub(crate) mod random;
mod session;
mod sessions;
mod standard;
#[cfg(test)]
mod tests;
mod text;

pub use clock::{STANDARD_NOW_MS, WorkloadClock};
pub use large::{large_options, large_schema};
pub(crate) use random::Random;
#[cfg(test)]
pub(crate) use random::with_a_fresh_seed;
pub(crate) use session::{PolicyText, Session, enter_session, in_session};
pub use session::{Reopening, SessionChange, SessionEnd, session};
pub use standard::{STANDARD_SKEW_MS, STANDARD_SYNC_MS, standard_schema, tiny_options};
pub(crate) use standard::{tiny_limits, with_many_segments};
pub use text::ParseOperationError;

use std::borrow::Cow;

use crate::{CohortId, EntityId, Error, Receipt, SetBack, SignalEvent, SignalId, TidalDb, UserId};

/// The operations of a plan, in order.
///
/// Its text is one line with a token for each operation. The text parses back to the same value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Workload {
    /// The operations, in order.
    pub operations: Vec<Operation>,
}

/// An event that owns its cohorts.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The entity.
    pub entity: EntityId,
    /// The signal.
    pub signal: SignalId,
    /// The weight, dimensionless.
    pub weight: f64,
    /// The time of the event, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The user, if the event has one.
    pub user: Option<UserId>,
    /// The cohorts in which the event counts.
    pub cohorts: Vec<CohortId>,
}

impl Event {
    /// The event as an argument of [`TidalDb::record`].
    pub fn as_signal_event(&self) -> SignalEvent<'_> {
        SignalEvent {
            entity: self.entity,
            signal: self.signal,
            weight: self.weight,
            at_ms: self.at_ms,
            user: self.user,
            cohorts: &self.cohorts,
        }
    }
}

/// One call on the handle.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// One frame. A single event is recorded by `record`, several events by `record_batch`.
    Record {
        /// The time that [`WorkloadClock`] returns during the call, in milliseconds since the Unix epoch. The clock
        /// continues from this time until the next `Record` of the thread.
        now_ms: i64,
        /// The events.
        events: Vec<Event>,
    },
    /// `forget_entity`.
    ForgetEntity(EntityId),
    /// `forget_user`.
    ForgetUser(UserId),
    /// `create_collection`.
    CreateCollection(Vec<u8>),
    /// `delete_collection`.
    DeleteCollection(Vec<u8>),
    /// `add_to_collection`.
    AddToCollection(Vec<u8>, EntityId),
    /// `remove_from_collection`.
    RemoveFromCollection(Vec<u8>, EntityId),
    /// `sync`.
    Sync,
    /// `checkpoint`.
    Checkpoint,
    /// Ends the session and opens the database again. Only a [`Driver`](super::sweep::Driver) makes reopenings.
    Reopen(Reopening),
}

impl Operation {
    /// A call that records `events` with the clock at the time of the newest event, so that no event is ahead of the
    /// clock.
    pub fn record(events: Vec<Event>) -> Self {
        let newest_ms = events.iter().map(|event| event.at_ms).max();
        Self::Record {
            now_ms: newest_ms.unwrap_or(STANDARD_NOW_MS),
            events,
        }
    }

    /// Returns true if a database must refuse the call before its log, because an event is further ahead of the clock
    /// than [`STANDARD_SKEW_MS`].
    pub fn must_be_refused(&self) -> bool {
        let Self::Record { now_ms, events } = self else {
            return false;
        };
        let latest_ms = now_ms.saturating_add_unsigned(STANDARD_SKEW_MS);
        events.iter().any(|event| event.at_ms > latest_ms)
    }

    /// The events that are ahead of the clock, as the receipt of an accepted call must report them.
    pub fn set_back(&self) -> Option<SetBack> {
        let Self::Record { now_ms, events } = self else {
            return None;
        };
        let ahead_len = events.iter().filter(|event| event.at_ms > *now_ms).count();
        (ahead_len > 0).then_some(SetBack {
            events_len: ahead_len as u32,
            to_ms: *now_ms,
        })
    }

    /// The operation as the log stores it: the events that are ahead of the clock are set back to the time of the
    /// clock.
    pub(crate) fn as_recorded(&self) -> Cow<'_, Self> {
        let mut operation = Cow::Borrowed(self);
        if self.set_back().is_some()
            && let Self::Record { now_ms, events } = operation.to_mut()
        {
            for event in events {
                event.at_ms = event.at_ms.min(*now_ms);
            }
        }
        operation
    }

    /// Makes the call. Returns the receipt of its frame, if the operation is a frame.
    ///
    /// # Errors
    /// The error of the call. [`Error::InvalidInput`] for a reopening, because only a [`Driver`](super::sweep::Driver)
    /// makes reopenings.
    pub fn apply(&self, db: &TidalDb) -> Result<Option<Receipt>, Error> {
        match self {
            Self::Record { now_ms, events } => {
                WorkloadClock::set(*now_ms);
                let events: Vec<_> = events.iter().map(Event::as_signal_event).collect();
                let receipt = if let [event] = &events[..] {
                    db.record(event)
                } else {
                    db.record_batch(&events)
                };
                receipt.map(Some)
            }
            Self::ForgetEntity(entity) => db.forget_entity(*entity).map(Some),
            Self::ForgetUser(user) => db.forget_user(*user).map(Some),
            Self::CreateCollection(name) => db.create_collection(name).map(|()| None),
            Self::DeleteCollection(name) => db.delete_collection(name).map(|()| None),
            Self::AddToCollection(name, entity) => db.add_to_collection(name, *entity).map(|_| None),
            Self::RemoveFromCollection(name, entity) => {
                db.remove_from_collection(name, *entity).map(|_| None)
            }
            Self::Sync => db.sync().map(|()| None),
            Self::Checkpoint => db.checkpoint().map(|_| None),
            Self::Reopen(_) => Err(Error::InvalidInput {
                field: "operation",
                value: self.to_string(),
                reason: "only a driver makes reopenings",
            }),
        }
    }

    /// Makes the call like [`apply`](Self::apply). Returns `None` if the call [must be refused](Self::must_be_refused)
    /// and was refused.
    ///
    /// # Errors
    /// The error of the call.
    pub fn apply_or_refuse(&self, db: &TidalDb) -> Result<Option<Receipt>, Error> {
        match self.apply(db) {
            Err(error) if self.must_be_refused() && is_ahead_of_clock(&error) => Ok(None),
            result => result,
        }
    }

    /// Returns true if the operation is a frame of the log.
    pub fn is_frame(&self) -> bool {
        matches!(
            self,
            Self::Record { .. } | Self::ForgetEntity(_) | Self::ForgetUser(_)
        )
    }

    /// Returns true if the operation changes a collection.
    pub fn is_collection_change(&self) -> bool {
        matches!(
            self,
            Self::CreateCollection(_)
                | Self::DeleteCollection(_)
                | Self::AddToCollection(..)
                | Self::RemoveFromCollection(..)
        )
    }
}

/// Returns true if a call was refused because an event was too far ahead of the clock.
pub fn is_ahead_of_clock(error: &Error) -> bool {
    match error {
        Error::InvalidInput { field, .. } => *field == "at_ms",
        Error::InBatch { source, .. } => is_ahead_of_clock(source),
        _ => false,
    }
}
