//! What bounds a sweep. Whatever a bound leaves out is counted in the report.

use std::time::{Duration, Instant};

use super::finding::FailureKind;

/// The bounds of a sweep.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// How many images of one moment are tried, for each disk model.
    pub(crate) images_max: usize,
    /// How many recoveries deep crashes are.
    pub(crate) depth: u32,
    /// Of how many distinct images the recovery is crashed in.
    pub(crate) nested_max: usize,
    /// How many images of one moment of a recovery are tried, for each disk model.
    pub(crate) nested_images_max: usize,
    /// True if each recovered disk is opened again, written to, closed and reopened.
    pub(crate) continues: bool,
    /// At how many operations of the disk the device dies under the running work.
    pub(crate) deaths_max: usize,
    /// How many distinct images there are at most.
    pub(crate) distinct_max: u64,
    /// When to stop.
    pub(crate) time: Option<Duration>,
    /// After how many findings to stop.
    pub(crate) findings_max: usize,
    /// The only kind of failure that counts, if not all do.
    pub(crate) wanted: Option<FailureKind>,
    /// How long one case may take.
    pub(crate) case_time: Duration,
    pub(crate) workers: usize,
    /// What is drawn where not everything is tried.
    pub(crate) seed: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            images_max: 64,
            depth: 1,
            nested_max: 32,
            nested_images_max: 6,
            continues: true,
            deaths_max: 64,
            distinct_max: u64::MAX,
            time: None,
            findings_max: 20,
            wanted: None,
            case_time: Duration::from_secs(60),
            workers: 1,
            seed: 0,
        }
    }
}

/// The one place of the kit that looks at the clock of the machine: to stop in time and to tell how long it took.
#[expect(
    clippy::disallowed_methods,
    reason = "a run is measured in the time of whoever waits for it"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
