//! The seam: what a worker's loop asks of an engine, and what it promises in return.
//!
//! The loop promises that each window it passes holds exactly [`WindowSpec::samples`] finite samples, that a batch is
//! never empty and never above [`EngineInfo::max_batch`], and that windows of one track come in order. An engine never
//! sees tracks, slots or rings.

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
    /// The batch did not fit: the loop tries the same windows in two halves; one window alone fails its track.
    #[error("a batch of {batch} windows does not fit the device: {detail}")]
    OutOfMemory {
        /// Windows asked for.
        batch: usize,
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

/// An engine that screens windows of PCM on one device.
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
}
