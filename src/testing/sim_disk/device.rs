//! The death of a device: when it dies, what its callers are told, and who goes on calling.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use super::operation::{DiskOperationKind, Side};

/// How many refused calls are kept; the others are counted.
const REFUSED_CALLS_MAX: usize = 1_000;

/// The error inside the [`io::Error`] of every call to a device that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceGone {
    /// What was refused.
    pub operation: DiskOperationKind,
}

impl DeviceGone {
    /// Whether `error`, or one that caused it, says that the device is gone.
    pub fn caused(error: &(dyn Error + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            if error.is::<Self>() {
                return true;
            }
            // The source of an `io::Error` is that of the error inside, not the error inside.
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        false
    }

    pub(super) fn new_error(operation: DiskOperationKind) -> io::Error {
        io::Error::other(Self { operation })
    }
}

impl fmt::Display for DeviceGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the device is gone: {} refused", self.operation)
    }
}

impl Error for DeviceGone {}

/// A call that was refused because the device was gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCall {
    /// Who called.
    pub thread: ThreadId,
    /// The thread's name, if it has one.
    pub thread_name: Option<String>,
    /// What was asked for.
    pub kind: DiskOperationKind,
    /// Of which file or directory.
    pub path: Arc<Path>,
    /// Whether the thread had by then been refused a call that changes something or makes something durable.
    pub already_refused: bool,
}

impl RefusedCall {
    /// Whether the thread had been told of the death and went on: a finding. Reading on is none.
    pub fn is_life_after_death(&self) -> bool {
        self.already_refused && self.kind.is_durable()
    }
}

impl fmt::Display for RefusedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.thread_name.as_deref().unwrap_or("unnamed");
        write!(
            f,
            "{} {} on thread {name} ({:?})",
            self.kind,
            self.path.display(),
            self.thread
        )?;
        if self.already_refused {
            f.write_str(", which had been refused before")?;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct Device {
    crash_at: Option<(u64, Side)>,
    gone: bool,
    pub refused: Vec<RefusedCall>,
    pub refused_len: u64,
    told: Vec<ThreadId>,
}

impl Device {
    pub(super) fn crash_at(&mut self, ordinal: u64, side: Side) {
        self.crash_at = Some((ordinal, side));
    }

    pub(super) fn crash_now(&mut self) {
        self.gone = true;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Dies if it is to die on this side of this operation. Then, or if it has died before, the call is refused.
    pub(super) fn pass(
        &mut self,
        ordinal: Option<u64>,
        side: Side,
        kind: DiskOperationKind,
        path: &Arc<Path>,
    ) -> io::Result<()> {
        self.gone |= ordinal.is_some_and(|ordinal| self.crash_at == Some((ordinal, side)));
        if !self.gone {
            return Ok(());
        }
        let current = thread::current();
        let already_refused = self.told.contains(&current.id());
        self.refused_len += 1;
        if self.refused.len() < REFUSED_CALLS_MAX {
            self.refused.push(RefusedCall {
                thread: current.id(),
                thread_name: current.name().map(Into::into),
                kind,
                path: path.clone(),
                already_refused,
            });
        }
        if kind.is_durable() && !already_refused {
            self.told.push(current.id());
        }
        Err(DeviceGone::new_error(kind))
    }
}
