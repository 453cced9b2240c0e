//! Tests of the hot and the warm tier.

mod hot;
mod precision;
mod warm;
