//! What happens to a track on its way besides codecs: treble cut off, another speed, another level, noise.
//!
//! Called by the evaluation grid of `models`. Never used where pieces are made.

use std::f64::consts::PI;

use crate::Stereo;
use crate::dice::Dice;
use crate::shape::{convolve, rms};

/// Taps of the low-pass on either side of its middle: at 44.1 kHz the edge is 170 Hz wide.
const EDGE_TAPS: usize = 512;
/// Zero crossings of the interpolation on either side of a sample: errors lie 90 dB below the music.
const CROSSINGS: f64 = 24.0;
/// Places of the interpolation's kernel that are tabled from its middle to its end: between two of them a line is 110 dB true.
const TABLED: usize = 1 << 14;

/// Removes what lies above `hz`, by a filter of linear phase whose delay is taken back.
pub fn low_pass(audio: &Stereo, hz: f32) -> Stereo {
    let share = 2.0 * f64::from(hz) / f64::from(crate::RATE);
    let response: Vec<f32> = (0..=2 * EDGE_TAPS)
        .map(|at| {
            let place = at as f64 - EDGE_TAPS as f64;
            (share * sinc(share * place) * window(place / (EDGE_TAPS as f64 + 1.0))) as f32
        })
        .collect();
    each(audio, |channel| {
        let mut padded = channel.to_vec();
        padded.resize(channel.len() + EDGE_TAPS, 0.0);
        convolve(&padded, &response).split_off(EDGE_TAPS)
    })
}

/// Plays the sound faster by so many percent (slower below zero) and leaves it so: pitch and length change together.
pub fn respeed(audio: &Stereo, percent: f32) -> Stereo {
    let speed = 1.0 + f64::from(percent) / 100.0;
    // Played faster, what would pass half the rate is damped first.
    let share = speed.recip().min(1.0);
    let frames = (audio.frames() as f64 / speed) as usize;
    let reach = CROSSINGS / share;
    let table: Vec<f64> = (0..=TABLED + 1)
        .map(|at| at as f64 / TABLED as f64)
        .map(|t| share * sinc(CROSSINGS * t) * window(t))
        .collect();
    let kernel = |off: f64| {
        let place = (off.abs() / reach).min(1.0) * TABLED as f64;
        let below = place as usize;
        table[below] + (place - below as f64) * (table[below + 1] - table[below])
    };
    each(audio, |channel| {
        let value = |at: usize| {
            let place = at as f64 * speed;
            let first = (place - reach).ceil().max(0.0) as usize;
            let last = ((place + reach) as usize).min(channel.len().saturating_sub(1));
            let sum: f64 = (first..=last)
                .map(|source| f64::from(channel[source]) * kernel(source as f64 - place))
                .sum();
            sum as f32
        };
        (0..frames).map(value).collect()
    })
}

/// Changes the level by so many decibels.
pub fn gain(audio: &Stereo, db: f32) -> Stereo {
    let mut louder = audio.clone();
    louder.scale(10.0_f32.powf(db / 20.0));
    louder
}

/// Adds white noise so many decibels below the sound, from a stream of its own on each channel.
pub fn noise(audio: &Stereo, below_db: f32, dice: &mut Dice) -> Stereo {
    let level = audio.rms() * 10.0_f32.powf(-below_db / 20.0);
    let mut noisy = audio.clone();
    for channel in [&mut noisy.left, &mut noisy.right] {
        let mut source = dice.noise();
        let hiss: Vec<f32> = channel.iter().map(|_| source.sample()).collect();
        let scale = level / rms(&hiss).max(1e-9);
        channel
            .iter_mut()
            .zip(hiss)
            .for_each(|(slot, sample)| *slot += scale * sample);
    }
    noisy
}

fn each(audio: &Stereo, change: impl Fn(&[f32]) -> Vec<f32>) -> Stereo {
    Stereo {
        left: change(&audio.left),
        right: change(&audio.right),
    }
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

/// A Blackman window from -1 to 1.
fn window(x: f64) -> f64 {
    if x.abs() >= 1.0 {
        0.0
    } else {
        0.42 + 0.5 * (PI * x).cos() + 0.08 * (2.0 * PI * x).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RATE;

    fn tone(hz: f32, frames: usize) -> Stereo {
        let wave: Vec<f32> = (0..frames)
            .map(|at| (2.0 * PI * f64::from(hz) * at as f64 / f64::from(RATE)).sin() as f32)
            .collect();
        Stereo {
            left: wave.clone(),
            right: wave,
        }
    }

    /// Root mean square of what is left away from the ends.
    fn middle_rms(audio: &Stereo) -> f32 {
        let ends = audio.frames() / 8;
        rms(&audio.left[ends..audio.frames() - ends])
    }

    #[test]
    fn a_low_pass_keeps_what_lies_below_in_place_and_removes_what_lies_above() {
        let low = tone(1_000.0, 20_000);
        let kept = low_pass(&low, 4_000.0);
        for at in 2_000..18_000 {
            assert!((kept.left[at] - low.left[at]).abs() < 1e-3, "{at}");
        }
        assert!(middle_rms(&low_pass(&tone(5_000.0, 20_000), 4_000.0)) < 1e-4);
    }

    #[test]
    fn a_tone_played_faster_is_that_much_higher_and_shorter() {
        for percent in [-3.0_f32, -0.1, 0.1, 1.0, 3.0] {
            let speed = 1.0 + percent / 100.0;
            let found = respeed(&tone(2_000.0, 20_000), percent);
            let expected = tone(2_000.0 * speed, found.frames());
            let off: Vec<f32> = found
                .left
                .iter()
                .zip(&expected.left)
                .map(|(a, b)| a - b)
                .collect();
            let inner = &off[500..off.len() - 500];
            assert!(rms(inner) < 2e-3, "{percent}: {}", rms(inner));
            assert!((found.frames() as f32 - 20_000.0 / speed).abs() <= 1.0);
        }
    }

    #[test]
    fn noise_lies_as_far_below_as_asked_and_gain_is_in_decibels() {
        let audio = tone(500.0, 40_000);
        let mut noisy = noise(&audio, 25.0, &mut Dice::new(1));
        let mut minus = audio.clone();
        minus.scale(-1.0);
        noisy.add(&minus);
        assert!((20.0 * (audio.rms() / noisy.rms()).log10() - 25.0).abs() < 0.1);
        let quiet = gain(&audio, -20.0);
        assert!((quiet.rms() / audio.rms() - 0.1).abs() < 1e-4);
    }
}
