//! The parts of a sweep, slices of the explorations of `lab::programs`, the pruning against a naive exploration, and larger
//! cases on scheduled and on real threads.

mod panics;
mod pruning;
mod real_threads;
mod results;
mod slices;
mod sweeps;
mod threads_case;

use super::*;

/// The program with these calls.
fn program(text: &str) -> Program {
    text.parse().unwrap()
}
