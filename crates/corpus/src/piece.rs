//! One piece of music from one seed: an ensemble is drawn, its parts are written and played, placed in a room, mixed and worn.
//!
//! Called by the corpus of `models::train`, by the demo catalogue and by tests that need sound. Same seed, same samples.

use crate::dice::Dice;
use crate::music::{Harmony, Role};
use crate::room::Room;
use crate::synth::{Instrument, Kind, Kit, Texture};
use crate::{RATE, Stereo, wear};

/// A finished piece.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The sound.
    pub audio: Stereo,
    /// Its ensemble in words, such as `bass+drums+keys`.
    pub ensemble: String,
}

/// Composes and plays the piece of `seed`, `seconds` long.
pub fn compose(seed: u64, seconds: f32) -> Piece {
    let dice = Dice::new(seed);
    let mut mix = Stereo::silence((seconds * RATE) as usize);
    let mut names = Vec::new();
    for (part, placed) in perform(&dice, mix.frames()) {
        mix.add(&placed);
        names.push(part.name());
    }
    wear::wear(&mut mix, &dice);
    names.sort_unstable();
    Piece {
        audio: mix,
        ensemble: names.join("+"),
    }
}

/// Draws and plays the ensemble of `dice`: its members in order, each as it stands in the mix.
pub(crate) fn perform(dice: &Dice, frames: usize) -> impl Iterator<Item = (Part, Stereo)> {
    let ensemble = draw_ensemble(&mut dice.child("ensemble"));
    let harmony = Harmony::draw(&mut dice.child("harmony"));
    let room = Room::draw(&mut dice.child("room"));
    ensemble.into_iter().enumerate().map(move |(index, part)| {
        let mut dice = dice.child(&format!("part {index}"));
        let dry = play(part, &harmony, frames, &mut dice);
        (part, place(&dry, &room, &mut dice))
    })
}

/// One member of the ensemble.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Pitched { kind: Kind, role: Role, octave: f32 },
    Drums,
    Texture,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Pitched {
                role: Role::Bass, ..
            } => "bass",
            Self::Pitched { kind, .. } => kind.name(),
            Self::Drums => "drums",
            Self::Texture => "texture",
        }
    }

    /// Its place among [`STEMS`](crate::stems::STEMS). A melody on a held tone with vibrato stands for a voice.
    pub(crate) fn stem(self) -> usize {
        match self {
            Self::Drums => 0,
            Self::Pitched {
                role: Role::Bass, ..
            } => 1,
            Self::Pitched {
                kind: Kind::Lead | Kind::Bowed,
                role: Role::Melody,
                ..
            } => 3,
            Self::Pitched { .. } | Self::Texture => 2,
        }
    }
}

const MELODIC: [Kind; 5] = [
    Kind::Plucked,
    Kind::Keys,
    Kind::Lead,
    Kind::Bowed,
    Kind::Organ,
];
const CHORDAL: [Kind; 5] = [
    Kind::Plucked,
    Kind::Keys,
    Kind::Pad,
    Kind::Organ,
    Kind::Bowed,
];
const LOW: [Kind; 3] = [Kind::Lead, Kind::Plucked, Kind::Keys];

fn draw_ensemble(dice: &mut Dice) -> Vec<Part> {
    let mut parts = Vec::new();
    if dice.chance(0.75) {
        parts.push(Part::Pitched {
            kind: dice.pick(&MELODIC),
            role: Role::Melody,
            octave: dice.pick(&[1.0, 2.0, 2.0, 3.0]),
        });
    }
    if dice.chance(0.7) {
        let role = if dice.chance(0.35) {
            Role::Arpeggio
        } else {
            Role::Chords
        };
        parts.push(Part::Pitched {
            kind: dice.pick(&CHORDAL),
            role,
            octave: dice.pick(&[1.0, 1.0, 2.0]),
        });
    }
    if dice.chance(0.65) {
        parts.push(Part::Pitched {
            kind: dice.pick(&LOW),
            role: Role::Bass,
            octave: 0.0,
        });
    }
    if dice.chance(0.6) {
        parts.push(Part::Drums);
    }
    if dice.chance(0.2) {
        parts.push(Part::Texture);
    }
    if parts.is_empty() {
        parts.push(Part::Pitched {
            kind: dice.pick(&CHORDAL),
            role: Role::Chords,
            octave: 1.0,
        });
    }
    parts
}

fn play(part: Part, harmony: &Harmony, frames: usize, dice: &mut Dice) -> Vec<f32> {
    let mut out = vec![0.0; frames];
    match part {
        Part::Pitched { kind, role, octave } => {
            let instrument = Instrument::draw(kind, &mut dice.child("character"));
            let notes = harmony.part(role, octave, frames as f32 / RATE, &mut dice.child("notes"));
            for note in &notes {
                instrument.play(note, dice, &mut out);
            }
        }
        Part::Drums => Kit::draw(&mut dice.child("character")).play(harmony, dice, &mut out),
        Part::Texture => Texture::draw(dice).play(dice, &mut out),
    }
    out
}

/// A part as it stands in the mix, at a drawn level, place and distance.
fn place(dry: &[f32], room: &Room, dice: &mut Dice) -> Stereo {
    let mut placed = Stereo::silence(dry.len());
    let level = dice.log_uniform(0.25, 1.0) / crate::shape::rms(dry).max(1e-5);
    let angle = dice.uniform(0.15, 0.85) * std::f32::consts::FRAC_PI_2;
    let wet = dice.log_uniform(0.02, 0.9);
    let answer = room.answer(dry);
    for (out, (pan, reflected)) in [
        (&mut placed.left, (angle.cos(), answer.left)),
        (&mut placed.right, (angle.sin(), answer.right)),
    ] {
        for ((slot, direct), echo) in out.iter_mut().zip(dry).zip(reflected) {
            *slot = level * (pan * (1.0 - 0.7 * wet) * direct + wet * echo);
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_samples() {
        assert_eq!(compose(5, 2.0).audio, compose(5, 2.0).audio);
    }

    #[test]
    fn pieces_are_finite_audible_and_never_clip() {
        for seed in 0..24 {
            let piece = compose(seed, 3.0);
            let (peak, rms) = (piece.audio.peak(), piece.audio.rms());
            assert!(
                peak.is_finite() && (0.05..=0.81).contains(&peak),
                "seed {seed} ({}): peak {peak}",
                piece.ensemble
            );
            assert!(
                rms > 1e-3 * peak,
                "seed {seed} ({}): rms {rms}",
                piece.ensemble
            );
            assert_eq!(piece.audio.frames(), 132_300);
        }
    }

    #[test]
    fn a_hundred_seeds_draw_many_ensembles() {
        let names: std::collections::BTreeSet<String> = (0..100)
            .map(|seed| {
                draw_ensemble(&mut Dice::new(seed))
                    .iter()
                    .map(|part| part.name())
                    .collect::<Vec<_>>()
                    .join("+")
            })
            .collect();
        assert!(names.len() > 30, "{names:?}");
    }
}
