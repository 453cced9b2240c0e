//! The parts of a difference between two states, and their names in reports.

use std::fmt;

use crate::{CohortId, EntityId, UserId};

/// An event, identified by its place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The sequence number of its frame. 0 if the database did not report the number.
    pub sequence: u64,
    /// Its index in the call.
    pub index: usize,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sequence {
            0 => write!(f, "event {} of an unacknowledged frame", self.index),
            sequence => write!(f, "event {sequence}.{}", self.index),
        }
    }
}

/// The structure in which a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Structure {
    /// The global hot tier: decayed scores and the time of the newest event.
    Hot,
    /// The global warm tier: window rings.
    Warm,
    /// The hot tier of the cohort ledger.
    CohortHot,
    /// The warm tier of the cohort ledger.
    CohortWarm,
    /// A collection.
    Collection,
    /// The recent items of users in co-engagement.
    UserRings,
    /// The weighted edges of items in co-engagement.
    Edges,
    /// The order in which co-engagement drops users and items at its limits.
    Recency,
    /// The log's sequence numbers, or the database as a whole.
    Log,
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hot => "hot tier",
            Self::Warm => "warm tier",
            Self::CohortHot => "cohort hot tier",
            Self::CohortWarm => "cohort warm tier",
            Self::Collection => "collections",
            Self::UserRings => "user rings",
            Self::Edges => "co-engagement edges",
            Self::Recency => "co-engagement recency order",
            Self::Log => "log",
        })
    }
}

/// The object that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// The state of an entity and a signal, in one cohort or global.
    State {
        /// The cohort. `None` for the global state.
        cohort: Option<CohortId>,
        /// The entity.
        entity: EntityId,
        /// The signal's name, lossily decoded.
        signal: String,
    },
    /// A collection, by name.
    Collection(Vec<u8>),
    /// A user's ring.
    User(UserId),
    /// The edges of an item.
    Item(EntityId),
    /// The database as a whole.
    Database,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State {
                cohort,
                entity,
                signal,
            } => {
                if let Some(cohort) = cohort {
                    write!(f, "cohort {cohort} ")?;
                }
                write!(f, "entity {entity} signal {signal}")
            }
            Self::Collection(name) => write!(f, "collection \"{}\"", name.escape_ascii()),
            Self::User(user) => write!(f, "user {user}"),
            Self::Item(item) => write!(f, "item {item}"),
            Self::Database => f.write_str("database"),
        }
    }
}

/// The kind of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DifferenceKind {
    /// An expected event, frame, collection or member is missing everywhere.
    Lost,
    /// An event counts twice.
    Doubled,
    /// An event, or the events of a frame, are in some structures or states and are missing in others.
    Half,
    /// No single event explains the difference.
    Wrong,
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::Half => "half",
            Self::Wrong => "wrong",
        })
    }
}

/// One difference between the expected state and the found state.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The structure that differs.
    pub structure: Structure,
    /// The object that differs.
    pub subject: Subject,
    /// The expected content, as text.
    pub expected: String,
    /// The found content, as text.
    pub found: String,
    /// The kind of the difference.
    pub kind: DifferenceKind,
    /// The event whose absence or second presence explains the difference, if such an event exists.
    pub event: Option<EventId>,
}

impl Difference {
    /// A difference in the log or in a result of the database, which no event explains.
    pub(in crate::testing) fn of_log(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            structure: Structure::Log,
            subject: Subject::Database,
            expected: expected.into(),
            found: found.into(),
            kind: DifferenceKind::Wrong,
            event: None,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(event) = self.event {
            write!(f, "{event} ")?;
        }
        let Self {
            structure,
            subject,
            expected,
            found,
            kind,
            ..
        } = self;
        write!(
            f,
            "{kind} in the {structure}: {subject}: expected {expected}, found {found}"
        )
    }
}
