//! The event: the input of a call that records.

use crate::{CohortId, EntityId, SignalId, UserId};

/// One engagement with one entity.
///
/// # Examples
/// ```
/// use tidaldb::{CohortId, EntityId, SignalEvent, SignalId, UserId};
/// let event = SignalEvent::new(SignalId(0), EntityId(7), 1_700_000_000_000)
///     .with_weight(2.0)
///     .with_user(UserId(42))
///     .with_cohorts(&[CohortId(3)]);
/// assert_eq!(event.weight, 2.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignalEvent<'a> {
    /// The entity that the user engaged with.
    pub entity: EntityId,
    /// The kind of engagement.
    pub signal: SignalId,
    /// The amount of engagement; dimensionless, with an absolute value of at most
    /// [`WEIGHT_ABS_MAX`](crate::limits::WEIGHT_ABS_MAX). Counts ignore it.
    pub weight: f64,
    /// The time of the engagement, in milliseconds since the Unix epoch. A time ahead of the database's clock is set
    /// back to the clock's time, or refused: see [`TidalDb::record`](crate::TidalDb::record).
    pub at_ms: i64,
    /// The user that engaged. An event without a user changes no co-engagement.
    pub user: Option<UserId>,
    /// The cohorts whose aggregates count this event too. A cohort that is listed twice counts it twice.
    pub cohorts: &'a [CohortId],
}

impl<'a> SignalEvent<'a> {
    /// An event of weight 1, without user and cohorts. `at_ms` is in milliseconds since the Unix epoch.
    pub fn new(signal: SignalId, entity: EntityId, at_ms: i64) -> Self {
        Self {
            entity,
            signal,
            weight: 1.0,
            at_ms,
            user: None,
            cohorts: &[],
        }
    }

    /// Sets the weight.
    #[must_use]
    pub fn with_weight(self, weight: f64) -> Self {
        Self { weight, ..self }
    }

    /// Sets the user.
    #[must_use]
    pub fn with_user(self, user: UserId) -> Self {
        Self {
            user: Some(user),
            ..self
        }
    }

    /// Sets the cohorts.
    #[must_use]
    pub fn with_cohorts(self, cohorts: &'a [CohortId]) -> Self {
        Self { cohorts, ..self }
    }
}
