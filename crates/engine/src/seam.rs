//! The seam: what a worker's loop asks of an engine, and what it promises in return.
//!
//! The loop promises that each window it passes holds exactly [`WindowSpec::samples`] finite samples, that a batch is
//! never empty and never above [`EngineInfo::max_batch`], and that windows of one track come in order; likewise of segments,
//! where the engine has a residual. An engine never sees tracks, slots or rings.

use bundle::WindowSpec;
use thiserror::Error;
use types::{Device, Digest, Dtype};

/// A clip with known scores, from the bundle: what a device must reproduce before a part it made may count.
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    /// Mono PCM at the window's rate. Empty: the bundle brings none, and every canary fails.
    pub pcm: Vec<f32>,
    /// The logit of each window that the clip is cut into, in order.
    pub logits: Vec<f32>,
    /// Largest difference of a logit that counts as the same (the bundle's ε for the loaded dtype).
    pub epsilon: f32,
}

/// What an engine says of itself once it is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineInfo {
    /// The digest that names the bundle.
    pub bundle: Digest,
    /// How tracks are cut for it.
    pub window: WindowSpec,
    /// Where it is loaded.
    pub device: Device,
    /// Number format of inference.
    pub dtype: Dtype,
    /// Most windows of one call of [`Engine::screen`]. At least 1.
    pub max_batch: usize,
    /// Rows of [`WindowScore::picture`]: at most 64.
    pub picture_rows: usize,
    /// A window whose root mean square lies below this level, dB against full scale, is silent (the bundle's level rule):
    /// it stands in the timeline but not in the means of features and embeddings.
    pub silent_below_db: f64,
    /// How segments are cut for the residual, where the bundle has one.
    pub residual: Option<ResidualInfo>,
}

/// What an engine says of its residual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResidualInfo {
    /// Rate of the PCM that it hears, Hz.
    pub rate_hz: u32,
    /// Its channels, interleaved: 1 or 2.
    pub channels: u32,
    /// Frames of a segment: one value for each channel.
    pub segment: usize,
    /// Most segments of one call of [`Engine::residual`]. At least 1.
    pub max_batch: usize,
}

impl ResidualInfo {
    /// Values of a segment.
    pub fn values(&self) -> usize {
        self.segment * self.channels as usize
    }
}

/// What of a segment's values counts, and how they were scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// Frames of zeros before the first that counts.
    pub before: usize,
    /// Frames that count: all of them but in a track shorter than a segment. At least 1.
    pub samples: usize,
    /// What was taken off the track, of full scale.
    pub mean: f64,
    /// What it was divided by then, of full scale.
    pub deviation: f64,
}

/// What an engine makes of one segment.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentScore {
    /// The feature vector, in the order of `bundle::features`.
    pub features: Vec<f32>,
}

/// A segment with a known feature vector, from the bundle: what a device must reproduce before a residual that it made may count.
#[derive(Clone, Debug, PartialEq)]
pub struct ResidualCanary {
    /// One segment's values.
    pub pcm: Vec<f32>,
    /// What of it counts.
    pub segment: Segment,
    /// Its features.
    pub features: Vec<f32>,
    /// The span of each.
    pub spans: Vec<f32>,
    /// Largest difference that counts as the same, in shares of a feature's span.
    pub epsilon: f32,
}

/// What an engine makes of one window.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowScore {
    /// The network's uncalibrated answer; higher means more like generated audio.
    pub logit: f32,
    /// Mel picture on the bundle's fixed u8 scale: `picture_rows` rows per column, column after column (time runs
    /// slowest), lowest band first. Columns divide the window evenly; empty if the engine draws none.
    pub picture: Vec<u8>,
    /// The window's feature vector; the same length for each window of a bundle, at most 256.
    pub features: Vec<f32>,
    /// The window's embedding, where the bundle has one; the loop keeps the mean over the track.
    pub embedding: Option<Vec<half::f16>>,
}

/// Why an engine gave no scores. The loop decides what follows from the variant alone.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The batch did not fit: the loop tries the same items in two halves; one item alone fails its track.
    #[error("a batch of {batch} does not fit the device: {detail}")]
    OutOfMemory {
        /// Windows or segments asked for.
        batch: usize,
        /// The device's own words.
        detail: String,
    },
    /// The residual's network found no room beside what is loaded: nothing is known of what was asked, nor of any track for its
    /// residual, until there is room.
    #[error("the residual's network has no room on the device: {detail}")]
    NoRoom {
        /// The device's own words.
        detail: String,
    },
    /// The device or the process is beyond use (CUDA errors stick): the worker says so and ends.
    #[error("the device failed: {detail}")]
    Device {
        /// The device's own words.
        detail: String,
    },
    /// The bundle cannot be loaded; another try with the same files fails the same.
    #[error("bundle at `{path}` cannot be loaded: {detail}")]
    Bundle {
        /// The bundle's folder.
        path: String,
        /// What was wrong with it.
        detail: String,
    },
}

/// An engine that screens windows of PCM on one device, and separates segments where its bundle says how.
pub trait Engine {
    /// What is loaded, where, and how tracks are cut for it. Constant for the engine's life.
    fn info(&self) -> &EngineInfo;

    /// The bundle's canary clip. The loop cuts it as any track, screens it and compares.
    fn canary(&self) -> &Canary;

    /// Scores `batch` windows that lie one after another in `pcm` (`batch * window.samples()` finite samples), in order.
    ///
    /// # Errors
    /// [`EngineError::OutOfMemory`] leaves the engine usable; any other error ends the worker.
    fn screen(&mut self, pcm: &[f32], batch: usize) -> Result<Vec<WindowScore>, EngineError>;

    /// The residual's canary; none where the bundle brings none, and every canary of it fails.
    fn residual_canary(&self) -> Option<&ResidualCanary>;

    /// Takes segments apart that lie one after another in `pcm` ([`ResidualInfo::values`] finite values each, of a track with
    /// its mean taken off and divided by its deviation), and measures what is left of each, in order. Asked only of an engine
    /// with [`EngineInfo::residual`]. The first call may take as long as loading a network does.
    ///
    /// # Errors
    /// [`EngineError::OutOfMemory`] and [`EngineError::NoRoom`] leave the engine usable; any other error ends the worker.
    fn residual(
        &mut self,
        pcm: &[f32],
        segments: &[Segment],
    ) -> Result<Vec<SegmentScore>, EngineError>;
}
