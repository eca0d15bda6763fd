//! Third-octave band powers, and the filter that gives one wave the band powers of another.

use realfft::num_complex::Complex;

use super::{spectrum_of, wave_of};
use crate::RATE;

/// Centre of the lowest band in hertz.
const LOWEST_HZ: f32 = 31.25;

/// Third-octave bands from 31 Hz to 16 kHz.
pub const BANDS: usize = 28;

/// Rounds of correction; the filter is interpolated between bands, so one round leaves an error of some tenths of a decibel.
const ROUNDS: usize = 12;

/// Widest correction of one round, as a factor on amplitude (±24 dB).
const WIDEST: f32 = 16.0;

/// A band whose power is this share of the whole (-100 dB) or less is left alone: there is nothing to match.
const FAINT: f64 = 1e-10;

/// Mean power in each third-octave band in decibels (full scale 0 dB), -120 where there is none.
pub fn third_octaves(wave: &[f32]) -> [f32; BANDS] {
    let length = wave.len().max(2).next_power_of_two();
    let powers = band_powers(&spectrum_of(wave, length), length);
    let scale = 2.0 / (length as f64 * wave.len().max(1) as f64);
    powers.map(|power| (10.0 * (power * scale).max(1e-12).log10()) as f32)
}

/// Filters `wave` so that its third-octave powers and then its RMS equal those of `model`, which has the same length.
pub fn match_to(wave: &[f32], model: &[f32]) -> Vec<f32> {
    let length = (wave.len().max(2) + PAD).next_power_of_two();
    let wanted = band_powers(&spectrum_of(model, length), length);
    let mut spectrum = spectrum_of(wave, length);
    for _ in 0..ROUNDS {
        let have = band_powers(&spectrum, length);
        apply(&mut spectrum, &corrections(&wanted, &have), length);
    }
    let mut matched = wave_of(spectrum, length, wave.len());
    let gain = super::rms(model) / super::rms(&matched).max(1e-12);
    matched.iter_mut().for_each(|x| *x *= gain);
    matched
}

/// Silence kept after the wave so that the filter's ringing does not wrap round to its start (0.2 s).
const PAD: usize = 8_820;

fn corrections(wanted: &[f64; BANDS], have: &[f64; BANDS]) -> [f32; BANDS] {
    let total: f64 = wanted.iter().sum();
    let mut gains = [1.0; BANDS];
    for ((gain, &wanted), &have) in gains.iter_mut().zip(wanted).zip(have) {
        if wanted > FAINT * total && have > 0.0 {
            *gain = ((wanted / have).sqrt() as f32).clamp(1.0 / WIDEST, WIDEST);
        }
    }
    gains
}

fn band_powers(spectrum: &[Complex<f32>], length: usize) -> [f64; BANDS] {
    let mut powers = [0.0; BANDS];
    for (bin, value) in spectrum.iter().enumerate() {
        let place = band_place(bin, length).round();
        if (0.0..BANDS as f32).contains(&place) {
            powers[place as usize] += f64::from(value.norm_sqr());
        }
    }
    powers
}

/// Multiplies each bin by the gain interpolated between the centres of its two bands, in log frequency.
fn apply(spectrum: &mut [Complex<f32>], gains: &[f32; BANDS], length: usize) {
    for (bin, value) in spectrum.iter_mut().enumerate() {
        let place = band_place(bin, length).clamp(0.0, (BANDS - 1) as f32);
        let below = (place as usize).min(BANDS - 2);
        let share = place - below as f32;
        *value *= gains[below] + (gains[below + 1] - gains[below]) * share;
    }
}

/// Place of a bin on the scale of bands: 0 at the centre of the lowest, 1 a third of an octave above.
fn band_place(bin: usize, length: usize) -> f32 {
    let hz = bin as f32 * RATE / length as f32;
    if bin == 0 {
        -10.0
    } else {
        3.0 * (hz / LOWEST_HZ).log2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use crate::shape::rms;

    fn noise(seed: u64, pole: f32) -> Vec<f32> {
        let mut noise = Dice::new(seed).noise();
        let mut state = 0.0;
        (0..88_200)
            .map(|_| {
                state = pole * state + (1.0 - pole) * noise.sample();
                state
            })
            .collect()
    }

    #[test]
    fn after_matching_no_band_is_off_by_a_twentieth_of_a_decibel() {
        let (dull, bright) = (noise(1, 0.95), noise(2, 0.3));
        let matched = match_to(&dull, &bright);
        for (band, (a, b)) in third_octaves(&matched)
            .iter()
            .zip(third_octaves(&bright))
            .enumerate()
        {
            assert!((a - b).abs() < 0.05, "band {band}: {a} and {b}");
        }
        assert!((rms(&matched) / rms(&bright) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn matching_a_wave_to_itself_changes_nothing() {
        let wave = noise(3, 0.9);
        let matched = match_to(&wave, &wave);
        let worst = wave
            .iter()
            .zip(&matched)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(worst < 1e-5, "{worst}");
    }

    #[test]
    fn a_sine_is_measured_in_its_own_band() {
        let wave: Vec<f32> = (0..44_100)
            .map(|i| (std::f32::consts::TAU * 1_000.0 * i as f32 / RATE).sin())
            .collect();
        let bands = third_octaves(&wave);
        assert!((bands[15] + 3.01).abs() < 0.1, "{bands:?}");
        assert!(bands[5] < -50.0 && bands[25] < -60.0, "{bands:?}");
    }
}
