//! Loudness and coarse spectrum: measured for the guards and baselines, matched so that they tell nothing.
//!
//! Called by the maker of positives (`match_to`) and by evaluation (`third_octaves`, `crest`). No model, no codec.

mod fft;
mod thirds;

pub use thirds::{BANDS, match_to, third_octaves};

pub(crate) use fft::{convolve, spectrum_of, wave_of};

/// Ratio of peak to root mean square in decibels; 0 for silence.
pub fn crest_db(samples: &[f32]) -> f32 {
    let peak = samples.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
    let level = rms(samples);
    if level > 0.0 {
        20.0 * (peak / level).log10()
    } else {
        0.0
    }
}

/// Root mean square; 0 for an empty slice.
pub fn rms(samples: &[f32]) -> f32 {
    let energy: f64 = samples.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    (energy / samples.len().max(1) as f64).sqrt() as f32
}
