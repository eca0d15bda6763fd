//! The sound that a bench hears: a file, or a composed piece as one. Decoded by the code that serves, as either pass asks for it.

use super::file_name;
use ::engine::ResidualInfo;
use audio::decode::{Refused, decode_to_vec};
use audio::protocol::{ChannelRule, OutputSpec};
use corpus::piece;
use corpus::wav::{self, WavError};
use std::path::{Path, PathBuf};

/// Seed of the composed piece.
const SEED: u64 = 1;

/// Why there is no sound.
#[derive(Debug, thiserror::Error)]
pub enum SoundError {
    /// The file could not be read, or the piece's not be removed.
    #[error("reading `{path}`")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The piece could not be written.
    #[error("writing the composed piece")]
    Write(#[from] WavError),
    /// The file was not decoded.
    #[error("decoding `{name}`")]
    Decode {
        /// The file.
        name: String,
        /// Why.
        source: Refused,
    },
}

/// The bytes of a sound file.
#[derive(Debug)]
pub(super) struct Sound {
    name: String,
    bytes: Vec<u8>,
}

impl Sound {
    /// The file's, or those of a piece of so many seconds.
    pub(super) fn of(file: Option<&Path>, seconds: u32) -> Result<Self, SoundError> {
        match file {
            Some(path) => Self::read(path),
            None => Self::composed(seconds),
        }
    }

    fn read(path: &Path) -> Result<Self, SoundError> {
        let bytes = std::fs::read(path).map_err(|source| refused(path, source))?;
        let name = file_name(path);
        Ok(Self { name, bytes })
    }

    fn composed(seconds: u32) -> Result<Self, SoundError> {
        let path = scratch();
        wav::write(&path, &piece::compose(SEED, seconds as f32).audio)?;
        let sound = Self::read(&path);
        std::fs::remove_file(&path).map_err(|source| refused(&path, source))?;
        sound
    }

    /// As the screen hears it.
    pub(super) fn mono(&self, rate_hz: u32) -> Result<Vec<f32>, SoundError> {
        self.decoded(rate_hz, ChannelRule::Mono)
    }

    /// As the residual hears it.
    pub(super) fn stereo(&self, info: &ResidualInfo) -> Result<Vec<f32>, SoundError> {
        let channels = match info.channels {
            1 => ChannelRule::Mono,
            _ => ChannelRule::Stereo,
        };
        self.decoded(info.rate_hz, channels)
    }

    fn decoded(&self, rate_hz: u32, channels: ChannelRule) -> Result<Vec<f32>, SoundError> {
        let output = OutputSpec {
            rate_hz: Some(rate_hz),
            channels,
        };
        let decoded = decode_to_vec(self.bytes.as_slice(), &self.name, output);
        decoded
            .map(|(_, pcm)| pcm)
            .map_err(|source| SoundError::Decode {
                name: self.name.clone(),
                source,
            })
    }
}

fn refused(path: &Path, source: std::io::Error) -> SoundError {
    SoundError::Read {
        path: path.display().to_string(),
        source,
    }
}

/// A file of this process alone.
fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("trackscan-bench-{}.wav", std::process::id()))
}
