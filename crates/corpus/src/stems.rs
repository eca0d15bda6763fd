//! The stems of a piece: the same parts that [`compose`](crate::piece::compose) mixes and wears, kept apart in four groups, before any wear.
//!
//! Called by the training of the separator. The sum of the stems is the mix; microphones that hear each other put a part's bleed into that
//! part's own stem, so the sum stays the mix. Same seed, same samples.

use crate::dice::Dice;
use crate::oscillator::OnePole;
use crate::piece::{Part, perform};
use crate::{RATE, Stereo};

/// Names of the stems in the order of [`Stems::parts`], which is that of the published separators.
pub const STEMS: [&str; 4] = ["drums", "bass", "other", "vocals"];

/// How far sound travels between two microphones of a room, as a delay in seconds: 0.3 to 5 m.
const TRAVEL: (f32, f32) = (0.001, 0.015);
/// How far below a part's own microphone the others hear it, in decibels.
const BLEED_DB: (f32, f32) = (12.0, 34.0);
/// Where the treble of what they hear ends, in hertz: they point elsewhere.
const BLEED_CORNER_HZ: (f32, f32) = (800.0, 6_000.0);

/// Where the members of the ensemble stood when they were recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Microphones {
    /// Each alone: the parts are those of the finished piece.
    Apart,
    /// In one room: each is heard, late and dark, by the microphones of all others.
    Shared,
}

/// A piece taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Stems {
    /// One sound for each of [`STEMS`]; silence where no member plays it.
    pub parts: [Stereo; 4],
    /// Their sum, added up member by member.
    pub mix: Stereo,
}

/// Plays the piece of `seed`, `seconds` long, and keeps its stems.
pub fn stems(seed: u64, seconds: f32, microphones: Microphones) -> Stems {
    let dice = Dice::new(seed);
    let frames = (seconds * RATE) as usize;
    let members: Vec<(Part, Stereo)> = perform(&dice, frames).collect();
    let others = members.len().saturating_sub(1);
    let mut stems = Stems {
        parts: std::array::from_fn(|_| Stereo::silence(frames)),
        mix: Stereo::silence(frames),
    };
    for (index, (part, mut heard)) in members.into_iter().enumerate() {
        match microphones {
            Microphones::Apart => {}
            Microphones::Shared => {
                let mut dice = dice.child(&format!("bleed {index}"));
                heard.add(&bleed(&heard, others, &mut dice));
            }
        }
        stems.parts[part.stem()].add(&heard);
        stems.mix.add(&heard);
    }
    stems
}

/// What so many other microphones hear of a part, together.
fn bleed(part: &Stereo, others: usize, dice: &mut Dice) -> Stereo {
    let mut sum = Stereo::silence(part.frames());
    for _ in 0..others {
        let delay = (dice.uniform(TRAVEL.0, TRAVEL.1) * RATE) as usize;
        let level = 10.0_f32.powf(-dice.uniform(BLEED_DB.0, BLEED_DB.1) / 20.0);
        let corner = OnePole::corner(dice.log_uniform(BLEED_CORNER_HZ.0, BLEED_CORNER_HZ.1));
        for (out, own) in [(&mut sum.left, &part.left), (&mut sum.right, &part.right)] {
            let mut dark = OnePole::default();
            for (slot, sample) in out.iter_mut().skip(delay).zip(own) {
                *slot += level * dark.low(*sample, corner);
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::piece::compose;
    use crate::wear::wear;

    /// Largest difference of the stems' sum from the mix: members of one stem are added up in another order.
    fn off(stems: &Stems) -> f32 {
        let mut sum = Stereo::silence(stems.mix.frames());
        stems.parts.iter().for_each(|part| sum.add(part));
        sum.scale(-1.0);
        sum.add(&stems.mix);
        sum.peak()
    }

    #[test]
    fn stems_sum_to_the_mix_with_bleed_and_without() {
        for seed in 0..12 {
            for microphones in [Microphones::Apart, Microphones::Shared] {
                let stems = stems(seed, 2.0, microphones);
                let peak = stems.mix.peak();
                assert!(
                    off(&stems) <= 1e-6 * peak,
                    "{seed} {microphones:?}: {} of {peak}",
                    off(&stems)
                );
            }
        }
    }

    #[test]
    fn the_mix_of_parts_recorded_apart_becomes_the_piece_when_it_is_worn() {
        for seed in 0..6 {
            let mut mix = stems(seed, 2.0, Microphones::Apart).mix;
            wear(&mut mix, &Dice::new(seed));
            assert_eq!(mix, compose(seed, 2.0).audio, "{seed}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_stems() {
        for microphones in [Microphones::Apart, Microphones::Shared] {
            assert_eq!(stems(5, 2.0, microphones), stems(5, 2.0, microphones));
        }
    }

    #[test]
    fn bleed_is_heard_below_what_it_bleeds_from_and_a_single_part_has_none() {
        let mut shared_rooms = 0;
        for seed in 0..24 {
            let (apart, shared) = (
                stems(seed, 2.0, Microphones::Apart),
                stems(seed, 2.0, Microphones::Shared),
            );
            let members = perform(&Dice::new(seed), 88_200).count();
            let mut spilled = apart.mix.clone();
            spilled.scale(-1.0);
            spilled.add(&shared.mix);
            if members == 1 {
                assert_eq!(apart, shared, "{seed}");
            } else {
                let share = spilled.rms() / apart.mix.rms();
                assert!((1e-3..1.0).contains(&share), "{seed}: {share}");
                shared_rooms += 1;
            }
        }
        assert!(shared_rooms > 12);
    }

    #[test]
    fn every_stem_is_played_in_some_piece_and_silent_in_another() {
        let mut played = [0; 4];
        let pieces = 60;
        for seed in 0..pieces {
            let stems = stems(seed, 1.0, Microphones::Apart);
            for (count, part) in played.iter_mut().zip(&stems.parts) {
                *count += i32::from(part.peak() > 0.0);
            }
        }
        assert!(
            played.iter().all(|count| (5..60).contains(count)),
            "{played:?} of {pieces}"
        );
    }
}
