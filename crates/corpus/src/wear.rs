//! What recording and age do to sound: equaliser, compression, tape wow and saturation, hiss, hum, crackle, lost treble, a random level.
//!
//! Called by `piece` on the finished mix. Signal-following noise is drawn as often as steady noise: an error that follows the music must
//! not by itself tell a decoder from a tired tape.

use crate::RATE;
use crate::Stereo;
use crate::dice::Dice;
use crate::oscillator::{OnePole, Phase, Svf, SvfShape, sine};

/// Peak range of a finished piece: wide, so that level says nothing, and low enough that a matched positive seldom clips.
const PEAKS: (f32, f32) = (0.08, 0.8);

/// Wears `mix` with whatever `dice` draws, ending with the level.
pub(crate) fn wear(mix: &mut Stereo, dice: &Dice) {
    equalise(mix, &mut dice.child("equaliser"));
    let mut draws = dice.child("wear");
    if draws.chance(0.4) {
        compress(mix, &mut dice.child("compressor"));
    }
    if draws.chance(0.3) {
        tape(mix, &mut dice.child("tape"));
    }
    if draws.chance(0.4) {
        following_noise(mix, &mut dice.child("following noise"));
    }
    if draws.chance(0.6) {
        steady_noise(mix, &mut dice.child("steady noise"));
    }
    if draws.chance(0.12) {
        crackle(mix, &mut dice.child("crackle"));
    }
    if draws.chance(0.25) {
        lose_treble(mix, &mut dice.child("treble"));
    }
    level(mix, &mut dice.child("level"));
}

fn channels(mix: &mut Stereo) -> [&mut Vec<f32>; 2] {
    [&mut mix.left, &mut mix.right]
}

/// Two broad bells and a removal of what lies below hearing.
fn equalise(mix: &mut Stereo, dice: &mut Dice) {
    let bells = [
        (dice.log_uniform(80.0, 600.0), dice.uniform(-0.5, 0.9)),
        (dice.log_uniform(1_500.0, 9_000.0), dice.uniform(-0.6, 1.2)),
    ];
    let rumble = SvfShape::new(dice.uniform(18.0, 45.0), 0.7);
    for channel in channels(mix) {
        let (mut low_cut, mut filters) = (Svf::default(), [Svf::default(); 2]);
        let shapes = bells.map(|(hz, _)| SvfShape::new(hz, 0.8));
        for slot in channel.iter_mut() {
            let mut sample = low_cut.step(*slot, rumble).2;
            for ((filter, shape), (_, gain)) in filters.iter_mut().zip(shapes).zip(bells) {
                sample += gain * filter.step(sample, shape).1;
            }
            *slot = sample;
        }
    }
}

fn compress(mix: &mut Stereo, dice: &mut Dice) {
    let threshold = mix.rms() * dice.uniform(0.7, 2.0);
    let (ratio, attack, release) = (
        dice.uniform(1.5, 8.0),
        OnePole::corner(dice.uniform(15.0, 60.0)),
        OnePole::corner(dice.uniform(0.8, 4.0)),
    );
    let mut follower = 0.0_f32;
    for (left, right) in mix.left.iter_mut().zip(&mut mix.right) {
        let loud = left.abs().max(right.abs());
        follower += if loud > follower { attack } else { release } * (loud - follower);
        let gain = if follower > threshold {
            (follower / threshold).powf(1.0 / ratio - 1.0)
        } else {
            1.0
        };
        *left *= gain;
        *right *= gain;
    }
}

/// Wow and flutter by a wandering delay, then soft saturation.
fn tape(mix: &mut Stereo, dice: &mut Dice) {
    let (wow, flutter) = (dice.uniform(0.3, 1.6), dice.uniform(5.0, 12.0));
    let (deep, shallow) = (dice.log_uniform(2.0, 60.0), dice.log_uniform(0.1, 2.0));
    let drive = dice.log_uniform(0.3, 2.5) / mix.peak().max(1e-6);
    let start = [Phase(dice.uniform(0.0, 1.0)), Phase(dice.uniform(0.0, 1.0))];
    for channel in channels(mix) {
        let [mut slow, mut fast] = start;
        let source = channel.clone();
        for (index, slot) in channel.iter_mut().enumerate() {
            let delay = 4.0
                + deep * (1.0 + sine(slow.step(wow)))
                + shallow * (1.0 + sine(fast.step(flutter)));
            *slot = (drive * interpolated(&source, index as f32 - delay)).tanh() / drive;
        }
    }
}

