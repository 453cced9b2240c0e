//! The frames that a state is after.
//!
//! States along a workload share one list: each of them is after a beginning of it. A list of its own for each state would
//! take memory and time in the square of the workload's length. Invariant: `len` is at most the list's.

use std::sync::Arc;

use crate::testing::workload::Operation;

/// A beginning of a list that states may share.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    frames: Arc<Vec<Arc<Operation>>>,
    len: usize,
}

impl History {
    /// Nothing yet, of a list of what is expected.
    pub(super) fn beginning(frames: Arc<Vec<Arc<Operation>>>) -> Self {
        Self { frames, len: 0 }
    }

    /// In order.
    pub(super) fn frames(&self) -> &[Arc<Operation>] {
        &self.frames[..self.len]
    }

    /// Goes on by a frame: along the list if it is the next one there, else in a list of its own.
    pub(super) fn push(&mut self, frame: &Arc<Operation>) {
        let is_next = self
            .frames
            .get(self.len)
            .is_some_and(|next| Arc::ptr_eq(next, frame));
        if !is_next {
            let own = Arc::make_mut(&mut self.frames);
            own.truncate(self.len);
            own.push(Arc::clone(frame));
        }
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EntityId;

    fn frames(entities: &[u64]) -> Vec<Arc<Operation>> {
        let forget = |&entity: &u64| Arc::new(Operation::ForgetEntity(EntityId(entity)));
        entities.iter().map(forget).collect()
    }

    #[test]
    fn a_state_that_follows_the_list_shares_it_and_one_that_leaves_it_does_not_change_it() {
        let expected = Arc::new(frames(&[1, 2, 3]));
        let mut follower = History::beginning(Arc::clone(&expected));
        assert_eq!(follower.frames(), []);
        follower.push(&expected[0]);
        follower.push(&expected[1]);
        assert_eq!(follower.frames(), &expected[..2]);
        assert!(Arc::ptr_eq(&follower.frames, &expected));

        // Equal to the third one, and not it: a call of its own.
        let others = frames(&[3, 4]);
        let mut leaver = follower.clone();
        leaver.push(&others[0]);
        leaver.push(&others[1]);
        assert_eq!(leaver.frames(), [&expected[..2], &others[..]].concat());
        assert!(Arc::ptr_eq(&leaver.frames()[2], &others[0]));
        assert_eq!((follower.frames().len(), expected.len()), (2, 3));
        assert_eq!(*expected, frames(&[1, 2, 3]));
    }
}
