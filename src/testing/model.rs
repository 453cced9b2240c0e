//! The naive model: what a database must hold after a sequence of operations, by the documented rules alone.

mod difference;

pub use difference::{CoEngagementPart, Difference, EventId, Fault, Structure, Subject, Tier};

use super::workload::Operation;
use crate::{Export, Schema};

/// What a database of a schema holds after some operations.
#[derive(Debug, Clone)]
pub struct Model {
    schema: Schema,
}

impl Model {
    /// An empty database.
    pub fn new(schema: &Schema) -> Self {
        Self {
            schema: schema.clone(),
        }
    }

    /// Applies an operation that succeeded.
    pub fn apply(&mut self, operation: &Operation) {
        drop(operation.clone());
    }

    /// What a database would export.
    pub fn export(&self) -> Export {
        Export::default()
    }

    /// Whether `found` is this state.
    pub fn matches(&self, found: &Export) -> bool {
        self.compare(found).is_empty()
    }

    /// How `found` differs from this state.
    pub fn compare(&self, _found: &Export) -> Vec<Difference> {
        Vec::new()
    }
}
