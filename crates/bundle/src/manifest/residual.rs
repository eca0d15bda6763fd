//! The manifest's second engine: which separator takes a track apart, from which weights, and of which of its segments. Plain
//! data with the rules that its values keep; whether the weights fit the network is seen where they are loaded.
//!
//! Without a calibration nothing says what a residual means, and no verdict rests on one.

use super::check::{Checked, require};
use super::{Calibration, Epsilon, Verdicts};
use crate::features::{BAND_EDGES_HZ, BANDS, RESIDUAL_V1, RESIDUAL_VERSION, place};
use crate::overlap::Overlap;
use crate::separator::Config;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use types::Digest;

/// Most segments of a track that a bundle may ask for: at 7.8 seconds each they cover an hour and a half.
const SEGMENTS_MAX: u32 = 1_024;
/// Largest share of a segment that the next one covers too: beyond it each sample is separated more than ten times.
const OVERLAP_SHARE_MAX: f64 = 0.9;
/// Sharpest weights: beyond this power all but a segment's middle counts for nothing.
const OVERLAP_POWER_MAX: f64 = 16.0;

/// Channels of a separator at most: those that a decoder's ring carries to a worker.
pub const RESIDUAL_CHANNELS_MAX: i64 = 2;
/// Lowest rate of a separator, Hz: below it half of the rate does not reach the highest edge of the bands.
pub const RESIDUAL_RATE_HZ_LEAST: f64 = 2.0 * BAND_EDGES_HZ[BANDS];
/// Deviations of a term: fitting takes a feature that varies by less for constant, and none varies by more.
const TERM_SCALES: RangeInclusive<f64> = 1e-12..=1e12;

/// The residual: from a track's samples to what its stems leave of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residual {
    /// The compiled-in network and its whole configuration, the names of its stems among it.
    pub architecture: Separator,
    /// File name of the weights (safetensors), whose digest stands in the manifest's list of files.
    pub weights: String,
    /// What the weights were converted from; absent where they were trained as they are.
    pub origin: Option<Origin>,
    /// How far a stem may differ from the one that a processor computes in single precision: the largest difference over the
    /// largest value, per dtype. A dtype without one is not run.
    pub epsilon: Epsilon,
    /// Which segments of a track are separated.
    pub segments: Segments,
    /// How neighbouring segments lie over each other.
    pub overlap: Overlap,
    /// The known features of the canary clip; absent in a bundle that no worker has been asked for a residual yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<ResidualCanary>,
    /// What the features mean; absent until somebody has measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<ResidualCalibration>,
}

/// What a device must reproduce before a residual that it made may count: the features of the screen's canary clip, heard
/// at the residual's rate and on each of its channels alike, as one segment that is cut or padded to its length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResidualCanary {
    /// The feature vector, computed in single precision on a processor.
    pub features: Vec<f64>,
    /// How far a feature may differ, in shares of its span, per dtype; a dtype without one is not run.
    pub epsilon: Epsilon,
}

/// What a track's features mean, as measured on known tracks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResidualCalibration {
    /// The version of the feature vector that was measured.
    pub features: String,
    /// The residual's score is the sum of these.
    pub terms: Vec<Term>,
    /// From the residual's score to a probability.
    pub probability: Calibration,
    /// From both scores to the one that the verdict rests on.
    pub fusion: Fusion,
    /// Operating points of that score.
    pub verdicts: Verdicts,
    /// What known-human tracks measure, for people who look at a report; no verdict rests on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub humans: Vec<Spread>,
}

/// One term of the residual's score: `weight * (value - mean) / scale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// The feature.
    pub feature: String,
    /// Its weight.
    pub weight: f64,
    /// Its mean over the tracks that were fitted on.
    pub mean: f64,
    /// Its deviation over them: 1e-12 to 1e12.
    pub scale: f64,
}

/// The rule from the screen's score and the residual's to the score that the verdict rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule")]
pub enum Fusion {
    /// Log odds that are linear in both scores.
    #[serde(rename = "fusion-v1")]
    V1(FusionV1),
    /// The residual's score; its probability is the calibration's.
    #[serde(rename = "residual-alone")]
    ResidualAlone,
}

impl Fusion {
    /// The rules that a manifest may name.
    pub const NAMES: [&str; 2] = ["fusion-v1", "residual-alone"];
}

/// `screen * (screen's score) + residual * (residual's score) + intercept`: log odds at the prior, which are also the score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FusionV1 {
    /// Weight of the screen's score; not below zero.
    pub screen: f64,
    /// Weight of the residual's score; not below zero.
    pub residual: f64,
    /// Added to both.
    pub intercept: f64,
    /// The share of AI tracks that the probability supposes; strictly between 0 and 1.
    pub prior: f64,
}

/// What known-human tracks measure of a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// The feature.
    pub feature: String,
    /// The value that one in twenty tracks lies below.
    pub low: f64,
    /// The middle value.
    pub middle: f64,
    /// The value that one in twenty tracks lies above.
    pub high: f64,
}

/// The separators that this build knows; a bundle names one and gives its configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name")]
pub enum Separator {
    /// Two branches, one over the complex spectrum and one over samples, with a transformer between them.
    #[serde(rename = "htdemucs")]
    HtDemucs(Config),
}

impl Separator {
    /// The names that a manifest may give.
    pub const NAMES: [&str; 1] = ["htdemucs"];

