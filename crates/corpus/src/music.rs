//! Writes the score of a piece: scale, chords, rhythm and the notes of each part, all from one seed.
//!
//! Called by `piece`. Knows pitches and times, makes no sound.

use crate::dice::Dice;

/// One note of a part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Note {
    /// Start in seconds from the beginning of the piece.
    pub(crate) start: f32,
    /// Held for so many seconds.
    pub(crate) length: f32,
    /// MIDI pitch.
    pub(crate) pitch: f32,
    /// Loudness from 0 to 1.
    pub(crate) velocity: f32,
}

/// What a part does in the ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Melody,
    Chords,
    Arpeggio,
    Bass,
}

/// The frame that all parts share.
#[derive(Clone, Debug)]
pub(crate) struct Harmony {
    /// Seconds per beat.
    pub(crate) beat: f32,
    /// Beats per bar.
    pub(crate) meter: usize,
    /// Shift of every second half-beat, as a share of the half-beat.
    swing: f32,
    /// Pitch of the first degree in the bass octave.
    root: f32,
    scale: &'static [u8],
    /// Scale degree of the chord of each bar.
    progression: Vec<usize>,
    /// Timing scatter in seconds (one deviation).
    looseness: f32,
    /// Detuning of the whole piece in semitones: not every ensemble tunes to 440 Hz.
    tuning: f32,
    /// Loudness at the start, the middle and the end.
    arc: [f32; 3],
}

const SCALES: [&[u8]; 8] = [
    &[0, 2, 4, 5, 7, 9, 11],
    &[0, 2, 3, 5, 7, 8, 10],
    &[0, 2, 3, 5, 7, 9, 10],
    &[0, 2, 4, 5, 7, 9, 10],
    &[0, 2, 3, 5, 7, 8, 11],
    &[0, 1, 3, 5, 7, 8, 10],
    &[0, 2, 4, 7, 9],
    &[0, 3, 5, 7, 10],
];

const PROGRESSIONS: [&[usize]; 9] = [
    &[0, 3, 4, 0],
    &[0, 4, 5, 3],
    &[0, 5, 3, 4],
    &[1, 4, 0, 0],
    &[0, 6, 5, 6],
    &[0, 0, 3, 3],
    &[0, 2, 3, 4],
    &[0],
    &[0, 3],
];

