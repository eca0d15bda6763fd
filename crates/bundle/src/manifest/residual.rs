//! The manifest's second engine: which separator takes a track apart, from which weights, and of which of its segments. Plain
//! data with the rules that its values keep; whether the weights fit the network is seen where they are loaded.
//!
//! It has no calibration: nothing says yet what a residual means, so no verdict rests on one.

use super::Epsilon;
use super::check::{Checked, require};
use crate::overlap::Overlap;
use crate::separator::Config;
use serde::{Deserialize, Serialize};
use types::Digest;

/// Most segments of a track that a bundle may ask for: at 7.8 seconds each they cover an hour and a half.
const SEGMENTS_MAX: u32 = 1_024;
/// Largest share of a segment that the next one covers too: beyond it each sample is separated more than ten times.
const OVERLAP_SHARE_MAX: f64 = 0.9;
/// Sharpest weights: beyond this power all but a segment's middle counts for nothing.
const OVERLAP_POWER_MAX: f64 = 16.0;

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
        require(
            self.epsilon.is_sound(),
            "residual.epsilon",
            "lies between 0 and 10",
        )?;
        self.segments.check()?;
        self.overlap.check()
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
