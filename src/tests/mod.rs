//! Tests of the files directly in `src`, and the rules that all sources must keep.

mod decay;
mod intact;
mod poison;
pub(crate) mod source_bugs;
pub(crate) mod source_checks;
