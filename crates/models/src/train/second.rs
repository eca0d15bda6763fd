//! The second engine of a bundle: labelled tracks are separated, their vectors calibrated and fused with the screen's scores, and both engines
//! are judged on the test split.
//!
//! Called by `calibrate`. Says how a residual is put into a bundle; writes nothing but the cache of vectors.

use std::path::Path;

use bundle::{
    Clip, Epsilon, FORMAT_RESIDUAL, Manifest as BundleManifest, Residual, ResidualCanary, Tensors,
};
use corpus::codec::CODECS;
use corpus::manifest::{Entry, Label};

use super::calibrate::{CalibrateError, Making};
use super::decoder;
use super::engines::{self, Line};
use super::facts::View;
use super::fusion::{self, Known, Splits};
use super::judged::{Heard, Judged, Rules};
use super::report::{SNR_EDGES, baseline};
use super::score::Scored;
use super::separated::{SeparateError, separate_all};
use super::separator::{self, Quality, SeparatorError, SeparatorRecipe, Sources, Training};
use crate::residual::known_features;

/// The weights' file in the bundle.
pub(super) const WEIGHTS: &str = "separator.safetensors";
/// Largest difference of a stem, over the largest value, that counts as the same in single precision: that of the golden vectors.
const STEMS_EPSILON_F32: f64 = 1e-4;
/// As above for the features, in shares of their spans: of those in decibels a hundredth of one.
const FEATURES_EPSILON_F32: f64 = 1e-4;

/// A trained separator.
#[derive(Clone, Copy, Debug)]
pub struct Separator<'a> {
    /// How it was made.
    pub recipe: &'a SeparatorRecipe,
    /// Its weights.
    pub weights: &'a Tensors,
    /// Folder where the vectors of labelled tracks are kept, and the stems that it is judged on.
    pub vectors: &'a Path,
    /// What training took them, where that is known.
    pub training: Training,
}

impl Separator<'_> {
    /// How well it takes held-out pieces apart, measured of these very weights; `decoders` is the folder of the decoders' weights.
    pub(super) fn quality(&self, decoders: &Path) -> Result<Quality, SeparatorError> {
        let sources = Sources {
            cache: self.vectors,
            decoders,
            labelled: None,
        };
        let measured = separator::judge(self.recipe, self.weights, sources)?;
        Ok(Quality {
            training: self.training,
            ..measured
        })
    }
}

/// Gives the bundle its residual with what is known of it, without a canary yet; returns the table of both engines on the test split. The
/// splits are those of train, calibrate and test.
pub(super) fn calibrate(
    making: &Making<'_>,
    separator: &Separator<'_>,
    bundle: &mut BundleManifest,
    splits: [&[Scored]; 3],
) -> Result<Vec<Line>, CalibrateError> {
    bundle.format = FORMAT_RESIDUAL;
    bundle.residual = Some(residual_of(separator.recipe));
    let mut measured = Vec::with_capacity(splits.len());
    for tracks in splits {
        measured.push(vectors(making, separator, bundle, tracks)?);
    }
    let known = |at: usize| -> Vec<Known> {
        let tracks: &Vec<(&Scored, Vec<f32>)> = &measured[at];
        tracks
            .iter()
            .map(|(track, features)| known_of(track, features))
            .collect()
    };
    let (train, calibrate, test) = (known(0), known(1), known(2));
    let splits_known = Splits {
        train: &train,
        calibrate: &calibrate,
        test: &test,
    };
    let calibration = fusion::fit(splits_known, making.prior, FEATURES_EPSILON_F32)?;
    let rules = Rules {
        screen: bundle.screen.calibration,
        residual: &calibration,
    };
    let lines = engines_table(rules, splits[0], &measured[2]);
    if let Some(residual) = &mut bundle.residual {
        residual.calibration = Some(calibration);
    }
    Ok(lines)
}

