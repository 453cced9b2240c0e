//! The crash-recovery test kit: injects crashes and faults, recovers the database, and checks every promise of the
//! engine. It exists only in builds with the feature `test-utils` and in the crate's own tests.
//!
//! A crash test has three steps. It crashes the database at one position, recovers from the image that the crash leaves
//! on disk, and checks the recovered content against an oracle. A sweep does this at every position. Start with
//! [Crash everywhere](#crash-everywhere-the-first-test-to-write).
//!
//! # Which item for which task
//! | task | item |
//! |---|---|
//! | crash a database at every position, also in several sessions | [`CrashSweep`] |
//! | crash a database at one position and check every promise | [`run_plan`] with a [`Plan`] |
//! | crash a database on real files, over any storage engine | [`CrashSweep::crash_on_files`] |
//! | crash other code at one crash point | [`run_to_crash`]; [`run_with_crash`] also accepts a run without a crash |
//! | explore the schedules of several threads, and check the images of crashes in each | [`schedule`] |
//! | replay a failure of a crash or of a schedule from its line | [`replay()`] |
//! | compare the crash modes, also `SIGKILL` of a child process | [`compare_crash_modes`] |
//! | fail a disk, fill it, or cut its power | [`SimDisk`] |
//! | put a custom fault into files or storage | [`faults`] |
//! | set the time of a database | [`TestClock`] |
//! | check a storage engine | [`conformance`] |
//! | write a report | [`report`] |
//!
//! # Modules
//! | module | content |
//! |---|---|
//! | [`crash_injector`] | the crash points, and the injector that crashes at one of them |
//! | [`sim_disk`] | a disk in memory with faults, and the images that a power loss can leave on it |
//! | [`workload`] | the operations of a test run, written by hand or drawn from a seed |
//! | [`plan`] | one test case: the work, the crashes, and the text form of both |
//! | [`sweep`] | the runs of all cases, and findings |
//! | [`schedule`] | threads that run one at a time, under every schedule with few preemptions |
//! | [`oracle`] | the check of a recovered database against the acknowledged calls |
//! | [`conformance`] | the checks of a storage engine without the database |
//! | [`faults`] | wrappers that pass each call to files or storage to a closure |
//! | [`report`] | pages, tables and JSON of the results |
//!
//! # Semantic versioning
//! The stable items are those of [`crash_injector`], [`sim_disk`], [`workload`], [`plan`], [`sweep`], [`oracle`],
//! [`conformance`], [`report`], [`schedule`] and [`faults`], [`ChildProgram`] and [`replay()`]: their names, signatures and
//! documented meaning. The text of a plan parses to the same plan in every later minor version. `#[non_exhaustive]`
//! enums and structs can grow.
//!
//! These are not stable: the hidden module `lab` (campaigns that this project runs on itself); the text of messages,
//! findings and pages; the number of images that a sweep builds; the operations that a seed draws; and the schedules of
//! a sweep, the numbers of their decisions and [`ReplayedSchedule::hash`](schedule::ReplayedSchedule::hash). So a line
//! with `work=standard` and a line that begins with `tidaldb-schedule:` are valid for one version only.
//!
//! # Crash everywhere: the first test to write
//! The sweep crashes the work at every position. The test fails if any crash loses a promised result. It also fails if
//! the sweep reaches no crash position, because then it tests nothing.
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
//! A database has many sessions. A reopening ends a session by a close, a drop, a kill or a power loss, and can change
//! the options of the next session. The same sweep also crashes in later sessions:
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
//! [`CrashSweep::options`], [`storage`](CrashSweep::storage) and [`files`](CrashSweep::files) replace the standard
//! schema, storage engine and file access by your own.
//!
//! # Crash at one position
//! A plan has the work, the durability policy and the crashes. The run fails if it does not reach each
//! crash.
//! ```
//! use tidaldb::testing::{CrashPoint, Plan, run_plan, sim_disk::ImageChoice};
//!
//! // The 13th record call is in the log, but not acknowledged, when the power is lost.
//! let plan = Plan::standard(7, 40)
//!     .crash_at(CrashPoint::WalPostAggregate, 12)
//!     .leaving(ImageChoice::Synced);
//! let recovered = run_plan(&plan)?;
//! println!("{} events survived", recovered.events());
//! # Ok::<(), Box<tidaldb::testing::Finding>>(())
//! ```
//! A test can also call the database itself and crash one call, on a simulated disk that the test makes:
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
//! # Check a storage engine
//! A sweep crashes the database over any [`StorageEngine`](crate::storage::StorageEngine) that reads and writes its
//! files through the passed file access:
//! ```
//! use std::path::Path;
//! use std::sync::Arc;
//! use tidaldb::storage::{FileStore, FileStoreOptions};
//! use tidaldb::testing::CrashSweep;
//!
//! // Replace `FileStore` by your engine. A `FileStore` without a fixed id draws one, so two runs would differ.
//! let options = FileStoreOptions { store_id: Some(7), ..FileStoreOptions::default() };
//! let sweep = CrashSweep::standard(7, 12).storage(move |files| {
//!     Ok(Arc::new(FileStore::open(files, Path::new("/mine"), &options)?))
//! });
//! sweep.images_max(16).run().expect_clean();
//! ```
//! [`conformance`] checks the engine without the database: on real files, with killed processes, with a full disk and on a
//! simulated disk.
//! Each child process runs the same test again. An engine with a separate file access gets all checks except those on
//! the simulated disk.
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
//! # Replay a failure
//! Every finding prints one replay line, and a test with this line to paste into your code:
//! ```
//! # fn test() -> Result<(), tidaldb::testing::ReplayFailure> {
//! tidaldb::testing::replay(
//!     "tidaldb-replay: work=ops:create:a;add:a,7 durability=every-synced crash=CollectionIndexUpdate#1 mode=power-loss:synced",
//! )?;
//! # Ok(())
//! # }
//! # test().unwrap();
//! ```
//! Use [`CrashSweep::replay`] for a line of a crash sweep with custom work, options, storage or files, and
//! [`ScheduleSweep::replay`](schedule::ScheduleSweep::replay) for one of a schedule sweep with custom work or options.

pub mod conformance;
pub mod crash_injector;
pub mod faults;
#[doc(hidden)]
pub mod lab;
pub(crate) mod lock;
pub(crate) mod model;
pub mod oracle;
pub mod plan;
mod process;
mod replay;
pub mod report;
pub mod schedule;
pub(crate) mod scheduler;
pub mod sim_disk;
pub mod sweep;
mod temp_dir;
mod test_clock;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod threads;
mod watchdog;
pub mod workload;

pub use crash_injector::{
    CrashAction, CrashInjector, CrashPayload, CrashPoint, Crashed, Crossing, CrossingCounts,
    CrossingRecorder, NotCrashed, NotCrashedReason, ParseCrashPointError, SlotGuard, UnwatchedListener,
    check_crash_point, clear_injector, crash_of, inherit, install_injector, run_to_crash, run_with_crash,
    scoped_injector, scoped_recorder,
};
pub use plan::Plan;
pub use process::ChildProgram;
pub use replay::{ReplayFailure, ReplayedLine, replay};
pub use sim_disk::SimDisk;
pub use sweep::{
    CrashSweep, Driver, Finding, RecoveredCase, SweepReport, compare_crash_modes, random_plan, run_plan,
};
pub use test_clock::TestClock;

/// Compiles and runs the examples of the README as documentation tests.
#[doc = include_str!("../../README.md")]
mod readme {}
