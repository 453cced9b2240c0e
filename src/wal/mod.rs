//! The write-ahead log: one file per role.
//!
//! | file | role |
//! |---|---|
//! | [`segment`] | format: file names and the segment header |
//! | [`frame`] | format: the frame header |
//! | [`history`] | the history value, which differs in diverged copies of one database |
//! | [`payload`] | format: events, forgets, markers |
//! | [`appender`] | the open segment: appends, preallocates, rotates |
//! | [`group_commit`] | threads that wait at the same time share a sync |
//! | [`log`] | the log of a database: appending, syncing, trimming |
//! | [`recovery`] | reads the log back at open |
//!
//! Invariants:
//! - Sequence numbers count frames. A number that was synced, or that a checkpoint covers, is never used again.
//! - A call writes exactly one frame, after all earlier frames.
//! - A segment is synced before its successor takes a frame.
//! - A position that a header promises as synced was synced before that header was written.

pub(crate) mod appender;
pub(crate) mod frame;
mod group_commit;
pub(crate) mod history;
pub(crate) mod log;
pub(crate) mod payload;
pub(crate) mod recovery;
pub(crate) mod segment;
#[cfg(test)]
mod tests;

pub(crate) use frame::{FrameBuffer, FrameKind};
pub(crate) use log::{Log, LogOptions};
