//! The objects of the path: short WAV files, each with a sound of its own, made when they are asked for and the same each time. Called
//! by the server.

use bytes::Bytes;

/// The rate at which the stub engine hears, so that nothing is resampled.
const RATE_HZ: u32 = 16_000;
/// Frames of an object: one window of the stub and some more.
const FRAMES: u32 = 20_000;
/// Bytes before the samples.
const HEAD: usize = 44;
/// Bytes of each object.
pub(super) const BYTES: u64 = HEAD as u64 + 2 * FRAMES as u64;

/// Seconds of sound in an object.
pub(super) const SECONDS: f64 = FRAMES as f64 / RATE_HZ as f64;

/// The object of that number: a triangle whose pitch is its own, and noise.
pub(super) fn wav(number: u32) -> Bytes {
    let mut bytes = Vec::with_capacity(BYTES as usize);
    head(&mut bytes);
    let step = 400 + (number % 4_096) * 2;
    let mut noise = u64::from(number) | 1 << 40;
    let mut phase = 0_u32;
    for _ in 0..FRAMES {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        phase = (phase + step) % 65_536;
        let triangle = (phase as i32 - 32_768).abs() - 16_384;
        let hiss = ((noise >> 52) as i32) - 2_048;
        bytes.extend_from_slice(&((triangle / 2 + hiss) as i16).to_le_bytes());
    }
    bytes.into()
}

fn head(bytes: &mut Vec<u8>) {
    let data = 2 * FRAMES;
    bytes.extend_from_slice(b"RIFF");
    bytes.extend_from_slice(&(data + 36).to_le_bytes());
    bytes.extend_from_slice(b"WAVEfmt ");
    bytes.extend_from_slice(&16_u32.to_le_bytes());
    bytes.extend_from_slice(&1_u16.to_le_bytes());
    bytes.extend_from_slice(&1_u16.to_le_bytes());
    bytes.extend_from_slice(&RATE_HZ.to_le_bytes());
    bytes.extend_from_slice(&(2 * RATE_HZ).to_le_bytes());
    bytes.extend_from_slice(&2_u16.to_le_bytes());
    bytes.extend_from_slice(&16_u16.to_le_bytes());
    bytes.extend_from_slice(b"data");
    bytes.extend_from_slice(&data.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_object_has_a_sound_of_its_own_the_same_each_time_and_the_length_that_is_said() {
        assert_eq!(wav(7), wav(7));
        assert_ne!(wav(7), wav(8));
        assert_ne!(wav(7), wav(7 + 4_096));
        assert_eq!(wav(0).len() as u64, BYTES);
    }
}