impl Harmony {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        Self {
            beat: 60.0 / dice.log_uniform(58.0, 168.0),
            meter: dice.pick(&[3, 4, 4, 4, 6]),
            swing: if dice.chance(0.3) {
                dice.uniform(0.05, 0.33)
            } else {
                0.0
            },
            root: 33.0 + dice.below(12) as f32,
            scale: dice.pick(&SCALES),
            progression: dice.pick(&PROGRESSIONS).to_vec(),
            looseness: dice.log_uniform(0.0005, 0.02),
            tuning: 0.2 * dice.normal(),
            arc: [
                dice.uniform(0.35, 1.0),
                dice.uniform(0.4, 1.0),
                dice.uniform(0.3, 1.0),
            ],
        }
    }

    /// Notes of one part over `seconds`; the octave is that of the part's lowest notes above the bass.
    pub(crate) fn part(&self, role: Role, octave: f32, seconds: f32, dice: &mut Dice) -> Vec<Note> {
        let bar = self.beat * self.meter as f32;
        let bars = (seconds / bar).ceil() as usize;
        let mut notes = Vec::new();
        let mut melody = dice.below(self.scale.len());
        let density = dice.uniform(0.35, 0.95);
        let figure = self.figure(role, dice);
        for index in 0..bars {
            if dice.chance(0.06) {
                continue;
            }
            let chord = self.progression[index % self.progression.len()];
            for &(at, length) in &figure {
                if !dice.chance(density) && at > 0.0 {
                    continue;
                }
                let degrees = self.degrees(role, chord, at, &mut melody, dice);
                let spread = if role == Role::Chords {
                    dice.uniform(0.0, 0.03)
                } else {
                    0.0
                };
                for (voice, degree) in degrees.into_iter().enumerate() {
                    let start = index as f32 * bar
                        + self.swung(at) * self.beat
                        + voice as f32 * spread
                        + self.looseness * dice.normal();
                    let accent = if at.fract() == 0.0 { 1.0 } else { 0.8 };
                    let velocity =
                        (accent * self.loudness(start / seconds) * dice.uniform(0.75, 1.0))
                            .clamp(0.05, 1.0);
                    if start < seconds {
                        let pitch = self.pitch(degree) + 12.0 * octave + self.tuning;
                        notes.push(Note {
                            start: start.max(0.0),
                            length: length * self.beat,
                            pitch,
                            velocity,
                        });
                    }
                }
            }
        }
        notes
    }

    /// Hits of one drum: start and loudness, from a pattern of quarter-beats.
    pub(crate) fn hits(
        &self,
        often: f32,
        on_beat: &[usize],
        seconds: f32,
        dice: &mut Dice,
    ) -> Vec<(f32, f32)> {
        let steps = self.meter * 4;
        let pattern: Vec<bool> = (0..steps)
            .map(|step| on_beat.contains(&step) || dice.chance(often))
            .collect();
        let total = (seconds / (self.beat / 4.0)).ceil() as usize;
        let mut hits = Vec::new();
        for step in 0..total {
            if !pattern[step % steps] || dice.chance(0.04) {
                continue;
            }
            let start =
                self.swung(step as f32 / 4.0) * self.beat + 0.5 * self.looseness * dice.normal();
            let accent = if step % 4 == 0 { 1.0 } else { 0.7 };
            if start < seconds {
                hits.push((
                    start.max(0.0),
                    accent * self.loudness(start / seconds) * dice.uniform(0.6, 1.0),
                ));
            }
        }
        hits
    }

    /// Places (in beats) and lengths of a part's notes within one bar.
    fn figure(&self, role: Role, dice: &mut Dice) -> Vec<(f32, f32)> {
        let step = match role {
            Role::Melody => dice.pick(&[0.25, 0.5, 0.5, 1.0]),
            Role::Chords => dice.pick(&[0.5, 1.0, 2.0, self.meter as f32]),
            Role::Arpeggio => dice.pick(&[0.25, 0.25, 0.5]),
            Role::Bass => dice.pick(&[0.5, 1.0, 1.0, 2.0]),
        };
        let overlap = dice.uniform(0.5, 1.15);
        let count = (self.meter as f32 / step).round().max(1.0) as usize;
        let mut figure = Vec::with_capacity(count);
        let mut place = 0;
        while place < count {
            let joined = if role == Role::Melody && dice.chance(0.35) {
                2
            } else {
                1
            };
            figure.push((place as f32 * step, joined as f32 * step * overlap));
            place += joined;
        }
        figure
    }

    fn degrees(
        &self,
        role: Role,
        chord: usize,
        at: f32,
        melody: &mut usize,
        dice: &mut Dice,
    ) -> Vec<usize> {
        match role {
            Role::Melody => {
                let step = dice.pick(&[-2_isize, -1, -1, 0, 1, 1, 2, 3]);
                *melody = melody.saturating_add_signed(step).min(2 * self.scale.len());
                vec![*melody]
            }
            Role::Chords => vec![chord, chord + 2, chord + 4]
                .into_iter()
                .chain(dice.chance(0.3).then_some(chord + 6))
                .collect(),
            Role::Arpeggio => vec![chord + [0, 2, 4, 7, 4, 2][((at * 4.0) as usize) % 6]],
            Role::Bass => vec![if dice.chance(0.75) { chord } else { chord + 4 }],
        }
    }

    fn pitch(&self, degree: usize) -> f32 {
        let octave = degree / self.scale.len();
        self.root + f32::from(self.scale[degree % self.scale.len()]) + 12.0 * octave as f32
    }

    fn swung(&self, beats: f32) -> f32 {
        if (beats * 2.0).fract() == 0.0 && (beats * 2.0) as usize % 2 == 1 {
            beats + 0.5 * self.swing
        } else {
            beats
        }
    }

    fn loudness(&self, share: f32) -> f32 {
        let [start, middle, end] = self.arc;
        let share = share.clamp(0.0, 1.0);
        if share < 0.5 {
            start + (middle - start) * 2.0 * share
        } else {
            middle + (end - middle) * (2.0 * share - 1.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_note_starts_inside_the_piece_and_can_be_heard() {
        for seed in 0..50 {
            let mut dice = Dice::new(seed);
            let harmony = Harmony::draw(&mut dice);
            for role in [Role::Melody, Role::Chords, Role::Arpeggio, Role::Bass] {
                for note in harmony.part(role, 1.0, 8.0, &mut dice) {
                    assert!((0.0..8.0).contains(&note.start), "seed {seed}: {note:?}");
                    assert!(
                        note.length > 0.0
                            && note.velocity > 0.0
                            && (20.0..120.0).contains(&note.pitch),
                        "seed {seed}: {note:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_same_seed_writes_the_same_score() {
        let write = || {
            let mut dice = Dice::new(11);
            Harmony::draw(&mut dice).part(Role::Melody, 2.0, 8.0, &mut dice)
        };
        assert_eq!(write(), write());
    }
}
