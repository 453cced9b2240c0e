//! The decision about a checkpoint, from the growth since the last checkpoint.
//!
//! A call that writes measures the growth twice: before its write, because it may have to wait, and after its write,
//! because the write itself adds to the growth. The checkpoint measures the growth again under its lock, because a
//! checkpoint of another thread may have ended in between.
//!
//! Invariant: a growth at which a call waits is a growth at which a checkpoint is due. In memory only: a crash leaves
//! nothing of it.

use crate::signals::checkpoint::Growth;
use crate::{Background, Error, Options};

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
                state_bytes: due.state_bytes * limits.state_growth_factor_max,
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

    /// The checkpoint that a call makes before it writes: the least growth for it, or `None` if the call needs no
    /// checkpoint. `growth` is the growth before the call, `adding_bytes` returns the most bytes of states that the
    /// call can add to it.
    ///
    /// # Errors
    /// The error of `adding_bytes`.
    pub(super) fn needed_before_write(
        &self,
        growth: Growth,
        adding_bytes: impl FnOnce() -> Result<u64, Error>,
    ) -> Result<Option<Growth>, Error> {
        if growth.reaches(self.wait) {
            return Ok(Some(self.wait));
        }
        // The batch of the next checkpoint must have room for the changes of this call too.
        let has_room = growth.state_bytes + adding_bytes()? <= self.state_bytes_max;
        Ok((!has_room).then_some(Growth::ANY))
    }

    /// Returns true if the checkpoint thread must make a checkpoint, given the growth after a call.
    pub(super) fn is_due_after_write(&self, growth: Growth) -> bool {
        growth.reaches(self.due)
    }
}