/// A separator's place in a bundle, with nothing known of it yet.
pub(super) fn residual_of(recipe: &SeparatorRecipe) -> Residual {
    Residual {
        architecture: bundle::Separator::HtDemucs(recipe.architecture.clone()),
        weights: WEIGHTS.to_owned(),
        origin: None,
        epsilon: Epsilon {
            f32: STEMS_EPSILON_F32,
            tf32: None,
            bf16: None,
            f16: None,
        },
        segments: recipe.segments,
        overlap: recipe.overlap,
        canary: None,
        calibration: None,
    }
}

/// Tracks with their vectors; those of which no segment was heard are left out.
fn vectors<'a>(
    making: &Making<'_>,
    separator: &Separator<'_>,
    bundle: &BundleManifest,
    tracks: &'a [Scored],
) -> Result<Vec<(&'a Scored, Vec<f32>)>, CalibrateError> {
    let entries: Vec<Entry> = tracks.iter().map(|track| track.entry.clone()).collect();
    let vectors = separate_all(
        making.manifest,
        &entries,
        bundle,
        separator.weights,
        separator.vectors,
    )?;
    let both = tracks.iter().zip(vectors);
    Ok(both
        .filter_map(|(track, vector)| Some((track, vector?)))
        .collect())
}

fn known_of(track: &Scored, features: &[f32]) -> Known {
    Known {
        positive: track.entry.label == Label::Ai,
        screen: track.score,
        features: features.to_vec(),
    }
}

/// The table of both engines on the test split, by what is known of its tracks; the coarse baseline is fitted on `train`.
fn engines_table(rules: Rules<'_>, train: &[Scored], test: &[(&Scored, Vec<f32>)]) -> Vec<Line> {
    let coarse = baseline(train);
    let judged: Vec<(&Entry, Judged)> = test
        .iter()
        .map(|(track, features)| {
            let heard = Heard {
                piece: track.entry.piece.clone(),
                positive: track.entry.label == Label::Ai,
                coarse: coarse.score(&View::Coarse.row(&track.facts)),
                screen: track.score,
                features,
            };
            (&track.entry, rules.judge(heard))
        })
        .collect();
    let humans_and = |keep: &dyn Fn(&Entry) -> bool| -> Vec<&Judged> {
        judged
            .iter()
            .filter(|(entry, judged)| !judged.positive || keep(entry))
            .map(|(_, judged)| judged)
            .collect()
    };
    let of = |keep: &dyn Fn(&Entry) -> bool| -> Vec<&Judged> {
        let kept = judged.iter().filter(|(entry, _)| keep(entry));
        kept.map(|(_, judged)| judged).collect()
    };
    let mut lines = vec![engines::line("held-out pieces", &of(&|_| true))];
    for codec in CODECS {
        let here = |entry: &Entry| entry.codec.as_deref() == Some(codec.name());
        lines.push(engines::line(codec.name(), &of(&here)));
    }
    for architecture in decoder::ALL {
        let here = |entry: &Entry| entry.decoder.as_deref() == Some(architecture.name());
        let unseen = architecture == decoder::HELD_OUT;
        let mark = if unseen { " (held out)" } else { "" };
        let name = format!("{}{mark}", architecture.name());
        lines.push(engines::line(&name, &humans_and(&here)));
    }
    for edges in SNR_EDGES.windows(2) {
        let here = |entry: &Entry| {
            entry
                .snr_db
                .is_some_and(|snr| (edges[0]..edges[1]).contains(&snr))
        };
        let name = format!("error {}-{} dB", edges[0], edges[1].floor());
        lines.push(engines::line(&name, &humans_and(&here)));
    }
    lines.into_iter().flatten().collect()
}

/// The known features of a bundle's clip.
pub(super) fn canary(
    residual: &Residual,
    weights: &Tensors,
    clip: &Clip,
) -> Result<ResidualCanary, CalibrateError> {
    let features = known_features(residual, weights, clip)
        .map_err(SeparateError::Params)?
        .ok_or(SeparateError::NotServed)?;
    Ok(ResidualCanary {
        features,
        epsilon: Epsilon {
            f32: FEATURES_EPSILON_F32,
            tf32: None,
            bf16: None,
            f16: None,
        },
    })
}
