//! The worst day of a database: full disks, directories that are missing or read-only, second openers, kills, a clock
//! that is set back, values at the limits. All tests use a real disk and real processes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests look at files from outside, and panic"
)]

#[cfg(feature = "test-utils")]
mod child;
mod clock_set_back;
mod directories;
#[cfg(feature = "test-utils")]
mod disk_full;
#[cfg(feature = "test-utils")]
mod large;
mod lifecycle;
#[cfg(feature = "test-utils")]
#[path = "../support/load/mod.rs"]
mod load;
#[cfg(feature = "test-utils")]
mod openers;
#[cfg(feature = "test-utils")]
mod read_only;
mod setup;
#[cfg(feature = "test-utils")]
mod short_load;
#[cfg(feature = "test-utils")]
mod slow_checkpoint;
#[path = "../../src/testing/temp_dir.rs"]
mod temp_dir;
#[path = "../../src/testing/text.rs"]
mod text;
