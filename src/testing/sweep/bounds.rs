//! The bounds of a sweep. The report counts the images and sites that a bound leaves out.

use std::time::{Duration, Instant};

use super::finding::FailureKind;
use crate::testing::sim_disk::DiskModel;

/// The bounds of a sweep.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// The largest number of moments of the work.
    pub(crate) moments_max: usize,
    /// The largest number of images of a moment, for each disk model.
    pub(crate) images_max: usize,
    /// The number of nested recoveries that are crashed in.
    pub(crate) depth: u32,
    /// The number of distinct images whose recovery is crashed in.
    pub(crate) nested_max: usize,
    /// The number of distinct images after which the work continues in another session, in which the sweep crashes.
    pub(crate) sessions_max: usize,
    /// The largest number of images of a moment of a recovery, for each disk model.
    pub(crate) nested_images_max: usize,
    /// True if each recovered disk is opened again, written to, closed and reopened.
    pub(crate) continues: bool,
    /// The number of faults of disk operations under the running work.
    pub(crate) faults_max: usize,
    /// The largest number of distinct images.
    pub(crate) distinct_max: u64,
    /// The time after which the sweep ends.
    pub(crate) time: Option<Duration>,
    /// The number of findings after which the sweep ends.
    pub(crate) findings_max: usize,
    /// The only kind of failure that counts; none if all count.
    pub(crate) wanted: Option<FailureKind>,
    /// The time after which a case is a hang.
    pub(crate) case_time: Duration,
    pub(crate) workers: usize,
    /// The seed of the choice among images.
    pub(crate) seed: u64,
    /// The disk models. The sweep builds their images.
    pub(crate) models: Vec<DiskModel>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            moments_max: usize::MAX,
            images_max: 128,
            depth: 1,
            nested_max: 512,
            sessions_max: 128,
            nested_images_max: 8,
            continues: true,
            faults_max: 512,
            distinct_max: u64::MAX,
            time: None,
            findings_max: 20,
            wanted: None,
            case_time: Duration::from_secs(60),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            seed: 0,
            models: DiskModel::EVERY_IMAGE.to_vec(),
        }
    }
}

impl Bounds {
    /// The same bounds, but for the numbers of images, recoveries, sessions and faults, which take seconds.
    pub(crate) fn quick(self) -> Self {
        Self {
            images_max: 64,
            nested_max: 32,
            sessions_max: 8,
            nested_images_max: 6,
            faults_max: 64,
            ..self
        }
    }
}

/// The machine's clock. The kit reads it here only: to end in time, and for the time that a run took.
#[expect(clippy::disallowed_methods, reason = "a run is measured in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
