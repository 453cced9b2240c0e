//! Changes of collections: which beginnings of them a recovered state may hold.

use super::Progress;
use super::list::List;
use crate::testing::model::Difference;
use crate::testing::model::{Collections, change, compare_collections, matches_collections};
use crate::testing::workload::Operation;
use crate::{Error, Export};

/// More ways to place the changes in flight than this are not tried.
const ORDERS_LEN_MAX: usize = 4096;

#[derive(Debug, Clone)]
struct Change {
    operation: Operation,
    progress: Progress,
    /// How many changes had been acknowledged when it was begun.
    begun_after: usize,
}

/// The changes that were asked for, and how they ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    settled: Collections,
    /// The settled collections and every acknowledged change.
    head: Collections,
    calls: List<Change>,
    /// The acknowledged ones, in the order of their acknowledgement.
    acknowledged: List<usize>,
    /// Acknowledged changes up to this acknowledgement are durable.
    durable_acknowledgement: u64,
}

/// What the collections of a recovered state are.
pub(super) struct ChangesFound {
    pub(super) differences: Vec<Difference>,
    /// The changes that are there, in order.
    pub(super) found: Vec<usize>,
}

impl Changes {
    pub(super) fn begin(&mut self, operation: &Operation) -> usize {
        self.calls.push(Change {
            operation: operation.clone(),
            progress: Progress::InFlight,
            begun_after: self.acknowledged.len(),
        });
        self.calls.len() - 1
    }

    pub(super) fn acknowledged(&mut self, index: usize, acknowledgement: u64) {
        self.calls[index].progress = Progress::Acknowledged(acknowledgement);
        self.acknowledged.push(index);
        change(&mut self.head, &self.calls[index].operation);
    }

    pub(super) fn failed(&mut self, index: usize, error: &Error) {
        self.calls[index].progress = Progress::after(error);
    }

    /// Notes that what was acknowledged up to an acknowledgement is durable.
    pub(super) fn durable(&mut self, acknowledgement: u64) {
        self.durable_acknowledgement = self.durable_acknowledgement.max(acknowledgement);
    }

    /// What `found` holds, if all that was acknowledged is guaranteed, or only what is durable.
    pub(super) fn check(&self, found: &Export, all_guaranteed: bool) -> ChangesFound {
        if matches_collections(&self.head, found) {
            return ChangesFound {
                differences: Vec::new(),
                found: self.acknowledged.iter().copied().collect(),
            };
        }
        let guaranteed_len = if all_guaranteed {
            self.acknowledged.len()
        } else {
            self.durable_len()
        };
        for order in self.orders(guaranteed_len) {
            if matches_collections(&self.after(&order), found) {
                return ChangesFound {
                    differences: Vec::new(),
                    found: order,
                };
            }
        }
        ChangesFound {
            differences: self.nearest(found, guaranteed_len),
            found: self.acknowledged.iter().copied().collect(),
        }
    }

    fn durable_len(&self) -> usize {
        let is_durable = |&&index: &&usize| match self.calls[index].progress {
            Progress::Acknowledged(acknowledgement) => acknowledgement <= self.durable_acknowledgement,
            _ => false,
        };
        self.acknowledged.iter().take_while(is_durable).count()
    }

    /// The fewest differences to any legal state.
    fn nearest(&self, found: &Export, guaranteed_len: usize) -> Vec<Difference> {
        let compare = |order: &Vec<usize>| compare_collections(&self.after(order), found);
        let all = self.orders(guaranteed_len);
        all.iter().map(compare).min_by_key(Vec::len).unwrap_or_default()
    }

    /// Every legal order: beginnings of what was acknowledged, the longest first, and each with the changes that
    /// failed or were in flight put in wherever they may have happened, or left out.
    fn orders(&self, guaranteed_len: usize) -> Vec<Vec<usize>> {
        let is_open = |change: &Change| matches!(change.progress, Progress::InFlight | Progress::Failed);
        let open: Vec<usize> = (0..self.calls.len())
            .filter(|&index| is_open(&self.calls[index]))
            .collect();
        let mut orders = Vec::new();
        for len in (guaranteed_len..=self.acknowledged.len()).rev() {
            let order = self.acknowledged.iter().take(len).copied().collect::<Vec<_>>();
            let mut with_open = vec![order];
            for &index in &open {
                let begun_after = self.calls[index].begun_after;
                let placed: Vec<Vec<usize>> = with_open
                    .iter()
                    .flat_map(|order| (begun_after..=order.len()).map(move |at| inserted(order, at, index)))
                    .take(ORDERS_LEN_MAX)
                    .collect();
                with_open.extend(placed);
                with_open.truncate(ORDERS_LEN_MAX);
            }
            orders.extend(with_open);
            if orders.len() > ORDERS_LEN_MAX {
                orders.truncate(ORDERS_LEN_MAX);
                break;
            }
        }
        orders
    }

    fn after(&self, order: &[usize]) -> Collections {
        let mut collections = self.settled.clone();
        for &index in order {
            change(&mut collections, &self.calls[index].operation);
        }
        collections
    }

    /// The first change that is not among those `found`.
    pub(super) fn missing(&self, found: &[usize]) -> Option<Operation> {
        let mut changes = self.calls.iter().enumerate();
        let missing =
            changes.find(|(index, change)| change.progress != Progress::Refused && !found.contains(index));
        missing.map(|(_, change)| change.operation.clone())
    }

    pub(super) fn reopened(&mut self, found: &[usize]) {
        self.settled = self.after(found);
        self.head = self.settled.clone();
        self.calls.clear();
        self.acknowledged.clear();
    }
}

fn inserted(order: &[usize], at: usize, index: usize) -> Vec<usize> {
    let mut order = order.to_vec();
    order.insert(at, index);
    order
}
