//! Every limit of the engine, in one place. One past a limit is an error before anything is changed.

/// The longest name of a signal or a collection, in bytes. The shortest is one byte.
pub const NAME_BYTES_MAX: usize = 255;
/// The most signals of a schema.
pub const SIGNALS_MAX: usize = 1024;
/// The most half-lives of a signal.
pub const HALF_LIVES_MAX: usize = 16;
/// The longest half-life and bucket, in milliseconds: a thousand years.
pub const DURATION_MS_MAX: u64 = 1000 * 366 * 86_400_000;
/// The most window rings of a signal.
pub const RINGS_MAX: usize = 8;
/// The most buckets that a window ring can be declared with.
pub const RING_BUCKETS_MAX: usize = 4096;
/// The largest absolute weight of an event. Sums of 2^64 such events are finite.
pub const WEIGHT_ABS_MAX: f64 = 1e12;
/// The most cohorts of an event.
pub const EVENT_COHORTS_MAX: usize = 64;
/// The most events of a batch.
pub const BATCH_EVENTS_MAX: usize = 65_536;
/// The largest payload of a log frame, in bytes.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// The smallest segment, in bytes; the size is an option.
pub const SEGMENT_BYTES_MIN: u64 = 512;
/// The largest segment, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// The longest storage key the engine makes, in bytes.
pub const STORAGE_KEY_BYTES_MAX: usize = 1024;
/// The largest batch the embedded store takes, in bytes: keys, values and 10 bytes for each operation.
pub const STORE_BATCH_BYTES_MAX: u64 = (1 << 32) - (1 << 16);
/// The most bytes of changed states after which a checkpoint may be made; the number is an option. Writers wait at twice as
/// many.
pub const CHECKPOINT_STATE_BYTES_MAX: u64 = 1 << 29;
/// A call that could bring the bytes of changed states beyond this waits for a checkpoint first: a checkpoint is one batch.
pub const CHANGED_STATE_BYTES_MAX: u64 = STORE_BATCH_BYTES_MAX / 2;
/// The longest ring of recent positive items of a user.
pub const CO_ENGAGEMENT_RING_LEN_MAX: u32 = 256;
/// The most edges of an item.
pub const CO_ENGAGEMENT_DEGREE_MAX: u32 = 1024;
/// The most user rings, and the most items with edges, that co-engagement can be told to keep.
pub const CO_ENGAGEMENT_RECORDS_MAX: u64 = 1 << 32;
