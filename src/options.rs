//! The options of a database. Each states its unit, default and bounds.

use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::fs::{FileAccess, RealFiles};
use crate::limits::{CHECKPOINT_STATE_BYTES_MAX, Limits, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::{Error, Schema};

/// The promise of an acknowledgement. Under each policy, the state after reopening equals every event up to some
/// sequence number R applied exactly once, without a gap. The policy gives the least R:
///
/// | policy | after a process crash | after a power loss |
/// |---|---|---|
/// | [`EverySynced`](Self::EverySynced) | last acknowledged | last acknowledged |
/// | [`SyncedEvery`](Self::SyncedEvery) | last acknowledged | [`durable_sequence`](crate::TidalDb::durable_sequence) at the crash |
/// | [`OperatingSystem`](Self::OperatingSystem) | last acknowledged | last explicit sync or checkpoint |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// An acknowledged event is synced. Threads that wait at the same time share a sync.
    #[default]
    EverySynced,
    /// An acknowledged event is written, and it is synced within about this time.
    SyncedEvery {
        /// The interval in milliseconds, at least 1.
        interval_ms: u64,
    },
    /// An acknowledged event is written. The operating system chooses the time at which it reaches the disk.
    OperatingSystem,
}

/// The threads that make the automatic checkpoint and the timed sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Background {
    /// Threads of the database.
    #[default]
    OwnThreads,
    /// The thread that calls: a call that records does the due work at its beginning, and a call that changes a
    /// collection makes the due timed sync. The database starts no thread. With a given clock and database id,
    /// [predictable opening ids](Options::predictable_opening_ids) and one caller, every run writes the same bytes.
    Caller,
}

/// The options of an open.
///
/// # Examples
/// ```
/// use tidaldb::{Durability, Options, Schema, Signal};
/// let options = Options::new(Schema::new().signal(Signal::new("view").half_life_ms(3_600_000)))
///     .durability(Durability::SyncedEvery { interval_ms: 100 });
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) schema: Schema,
    /// True to open with the persisted schema instead of [`schema`](Self::schema).
    pub(crate) schema_stored: bool,
    pub(crate) create: bool,
    pub(crate) durability: Durability,
    pub(crate) background: Background,
    pub(crate) segment_bytes_max: u64,
    pub(crate) preallocate_bytes: u64,
    pub(crate) store_segment_bytes_max: u64,
    pub(crate) checkpoint_log_bytes: u64,
    pub(crate) checkpoint_state_bytes: u64,
    pub(crate) skew_ms_max: u64,
    pub(crate) database_id: Option<u128>,
    pub(crate) opening_id_step: Option<u64>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) files: Arc<dyn FileAccess>,
    /// The limits inside the engine. The default, except in tests.
    pub(crate) limits: Limits,
}

impl Options {
    /// The default options with this schema.
    pub fn new(schema: Schema) -> Self {
        Self {
            schema,
            schema_stored: false,
            create: true,
            durability: Durability::default(),
            background: Background::default(),
            segment_bytes_max: 64 << 20,
            preallocate_bytes: 1 << 20,
            store_segment_bytes_max: 16 << 20,
            checkpoint_log_bytes: 64 << 20,
            checkpoint_state_bytes: CHECKPOINT_STATE_BYTES_MAX,
            skew_ms_max: 3_600_000,
            database_id: None,
            opening_id_step: None,
            clock: Arc::new(SystemClock),
            files: Arc::new(RealFiles),
            limits: Limits::default(),
        }
    }

    /// The default options with the stored schema, for a program without the schema, or for one that reads the stored
    /// schema before it opens the database with a changed one. If the database is missing, open fails with
    /// [`Error::DatabaseMissing`], also with [`create`](Self::create).
    ///
    /// # Examples
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tidaldb::{Options, Schema, Signal, TidalDb};
    /// # let dir = std::env::temp_dir().join(format!("tidaldb-stored-schema-{}", std::process::id()));
    /// # let schema = Schema::new().signal(Signal::new("view").half_life_ms(3_600_000));
    /// # TidalDb::open(&dir, Options::new(schema))?.close()?;
    /// let db = TidalDb::open(&dir, Options::stored_schema())?;
    /// assert_eq!(db.schema().signals()[0].name(), b"view");
    /// # db.close()?;
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn stored_schema() -> Self {
        Self {
            schema_stored: true,
            ..Self::new(Schema::new())
        }
    }

    /// `true`: open creates a missing database. `false`: open fails with [`Error::DatabaseMissing`] and creates no
    /// directory and no file. Default: `true`.
    ///
    /// For `open`, a database is missing if its directory holds no segment of a log and no store file. For
    /// `open_with_storage`, it is missing if its directory holds no segment of a log and the engine holds no identity
    /// of a database. A database counts as missing if a crash interrupted its creation before its first call.
    #[must_use]
    pub fn create(self, create: bool) -> Self {
        Self { create, ..self }
    }

    /// The promise of an acknowledgement. Default: [`Durability::EverySynced`].
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// The threads that do the background work. Default: [`Background::OwnThreads`].
    #[must_use]
    pub fn background(self, background: Background) -> Self {
        Self { background, ..self }
    }

    /// A segment of the log of this many bytes takes no further frame. Default 64 MiB;
    /// [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`].
    #[must_use]
    pub fn segment_bytes_max(self, bytes: u64) -> Self {
        Self {
            segment_bytes_max: bytes,
            ..self
        }
    }

