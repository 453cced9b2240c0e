//! Slices of the explorations, and the parts of a sweep.

mod panics;
mod pruning;
mod real_threads;
mod slices;
mod sweeps;
mod threads;

use super::*;

/// The program with these calls.
fn program(text: &str) -> Program {
    text.parse().unwrap()
}
