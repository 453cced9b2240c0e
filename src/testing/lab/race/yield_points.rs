//! Yield points: places at which the seed of a race decides which thread continues.
//!
//! Yield points are at each crash point, and before and after each open, write, sync, rename and removal of a file. At a
//! yield point a thread continues, yields once, or waits until other threads have passed some yield points.
//!
//! Owns that decision and the counts of passed yield points. Invariant: a wait is finite. It ends when no other thread
//! passes a yield point any more, because the others may be waiting for the thread that waits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::fs::FileAccess;
use crate::testing::SimDisk;
use crate::testing::faults::ForwardingFiles;
use crate::testing::workload::Random;

/// A waiting thread continues after this number of yields in a row during which no other thread passed a yield point.
const IDLE_YIELDS_MAX: u64 = 12;

/// See the [module](self).
pub(super) struct YieldPoints {
    seed: u64,
    /// On average, a thread waits at one of this number of yield points.
    one_in: u64,
    passed: AtomicU64,
    waits: AtomicU64,
    /// Called at each yield point with its number.
    on_pass: Box<dyn Fn(u64) + Send + Sync>,
}

impl YieldPoints {
    pub(super) fn new(seed: u64, on_pass: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self {
            seed,
            one_in: [3, 6, 12, 40][(seed % 4) as usize],
            passed: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            on_pass: Box::new(on_pass),
        }
    }

    /// The number of passed yield points.
    pub(super) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// The number of yield points at which a thread waited.
    pub(super) fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    /// Passes a yield point: returns when the calling thread may continue.
    pub(super) fn pass(&self) {
        let number = self.passed.fetch_add(1, Ordering::Relaxed);
        (self.on_pass)(number);
        let mut random = Random::new(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        if !random.chance(1, self.one_in) {
            if random.chance(1, 4) {
                thread::yield_now();
            }
            return;
        }
        self.waits.fetch_add(1, Ordering::Relaxed);
        // Most waits are short. One in six is long enough for a whole checkpoint or close of another thread.
        let others = if random.chance(1, 6) {
            40
        } else {
            1 << random.below(4)
        };
        let (mut last_passed, mut idle) = (number, 0);
        while idle < IDLE_YIELDS_MAX && last_passed <= number + others {
            thread::yield_now();
            let passed = self.passed();
            idle = if passed == last_passed { idle + 1 } else { 0 };
            last_passed = passed;
        }
    }
}

impl fmt::Debug for YieldPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("YieldPoints")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// The files of `disk`, with a yield point before and after each open, write, sync, rename and removal.
pub(super) fn with_yield_points(disk: &SimDisk, points: &Arc<YieldPoints>) -> Arc<dyn FileAccess> {
    let points = Arc::clone(points);
    Arc::new(ForwardingFiles::new(
        Arc::new(disk.clone()),
        move |call| match call.operation.name() {
            "open" | "write_at" | "sync" | "sync_dir" | "rename" | "remove" => {
                points.pass();
                let answer = call.forward();
                points.pass();
                answer
            }
            _ => call.forward(),
        },
    ))
}
