//! Tests of the files directly in `src`, and the rules that all sources must keep.

mod decay;
mod intact;
pub(crate) mod planted_changes;
mod poison;
pub(crate) mod source_checks;
