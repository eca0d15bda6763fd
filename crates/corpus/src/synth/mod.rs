//! The instruments: each turns one note into sound added to a mono buffer.
//!
//! Called by `piece`. An instrument draws its character once per part (`Instrument::draw`) and its scatter per note.

mod drums;
mod keys;
mod plucked;
mod sustained;
mod texture;

pub(crate) use drums::Kit;
pub(crate) use texture::Texture;

use crate::RATE;
use crate::dice::Dice;
use crate::music::Note;

/// A melodic instrument with its character drawn.
#[derive(Clone, Debug)]
pub(crate) enum Instrument {
    Plucked(plucked::Plucked),
    Keys(keys::FmKeys),
    Organ(keys::Organ),
    Pad(sustained::Pad),
    Lead(sustained::Lead),
    Bowed(sustained::Bowed),
}

/// Kinds of [`Instrument`], for drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plucked,
    Keys,
    Organ,
    Pad,
    Lead,
    Bowed,
}

impl Kind {
    /// Word used in a piece's description.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plucked => "plucked",
            Self::Keys => "keys",
            Self::Organ => "organ",
            Self::Pad => "pad",
            Self::Lead => "lead",
            Self::Bowed => "bowed",
        }
    }
}

impl Instrument {
    pub(crate) fn draw(kind: Kind, dice: &mut Dice) -> Self {
        match kind {
            Kind::Plucked => Self::Plucked(plucked::Plucked::draw(dice)),
            Kind::Keys => Self::Keys(keys::FmKeys::draw(dice)),
            Kind::Organ => Self::Organ(keys::Organ::draw(dice)),
            Kind::Pad => Self::Pad(sustained::Pad::draw(dice)),
            Kind::Lead => Self::Lead(sustained::Lead::draw(dice)),
            Kind::Bowed => Self::Bowed(sustained::Bowed::draw(dice)),
        }
    }

    /// Adds `note` to `out`, which begins at the start of the piece; what lies beyond its end is cut.
    pub(crate) fn play(&self, note: &Note, dice: &mut Dice, out: &mut [f32]) {
        let first = ((note.start * RATE) as usize).min(out.len());
        let out = &mut out[first..];
        match self {
            Self::Plucked(it) => it.play(note, dice, out),
            Self::Keys(it) => it.play(note, dice, out),
            Self::Organ(it) => it.play(note, dice, out),
            Self::Pad(it) => it.play(note, dice, out),
            Self::Lead(it) => it.play(note, dice, out),
            Self::Bowed(it) => it.play(note, dice, out),
        }
    }
}

/// The part of `out` that lasts at most `seconds`.
fn within(out: &mut [f32], seconds: f32) -> &mut [f32] {
    let frames = ((seconds * RATE) as usize).min(out.len());
    &mut out[..frames]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instrument_is_heard_and_stays_finite_over_its_range() {
        for kind in [
            Kind::Plucked,
            Kind::Keys,
            Kind::Organ,
            Kind::Pad,
            Kind::Lead,
            Kind::Bowed,
        ] {
            for (seed, pitch) in [(1, 28.0), (2, 60.0), (3, 100.0)] {
                let mut dice = Dice::new(seed);
                let instrument = Instrument::draw(kind, &mut dice);
                let mut out = vec![0.0; 88_200];
                instrument.play(
                    &Note {
                        start: 0.5,
                        length: 0.5,
                        pitch,
                        velocity: 0.8,
                    },
                    &mut dice,
                    &mut out,
                );
                let energy: f32 = out.iter().map(|x| x * x).sum();
                assert!(
                    energy.is_finite() && energy > 0.1,
                    "{kind:?} at {pitch}: energy {energy}"
                );
                assert!(
                    out[..22_050].iter().all(|&x| x == 0.0),
                    "{kind:?} sounds before its start"
                );
            }
        }
    }
}
