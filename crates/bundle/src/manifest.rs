//! The manifest: everything that a bundle says about itself, as plain data. Its exact bytes are signed and their
//! digest is the bundle's name, so a field never means two things: unknown fields are refused, and a change of
//! meaning raises the format. Checking the values is [`Manifest::check`]; reading files is `open`'s work.

use serde::{Deserialize, Serialize};
use types::{Digest, Dtype, Purpose};

mod check;
mod residual;

pub use check::{TRACK_SECONDS_MAX, TRACK_WINDOWS_MAX};
pub use residual::{
    Fusion, FusionV1, Origin, OriginFormat, RESIDUAL_CHANNELS_MAX, RESIDUAL_RATE_HZ_LEAST,
    Residual, ResidualCalibration, ResidualCanary, Segments, Separator, Spread, Term,
};

/// The format of a manifest without a residual.
pub const FORMAT: u32 = 1;
/// The format of a manifest with one. Versions that know no residual refuse it by this number.
pub const FORMAT_RESIDUAL: u32 = 2;

/// What a bundle says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`], or [`FORMAT_RESIDUAL`] where there is one.
    pub format: u32,
    /// The bundle's name: lower-case letters, digits and dashes.
    pub name: String,
    /// Rises with each release of the same name; the lowest accepted one is configuration.
    pub version: u64,
    /// What the verdicts may be used for.
    pub purpose: Purpose,
    /// The first engine.
    pub screen: Screen,
    /// The second engine, where the bundle has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<Residual>,
    /// Which tracks the screen sends on to the residual.
    pub gate: Gate,
    /// How a calibrated score becomes a verdict.
    pub verdicts: Verdicts,
    /// How far two runs of the same bytes may differ.
    pub epsilon: Epsilon,
    /// How mel values become the pixels of a thumbnail.
    pub picture: Picture,
    /// The clip whose scores are known.
    pub canary: Canary,
    /// File name of the model card.
    pub model_card: String,
    /// Every file of the folder but the manifest and its signature, in order of name.
    pub files: Vec<FileEntry>,
}

/// The screen: from PCM to a track score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Screen {
    /// The compiled-in network and its parameters.
    pub architecture: Architecture,
    /// File name of the weights (safetensors).
    pub weights: String,
    /// From PCM to what the network sees.
    pub preprocessing: Preprocessing,
    /// How the track is cut.
    pub windows: Windows,
    /// Which windows are heard, and how many there must be.
    pub level: LevelRule,
    /// From window logits to the track score.
    pub aggregate: Aggregate,
    /// From the track score to a probability.
    pub calibration: Calibration,
    /// Names of the feature vector's values, in order.
    pub features: Vec<WindowFeature>,
    /// The optional embedding.
    pub embedding: Option<Embedding>,
}

/// The networks that this build knows; a bundle names one and gives its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Architecture {
    /// Blocks of 3×3 convolution, batch norm, ReLU and 2×2 max-pooling, global pooling, one hidden layer, one logit.
    CnnV1(CnnV1),
}

impl Architecture {
    /// The names that a manifest may give.
    pub const NAMES: [&str; 1] = ["cnn_v1"];
}

/// Parameters of [`Architecture::CnnV1`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CnnV1 {
    /// Output channels of each block, from the input on.
    pub channels: Vec<u32>,
    /// How the last block's map becomes one vector.
    pub pooling: Pooling,
    /// Width of the hidden layer.
    pub hidden: u32,
    /// Share of values dropped before each dense layer in training.
    pub dropout: f64,
}

/// How a map of features becomes one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean over frequency and time.
    Mean,
    /// Mean and maximum over frequency and time, side by side.
    MeanMax,
}

impl CnnV1 {
    /// Width of the pooled vector, which is also the embedding's.
    #[must_use]
    pub fn pooled(&self) -> u32 {
        let last = self.channels.last().copied().unwrap_or(0);
        match self.pooling {
            Pooling::Mean => last,
            Pooling::MeanMax => last.saturating_mul(2),
        }
    }
}

/// Log-mel: a periodic Hann window, power spectrum, Slaney mel scale and norm, logarithm to base ten.
/// `value = (log10(max(power, floor)) - shift) * gain`, then the [`MelNorm`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Samples per second of mono PCM.
    pub rate_hz: u32,
    /// Samples in one transform and in its Hann window; even.
    pub n_fft: u32,
    /// Samples from one frame to the next.
    pub hop: u32,
    /// Mel bands.
    pub mels: u32,
    /// Lower edge of the lowest band in hertz.
    pub low_hz: f64,
    /// Upper edge of the highest band in hertz. What lies above is dropped, so that the place where a codec cuts
    /// is nothing that the network can see.
    pub high_hz: f64,
    /// Least mel power that the logarithm sees.
    pub floor: f64,
    /// Subtracted from the logarithm.
    pub shift: f64,
    /// Multiplied with what is left.
    pub gain: f64,
    /// What is done per window afterwards.
    pub norm: MelNorm,
}

/// What is done to a window of log-mel values as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MelNorm {
    /// Nothing.
    None,
    /// The window's mean is subtracted, so that loudness alone moves nothing (but what the floor cuts).
    WindowMean,
}

/// How the track is cut into windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// Frames in one window.
    pub frames: u32,
    /// Frames from one window's start to the next one's; at most `frames`.
    pub stride: u32,
}

/// Which windows are heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelRule {
    /// A window below this root mean square, in dB against full scale, is silent: it stands in the timeline and
    /// does not count towards the track score.
    pub silent_below_db: f64,
    /// A track with fewer windows that are heard ends `inconclusive`.
    pub least_windows: u32,
}

/// From window logits to the track score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The mean.
    Mean,
    /// The middle value, or the mean of the two middle ones.
    Median,
}

