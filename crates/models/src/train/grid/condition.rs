//! What a track may have gone through before it is scanned: the rows of the evaluation grid.

use std::fmt;
use std::path::{Path, PathBuf};

use corpus::Stereo;
use corpus::alter;
use corpus::codec::{Codec, encode};
use corpus::dice::Dice;
use corpus::wav;

use super::GridError;

/// One way of treating a track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Condition {
    /// Nothing: 16-bit samples.
    Wav,
    /// A lossy codec at so many kilobits per second.
    Coded(Codec, u32),
    /// Nothing above so many hertz.
    LowPass(f32),
    /// Faster by so many percent, slower below zero.
    Respeeded(f32),
    /// Louder by so many decibels.
    Gain(f32),
    /// White noise so many decibels below the music.
    Noise(f32),
}

/// Every condition, in the order in which slices are measured: those of the claim come first behind the untreated one, which drift is
/// measured from.
pub const CONDITIONS: [Condition; 19] = [
    Condition::Wav,
    Condition::Coded(Codec::Mp3, 64),
    Condition::Coded(Codec::Aac, 64),
    Condition::Respeeded(-3.0),
    Condition::Respeeded(-1.0),
    Condition::Respeeded(-0.1),
    Condition::Respeeded(0.1),
    Condition::Respeeded(1.0),
    Condition::Respeeded(3.0),
    Condition::Coded(Codec::Mp3, 320),
    Condition::Coded(Codec::Mp3, 128),
    Condition::Coded(Codec::Mp3, 32),
    Condition::Coded(Codec::Aac, 128),
    Condition::Coded(Codec::Vorbis, 96),
    Condition::LowPass(11_000.0),
    Condition::LowPass(6_000.0),
    Condition::Gain(-12.0),
    Condition::Noise(40.0),
    Condition::Noise(25.0),
];

impl Condition {
    /// Whether the claim of `docs/reference/claim.md` is about it.
    #[must_use]
    pub fn is_claimed(self) -> bool {
        match self {
            Self::Coded(Codec::Mp3 | Codec::Aac, kbps) => kbps == 64,
            Self::Respeeded(_) => true,
            Self::Coded(Codec::Vorbis, _)
            | Self::Wav
            | Self::LowPass(_)
            | Self::Gain(_)
            | Self::Noise(_) => false,
        }
    }

    /// Writes `audio`, treated, beside `stem` with the ending of its form, and gives the file. Noise comes from `dice`.
    ///
    /// # Errors
    /// When the encoder refuses, or the file cannot be written.
    pub fn write(self, audio: &Stereo, dice: &mut Dice, stem: &Path) -> Result<PathBuf, GridError> {
        let samples = |audio: &Stereo| -> Result<PathBuf, GridError> {
            let path = stem.with_extension("wav");
            wav::write(&path, audio)?;
            Ok(path)
        };
        match self {
            Self::Wav => samples(audio),
            Self::Coded(codec, kbps) => {
                let path = stem.with_extension(codec.extension());
                encode(audio, codec, kbps, &path)?;
                Ok(path)
            }
            Self::LowPass(hz) => samples(&alter::low_pass(audio, hz)),
            Self::Respeeded(percent) => samples(&alter::respeed(audio, percent)),
            Self::Gain(db) => samples(&alter::gain(audio, db)),
            Self::Noise(db) => samples(&alter::noise(audio, db, dice)),
        }
    }

    /// The codec's name, for what is measured of the file.
    #[must_use]
    pub fn codec(self) -> Option<&'static str> {
        match self {
            Self::Coded(codec, _) => Some(codec.name()),
            Self::Wav | Self::LowPass(_) | Self::Respeeded(_) | Self::Gain(_) | Self::Noise(_) => {
                None
            }
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wav => f.write_str("wav"),
            Self::Coded(codec, kbps) => write!(f, "{codec} {kbps}"),
            Self::LowPass(hz) => write!(f, "low-pass {} kHz", hz / 1_000.0),
            Self::Respeeded(percent) => write!(f, "resampled {percent:+} %"),
            Self::Gain(db) => write!(f, "gain {db:+} dB"),
            Self::Noise(db) => write!(f, "noise -{db} dB"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_the_claim_is_about_two_codecs_and_six_speeds() {
        let mut names: Vec<String> = CONDITIONS.iter().map(ToString::to_string).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), CONDITIONS.len());
        let claimed = CONDITIONS.iter().filter(|condition| condition.is_claimed());
        assert_eq!(claimed.count(), 8);
    }

    #[test]
    fn every_treatment_without_a_codec_leaves_sound_that_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let audio = corpus::piece::compose(2, 0.5).audio;
        for condition in CONDITIONS.iter().filter(|one| one.codec().is_none()) {
            let stem = folder.path().join("a");
            let path = condition.write(&audio, &mut Dice::new(1), &stem).unwrap();
            let heard = crate::train::tracks::hear(&path, corpus::RATE_HZ).unwrap();
            assert!(corpus::shape::rms(&heard.pcm) > 1e-4, "{condition}");
        }
    }
}
