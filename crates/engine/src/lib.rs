//! The worker's half that knows no libtorch: the seam behind which an engine sits, the protocol between agent and
//! worker, and the loop that turns rings of PCM into track scores.
//!
//! Called by the two worker binaries (`trackscan-worker` with the engine of `models`, `stub-worker` with [`stub`]), each
//! of whose `main` is one call of [`serve()`]; by `models`, which implements [`Engine`]; and by the agent, which speaks
//! [`protocol`]. It never decodes audio, never decides a verdict (that is `bundle::decide`), never opens a network
//! connection and never trusts an index that a decoder wrote.

mod batch;
mod canary;
mod feed;
pub mod frames;
mod moments;
mod picture;
pub mod protocol;
mod seam;
mod segments;
mod separation;
mod serve;
mod split;
pub mod stub;
mod sums;
mod tally;
pub mod windows;

pub use protocol::{
    FromWorker, Load, Loaded, LoadedResidual, ResidualPass, SegmentPoint, ToWorker, TrackResidual,
    TrackScore, WindowPoint, WorkerStats,
};
pub use seam::{
    Canary, Engine, EngineError, EngineInfo, ResidualCanary, ResidualInfo, Segment, SegmentScore,
    WindowScore,
};
pub use serve::{ServeError, serve, serve_on};
