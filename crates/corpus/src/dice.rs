//! Seeded chance with a stream of its own for every purpose, so that one more draw in one place shifts no other.
//!
//! Used by everything in this crate and by training. Never seeded from the clock.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// A stream of random draws that knows its seed and can derive others.
#[derive(Clone, Debug)]
pub struct Dice {
    seed: u64,
    rng: ChaCha8Rng,
}

impl Dice {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// A stream that depends on this seed and on `purpose`, not on what was drawn before.
    pub fn child(&self, purpose: &str) -> Self {
        Self::new(derive(self.seed, purpose))
    }

    /// A number in `[low, high)`, or `low` where the two are equal.
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.rng.random::<f32>()
    }

    /// A number between `low` and `high`, both positive, spread evenly over their logarithms.
    pub fn log_uniform(&mut self, low: f32, high: f32) -> f32 {
        self.uniform(low.ln(), high.ln()).exp()
    }

    /// A whole number in `[0, bound)`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            0
        } else {
            self.rng.random_range(0..bound)
        }
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.rng.random::<f32>() < p
    }

    /// One of `options`, which is never empty in this crate: the callers pass constant tables.
    pub fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.below(options.len())]
    }

    /// A draw from the normal distribution with mean 0 and deviation 1.
    pub fn normal(&mut self) -> f32 {
        self.rng.sample(StandardNormal)
    }

    /// Puts `items` in random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// A fast source of white noise, seeded from this stream.
    pub fn noise(&mut self) -> Noise {
        Noise {
            state: self.rng.next_u64() | 1,
        }
    }
}

/// White noise in `[-1, 1)` from a xorshift generator: good enough for sound, ten times faster than [`Dice`].
#[derive(Clone, Debug)]
pub struct Noise {
    state: u64,
}

impl Noise {
    /// The next sample.
    #[inline]
    pub fn sample(&mut self) -> f32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        ((self.state >> 40) as f32) * (2.0 / 16_777_216.0) - 1.0
    }
}

/// Seed of `purpose` under `seed`: FNV-1a over the name, then the finaliser of splitmix64.
pub fn derive(seed: u64, purpose: &str) -> u64 {
    let name = purpose
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
    let mut mixed = seed.wrapping_add(name).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_stream_does_not_depend_on_earlier_draws() {
        let fresh = Dice::new(7);
        let mut used = Dice::new(7);
        used.normal();
        assert_eq!(
            fresh.child("notes").uniform(0.0, 1.0),
            used.child("notes").uniform(0.0, 1.0)
        );
    }

    #[test]
    fn streams_of_two_purposes_differ() {
        let dice = Dice::new(7);
        assert_ne!(
            dice.child("notes").uniform(0.0, 1.0),
            dice.child("room").uniform(0.0, 1.0)
        );
    }

    #[test]
    fn noise_is_centred_and_fills_its_range() {
        let mut noise = Dice::new(1).noise();
        let samples: Vec<f32> = (0..100_000).map(|_| noise.sample()).collect();
        let mean = samples.iter().sum::<f32>() / 100_000.0;
        let power = samples.iter().map(|x| x * x).sum::<f32>() / 100_000.0;
        assert!(
            mean.abs() < 0.01 && (power - 1.0 / 3.0).abs() < 0.01,
            "mean {mean}, power {power}"
        );
    }
}
