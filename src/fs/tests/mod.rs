//! Tests of file access, one module for each file, and a file system for tests of other parts.

pub(crate) mod by_name;
mod names;
mod rooted;
