//! Chance from a seed: splitmix64 (Steele, Lea and Flood, OOPSLA 2014), which is enough to draw with replacement. Two
//! streams of other names do not follow each other.

/// A stream of draws.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The stream of a seed for a purpose.
    #[must_use]
    pub fn new(seed: u64, purpose: &str) -> Self {
        Self {
            state: hash(seed, purpose),
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.state)
    }

    /// A number below `bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next()) * bound as u128;
        // The upper half of the product lies below the bound, which is a length.
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}

/// A number that depends on seed and name: equal for equal ones, else as good as drawn.
#[must_use]
pub fn hash(seed: u64, name: &str) -> u64 {
    let folded = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    mixed(mixed(seed).wrapping_add(folded))
}

fn mixed(value: u64) -> u64 {
    let mut mixed = value;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_and_follow_the_seed_and_the_purpose() {
        let mut seen = [0u32; 7];
        let mut dice = Dice::new(3, "evenness");
        (0..70_000).for_each(|_| seen[dice.below(7)] += 1);
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
        let row = |seed, purpose: &str| -> Vec<usize> {
            let mut dice = Dice::new(seed, purpose);
            (0..8).map(|_| dice.below(1_000)).collect()
        };
        assert_eq!(row(1, "a"), row(1, "a"));
        assert_ne!(row(1, "a"), row(2, "a"));
        assert_ne!(row(1, "a"), row(1, "b"));
        assert_eq!(Dice::new(1, "a").below(0), 0);
    }
}
