//! A clock for tests. It holds no state of a database, so a crash changes nothing of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::Clock;

/// A clock that returns the time to which a test sets it. Clones share the time.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use tidaldb::testing::TestClock;
/// use tidaldb::{Clock, Options, Schema, Signal};
///
/// let clock = TestClock::at(1_700_000_000_000);
/// let schema = Schema::new().signal(Signal::new("view").half_life_ms(3_600_000));
/// let options = Options::new(schema).clock(Arc::new(clock.clone()));
/// clock.set(1_700_000_000_500);
/// assert_eq!(clock.now_ms(), 1_700_000_000_500);
/// # drop(options);
/// ```
#[derive(Debug, Clone)]
pub struct TestClock {
    now_ms: Arc<AtomicI64>,
    step_ms: i64,
}

impl TestClock {
    /// A clock that stands at `now_ms`, in milliseconds since the Unix epoch.
    pub fn at(now_ms: i64) -> Self {
        Self::stepping(now_ms, 0)
    }

    /// A clock that returns `now_ms` at the first reading, and `step_ms` milliseconds more at each further reading.
    pub fn stepping(now_ms: i64, step_ms: i64) -> Self {
        let now_ms = Arc::new(AtomicI64::new(now_ms));
        Self { now_ms, step_ms }
    }

    /// Sets the time of the next reading, forwards or back.
    pub fn set(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.fetch_add(self.step_ms, Ordering::Relaxed)
    }
}
