//! The bounds and the half-life of co-engagement. Part of the persisted schema; the docs of [`schema`](super) list the
//! states after a crash.

use crate::Error;
use crate::limits::{
    CO_ENGAGEMENT_DEGREE_MAX, CO_ENGAGEMENT_RECORDS_MAX, CO_ENGAGEMENT_RING_LEN_MAX, DURATION_MS_MAX,
};

/// The bounds of co-engagement: memory is at most about
/// `users_max * (8 * ring_len_max + 100) + nodes_max * (16 * (degree_max + ring_len_max) + 100)` bytes.
///
/// Two databases with the same events but different bounds hold different state, so the bounds are part of the
/// persisted schema. The half-life cannot change. An open may change every other field. Lower bounds remove the users
/// and items with the oldest last event, the oldest items of a user and the lightest edges of an item. Higher bounds
/// restore nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoEngagementConfig {
    /// Items: the most recent distinct positive items of a user. Default 32, minimum 1, maximum
    /// [`CO_ENGAGEMENT_RING_LEN_MAX`]. Each new item is linked with all of them, so the cost of an event grows with
    /// this number.
    pub ring_len_max: u32,
    /// Edges: the most related items of an item. Default 64, minimum 1, maximum [`CO_ENGAGEMENT_DEGREE_MAX`].
    pub degree_max: u32,
    /// Milliseconds: after this time an edge has half of its weight. Default 7 days, minimum 1, maximum
    /// [`DURATION_MS_MAX`].
    pub half_life_ms: u64,
    /// Users: the most users with recent items. One more user removes the user with the oldest last positive event.
    /// Default 1,000,000, minimum 1, maximum [`CO_ENGAGEMENT_RECORDS_MAX`].
    pub users_max: u64,
    /// Items: the most items with edges. One more item removes the edges of the item with the oldest last positive
    /// event. Default 1,000,000, minimum 1, maximum [`CO_ENGAGEMENT_RECORDS_MAX`].
    pub nodes_max: u64,
}

impl Default for CoEngagementConfig {
    /// The defaults in the documentation of the fields. From the first release on they never change: a program that
    /// takes some fields from here sets all of them, and an open with another half-life fails.
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl CoEngagementConfig {
    pub(crate) const DEFAULT: Self = Self {
        ring_len_max: 32,
        degree_max: 64,
        half_life_ms: 7 * 86_400_000,
        users_max: 1_000_000,
        nodes_max: 1_000_000,
    };

    /// Checks that every field is within its bounds.
    ///
    /// # Errors
    /// `Error::InvalidInput` names a field that is zero. `Error::LimitExceeded` names a field that is over its maximum.
    pub fn validate(&self) -> Result<(), Error> {
        let bounds = [
            (
                "co-engagement ring_len_max",
                u64::from(self.ring_len_max),
                u64::from(CO_ENGAGEMENT_RING_LEN_MAX),
            ),
            (
                "co-engagement degree_max",
                u64::from(self.degree_max),
                u64::from(CO_ENGAGEMENT_DEGREE_MAX),
            ),
            ("co-engagement half_life_ms", self.half_life_ms, DURATION_MS_MAX),
            (
                "co-engagement users_max",
                self.users_max,
                CO_ENGAGEMENT_RECORDS_MAX,
            ),
            (
                "co-engagement nodes_max",
                self.nodes_max,
                CO_ENGAGEMENT_RECORDS_MAX,
            ),
        ];
        for (what, found, limit) in bounds {
            if found == 0 {
                return Err(Error::invalid(what, found, "it must be at least 1"));
            }
            if found > limit {
                return Err(Error::LimitExceeded { what, limit, found });
            }
        }
        Ok(())
    }
}
