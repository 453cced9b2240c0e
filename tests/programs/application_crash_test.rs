//! A small application around a database, and a test that crashes it everywhere.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::sync::Arc;

use tidaldb::testing::sim_disk::{DiskModel, Image, Side};
use tidaldb::testing::{CrashPoint, SimDisk, run_to_crash};
use tidaldb::{Background, CohortId, EntityId, Error, Options, Schema, Signal, SignalEvent, TidalDb, UserId};

/// Promises: an acknowledged like survives, and an item has at most one like, also if a client repeats a call.
struct Likes(TidalDb);

impl Likes {
    /// Opens the database, and records the like of each item that a crash left in the set without one.
    fn open(disk: &SimDisk) -> Result<Self, Error> {
        let schema = Schema::new().signal(Signal::new("like").half_life_ms(60_000).positive());
        let options = Options::new(schema)
            .preallocate_bytes(0)
            .background(Background::Caller);
        let likes = Self(TidalDb::open("/likes", options.files(Arc::new(disk.clone())))?);
        match likes.0.collection_members("liked") {
            Ok(liked) => liked.into_iter().try_for_each(|item| likes.like(item))?,
            Err(_) => likes.0.create_collection("liked")?,
        }
        Ok(likes)
    }

    fn like(&self, item: EntityId) -> Result<(), Error> {
        self.0.add_to_collection("liked", item)?;
        if self.likes(item)? == 0 {
            let event = SignalEvent::new(self.0.signal("like")?, item, 0).with_user(UserId(1));
            self.0.record(&event.with_cohorts(&[CohortId(1)]))?;
        }
        Ok(())
    }

    /// The likes of the last 24 hours.
    fn likes(&self, item: EntityId) -> Result<u64, Error> {
        self.0.windowed_count(item, self.0.signal("like")?, 0, 24, 0)
    }
}

/// The acknowledged items, each with the number of disk operations before its acknowledgement.
type AcknowledgedLikes = RefCell<Vec<(EntityId, u64)>>;

fn session(disk: &SimDisk, acknowledged: &AcknowledgedLikes) -> Result<(), Error> {
    let likes = Likes::open(disk)?;
    for item in [1, 2, 3].map(EntityId) {
        likes.like(item)?;
        acknowledged.borrow_mut().push((item, disk.operations_len()));
        likes.0.checkpoint()?;
    }
    Ok(())
}

/// Checks the promises on the image of a crash that came after so many disk operations.
fn check(image: &Image, acknowledged: &AcknowledgedLikes, operations_len: u64) -> Result<(), Error> {
    let likes = Likes::open(&SimDisk::from_image(image))?;
    for (item, _) in acknowledged
        .borrow()
        .iter()
        .filter(|(_, at)| *at <= operations_len)
    {
        assert_eq!(likes.likes(*item)?, 1, "the acknowledged like of {item:?}");
    }
    for item in [1, 2, 3].map(EntityId) {
        likes.like(item)?;
        assert_eq!(likes.likes(item)?, 1, "{item:?} after a repeated call");
    }
    Ok(())
}

/// Crashes at three crossings of each point and at each disk operation. Returns the number of checked power-loss images.
fn crash_everywhere() -> Result<usize, Box<dyn StdError>> {
    let mut images_len = 0;
    let crossings = CrashPoint::ALL
        .into_iter()
        .flat_map(|point| [0, 1, 2].map(|n| Some((point, n))));
    for crash in crossings.chain([None]) {
        let (disk, acknowledged) = (SimDisk::new(), AcknowledgedLikes::default());
        let mut first = 0;
        if let Some((point, crossing)) = crash {
            drop(run_to_crash(point, crossing, || session(&disk, &acknowledged))?);
            first = disk.operations_len() - 1;
        } else {
            session(&disk, &acknowledged)?;
        }
        let mut images = disk.recording().images();
        for ordinal in first..disk.operations_len() {
            images.seek(ordinal, Side::After)?;
            for choice in images.choices(DiskModel::WEAKEST, 32, 0) {
                check(&images.image(&choice), &acknowledged, images.position())?;
                images_len += 1;
            }
        }
    }
    Ok(images_len)
}

fn main() -> Result<(), Box<dyn StdError>> {
    crash_everywhere().map(|images_len| println!("the promises hold on {images_len} images of crashes"))
}

#[test]
fn no_crash_breaks_a_promise() {
    assert!(crash_everywhere().unwrap() > 300);
}
