//! A simulated disk: the written content, the durable content, and every image that a crash may leave of the two.
//!
//! [`SimDisk`] is a [`FileAccess`] in memory. It records every operation under an ordinal. A single operation can fail, or
//! the whole device at an operation. The disk gives the images of a crash at the instant at which the device failed. The
//! [`Recording`] of a run gives those of every instant of the run.
//!
//! # What a crash may leave
//! This is the contract of [`FileAccess`], taken at its word.
//!
//! *Content.* A file has durable bytes and, in order, the writes and truncations since its last sync. Each of these is
//! there after a crash or is not, whatever became of the others; those that are there were applied in order, and a gap
//! before a write is zeros. A sync makes everything before it durable, for this file alone. A truncation is the
//! [`OpenMode::Create`] of a file that exists: it takes all bytes.
//!
//! *Torn writes.* A write consists of pieces, one for each sector of the file that it touches. It may be there without
//! its end, its beginning or its middle, or with its middle alone. One sector or several in a row may hold garbage, in the
//! place of new or old bytes. If the write made the file longer than its durable length, its end may be zeros, and any part
//! may be stale bytes: free blocks hold those of files whose removal or truncation is durable. Bytes that the write did not
//! touch stay the same, in the torn sector too: a torn write harms no earlier one (`SQLite` calls this powersafe
//! overwrite). A truncation is whole or not at all.
//!
//! *Failed syncs.* A sync that fails with [`Fault::SyncLoses`] leaves each change since the last sync durable or lost. No
//! later sync makes a lost change durable; the same bytes have to be written again.
//!
//! *Names.* A creation, removal or renaming is durable once its directory is synced, a renaming between two directories
//! once both are. Until then each is there after a crash or is not, whatever became of those of other names. Those of
//! one name keep their order: the name stands for what the last one of them that is there made of it, and with none for
//! what it durably stood for. A renaming is one operation on two names. So it is atomic: the file has the old name or the
//! new one, never both and never neither, unless its very creation is missing; a file that the new name stood for is
//! there wholly until the new one is. A file whose creation is missing is absent, synced or not; one whose content is
//! missing is there and empty. Where the creation of a directory is missing, so is all that was in it.
//!
//! *Nothing else.* Between content and names, and between one file and another, nothing is ordered without a sync.
//! Files that were removed, and open files without a name, are in no image. Locks are in none.
//!
//! These are the images of [`DiskModel::WEAKEST`]. The other [models](DiskModel) exclude some of them.
//!
//! # Failure of the device
//! [`SimDisk::crash_at`] and [`SimDisk::crash_now`] end the device: its state stays as it is for images, and every later
//! call, reads too, fails. An operation that the device fails after is done, and its caller is refused like those that come
//! later. The refused calls are kept: [`SimDisk::refused_calls`].
//!
//! # Real files
//! [`SimDisk::over`] carries out every operation on other files too, for example the real ones. So ordinals, faults, the
//! failed device and the undurable operations exist for these files too.
//!
//! There is no clock, no thread and no randomness in it but what is drawn from seeds: the same calls give the same disk.
//!
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
//! // The content is synced, but the directory was not: the file may be there or not.
//! let images = disk.choices(DiskModel::WEAKEST, 100, 0).choices;
//! let found: Vec<_> = images.iter().map(|choice| disk.image(choice).file("/log").is_some()).collect();
//! assert_eq!(found, [false, true]);
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
mod legal;
mod model;
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
use fault::Reach;
use state::{DiskState, Effect};