    /// Names of the stems, in order of the output.
    #[must_use]
    pub fn sources(&self) -> &[String] {
        let Self::HtDemucs(config) = self;
        &config.sources
    }
}

/// The file that weights were converted from, for whoever asks later whether they are the published ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// What kind of file it was.
    pub format: OriginFormat,
    /// Its exact length.
    pub bytes: u64,
    /// Of its content.
    pub sha256: Digest,
}

/// The kinds of files that are converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OriginFormat {
    /// Safetensors with the class and its arguments in the metadata.
    Safetensors,
    /// A torch archive with a pickle.
    TorchArchive,
}

/// Which segments of a track are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Segments {
    /// Every one, each overlapping the next.
    All,
    /// So many, spread over the track's energy: where it is loud they lie closer.
    Spread {
        /// How many; a track that has fewer gives all of them.
        count: u32,
    },
}

impl Residual {
    pub(super) fn check(&self) -> Checked {
        let Separator::HtDemucs(config) = &self.architecture;
        if let Err(unfit) = config.check() {
            require(false, "residual.architecture", format!("fits: {unfit}"))?;
        }
        check_served(config)?;
        require(
            self.epsilon.is_sound(),
            "residual.epsilon",
            "lies between 0 and 10",
        )?;
        self.segments.check()?;
        self.overlap.check()?;
        self.canary.iter().try_for_each(ResidualCanary::check)?;
        self.calibration
            .iter()
            .try_for_each(ResidualCalibration::check)
    }
}

/// Whether workers serve such a separator.
fn check_served(config: &Config) -> Checked {
    require(
        (1..=RESIDUAL_CHANNELS_MAX).contains(&config.audio_channels),
        "residual.architecture",
        format!("hears at most {RESIDUAL_CHANNELS_MAX} channels, for which a ring has room"),
    )?;
    require(
        config.rate_hz as f64 >= RESIDUAL_RATE_HZ_LEAST,
        "residual.architecture",
        format!("hears at {RESIDUAL_RATE_HZ_LEAST} Hz at least, which holds the bands"),
    )
}

impl ResidualCanary {
    fn check(&self) -> Checked {
        let known =
            self.features.len() == RESIDUAL_V1.len() && self.features.iter().all(|x| x.is_finite());
        require(
            known,
            "residual.canary.features",
            "are the finite values of residual-v1",
        )?;
        require(
            self.epsilon.is_sound(),
            "residual.canary.epsilon",
            "lies between 0 and 10",
        )
    }
}

impl ResidualCalibration {
    fn check(&self) -> Checked {
        require(
            self.features == RESIDUAL_VERSION,
            "residual.calibration.features",
            "is residual-v1",
        )?;
        let usable = |name: &str| place(name).is_some_and(|at| RESIDUAL_V1[at].calibrates);
        let mut names: Vec<&str> = self
            .terms
            .iter()
            .map(|term| term.feature.as_str())
            .collect();
        require(
            !names.is_empty() && names.iter().all(|name| usable(name)),
            "residual.calibration.terms",
            "name features that may be calibrated",
        )?;
        names.sort_unstable();
        require(
            names.windows(2).all(|pair| pair[0] != pair[1]),
            "residual.calibration.terms",
            "name a feature once each",
        )?;
        let sound = |term: &Term| {
            term.weight.is_finite() && term.mean.is_finite() && TERM_SCALES.contains(&term.scale)
        };
        require(
            self.terms.iter().all(sound),
            "residual.calibration.terms",
            "are finite, with a scale from 1e-12 to 1e12",
        )?;
        let known = |spread: &Spread| {
            place(&spread.feature).is_some()
                && spread.low <= spread.middle
                && spread.middle <= spread.high
        };
        require(
            self.humans.iter().all(known),
            "residual.calibration.humans",
            "name features, with low, middle and high in order",
        )?;
        self.probability.check("residual.calibration.probability")?;
        self.fusion.check()?;
        self.verdicts.check()
    }
}

impl Fusion {
    fn check(&self) -> Checked {
        let Self::V1(rule) = self else {
            return Ok(());
        };
        let weighed = rule.screen.is_finite()
            && rule.residual.is_finite()
            && rule.screen >= 0.0
            && rule.residual >= 0.0
            && rule.screen + rule.residual > 0.0;
        require(
            weighed && rule.intercept.is_finite(),
            "residual.calibration.fusion",
            "has weights of at least 0, one of them above it, and a finite intercept",
        )?;
        require(
            rule.prior > 0.0 && rule.prior < 1.0,
            "residual.calibration.fusion",
            "has a prior between 0 and 1",
        )
    }
}

impl Segments {
    fn check(self) -> Checked {
        let sound = match self {
            Self::All => true,
            Self::Spread { count } => (1..=SEGMENTS_MAX).contains(&count),
        };
        require(sound, "residual.segments.count", "is 1 to 1024")
    }
}

impl Overlap {
    fn check(self) -> Checked {
        require(
            (0.0..=OVERLAP_SHARE_MAX).contains(&self.share),
            "residual.overlap.share",
            "is 0 to 0.9",
        )?;
        require(
            (1.0..=OVERLAP_POWER_MAX).contains(&self.power),
            "residual.overlap.power",
            "is 1 to 16",
        )
    }
}
