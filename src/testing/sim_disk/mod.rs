//! A simulated disk in memory. It has the written content, the durable content, and every image that a crash can leave.
//!
//! [`SimDisk`] implements [`FileAccess`]. It records every operation under an ordinal. A test can make one operation
//! fail, or make the whole device fail at an operation. The disk returns the images of a power loss in its current
//! state. The [`Recording`] of a run returns the images of a power loss at every position of the run.
//!
//! Invariant: the same calls give the same disk. The disk has no clock, no threads and no randomness except from seeds.
//!
//! # The images of a crash
//! These are the images that the contract of [`FileAccess`] allows.
//!
//! *Content.* A file has durable bytes and, in order, the writes and truncations since its last sync. After a crash
//! each of these changes is present or missing, independently of the others. The present changes are applied in order.
//! A gap before a write has zeros. A sync makes all earlier changes of one file durable, and no change of another file.
//! A truncation is the [`OpenMode::Create`] of a file that exists: it removes all bytes.
//!
//! *Torn writes.* A write consists of pieces, one for each sector of the file that the write touches. After a crash a
//! write can be present without its beginning, its middle or its end, or with only its middle. One sector, or several
//! adjacent sectors, can contain garbage instead of old or new bytes. If the write made the file longer than its
//! durable length, its end can be zeros, and any part can be stale bytes. Stale bytes come from free blocks, which
//! contain the bytes of files whose removal or truncation is durable. Bytes that the write did not touch do not change,
//! also in a torn sector: a torn write does not damage earlier writes (`SQLite` calls this powersafe overwrite). A
//! truncation is present as a whole or missing.
//!
//! *Failed syncs.* A sync that fails with [`Fault::SyncLoses`] leaves each change since the last sync durable or lost.
//! No later sync makes a lost change durable. The same bytes must be written again.
//!
//! *Names.* A creation or removal is durable after a sync of its directory. A renaming between two directories is
//! durable after a sync of both. Until then each of these operations is present or missing after a crash, independently
//! of operations on other names. Operations on the same name keep their order: the last present operation decides the
//! meaning of the name. If none is present, the name has its durable meaning. A renaming is one operation on two names,
//! so it is atomic. The file has the old name or the new name, never both. It has neither only if its creation is
//! missing. A file that the renaming replaces keeps its name and content until the renaming is present. A file whose
//! creation is missing is absent, also if the file was synced. A file whose creation is present and whose content is
//! missing is empty. If the creation of a directory is missing, everything below the directory is absent.
//!
//! *No other order.* Without a sync, nothing orders the changes of content and of names, or the changes of two files.
//! No image contains removed files, open files without a name, or locks.
//!
//! These are the images of [`DiskModel::WEAKEST`]. The other [models](DiskModel) exclude some of them.
//!
//! # Failure of the device
//! [`SimDisk::crash_at`] and [`SimDisk::crash_now`] make the device fail. Then the state does not change any more,
//! images are still available, and every later call fails, also reads. If the device fails after an operation, the
//! operation is done, and its call still returns an error. [`SimDisk::refused_calls`] returns the refused calls.
//!
//! # Real files
//! [`SimDisk::over`] also makes every operation on other files, for example on real files. So ordinals, faults, the
//! failure of the device and the list of undurable changes are available for these files too.
//!
//! # Example
//! ```
//! use std::path::Path;
//! use tidaldb::fs::{FileAccess, OpenMode};
//! use tidaldb::testing::sim_disk::{DiskModel, Side, SimDisk};
//!
//! let disk = SimDisk::new();
//! let file = disk.open(Path::new("/log"), OpenMode::Create)?;
//! file.write_at(b"event", 0)?;
//! file.sync()?;
//!
//! // The content is synced, but the directory is not: the file is absent in one image and present in the other.
//! let images = disk.choices(DiskModel::WEAKEST, 100, 0).choices;
//! let is_present: Vec<_> = images.iter().map(|choice| disk.image(choice).file("/log").is_some()).collect();
//! assert_eq!(is_present, [false, true]);
//!
//! disk.sync_dir(Path::new("/"))?;
//! let images = disk.choices(DiskModel::WEAKEST, 100, 0).choices;
//! assert_eq!(images.len(), 1);
//! assert_eq!(disk.image(&images[0]).file("/log"), Some(&b"event"[..]));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`FileAccess`]: crate::fs::FileAccess
//! [`OpenMode::Create`]: crate::fs::OpenMode::Create

