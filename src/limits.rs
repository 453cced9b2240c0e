//! Every limit of the engine.
//!
//! The constants are the largest and smallest legal inputs. An input beyond such a limit is refused before any change.
//! `Limits` holds the limits inside the engine: beyond such a limit the engine does the same work in another way.
//! `INDEX_PLACES_MIN` and the constants after it are limits inside the engine that formats or arrays fix.

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
/// The most buckets of a declared window ring.
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
/// The longest storage key, in bytes.
pub const STORAGE_KEY_BYTES_MAX: usize = 1024;
/// The largest batch of the embedded store, in bytes: keys, values and 10 bytes for each operation.
pub const STORE_BATCH_BYTES_MAX: u64 = (1 << 32) - (1 << 16);
/// The largest legal number of bytes of changed states after which a checkpoint is made; the number is an option.
/// Writers wait at twice that number.
pub const CHECKPOINT_STATE_BYTES_MAX: u64 = 1 << 29;
/// The longest ring of recent positive items of a user.
pub const CO_ENGAGEMENT_RING_LEN_MAX: u32 = 256;
/// The most edges of an item.
pub const CO_ENGAGEMENT_DEGREE_MAX: u32 = 1024;
/// The largest legal bound on user rings, and on items with edges, of co-engagement.
pub const CO_ENGAGEMENT_RECORDS_MAX: u64 = 1 << 32;
/// The number of places of the smallest index of a shard. The index of more keys has more places.
pub(crate) const INDEX_PLACES_MIN: usize = 4;
/// The first length of the list of co-engagement records that changed since a fence. When the list is full, repeated
/// records are removed from it, and it gets longer.
pub(crate) const CHANGED_LEN_MIN: usize = 16;
/// The most changes of a call that are grouped by shard at a time: the number of a change within its group is one byte.
pub(crate) const GROUPED_CHANGES_LEN_MAX: usize = 1 << u8::BITS;
/// The most bytes of zeros in one write: the length of the array that holds them.
pub(crate) const ZEROS_BYTES_MAX: usize = 64 << 10;
/// The most earlier openings in the opening record.
pub(crate) const EARLIER_OPENINGS_LEN_MAX: usize = 32;
/// The most ids of a block of a collection. A few bytes encode any number of adjacent ids. So without this limit a few
/// damaged bytes on disk could encode more ids than memory can hold.
pub(crate) const BLOCK_IDS_MAX: u64 = 4096;

