//! How well a separator takes pieces apart that it was not trained on, measured from its weights alone.
//!
//! Called by `train-separator` for its own weights, and by `calibrate` for those that it is given, so that a bundle's card tells of the weights
//! that lie in it. Changes no weights; the cache gets the stems of the held-out pieces and nothing else.

use bundle::Tensors;
use corpus::dice::{Dice, derive};
use corpus::stems::STEMS;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, TchError, Tensor};

use super::batch::{Batch, Batches};
use super::pieces::{Pieces, Use};
use super::{SeparatorError, SeparatorRecipe, Sources, heard_decoders};
use crate::htdemucs::{self, HtDemucs};

/// Segments that a separator is judged on, all of pieces that it was not trained on: half a minute of one core for the demonstration's.
const SEGMENTS: usize = 24;
/// How far errors lie below the mix when a separator is judged, in decibels: in the middle of those that positives have.
const ERROR_DB: f32 = 20.0;
/// A stem this much quieter than its mix, in power, is silent: its ratio says nothing.
const AUDIBLE: f64 = 1e-3;

/// How well a separator takes pieces apart that it was not trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Segments that were heard.
    pub segments: usize,
    /// Its stems, in the order of [`STEMS`].
    pub stems: Vec<StemQuality>,
    /// Mean ratio of the mix to what the sum of the stems leaves of it, in decibels.
    pub sum_db: f64,
    /// What errors of decoders do to the residual; none where training heard no errors. Of the decoders that it heard.
    pub under_errors: Option<UnderErrors>,
    /// What training took, where that is known.
    #[serde(flatten)]
    pub training: Training,
}

/// What training took weights. Measured by whoever trains them, since they do not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<u32>,
    /// Seconds of wall time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// How well one stem comes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StemQuality {
    /// The stem.
    pub name: String,
    /// Mean ratio of the stem to its error in decibels; none where it was never audible.
    pub ratio_db: Option<f64>,
}

/// What errors of decoders do to the residual.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnderErrors {
    /// How far an error lies below the mix, in decibels.
    pub below_db: f32,
    /// By how many decibels the residual rises on average when the error lies over the mix.
    pub rise_db: f64,
}

/// Judges weights on held-out pieces, under errors of decoders where training heard them.
///
/// # Errors
/// [`SeparatorError`].
pub fn judge(
    recipe: &SeparatorRecipe,
    weights: &Tensors,
    sources: Sources<'_>,
) -> Result<Quality, SeparatorError> {
    recipe.check()?;
    let (_store, net) = htdemucs::load(&recipe.architecture, weights, Device::Cpu, Kind::Float)?;
    let pieces = Pieces::new(recipe, sources.cache, Use::Judging)?;
    let decoders = heard_decoders(recipe, sources.decoders)?;
    let batches = Batches::new(recipe, pieces, None, decoders);
    let mut dice = Dice::new(derive(recipe.fitting.seed, "separator judged"));
    let mut found = Found::default();
    for segment in 0..SEGMENTS {
        let batch = batches.clean(&mut dice)?;
        let erroneous = batches.under_error(&batch.mix, segment, ERROR_DB)?;
        tch::no_grad(|| found.add(&net, &batch, erroneous.as_ref()))?;
    }
    Ok(found.quality())
}

/// What was found of the segments so far, in decibels.
#[derive(Debug, Default)]
struct Found {
    ratios: [Vec<f64>; STEMS.len()],
    sums: Vec<f64>,
    rises: Vec<f64>,
}

impl Found {
    fn add(
        &mut self,
        net: &HtDemucs,
        batch: &Batch,
        erroneous: Option<&Tensor>,
    ) -> Result<(), TchError> {
        let found = net.forward(&batch.mix)?;
        let error = found.f_sub(&batch.stems)?;
        let mix = power(&batch.mix)?;
        for (at, of_stem) in self.ratios.iter_mut().enumerate() {
            let stem = |all: &Tensor| power(&all.f_select(1, at as i64)?);
            let loud = stem(&batch.stems)?;
            if loud > AUDIBLE * mix {
                of_stem.push(decibels(loud, stem(&error)?));
            }
        }
        let left = power(&left_out(&batch.mix, &found)?)?;
        self.sums.push(decibels(mix, left));
        if let Some(heard) = erroneous {
            let under = power(&left_out(heard, &net.forward(heard)?)?)?;
            self.rises.push(decibels(under, left));
        }
        Ok(())
    }

    fn quality(&self) -> Quality {
        let named = STEMS.iter().zip(&self.ratios);
        let stems = named.map(|(name, ratios)| StemQuality {
            name: (*name).to_owned(),
            ratio_db: mean(ratios),
        });
        Quality {
            segments: self.sums.len(),
            stems: stems.collect(),
            sum_db: mean(&self.sums).unwrap_or(0.0),
            under_errors: mean(&self.rises).map(|rise_db| UnderErrors {
                below_db: ERROR_DB,
                rise_db,
            }),
            training: Training::default(),
        }
    }
}

/// None of nothing.
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// What the sum of the stems leaves of a mix.
fn left_out(mix: &Tensor, stems: &Tensor) -> Result<Tensor, TchError> {
    mix.f_sub(&stems.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?)
}

fn power(sound: &Tensor) -> Result<f64, TchError> {
    sound.f_square()?.f_mean(Kind::Double)?.f_double_value(&[])
}

fn decibels(power: f64, against: f64) -> f64 {
    10.0 * ((power + 1e-12) / (against + 1e-12)).log10()
}

impl std::fmt::Display for Quality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for stem in &self.stems {
            match stem.ratio_db {
                Some(ratio) => write!(f, "{} {ratio:.1} dB, ", stem.name)?,
                None => write!(f, "{} not heard, ", stem.name)?,
            }
        }
        write!(f, "sum {:.1} dB", self.sum_db)?;
        match self.under_errors {
            Some(UnderErrors { below_db, rise_db }) => write!(
                f,
                ", residual {rise_db:+.1} dB under errors {below_db:.0} dB below the mix"
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stem_that_was_never_audible_has_no_ratio_and_no_errors_no_rise() {
        let found = Found {
            ratios: [vec![1.0, 2.0], Vec::new(), vec![0.5], vec![-1.0]],
            sums: vec![20.0, 24.0],
            rises: Vec::new(),
        };
        let words = found.quality().to_string();
        assert!(
            words.starts_with("drums 1.5 dB, bass not heard, "),
            "{words}"
        );
        assert!(words.ends_with("vocals -1.0 dB, sum 22.0 dB"), "{words}");
    }

    #[test]
    fn a_quality_survives_its_json() {
        let found = Found {
            ratios: [vec![1.25], vec![0.75], Vec::new(), vec![1.5]],
            sums: vec![23.5],
            rises: vec![0.75],
        };
        let mut quality = found.quality();
        let known = Training {
            rounds: Some(40),
            seconds: Some(3_412.5),
        };
        for training in [Training::default(), known] {
            quality.training = training;
            let json = serde_json::to_string(&quality).unwrap();
            assert_eq!(serde_json::from_str::<Quality>(&json).unwrap(), quality);
            assert_eq!(json.contains("seconds"), training == known, "{json}");
        }
        let words = quality.to_string();
        assert!(
            words.ends_with("residual +0.8 dB under errors 20 dB below the mix"),
            "{words}"
        );
    }
}
