//! The one source of chance. Every draw is noted, so that a run can be replayed from its notes without the generator that
//! made them, and a shortened or edited note still is a run.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Where draws come from.
#[derive(Debug)]
enum Source {
    Seed(Box<ChaCha8Rng>),
    /// Noted draws; beyond their end every draw is the greatest, so that nothing happens that need not.
    Tape(Vec<u32>),
}

/// Dice that remember what they showed.
#[derive(Debug)]
pub(crate) struct Dice {
    source: Source,
    shown: Vec<u32>,
}

impl Dice {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self {
            source: Source::Seed(Box::new(ChaCha8Rng::seed_from_u64(seed))),
            shown: Vec::new(),
        }
    }

    pub(crate) fn noted(tape: Vec<u32>) -> Self {
        Self {
            source: Source::Tape(tape),
            shown: Vec::new(),
        }
    }

    /// What was shown so far.
    pub(crate) fn tape(&self) -> &[u32] {
        &self.shown
    }

    /// A number below `n`; 0 where `n` is 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        let n = u32::try_from(n).unwrap_or(u32::MAX).max(1);
        let drawn = match &mut self.source {
            Source::Seed(rng) => {
                let scaled = u64::from(rng.next_u32()) * u64::from(n);
                u32::try_from(scaled >> 32).unwrap_or(0)
            }
            Source::Tape(tape) => tape.get(self.shown.len()).map_or(n - 1, |noted| noted % n),
        };
        self.shown.push(drawn);
        u64::from(drawn)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// An index into something of that length.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// Whether something of that chance in ten thousand happens. What cannot happen draws nothing.
    pub(crate) fn happens(&mut self, per_myriad: u32) -> bool {
        per_myriad > 0 && self.below(10_000) < u64::from(per_myriad)
    }

    /// One of those.
    pub(crate) fn one_of<T: Copy>(&mut self, options: &[T]) -> Option<T> {
        let at = self.index(options.len());
        options.get(at).copied()
    }
}
