//! What a run did to its disk, from which the disk of every instant of the run is built again.

use std::fmt;
use std::sync::Arc;

use super::choice::ImageChoice;
use super::enumerate::{DiskModel, ImageChoices};
use super::image::Image;
use super::model::{Effect, Model};
use super::operation::{DiskOperation, Side};
use super::undurable::Undurable;
use super::{SimDisk, SimDiskOptions};

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub operation: DiskOperation,
    pub effect: Effect,
}

/// Everything that was done to a disk, with the disk's content before it. A value: it does not change with the disk.
#[derive(Debug, Clone)]
pub struct Recording {
    start: Arc<Image>,
    options: SimDiskOptions,
    entries: Arc<[Entry]>,
}

impl Recording {
    pub(super) fn new(start: Arc<Image>, options: SimDiskOptions, entries: &[Entry]) -> Self {
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
            model: self.first_model(),
            recording: self.clone(),
            position: 0,
        }
    }

    fn first_model(&self) -> Model {
        Model::from_image(&self.start, self.options.sector_bytes)
    }
}

/// Builds the images of crashes at any instant of a recorded run. Going forward costs what the operations passed cost;
/// going back begins anew.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    recording: Recording,
    model: Model,
    position: u64,
}

/// A recording has no operation with the ordinal asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchOperation {
    /// The ordinal asked for.
    pub ordinal: u64,
    /// How many operations there are.
    pub len: u64,
}

impl fmt::Display for NoSuchOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "there is no disk operation {}, only {} were recorded",
            self.ordinal, self.len
        )
    }
}

impl std::error::Error for NoSuchOperation {}

impl ImageBuilder {
    /// Goes to the instant before or after the operation with this ordinal. The instant before the operation that would
    /// have come next is the run's end.
    ///
    /// # Errors
    /// [`NoSuchOperation`] if there is no such instant; the builder stays where it is.
    pub fn seek(&mut self, ordinal: u64, side: Side) -> Result<(), NoSuchOperation> {
        let len = self.recording.len();
        let position = match side {
            Side::Before => ordinal,
            Side::After => ordinal.saturating_add(1),
        };
        if position > len {
            return Err(NoSuchOperation { ordinal, len });
        }
        if position < self.position {
            self.model = self.recording.first_model();
            self.position = 0;
        }
        for entry in &self.recording.entries[self.position as usize..position as usize] {
            self.model.apply(entry.operation.ordinal, &entry.effect);
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
        self.model.choices(model, choices_max, seed)
    }

    /// One of the images that a crash at this instant may leave.
    pub fn image(&self, choice: &ImageChoice) -> Image {
        self.model.image(choice)
    }

    /// The hash of that image, without building it.
    pub fn image_hash(&self, choice: &ImageChoice) -> u128 {
        self.model.image_hash(choice)
    }

    /// A choice of the same image that names each operation that is there, for taking away one after the other.
    pub fn explicit(&self, choice: &ImageChoice) -> ImageChoice {
        self.model.explicit(choice)
    }

    /// The disk of this instant, living on: as after the death of the process alone. What was not durable still is not,
    /// and the next operation has the ordinal that came next. Its options are those of the recorded disk.
    pub fn disk(&self) -> SimDisk {
        let journal = &self.recording.entries[..self.position as usize];
        SimDisk::resumed(
            self.recording.start.clone(),
            self.recording.options,
            journal.to_vec(),
            self.model.clone(),
        )
    }

    /// What was not durable at this instant.
    pub fn undurable(&self) -> Vec<Undurable> {
        self.model.undurable()
    }
}
