//! A simulated disk that yields to other threads around each open, write, sync, rename and removal. The yields follow from a
//! seed and the number of earlier calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tidaldb::testing::SimDisk;
use tidaldb::testing::lab::InterceptedFiles;

use super::scramble;

/// A thread gives way at most this often at a time: long enough for a sync of another thread.
const YIELDS_MAX: u64 = 24;

pub(crate) fn jittery(disk: &SimDisk, seed: u64) -> Arc<InterceptedFiles> {
    let calls = AtomicU64::new(0);
    let give_way = move || {
        let number = calls.fetch_add(1, Ordering::Relaxed);
        let random = scramble(seed ^ number);
        if random.is_multiple_of(3) {
            for _ in 0..(random >> 32) % YIELDS_MAX {
                thread::yield_now();
            }
        }
    };
    let files = InterceptedFiles::new(disk.clone(), move |_, _, call| {
        give_way();
        let result = call();
        give_way();
        result
    });
    Arc::new(files)
}
