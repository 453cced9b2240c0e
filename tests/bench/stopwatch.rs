//! The clock of the benchmarks.
#![expect(
    clippy::disallowed_methods,
    reason = "measures elapsed time, not the time of an event"
)]

use std::time::Instant;

/// The current time.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The result of the call, and the seconds that it took.
pub(crate) fn timed<T>(call: impl FnOnce() -> T) -> (T, f64) {
    let begun = now();
    let value = call();
    (value, begun.elapsed().as_secs_f64())
}
