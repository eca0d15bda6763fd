//! Labelled tracks as the screen hears them: decoded by the code that serves, mono at the recipe's rate.

use std::fs::File;
use std::path::Path;

use audio::decode::{Job, Refused, Sink, decode};
use audio::fault::Fault;
use audio::limits::Limits;
use audio::protocol::{ChannelRule, OutputSpec};
use audio::source::Blocks;

/// Seconds of a labelled track that are used: ten minutes bound a track's memory to 106 MB at 44.1 kHz.
pub const SECONDS_MAX: u32 = 600;

/// A labelled track could not be heard.
#[derive(Debug, thiserror::Error)]
pub enum TrackError {
    /// The file could not be opened.
    #[error("opening labelled track `{path}`")]
    Open {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file could not be decoded.
    #[error("decoding labelled track `{path}`")]
    Decode {
        /// The file.
        path: String,
        /// Why.
        source: Refused,
    },
}

/// A decoded track.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Its samples, frame after frame, at most [`SECONDS_MAX`] seconds of them.
    pub pcm: Vec<f32>,
    /// Bytes of the file; of a longer one, the share of what is kept.
    pub bytes: u64,
}

/// Keeps the first samples and lets the rest go.
struct Bounded {
    pcm: Vec<f32>,
    most: usize,
    /// Samples that came, kept or not.
    heard: usize,
}

impl Sink for Bounded {
    fn pcm(&mut self, interleaved: &[f32]) -> Result<(), Fault> {
        let room = self.most - self.pcm.len();
        self.heard += interleaved.len();
        self.pcm
            .extend_from_slice(&interleaved[..interleaved.len().min(room)]);
        Ok(())
    }
}

/// Decodes a file to mono at `rate_hz`.
pub fn hear(path: &Path, rate_hz: u32) -> Result<Track, TrackError> {
    hear_on(path, rate_hz, 1)
}

/// Decodes a file to one channel or two at `rate_hz`, as a separator of so many hears it.
pub fn hear_on(path: &Path, rate_hz: u32, channels: u32) -> Result<Track, TrackError> {
    let (rule, width) = match channels {
        1 => (ChannelRule::Mono, 1),
        _ => (ChannelRule::Stereo, 2),
    };
    let named = || path.display().to_string();
    let open = |source| TrackError::Open {
        path: named(),
        source,
    };
    let file = File::open(path).map_err(open)?;
    let bytes = file.metadata().map_err(open)?.len();
    let mut sink = Bounded {
        pcm: Vec::new(),
        most: rate_hz as usize * SECONDS_MAX as usize * width,
        heard: 0,
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let output = OutputSpec {
        rate_hz: Some(rate_hz),
        channels: rule,
    };
    let job = Job {
        name: &name,
        output,
        limits: &Limits::default(),
    };
    decode(&mut Blocks::new(file), job, &mut sink).map_err(|source| TrackError::Decode {
        path: named(),
        source,
    })?;
    let share = sink.pcm.len() as f64 / sink.heard.max(1) as f64;
    Ok(Track {
        pcm: sink.pcm,
        bytes: (bytes as f64 * share).round() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use corpus::Stereo;

    #[test]
    fn a_track_is_heard_as_the_mean_of_its_channels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let audio = Stereo {
            left: vec![0.5; 1_000],
            right: vec![0.25; 1_000],
        };
        corpus::wav::write(&path, &audio).unwrap();
        let track = hear(&path, 44_100).unwrap();
        assert_eq!(track.pcm.len(), 1_000);
        assert!(track.pcm.iter().all(|x| (x - 0.375).abs() < 1e-4));
        assert_eq!(track.bytes, std::fs::metadata(&path).unwrap().len());
    }

    #[test]
    fn a_track_on_two_channels_keeps_them_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let audio = Stereo {
            left: vec![0.5; 1_000],
            right: vec![0.25; 1_000],
        };
        corpus::wav::write(&path, &audio).unwrap();
        let track = hear_on(&path, 44_100, 2).unwrap();
        assert_eq!(track.pcm.len(), 2_000);
        for frame in track.pcm.chunks(2) {
            assert!((frame[0] - 0.5).abs() < 1e-4 && (frame[1] - 0.25).abs() < 1e-4);
        }
    }

    #[test]
    fn of_a_long_track_the_beginning_is_kept_and_the_whole_is_counted() {
        let mut sink = Bounded {
            pcm: Vec::new(),
            most: 100,
            heard: 0,
        };
        sink.pcm(&[0.0; 250]).unwrap();
        assert_eq!((sink.pcm.len(), sink.heard), (100, 250));
    }

    #[test]
    fn a_file_that_is_no_sound_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp3");
        std::fs::write(&path, vec![0; 5_000]).unwrap();
        assert!(
            matches!(hear(&path, 44_100), Err(TrackError::Decode { path, .. }) if path.ends_with("a.mp3"))
        );
    }
}
