//! Writes WAV files of 16-bit samples.

use std::path::Path;

use crate::{RATE_HZ, Stereo};

/// A WAV file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("writing wav `{path}`")]
pub struct WavError {
    path: String,
    source: hound::Error,
}

/// Writes `audio` as 16-bit stereo; samples beyond full scale are held at it.
pub fn write(path: &Path, audio: &Stereo) -> Result<(), WavError> {
    write_samples(path, audio).map_err(|source| WavError {
        path: path.display().to_string(),
        source,
    })
}

fn write_samples(path: &Path, audio: &Stereo) -> Result<(), hound::Error> {
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec)?;
    for (&left, &right) in audio.left.iter().zip(&audio.right) {
        writer.write_sample(to_i16(left))?;
        writer.write_sample(to_i16(right))?;
    }
    writer.finalize()
}

/// The nearest 16-bit value.
pub(crate) fn to_i16(sample: f32) -> i16 {
    (sample * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_within_half_a_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let audio = Stereo {
            left: vec![0.0, 0.5, -1.0, 2.0],
            right: vec![0.1, -0.25, 1.0, -2.0],
        };
        write(&path, &audio).unwrap();
        let read: Vec<i16> = hound::WavReader::open(&path)
            .unwrap()
            .samples()
            .map(Result::unwrap)
            .collect();
        assert_eq!(
            read,
            [0, 3277, 16_384, -8192, -32_767, 32_767, 32_767, -32_768]
        );
    }
}