/// Four-point Hermite interpolation; zeros before the start.
fn interpolated(source: &[f32], place: f32) -> f32 {
    if place < 1.0 {
        return 0.0;
    }
    let base = place as usize;
    let t = place - base as f32;
    let at = |index: usize| source.get(index).copied().unwrap_or(0.0);
    let (a, b, c, d) = (at(base - 1), at(base), at(base + 1), at(base + 2));
    let slope = 0.5 * (c - a);
    let bend = a - 2.5 * b + 2.0 * c - 0.5 * d;
    let twist = 0.5 * (d - a) + 1.5 * (b - c);
    ((twist * t + bend) * t + slope) * t + b
}

/// Noise that is multiplied with the music: tape modulation noise, worn grooves, coarse quantisers.
fn following_noise(mix: &mut Stereo, dice: &mut Dice) {
    let depth = 10.0_f32.powf(-dice.uniform(10.0, 36.0) / 20.0);
    let corner = OnePole::corner(dice.log_uniform(60.0, 12_000.0));
    let makeup = (3.0 / corner.max(1e-3)).sqrt() * 1.4;
    for channel in channels(mix) {
        let (mut noise, mut filter) = (dice.noise(), OnePole::default());
        for slot in channel.iter_mut() {
            *slot *= 1.0 + depth * makeup * filter.low(noise.sample(), corner);
        }
    }
}

/// Hiss of a drawn colour and perhaps hum, 18 to 65 dB below the music.
fn steady_noise(mix: &mut Stereo, dice: &mut Dice) {
    let level = mix.rms() * 10.0_f32.powf(-dice.uniform(18.0, 65.0) / 20.0);
    let corner = OnePole::corner(dice.log_uniform(300.0, 16_000.0));
    let makeup = 1.7 * ((2.0 - corner) / corner).sqrt();
    let hum = if dice.chance(0.3) {
        dice.uniform(0.2, 1.5)
    } else {
        0.0
    };
    let mains = dice.pick(&[50.0, 60.0]);
    for channel in channels(mix) {
        let (mut noise, mut filter) = (dice.noise(), OnePole::default());
        let mut phases = [Phase::default(); 3];
        for slot in channel.iter_mut() {
            let buzz: f32 = phases
                .iter_mut()
                .zip([1.0, 2.0, 3.0])
                .map(|(phase, multiple)| sine(phase.step(mains * multiple)) / multiple)
                .sum();
            *slot += level * (makeup * filter.low(noise.sample(), corner) + hum * buzz);
        }
    }
}

fn crackle(mix: &mut Stereo, dice: &mut Dice) {
    let (rate, loud) = (
        dice.log_uniform(0.5, 40.0) / RATE,
        mix.rms() * dice.log_uniform(0.3, 4.0),
    );
    let shape = SvfShape::new(dice.log_uniform(900.0, 5_000.0), 1.2);
    let (mut noise, mut filter) = (dice.noise(), Svf::default());
    for (left, right) in mix.left.iter_mut().zip(&mut mix.right) {
        let pop = if 0.5 * (noise.sample() + 1.0) < rate {
            loud * noise.sample() * 4.0
        } else {
            0.0
        };
        let heard = filter.step(pop, shape).1;
        *left += heard;
        *right += heard;
    }
}

fn lose_treble(mix: &mut Stereo, dice: &mut Dice) {
    let shape = SvfShape::new(dice.log_uniform(3_500.0, 17_000.0), 0.7);
    for channel in channels(mix) {
        let mut filters = [Svf::default(); 2];
        for slot in channel.iter_mut() {
            let [first, second] = &mut filters;
            *slot = second.step(first.step(*slot, shape).0, shape).0;
        }
    }
}

fn level(mix: &mut Stereo, dice: &mut Dice) {
    let peak = dice.log_uniform(PEAKS.0, PEAKS.1);
    mix.scale(peak / mix.peak().max(1e-6));
}
