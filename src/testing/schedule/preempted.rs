//! The steps before which a schedule preempts threads, and their conflicts with the steps of other threads.

use crate::testing::scheduler::{Step, StepAction, bit, id_can_differ};

/// The next step of a thread that is preempted.
#[derive(Clone)]
pub(super) struct PreemptedStep {
    /// The number of steps of all threads before it.
    pub(super) step: usize,
    pub(super) thread: usize,
    pub(super) action: StepAction,
    pub(super) object: u64,
    /// The number of steps of each thread before it.
    pub(super) steps_len: Vec<u64>,
}

impl PreemptedStep {
    fn conflicts_with(&self, step: &Step) -> bool {
        let releases = self.action.released(self.object) == Some(step.object);
        (step.object == self.object && self.action.is_affected_by(step.action))
            || (releases && step.action == StepAction::TryLock)
    }

    /// A wait uses two objects, and accesses are compared only with one. Accesses to an object that has other ids in other
    /// runs cannot be compared.
    pub(super) fn can_be_deferred(&self) -> bool {
        !matches!(self.action, StepAction::Wait { .. }) && !id_can_differ(self.object)
    }

    /// Returns true if another thread made a step before `end` whose order to the preempted step matters, or waits at
    /// `end` for the release by the preempted step. `steps` are those of the run.
    pub(super) fn has_conflict(&self, steps: &[Step], end: usize) -> bool {
        let between = &steps[self.step..end];
        if between.iter().any(|step| self.conflicts_with(step)) {
            return true;
        }
        let Some(released) = self.action.released(self.object) else {
            return false;
        };
        let mut seen = bit(self.thread);
        steps[end..].iter().any(|step| {
            let is_first = seen & bit(step.thread) == 0;
            seen |= bit(step.thread);
            is_first && step.object == released && step.action.waits_for_lock()
        })
    }
}
