//! One short piece in every format that is scanned, encoded once by `ffmpeg`: what damage is done to.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Seconds of the piece.
pub const SECONDS: u32 = 3;
/// Two moving tones and seeded noise, different left and right.
const TONES: &str = "aevalsrc='0.3*sin(440*2*PI*t)+0.1*sin(3000*2*PI*t+2*sin(5*t))+0.05*(random(0)-0.5)|0.3*sin(660*2*PI*t)+0.05*(random(1)-0.5)':s=44100:d=3";
/// Each format: name and how ffmpeg makes it.
const FORMATS: [(&str, &[&str]); 9] = [
    ("mp3", &["-c:a", "libmp3lame", "-b:a", "128k"]),
    ("m4a", &["-c:a", "aac", "-b:a", "128k"]),
    ("aac", &["-c:a", "aac", "-b:a", "128k"]),
    ("flac", &["-c:a", "flac", "-sample_fmt", "s16"]),
    ("alac.m4a", &["-c:a", "alac"]),
    ("ogg", &["-c:a", "libvorbis", "-q:a", "3"]),
    ("wav", &["-c:a", "pcm_s16le"]),
    ("aiff", &["-c:a", "pcm_s16be"]),
    ("caf", &["-c:a", "pcm_s16be"]),
];

/// A file could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum SoundError {
    /// There is no encoder, or its output cannot be read.
    #[error("encoding `{name}` with ffmpeg")]
    Io {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The encoder refused.
    #[error("encoding `{name}` with ffmpeg: {words}")]
    Refused {
        /// The file.
        name: String,
        /// What it said.
        words: String,
    },
}

/// The piece in every format, and a few files that only ffmpeg can make.
#[derive(Clone, Debug)]
pub struct Sound {
    files: Vec<(String, Vec<u8>)>,
}

impl Sound {
    /// Encodes everything, with `folder` for what lies between.
    ///
    /// # Errors
    /// [`SoundError`] when ffmpeg is not there or refuses.
    pub fn encode(folder: &Path) -> Result<Self, SoundError> {
        let mut files = Vec::new();
        for (format, arguments) in FORMATS {
            files.push((
                format.to_owned(),
                encoded(folder, format, TONES, arguments)?,
            ));
        }
        for (name, source, arguments) in EXTRAS {
            files.push((
                (*name).to_owned(),
                encoded(folder, name, source, arguments)?,
            ));
        }
        Ok(Self { files })
    }

    /// The piece in that format, or that extra file.
    ///
    /// # Panics
    /// When no file has this name.
    pub fn of(&self, name: &str) -> &[u8] {
        let found = self.files.iter().find(|(format, _)| format == name);
        &found.expect("builders name files that are made").1
    }

    /// Each scanned format with its file.
    pub fn formats(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let files = self.files.iter().take(FORMATS.len());
        files.map(|(format, file)| (format.as_str(), file.as_slice()))
    }
}

/// Files beside the piece: name, source, arguments.
const EXTRAS: &[(&str, &str, &[&str])] = &[
    (
        "silence.ogg",
        "anullsrc=r=44100:cl=mono:d=4",
        &["-c:a", "libvorbis", "-q:a", "0"],
    ),
    (
        "low.mp3",
        TONES,
        &[
            "-c:a",
            "libmp3lame",
            "-b:a",
            "64k",
            "-ac",
            "1",
            "-ar",
            "22050",
        ],
    ),
    (
        "low.flac",
        TONES,
        &["-c:a", "flac", "-ac", "1", "-ar", "22050"],
    ),
    ("opus.opus", TONES, &["-c:a", "libopus"]),
    ("opus.mka", TONES, &["-c:a", "libopus"]),
    ("opus.mp4", TONES, &["-c:a", "libopus"]),
    ("wavpack.wv", TONES, &["-c:a", "wavpack"]),
    (
        "video.mp4",
        "testsrc=size=64x64:rate=5:duration=1",
        &["-c:v", "mpeg4"],
    ),
];

fn encoded(
    folder: &Path,
    name: &str,
    source: &str,
    arguments: &[&str],
) -> Result<Vec<u8>, SoundError> {
    let path = folder.join(format!("made.{name}"));
    let failed = |source| SoundError::Io {
        name: name.to_owned(),
        source,
    };
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", source])
        .args(["-fflags", "+bitexact", "-flags", "+bitexact"])
        .args(arguments)
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .map_err(failed)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(SoundError::Refused {
            name: name.to_owned(),
            words,
        });
    }
    let file = std::fs::read(&path).map_err(failed)?;
    std::fs::remove_file(&path).map_err(failed)?;
    Ok(file)
}
