//! Mel, the screen's network, the separator HTDemucs, the residual's features and the engine over all of it, on libtorch. This crate alone owns tch.
//!
//! Called by the worker (serving, training, evaluation). Serving never decodes audio ([`train`] does), never decides a verdict (that is
//! `bundle::decide`) and never runs code from a model file: networks are compiled in, weights are plain numbers.

pub mod bench;
pub mod canary;
pub mod describe;
pub mod device;
mod engine;
pub mod fault;
pub mod htdemucs;
pub mod mel;
mod memory;
pub mod params;
pub mod residual;
pub mod screen;
pub mod train;

pub use self::engine::TorchEngine;