    /// The number of zero bytes that are written ahead of the log at a time, so that neither a sync nor an append has
    /// metadata to write; 0 turns this off. Default 1 MiB, at most [`SEGMENT_BYTES_MAX`].
    #[must_use]
    pub fn preallocate_bytes(self, bytes: u64) -> Self {
        Self {
            preallocate_bytes: bytes,
            ..self
        }
    }

    /// A file of the embedded store of this many bytes takes no further batch. Default 16 MiB;
    /// [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`].
    #[must_use]
    pub fn store_segment_bytes_max(self, bytes: u64) -> Self {
        Self {
            store_segment_bytes_max: bytes,
            ..self
        }
    }

    /// A checkpoint is due when the log has grown by this many bytes. Default 64 MiB, at least 1. The next call that
    /// records or forgets makes a due checkpoint, or requests it from the thread of the database. Many segments make a
    /// checkpoint due too, see [`Statistics::log_segments_len`](crate::Statistics::log_segments_len).
    ///
    /// At four times this size writers wait for a checkpoint, so that the log stays bounded also with slow storage.
    #[must_use]
    pub fn checkpoint_log_bytes(self, bytes: u64) -> Self {
        Self {
            checkpoint_log_bytes: bytes,
            ..self
        }
    }

    /// A checkpoint is made when this many bytes of states have changed, also if the log has grown little. Default and
    /// maximum [`CHECKPOINT_STATE_BYTES_MAX`], at least 1.
    ///
    /// Each page with a changed state counts with its largest possible stored size, in which empty buckets of windows
    /// take no bytes. At twice this number of bytes writers wait for a checkpoint, so that the size of a checkpoint
    /// stays bounded.
    #[must_use]
    pub fn checkpoint_state_bytes(self, bytes: u64) -> Self {
        Self {
            checkpoint_state_bytes: bytes,
            ..self
        }
    }

    /// The most milliseconds by which an event's time may be ahead of the clock. Default one hour.
    ///
    /// An event ahead of the clock by at most this time is recorded at the clock's time. An event further ahead is
    /// refused. With 0 every event ahead of the clock is refused. The bound is for clients with clocks that are a
    /// little fast. With any bound, no event is recorded with a time after the clock's time.
    #[must_use]
    pub fn skew_ms_max(self, skew_ms: u64) -> Self {
        Self {
            skew_ms_max: skew_ms,
            ..self
        }
    }

    /// The id of the database. An existing database must have it. Default: a new database gets a random id, and an
    /// existing database may have any id.
    #[must_use]
    pub fn database_id(self, database_id: u128) -> Self {
        Self {
            database_id: Some(database_id),
            ..self
        }
    }

    /// Makes opening ids predictable, for repeatable tests: the first id is `step`, and each later id is higher by
    /// `step` (by 1 if `step` is 0). Default: random ids.
    ///
    /// Not for production: copies that are opened with the same `step` get the same ids. Their receipts are equal, and
    /// an open may accept a mix of their files, which otherwise fails with [`Error::ForeignHistory`].
    #[must_use]
    pub fn predictable_opening_ids(self, step: u64) -> Self {
        Self {
            opening_id_step: Some(step),
            ..self
        }
    }

    /// The clock. Default: the operating system's.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The file system. Default: the operating system's.
    #[must_use]
    pub fn files(self, files: Arc<dyn FileAccess>) -> Self {
        Self { files, ..self }
    }

    /// Returns true if open creates a missing database. It cannot do so with the stored schema, which is missing too.
    pub(crate) fn creates(&self) -> bool {
        self.create && !self.schema_stored
    }

    /// Checks that each option is within its bounds.
    ///
    /// # Errors
    /// `InvalidInput` or `LimitExceeded` names the option.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.schema.validate()?;
        for (field, bytes) in [
            ("segment_bytes_max", self.segment_bytes_max),
            ("store_segment_bytes_max", self.store_segment_bytes_max),
        ] {
            if bytes < SEGMENT_BYTES_MIN {
                return Err(Error::invalid(field, bytes, "it is below SEGMENT_BYTES_MIN"));
            }
            if bytes > SEGMENT_BYTES_MAX {
                return Err(Error::LimitExceeded {
                    what: field,
                    limit: SEGMENT_BYTES_MAX,
                    found: bytes,
                });
            }
        }
        if self.preallocate_bytes > SEGMENT_BYTES_MAX {
            return Err(Error::LimitExceeded {
                what: "preallocate_bytes",
                limit: SEGMENT_BYTES_MAX,
                found: self.preallocate_bytes,
            });
        }
        if self.checkpoint_log_bytes == 0 {
            return Err(Error::invalid("checkpoint_log_bytes", 0, "it must be at least 1"));
        }
        if self.checkpoint_state_bytes == 0 {
            return Err(Error::invalid(
                "checkpoint_state_bytes",
                0,
                "it must be at least 1",
            ));
        }
        if self.checkpoint_state_bytes > CHECKPOINT_STATE_BYTES_MAX {
            return Err(Error::LimitExceeded {
                what: "checkpoint_state_bytes",
                limit: CHECKPOINT_STATE_BYTES_MAX,
                found: self.checkpoint_state_bytes,
            });
        }
        if self.durability == (Durability::SyncedEvery { interval_ms: 0 }) {
            return Err(Error::invalid("interval_ms", 0, "it must be at least 1"));
        }
        Ok(())
    }
}
