//! Other bounds for an index that holds a state.
//!
//! A later state follows from the events and the bounds that were in force at each, so a checkpoint has to be made
//! before the next event, and stored together with the bounds: frames recorded under the old ones must not be replayed
//! under the new ones.

use super::CoEngagementIndex;
use crate::schema::CoEngagementConfig;

impl CoEngagementIndex {
    /// Replaces the bounds, and drops the records and edges beyond them, which depend on the state alone.
    ///
    /// - Over `users_max` and `nodes_max` the user and the item without an event for longest goes, as after an event.
    /// - Over `ring_len_max` a user's oldest items go.
    /// - Over `degree_max` an item's lightest edges go, of equally light ones those to the largest ids. No other edge
    ///   takes over their weight, as there is no newcomer.
    ///
    /// To be called between events, with a valid configuration of the same half-life. Every changed or removed record is part
    /// of the next checkpoint.
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
                self.users.resized(before, ring_len_max, ring_len_max);
            }
        }
        let degree_max = config.degree_max as usize;
        for item in self.nodes.ids_where(|node| node.edges.len() > degree_max) {
            if let Some(node) = self.nodes.change(item) {
                let before = node.record.edges.len();
                node.record.drop_lightest(degree_max);
                self.nodes.resized(before, degree_max, degree_max);
            }
        }
    }
}
