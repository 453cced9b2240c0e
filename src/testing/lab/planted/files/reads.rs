//! Reads that do not give what is there, do not end, or end the process.

use std::io;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::{FileBug, Role, Target};
use crate::fs::{FileAccess, OpenMode};
use crate::testing::lab::planted::{Acts, PlantedBug};

pub(super) fn make(bug: PlantedBug, acts: &Acts) -> Option<Arc<dyn FileBug>> {
    let acts = acts.clone();
    let at_leftover = |then| AtLeftover {
        then,
        acts: acts.clone(),
    };
    Some(match bug {
        PlantedBug::ReadErrorAsEnd => Arc::new(ReadErrorAsEnd { acts }),
        PlantedBug::StaleRead => Arc::new(StaleRead { acts }),
        PlantedBug::LeftoverPanics => Arc::new(at_leftover(Then::Panic)),
        PlantedBug::LeftoverHangs => Arc::new(at_leftover(Then::Hang)),
        _ => return None,
    })
}

/// How far the disk can read the last segment.
const READABLE_BYTES: u64 = 300;

/// A segment cannot be read beyond some offset, and that error is shown as the end of the file.
#[derive(Debug)]
struct ReadErrorAsEnd {
    acts: Acts,
}

impl FileBug for ReadErrorAsEnd {
    fn read_at(&self, file: &Target, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if file.role() != Role::Segment || offset + (buffer.len() as u64) < READABLE_BYTES {
            return file.inner.read_at(buffer, offset);
        }
        if offset >= READABLE_BYTES {
            self.acts.count();
            return Ok(0);
        }
        file.inner
            .read_at(&mut buffer[..(READABLE_BYTES - offset) as usize], offset)
    }
}

/// A file of the store is read as it was when it was opened.
#[derive(Debug)]
struct StaleRead {
    acts: Acts,
}

impl FileBug for StaleRead {
    fn read_at(&self, file: &Target, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // When it was created it was empty. One that was there already is not written to in small runs.
        if file.role() == Role::StoreFile && file.mode == OpenMode::Create {
            self.acts.count();
            return Ok(0);
        }
        file.inner.read_at(buffer, offset)
    }
}

#[derive(Debug, Clone, Copy)]
enum Then {
    Panic,
    Hang,
}

/// Who finds a temporary file does not know what to do with it.
#[derive(Debug)]
struct AtLeftover {
    then: Then,
    acts: Acts,
}

impl FileBug for AtLeftover {
    fn list(&self, files: &dyn FileAccess, path: &Path) -> io::Result<Vec<String>> {
        let names = files.list(path)?;
        let role = |name: &String| Role::of(&path.join(name));
        if let Some(name) = names.iter().find(|name| role(name) == Role::NewSegment) {
            self.acts.count();
            match self.then {
                // As a panic, but for what it would print.
                Then::Panic => resume_unwind(Box::new(format!("nobody expects {name}"))),
                Then::Hang => loop {
                    thread::park();
                },
            }
        }
        Ok(names)
    }
}
