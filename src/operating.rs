//! How to operate a database: directories, forks, copies, clocks, sizes and shards. Documentation only.
//!
//! | section | content |
//! |---|---|
//! | [Content](#content) | the values that a database keeps |
//! | [Platforms](#platforms) | supported systems |
//! | [Directories](#directories) | renamed, removed and replaced directories |
//! | [Forks](#forks) | handles in a forked child |
//! | [Copies and damage](#copies-and-damage) | copied files, mixed files, damaged files |
//! | [Wrong clocks](#wrong-clocks) | how to see a wrong clock, and how to repair its effects |
//! | [Sizes and several databases](#sizes-and-several-databases) | memory, disk space, many databases |
//! | [Measured figures](#measured-figures) | rates, times and memory, compared with other stores |
//! | [Other storage engines](#other-storage-engines) | checkpoints and collections in an engine of your own |
//! | [Crash tests with your own events](#crash-tests-with-your-own-events) | the crash suite over a file of events |
//!
//! # Content
//! | part | content |
//! |---|---|
//! | scores | for each entity, signal and half-life: the sum of the weights of the events, each decayed by its age |
//! | windows | for each entity and signal: rings of event counts, by default 24 hours and 7 days |
//! | cohorts | the same two for each cohort that an event names |
//! | co-engagement | for each item: a bounded list of the items that the same users engaged with positively, with decayed weights |
//! | collections | named sets of entities, with and, or and difference |
//!
//! # Platforms
//! | platform | supported |
//! |---|---|
//! | Linux | Yes. Tested on x86-64 with ext4. An open of a database that another process has open fails at once. |
//! | other Unix systems | Not tested. A directory is reached by its name. A replaced directory is noticed before or after a file operation, not during it. An open of a database that another process has open fails after 2 s. |
//! | Windows | No. |
//!
//! # Directories
//! The directory of a database holds the file `LOCK`, the directory `log` with the segments, and the directory `store` with the
//! embedded store.
//!
//! - [`TidalDb::open`] resolves the path once. The handle then uses the directory that it opened. It uses the same directory
//!   after a rename, after a `chdir`, and after another directory got the old name.
//! - While a handle is open, a second open fails with [`Error::Locked`], also if the file `LOCK` was removed. After a kill, the
//!   database opens at once, unless a forked child still holds the lock: see [Forks](#forks).
//! - Exception: some file systems, such as NFS, cannot lock a directory. There only the file `LOCK` is locked. If it is removed or
//!   replaced, the next sync, rotation or checkpoint fails, and the cause is [`Error::DirectoryLost`].
//! - If the directory of an open database, its `log` or its `store` is removed, the next sync, rotation or checkpoint fails with
//!   [`Error::Poisoned`], and the cause is [`Error::DirectoryLost`].
//! - An open handle does not notice that a single file was removed. The next open notices it.
//!
//! # Forks
//! - Only the process that opened a handle may write.
//! - A forked child may drop its copy of the handle. The drop writes nothing, and the parent keeps its lock.
//! - Writes of a child fail with [`Error::Poisoned`], and the cause is [`Error::Forked`]. There is one exception: under every
//!   policy except [`Durability::EverySynced`], a call that records or forgets in the same millisecond as the last such call of
//!   the parent is not refused, and can destroy acknowledged calls. So never write in a child.
//! - A daemon opens its database after its last fork.
//! - A child that keeps its copy and does not call `exec` keeps the lock, also after the end of the parent.
//!
//! The documentation of [`TidalDb`] has the details.
//!
//! # Copies and damage
//! - Copy a closed database only.
//! - After its first open, a copy has its own history. A mixture of files of several copies is refused, in most cases with
//!   [`Error::ForeignHistory`], or it opens as one of the copied states. For example, an old log with a newer store can open as
//!   the older state. A mixture of files never opens as a state that mixes both.
//! - After [`TidalDb::close`], a flipped bit, a lost sector, a truncated file or a missing file has one of two effects: `open` refuses
//!   the database, or no data is missing.
//! - [`TidalDb::recovery_report`] lists the segments and files that `open` found, the frames that it replayed, and the tails that
//!   it truncated.
//! - [`RecoveryReport::survived`] takes the receipt of an earlier call. It returns `Some(true)` if the call is in the database and
//!   `Some(false)` if it is lost, for the last 32 openings, and `None` for all others.
//!
//! # Wrong clocks
//! An event may be ahead of the machine's clock by at most [`Options::skew_ms_max`]. Then it is recorded at the clock's present
//! time, and its receipt reports this. An event that is further ahead is refused. [`TidalDb::statistics`] shows that the clock
//! itself is wrong:
//!
//! **The clock was ahead.** [`newest_event_ms`](crate::Statistics::newest_event_ms) is later than the present time, and
//! [`late_drops`](crate::Statistics::late_drops) rises. Until the present time has reached `newest_event_ms`, the values of each
//! entity with such an event are wrong: later events with a correct time can be too old for its windows, which then do not count
//! them (`late_drops`), and they add less than their weight to its scores.
//!
//! 1. Set the clock right.
//! 2. Wait until the present time has reached `newest_event_ms`. If you cannot wait, forget each entity that [`TidalDb::export`]
//!    lists in `signals` or `related` with a `time_ms` later than the present time, and record its recent events again.
//! 3. In both cases, make a checkpoint and open the database again. This lowers `newest_event_ms`.
//!
//! **The clock is behind.** [`events_set_back`](crate::Statistics::events_set_back) rises, and calls are refused if an event is
//! ahead by more than `skew_ms_max`. Set the clock right. The time of each event that was set back stays too early, by at most
//! the error of the clock.
//!
//! # Sizes and several databases
//! A state is the scores and windows of one entity and one signal (and one cohort). All states are in memory.
//!
//! | item | size |
//! |---|---|
//! | a state of the default shape, in memory | about 230 bytes |
//! | the same in storage | about 50 bytes |
//! | an event in the log | 28 bytes, and a frame header for each call |
//!
//! One database has one log, one directory and one order of events. A load that is too large for one database
//! needs several databases, and the application distributes the entities. For example, a billion states and a million events a
//! second are twenty databases, each with 50 million states, 11.5 GB of memory and 50,000 events a second.
//!
//! - **Choice of the database.** Choose it by a hash of the entity's id. Then the scores, windows and cohort values of an entity are in
//!   one database, and one call forgets the entity.
//! - **Batches.** A batch is atomic within one database only. A batch over several databases has one acknowledgement for each.
//! - **Co-engagement.** It links items that the same user engaged with, so one database must see both items. Record positive
//!   events also in the database that belongs to the user, under a signal of their own. When you read the related items of an
//!   item, merge the results of all databases.
//! - **Checkpoints.** The unit of a checkpoint is a page of 32 states. If the events are spread evenly over 50 million states, each
//!   event changes another page: 1.6 KB are stored for 28 bytes in the log, and about 60,000 events make a checkpoint of
//!   100 MB. Then checkpoints limit the rate of events on one disk. If some entities get most of the events, as in ranking, the
//!   events share pages, and the growth of the log decides when a checkpoint is made.
//!
//! # Measured figures
//! Medians of 5 rounds on 2026-11-26. Machine: 2 cores of AMD EPYC, Linux 6.18.44, ext4, where an `fdatasync` after a
//! write of 64 bytes into preallocated zeros takes 83.7 us. The job records a million events for 173,245 states; rows of single or
//! synced events use fewer events. tidaldb also keeps windows and its log; the other stores keep only scores. Rates are events a
//! second.
//!
//! | figure | tidaldb | fjall | redb | LMDB | LMDB write-map | SQLite |
//! |---|---|---|---|---|---|---|
//! | batches of 256, one final sync | 6.35 M/s | 540 k/s | 644 k/s | 951 k/s | 1.91 M/s | 303 k/s |
//! | batches of 256, each synced | 1.87 M/s | 452 k/s | 165 k/s | 197 k/s | 175 k/s | 176 k/s |
//! | one event a call, each synced | 11.6 k/s | 11.2 k/s | 6.66 k/s | 5.20 k/s | 5.04 k/s | 8.19 k/s |
//! | one event a call, written, no sync | 981 k/s | 431 k/s | 108 k/s | 270 k/s | 1.53 M/s | 114 k/s |
//! | decayed score read | 136 ns | 2111 ns | 445 ns | 314 ns | 323 ns | 1198 ns |
//! | memory after reopening and one read of every key | 38.5 MB | 39.4 MB | 12.2 MB | 15.3 MB | 15.4 MB | 3.94 MB |
//!
//! This command repeats them in a checkout of the repository:
//!
//! ```text
//! cargo run --release --manifest-path tests/peers/Cargo.toml
//! ```
//!
//! The file `tests/peers/RESULTS.md` of the repository has all rows with their spread, the missed targets and their causes, and
//! the growth of the figures if the data grows by a factor of 1,000.
//!
//! # Other storage engines
//! Checkpoints and collections may be in any engine that implements [`StorageEngine`](crate::storage::StorageEngine): open the
//! database with [`TidalDb::open_with_storage`]. The log stays in the directory of the database, so recording costs the same.
//! For a distributed engine:
//!
//! - If the disk of the log is lost, the calls after the last checkpoint are lost.
//! - `write_batch` must be atomic over all keys of a database. So all keys of a database belong to one group of replicas.
//! - `flush` returns when a quorum of the group has the writes.
//! - Each change of a collection needs a round trip to the group.
//!
//! The example program `own_storage` has an engine. `cargo test --features test-utils --example own_storage` runs the conformance
//! checks on it.
//!
//! # Crash tests with your own events
//! This command crashes databases while they record events from a file of your own:
//!
//! ```text
//! cargo test --release --features test-utils --test crash_suite -- --events FILE
//! ```
//!
//! - FILE is a file or a pipe with one event on each line, as CSV or TSV. `tests/data/events.csv` is a sample with all columns.
//! - One run without a crash records all events and compares the final state with a simple model. It saves the database at up to
//!   27 positions, and at a few more for rare crash points. Each crash case begins with a copy of a saved database, so it
//!   does not repeat the earlier calls.
//! - The cases are spread over the file, the crash points and the crash modes. The cases that remain after a minute are left out;
//!   `--minutes N` changes this time.
//! - The suite passes if the run reached the end of the file, no case failed, and at least one case ran for each crash mode at
//!   each crash point that the events cross.
//! - For 300,000 events the run took 34 s on two busy cores, and a case 1.0 to 1.6 s. The time of the run and the
//!   size of the saved databases grow with the file, so give a larger file more time. To measure it:
//!   `cargo run --release --features test-utils --example sweep_growth -- --events 300000`.
//!
//! [`Durability::EverySynced`]: crate::Durability::EverySynced
//! [`Error::DirectoryLost`]: crate::Error::DirectoryLost
//! [`Error::ForeignHistory`]: crate::Error::ForeignHistory
//! [`Error::Forked`]: crate::Error::Forked
//! [`Error::Locked`]: crate::Error::Locked
//! [`Error::Poisoned`]: crate::Error::Poisoned
//! [`Options::skew_ms_max`]: crate::Options::skew_ms_max
//! [`RecoveryReport::survived`]: crate::RecoveryReport::survived
//! [`TidalDb`]: crate::TidalDb
//! [`TidalDb::close`]: crate::TidalDb::close
//! [`TidalDb::export`]: crate::TidalDb::export
//! [`TidalDb::open`]: crate::TidalDb::open
//! [`TidalDb::open_with_storage`]: crate::TidalDb::open_with_storage
//! [`TidalDb::recovery_report`]: crate::TidalDb::recovery_report
//! [`TidalDb::statistics`]: crate::TidalDb::statistics
