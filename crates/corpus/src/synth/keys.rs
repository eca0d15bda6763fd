//! Keyboards: two-operator FM (electric piano, bells, vibes) and a drawbar organ with a turning speaker.

use super::within;
use crate::RATE;
use crate::dice::Dice;
use crate::music::Note;
use crate::oscillator::{Envelope, Phase, hertz, sine};

/// FM voice: carrier and modulator with a decaying index, plus a quieter tine pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FmKeys {
    ratio: f32,
    index: f32,
    bite: f32,
    tine: f32,
    tremolo: (f32, f32),
    envelope: Envelope,
}

impl FmKeys {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        Self {
            ratio: dice.pick(&[1.0, 1.0, 2.0, 3.0, 1.41, 3.5, 0.5]),
            index: dice.uniform(0.1, 0.9),
            bite: dice.log_uniform(0.08, 1.5),
            tine: dice.uniform(0.0, 0.25),
            tremolo: (
                dice.uniform(3.0, 7.5),
                if dice.chance(0.4) {
                    dice.uniform(0.05, 0.4)
                } else {
                    0.0
                },
            ),
            envelope: Envelope {
                attack: 0.002,
                decay: dice.log_uniform(0.4, 3.0),
                hold: 0.05,
                release: dice.uniform(0.05, 0.4),
            },
        }
    }

    pub(crate) fn play(&self, note: &Note, dice: &mut Dice, out: &mut [f32]) {
        let hz = hertz(note.pitch);
        let (mut carrier, mut modulator, mut bell, mut slow) = (
            Phase(dice.uniform(0.0, 1.0)),
            Phase::default(),
            Phase::default(),
            Phase(dice.uniform(0.0, 1.0)),
        );
        let room_below_nyquist = (0.4 * RATE / (hz * (1.0 + self.ratio))).min(1.0);
        let tine_hz = (hz * 7.03).min(0.45 * RATE);
        for (index, slot) in within(out, self.envelope.tail(note.length))
            .iter_mut()
            .enumerate()
        {
            let time = index as f32 / RATE;
            let depth = self.index
                * note.velocity
                * room_below_nyquist
                * (0.15 + 0.85 / (1.0 + (time / self.bite) * (time / self.bite)));
            let bend = depth * sine(modulator.step(hz * self.ratio));
            let tone = sine(carrier.step(hz) + bend);
            let tine =
                self.tine * note.velocity * sine(bell.step(tine_hz)) / (1.0 + 60.0 * time * time);
            let sway = 1.0 - self.tremolo.1 * (0.5 + 0.5 * sine(slow.step(self.tremolo.0)));
            *slot +=
                0.4 * note.velocity * sway * self.envelope.level(time, note.length) * (tone + tine);
        }
    }
}

/// Footages of a drawbar organ as multiples of the played pitch.
const DRAWBARS: [f32; 9] = [0.5, 1.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0];

/// Organ with nine drawbars, a key click and a turning speaker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Organ {
    levels: [f32; 9],
    click: f32,
    turn: (f32, f32),
}

impl Organ {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let mut levels = [0.0; 9];
        for level in &mut levels {
            *level = if dice.chance(0.6) {
                dice.uniform(0.1, 1.0)
            } else {
                0.0
            };
        }
        levels[2] = levels[2].max(0.3);
        Self {
            levels,
            click: dice.uniform(0.0, 0.3),
            turn: (dice.pick(&[0.8, 1.2, 5.8, 6.6]), dice.uniform(0.0, 0.35)),
        }
    }

    pub(crate) fn play(&self, note: &Note, dice: &mut Dice, out: &mut [f32]) {
        let hz = hertz(note.pitch);
        let mut phases = [Phase::default(); 9];
        phases
            .iter_mut()
            .for_each(|phase| *phase = Phase(dice.uniform(0.0, 1.0)));
        let mut turn = Phase(dice.uniform(0.0, 1.0));
        let mut noise = dice.noise();
        let envelope = Envelope {
            attack: 0.004,
            decay: 1.0,
            hold: 1.0,
            release: 0.015,
        };
        let gain = 0.35 * (0.5 + 0.5 * note.velocity) / self.levels.iter().sum::<f32>();
        for (index, slot) in within(out, envelope.tail(note.length))
            .iter_mut()
            .enumerate()
        {
            let time = index as f32 / RATE;
            let angle = sine(turn.step(self.turn.0));
            let shifted = hz * (1.0 + 0.006 * self.turn.1 * angle);
            let mut tone = 0.0;
            for ((phase, level), multiple) in phases.iter_mut().zip(self.levels).zip(DRAWBARS) {
                if level > 0.0 && hz * multiple < 0.45 * RATE {
                    tone += level * sine(phase.step(shifted * multiple));
                }
            }
            let click = if time < 0.008 {
                self.click * noise.sample()
            } else {
                0.0
            };
            *slot += gain * (1.0 + self.turn.1 * angle) * envelope.level(time, note.length) * tone
                + 0.3 * gain * click;
        }
    }
}
