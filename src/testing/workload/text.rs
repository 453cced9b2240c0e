//! The text of operations. Each operation is one token without white space, which parses back to the same operation.
//!
//! | operation | token |
//! |---|---|
//! | record | `record@NOW_MS:` and its events, joined by `+` |
//! | an event | `SIGNAL,ENTITY,AT_MS,WEIGHT`, then `,uUSER` if the event has a user, then `,cCOHORT` for each cohort |
//! | forget | `forget-entity:ENTITY`, `forget-user:USER` |
//! | collections | `create:NAME`, `delete:NAME`, `add:NAME,ENTITY`, `remove:NAME,ENTITY` |
//! | others | `sync`, `checkpoint` |
//! | reopening | `reopen:`, then the end of the session and the changes, see [`session`](mod@super::session) |
//!
//! Letters, digits, `-`, `_` and `.` of a name are written unchanged. Every other byte is written as `%` and two
//! hexadecimal digits. A weight is the shortest decimal number that parses back to the same `f64`.

use std::fmt;
use std::str::FromStr;

use super::session::parse_reopening;
use super::{Event, Operation, Workload};
use crate::{CohortId, EntityId, SignalId, UserId};

/// The error for a token that is no operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseOperationError {
    /// The token.
    pub token: String,
    /// The reason, as a clause.
    pub reason: &'static str,
}

impl fmt::Display for ParseOperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no operation: {}", self.token, self.reason)
    }
}

impl std::error::Error for ParseOperationError {}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (signal, entity, at_ms, weight) = (self.signal, self.entity, self.at_ms, self.weight);
        // The debug form of a number is short for very large and very small numbers too, and parses back exactly.
        write!(f, "{signal},{entity},{at_ms},{weight:?}")?;
        if let Some(user) = self.user {
            write!(f, ",u{user}")?;
        }
        self.cohorts.iter().try_for_each(|cohort| write!(f, ",c{cohort}"))
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { now_ms, events } => {
                write!(f, "record@{now_ms}:")?;
                joined(f, events, "+")
            }
            Self::ForgetEntity(entity) => write!(f, "forget-entity:{entity}"),
            Self::ForgetUser(user) => write!(f, "forget-user:{user}"),
            Self::CreateCollection(name) => write!(f, "create:{}", EscapedName(name)),
            Self::DeleteCollection(name) => write!(f, "delete:{}", EscapedName(name)),
            Self::AddToCollection(name, entity) => write!(f, "add:{},{entity}", EscapedName(name)),
            Self::RemoveFromCollection(name, entity) => write!(f, "remove:{},{entity}", EscapedName(name)),
            Self::Sync => f.write_str("sync"),
            Self::Checkpoint => f.write_str("checkpoint"),
            Self::Reopen(reopening) => reopening.fmt(f),
        }
    }
}

impl FromStr for Operation {
    type Err = ParseOperationError;

    fn from_str(token: &str) -> Result<Self, Self::Err> {
        operation(token).map_err(|reason| ParseOperationError {
            token: token.to_owned(),
            reason,
        })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(f, &self.operations, " ")
    }
}

impl FromStr for Workload {
    type Err = ParseOperationError;

    /// The operations of tokens separated by any white space, line ends included.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let operations: Result<_, _> = text.split_ascii_whitespace().map(str::parse).collect();
        operations.map(|operations| Self { operations })
    }
}

fn joined(f: &mut fmt::Formatter<'_>, all: &[impl fmt::Display], separator: &str) -> fmt::Result {
    for (index, one) in all.iter().enumerate() {
        let separator = if index == 0 { "" } else { separator };
        write!(f, "{separator}{one}")?;
    }
    Ok(())
}

/// The name of a collection, escaped for a token.
struct EscapedName<'a>(&'a [u8]);

impl fmt::Display for EscapedName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02x}")?;
            }
        }
        Ok(())
    }
}

fn operation(token: &str) -> Result<Operation, &'static str> {
    let (kind, rest) = match token.split_once(':') {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (token, None),
    };
    let entity = |text: &str| Ok(EntityId(number(text)?));
    let member = |text: &str| {
        let (text, id) = text.split_once(',').ok_or("a name and an entity are needed")?;
        Ok((name(text)?, entity(id)?))
    };
    match (kind, rest) {
        ("sync", None) => Ok(Operation::Sync),
        ("checkpoint", None) => Ok(Operation::Checkpoint),
        ("forget-entity", Some(id)) => entity(id).map(Operation::ForgetEntity),
        ("forget-user", Some(id)) => Ok(Operation::ForgetUser(UserId(number(id)?))),
        ("reopen", Some(text)) => parse_reopening(text).map(Operation::Reopen),
        ("create", Some(text)) => name(text).map(Operation::CreateCollection),
        ("delete", Some(text)) => name(text).map(Operation::DeleteCollection),
        ("add", Some(rest)) => member(rest).map(|(name, id)| Operation::AddToCollection(name, id)),
        ("remove", Some(rest)) => member(rest).map(|(name, id)| Operation::RemoveFromCollection(name, id)),
        _ => match (kind.strip_prefix("record@"), rest) {
            (Some(now_ms), Some(events)) => record(now_ms, events),
            _ => Err("the kind of operation is unknown"),
        },
    }
}

fn record(now_ms: &str, events: &str) -> Result<Operation, &'static str> {
    // A batch without events is also an operation. The database refuses it.
    let events = (!events.is_empty()).then(|| events.split('+').map(event));
    Ok(Operation::Record {
        now_ms: time(now_ms)?,
        events: events.into_iter().flatten().collect::<Result<_, _>>()?,
    })
}

fn event(text: &str) -> Result<Event, &'static str> {
    let mut parts = text.split(',');
    let mut next = || parts.next().ok_or("an event has at least four parts");
    let signal = SignalId(next()?.parse().map_err(|_| "a signal is a number up to 65535")?);
    let entity = EntityId(number(next()?)?);
    let at_ms = time(next()?)?;
    let weight = next()?.parse().map_err(|_| "a weight is a number")?;
    let mut event = Event {
        entity,
        signal,
        weight,
        at_ms,
        user: None,
        cohorts: Vec::new(),
    };
    for part in parts {
        if let Some(cohort) = part.strip_prefix('c') {
            event.cohorts.push(CohortId(number(cohort)?));
        } else if let Some(user) = part.strip_prefix('u')
            && event.user.is_none()
            && event.cohorts.is_empty()
        {
            event.user = Some(UserId(number(user)?));
        } else {
            return Err("after the weight comes at most one user, then cohorts");
        }
    }
    Ok(event)
}

fn time(text: &str) -> Result<i64, &'static str> {
    text.parse().map_err(|_| "a time is a whole number")
}

fn number(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "an id is a number up to 2^64 - 1")
}

fn name(text: &str) -> Result<Vec<u8>, &'static str> {
    const ESCAPE: &str = "a name is letters, digits, '-', '_', '.' and '%' with two hexadecimal digits";
    let mut bytes = text.bytes();
    let mut name = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(ESCAPE);
                };
                name.push((high * 16 + low) as u8);
            }
            b'-' | b'_' | b'.' => name.push(byte),
            _ if byte.is_ascii_alphanumeric() => name.push(byte),
            _ => return Err(ESCAPE),
        }
    }
    Ok(name)
}