/// Platt scaling: `probability = 1 / (1 + exp(-(slope * score + intercept)))` at the prior.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Above zero: a higher score never means a lower probability.
    pub slope: f64,
    /// Added after the slope.
    pub intercept: f64,
    /// The share of AI tracks that the probability supposes; strictly between 0 and 1.
    pub prior: f64,
}

/// Values of a window that a bundle may ask to be kept as its feature vector. Powers are mel powers before the
/// floor; a track's vector is the mean over the windows that are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowFeature {
    /// Ten times the logarithm of the mean power.
    LevelDb,
    /// Mean over frames of geometric against arithmetic mean of the bands, in dB; 0 is white, negative is tonal.
    FlatnessDb,
    /// Power-weighted mean band index over the number of bands, 0 to 1.
    Centroid,
    /// Mean absolute change of a band's level from frame to frame, in dB.
    FluxDb,
}

impl WindowFeature {
    /// Its name in manifests, rows and exports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LevelDb => "level_db",
            Self::FlatnessDb => "flatness_db",
            Self::Centroid => "centroid",
            Self::FluxDb => "flux_db",
        }
    }
}

/// The optional embedding: the network's pooled vector, a track's being the mean over windows that are heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// How many f16 values; equals the network's pooled width.
    pub values: u32,
}

/// Which tracks the screen sends on. Edges are track scores, not probabilities, so that a new prior moves no track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Tracks whose score lies in the band are unsure.
    pub unsure: Option<Band>,
    /// Tracks at or above this score are sent on as corroboration.
    pub positives_from: Option<f64>,
}

/// A band of track scores: `low <= score < high`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// Lowest score inside.
    pub low: f64,
    /// Lowest score above.
    pub high: f64,
}

/// How a score becomes a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdicts {
    /// Operating points by false positive rate, from the loosest to the strictest: scores rise, rates fall.
    pub tiers: Vec<Tier>,
    /// The tier from which on a track is `likely_ai`.
    pub likely_ai_tier: String,
    /// Tracks below this score are `no_evidence`, those from here to the tier are `inconclusive`. Without it the
    /// tier's score is the only edge.
    pub no_evidence_below: Option<f64>,
}

/// One operating point: the share of known-human tracks that score as high, with its bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Its name, such as `fpr_1e-2`.
    pub name: String,
    /// Tracks at or above this score reach the tier.
    pub score: f64,
    /// Known-human tracks that were scored; none of them was fitted on.
    pub humans: u64,
    /// How many of them reach the tier.
    pub false_positives: u64,
    /// Upper bound of the false positive rate at 95 % confidence (one-sided, exact binomial).
    pub fpr_bound_95: f64,
}

/// How far the same stage score for the same bytes may differ between devices and batches, per dtype.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epsilon {
    /// In single precision.
    pub f32: f64,
    /// In single precision with TensorFloat-32 products; without it the bundle may not be run so.
    pub tf32: Option<f64>,
    /// In bfloat16; without it the bundle may not be run so.
    pub bf16: Option<f64>,
    /// In half precision; without it the bundle may not be run so.
    pub f16: Option<f64>,
}

impl Epsilon {
    /// The epsilon of a dtype, where the bundle allows it.
    #[must_use]
    pub fn of(&self, dtype: Dtype) -> Option<f64> {
        match dtype {
            Dtype::F32 => Some(self.f32),
            Dtype::Tf32 => self.tf32,
            Dtype::Bf16 => self.bf16,
            Dtype::F16 => self.f16,
        }
    }

    /// The widest of those that are there.
    #[must_use]
    pub fn widest(&self) -> f64 {
        [self.tf32, self.bf16, self.f16]
            .into_iter()
            .flatten()
            .fold(self.f32, f64::max)
    }

    /// Whether each that is there can tell a right score from a wrong one.
    fn is_sound(&self) -> bool {
        [Some(self.f32), self.tf32, self.bf16, self.f16]
            .into_iter()
            .flatten()
            .all(|epsilon| epsilon > 0.0 && epsilon < 10.0)
    }
}

/// How mel values become pixels: `round(255 * (dB - low_db) / (high_db - low_db))`, cut to 0…255, where dB is ten
/// times the logarithm of the mean mel power of the cell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// Rows, lowest band first; at most the number of mel bands.
    pub rows: u32,
    /// Columns that one window gives; divides the window's frames.
    pub columns: u32,
    /// The level that is black.
    pub low_db: f64,
    /// The level that is white.
    pub high_db: f64,
}

/// The clip whose scores are known: it proves that a device still computes what it should.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// File name of the clip: mono little-endian 16-bit PCM at the screen's rate, without a header.
    pub clip: String,
    /// The logit of each window, in order, computed in single precision on a CPU.
    pub scores: Vec<CanaryScore>,
}

/// The known score of one window of the canary clip.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CanaryScore {
    /// The window's logit.
    pub logit: f64,
}

/// One file of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// A plain file name.
    pub name: String,
    /// Its exact length.
    pub bytes: u64,
    /// Of its content.
    pub sha256: Digest,
}

impl Verdicts {
    /// The tier that makes a track `likely_ai`.
    #[must_use]
    pub fn likely_ai(&self) -> Option<&Tier> {
        self.tiers
            .iter()
            .find(|tier| tier.name == self.likely_ai_tier)
    }
}

impl Manifest {
    /// The tier that makes a track `likely_ai`.
    #[must_use]
    pub fn likely_ai(&self) -> Option<&Tier> {
        self.verdicts.likely_ai()
    }

    /// The manifest's bytes as this code writes them: pretty JSON in field order with a line feed at the end.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .expect("a manifest has no map keys that JSON cannot hold");
        bytes.push(b'\n');
        bytes
    }
}
