//! Mean, deviation and peak of a track's samples as they pass, for the feed that reads them from a ring. Keeps no samples.

use crate::sums;
use crate::tally::Sound;

/// Mean and squared deviations of a stream, merged piece by piece so that a constant offset costs no digits.
#[derive(Default)]
pub(crate) struct Moments {
    samples: u64,
    mean: f64,
    squares: f64,
    peak: f32,
}

impl Moments {
    /// Adds a piece.
    pub(crate) fn add(&mut self, pcm: &[f32]) {
        if pcm.is_empty() {
            return;
        }
        let n = pcm.len() as f64;
        let sums = sums::sums(pcm);
        let mean = sums.values / n;
        // A piece is short: what an offset costs here is far below single precision.
        let squares = (sums.squares - mean * sums.values).max(0.0);
        let before = self.samples as f64;
        let step = mean - self.mean;
        self.mean += step * n / (before + n);
        self.squares += squares + step * step * before * n / (before + n);
        self.samples += pcm.len() as u64;
        self.peak = self.peak.max(sums.peak);
    }

    /// What the pieces so far come to.
    pub(crate) fn sound(&self) -> Sound {
        let deviation = if self.samples > 1 {
            (self.squares / (self.samples - 1) as f64).sqrt()
        } else {
            0.0
        };
        Sound {
            samples: self.samples,
            mean: self.mean,
            deviation,
            peak: self.peak,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_do_not_depend_on_pieces() {
        let pcm: Vec<f32> = (0..10_000)
            .map(|i| 100.0 + (i as f32 * 0.37).sin())
            .collect();
        let mut whole = Moments::default();
        whole.add(&pcm);
        let mut pieces = Moments::default();
        pcm.chunks(77).for_each(|piece| pieces.add(piece));
        let (a, b) = (whole.sound(), pieces.sound());
        assert!(
            (a.mean - b.mean).abs() < 1e-10 && (a.deviation - b.deviation).abs() < 1e-10,
            "{a:?} {b:?}"
        );
        assert!((a.deviation - 0.5f64.sqrt()).abs() < 1e-3);
    }
}
