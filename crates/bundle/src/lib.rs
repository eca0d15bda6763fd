//! The signed bundle: a folder with a manifest, its signature, weights, a model card and a canary clip, named by
//! the digest of its manifest; and the pure rule from window scores to a verdict.
//!
//! Called by the coordinator (registering), the agent (checking before a worker loads) and the worker (loading,
//! deciding). It never links libtorch, never executes what it reads, and never fetches anything.
//!
//! - [`Bundle::open`] checks a folder against a [`Trust`] and refuses with a typed [`BundleError`].
//! - [`decide()`] turns the scores of a track's windows into a probability with its prior and a verdict.
//! - [`fuse()`] does so for a track that was separated; [`features`] says what is measured of it.
//! - [`Segments::choose`] says which of its segments are.
//! - [`separator`] is what the second engine's network is built from; [`Overlap`] where its segments lie.
//! - [`WindowSpec`] says where windows lie on a track; cutter, training and tests share it.
//! - [`write()`] makes and signs a folder.

mod canary;
mod choose;
mod decide;
mod error;
pub mod features;
mod fuse;
mod gate;
mod manifest;
mod network;
mod open;
mod overlap;
pub mod sample;
pub mod separator;
mod sign;
mod tensors;
mod weights;
mod window;
mod write;

pub use canary::{Clip, ClipError};
pub use choose::{Grid, Heard, Loudness, TRACK_SEGMENTS_MAX};
pub use decide::{Decision, Edge, Evidence, Rules, TrackWindow, decide};
pub use error::BundleError;
pub use fuse::{Fused, Screened, Separated, fuse};
pub use gate::{Gated, Reach};
pub use manifest::{
    Aggregate, Architecture, Band, Calibration, Canary, CanaryScore, CnnV1, Embedding, Epsilon,
    FORMAT, FORMAT_RESIDUAL, FileEntry, Fusion, FusionV1, Gate, LevelRule, Manifest, MelNorm,
    Origin, OriginFormat, Picture, Pooling, Preprocessing, RESIDUAL_CHANNELS_MAX,
    RESIDUAL_RATE_HZ_LEAST, Residual, ResidualCalibration, ResidualCanary, Screen, Segments,
    Separator, Spread, TRACK_SECONDS_MAX, TRACK_WINDOWS_MAX, Term, Tier, Verdicts, WindowFeature,
    Windows,
};
pub use open::{
    BUNDLE_BYTES_MAX, Bundle, FILES_MAX, MANIFEST_BYTES_MAX, MANIFEST_FILE, SIGNATURE_FILE,
};
pub use overlap::{Cut, Overlap};
pub use sign::{KeyError, PublicKey, SecretKey, Signature, Trust, TrustError};
pub use tensors::{
    TENSORS_HEADER_BYTES_MAX, TensorData, Tensors, TensorsError, check_header_length,
};
pub use window::{WindowSpec, WindowStart};
pub use write::{Contents, WriteError, write, write_unsigned};
