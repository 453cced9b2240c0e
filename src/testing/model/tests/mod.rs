//! Tests of the model: against the engine, of parts of a state, and of the explanations of planted differences.

mod engine;
mod list;
mod part;
mod planted;
