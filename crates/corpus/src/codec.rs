//! Passes through lossy codecs by the `ffmpeg` of the operating system.
//!
//! Called when labelled data are made. Both classes go through the same encoder with the same options, and files carry no tags of their own,
//! so that neither bytes per second nor metadata name the class. The codecs themselves are never built in.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;

use crate::{RATE_HZ, Stereo, wav};

/// Bytes of ffmpeg's last words kept for an error.
const WORDS_KEPT: usize = 600;

/// A lossy codec in its usual container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// MPEG-1 layer 3 at a constant bitrate.
    Mp3,
    /// AAC-LC in MPEG-4.
    Aac,
    /// Vorbis in Ogg, held to its bitrate.
    Vorbis,
}

/// Every codec, in the order of tables.
pub const CODECS: [Codec; 3] = [Codec::Mp3, Codec::Aac, Codec::Vorbis];

/// A pass through a codec failed.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// There is no encoder on this machine.
    #[error("starting `ffmpeg` to encode `{path}`: install ffmpeg, or put it on the path")]
    NoFfmpeg {
        /// File that was to be written.
        path: String,
        /// Why it did not start.
        source: std::io::Error,
    },
    /// The encoder refused.
    #[error("encoding `{path}` with ffmpeg as {codec} at {kbps} kbps ({status}): {words}")]
    Refused {
        /// File that was to be written.
        path: String,
        /// Codec asked for.
        codec: Codec,
        /// Bitrate asked for, in kilobits per second.
        kbps: u32,
        /// How ffmpeg ended.
        status: std::process::ExitStatus,
        /// The end of what it said.
        words: String,
    },
    /// No codec has this name.
    #[error("reading codec name `{0}`: known are mp3, aac and vorbis")]
    Unknown(String),
}

impl Codec {
    /// Name in manifests and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Aac => "aac",
            Self::Vorbis => "vorbis",
        }
    }

    /// Usual ending of its files, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Aac => "m4a",
            Self::Vorbis => "ogg",
        }
    }

    fn arguments(self, kbps: u32) -> Vec<String> {
        let rate = format!("{kbps}k");
        let words: &[&str] = match self {
            Self::Mp3 => &[
                "-c:a",
                "libmp3lame",
                "-b:a",
                &rate,
                "-write_xing",
                "0",
                "-id3v2_version",
                "0",
                "-f",
                "mp3",
            ],
            Self::Aac => &["-c:a", "aac", "-b:a", &rate, "-f", "ipod"],
            Self::Vorbis => &[
                "-c:a",
                "libvorbis",
                "-b:a",
                &rate,
                "-minrate",
                &rate,
                "-maxrate",
                &rate,
                "-f",
                "ogg",
            ],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = CodecError;

    fn from_str(name: &str) -> Result<Self, CodecError> {
        CODECS
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or_else(|| CodecError::Unknown(name.to_owned()))
    }
}

/// Encodes `audio` (rounded to 16 bits) to `path` at `kbps` kilobits per second.
pub fn encode(audio: &Stereo, codec: Codec, kbps: u32, path: &Path) -> Result<(), CodecError> {
    let named = path.display().to_string();
    let no_ffmpeg = |source| CodecError::NoFfmpeg {
        path: named.clone(),
        source,
    };
    let mut child = Command::new("ffmpeg")
        .args([
            "-hide_banner",
            "-loglevel",
            "error",
            "-nostdin",
            "-y",
            "-threads",
            "1",
            "-f",
            "s16le",
            "-ar",
            &RATE_HZ.to_string(),
        ])
        .args([
            "-ac",
            "2",
            "-i",
            "pipe:0",
            "-map_metadata",
            "-1",
            "-fflags",
            "+bitexact",
            "-flags:a",
            "+bitexact",
        ])
        .args(codec.arguments(kbps))
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(no_ffmpeg)?;
    let mut input = child.stdin.take().expect("stdin was asked for");
    // An encoder that gives up closes its end: its exit status tells more than the broken pipe.
    let fed = input.write_all(&interleaved(audio));
    drop(input);
    let output = child.wait_with_output().map_err(no_ffmpeg)?;
    if output.status.success() && fed.is_ok() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.trim().chars().take(WORDS_KEPT).collect();
    Err(CodecError::Refused {
        path: named,
        codec,
        kbps,
        status: output.status,
        words,
    })
}

fn interleaved(audio: &Stereo) -> Vec<u8> {
    audio
        .left
        .iter()
        .zip(&audio.right)
        .flat_map(|(&left, &right)| [left, right])
        .flat_map(|x| wav::to_i16(x).to_le_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_codec_name_is_read_back_and_others_are_refused() {
        for codec in CODECS {
            assert_eq!(codec.name().parse::<Codec>().unwrap(), codec);
        }
        assert!("opus".parse::<Codec>().is_err());
    }

    #[test]
    fn an_encoder_that_cannot_write_says_why() {
        let nowhere = Path::new("/no/such/folder/a.mp3");
        let error = encode(&Stereo::silence(4_410), Codec::Mp3, 96, nowhere).unwrap_err();
        assert!(
            matches!(&error, CodecError::Refused { words, .. } if words.contains("No such file")),
            "{error}"
        );
    }

    #[test]
    fn every_codec_keeps_near_its_bitrate() {
        let folder = tempfile::tempdir().unwrap();
        let audio = crate::piece::compose(4, 4.0).audio;
        for codec in CODECS {
            let path = folder.path().join("a").with_extension(codec.extension());
            encode(&audio, codec, 96, &path).unwrap();
            let kbps = std::fs::metadata(&path).unwrap().len() as f64 * 8.0 / 4.0 / 1_000.0;
            assert!((70.0..125.0).contains(&kbps), "{codec}: {kbps} kbps");
        }
    }

    #[test]
    fn samples_are_interleaved_as_little_endian_words() {
        let audio = Stereo {
            left: vec![1.0],
            right: vec![-1.0],
        };
        assert_eq!(interleaved(&audio), [0xff, 0x7f, 0x01, 0x80]);
    }
}
