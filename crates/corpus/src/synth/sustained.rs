//! Held sounds: detuned saw pads, a filtered lead that also plays bass, and a bowed or sung tone with formants and vibrato.

use super::within;
use crate::RATE;
use crate::dice::Dice;
use crate::music::Note;
use crate::oscillator::{Envelope, OnePole, Phase, Pulse, Saw, Svf, SvfShape, hertz, sine};

/// Samples between two updates of a moving filter: 0.7 ms, too fast to hear as steps.
const CONTROL: usize = 32;

/// Several detuned saws behind a slowly moving low-pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pad {
    voices: usize,
    detune: f32,
    corner: f32,
    sway: (f32, f32),
    q: f32,
    envelope: Envelope,
}

/// Most voices of a pad; a dozen notes of five voices still render faster than real time.
const PAD_VOICES: usize = 5;

impl Pad {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        Self {
            voices: 2 + dice.below(PAD_VOICES - 1),
            detune: dice.log_uniform(0.02, 0.3),
            corner: dice.log_uniform(500.0, 9_000.0),
            sway: (dice.uniform(0.05, 0.6), dice.uniform(0.0, 0.8)),
            q: dice.uniform(0.6, 2.5),
            envelope: Envelope {
                attack: dice.log_uniform(0.03, 0.8),
                decay: 1.0,
                hold: 0.8,
                release: dice.uniform(0.1, 0.8),
            },
        }
    }

    pub(crate) fn play(&self, note: &Note, dice: &mut Dice, out: &mut [f32]) {
        let mut saws = [Saw::default(); PAD_VOICES];
        let mut pitches = [0.0; PAD_VOICES];
        for (saw, pitch) in saws.iter_mut().zip(&mut pitches) {
            saw.0 = Phase(dice.uniform(0.0, 1.0));
            *pitch = hertz(note.pitch + self.detune * dice.uniform(-1.0, 1.0)).min(0.4 * RATE);
        }
        let (mut filter, mut slow) = (Svf::default(), Phase(dice.uniform(0.0, 1.0)));
        let gain = 0.25 * note.velocity / (self.voices as f32).sqrt();
        for (block, slots) in within(out, self.envelope.tail(note.length))
            .chunks_mut(CONTROL)
            .enumerate()
        {
            let sway = sine(slow.step(self.sway.0 * CONTROL as f32));
            let shape = SvfShape::new(self.corner * (self.sway.1 * sway).exp2(), self.q);
            let level = gain
                * self
                    .envelope
                    .level((block * CONTROL) as f32 / RATE, note.length);
            for slot in slots {
                let sum: f32 = saws
                    .iter_mut()
                    .zip(pitches)
                    .take(self.voices)
                    .map(|(saw, hz)| saw.sample(hz))
                    .sum();
                *slot += level * filter.step(sum, shape).0;
            }
        }
    }
}

/// Saw and pulse into a resonant filter with an envelope of its own; low octaves make a bass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lead {
    blend: f32,
    width: f32,
    corner: f32,
    sweep: f32,
    q: f32,
    vibrato: (f32, f32),
    drive: f32,
    envelope: Envelope,
}

