//! A drum kit: swept sine kick, tuned noise snare, metallic hats, toms and a shaker.

use super::within;
use crate::RATE;
use crate::dice::Dice;
use crate::music::Harmony;
use crate::oscillator::{Phase, Svf, SvfShape, sine};

/// Six inharmonic ratios that make a cymbal's square waves clash.
const METAL: [f32; 6] = [1.0, 1.342, 1.523, 1.987, 2.113, 2.789];

/// One kit with its tuning drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kit {
    kick: (f32, f32, f32),
    snare: (f32, f32, f32),
    hat: (f32, f32, f32),
    busy: f32,
}

impl Kit {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        Self {
            kick: (
                dice.uniform(40.0, 65.0),
                dice.uniform(1.0, 3.0),
                dice.log_uniform(0.08, 0.4),
            ),
            snare: (
                dice.uniform(150.0, 240.0),
                dice.uniform(1_500.0, 6_000.0),
                dice.log_uniform(0.06, 0.3),
            ),
            hat: (
                dice.uniform(300.0, 520.0),
                dice.uniform(5_000.0, 9_500.0),
                dice.log_uniform(0.02, 0.25),
            ),
            busy: dice.uniform(0.0, 0.25),
        }
    }

    /// Plays a pattern of the kit over the whole of `out`.
    pub(crate) fn play(&self, harmony: &Harmony, dice: &mut Dice, out: &mut [f32]) {
        let seconds = out.len() as f32 / RATE;
        let last = 4 * harmony.meter - 4;
        for (start, velocity) in harmony.hits(0.3 * self.busy, &[0, 8], seconds, dice) {
            self.kick(velocity, tail_from(out, start));
        }
        for (start, velocity) in harmony.hits(0.2 * self.busy, &[4, last], seconds, dice) {
            self.snare(velocity, dice, tail_from(out, start));
        }
        let steps: Vec<usize> = (0..4 * harmony.meter)
            .step_by(dice.pick(&[1, 2, 2, 4]))
            .collect();
        for (start, velocity) in harmony.hits(self.busy, &steps, seconds, dice) {
            let open = if dice.chance(0.08) { 4.0 } else { 1.0 };
            self.hat(velocity, open, dice, tail_from(out, start));
        }
        for (start, velocity) in harmony.hits(0.4 * self.busy * self.busy, &[], seconds, dice) {
            self.tom(velocity, dice.uniform(80.0, 220.0), tail_from(out, start));
        }
    }

    fn kick(&self, velocity: f32, out: &mut [f32]) {
        let (hz, sweep, decay) = self.kick;
        let mut phase = Phase::default();
        for (index, slot) in within(out, 6.0 * decay).iter_mut().enumerate() {
            let time = index as f32 / RATE;
            let pitch = hz * (1.0 + sweep * (-time / 0.025).exp() * 3.0);
            *slot += 0.9 * velocity * (-time / decay).exp() * sine(phase.step(pitch));
        }
    }

    fn tom(&self, velocity: f32, hz: f32, out: &mut [f32]) {
        let mut phase = Phase::default();
        for (index, slot) in within(out, 0.9).iter_mut().enumerate() {
            let time = index as f32 / RATE;
            *slot += 0.5
                * velocity
                * (-time / 0.15).exp()
                * sine(phase.step(hz * (1.0 + 0.4 * (-time / 0.05).exp())));
        }
    }

    fn snare(&self, velocity: f32, dice: &mut Dice, out: &mut [f32]) {
        let (hz, band, decay) = self.snare;
        let mut noise = dice.noise();
        let (mut low, mut high) = (Phase::default(), Phase::default());
        let (mut filter, shape) = (Svf::default(), SvfShape::new(band, 0.7));
        for (index, slot) in within(out, 6.0 * decay).iter_mut().enumerate() {
            let time = index as f32 / RATE;
            let skin =
                (sine(low.step(hz)) + 0.6 * sine(high.step(1.72 * hz))) * (-time / 0.06).exp();
            let (_, middle, top) = filter.step(noise.sample(), shape);
            *slot += velocity * (0.35 * skin + 0.4 * (middle + top) * (-time / decay).exp());
        }
    }

    fn hat(&self, velocity: f32, open: f32, dice: &mut Dice, out: &mut [f32]) {
        let (hz, corner, decay) = self.hat;
        let decay = decay * open;
        let mut noise = dice.noise();
        let mut phases = [Phase::default(); METAL.len()];
        let (mut filter, shape) = (Svf::default(), SvfShape::new(corner, 0.9));
        for (index, slot) in within(out, 5.0 * decay).iter_mut().enumerate() {
            let time = index as f32 / RATE;
            let metal: f32 = phases
                .iter_mut()
                .zip(METAL)
                .map(|(phase, ratio)| {
                    if phase.step(hz * ratio) < 0.5 {
                        0.17
                    } else {
                        -0.17
                    }
                })
                .sum();
            let (_, _, top) = filter.step(0.5 * metal + 0.5 * noise.sample(), shape);
            *slot += 0.3 * velocity * (-time / decay).exp() * top;
        }
    }
}

fn tail_from(out: &mut [f32], start: f32) -> &mut [f32] {
    let first = ((start * RATE) as usize).min(out.len());
    &mut out[first..]
}
