//! Slices of the explorations, and the parts of a sweep.

mod pruning;
mod slices;
mod sweeps;

use super::*;

/// The program with these calls.
fn program(text: &str) -> Program {
    text.parse().unwrap()
}
