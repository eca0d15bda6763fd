//! Turns a piece into a hard positive: the same piece with the error of a neural decoder at a drawn level, matched to the original in
//! loudness and coarse spectrum.
//!
//! Called by `labelled`, `demo` and the separator's training. Works on the middle signal (the mean of both channels), which is what the screen hears; the side signal
//! stays the original's.

use corpus::Stereo;
use corpus::shape::{match_to, rms};

use super::decoder::Decoder;

/// Ratios of original to error in decibels that positives are drawn from.
pub const SNR_DB: (f32, f32) = (10.0, 35.0);

/// Highest peak of a pair; above it both versions are lowered alike, so that neither clips.
const PEAK: f32 = 0.97;

/// A piece and its positive.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The original, at most lowered a little.
    pub human: Stereo,
    /// The original with the decoder's error.
    pub positive: Stereo,
}

/// Makes the positive of `original`, whose error lies `snr_db` below it before matching.
pub fn pair(original: &Stereo, decoder: &Decoder, snr_db: f32) -> Pair {
    let middle = mean(original, 1.0);
    let side = mean(original, -1.0);
    let matched = marked(&middle, decoder, snr_db);
    let mut pair = Pair {
        human: original.clone(),
        positive: recombined(&matched, &side),
    };
    let peak = pair.human.peak().max(pair.positive.peak());
    if peak > PEAK {
        pair.human.scale(PEAK / peak);
        pair.positive.scale(PEAK / peak);
    }
    pair
}

/// A middle signal under the error of `decoder`, `snr_db` below it before it is matched to the original again in loudness and coarse spectrum.
pub(super) fn marked(middle: &[f32], decoder: &Decoder, snr_db: f32) -> Vec<f32> {
    let heard = with_error(middle, &decoder.reconstruct(middle), snr_db);
    match_to(&heard, middle)
}

/// `original` plus the error of `decoded`, scaled to `snr_db`; the original itself where there is no error.
fn with_error(original: &[f32], decoded: &[f32], snr_db: f32) -> Vec<f32> {
    let error: Vec<f32> = original
        .iter()
        .zip(decoded)
        .map(|(want, have)| have - want)
        .collect();
    let gain = rms(original) * 10.0_f32.powf(-snr_db / 20.0) / rms(&error).max(1e-9);
    original
        .iter()
        .zip(error)
        .map(|(sample, error)| sample + gain * error)
        .collect()
}

/// Half the sum (`sign` 1) or half the difference (`sign` -1) of the channels.
fn mean(audio: &Stereo, sign: f32) -> Vec<f32> {
    audio
        .left
        .iter()
        .zip(&audio.right)
        .map(|(left, right)| 0.5 * (left + sign * right))
        .collect()
}

fn recombined(middle: &[f32], side: &[f32]) -> Stereo {
    let left = middle.iter().zip(side).map(|(m, s)| m + s).collect();
    let right = middle.iter().zip(side).map(|(m, s)| m - s).collect();
    Stereo { left, right }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::decoder::Architecture;
    use corpus::piece::compose;
    use corpus::shape::third_octaves;

    #[test]
    fn an_error_is_added_at_the_asked_ratio() {
        let original: Vec<f32> = (0..10_000).map(|i| (i as f32 * 0.1).sin()).collect();
        let decoded: Vec<f32> = original
            .iter()
            .enumerate()
            .map(|(i, x)| x + if i % 2 == 0 { 0.4 } else { -0.4 })
            .collect();
        let marked = with_error(&original, &decoded, 20.0);
        let error: Vec<f32> = marked.iter().zip(&original).map(|(a, b)| a - b).collect();
        let ratio = 20.0 * (rms(&original) / rms(&error)).log10();
        assert!((ratio - 20.0).abs() < 0.01, "{ratio}");
    }

    #[test]
    fn a_positive_differs_from_its_original_but_not_in_level_or_coarse_spectrum() {
        let original = compose(3, 3.0).audio;
        let pair = pair(&original, &Decoder::fresh(Architecture::Transposed64), 15.0);
        let (human, positive) = (mean(&pair.human, 1.0), mean(&pair.positive, 1.0));
        assert!((rms(&positive) / rms(&human) - 1.0).abs() < 1e-3);
        for (band, (a, b)) in third_octaves(&human)
            .iter()
            .zip(third_octaves(&positive))
            .enumerate()
        {
            assert!(
                (a - b).abs() < 0.2 || *a < -90.0,
                "band {band}: {a} and {b}"
            );
        }
        let difference: Vec<f32> = human.iter().zip(&positive).map(|(a, b)| a - b).collect();
        assert!(rms(&difference) > 0.02 * rms(&human));
    }
}
