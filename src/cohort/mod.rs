//! Cohorts: the same aggregates as those of entities, for a part of the users.
//!
//! Owns the key of the states of a cohort; [`ledger`] applies events to them. In memory only: after a
//! crash the next open builds it again from the last checkpoint and the log.

pub(crate) mod ledger;
#[cfg(test)]
mod tests;

pub(crate) use ledger::CohortSignalLedger;

use crate::codec::{Reader, Write};
use crate::states::StateKey;
use crate::{CohortId, EntityId};

/// An entity within a cohort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct CohortEntity {
    pub(crate) cohort: CohortId,
    pub(crate) entity: EntityId,
}

impl StateKey for CohortEntity {
    const TAG: u8 = 0x20;

    fn entity(&self) -> EntityId {
        self.entity
    }

    #[inline]
    fn only_key_of(_: EntityId) -> Option<Self> {
        None
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_varint(self.cohort.0);
        out.put_varint(self.entity.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            cohort: CohortId(reader.varint()?),
            entity: EntityId(reader.varint()?),
        })
    }
}
