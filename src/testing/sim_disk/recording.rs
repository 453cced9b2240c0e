//! The recording of a run: the operations of the run on its disk. An image builder rebuilds the state of the disk at
//! every position of the run.
//!
//! Invariant: a position in the recording has the same state, and so the same images, as the disk had in the run.

use std::io;
use std::sync::Arc;

use super::choice::ImageChoice;
use super::device::{SharedDevice, SimDiskOptions};
use super::enumerate::ImageChoices;
use super::image::Image;
use super::model::DiskModel;
use super::operation::{DiskOperation, Side};
use super::state::{DiskState, RecordedOperation};
use super::undurable::Undurable;

/// All operations of a run on a disk, and the disk's content before them. Later operations do not change the value.
#[derive(Debug, Clone)]
pub struct Recording {
    start: Arc<DiskState>,
    options: SimDiskOptions,
    entries: Arc<[RecordedOperation]>,
}

impl Recording {
    pub(super) fn new(start: Arc<DiskState>, options: SimDiskOptions, entries: &[RecordedOperation]) -> Self {
        Self {
            start,
            options,
            entries: entries.into(),
        }
    }

    /// The operations in their order; the index of each is its ordinal.
    pub fn operations(&self) -> impl ExactSizeIterator<Item = &DiskOperation> + Clone {
        self.entries.iter().map(|entry| &entry.operation)
    }

    /// The number of operations.
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The hash of the operation with this ordinal and of its effect.
    pub(crate) fn operation_hash(&self, ordinal: u64) -> u64 {
        self.entries[ordinal as usize].hash()
    }

    /// Returns true if the recording has no operation.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A builder of images, at the position before the first operation.
    pub fn images(&self) -> ImageBuilder {
        ImageBuilder {
            state: (*self.start).clone(),
            recording: self.clone(),
            position: 0,
        }
    }
}

/// Builds the images of crashes at any position of a recorded run. Moving forward applies the operations in between.
/// Moving back starts again at the first operation.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    recording: Recording,
    state: DiskState,
    position: u64,
}

impl ImageBuilder {
    /// Moves to the position before or after the operation with this ordinal. The end of the run is the position before
    /// the ordinal that follows the last operation.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if the recording has no such position. Then the builder does not move.
    pub fn seek(&mut self, ordinal: u64, side: Side) -> io::Result<()> {
        let len = self.recording.len();
        let position = match side {
            Side::Before => ordinal,
            Side::After => ordinal.saturating_add(1),
        };
        if position > len {
            let message = format!("disk operation {ordinal} does not exist: the run has {len} operations");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if position < self.position {
            self.state = (*self.recording.start).clone();
            self.position = 0;
        }
        for entry in &self.recording.entries[self.position as usize..position as usize] {
            self.state.apply(entry.operation.ordinal, &entry.effect);
        }
        self.position = position;
        Ok(())
    }

    /// The number of operations before this position.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// At most `choices_max` of the images that a power loss at this position can leave. See
    /// [`super::SimDisk::choices`].
    pub fn choices(&self, model: DiskModel, choices_max: usize, seed: u64) -> ImageChoices {
        self.state.choices(model, choices_max, seed)
    }

    /// The models under which a power loss at this position can leave this image.
    pub fn models(&self, choice: &ImageChoice) -> Vec<DiskModel> {
        self.state.models(choice)
    }

    /// The ordinal of an operation that `choice` names and that is not undurable at this position: it is durable, or it
    /// happens later. `None` if the choice is valid here.
    pub(crate) fn invalid_ordinal(&self, choice: &ImageChoice) -> Option<u64> {
        self.state.invalid_ordinal(choice)
    }

    /// Builds one of the images that a crash at this position can leave.
    pub fn image(&self, choice: &ImageChoice) -> Image {
        self.state.image(choice)
    }

    /// The hash of this image. This does not build the image.
    pub fn image_hash(&self, choice: &ImageChoice) -> u128 {
        self.state.image_hash(choice)
    }

    pub(super) fn options(&self) -> SimDiskOptions {
        self.recording.options
    }

    /// A device with the operations before this position.
    pub(super) fn device(&self) -> Arc<SharedDevice> {
        let Recording {
            start,
            options,
            entries,
        } = &self.recording;
        let journal = entries[..self.position as usize].to_vec();
        SharedDevice::new(start.clone(), *options, journal, self.state.clone(), None)
    }

    /// The state of a disk with the content of the image, all of it durable.
    pub(super) fn state_with_image(&self, choice: &ImageChoice) -> DiskState {
        self.state.with_image(choice)
    }

    /// The changes that were not durable at this position.
    pub fn undurable(&self) -> Vec<Undurable> {
        self.state.undurable()
    }
}
