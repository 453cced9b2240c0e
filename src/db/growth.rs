//! The decision about a checkpoint, from the growth since the last checkpoint.
//!
//! A call that writes measures the growth once, before its write. So a checkpoint that becomes due by a call begins at the
//! next call that writes. The checkpoint measures the growth again under its lock, because a checkpoint of another thread
//! may have ended in between.
//!
//! Invariant: at the growth `wait` a checkpoint is due. A call waits at less growth too, if the batch of the next
//! checkpoint has no room for its changes. In memory only: a crash leaves nothing of it.

use crate::signals::checkpoint::Growth;
use crate::{Background, Error, Options};

/// The checkpoint that a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NeededCheckpoint {
    /// No checkpoint is due.
    None,
    /// A checkpoint is due. The call need not wait for it.
    Soon,
    /// The call must wait for a checkpoint, unless the growth no longer [reaches](Growth::reaches) this one when
    /// the checkpoint begins.
    First(Growth),
}

/// The limits of the growth. They do not change while the handle is open.
#[derive(Debug)]
pub(super) struct GrowthLimits {
    /// A checkpoint is due.
    due: Growth,
    /// Calls that write wait for the checkpoint. The same as `due` if the caller does the background work.
    wait: Growth,
    /// The most bytes of states in the batch of one checkpoint.
    state_bytes_max: u64,
}

impl GrowthLimits {
    pub(super) fn new(options: &Options) -> Self {
        let limits = &options.limits;
        let due = Growth {
            log_bytes: options.checkpoint_log_bytes,
            state_bytes: options.checkpoint_state_bytes,
            segments_len: limits.sealed_segments_len_max,
        };
        let wait = match options.background {
            Background::Caller => due,
            Background::OwnThreads => Growth {
                log_bytes: due.log_bytes.saturating_mul(limits.log_growth_factor_max),
                state_bytes: due.state_bytes.saturating_mul(limits.state_growth_factor_max),
                segments_len: due.segments_len.saturating_mul(limits.log_growth_factor_max),
            },
        };
        Self {
            due,
            wait,
            state_bytes_max: limits.changed_state_bytes_max,
        }
    }

    /// The growth at which a checkpoint is due.
    pub(super) fn due(&self) -> Growth {
        self.due
    }

    /// The checkpoint that a call needs. `growth` is the growth before the call, `adding_bytes` returns the most bytes of
    /// states that the call can add to it.
    ///
    /// # Errors
    /// The error of `adding_bytes`.
    pub(super) fn needed_checkpoint(
        &self,
        growth: Growth,
        adding_bytes: impl FnOnce() -> Result<u64, Error>,
    ) -> Result<NeededCheckpoint, Error> {
        if growth.reaches(self.wait) {
            return Ok(NeededCheckpoint::First(self.wait));
        }
        // The batch of the next checkpoint must have room for the changes of this call too.
        if growth.state_bytes + adding_bytes()? > self.state_bytes_max {
            return Ok(NeededCheckpoint::First(Growth::ANY));
        }
        Ok(if growth.reaches(self.due) {
            NeededCheckpoint::Soon
        } else {
            NeededCheckpoint::None
        })
    }
}
