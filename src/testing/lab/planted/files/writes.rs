//! Writes that come late, out of order, in part, or not as they were asked for.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Every, FileBug, Role, Target};
use crate::fs::write_all_at;
use crate::testing::lab::planted::{Acts, PlantedBug};

pub(super) fn make(bug: PlantedBug, acts: &Acts) -> Option<Arc<dyn FileBug>> {
    let acts = acts.clone();
    let flipped = |of| BitFlipped {
        of,
        every: Every::one_in(3),
        acts: acts.clone(),
    };
    Some(match bug {
        PlantedBug::WriteDeferred => Arc::new(Deferred::new(When::BeforeSync, acts)),
        PlantedBug::WrittenAfterSync => Arc::new(Deferred::new(When::AfterSync, acts)),
        PlantedBug::WritesSwapped => Arc::new(Deferred::new(When::AfterTheNext, acts)),
        PlantedBug::ShortWriteHidden => Arc::new(ShortWriteHidden {
            every: Every::one_in(3),
            acts,
        }),
        PlantedBug::SegmentBitFlipped => Arc::new(flipped(Role::Segment)),
        PlantedBug::StoreBitFlipped => Arc::new(flipped(Role::StoreFile)),
        PlantedBug::DropSyncs => Arc::new(DropSyncs { acts }),
        _ => return None,
    })
}

/// When a write of a segment that was kept in memory is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    BeforeSync,
    AfterSync,
    /// And not later than before a sync.
    AfterTheNext,
}

/// Offsets and what is to be written there.
type Writes = Vec<(u64, Vec<u8>)>;

/// Writes of segments return before they are done.
#[derive(Debug)]
struct Deferred {
    when: When,
    /// By the id of the handle.
    kept: Mutex<BTreeMap<u64, Writes>>,
    acts: Acts,
}

impl Deferred {
    fn new(when: When, acts: Acts) -> Self {
        Self {
            when,
            kept: Mutex::default(),
            acts,
        }
    }

    fn write_kept(&self, file: &Target) -> io::Result<()> {
        let kept = self.take(file);
        kept.iter()
            .try_for_each(|(offset, bytes)| write_all_at(file.inner.as_ref(), bytes, *offset))
    }

    fn take(&self, file: &Target) -> Writes {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(&file.id).unwrap_or_default()
    }

    fn keep(&self, file: &Target, offset: u64, bytes: &[u8]) {
        self.acts.count();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(file.id).or_default().push((offset, bytes.to_vec()));
    }
}

impl FileBug for Deferred {
    fn write_at(&self, file: &Target, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if file.role() != Role::Segment {
            return file.inner.write_at(bytes, offset);
        }
        let kept = match self.when {
            When::AfterTheNext => self.take(file),
            When::BeforeSync | When::AfterSync => Vec::new(),
        };
        if kept.is_empty() {
            self.keep(file, offset, bytes);
        } else {
            write_all_at(file.inner.as_ref(), bytes, offset)?;
            for (offset, bytes) in kept {
                write_all_at(file.inner.as_ref(), &bytes, offset)?;
            }
        }
        Ok(bytes.len())
    }

    fn sync(&self, file: &Target) -> io::Result<()> {
        if self.when == When::AfterSync {
            file.inner.sync()?;
            return self.write_kept(file);
        }
        self.write_kept(file)?;
        file.inner.sync()
    }
}

/// Half of a write of a segment is done, and all of it reported.
#[derive(Debug)]
struct ShortWriteHidden {
    every: Every,
    acts: Acts,
}

impl FileBug for ShortWriteHidden {
    fn write_at(&self, file: &Target, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if file.role() == Role::Segment && bytes.len() > 1 && self.every.is_due() {
            self.acts.count();
            write_all_at(file.inner.as_ref(), &bytes[..bytes.len() / 2], offset)?;
            return Ok(bytes.len());
        }
        file.inner.write_at(bytes, offset)
    }
}

/// One bit of a write is wrong.
#[derive(Debug)]
struct BitFlipped {
    of: Role,
    every: Every,
    acts: Acts,
}

impl FileBug for BitFlipped {
    fn write_at(&self, file: &Target, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if file.role() == self.of && !bytes.is_empty() && self.every.is_due() {
            self.acts.count();
            let mut flipped = bytes.to_vec();
            flipped[bytes.len() / 2] ^= 0x10;
            return file.inner.write_at(&flipped, offset);
        }
        file.inner.write_at(bytes, offset)
    }
}

/// Closing a segment syncs it.
#[derive(Debug)]
struct DropSyncs {
    acts: Acts,
}

impl FileBug for DropSyncs {
    fn closing(&self, file: &Target) {
        if file.role() == Role::Segment {
            self.acts.count();
            // A destructor has nobody to tell.
            file.inner.sync().ok();
        }
    }
}