/// A simulated disk. See the [module](self) for what it promises. Clones are handles of the same disk.
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

    /// A disk on which all of `image` is durable.
    pub fn from_image(image: &Image) -> Self {
        Self::with_options(image, SimDiskOptions::default())
    }

    /// A disk of this kind on which all of `image` is durable.
    pub fn with_options(image: &Image, options: SimDiskOptions) -> Self {
        Self::standing_before(None, DiskState::from_image(image, options.sector_bytes), options)
    }

    /// A disk that stands before the directory `root` of `files`: every operation that is not made to fail is done there,
    /// reads come from there, and paths are those of `files`. In images and records they begin at `root`. What is there
    /// already counts as durable. Nothing else may change what is below `root` while the disk is in use.
    ///
    /// # Errors
    /// Those of reading what is below `root`.
    pub fn over(files: Arc<dyn FileAccess>, root: &Path, options: SimDiskOptions) -> io::Result<Self> {
        let image = Image::read_from(files.as_ref(), root)?;
        let root = root.to_path_buf();
        Ok(Self::standing_before(
            Some(Backing { files, root }),
            DiskState::from_image(&image, options.sector_bytes),
            options,
        ))
    }

    fn standing_before(backing: Option<Backing>, state: DiskState, options: SimDiskOptions) -> Self {
        let shared = SharedDevice::new(Arc::new(state.clone()), options, Vec::new(), state, backing);
        Self { shared, process: 0 }
    }

    /// How many operations were recorded: the next one has this ordinal.
    pub fn operations_len(&self) -> u64 {
        self.shared.lock().journal.len() as u64
    }

    /// Everything that was done to the disk until now.
    pub fn recording(&self) -> Recording {
        let device = self.shared.lock();
        Recording::new(device.start.clone(), device.options, &device.journal)
    }

    /// Makes the device fail at the operation with this ordinal, instead of any set before. One that has passed already
    /// never comes: see [`is_gone`](Self::is_gone) after the run.
    pub fn crash_at(&self, ordinal: u64, side: Side) {
        self.shared.lock().crash_at = Some((ordinal, side));
    }

    /// Ends the device now: every later call fails. May be called from any thread and inside any hook.
    pub fn crash_now(&self) {
        self.shared.lock().is_gone = true;
    }

    /// What an injector does that makes this device fail at its crossing: every call from there on returns an error, so
    /// that the operation returns early with it. One that has no call left completes, and the next one fails.
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
    /// assert!(refused.is_err() && disk.is_gone());
    /// # Ok::<(), tidaldb::Error>(())
    /// ```
    pub fn fail_action(&self) -> CrashAction {
        let disk = self.clone();
        CrashAction::call(move |_, _| disk.crash_now())
    }

    /// Ends the process that uses the disk, as a kill does. Its locks are free. Each later call through this handle, through
    /// its clones, and through files opened by these fails. The written bytes stay. Returns a handle for the next process.
    ///
    /// Images, records and settings of the disk are available through every handle.
    #[must_use]
    pub fn kill(&self) -> Self {
        let process = self.shared.lock().end_process();
        Self {
            shared: Arc::clone(&self.shared),
            process,
        }
    }

    /// Loses the power and gets it back: the disk then holds `image`, and all of it is durable. Otherwise like
    /// [`kill`](Self::kill). This is a recorded operation, so the images before and after it are available.
    ///
    /// # Errors
    /// The device has failed, or fails at this operation; [`io::ErrorKind::Unsupported`] for a disk [over](Self::over) other
    /// files, which keep their content.
    pub fn lose_power(&self, image: &ImageChoice) -> io::Result<Self> {
        if self.shared.backing.is_some() {
            let message = "the files behind the disk keep what was written";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let mut device = self.shared.lock();
        let call = DiskOperation::new(DiskOperationKind::PowerLoss, &Path::new("/").into());
        let lost = device.perform(self.process, call, |_, _| {
            Ok((Effect::PowerLoss(image.clone()), ()))
        });
        // Also if the device failed after the operation: the files have new numbers now.
        let process = device.end_process();
        drop(device);
        lost.map(|()| Self {
            shared: Arc::clone(&self.shared),
            process,
        })
    }

    /// Whether the device has failed.
    pub fn is_gone(&self) -> bool {
        self.shared.lock().is_gone
    }

    /// Calls `observer` on the calling thread before each call and after each that was carried out, reads and calls after
    /// the device's failure too, in the place of any set before. It may panic, park the thread, or end the process there:
    /// what was done until then is done. It must not call this disk, which waits for it.
    pub fn observe(&self, observer: impl Fn(&ObservedCall<'_>) + Send + Sync + 'static) {
        self.shared.lock().observer = Some(Arc::new(observer));
    }

    /// The calls that came when the device was gone, in their order; the first 1,000 of them.
    pub fn refused_calls(&self) -> Vec<RefusedCall> {
        self.shared.lock().refused.clone()
    }

    /// The calls of threads that had been told of the device's failure and continued to change things: each is a finding.
    #[must_use]
    pub fn changes_after_refusal(&self) -> Vec<RefusedCall> {
        let mut calls = self.refused_calls();
        calls.retain(|call| call.already_refused && call.kind.is_durable());
        calls
    }

    /// At most `choices_max` of the images that a power loss may leave now under `model`: all of them if they are not more.
    ///
    /// If there are more: the image with no operation and the one with all; every subset of whole operations, if these are
    /// few, else each image without one operation and each with one operation alone; each prefix; each operation torn in the
    /// telling ways. If these are too many, `seed` draws from them; if they are fewer, `seed` draws random ones in addition.
    /// A model that orders all operations gives prefixes alone. The result counts the images that are left out.
    pub fn choices(&self, model: DiskModel, choices_max: usize, seed: u64) -> ImageChoices {
        self.shared.lock().state.choices(model, choices_max, seed)
    }

    /// The models under which a power loss can leave that image now.
    pub fn models(&self, choice: &ImageChoice) -> Vec<DiskModel> {
        self.shared.lock().state.models(choice)
    }

    /// One of the images that a crash may leave now.
    pub fn image(&self, choice: &ImageChoice) -> Image {
        self.shared.lock().state.image(choice)
    }

    /// The hash of that image, without building it.
    pub fn image_hash(&self, choice: &ImageChoice) -> u128 {
        self.shared.lock().state.image_hash(choice)
    }

    /// Everything that is not durable now.
    pub fn undurable(&self) -> Vec<Undurable> {
        self.shared.lock().state.undurable()
    }

    /// The locks that are held.
    pub fn locks_held(&self) -> Vec<Arc<Path>> {
        let device = self.shared.lock();
        let locked = device.locks.keys();
        locked
            .map(|file| device.state.files[*file].path.clone())
            .collect()
    }

    /// The files that are open, one entry for each handle.
    pub fn open_files(&self) -> Vec<Arc<Path>> {
        let device = self.shared.lock();
        let open = device.handles.iter();
        open.flat_map(|(file, handles)| vec![device.state.files[*file].path.clone(); *handles])
            .collect()
    }

    /// Makes the operation with this ordinal fail.
    pub fn fail_operation(&self, ordinal: u64, fault: Fault) {
        self.fail(Reach::At(ordinal), fault);
    }

    /// Makes every recorded operation from this ordinal on fail.
    pub fn fail_from(&self, ordinal: u64, fault: Fault) {
        self.fail(Reach::From(ordinal), fault);
    }

    /// Makes the next operation of this kind fail, recorded or not.
    pub fn fail_next(&self, kind: DiskOperationKind, fault: Fault) {
        self.fail(Reach::Next(kind), fault);
    }

    /// Makes every operation of this kind fail, recorded or not.
    pub fn fail_every(&self, kind: DiskOperationKind, fault: Fault) {
        self.fail(Reach::Every(kind), fault);
    }

    fn fail(&self, reach: Reach, fault: Fault) {
        self.shared.lock().faults.rules.push((reach, fault));
    }

    /// True if the device has failed, or an operation that changes something or makes it durable failed by a fault or on
    /// the full disk.
    pub fn has_failed(&self) -> bool {
        let device = self.shared.lock();
        device.is_gone || device.failed_len > 0
    }

    /// The number of operations that change something or make it durable and failed: by a fault, on the full disk, or
    /// refused by the failed device.
    pub(crate) fn failed_len(&self) -> usize {
        let device = self.shared.lock();
        let refused = device.refused.iter().filter(|call| call.kind.is_durable());
        device.failed_len + refused.count()
    }

    /// Takes back the faults that have not happened.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.rules.clear();
    }

    /// The faults that have happened. One that applies to other kinds of operations than those it was set for never does.
    pub fn faults_fired(&self) -> Vec<Fault> {
        self.shared.lock().faults.fired.clone()
    }

    /// Sets how many bytes the files may have together. What is over it stays; what would go over it fails with
    /// [`io::ErrorKind::StorageFull`], and a write does what it can first.
    pub fn set_capacity_bytes(&self, capacity_bytes: Option<u64>) {
        self.shared.lock().options.capacity_bytes = capacity_bytes;
    }
}

impl ImageBuilder {
    /// The disk of this instant, still in use, as after a process crash. Undurable operations stay undurable,
    /// and the next operation has the next ordinal. Its options are those of the recorded disk.
    pub fn disk(&self) -> SimDisk {
        let shared = self.device();
        SimDisk { shared, process: 0 }
    }

    /// A disk with the options of the recorded one, on which all of the image is durable.
    pub(crate) fn disk_after(&self, choice: &ImageChoice) -> SimDisk {
        SimDisk::standing_before(None, self.after(choice), self.options())
    }
}
