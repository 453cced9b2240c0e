//! Tests of the files directly in `src`.

mod cells;
mod decay;
mod lock;
mod owner;
mod poison;
pub(crate) mod source_checks;
