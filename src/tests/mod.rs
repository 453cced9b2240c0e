//! Tests of the files directly in `src`, and the rules that all sources must keep.

mod decay;
mod lock;
mod poison;
pub(crate) mod source_checks;
