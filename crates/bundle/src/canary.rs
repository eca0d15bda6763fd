//! The canary clip: mono little-endian 16-bit PCM at the screen's rate, without a header, so that it is the same
//! samples for every reader.

/// A clip is not whole 16-bit samples, or empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a clip of {0} bytes is not a whole number of 16-bit samples above zero")]
pub struct ClipError(pub usize);

/// A clip's samples, -1 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip(pub Vec<f32>);

/// Full scale of a 16-bit sample; a power of two, so that each sample is exact in single precision.
const SCALE: f32 = 32_768.0;

impl Clip {
    /// Reads a clip.
    ///
    /// # Errors
    /// When the bytes are none, or an odd number.
    pub fn parse(bytes: &[u8]) -> Result<Self, ClipError> {
        let (samples, rest) = bytes.as_chunks::<2>();
        if samples.is_empty() || !rest.is_empty() {
            return Err(ClipError(bytes.len()));
        }
        Ok(Self(
            samples
                .iter()
                .map(|pair| f32::from(i16::from_le_bytes(*pair)) / SCALE)
                .collect(),
        ))
    }

    /// The bytes of samples, rounded to 16 bits and cut at full scale.
    #[must_use]
    pub fn bytes_of(samples: &[f32]) -> Vec<u8> {
        let level = |sample: &f32| (sample * SCALE).round().clamp(-SCALE, SCALE - 1.0) as i16;
        samples
            .iter()
            .flat_map(|sample| level(sample).to_le_bytes())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_reads_back_exactly_and_half_a_sample_is_refused() {
        let bytes: Vec<u8> = [0i16, 1, -1, 32_767, -32_768]
            .iter()
            .flat_map(|s| s.to_le_bytes())
            .collect();
        let clip = Clip::parse(&bytes).unwrap();
        assert_eq!(clip.0[4], -1.0);
        assert_eq!(Clip::bytes_of(&clip.0), bytes);
        assert_eq!(Clip::parse(&bytes[1..]), Err(ClipError(9)));
        assert_eq!(Clip::parse(&[]), Err(ClipError(0)));
    }
}
