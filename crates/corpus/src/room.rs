//! Rooms: a synthetic impulse response of early reflections and a decaying, darkening tail.
//!
//! Called by `piece`. No measured room is used.

use crate::RATE;
use crate::Stereo;
use crate::dice::Dice;
use crate::oscillator::OnePole;
use crate::shape::convolve;

/// A room with its response drawn.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    left: Vec<f32>,
    right: Vec<f32>,
}

impl Room {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let seconds = dice.log_uniform(0.15, 2.8);
        let size = dice.log_uniform(0.004, 0.045);
        let bright = dice.log_uniform(1_500.0, 12_000.0);
        Self {
            left: response(seconds, size, bright, dice),
            right: response(seconds, size, bright, dice),
        }
    }

    /// What the room gives back for a mono source.
    pub(crate) fn answer(&self, dry: &[f32]) -> Stereo {
        Stereo {
            left: convolve(dry, &self.left),
            right: convolve(dry, &self.right),
        }
    }
}

/// One channel's response, of energy one: `seconds` to fall by 60 dB, first reflections within `size` seconds.
fn response(seconds: f32, size: f32, bright: f32, dice: &mut Dice) -> Vec<f32> {
    let frames = (1.1 * seconds * RATE) as usize;
    let mut noise = dice.noise();
    let mut dark = OnePole::default();
    let onset = (size * RATE) as usize;
    let mut out: Vec<f32> = (0..frames)
        .map(|index| {
            let time = index as f32 / RATE;
            let corner = OnePole::corner(bright * (-1.5 * time / seconds).exp());
            let rise = (index as f32 / onset as f32).min(1.0);
            rise * dark.low(noise.sample(), corner) * (-6.9 * time / seconds).exp()
        })
        .collect();
    for _ in 0..(4 + dice.below(9)) {
        let place = dice.uniform(0.1 * size, 2.0 * size);
        let index = ((place * RATE) as usize).min(frames - 1);
        out[index] += dice.uniform(-0.6, 0.6) * (1.0 - place / (2.5 * size));
    }
    let energy: f32 = out.iter().map(|x| x * x).sum();
    out.iter_mut().for_each(|x| *x /= energy.sqrt().max(1e-6));
    out
}
