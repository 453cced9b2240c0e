//! What a difference between two states is called.

use std::fmt;

use crate::{CohortId, EntityId, UserId};

/// An event by its place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The sequence number of its frame; 0 if nobody was told it.
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

/// Where a difference is.
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
    /// Which users and items co-engagement drops first at its limits.
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
            Self::Recency => "co-engagement order of dropping",
            Self::Log => "log",
        })
    }
}

/// What a difference is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// The state of an entity and a signal, of a cohort or of all.
    State {
        /// The cohort, or all.
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

/// What kind of wrong a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DifferenceKind {
    /// Something that is to be there is nowhere.
    Lost,
    /// An event counts twice.
    Doubled,
    /// An event, or the events of a frame, are in some structures or some states and not in others.
    Half,
    /// No single event explains it.
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

/// One difference between the state that was expected and the one that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Where.
    pub structure: Structure,
    /// Of what.
    pub subject: Subject,
    /// What was expected there, as text.
    pub expected: String,
    /// What was found there, as text.
    pub found: String,
    /// What kind of wrong it is.
    pub kind: DifferenceKind,
    /// The event whose absence or second presence explains it, if one does.
    pub event: Option<EventId>,
}

impl Difference {
    /// Something is wrong with the log or an answer of the database, which no event explains.
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
