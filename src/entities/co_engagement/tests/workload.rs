//! Random events from a seed. The few users and items exceed all bounds, and repeat often.

use super::super::CoEngagementIndex;
use crate::ids::{EntityId, UserId};
use crate::testing::model::co_engagement::CoEngagement;
use crate::testing::workload::Random;

#[derive(Debug, Clone, Copy)]
pub(super) enum EngagementCall {
    Positive {
        user: u64,
        item: u64,
        weight: f64,
        at_ms: i64,
    },
    ForgetItem(u64),
    ForgetUser(u64),
}

impl EngagementCall {
    pub(super) fn apply(self, index: &mut CoEngagementIndex) {
        match self {
            Self::Positive {
                user,
                item,
                weight,
                at_ms,
            } => {
                index.record_positive(UserId(user), EntityId(item), weight, at_ms);
            }
            Self::ForgetItem(item) => index.forget_item(EntityId(item), 1),
            Self::ForgetUser(user) => index.forget_user(UserId(user)),
        }
    }

    pub(super) fn apply_to_model(self, model: &mut CoEngagement) {
        match self {
            Self::Positive {
                user,
                item,
                weight,
                at_ms,
            } => model.record(UserId(user), EntityId(item), weight, at_ms),
            Self::ForgetItem(item) => model.forget_item(EntityId(item)),
            Self::ForgetUser(user) => model.forget_user(UserId(user)),
        }
    }
}

#[derive(Debug)]
pub(super) struct EngagementWorkload {
    random: Random,
    now_ms: i64,
    /// On average, one of this number of calls forgets an item.
    forgets_one_in: u64,
}

impl EngagementWorkload {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            now_ms: -20_000,
            forgets_one_in: 60,
        }
    }

    /// A workload in which one of four calls forgets an item.
    pub(super) fn forgetful(seed: u64) -> Self {
        Self {
            forgets_one_in: 4,
            ..Self::new(seed)
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// All items that an event may have.
    pub(super) fn items() -> impl Iterator<Item = u64> {
        (0..20).chain([u64::MAX])
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    pub(super) fn next(&mut self) -> EngagementCall {
        let item = match self.below(21) {
            20 => u64::MAX,
            item => item,
        };
        let user = self.below(8);
        match self.below(self.forgets_one_in) {
            0 => return EngagementCall::ForgetItem(item),
            1 => return EngagementCall::ForgetUser(user),
            _ => {}
        }
        self.now_ms += self.below(400) as i64;
        let at_ms = match self.below(10) {
            0 => self.now_ms - self.below(30_000) as i64,
            1 => self.now_ms.div_euclid(1000) * 1000,
            _ => self.now_ms,
        };
        let weight = match self.below(12) {
            0 => 0.0,
            1 => -2.0,
            2 => f64::NAN,
            3..=7 => 1.0,
            _ => 0.5 + self.below(1000) as f64 / 300.0,
        };
        EngagementCall::Positive {
            user,
            item,
            weight,
            at_ms,
        }
    }
}
