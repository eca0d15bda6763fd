//! Makes audio whose truth is known: seeded pieces of music, their passes through lossy codecs, the labelled manifest that names them.
//!
//! Called by training and evaluation in `models`, and by tests that need sound files. Never used while scanning, never linked to libtorch,
//! never reads a recording: every sample comes from a seed, so the same seed gives the same samples on the same machine.

pub mod alter;
pub mod codec;
pub mod dice;
pub mod hostile;
pub mod manifest;
pub mod piece;
pub mod shape;
pub mod stems;
pub mod wav;

mod music;
mod oscillator;
mod room;
mod synth;
mod wear;

/// Sample rate of everything made here, in hertz.
pub const RATE_HZ: u32 = 44_100;

/// The same rate for arithmetic.
pub(crate) const RATE: f32 = 44_100.0;

/// Two channels of equal length at [`RATE_HZ`], full scale at 1.0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stereo {
    /// Left channel.
    pub left: Vec<f32>,
    /// Right channel.
    pub right: Vec<f32>,
}

impl Stereo {
    /// Silence of `frames` frames.
    pub fn silence(frames: usize) -> Self {
        Self {
            left: vec![0.0; frames],
            right: vec![0.0; frames],
        }
    }

    /// Frames per channel.
    pub fn frames(&self) -> usize {
        self.left.len()
    }

    /// Largest absolute sample of both channels.
    pub fn peak(&self) -> f32 {
        self.samples()
            .fold(0.0, |peak, sample| peak.max(sample.abs()))
    }

    /// Root mean square over both channels.
    pub fn rms(&self) -> f32 {
        let count = (2 * self.frames()).max(1);
        let energy: f64 = self
            .samples()
            .map(|sample| f64::from(sample) * f64::from(sample))
            .sum();
        (energy / count as f64).sqrt() as f32
    }

    /// Multiplies both channels by `gain`.
    pub fn scale(&mut self, gain: f32) {
        for channel in [&mut self.left, &mut self.right] {
            channel.iter_mut().for_each(|sample| *sample *= gain);
        }
    }

    /// Adds another sound of the same length, sample by sample.
    pub fn add(&mut self, other: &Self) {
        for (own, more) in [
            (&mut self.left, &other.left),
            (&mut self.right, &other.right),
        ] {
            own.iter_mut()
                .zip(more)
                .for_each(|(slot, sample)| *slot += sample);
        }
    }

    fn samples(&self) -> impl Iterator<Item = f32> {
        self.left.iter().chain(&self.right).copied()
    }
}
