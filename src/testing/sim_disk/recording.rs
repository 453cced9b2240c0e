//! What a run did to its disk, from which the disk of every instant of the run is built again.

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

/// Everything that was done to a disk, with the disk's content before it. A value: it does not change with the disk.
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

    /// How many operations there are.
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A builder of images that stands before the first operation.
    pub fn images(&self) -> ImageBuilder {
        ImageBuilder {
            state: (*self.start).clone(),
            recording: self.clone(),
            position: 0,
        }
    }
}

/// Builds the images of crashes at any instant of a recorded run. Going forward costs what the operations passed cost;
/// going back begins anew.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    recording: Recording,
    state: DiskState,
    position: u64,
}

impl ImageBuilder {
    /// Goes to the instant before or after the operation with this ordinal. The instant before the operation that would
    /// have come next is the run's end.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if there is no such instant; the builder stays where it is.
    pub fn seek(&mut self, ordinal: u64, side: Side) -> io::Result<()> {
        let len = self.recording.len();
        let position = match side {
            Side::Before => ordinal,
            Side::After => ordinal.saturating_add(1),
        };
        if position > len {
            let message = format!("there is no disk operation {ordinal}, only {len} were recorded");
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

    /// How many operations were done at this instant.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// At most `choices_max` of the images that a crash at this instant may leave. See [`super::SimDisk::choices`].
    pub fn choices(&self, model: DiskModel, choices_max: usize, seed: u64) -> ImageChoices {
        self.state.choices(model, choices_max, seed)
    }

    /// The models under which a power loss at this instant can leave that image.
    pub fn models(&self, choice: &ImageChoice) -> Vec<DiskModel> {
        self.state.models(choice)
    }

    /// An operation that `choice` names although it is durable at this instant, or did not happen before it.
    pub(crate) fn settled_operation(&self, choice: &ImageChoice) -> Option<u64> {
        self.state.settled_operation(choice)
    }

    /// One of the images that a crash at this instant may leave.
    pub fn image(&self, choice: &ImageChoice) -> Image {
        self.state.image(choice)
    }

    /// The hash of that image, without building it.
    pub fn image_hash(&self, choice: &ImageChoice) -> u128 {
        self.state.image_hash(choice)
    }

    pub(super) fn options(&self) -> SimDiskOptions {
        self.recording.options
    }

    /// A device that has come to this instant.
    pub(super) fn device(&self) -> Arc<SharedDevice> {
        let Recording {
            start,
            options,
            entries,
        } = &self.recording;
        let journal = entries[..self.position as usize].to_vec();
        SharedDevice::new(start.clone(), *options, journal, self.state.clone(), None)
    }

    /// The disk after a crash that leaves the image.
    pub(super) fn after(&self, choice: &ImageChoice) -> DiskState {
        self.state.after(choice)
    }

    /// What was not durable at this instant.
    pub fn undurable(&self) -> Vec<Undurable> {
        self.state.undurable()
    }
}
