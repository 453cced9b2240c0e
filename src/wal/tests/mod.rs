//! Tests of the log, one module for each file.

mod frame;
mod group_commit;
mod history;
mod payload;
mod segment;
