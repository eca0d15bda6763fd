//! Plucked string (Karplus and Strong): a burst of noise runs round a delay line through a gentle low-pass.

use super::within;
use crate::RATE;
use crate::dice::Dice;
use crate::music::Note;
use crate::oscillator::{OnePole, hertz};

/// A string with its material and the place where it is plucked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plucked {
    /// Weight of the newer sample in the loop filter, 0.5 dull to 0.95 bright.
    brightness: f32,
    /// Seconds to lose 60 dB.
    ring: f32,
    /// Place of the plectrum as a share of the string.
    place: f32,
    /// Corner of the plectrum's low-pass in hertz at full velocity.
    plectrum: f32,
    /// Share of the body's resonances.
    body: f32,
}

impl Plucked {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        Self {
            brightness: dice.uniform(0.5, 0.95),
            ring: dice.log_uniform(0.4, 5.0),
            place: dice.uniform(0.07, 0.45),
            plectrum: dice.log_uniform(1_500.0, 14_000.0),
            body: dice.uniform(0.0, 0.5),
        }
    }

    pub(crate) fn play(&self, note: &Note, dice: &mut Dice, out: &mut [f32]) {
        let hz = hertz(note.pitch).min(4_000.0);
        let period = RATE / hz - (1.0 - self.brightness);
        let mut line = self.burst(period, note.velocity, dice);
        let length = line.len();
        let fraction = period - period.floor();
        let loss = 10.0_f32.powf(-3.0 / (hz * self.ring));
        let damp_from = (note.length * RATE) as usize;
        let damped = 10.0_f32.powf(-3.0 / (hz * 0.15));
        let (mut place, mut previous, mut allpass_in, mut allpass_out) = (0, 0.0, 0.0, 0.0);
        let tune = (1.0 - fraction) / (1.0 + fraction);
        let mut hollow = OnePole::default();
        let corner = OnePole::corner(220.0);
        for (index, slot) in within(out, note.length + 1.0).iter_mut().enumerate() {
            let current = line[place];
            let mixed = self.brightness * current + (1.0 - self.brightness) * previous;
            previous = current;
            let tuned = tune * (mixed - allpass_out) + allpass_in;
            allpass_in = mixed;
            allpass_out = tuned;
            line[place] = tuned * if index < damp_from { loss } else { damped };
            place = if place + 1 == length { 0 } else { place + 1 };
            *slot += current + self.body * hollow.low(current, corner) * 3.0;
        }
    }

    /// The string's shape as the plectrum lets go: filtered noise minus its copy at the place of plucking.
    fn burst(&self, period: f32, velocity: f32, dice: &mut Dice) -> Vec<f32> {
        let length = (period.floor() as usize).max(2);
        let mut noise = dice.noise();
        let corner = OnePole::corner(self.plectrum * (0.3 + 0.7 * velocity));
        let mut filter = OnePole::default();
        let raw: Vec<f32> = (0..length)
            .map(|_| filter.low(noise.sample(), corner))
            .collect();
        let back = ((length as f32 * self.place) as usize).max(1);
        let combed: Vec<f32> = (0..length)
            .map(|i| raw[i] - raw[(i + length - back) % length])
            .collect();
        let mean = combed.iter().sum::<f32>() / length as f32;
        let energy = combed.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / length as f32;
        let gain = 0.5 * velocity / energy.sqrt().max(1e-4);
        combed.into_iter().map(|x| (x - mean) * gain).collect()
    }
}
