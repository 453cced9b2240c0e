//! The model against the engine.

mod engine;
mod part;
mod planted;
