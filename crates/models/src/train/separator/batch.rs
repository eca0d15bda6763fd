//! What one step looks at: segments of stems, each with the mix that they add up to, and of labelled pieces, brought to the scale that service
//! hears.

use corpus::dice::Dice;
use corpus::shape::rms;
use corpus::stems::STEMS;
use tch::Tensor;

use super::labelled::LabelledPieces;
use super::pieces::Pieces;
use super::{SeparatorError, SeparatorRecipe};
use crate::params::values;
use crate::train::decoder::Decoder;
use crate::train::positives::{SNR_DB, marked};

/// A mix below this root mean square is as good as silent and drawn again: the parts of a piece stand at 0.25 to 1.
const QUIET: f32 = 0.02;
/// Draws for one segment: pieces of which nine in ten segments are silent still give one.
const DRAWS_MAX: usize = 30;
/// Factor of a stem's level, as the package draws it.
const GAINS: (f32, f32) = (0.25, 1.25);
/// How far noise lies below the mix, in decibels.
const NOISE_DB: (f32, f32) = (15.0, 60.0);
/// Share of the way to the newest sample that the noise's low-pass goes: from a rumble to white.
const NOISE_COLOUR: (f32, f32) = (0.02, 1.0);

/// Segments side by side.
#[derive(Debug)]
pub(super) struct Batch {
    /// `[B, channels, samples]`.
    pub(super) mix: Tensor,
    /// `[B, stems, channels, samples]`; zeros where they are not known.
    pub(super) stems: Tensor,
    /// What the stems are to add up to, `[B, channels, samples]`.
    pub(super) sum: Tensor,
    /// Whether the stems are known, 1 or 0, `[B, 1, 1, 1]`.
    pub(super) known: Tensor,
}

/// Draws batches.
#[derive(Debug)]
pub(super) struct Batches<'a> {
    recipe: &'a SeparatorRecipe,
    pieces: Pieces,
    labelled: Option<LabelledPieces>,
    /// Those whose errors lie over mixes.
    decoders: Vec<Decoder>,
    /// Frames of a segment.
    frames: usize,
}

/// One segment: its mix, what its stems are to add up to, and the stems where they are known, each channel after channel.
struct Item {
    mix: Vec<f32>,
    sum: Vec<f32>,
    stems: Option<Vec<f32>>,
}

impl<'a> Batches<'a> {
    pub(super) fn new(
        recipe: &'a SeparatorRecipe,
        pieces: Pieces,
        labelled: Option<LabelledPieces>,
        decoders: Vec<Decoder>,
    ) -> Self {
        Self {
            recipe,
            pieces,
            labelled,
            decoders,
            frames: usize::try_from(recipe.architecture.segment).unwrap_or(1),
        }
    }

    /// A step's segments: of labelled pieces, or remixed, under noise and under errors, as the recipe says.
    pub(super) fn draw(&self, dice: &mut Dice) -> Result<Batch, SeparatorError> {
        let items = (0..self.recipe.fitting.batch).map(|_| match &self.labelled {
            Some(pieces) if dice.chance(self.recipe.fitting.labelled) => self.known(pieces, dice),
            _ => self.mixed(dice),
        });
        self.together(&items.collect::<Result<Vec<_>, SeparatorError>>()?)
    }

    /// A segment of stems.
    fn mixed(&self, dice: &mut Dice) -> Result<Item, SeparatorError> {
        let fitting = &self.recipe.fitting;
        let remixed = dice.chance(fitting.remix);
        let mut item = self.heard(dice, |dice| self.stems(dice, remixed))?;
        if dice.chance(fitting.noise) {
            add_noise(&mut item.mix, dice);
        }
        if !self.decoders.is_empty() && dice.chance(fitting.error) {
            let decoder = &self.decoders[dice.below(self.decoders.len())];
            let below_db = dice.uniform(SNR_DB.0, SNR_DB.1);
            add_error(&mut item.mix, self.pieces.channels(), decoder, below_db);
        }
        Ok(item)
    }

    /// A segment of a labelled piece, one time in two as a positive.
    fn known(&self, pieces: &LabelledPieces, dice: &mut Dice) -> Result<Item, SeparatorError> {
        let is_positive = dice.chance(0.5);
        for _ in 0..DRAWS_MAX {
            let Some(crop) = pieces.draw(dice, self.frames)? else {
                continue;
            };
            let heard = if is_positive {
                &crop.positive
            } else {
                &crop.human
            };
            let level = rms(heard);
            if level > QUIET {
                let scaled = |pcm: &[f32]| pcm.iter().map(|x| x / level).collect();
                return Ok(Item {
                    mix: scaled(heard),
                    sum: scaled(&crop.human),
                    stems: None,
                });
            }
        }
        self.mixed(dice)
    }

