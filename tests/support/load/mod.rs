//! Load with kills: a child process with two writers and a reader is killed at random moments and started again, while
//! its parent keeps the account of what was acknowledged, and compares after each kill.
//!
//! Owns the plan of what each writer does, which follows from the number of the call alone, so that the account is two
//! numbers. Invariant: whoever takes part knows what call number N of a writer is. Used by the short test and by the
//! long program.

mod calls;
mod child;
mod parent;

pub(crate) use child::serve_if_asked;
pub(crate) use parent::{Load, Totals};

use tidaldb::{Background, Options, Ring, Schema, Signal};

use tidaldb::CoEngagementConfig;

/// How many threads write.
pub(crate) const WRITERS: usize = 2;

/// Small segments and often a checkpoint, so that kills meet rotations, checkpoints and trimming.
fn options() -> Options {
    let schema = Schema::new()
        .signal(
            Signal::new("view")
                .half_life_ms(calls::HALF_LIFE_MS)
                .rings([Ring {
                    bucket_ms: 3_600_000,
                    buckets: 2,
                }]),
        )
        .signal(Signal::new("like").half_life_ms(calls::HALF_LIFE_MS).positive())
        .co_engagement(CoEngagementConfig {
            ring_len_max: calls::RING_LEN_MAX,
            degree_max: 4,
            ..CoEngagementConfig::default()
        });
    Options::new(schema)
        .background(Background::OwnThreads)
        .segment_bytes_max(32 << 10)
        .preallocate_bytes(8 << 10)
        .store_segment_bytes_max(64 << 10)
        .checkpoint_log_bytes(128 << 10)
}
