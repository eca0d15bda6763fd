//! Textures without pitch: wind (swept band noise), rain (random clicks through resonances), a drone of slow beating partials.

use crate::RATE;
use crate::dice::Dice;
use crate::oscillator::{Phase, Svf, SvfShape, sine};

/// Kinds of texture.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Texture {
    Wind,
    Rain,
    Drone,
}

impl Texture {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        dice.pick(&[Self::Wind, Self::Rain, Self::Drone])
    }

    /// Fills all of `out`.
    pub(crate) fn play(self, dice: &mut Dice, out: &mut [f32]) {
        match self {
            Self::Wind => wind(dice, out),
            Self::Rain => rain(dice, out),
            Self::Drone => drone(dice, out),
        }
    }
}

/// Samples between two moves of a filter.
const CONTROL: usize = 64;

fn wind(dice: &mut Dice, out: &mut [f32]) {
    let mut noise = dice.noise();
    let (centre, q, gust) = (
        dice.log_uniform(300.0, 5_000.0),
        dice.uniform(0.5, 6.0),
        dice.uniform(0.05, 0.7),
    );
    let (mut filter, mut slow) = (Svf::default(), Phase(dice.uniform(0.0, 1.0)));
    for slots in out.chunks_mut(CONTROL) {
        let sway = sine(slow.step(gust * CONTROL as f32));
        let shape = SvfShape::new(centre * sway.exp2(), q);
        for slot in slots {
            *slot += 0.3 * (0.6 + 0.4 * sway) * filter.step(noise.sample(), shape).1;
        }
    }
}

fn rain(dice: &mut Dice, out: &mut [f32]) {
    let mut noise = dice.noise();
    let rate = dice.log_uniform(20.0, 1_500.0) / RATE;
    let shape = SvfShape::new(dice.log_uniform(1_200.0, 8_000.0), dice.uniform(1.0, 12.0));
    let mut filter = Svf::default();
    for slot in out {
        let drop = if 0.5 * (noise.sample() + 1.0) < rate {
            2.0 * noise.sample()
        } else {
            0.0
        };
        *slot += filter.step(drop, shape).1;
    }
}

fn drone(dice: &mut Dice, out: &mut [f32]) {
    let root = dice.log_uniform(50.0, 220.0);
    let count = 4 + dice.below(9);
    let mut partials: Vec<(Phase, f32, Phase, f32, f32)> = (1..=count)
        .map(|n| {
            let hz = root * n as f32 * (1.0 + 0.004 * dice.normal());
            (
                Phase(dice.uniform(0.0, 1.0)),
                hz,
                Phase(dice.uniform(0.0, 1.0)),
                dice.uniform(0.03, 0.5),
                0.4 / n as f32,
            )
        })
        .collect();
    for slots in out.chunks_mut(CONTROL) {
        let levels: Vec<f32> = partials
            .iter_mut()
            .map(|(_, _, slow, rate, level)| {
                *level * (0.5 + 0.5 * sine(slow.step(*rate * CONTROL as f32)))
            })
            .collect();
        for slot in slots {
            *slot += 0.5
                * partials
                    .iter_mut()
                    .zip(&levels)
                    .map(|((phase, hz, ..), level)| level * sine(phase.step(*hz)))
                    .sum::<f32>();
        }
    }
}
