//! Shrinking: finds a case with fewer operations, events and crossings that fails in the same way.
//!
//! Operations are removed by delta debugging (Zeller, Hildebrandt, IEEE TSE 2002). For each smaller workload a separate
//! sweep finds the first crash that fails in the same way. So the crossing is the lowest one.

use std::time::{Duration, Instant};

use super::bounds::{Bounds, now};
use super::finding::FailureKind;
use super::phases::find_first_failure;
use super::setup::Setup;
use crate::testing::plan::{Plan, Work};
use crate::testing::workload::{Operation, Workload};

/// The largest number of sweeps to shrink one case.
const TRIES_MAX: usize = 200;
/// The longest time to shrink one case.
const SHRINK_TIME: Duration = Duration::from_secs(20);

/// A smaller case, if one is found.
pub(crate) fn shrink(setup: &Setup, plan: &Plan, kind: FailureKind) -> Option<Plan> {
    // Each try of a case that hangs would take the whole time of a case.
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
    shrinker.remove_events(fewer);
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
    /// Returns true if this work fails in the same way. Then the failing case becomes the smallest case.
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
        let Some(found) = find_first_failure(&self.setup.for_plan(&plan), &bounds, self.kind) else {
            return false;
        };
        self.smallest = Some(Plan {
            crashes: found.crashes,
            ..plan
        });
        true
    }

    /// Removes parts of the items, halves first, as long as the remaining items fail.
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

    /// Removes events from the calls that record several events.
    fn remove_events(&mut self, mut operations: Vec<Operation>) {
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
