//! Small sound machines shared by the instruments: table sine, band-limited saw, envelopes, filters.
//!
//! All run at the crate's rate, allocate nothing per sample and know nothing of notes.

use std::f32::consts::TAU;
use std::sync::LazyLock;

use crate::RATE;

/// Table length: with linear interpolation the error stays below -120 dB.
const TABLE: usize = 4096;

static SINE: LazyLock<Vec<f32>> = LazyLock::new(|| {
    (0..=TABLE)
        .map(|i| (TAU * i as f32 / TABLE as f32).sin())
        .collect()
});

/// Sine of a phase counted in cycles.
#[inline]
pub(crate) fn sine(cycles: f32) -> f32 {
    let place = (cycles - cycles.floor()) * TABLE as f32;
    let index = (place as usize).min(TABLE - 1);
    let table = &SINE[index..index + 2];
    table[0] + (table[1] - table[0]) * (place - index as f32)
}

/// A phase that runs from 0 to 1.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Phase(pub(crate) f32);

impl Phase {
    /// The phase before the step, then one step of `hz`.
    #[inline]
    pub(crate) fn step(&mut self, hz: f32) -> f32 {
        let now = self.0;
        self.0 += hz / RATE;
        self.0 -= self.0.floor();
        now
    }
}

/// Saw whose jump is rounded over one sample each side (polyBLEP).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Saw(pub(crate) Phase);

impl Saw {
    #[inline]
    pub(crate) fn sample(&mut self, hz: f32) -> f32 {
        let step = hz / RATE;
        let phase = self.0.step(hz);
        2.0 * phase - 1.0 - blep(phase, step)
    }
}

/// Square with the share `width` of its cycle high, as a difference of two saws.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulse(pub(crate) Phase);

impl Pulse {
    #[inline]
    pub(crate) fn sample(&mut self, hz: f32, width: f32) -> f32 {
        let step = hz / RATE;
        let phase = self.0.step(hz);
        let shifted = phase + 1.0 - width;
        let shifted = shifted - shifted.floor();
        let level = if phase < width { 1.0 } else { -1.0 };
        level + blep(phase, step) - blep(shifted, step)
    }
}

#[inline]
fn blep(phase: f32, step: f32) -> f32 {
    if phase < step {
        let t = phase / step;
        t + t - t * t - 1.0
    } else if phase > 1.0 - step {
        let t = (phase - 1.0) / step;
        t * t + t + t + 1.0
    } else {
        0.0
    }
}

/// One-pole low-pass.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OnePole(f32);

impl OnePole {
    /// Coefficient for a corner at `hz`.
    pub(crate) fn corner(hz: f32) -> f32 {
        1.0 - (-TAU * hz / RATE).exp()
    }

    #[inline]
    pub(crate) fn low(&mut self, input: f32, coefficient: f32) -> f32 {
        self.0 += coefficient * (input - self.0);
        self.0
    }
}

/// State-variable filter (trapezoidal): low, band and high from one state.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Svf {
    a: f32,
    b: f32,
}

/// Coefficients of [`Svf`] for one corner and damping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SvfShape {
    g: f32,
    k: f32,
    norm: f32,
}

impl SvfShape {
    /// `hz` is held between 10 Hz and 0.45 of the rate; `q` is the resonance.
    pub(crate) fn new(hz: f32, q: f32) -> Self {
        let g = (std::f32::consts::PI * hz.clamp(10.0, 0.45 * RATE) / RATE).tan();
        let k = 1.0 / q.max(0.1);
        Self {
            g,
            k,
            norm: 1.0 / (1.0 + g * (g + k)),
        }
    }
}

impl Svf {
    /// Low, band and high outputs.
    #[inline]
    pub(crate) fn step(&mut self, input: f32, shape: SvfShape) -> (f32, f32, f32) {
        let high = (input - self.b - (shape.g + shape.k) * self.a) * shape.norm;
        let band = shape.g * high + self.a;
        self.a = shape.g * high + band;
        let low = shape.g * band + self.b;
        self.b = shape.g * band + low;
        (low, band, high)
    }
}

/// Attack, decay to a held level, release: times in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) attack: f32,
    pub(crate) decay: f32,
    pub(crate) hold: f32,
    pub(crate) release: f32,
}

impl Envelope {
    /// Level at `time` of a note held for `length`.
    #[inline]
    pub(crate) fn level(&self, time: f32, length: f32) -> f32 {
        let held = |t: f32| {
            if t < self.attack {
                t / self.attack
            } else {
                self.hold + (1.0 - self.hold) * fast_decay((t - self.attack) / self.decay)
            }
        };
        if time < length {
            held(time)
        } else {
            held(length) * fast_decay((time - length) / self.release)
        }
    }

    /// Seconds until the note has faded by about 55 dB.
    pub(crate) fn tail(&self, length: f32) -> f32 {
        length + 6.5 * self.release
    }
}

/// exp(-x) for x ≥ 0 by repeated squaring of (1 - x/64): smooth, monotone, cheap.
#[inline]
fn fast_decay(x: f32) -> f32 {
    let base = (1.0 - x / 64.0).max(0.0);
    let square = base * base;
    let fourth = square * square;
    let eighth = fourth * fourth;
    let sixteenth = eighth * eighth;
    let half = sixteenth * sixteenth;
    half * half
}

/// Frequency in hertz of a MIDI pitch, which may lie between keys.
pub(crate) fn hertz(pitch: f32) -> f32 {
    440.0 * ((pitch - 69.0) / 12.0).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_sine_follows_the_real_one() {
        for i in 0..1000 {
            let cycles = i as f32 / 300.0;
            assert!(
                (sine(cycles) - (TAU * cycles).sin()).abs() < 1e-5,
                "at {cycles}"
            );
        }
    }

    #[test]
    fn a_saw_stays_in_range_and_has_no_offset() {
        let mut saw = Saw::default();
        let samples: Vec<f32> = (0..44_100).map(|_| saw.sample(441.0)).collect();
        assert!(samples.iter().all(|x| x.abs() <= 1.01));
        assert!((samples.iter().sum::<f32>() / 44_100.0).abs() < 0.01);
    }

    #[test]
    fn the_filter_stays_finite_at_its_limits() {
        for (hz, q) in [(0.0, 0.0), (1e6, 50.0), (440.0, 20.0)] {
            let mut filter = Svf::default();
            let shape = SvfShape::new(hz, q);
            let worst = (0..20_000)
                .map(|i| {
                    filter
                        .step(if i % 7 == 0 { 1.0 } else { -0.3 }, shape)
                        .0
                        .abs()
                })
                .fold(0.0, f32::max);
            assert!(
                worst.is_finite() && worst < 100.0,
                "{hz} Hz, q {q}: {worst}"
            );
        }
    }

    #[test]
    fn an_envelope_rises_holds_and_fades() {
        let envelope = Envelope {
            attack: 0.01,
            decay: 0.1,
            hold: 0.5,
            release: 0.1,
        };
        assert!(envelope.level(0.0, 1.0) < 0.01);
        assert!((envelope.level(0.01, 1.0) - 1.0).abs() < 0.01);
        assert!((envelope.level(0.9, 1.0) - 0.5).abs() < 0.01);
        assert!(envelope.level(envelope.tail(1.0), 1.0) < 0.002);
    }
}
