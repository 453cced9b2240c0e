//! The model against the engine.

mod engine;
mod planted;
