//! The evaluation grid: held-out pieces through every condition, each once as composed, once with the error of the held-out decoder, once
//! with that of a decoder that training met; what the coarse baseline, the screen, the residual and both together make of them.
//!
//! Called by `trackscan-worker evaluate-grid`. The claim that it serves was fixed before it was measured (`docs/reference/claim.md`). A slice
//! is one condition of one kind of tracks; each is written whole, so that a stopped run, started again, goes on with the next. One segment
//! per clip. What is kept is what the engines measure, by the weights that measured it: a bundle calibrated again, or one whose card tells of
//! the grid, reads the same slices.

mod condition;
mod slice;
mod table;

pub use condition::{CONDITIONS, Condition};
pub use slice::{Kind, kept, measure};
pub use table::{Drift, Grid, Operating, Slices, grid};

use std::path::Path;

use bundle::{Bundle, BundleError, Segments, Tensors};
use corpus::codec::CodecError;
use corpus::wav::WavError;
use types::Digest;

use super::decoder::DecoderError;
use super::score::ScoreError;
use super::separated::SeparateError;
use super::tracks::TrackError;

/// The grid could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum GridError {
    /// The bundle has no calibrated residual: there are no two engines to compare.
    #[error("measuring the grid: the bundle has no calibrated residual")]
    OneEngine,
    /// Its weights could not be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A decoder's weights are missing or broken.
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    /// A codec pass failed.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A clip could not be written.
    #[error(transparent)]
    Wav(#[from] WavError),
    /// A clip could not be heard.
    #[error(transparent)]
    Track(#[from] TrackError),
    /// A clip could not be scored.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// A clip could not be separated.
    #[error(transparent)]
    Separate(#[from] SeparateError),
    /// A slice could not be kept or read.
    #[error("reading or writing `{path}` of the grid")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A slice's file is none.
    #[error("the slice `{path}` is not of this form: remove it")]
    Form {
        /// The file.
        path: String,
    },
}

/// Pieces of each class where the claim is decided: those of the claim and some to spare.
pub const PIECES: usize = 420;

/// What is measured.
#[derive(Debug)]
pub struct Subject {
    /// The bundle, its residual taking one segment of a track.
    manifest: bundle::Manifest,
    screen: Tensors,
    separator: Tensors,
}

impl Subject {
    /// A bundle as the grid hears it.
    ///
    /// # Errors
    /// Where it has no calibrated residual.
    pub fn of(bundle: &Bundle) -> Result<Self, GridError> {
        let separator = bundle.residual_weights()?.ok_or(GridError::OneEngine)?;
        Self::new(bundle.manifest.clone(), bundle.screen.clone(), separator)
    }

    /// The same of a bundle that is being made.
    ///
    /// # Errors
    /// As there.
    pub fn new(
        mut manifest: bundle::Manifest,
        screen: Tensors,
        separator: Tensors,
    ) -> Result<Self, GridError> {
        let residual = manifest.residual.as_mut();
        let residual = residual.filter(|residual| residual.calibration.is_some());
        residual.ok_or(GridError::OneEngine)?.segments = Segments::Spread { count: 1 };
        Ok(Self {
            manifest,
            screen,
            separator,
        })
    }

    /// Names what clips are measured with: both engines' weights.
    fn engines(&self) -> Digest {
        let [screen, separator] =
            [&self.screen, &self.separator].map(|weights| Digest::of(&weights.to_bytes()));
        Digest::of(format!("grid 1\n{screen}\n{separator}").as_bytes())
    }
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> GridError {
    let path = path.display().to_string();
    move |source| GridError::File { path, source }
}

#[cfg(test)]
mod tests;