    /// One segment of a piece as it was played.
    pub(super) fn clean(&self, dice: &mut Dice) -> Result<Batch, SeparatorError> {
        self.together(&[self.heard(dice, |dice| self.played(dice))?])
    }

    /// A mix of one segment under the error of the `nth` decoder, so far below it; none where no decoder is heard.
    pub(super) fn under_error(
        &self,
        mix: &Tensor,
        nth: usize,
        below_db: f32,
    ) -> Result<Option<Tensor>, SeparatorError> {
        let Some(decoder) = self.decoders.iter().cycle().nth(nth) else {
            return Ok(None);
        };
        let mut heard = values(mix)?;
        add_error(&mut heard, self.pieces.channels(), decoder, below_db);
        Ok(Some(Tensor::f_from_slice(&heard)?.f_view_as(mix)?))
    }

    /// Draws until there is something to hear, and brings it to a root mean square of one.
    fn heard(
        &self,
        dice: &mut Dice,
        draw: impl Fn(&mut Dice) -> Result<Vec<Vec<f32>>, SeparatorError>,
    ) -> Result<Item, SeparatorError> {
        let mut last = None;
        for _ in 0..DRAWS_MAX {
            let stems = draw(dice)?;
            let mix = sum(&stems);
            let level = rms(&mix);
            last = Some((stems, mix, level));
            if level > QUIET {
                break;
            }
        }
        let (stems, mut mix, level) = last.expect("there is at least one draw");
        let mut stems = stems.concat();
        let gain = 1.0 / level.max(QUIET);
        for sample in mix.iter_mut().chain(&mut stems) {
            *sample *= gain;
        }
        Ok(Item {
            sum: mix.clone(),
            mix,
            stems: Some(stems),
        })
    }

    /// The stems of one place of one piece.
    fn played(&self, dice: &mut Dice) -> Result<Vec<Vec<f32>>, SeparatorError> {
        let (piece, first) = self.place(dice);
        let stem = |stem| self.pieces.crop(piece, stem, first, self.frames);
        (0..STEMS.len()).map(stem).collect()
    }

    /// Stems at drawn levels and either sign, all of one place or each of its own.
    fn stems(&self, dice: &mut Dice, remixed: bool) -> Result<Vec<Vec<f32>>, SeparatorError> {
        let shared = self.place(dice);
        let stems = (0..STEMS.len()).map(|stem| {
            let own = self.place(dice);
            let (piece, first) = if remixed { own } else { shared };
            let sign = if dice.chance(0.5) { 1.0 } else { -1.0 };
            let gain = sign * dice.uniform(GAINS.0, GAINS.1);
            let mut crop = self.pieces.crop(piece, stem, first, self.frames)?;
            crop.iter_mut().for_each(|sample| *sample *= gain);
            Ok(crop)
        });
        stems.collect()
    }

    /// A piece and a first frame.
    fn place(&self, dice: &mut Dice) -> (usize, usize) {
        let piece = dice.below(self.pieces.count());
        (piece, dice.below(self.pieces.frames() - self.frames + 1))
    }

    fn together(&self, items: &[Item]) -> Result<Batch, SeparatorError> {
        let [count, stems, channels, frames] = [
            items.len(),
            STEMS.len(),
            self.pieces.channels(),
            self.frames,
        ]
        .map(|count| count as i64);
        let joined =
            |of: fn(&Item) -> &[f32]| -> Vec<f32> { items.iter().flat_map(of).copied().collect() };
        let unknown = vec![0.0; STEMS.len() * self.pieces.channels() * self.frames];
        let played = items
            .iter()
            .flat_map(|item| item.stems.as_ref().unwrap_or(&unknown))
            .copied();
        let known = items
            .iter()
            .map(|item| if item.stems.is_some() { 1.0_f32 } else { 0.0 });
        let flat = [count, channels, frames];
        Ok(Batch {
            mix: Tensor::f_from_slice(&joined(|item| &item.mix))?.f_view(flat)?,
            sum: Tensor::f_from_slice(&joined(|item| &item.sum))?.f_view(flat)?,
            stems: Tensor::f_from_slice(&played.collect::<Vec<f32>>())?
                .f_view([count, stems, channels, frames])?,
            known: Tensor::f_from_slice(&known.collect::<Vec<f32>>())?.f_view([count, 1, 1, 1])?,
        })
    }
}

fn sum(stems: &[Vec<f32>]) -> Vec<f32> {
    let mut mix = vec![0.0; stems.first().map_or(0, Vec::len)];
    for stem in stems {
        mix.iter_mut()
            .zip(stem)
            .for_each(|(slot, sample)| *slot += sample);
    }
    mix
}

