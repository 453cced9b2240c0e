//! Shrinking: a failing case with fewer operations, events and crossings that goes wrong in the same way.
//!
//! Operations are removed by delta debugging (Zeller, Hildebrandt, IEEE TSE 2002). What a smaller work is tried with is a
//! sweep of its own, which finds the first crash that fails in the same way: so its crossing is the lowest.

use std::time::{Duration, Instant};

use super::bounds::{Bounds, now};
use super::finding::FailureKind;
use super::phases::first_failing;
use super::setup::Setup;
use crate::testing::plan::{Plan, Work};
use crate::testing::workload::{Operation, Workload};

/// How many sweeps are made at most.
const TRIES_MAX: usize = 200;
/// How long shrinking one case may take.
const SHRINK_TIME: Duration = Duration::from_secs(20);

/// A smaller case, if one is found.
pub(crate) fn shrink(setup: &Setup, plan: &Plan, kind: FailureKind) -> Option<Plan> {
    // A case that hangs cannot be tried again and again.
    if kind == FailureKind::Hang {
        return None;
    }
    let workload = plan.work.workload()?;
    let mut shrinker = Shrinker {
        setup,
        plan,
        kind,
        tries_left: TRIES_MAX,
        started: now(),
        smallest: None,
    };
    let fewer = shrinker.minimise(workload.operations, |operations| operations);
    shrinker.thin_batches(fewer);
    shrinker.smallest
}

struct Shrinker<'a> {
    setup: &'a Setup,
    plan: &'a Plan,
    kind: FailureKind,
    tries_left: usize,
    started: Instant,
    smallest: Option<Plan>,
}

impl Shrinker<'_> {
    /// Whether this work fails in the same way; keeps the case if it does.
    fn fails(&mut self, operations: Vec<Operation>) -> bool {
        if self.tries_left == 0 || now().duration_since(self.started) >= SHRINK_TIME {
            return false;
        }
        self.tries_left -= 1;
        let plan = Plan {
            work: Work::Operations(Workload { operations }),
            ..self.plan.clone()
        };
        let bounds = Bounds {
            images_max: 16,
            depth: (plan.crashes.len() as u32).saturating_sub(1),
            nested_max: 64,
            ..Bounds::default().quick()
        };
        let Some(found) = first_failing(&self.setup.for_plan(&plan), &bounds, self.kind) else {
            return false;
        };
        self.smallest = Some(Plan {
            crashes: found.crashes,
            ..plan
        });
        true
    }

    /// Removes parts, halves first, as long as what is left fails.
    fn minimise<T: Clone>(
        &mut self,
        mut items: Vec<T>,
        operations: impl Fn(Vec<T>) -> Vec<Operation>,
    ) -> Vec<T> {
        let mut part_len = items.len().div_ceil(2);
        while part_len > 0 {
            let mut start = 0;
            let mut removed = false;
            while start < items.len() {
                let mut rest = items.clone();
                rest.drain(start..items.len().min(start + part_len));
                if self.fails(operations(rest.clone())) {
                    items = rest;
                    removed = true;
                } else {
                    start += part_len;
                }
            }
            if part_len > 1 {
                part_len = part_len.div_ceil(2);
            } else if !removed {
                break;
            }
        }
        items
    }

    /// Removes events from the batches.
    fn thin_batches(&mut self, mut operations: Vec<Operation>) {
        for index in 0..operations.len() {
            let Operation::Record { now_ms, events } = operations[index].clone() else {
                continue;
            };
            if events.len() < 2 {
                continue;
            }
            let others = operations.clone();
            let events = self.minimise(events, |events| {
                let mut operations = others.clone();
                operations[index] = Operation::Record { now_ms, events };
                operations
            });
            operations[index] = Operation::Record { now_ms, events };
        }
    }
}
