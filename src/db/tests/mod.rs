//! Tests of the handle on a simulated disk: the calls that survive each crash, the state after failures, and refused
//! damage.

mod ahead;
mod bounds;
mod closing;
mod crash_points;
mod creation;
mod damage;
mod directory;
mod disk_errors;
mod durability;
mod engine_errors;
mod failures;
mod forgetting;
mod golden;
mod histories;
mod identity;
mod identity_record;
mod inputs;
mod lost_syncs;
mod missing;
mod names;
mod opening;
mod opening_record;
mod orders;
mod overlapping_syncs;
mod panics;
mod refusals;
mod room;
mod schemas;
mod set_operations;
mod short_sessions;
mod threads;
mod timed;
mod windows;

use std::path::Path;
use std::sync::Arc;

use crate::fs::FileAccess;
use crate::testing::sim_disk::{Image, ImageChoice};
use crate::testing::{SimDisk, TestClock};
use crate::{
    Background, CohortId, Durability, EntityId, Error, Export, Options, Schema, Signal, SignalEvent,
    SignalId, TidalDb, UserId,
};

const PATH: &str = "/db";
const NOW_MS: i64 = 1_700_000_000_000;
const POLICIES: [Durability; 3] = [
    Durability::EverySynced,
    Durability::SyncedEvery { interval_ms: 1000 },
    Durability::OperatingSystem,
];

fn schema() -> Schema {
    Schema::new()
        .signal(
            Signal::new("view")
                .half_life_ms(3_600_000)
                .half_life_ms(86_400_000),
        )
        .signal(Signal::new("like").half_life_ms(3_600_000).positive())
}

/// Options with small files, without threads, and with checkpoints only on request.
fn options(disk: &SimDisk, durability: Durability) -> Options {
    let files: Arc<dyn FileAccess> = Arc::new(disk.clone());
    Options::new(schema())
        .durability(durability)
        .background(Background::Caller)
        .segment_bytes_max(1024)
        .preallocate_bytes(256)
        .store_segment_bytes_max(1024)
        .checkpoint_log_bytes(1 << 20)
        .database_id(7)
        .clock(Arc::new(TestClock::at(NOW_MS)))
        .files(files)
}

fn open(disk: &SimDisk, durability: Durability) -> Result<TidalDb, Error> {
    TidalDb::open(PATH, options(disk, durability))
}

/// Records event number `i`, with a user and two cohorts. All events are different.
fn record(db: &TidalDb, i: u64) -> Result<u64, Error> {
    let cohorts = [CohortId(i % 3), CohortId(7)];
    let event = SignalEvent::new(
        SignalId((i % 2) as u16),
        EntityId(i % 5),
        NOW_MS - i as i64 * 1000,
    )
    .with_weight(1.0 + i as f64 / 64.0)
    .with_user(UserId(i % 2))
    .with_cohorts(&cohorts);
    db.record(&event).map(|receipt| receipt.sequence)
}

/// The state after the first `len` events, from a new database on another disk.
fn state_after(len: u64) -> Export {
    let disk = SimDisk::new();
    let db = open(&disk, Durability::OperatingSystem).unwrap();
    for i in 0..len {
        record(&db, i).unwrap();
    }
    db.export().unwrap()
}

/// A disk with an image that a crash leaves now.
fn crashed(disk: &SimDisk, choice: &ImageChoice) -> SimDisk {
    SimDisk::from_image(&disk.image(choice))
}

/// The content of the disk: all writes, durable or not.
fn content(disk: &SimDisk) -> Image {
    disk.image(&ImageChoice::All)
}

/// The image with the lock file, which an open creates first.
fn with_lock(image: &Image) -> Image {
    let mut image = image.clone();
    image.insert_file(format!("{PATH}/LOCK"), []);
    image
}

/// Checks that a refused open of `image` changed nothing on its disk except the lock file.
#[track_caller]
fn assert_only_locked(disk: &SimDisk, image: &Image, context: impl std::fmt::Display) {
    let (after, before) = (content(disk), with_lock(image));
    let differences = after.differences(&before);
    assert_eq!(after.hash(), before.hash(), "{context}: {differences:?}");
}

fn log_files(image: &Image) -> Vec<String> {
    let log = Path::new(PATH).join("log");
    let in_log = image.files().filter(|(path, _)| path.starts_with(&log));
    in_log.map(|(path, _)| path.display().to_string()).collect()
}
