//! What a child process tells its parent: one line for each thing, each in one write, so that what was said before a
//! death is heard after it.
//!
//! | line | meaning |
//! |---|---|
//! | `begin I` | the call of operation I is about to be made |
//! | `acknowledged I SEQUENCE` | it succeeded; the sequence number is `-` if it has none |
//! | `refused I KIND` | it failed and changed nothing: `exists` or `unknown`, of a collection; `ahead`, of an event |
//! | `failed I TEXT` | it failed otherwise |
//! | `parked POINT N` | a thread stands at the Nth crossing of the point and waits to be killed |
//! | `ended TEXT` | the child came to its end by itself |

use tidaldb::testing::workload::is_ahead_of_clock;
use tidaldb::{Error, Receipt};

use crate::harness::print;
use crate::outcome::Failure;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    Begin(usize),
    Acknowledged(usize, Option<u64>),
    Refused(usize, Refusal),
    Failed(usize, String),
    Parked(String),
    Ended(String),
}

/// Why a call changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    CollectionExists,
    UnknownCollection,
    AheadOfClock,
}

impl Line {
    /// How the call of operation `index` ended.
    pub(crate) fn of_result(index: usize, result: &Result<Option<Receipt>, Error>) -> Self {
        match result {
            Ok(receipt) => Self::Acknowledged(index, receipt.map(|receipt| receipt.sequence)),
            Err(Error::CollectionExists { .. }) => Self::Refused(index, Refusal::CollectionExists),
            Err(Error::UnknownCollection { .. }) => Self::Refused(index, Refusal::UnknownCollection),
            Err(error) if is_ahead_of_clock(error) => Self::Refused(index, Refusal::AheadOfClock),
            Err(error) => Self::Failed(
                index,
                Failure::of("it failed", error).to_string().replace('\n', " "),
            ),
        }
    }

    /// Says it to the parent.
    pub(crate) fn say(&self) {
        print(&match self {
            Self::Begin(index) => format!("begin {index}\n"),
            Self::Acknowledged(index, Some(sequence)) => format!("acknowledged {index} {sequence}\n"),
            Self::Acknowledged(index, None) => format!("acknowledged {index} -\n"),
            Self::Refused(index, Refusal::CollectionExists) => format!("refused {index} exists\n"),
            Self::Refused(index, Refusal::UnknownCollection) => format!("refused {index} unknown\n"),
            Self::Refused(index, Refusal::AheadOfClock) => format!("refused {index} ahead\n"),
            Self::Failed(index, text) => format!("failed {index} {text}\n"),
            Self::Parked(text) => format!("parked {text}\n"),
            Self::Ended(text) => format!("ended {text}\n"),
        });
    }

    /// Reads what [`say`](Self::say) wrote.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ')?;
        let mut parts = rest.splitn(2, ' ');
        let mut index = || parts.next()?.parse().ok();
        match kind {
            "begin" => Some(Self::Begin(index()?)),
            "acknowledged" => {
                let index = index()?;
                let sequence = match parts.next()? {
                    "-" => None,
                    sequence => Some(sequence.parse().ok()?),
                };
                Some(Self::Acknowledged(index, sequence))
            }
            "refused" => {
                let index = index()?;
                let refusal = match parts.next()? {
                    "exists" => Refusal::CollectionExists,
                    "unknown" => Refusal::UnknownCollection,
                    "ahead" => Refusal::AheadOfClock,
                    _ => return None,
                };
                Some(Self::Refused(index, refusal))
            }
            "failed" => Some(Self::Failed(
                index()?,
                parts.next().unwrap_or_default().to_owned(),
            )),
            "parked" => Some(Self::Parked(rest.to_owned())),
            "ended" => Some(Self::Ended(rest.to_owned())),
            _ => None,
        }
    }
}

impl Refusal {
    /// An error that says the same.
    pub(crate) fn to_error(self) -> Error {
        let name = String::new();
        match self {
            Self::CollectionExists => Error::CollectionExists { name },
            Self::UnknownCollection => Error::UnknownCollection { name },
            Self::AheadOfClock => Error::InvalidInput {
                field: "at_ms",
                value: "too far ahead of the clock".to_owned(),
                reason: "as the child process says",
            },
        }
    }
}
