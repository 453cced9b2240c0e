//! The judge of a run: recovers the images that a crash at each position of the run can leave, up to a limit for each
//! position, and compares them with the oracle.
//!
//! Owns the images and positions that it has judged. Positions with the same disk operations and the same calls before
//! them are judged once, and an image is recovered once.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::database::{CallEvent, oracle_after};
use crate::testing::oracle::{CrashKind, Oracle};
use crate::testing::sim_disk::{DiskModel, ImageChoice, Recording, Side};
use crate::testing::sweep::{Failure, RecoveredState, Setup, failure_of, recover};
use crate::testing::workload::Session;

/// See the [module](self).
pub(super) struct Judge {
    setup: Setup,
    /// The oracle at the start of each run.
    base: Oracle,
    images_max: usize,
    /// Draws the images of a position that has more than `images_max`. Each program has another seed.
    seed: u64,
    positions: HashSet<u64>,
    /// The judged images, each with the calls before the crash.
    judged: HashSet<(u128, u64, bool)>,
    recovered: HashMap<u128, Result<RecoveredState, Failure>>,
    /// The number of judged pairs of an image and the calls before the crash.
    pub(super) judged_len: u64,
    /// The number of combinations of undurable operations that the limit of images excluded.
    pub(super) left_out: u128,
}

/// A crash that the database did not survive as promised.
#[derive(Debug, Clone)]
pub(super) struct CrashFailure {
    pub(super) failure: Failure,
    /// The number of disk operations before the crash.
    pub(super) position: u64,
    pub(super) image: ImageChoice,
}

impl Judge {
    pub(super) fn new(setup: Setup, base: Oracle, images_max: usize, program: &str) -> Self {
        let mut seed = DefaultHasher::new();
        program.hash(&mut seed);
        Self {
            setup,
            base,
            images_max,
            seed: seed.finish(),
            positions: HashSet::new(),
            judged: HashSet::new(),
            recovered: HashMap::new(),
            judged_len: 0,
            left_out: 0,
        }
    }

    /// The number of distinct recovered images.
    pub(super) fn images_len(&self) -> u64 {
        self.recovered.len() as u64
    }

    /// Removes the judged positions, so that a repeated run is judged again.
    pub(super) fn reset(&mut self) {
        self.positions.clear();
        self.judged.clear();
    }

    /// The oracle after all events.
    pub(super) fn oracle_after(&self, events: &[(u64, CallEvent)]) -> Oracle {
        oracle_after(&self.base, events)
    }

    /// Judges a crash at each position from `start` on.
    ///
    /// # Errors
    /// The first crash that breaks a promise.
    pub(super) fn judge(
        &mut self,
        recording: &Recording,
        events: &[(u64, CallEvent)],
        start: u64,
    ) -> Result<(), Box<CrashFailure>> {
        let mut images = recording.images();
        let mut history = DefaultHasher::new();
        let mut calls = DefaultHasher::new();
        let mut events_len = 0;
        for position in 0..=recording.len() {
            while let Some((at, event)) = events.get(events_len)
                && *at <= position
            {
                if let Some(hash) = event.hash() {
                    hash.hash(&mut history);
                    hash.hash(&mut calls);
                }
                events_len += 1;
            }
            if position >= start && self.positions.insert(history.finish()) {
                let side = Side::Before;
                if images.seek(position, side).is_err() {
                    unreachable!("the recording has each of its positions");
                }
                let calls = calls.finish();
                let mut oracle = None;
                let power_losses = images.choices(DiskModel::WEAKEST, self.images_max, self.seed);
                self.left_out = self.left_out.saturating_add(power_losses.left_out);
                let process_crash = (ImageChoice::All, CrashKind::ProcessCrash);
                let power_losses = power_losses.choices.into_iter();
                let crashes = power_losses.map(|choice| (choice, CrashKind::PowerLoss));
                for (image, crash) in std::iter::once(process_crash).chain(crashes) {
                    let hash = images.image_hash(&image);
                    if !self.judged.insert((hash, calls, crash == CrashKind::PowerLoss)) {
                        continue;
                    }
                    self.judged_len += 1;
                    let recovered = self.recovered.entry(hash).or_insert_with(|| {
                        let disk = images.disk_with_image(&image);
                        recover(&self.setup, &disk, &Session::first().recovery())
                    });
                    let oracle =
                        oracle.get_or_insert_with(|| oracle_after(&self.base, &events[..events_len]));
                    let failure = match recovered {
                        Ok(state) => {
                            let verdict = state.check_against(oracle, crash);
                            if verdict.is_ok() {
                                continue;
                            }
                            failure_of(&verdict)
                        }
                        Err(failure) => failure.clone(),
                    };
                    return Err(Box::new(CrashFailure {
                        failure,
                        position,
                        image,
                    }));
                }
            }
            if position < recording.len() {
                recording.operation_hash(position).hash(&mut history);
            }
        }
        Ok(())
    }
}
