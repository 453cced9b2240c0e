//! The bounds of a sweep. The report counts the images and sites that a bound excludes.

use std::time::{Duration, Instant};

use super::finding::FailureKind;
use crate::testing::sim_disk::DiskModel;

/// The bounds of a sweep.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// The largest number of crash positions in the work.
    pub(crate) crash_positions_max: usize,
    /// The largest number of images of a crash position, for each disk model.
    pub(crate) images_max: usize,
    /// The largest number of crashes inside recoveries of one nested case.
    pub(crate) depth: u32,
    /// The largest number of distinct images for which nested cases run.
    pub(crate) nested_max: usize,
    /// The largest number of distinct images after which the work continues in another session, in which the sweep
    /// crashes too.
    pub(crate) sessions_max: usize,
    /// The largest number of images of a crash position in a recovery, for each disk model.
    pub(crate) nested_images_max: usize,
    /// True if the sweep continues after recovery, once for each distinct recovered disk.
    pub(crate) continues: bool,
    /// The largest number of faults of disk operations under the running work.
    pub(crate) faults_max: usize,
    /// The largest number of distinct images.
    pub(crate) distinct_max: u64,
    /// The time after which the sweep ends.
    pub(crate) time: Option<Duration>,
    /// The number of findings after which the sweep ends.
    pub(crate) findings_max: usize,
    /// If given, the sweep reports only this kind of failure.
    pub(crate) only_kind: Option<FailureKind>,
    /// The time after which a running case counts as a hang.
    pub(crate) case_time: Duration,
    pub(crate) workers: usize,
    /// The seed of the selection among images.
    pub(crate) seed: u64,
    /// The disk models whose images the sweep builds.
    pub(crate) models: Vec<DiskModel>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            crash_positions_max: usize::MAX,
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
            only_kind: None,
            case_time: Duration::from_secs(60),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            seed: 0,
            models: DiskModel::EVERY_IMAGE.to_vec(),
        }
    }
}

impl Bounds {
    /// The same bounds with smaller numbers of images, nested cases, sessions and faults.
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

/// The time of the machine's clock. The kit reads this clock only here: for bounds on time, and to measure the time of
/// a run.
#[expect(clippy::disallowed_methods, reason = "a run is measured in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
