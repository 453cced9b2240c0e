//! Workloads: what a plan does to a database, as values that can be printed, kept and replayed.

use crate::{CohortId, EntityId, Error, SignalEvent, SignalId, TidalDb, UserId};

/// An event that owns its cohorts.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What was engaged with.
    pub entity: EntityId,
    /// How.
    pub signal: SignalId,
    /// How much.
    pub weight: f64,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// By whom.
    pub user: Option<UserId>,
    /// The cohorts it feeds.
    pub cohorts: Vec<CohortId>,
}

impl Event {
    /// The event as the handle takes it.
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
pub enum Operation {
    /// One frame: a single event by `record`, several by `record_batch`.
    Record(Vec<Event>),
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
}

impl Operation {
    /// Makes the call. Gives the sequence number of the frame, if the operation has one.
    ///
    /// # Errors
    /// That of the call.
    pub fn apply(&self, db: &TidalDb) -> Result<Option<u64>, Error> {
        match self {
            Self::Record(events) => {
                let events: Vec<_> = events.iter().map(Event::as_signal_event).collect();
                let receipt = if let [event] = &events[..] {
                    db.record(event)?
                } else {
                    db.record_batch(&events)?
                };
                Ok(Some(receipt.sequence))
            }
            Self::ForgetEntity(entity) => db.forget_entity(*entity).map(|receipt| Some(receipt.sequence)),
            Self::ForgetUser(user) => db.forget_user(*user).map(|receipt| Some(receipt.sequence)),
            Self::CreateCollection(name) => db.create_collection(name).map(|()| None),
            Self::DeleteCollection(name) => db.delete_collection(name).map(|()| None),
            Self::AddToCollection(name, entity) => db.add_to_collection(name, *entity).map(|_| None),
            Self::RemoveFromCollection(name, entity) => {
                db.remove_from_collection(name, *entity).map(|_| None)
            }
            Self::Sync => db.sync().map(|()| None),
            Self::Checkpoint => db.checkpoint().map(|_| None),
        }
    }

    /// Whether the operation is a frame of the log.
    pub fn is_frame(&self) -> bool {
        matches!(
            self,
            Self::Record(_) | Self::ForgetEntity(_) | Self::ForgetUser(_)
        )
    }

    /// Whether the operation changes a collection.
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