impl Lead {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        Self {
            blend: dice.uniform(0.0, 1.0),
            width: dice.uniform(0.1, 0.5),
            corner: dice.log_uniform(200.0, 3_000.0),
            sweep: dice.uniform(0.0, 4.5),
            q: dice.uniform(0.7, 5.0),
            vibrato: (dice.uniform(4.0, 7.0), dice.uniform(0.0, 0.25)),
            drive: dice.log_uniform(0.5, 4.0),
            envelope: Envelope {
                attack: dice.log_uniform(0.002, 0.06),
                decay: dice.log_uniform(0.1, 1.0),
                hold: dice.uniform(0.2, 0.9),
                release: dice.uniform(0.03, 0.25),
            },
        }
    }

    pub(crate) fn play(&self, note: &Note, dice: &mut Dice, out: &mut [f32]) {
        let (mut saw, mut pulse) = (
            Saw(Phase(dice.uniform(0.0, 1.0))),
            Pulse(Phase(dice.uniform(0.0, 1.0))),
        );
        let (mut filter, mut slow) = (Svf::default(), Phase(dice.uniform(0.0, 1.0)));
        for (block, slots) in within(out, self.envelope.tail(note.length))
            .chunks_mut(CONTROL)
            .enumerate()
        {
            let time = (block * CONTROL) as f32 / RATE;
            let level = self.envelope.level(time, note.length);
            let bend = self.vibrato.1
                * (time * 2.0).min(1.0)
                * sine(slow.step(self.vibrato.0 * CONTROL as f32));
            let hz = hertz(note.pitch + bend).min(0.4 * RATE);
            let shape = SvfShape::new(
                self.corner * (self.sweep * level * note.velocity).exp2(),
                self.q,
            );
            for slot in slots {
                let raw =
                    self.blend * saw.sample(hz) + (1.0 - self.blend) * pulse.sample(hz, self.width);
                let driven = (self.drive * filter.step(raw, shape).0).tanh();
                *slot += 0.4 * note.velocity * level * driven;
            }
        }
    }
}

/// Vowel formants in hertz with their weights.
const FORMANTS: [[(f32, f32); 3]; 5] = [
    [(730.0, 1.0), (1_090.0, 0.5), (2_440.0, 0.2)],
    [(270.0, 1.0), (2_290.0, 0.35), (3_010.0, 0.2)],
    [(300.0, 1.0), (870.0, 0.3), (2_240.0, 0.1)],
    [(530.0, 1.0), (1_840.0, 0.4), (2_480.0, 0.25)],
    [(570.0, 1.0), (840.0, 0.5), (2_410.0, 0.1)],
];

/// Bowed string or voice: a saw with breath, late vibrato and three formants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bowed {
    formants: [(f32, f32); 3],
    size: f32,
    breath: f32,
    vibrato: (f32, f32),
    scoop: f32,
    dry: f32,
    envelope: Envelope,
}

impl Bowed {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        Self {
            formants: dice.pick(&FORMANTS),
            size: dice.uniform(0.8, 1.3),
            breath: dice.log_uniform(0.005, 0.15),
            vibrato: (dice.uniform(4.5, 6.8), dice.uniform(0.05, 0.5)),
            scoop: dice.uniform(-0.7, 0.2),
            dry: dice.uniform(0.05, 0.4),
            envelope: Envelope {
                attack: dice.log_uniform(0.03, 0.25),
                decay: 0.6,
                hold: 0.8,
                release: dice.uniform(0.05, 0.2),
            },
        }
    }

    pub(crate) fn play(&self, note: &Note, dice: &mut Dice, out: &mut [f32]) {
        let (mut saw, mut slow) = (
            Saw(Phase(dice.uniform(0.0, 1.0))),
            Phase(dice.uniform(0.0, 1.0)),
        );
        let mut noise = dice.noise();
        let mut filters = [Svf::default(); 3];
        let shapes = self
            .formants
            .map(|(hz, _)| SvfShape::new(hz * self.size, 7.0));
        let (mut tilt, corner) = (OnePole::default(), OnePole::corner(3_500.0));
        let rate = self.vibrato.0 * dice.uniform(0.9, 1.1);
        for (block, slots) in within(out, self.envelope.tail(note.length))
            .chunks_mut(CONTROL)
            .enumerate()
        {
            let time = (block * CONTROL) as f32 / RATE;
            let level = 0.5 * note.velocity * self.envelope.level(time, note.length);
            let late = (time / 0.4).min(1.0);
            let bend = self.vibrato.1 * late * sine(slow.step(rate * CONTROL as f32))
                + self.scoop * (1.0 - (time / 0.12).min(1.0));
            let hz = hertz(note.pitch + bend).min(0.4 * RATE);
            for slot in slots {
                let source = tilt.low(saw.sample(hz), corner) + self.breath * noise.sample();
                let mut voiced = self.dry * source;
                for ((filter, shape), (_, weight)) in
                    filters.iter_mut().zip(shapes).zip(self.formants)
                {
                    voiced += weight * filter.step(source, shape).1;
                }
                *slot += level * voiced;
            }
        }
    }
}
