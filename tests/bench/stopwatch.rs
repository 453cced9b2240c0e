//! Time that has passed: the one place of the benchmarks that looks at a clock.

use std::time::{Duration, Instant};

/// Begins when it is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "what is measured is the time that passes, not the time of an event"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}

/// What the call gives, and how many seconds it took.
pub(crate) fn timed<T>(call: impl FnOnce() -> T) -> (T, f64) {
    let watch = Stopwatch::start();
    let value = call();
    (value, watch.seconds())
}
