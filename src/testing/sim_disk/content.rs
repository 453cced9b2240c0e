//! The bytes of a file, shared between disks and images until somebody changes them, with their hash kept.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::keyed;

#[derive(Clone, Default)]
pub(super) struct Content(Arc<Inner>);

#[derive(Clone, Default)]
struct Inner {
    bytes: Vec<u8>,
    hash: OnceLock<u128>,
}

impl Content {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Inner {
            bytes,
            hash: OnceLock::new(),
        }))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    pub(super) fn len(&self) -> u64 {
        self.0.bytes.len() as u64
    }

    pub(super) fn hash(&self) -> u128 {
        *self.0.hash.get_or_init(|| keyed::hash(&self.0.bytes))
    }

    /// Whether nothing was copied between the two. They may be equal without it.
    pub(super) fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn edit(&mut self) -> &mut Vec<u8> {
        let inner = Arc::make_mut(&mut self.0);
        inner.hash = OnceLock::new();
        &mut inner.bytes
    }

    /// Writes `bytes` at `offset`; a gap before it becomes zeros.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let start = offset as usize;
        let end = start + bytes.len();
        let content = self.edit();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(bytes);
    }

    pub(super) fn truncate(&mut self) {
        *self = Self::default();
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.is_shared_with(other) || self.bytes() == other.bytes()
    }
}

impl Eq for Content {}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, hash {:032x}", self.len(), self.hash())
    }
}