/// The limits inside the engine: beyond each size the engine does its work in another way. Production uses the default.
/// Tests choose smaller limits, so that small runs exceed all of them. Apart from `earlier_openings_len_max`, no limit
/// changes a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of a frame. Default 1 MiB, at least 0. A call with a longer frame frees its buffers; other calls leave
    /// them to the next call.
    pub(crate) spare_frame_bytes_max: usize,
    /// Bytes. Default 64 KiB, 1 to [`ZEROS_BYTES_MAX`]. Several calls write a larger number of zeros ahead of the log.
    pub(crate) zeros_bytes_max: usize,
    /// Changes of the hot and warm tier. Default 1024, at least 1. Replay collects changes, and applies them at the end
    /// of the frame with which they reach this number.
    pub(crate) replayed_changes_len_max: usize,
    /// Changes of a call. Default 256, 1 to [`GROUPED_CHANGES_LEN_MAX`]. More changes are applied group by group.
    pub(crate) grouped_changes_len_max: usize,
    /// Pages. Default 32 (at the default shape about 200 KB, a few tens of microseconds), at least 1. A checkpoint that
    /// copies more pages of a shard unlocks the shard in between.
    pub(crate) fenced_pages_len_max: usize,
    /// States of an entity. Default 32, at least 1. Forgetting an entity with more states unlocks its shard each time
    /// it has removed this many states.
    pub(crate) forgotten_slots_len_max: usize,
    /// Steps. Default 8, at least 1. Forgetting an item takes this many steps of the removal of forgotten entries from
    /// the records of co-engagement. Later calls take the other steps.
    pub(crate) forgetting_steps_len: usize,
    /// Bytes of the log. Default 4096, at least 0. The close of a database with a longer log makes a checkpoint even if
    /// the last checkpoint covers everything, so that the next open has little to read.
    pub(crate) closed_log_bytes_max: u64,
    /// Bytes of changed states. Default half of [`STORE_BATCH_BYTES_MAX`], at least 0. Before a call that could
    /// exceed it the engine makes a checkpoint, because a checkpoint is one batch.
    pub(crate) changed_state_bytes_max: u64,
    /// Bytes of a record of the embedded store. Default 256 KiB, at least 1. Several calls write a longer record; each
    /// call writes at least this many bytes and at most one entry more.
    pub(crate) store_write_bytes: usize,
    /// Bytes. Default 64 KiB, at least 1. One step of a compaction of the embedded store reads and copies about this
    /// many bytes. A write that compacts makes at least one step.
    pub(crate) store_step_bytes: usize,
    /// A number of bytes. Default 8, at least 1. A write to the embedded store compacts this many bytes of files for
    /// each byte that it wrote and each byte that it made garbage.
    pub(crate) store_share_factor: u64,
    /// Bytes. Default 4 MiB, at least 1. A compaction of the embedded store syncs its file each time it has written
    /// this many bytes since the last sync.
    pub(crate) store_unsynced_bytes_max: u64,
    /// Files. Default 16, at least 1. A write to the embedded store removes at most this many replaced files, unless
    /// the files are over their limit.
    pub(crate) store_removals_len_max: usize,
    /// Handles. Default 64, at least 1. The embedded store holds at most this many files open for reading, in addition
    /// to the tail and the file of a compaction.
    pub(crate) store_open_files_len_max: usize,
    /// Openings. Default 32, 1 to [`EARLIER_OPENINGS_LEN_MAX`]. The opening record has at most this many earlier
    /// openings. Recovery reports nothing about the receipts of openings before these.
    pub(crate) earlier_openings_len_max: usize,
    /// Segments that take no more frames. Default 64, at least 1. With this many segments a checkpoint is due, because
    /// an open reads each of them. Each session that records and ends without [`close`](crate::TidalDb::close) leaves
    /// one.
    pub(crate) sealed_segments_len_max: u64,
    /// A multiple of [`checkpoint_log_bytes`](crate::Options::checkpoint_log_bytes) and of `sealed_segments_len_max`.
    /// Default 4, at least 1. When the log has grown by that many bytes, or has that many segments, writers wait for a
    /// checkpoint.
    pub(crate) log_growth_factor_max: u64,
    /// A multiple of [`checkpoint_state_bytes`](crate::Options::checkpoint_state_bytes). Default 2, at least 1. When
    /// that many bytes of states have changed, writers wait for a checkpoint.
    pub(crate) state_growth_factor_max: u64,
    /// Bytes of the encoded ids of a block. Default 256, at least 1. A longer block of a collection is divided into two
    /// halves. Two blocks that together have at most half as many bytes are joined.
    pub(crate) collection_block_bytes_max: usize,
    /// Ids. Default and maximum [`BLOCK_IDS_MAX`], at least 1. A block of a collection with more ids is divided too.
    /// Two blocks are joined only if together they have at most half as many ids.
    pub(crate) collection_block_ids_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            spare_frame_bytes_max: 1 << 20,
            zeros_bytes_max: ZEROS_BYTES_MAX,
            replayed_changes_len_max: 1024,
            grouped_changes_len_max: GROUPED_CHANGES_LEN_MAX,
            fenced_pages_len_max: 32,
            forgotten_slots_len_max: 32,
            forgetting_steps_len: 8,
            closed_log_bytes_max: 4096,
            changed_state_bytes_max: STORE_BATCH_BYTES_MAX / 2,
            store_write_bytes: 256 << 10,
            store_step_bytes: 64 << 10,
            store_share_factor: 8,
            store_unsynced_bytes_max: 4 << 20,
            store_removals_len_max: 16,
            store_open_files_len_max: 64,
            earlier_openings_len_max: EARLIER_OPENINGS_LEN_MAX,
            sealed_segments_len_max: 64,
            log_growth_factor_max: 4,
            state_growth_factor_max: 2,
            collection_block_bytes_max: 256,
            collection_block_ids_max: BLOCK_IDS_MAX,
        }
    }
}
