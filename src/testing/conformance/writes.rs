//! The writes of a workload. Each write leaves its own mark, so the oracle can find the writes that are present in
//! a content, and compare the content with the effect of exactly these writes.

use std::collections::BTreeMap;
use std::fmt;

use crate::Error;
use crate::storage::{BatchOperation, StorageEngine, WriteBatch};
use crate::testing::workload::Random;

/// A naive store.
pub(super) type KeyValues = BTreeMap<Vec<u8>, Vec<u8>>;

/// The call and the size of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteShape {
    /// A batch of some hundred bytes, with several operations on one key.
    Batch,
    /// A single put.
    Put,
    /// A single delete of a key that the batch before it put for this purpose.
    Delete,
    /// A batch of tens of kilobytes, more than an engine usually buffers.
    LargeBatch,
    /// A single put of tens of kilobytes.
    LargePut,
}

impl WriteShape {
    const ALL: [(Self, &str); 5] = [
        (Self::Batch, "batch"),
        (Self::Put, "put"),
        (Self::Delete, "delete"),
        (Self::LargeBatch, "large-batch"),
        (Self::LargePut, "large-put"),
    ];

    /// The shape that prints as `text`.
    pub(super) fn named(text: &str) -> Option<Self> {
        let shape = Self::ALL.iter().find(|(_, name)| *name == text);
        shape.map(|(shape, _)| *shape)
    }
}

impl fmt::Display for WriteShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(shape, _)| shape == self);
        f.pad(name.map_or("", |(_, name)| name))
    }
}

/// The presence of a write in a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Present,
    Missing,
    /// The write has no effect, because the key that it deletes is missing anyway.
    NoEffect,
}

/// One write.
#[derive(Debug, Clone)]
pub(super) struct MarkedWrite {
    pub(super) index: usize,
    pub(super) shape: WriteShape,
    batch: WriteBatch,
}

impl MarkedWrite {
    pub(super) fn new(index: usize, shape: WriteShape) -> Self {
        let mut batch = WriteBatch::new();
        let mut random = Random::new(index as u64);
        let mut value = |len: usize| random.bytes(len);
        match shape {
            WriteShape::Put => batch.put(mark(index), value(60)),
            WriteShape::LargePut => batch.put(mark(index), value(40_000)),
            WriteShape::Delete => batch.delete(spare(index)),
            WriteShape::Batch | WriteShape::LargeBatch => {
                let (own_len, own_bytes) = match shape {
                    WriteShape::Batch => (2, [30, 600][index / 2 % 2]),
                    _ => (24, 1_600),
                };
                batch.put("temporary", index.to_string());
                batch.delete(shared(index));
                batch.put(mark(index), index.to_string());
                for number in 0..own_len {
                    batch.put(own(index, number), value(own_bytes));
                }
                batch.put(shared(index), "not the last");
                batch.put(shared(index), index.to_string());
                batch.put(spare(index + 1), "");
                if let Some(earlier) = index.checked_sub(4) {
                    batch.delete(own(earlier, 0));
                }
                batch.delete("temporary");
            }
        }
        Self { index, shape, batch }
    }

    /// The write with this index in a workload of small writes.
    pub(super) fn small(index: usize) -> Self {
        let shape = match index % 4 {
            1 => WriteShape::Put,
            3 => WriteShape::Delete,
            _ => WriteShape::Batch,
        };
        Self::new(index, shape)
    }

    /// Makes the write by the call of its shape.
    pub(super) fn run(&self, engine: &dyn StorageEngine) -> Result<(), Error> {
        match (self.shape, self.batch.operations()) {
            (WriteShape::Put | WriteShape::LargePut, [BatchOperation::Put { key, value }]) => {
                engine.put(key, value)
            }
            (WriteShape::Delete, [BatchOperation::Delete { key }]) => engine.delete(key),
            _ => engine.write_batch(self.batch.clone()),
        }
    }

    /// Applies the write to a map.
    pub(super) fn apply(&self, pairs: &mut KeyValues) {
        apply(pairs, &self.batch);
    }

    /// The presence of the write in `found`. `before` is the index, the shape and the presence of the write before it.
    pub(super) fn presence(
        &self,
        found: &KeyValues,
        before: Option<(usize, WriteShape, Presence)>,
    ) -> Presence {
        let is_present = match (self.shape, before) {
            (
                WriteShape::Delete,
                Some((index, WriteShape::Batch | WriteShape::LargeBatch, Presence::Present)),
            ) if index + 1 == self.index => !found.contains_key(&spare(self.index)),
            (WriteShape::Delete, _) => return Presence::NoEffect,
            _ => found.contains_key(&mark(self.index)),
        };
        if is_present {
            Presence::Present
        } else {
            Presence::Missing
        }
    }

    /// The number of bytes of its keys and values.
    pub(super) fn bytes_len(&self) -> usize {
        let len = |operation: &BatchOperation| match operation {
            BatchOperation::Put { key, value } => key.len() + value.len(),
            BatchOperation::Delete { key } => key.len(),
        };
        self.batch.operations().iter().map(len).sum()
    }
}

/// Applies a batch to a map.
pub(super) fn apply(pairs: &mut KeyValues, batch: &WriteBatch) {
    for operation in batch.operations().iter().cloned() {
        match operation {
            BatchOperation::Put { key, value } => pairs.insert(key, value),
            BatchOperation::Delete { key } => pairs.remove(&key),
        };
    }
}

impl fmt::Display for MarkedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write {} ({})", self.index, self.shape)
    }
}

fn mark(index: usize) -> Vec<u8> {
    format!("mark/{index:06}").into_bytes()
}

fn own(index: usize, number: usize) -> Vec<u8> {
    format!("own/{index:06}/{number}").into_bytes()
}

fn shared(index: usize) -> Vec<u8> {
    format!("shared/{}", index % 3).into_bytes()
}

fn spare(index: usize) -> Vec<u8> {
    format!("spare/{index:06}").into_bytes()
}
