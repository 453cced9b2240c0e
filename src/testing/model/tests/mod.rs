//! The model against the engine.

mod engine;
mod list;
mod part;
mod planted;