/// Lays noise of a drawn colour and level over a mix of root mean square one.
fn add_noise(mix: &mut [f32], dice: &mut Dice) {
    let colour = dice.log_uniform(NOISE_COLOUR.0, NOISE_COLOUR.1);
    let level = 10.0_f32.powf(-dice.uniform(NOISE_DB.0, NOISE_DB.1) / 20.0);
    let (mut source, mut dark) = (dice.noise(), 0.0);
    let noise: Vec<f32> = mix
        .iter()
        .map(|_| {
            dark += colour * (source.sample() - dark);
            dark
        })
        .collect();
    let gain = level / rms(&noise).max(1e-9);
    mix.iter_mut()
        .zip(noise)
        .for_each(|(slot, sample)| *slot += gain * sample);
}

/// Lays a decoder's error over a mix, so far below it in decibels before both are matched in their coarse spectrum. It is the error of the
/// middle signal, alike in every channel, as in the positives.
fn add_error(mix: &mut [f32], channels: usize, decoder: &Decoder, below_db: f32) {
    let frames = mix.len() / channels.max(1);
    let mut middle = vec![0.0; frames];
    for channel in mix.chunks(frames) {
        middle
            .iter_mut()
            .zip(channel)
            .for_each(|(sum, sample)| *sum += sample / channels as f32);
    }
    let heard = marked(&middle, decoder, below_db);
    for channel in mix.chunks_mut(frames) {
        for ((slot, heard), played) in channel.iter_mut().zip(&heard).zip(&middle) {
            *slot += heard - played;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::decoder::Architecture;
    use crate::train::separator::pieces::Use;

    fn batches<'a>(recipe: &'a SeparatorRecipe, cache: &std::path::Path) -> Batches<'a> {
        let pieces = Pieces::new(recipe, cache, Use::Training).unwrap();
        Batches::new(recipe, pieces, None, Vec::new())
    }

    fn short() -> SeparatorRecipe {
        let mut recipe = SeparatorRecipe::default();
        recipe.architecture.segment = 22_050;
        recipe.fitting.seconds = 1.0;
        recipe.fitting.pieces = 4;
        recipe
    }

    #[test]
    fn without_noise_a_mix_is_the_sum_of_its_stems_at_the_scale_of_service() {
        let folder = tempfile::tempdir().unwrap();
        for remix in [0.0, 1.0] {
            let mut recipe = short();
            (recipe.fitting.remix, recipe.fitting.noise) = (remix, 0.0);
            let batch = batches(&recipe, folder.path())
                .draw(&mut Dice::new(1))
                .unwrap();
            assert_eq!(batch.mix.size(), [3, 1, 22_050]);
            assert_eq!(batch.stems.size(), [3, 4, 1, 22_050]);
            let sum = batch
                .stems
                .sum_dim_intlist([1i64].as_slice(), false, None::<tch::Kind>);
            let off = (&batch.mix - sum).abs().max().double_value(&[]);
            assert!(off < 1e-4, "{off}");
            for mix in batch.mix.unbind(0) {
                assert!((rms(&values(&mix).unwrap()) - 1.0).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn noise_lies_over_the_mix_alone_and_below_it() {
        for seed in 0..20 {
            let mut mix = vec![0.0; 10_000];
            add_noise(&mut mix, &mut Dice::new(seed));
            let below = -20.0 * rms(&mix).log10();
            assert!(
                (NOISE_DB.0 - 0.1..NOISE_DB.1 + 0.1).contains(&below),
                "{below}"
            );
        }
    }

    #[test]
    fn under_an_error_the_middle_of_a_mix_is_a_positive_and_its_sides_are_left() {
        let before: Vec<f32> = (0..16_384)
            .map(|at| (at as f32 * 0.05).sin() + 0.3 * (at as f32 * 0.31).sin())
            .collect();
        let of = |mix: &[f32], sign: f32| -> Vec<f32> {
            let (left, right) = mix.split_at(8_192);
            let both = left.iter().zip(right);
            both.map(|(a, b)| 0.5 * (a + sign * b)).collect()
        };
        let far = |one: &[f32], other: &[f32]| {
            let apart: Vec<f32> = one.iter().zip(other).map(|(a, b)| a - b).collect();
            rms(&apart)
        };
        let mut mix = before.clone();
        let decoder = Decoder::fresh(Architecture::Transposed64);
        add_error(&mut mix, 2, &decoder, 20.0);
        let middle = of(&before, 1.0);
        assert!(far(&of(&mix, 1.0), &marked(&middle, &decoder, 20.0)) < 1e-6);
        assert!(far(&of(&mix, 1.0), &middle) > 0.01 * rms(&middle));
        assert!(far(&of(&mix, -1.0), &of(&before, -1.0)) < 1e-6);
    }

    #[test]
    fn the_same_stream_draws_the_same_batch() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = short();
        let batches = batches(&recipe, folder.path());
        let draw = || values(&batches.draw(&mut Dice::new(9)).unwrap().mix).unwrap();
        assert_eq!(draw(), draw());
    }
}
