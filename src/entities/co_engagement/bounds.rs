//! New bounds for an index that has a state.
//!
//! The state depends on the bounds at each event, and replay must apply a frame under the bounds of its recording. So
//! the caller makes a checkpoint before the next event, and stores the new bounds in its batch. A crash leaves the old
//! bounds with the old state, or both new ones.

use super::CoEngagementIndex;
use crate::schema::CoEngagementConfig;

impl CoEngagementIndex {
    /// Replaces the bounds, and drops the records and edges beyond them. The dropped ones depend on the state alone.
    ///
    /// - Over `users_max` and `nodes_max`, the user and the item with the oldest last touch are dropped, as after an
    ///   event.
    /// - Over `ring_len_max`, the oldest items of a user are dropped.
    /// - Over `degree_max`, the lightest edges of an item are dropped; of equally light edges those to the largest ids.
    ///   No other edge takes over their weight, because no new edge replaces them.
    ///
    /// The caller calls this between two events, with a valid configuration of the same half-life. Every changed or
    /// removed record is part of the next checkpoint.
    pub(crate) fn set_bounds(&mut self, config: CoEngagementConfig) {
        debug_assert_eq!(
            config.half_life_ms, self.config.half_life_ms,
            "weights are relative to the half-life"
        );
        self.config = config;
        self.remove_forgotten(usize::MAX);
        self.users.drop_oldest(config.users_max);
        self.nodes.drop_oldest(config.nodes_max);
        let ring_len_max = config.ring_len_max as usize;
        for user in self.users.ids_where(|ring| ring.items().len() > ring_len_max) {
            if let Some(ring) = self.users.change(user) {
                let before = ring.record.items().len();
                ring.record.drop_oldest(ring_len_max);
                self.users.note_resize(before, ring_len_max, ring_len_max);
            }
        }
        let degree_max = config.degree_max as usize;
        for item in self.nodes.ids_where(|node| node.edges.len() > degree_max) {
            if let Some(node) = self.nodes.change(item) {
                let before = node.record.edges.len();
                node.record.drop_lightest(degree_max);
                self.nodes.note_resize(before, degree_max, degree_max);
            }
        }
    }
}
