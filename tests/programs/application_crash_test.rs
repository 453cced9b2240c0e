//! A small application around a database, and a test that crashes it everywhere.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::sync::Arc;

use tidaldb::testing::sim_disk::{DiskModel, Image, Side};
use tidaldb::testing::{CrashPoint, SimDisk, run_to_crash};
use tidaldb::{Background, CohortId, EntityId, Error, Options, Schema, Signal, SignalEvent, TidalDb, UserId};

const DAY_MS: i64 = 86_400_000;

/// Promises: an acknowledged like survives, after `open` the set "liked" has exactly the items with a like, and no item gets a
/// second like, also if a client repeats a call days later.
struct Likes(TidalDb);

impl Likes {
    /// Opens the database, and records the missing like of each item that a crash left in the set.
    fn open(disk: &SimDisk, now_ms: i64) -> Result<Self, Error> {
        // With this half-life a score stays above 0 for decades. A score of 0 means that the item has no like.
        let like = Signal::new("like").half_life_ms(30 * DAY_MS as u64);
        let options = Options::new(Schema::new().signal(like.positive()))
            .preallocate_bytes(0)
            .background(Background::Caller);
        let likes = Self(TidalDb::open("/likes", options.files(Arc::new(disk.clone())))?);
        match likes.0.collection_members("liked") {
            Err(Error::UnknownCollection { .. }) => likes.0.create_collection("liked")?,
            liked => liked?.into_iter().try_for_each(|item| likes.like(item, now_ms))?,
        }
        Ok(likes)
    }

    fn like(&self, item: EntityId, now_ms: i64) -> Result<(), Error> {
        self.0.add_to_collection("liked", item)?;
        if self.score(item, now_ms)? == 0.0 {
            let event = SignalEvent::new(self.0.signal("like")?, item, now_ms).with_user(UserId(1));
            self.0.record(&event.with_cohorts(&[CohortId(1)]))?;
        }
        Ok(())
    }

    fn score(&self, item: EntityId, now_ms: i64) -> Result<f64, Error> {
        self.0.score(item, self.0.signal("like")?, 0, now_ms)
    }
}

/// The acknowledged items, each with the number of disk operations before its acknowledgement.
type AcknowledgedLikes = RefCell<Vec<(EntityId, u64)>>;

fn session(disk: &SimDisk, acknowledged: &AcknowledgedLikes) -> Result<(), Error> {
    let likes = Likes::open(disk, 0)?;
    for item in [1, 2, 3].map(EntityId) {
        likes.like(item, 0)?;
        acknowledged.borrow_mut().push((item, disk.operations_len()));
        likes.0.checkpoint()?;
    }
    Ok(())
}

/// Checks the promises on an image, two days later. The crash came after `operations_len` disk operations.
fn check(image: &Image, acknowledged: &AcknowledgedLikes, operations_len: u64) -> Result<(), Error> {
    let (likes, now_ms) = (Likes::open(&SimDisk::from_image(image), 2 * DAY_MS)?, 2 * DAY_MS);
    for item in [1, 2, 3].map(EntityId) {
        let is_liked = likes.0.collection_members("liked")?.contains(&item);
        assert_eq!(likes.score(item, now_ms)? > 0.0, is_liked, "the like of {item:?}");
        let is_acknowledged = |(other, at): &_| *other == item && *at <= operations_len;
        assert!(is_liked || !acknowledged.borrow().iter().any(is_acknowledged));
        likes.like(item, now_ms)?;
        // The score of one like is 0.95 to 1, of two likes at least 1.9.
        assert!((0.9..=1.0).contains(&likes.score(item, now_ms)?), "{item:?}");
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
