//! Crash points and the kit that proves recovery by enumerating crashes. Test builds only.
//!
//! | to | use |
//! |---|---|
//! | crash some code at a point | [`run_with_crash`], or [`run_to_crash`], which fails if it did not crash |
//! | crash a database once, and check every promise | [`run_plan`] |
//! | crash a database everywhere, in several sessions too | [`CrashSweep`] |
//! | crash a database on real files, over any storage engine | [`CrashSweep::crash_on_files`] |
//! | run a failure again | [`replay()`] |
//! | compare crash modes, `SIGKILL` of a child among them | [`compare_crash_modes`] |
//! | let a disk fail, fill up, or lose its power | [`SimDisk`] |
//! | put a fault of your own into files or storage | [`faults`] |
//! | prove a storage engine | [`conformance`] |
//! | write a report | [`report`] |
//!
//! # Semantic versioning
//! The items of [`crash_injector`], [`sim_disk`], [`workload`], [`plan`], [`sweep`], [`oracle`], [`conformance`], [`report`]
//! and [`faults`], and [`ChildProgram`]: their names, signatures and documented meaning. A plan's text parses in every later minor version to the
//! same plan. Enums and structs that are `#[non_exhaustive]` may grow. Outside are the module `lab`, which is hidden and
//! holds campaigns that this project runs on itself; the text of messages, findings and pages; the number of images that a
//! sweep builds; and the operations that a seed draws, so a line with `work=standard` is good for one version.
//!
//! # Crash at a point
//! A plan has three parts: the work, the policy, and the crashes. The run fails if it does not reach a crash.
//! ```
//! use tidaldb::testing::{CrashPoint, Plan, run_plan, sim_disk::ImageChoice};
//!
//! // The 13th recording call is in the log, but not acknowledged, when the power is lost.
//! let plan = Plan::standard(7, 40)
//!     .crash_at(CrashPoint::WalPostAggregate, 12)
//!     .leaving(ImageChoice::Synced);
//! let recovered = run_plan(&plan)?;
//! println!("{} events survived", recovered.events());
//! # Ok::<(), Box<tidaldb::testing::Finding>>(())
//! ```
//! With your own code around the database, on a simulated disk of your own:
//! ```
//! use std::sync::Arc;
//! use tidaldb::testing::workload::{standard_schema, tiny_options};
//! use tidaldb::testing::{CrashPoint, SimDisk, run_to_crash};
//! use tidaldb::{EntityId, SignalEvent, TidalDb};
//!
//! let disk = SimDisk::new();
//! let open = || TidalDb::open("/db", tiny_options(standard_schema()).files(Arc::new(disk.clone())));
//! let db = open()?;
//! let event = SignalEvent::new(db.signal("view")?, EntityId(1), 0);
//! let crashed = run_to_crash(CrashPoint::WalPreAggregate, 0, || db.record(&event))?;
//! assert_eq!(crashed.point, CrashPoint::WalPreAggregate);
//! drop(db);
//! assert_eq!(open()?.score(EntityId(1), event.signal, 0, 0)?, 1.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Crash everywhere
//! The first test to write. It fails if anything that was promised is lost after any crash, and if it tests nothing.
//! ```
//! use tidaldb::testing::CrashSweep;
//! use tidaldb::testing::workload::Operation;
//!
//! // fn no_crash_loses_a_watch_list() {
//! let sweep = CrashSweep::driven("watch list", |driver| {
//!     driver.apply(&Operation::CreateCollection(b"to watch".to_vec()))?;
//!     driver.apply(&Operation::AddToCollection(b"to watch".to_vec(), tidaldb::EntityId(7)))?;
//!     driver.apply(&Operation::Sync)?;
//!     Ok(())
//! });
//! sweep.run().expect_clean();
//! // }
//! ```
//! A database has many sessions. A reopening ends one by a close, a drop, a kill or a power loss, and may change the options of
//! the next one. The same sweep crashes in later sessions too:
//! ```
//! use tidaldb::testing::CrashSweep;
//! use tidaldb::testing::sim_disk::ImageChoice;
//! use tidaldb::testing::workload::{Operation, Reopening, SessionChange, SessionEnd, Workload};
//!
//! let mut operations = Workload::standard(7, 8).operations;
//! let end = SessionEnd::PowerLoss(ImageChoice::Synced);
//! operations.push(Operation::Reopen(Reopening { end, changes: vec![SessionChange::AppendSignal] }));
//! operations.extend(Workload::standard(8, 4).operations);
//! CrashSweep::of(Workload { operations }).images_max(8).run().expect_clean();
//! ```
//! [`CrashSweep::options`], [`storage`](CrashSweep::storage) and [`files`](CrashSweep::files) put your own schema,
//! storage engine and file access in the place of the standard ones.
//!
//! # Prove a storage engine
//! Any [`StorageEngine`](crate::storage::StorageEngine) goes through the same crashes under the database, as long as it
//! reaches its files through the file access it is given:
//! ```
//! use std::path::Path;
//! use std::sync::Arc;
//! use tidaldb::storage::{FileStore, FileStoreOptions};
//! use tidaldb::testing::CrashSweep;
//!
//! // Yours in the place of `FileStore`. Without an id of its own it draws one, and no run is like the one before.
//! let options = FileStoreOptions { store_id: Some(7), ..FileStoreOptions::default() };
//! let sweep = CrashSweep::standard(7, 12).storage(move |files| {
//!     Ok(Arc::new(FileStore::open(files, Path::new("/mine"), &options)?))
//! });
//! sweep.images_max(16).run().expect_clean();
//! ```
//! [`conformance`] checks the engine without the database: on real files, with killed processes and a full disk. Each child
//! process runs the same test again. An engine with its own file access gets all checks but those on the simulated disk.
//! ```
//! use tidaldb::storage::{FileStore, FileStoreOptions};
//! use tidaldb::testing::conformance::Conformance;
//!
//! // #[test]
//! fn my_engine_conforms() {
//!     let options = FileStoreOptions::default();
//!     let open = move |files, dir: &_| FileStore::open(files, dir, &options);
//!     Conformance::over_file_access("mine", open).check().assert_conforms();
//! }
//! ```
//!
//! # Run a failure again
//! Every failure prints one line, and a test to paste that replays it.
//! ```
//! # fn test() -> Result<(), tidaldb::testing::ReplayFailure> {
//! tidaldb::testing::replay(
//!     "tidaldb-replay: work=ops:create:a;add:a,7 durability=every-synced crash=CollectionIndexUpdate#1 mode=power-loss:synced",
//! )?;
//! # Ok(())
//! # }
//! # test().unwrap();
//! ```
//! A line of a sweep with its own work, options, storage or files is replayed by that sweep: [`CrashSweep::replay`].

pub mod conformance;
pub mod crash_injector;
pub mod faults;
#[doc(hidden)]
pub mod lab;
pub(crate) mod model;
pub mod oracle;
pub mod plan;
mod process;
pub mod report;
pub mod sim_disk;
#[cfg(test)]
mod source_checks;
pub mod sweep;
mod temp_dir;
#[cfg(test)]
mod tests;
mod text;
mod watchdog;
pub mod workload;

pub use crash_injector::{
    CrashAction, CrashInjector, CrashPayload, CrashPoint, Crashed, Crossed, Crossing, CrossingRecorder,
    NotCrashed, NotCrashedReason, ParseCrashPointError, SlotGuard, UnwatchedListener, check_crash_point,
    clear_injector, crash_of, inherit, install_injector, run_to_crash, run_with_crash, scoped_injector,
    scoped_recorder,
};
pub use plan::Plan;
pub use process::ChildProgram;
pub use sim_disk::SimDisk;
pub use sweep::{
    CrashSweep, Driver, Finding, RecoveredCase, ReplayFailure, SweepReport, compare_crash_modes, random_plan,
    replay, run_plan,
};

/// The README's examples are compiled and run with the documentation's tests.
#[doc = include_str!("../../README.md")]
mod readme {}
