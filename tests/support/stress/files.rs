//! A simulated disk that yields to other threads around each open, write, sync, rename and removal. The yields follow from a
//! seed and the number of earlier calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tidaldb::testing::SimDisk;
use tidaldb::testing::faults::ForwardingFiles;

use super::scramble;

/// A thread gives way at most this often at a time: long enough for a sync of another thread.
const YIELDS_MAX: u64 = 24;

#[derive(Debug)]
struct Jitter {
    seed: u64,
    calls: AtomicU64,
}

impl Jitter {
    fn give_way(&self) {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let random = scramble(self.seed ^ number);
        if random.is_multiple_of(3) {
            for _ in 0..(random >> 32) % YIELDS_MAX {
                thread::yield_now();
            }
        }
    }
}

/// See the module's documentation.
pub(crate) fn jittery(disk: SimDisk, seed: u64) -> ForwardingFiles {
    let calls = AtomicU64::new(0);
    let jitter = Jitter { seed, calls };
    ForwardingFiles::new(Arc::new(disk), move |call| match call.operation.name() {
        "open" | "write_at" | "sync" | "sync_dir" | "rename" | "remove" => {
            jitter.give_way();
            let answer = call.forward();
            jitter.give_way();
            answer
        }
        _ => call.forward(),
    })
}
