//! How much co-engagement is kept, and for how long. Part of the persisted schema.

use crate::Error;
use crate::limits::{
    CO_ENGAGEMENT_DEGREE_MAX, CO_ENGAGEMENT_RECORDS_MAX, CO_ENGAGEMENT_RING_LEN_MAX, DURATION_MS_MAX,
};

/// The bounds of co-engagement: memory is at most about
/// `users_max * (8 * ring_len_max + 100) + nodes_max * (16 * (degree_max + ring_len_max) + 100)` bytes.
///
/// Two databases with the same events but different bounds hold different state, so they are part of the
/// persisted schema. The half-life cannot change. An open may change every other field. Lower bounds remove the users and
/// items with the oldest last event, the oldest items of a user and the lightest edges of an item. Higher bounds restore
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoEngagementConfig {
    /// Items; how many recent distinct positive items are kept per user. Default 32, minimum 1, maximum
    /// [`CO_ENGAGEMENT_RING_LEN_MAX`]. Each new item is linked with all of them, so it is also the price of an event.
    pub ring_len_max: u32,
    /// Edges; how many related items are kept per item. Default 64, minimum 1, maximum
    /// [`CO_ENGAGEMENT_DEGREE_MAX`].
    pub degree_max: u32,
    /// Milliseconds; after this time an edge weighs half. Default 7 days, minimum 1, maximum [`DURATION_MS_MAX`].
    pub half_life_ms: u64,
    /// Users; how many rings are kept. One more, and the user who has been without a positive event for longest is
    /// dropped. Default 1,000,000, minimum 1, maximum [`CO_ENGAGEMENT_RECORDS_MAX`].
    pub users_max: u64,
    /// Items; how many have edges. One more, and the item that has been without a positive event of its own for
    /// longest loses its edges. Default 1,000,000, minimum 1, maximum [`CO_ENGAGEMENT_RECORDS_MAX`].
    pub nodes_max: u64,
}

impl Default for CoEngagementConfig {
    /// The values that the fields' documentation names. From the first release on they never change: a program that takes
    /// some fields from here sets all of them, and must go on to open its database.
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

    /// Whether every field is within its bounds.
    ///
    /// # Errors
    /// `Error::InvalidInput` names a field that is zero, `Error::LimitExceeded` one that is over its maximum.
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
                return Err(Error::invalid(what, found, "must be at least 1"));
            }
            if found > limit {
                return Err(Error::LimitExceeded { what, limit, found });
            }
        }
        Ok(())
    }
}