mod access;
mod choice;
mod crash_image;
mod device;
mod enumerate;
mod fault;
mod image;
mod keyed;
mod model;
mod model_rules;
mod operation;
mod recording;
mod state;
mod tears;
mod undurable;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use choice::{Fate, ImageChoice, ParseChoiceError, Piece, Tear};
pub use device::{RefusedCall, SimDiskOptions};
pub use enumerate::ImageChoices;
pub use fault::{Fault, InjectedPanic, IoFault};
pub use image::Image;
pub use model::{DiskModel, DiskOrder, WriteTears};
pub use operation::{DiskOperation, DiskOperationKind, ObservedCall, Side};
pub use recording::{ImageBuilder, Recording};
pub use undurable::{Undurable, UndurableKind};

use crate::fs::FileAccess;
use crate::testing::CrashAction;
use device::{Backing, SharedDevice};
use fault::FaultScope;
use state::{DiskState, Effect};

/// A simulated disk. The [module](self) describes its behaviour. Clones are handles of the same disk.
///
/// A file is at most 256 MiB long. Directories cannot be renamed.
#[derive(Debug, Clone)]
pub struct SimDisk {
    shared: Arc<SharedDevice>,
    /// The process that this handle belongs to.
    process: u64,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::from_image(&Image::new())
    }

    /// A disk with the content of `image`, all of it durable.
    pub fn from_image(image: &Image) -> Self {
        Self::with_options(image, SimDiskOptions::default())
    }

    /// A disk with these options and the content of `image`, all of it durable.
    pub fn with_options(image: &Image, options: SimDiskOptions) -> Self {
        Self::from_state(None, DiskState::from_image(image, options.sector_bytes), options)
    }

    /// A disk over the directory `root` of `files`. Each operation without a fault is also made on `files`, and reads
    /// return the content of `files`. Calls use the paths of `files`. In images and records, paths begin at `root`. The
    /// content that exists below `root` counts as durable. Other code must not change files below `root` while the disk
    /// is in use.
    ///
    /// # Errors
    /// The first error while reading the files below `root`.
    pub fn over(files: Arc<dyn FileAccess>, root: &Path, options: SimDiskOptions) -> io::Result<Self> {
        let image = Image::read_from(files.as_ref(), root)?;
        let root = root.to_path_buf();
        Ok(Self::from_state(
            Some(Backing { files, root }),
            DiskState::from_image(&image, options.sector_bytes),
            options,
        ))
    }

    fn from_state(backing: Option<Backing>, state: DiskState, options: SimDiskOptions) -> Self {
        let shared = SharedDevice::new(Arc::new(state.clone()), options, Vec::new(), state, backing);
        Self { shared, process: 0 }
    }

    /// The number of recorded operations. The next operation has this ordinal.
    pub fn operations_len(&self) -> u64 {
        self.shared.lock().journal.len() as u64
    }

    /// All operations on the disk until now.
    pub fn recording(&self) -> Recording {
        let device = self.shared.lock();
        Recording::new(device.start.clone(), device.options, &device.journal)
    }

    /// Makes the device fail at the operation with this ordinal. Replaces an ordinal that was set before. The device
    /// does not fail if the operation was already done: check [`has_device_failed`](Self::has_device_failed) after the
    /// run.
    pub fn crash_at(&self, ordinal: u64, side: Side) {
        self.shared.lock().crash_at = Some((ordinal, side));
    }

    /// Makes the device fail now: every later call fails. Any thread and any hook can call this.
    pub fn crash_now(&self) {
        self.shared.lock().has_failed = true;
    }

    /// The action of an injector that makes this device fail. After the crossing every call to the disk returns an
    /// error, and the running operation returns this error. An operation that makes no further call to the disk
    /// completes, and the next operation fails.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tidaldb::testing::workload::{standard_schema, tiny_options};
    /// use tidaldb::testing::{CrashInjector, CrashPoint, SimDisk, run_with_crash};
    /// use tidaldb::{EntityId, SignalEvent, TidalDb};
    ///
    /// let disk = SimDisk::new();
    /// let db = TidalDb::open("/db", tiny_options(standard_schema()).files(Arc::new(disk.clone())))?;
    /// let event = SignalEvent::new(db.signal("view")?, EntityId(1), 0);
    /// let injector = CrashInjector::with_action(CrashPoint::WalPreAggregate, 0, disk.fail_action());
    /// let refused = run_with_crash(&injector, || db.record(&event)).expect("nothing unwinds");
    /// assert!(refused.is_err() && disk.has_device_failed());
    /// # Ok::<(), tidaldb::Error>(())
    /// ```
    pub fn fail_action(&self) -> CrashAction {
        let disk = self.clone();
        CrashAction::call(move |_, _| disk.crash_now())
    }

    /// Ends the process that uses the disk, like a kill. This releases the locks of the process. Every later call
    /// through this handle, its clones, and their open files fails. The written bytes stay. Returns a handle for the
    /// next process.
    ///
    /// The images, records and settings of the disk are available through every handle.
    #[must_use]
    pub fn kill(&self) -> Self {
        let process = self.shared.lock().end_process();
        Self {
            shared: Arc::clone(&self.shared),
            process,
        }
    }

    /// Cuts the power and restores it. Then the disk has the content of `image`, all of it durable. Otherwise like
    /// [`kill`](Self::kill). The power loss is a recorded operation, so the images before and after it are available.
    ///
    /// # Errors
    /// If the device has failed or fails at this operation. [`io::ErrorKind::Unsupported`] for a disk
    /// [over](Self::over) other files, because these keep all written bytes.
    pub fn lose_power(&self, image: &ImageChoice) -> io::Result<Self> {
        if self.shared.backing.is_some() {
            let message = "a disk over other files cannot lose power: these files keep all written bytes";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let mut device = self.shared.lock();
        let call = DiskOperation::new(DiskOperationKind::PowerLoss, &Path::new("/").into());
        let result = device.perform(self.process, call, |_, _| {
            Ok((Effect::PowerLoss(image.clone()), ()))
        });
        // The process ends also if the device failed after the operation, because the files have new numbers then.
        let process = device.end_process();
        drop(device);
        result.map(|()| Self {
            shared: Arc::clone(&self.shared),
            process,
        })
    }

    /// Returns true if the device has failed.
    pub fn has_device_failed(&self) -> bool {
        self.shared.lock().has_failed
    }

    /// Calls `observer` before each call and after each executed call, on the calling thread. Reads and calls after the
    /// failure of the device count too. Replaces the previous observer. The observer can panic, park the thread, or end
    /// the process: operations until then stay done. It must not call this disk, because the disk is locked meanwhile.
    pub fn observe(&self, observer: impl Fn(&ObservedCall<'_>) + Send + Sync + 'static) {
        self.shared.lock().observer = Some(Arc::new(observer));
    }

    /// The calls after the failure of the device, in their order: the first 1,000 of them.
    pub fn refused_calls(&self) -> Vec<RefusedCall> {
        self.shared.lock().refused.clone()
    }

    /// The changes that a thread tried after a refused change: it got the error of the failed device and did not stop.
    /// Each of these calls is a finding.
    #[must_use]
    pub fn changes_after_refusal(&self) -> Vec<RefusedCall> {
        let mut calls = self.refused_calls();
        calls.retain(|call| call.already_refused && call.kind.changes_disk());
        calls
    }

    /// At most `choices_max` of the images that a power loss can leave now under `model`. Returns all images if there
    /// are no more than `choices_max`.
    ///
    /// Otherwise the result has these images: without any undurable operation, and with all of them; every subset of
    /// whole operations if there are few, or else each image without one operation and each image with only one
    /// operation; each prefix; each operation with its representative tears. If these are too many, `seed` draws some
    /// of them. If these are fewer, the result also has images drawn from `seed`. A model that orders all operations
    /// has only prefixes. The result counts the images that it does not contain.
    pub fn choices(&self, model: DiskModel, choices_max: usize, seed: u64) -> ImageChoices {
        self.shared.lock().state.choices(model, choices_max, seed)
    }

    /// The models under which a power loss can leave this image now.
    pub fn models(&self, choice: &ImageChoice) -> Vec<DiskModel> {
        self.shared.lock().state.models(choice)
    }

    /// Builds one of the images that a crash can leave now.
    pub fn image(&self, choice: &ImageChoice) -> Image {
        self.shared.lock().state.image(choice)
    }

    /// The hash of this image. This does not build the image.
    pub fn image_hash(&self, choice: &ImageChoice) -> u128 {
        self.shared.lock().state.image_hash(choice)
    }

    /// All changes that are not durable now.
    pub fn undurable(&self) -> Vec<Undurable> {
        self.shared.lock().state.undurable()
    }

    /// The paths of the held locks.
    pub fn locks_held(&self) -> Vec<Arc<Path>> {
        let device = self.shared.lock();
        let locked = device.locks.keys();
        locked
            .map(|file| device.state.files[*file].path.clone())
            .collect()
    }

    /// The first operation after the last release of a lock.
    pub(crate) fn operation_after_lock(&self) -> Option<DiskOperation> {
        let device = self.shared.lock();
        let released_at = device.lock_released_at?;
        let after = device.journal.get(released_at as usize)?;
        Some(after.operation.clone())
    }

    /// The paths of the open files, one entry for each handle.
    pub fn open_files(&self) -> Vec<Arc<Path>> {
        let device = self.shared.lock();
        let open = device.handles.iter();
        open.flat_map(|(file, handles)| vec![device.state.files[*file].path.clone(); *handles])
            .collect()
    }

    /// Makes the operation with this ordinal fail.
    pub fn fail_operation(&self, ordinal: u64, fault: Fault) {
        self.fail(FaultScope::At(ordinal), fault);
    }

    /// Makes every recorded operation from this ordinal on fail.
    pub fn fail_from(&self, ordinal: u64, fault: Fault) {
        self.fail(FaultScope::From(ordinal), fault);
    }

    /// Makes the next operation of this kind fail, recorded or not.
    pub fn fail_next(&self, kind: DiskOperationKind, fault: Fault) {
        self.fail(FaultScope::Next(kind), fault);
    }

    /// Makes every operation of this kind fail, recorded or not.
    pub fn fail_every(&self, kind: DiskOperationKind, fault: Fault) {
        self.fail(FaultScope::Every(kind), fault);
    }

    fn fail(&self, scope: FaultScope, fault: Fault) {
        self.shared.lock().faults.rules.push((scope, fault));
    }

    /// Returns true if the device has failed, or if a fault or the full disk failed an operation that
    /// [changes the disk](DiskOperationKind::changes_disk).
    pub fn has_any_failure(&self) -> bool {
        let device = self.shared.lock();
        device.has_failed || device.failed_operations_len > 0
    }

    /// The number of failed operations that [change the disk](DiskOperationKind::changes_disk). They failed because of
    /// a fault, the full disk or the failed device.
    pub(crate) fn failed_operations_len(&self) -> usize {
        let device = self.shared.lock();
        let refused = device.refused.iter().filter(|call| call.kind.changes_disk());
        device.failed_operations_len + refused.count()
    }

    /// Removes all faults that are still set.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.rules.clear();
    }

    /// The faults that have happened. A fault that does not apply to the operation's kind does not happen.
    pub fn faults_fired(&self) -> Vec<Fault> {
        self.shared.lock().faults.fired.clone()
    }

    /// Sets the maximum total length of the files in bytes. Existing bytes beyond it stay. A write beyond it writes the
    /// bytes for which there is space. With no space it fails with [`io::ErrorKind::StorageFull`].
    pub fn set_capacity_bytes(&self, capacity_bytes: Option<u64>) {
        self.shared.lock().options.capacity_bytes = capacity_bytes;
    }
}

impl ImageBuilder {
    /// The disk at this position after a process crash: undurable operations stay undurable, and the next operation has
    /// the next ordinal. The disk has the options of the recorded disk.
    pub fn disk(&self) -> SimDisk {
        let shared = self.device();
        SimDisk { shared, process: 0 }
    }

    /// A disk with the content of the image, all of it durable, and the options of the recorded disk.
    pub(crate) fn disk_with_image(&self, choice: &ImageChoice) -> SimDisk {
        SimDisk::from_state(None, self.state_with_image(choice), self.options())
    }
}
