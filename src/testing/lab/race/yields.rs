//! Who goes first: a thread that comes to a crash point or to a file goes on, gives way once, or holds until others have
//! come by, as the seed says.
//!
//! Owns that decision and the count of places passed. Invariant: nobody is held for good: a hold ends when nobody comes by
//! any more, for the others may be waiting for the one that holds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::fs::FileAccess;
use crate::testing::SimDisk;
use crate::testing::faults::ForwardingFiles;
use crate::testing::workload::Random;

/// A hold ends when it has given way so often and nobody came by meanwhile.
const IDLE_YIELDS_MAX: u64 = 12;

/// See the [module](self).
pub(super) struct Yields {
    seed: u64,
    /// Of so many places one is held at.
    one_in: u64,
    passed: AtomicU64,
    held: AtomicU64,
    /// Called with the number of each place.
    at_place: Box<dyn Fn(u64) + Send + Sync>,
}

impl Yields {
    pub(super) fn new(seed: u64, at_place: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self {
            seed,
            one_in: [3, 6, 12, 40][(seed % 4) as usize],
            passed: AtomicU64::new(0),
            held: AtomicU64::new(0),
            at_place: Box::new(at_place),
        }
    }

    /// How many places were passed, and at how many of them a thread held.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.passed(), self.held.load(Ordering::Relaxed))
    }

    pub(super) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// The calling thread is at a place.
    pub(super) fn pass(&self) {
        let number = self.passed.fetch_add(1, Ordering::Relaxed);
        (self.at_place)(number);
        let mut random = Random::new(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        if !random.chance(1, self.one_in) {
            if random.chance(1, 4) {
                thread::yield_now();
            }
            return;
        }
        self.held.fetch_add(1, Ordering::Relaxed);
        // Mostly a few; now and then long enough for a whole checkpoint or close to go by.
        let others = if random.chance(1, 6) {
            40
        } else {
            1 << random.below(4)
        };
        let (mut seen, mut idle) = (number, 0);
        while idle < IDLE_YIELDS_MAX && seen <= number + others {
            thread::yield_now();
            let passed = self.passed();
            idle = if passed == seen { idle + 1 } else { 0 };
            seen = passed;
        }
    }
}

impl fmt::Debug for Yields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Yields")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// `disk` with such a place before and after each open, write, sync, rename and removal.
pub(super) fn yielding(disk: &SimDisk, yields: &Arc<Yields>) -> Arc<dyn FileAccess> {
    let yields = Arc::clone(yields);
    Arc::new(ForwardingFiles::new(
        Arc::new(disk.clone()),
        move |call| match call.operation.name() {
            "open" | "write_at" | "sync" | "sync_dir" | "rename" | "remove" => {
                yields.pass();
                let answer = call.forward();
                yields.pass();
                answer
            }
            _ => call.forward(),
        },
    ))
}
