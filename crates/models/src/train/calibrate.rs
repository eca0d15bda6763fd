//! From weights to a signed bundle: calibration and thresholds from the calibrate split, counts and table from the test split, the guards'
//! word, the canary, the model card.
//!
//! A bundle whose guards fail is never written. Scores come from the code that serves.

use std::path::Path;

use bundle::{
    Architecture, Band, Calibration, Canary, Embedding, Epsilon, FORMAT, Gate,
    Manifest as BundleManifest, Screen, SecretKey, Tensors, Tier, Verdicts, WriteError,
};
use corpus::manifest::{Entry, Label, Manifest, Split};
use evaluation::platt::{self, Flat, Line};
use evaluation::tiers::{self, Fitted};
use types::{Digest, Purpose};

use super::contents::{CARD, CLIP, WEIGHTS, contents, replace};
use super::engines;
use super::fusion::FusionError;
use super::grid::{self, Grid, GridError, Subject};
use super::recipe::Recipe;
use super::report::{GUARD_LIMIT, GUARD_PIECES, Report, Rule, report};
use super::score::{ScoreError, Scored, score_all};
use super::second::{self, Separator};
use super::separated::SeparateError;
use super::separator::{Quality, SeparatorError};
use crate::canary::CanaryError;

/// Training tracks that the guards and the coarse baseline are fitted on, from the start of the train split: as many as they are scored on.
pub const GUARD_FIT_TRACKS: usize = 2 * GUARD_PIECES;

/// Name of the operating point from which on a track is `likely_ai`; the calibrate split has human tracks enough for it.
const LIKELY_AI_TIER: &str = "fpr_1e-2";

/// Largest difference of a logit that counts as the same in single precision. On one processor none was seen between batches of one and of
/// three windows or between one thread and two; other processors and devices add in another order and get room for it.
const EPSILON_F32: f64 = 5e-3;

/// A bundle could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// Tracks could not be scored.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// A split has no track that has a score.
    #[error("calibrating: the {split:?} split has no track that has a score")]
    Nothing {
        /// The split.
        split: Split,
    },
    /// A split lacks a class.
    #[error("calibrating: the {split:?} split has no {label:?} track")]
    Empty {
        /// The split.
        split: Split,
        /// The class.
        label: Label,
    },
    /// A higher score does not mean a higher chance: there is nothing to calibrate.
    #[error("calibrating the screen on the calibrate split")]
    Flat(#[from] Flat),
    /// The calibrate split has too few human tracks for the operating point that verdicts rest on.
    #[error(
        "calibrating: the Calibrate split has {found} human tracks; {}",
        evaluation::tiers::needs()
    )]
    TooFew {
        /// How many it has.
        found: usize,
    },
    /// The data let a shortcut tell the classes apart.
    #[error(
        "the bundle is refused: a guard lies further than {GUARD_LIMIT} from one half, or fewer than {GUARD_PIECES} pieces a class were held out\n{table}"
    )]
    Guards {
        /// The report as text.
        table: String,
    },
    /// The canary's piece could not be made.
    #[error(transparent)]
    Decoder(#[from] super::decoder::DecoderError),
    /// The canary could not be scored.
    #[error(transparent)]
    Canary(#[from] CanaryError),
    /// Tracks could not be separated.
    #[error(transparent)]
    Separate(#[from] SeparateError),
    /// The residual could not be calibrated.
    #[error(transparent)]
    Fusion(#[from] FusionError),
    /// The separator could not be judged.
    #[error("judging the separator on held-out pieces")]
    Separator(#[from] SeparatorError),
    /// What was measured of the grid could not be read.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// The bundle could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The folder could not be replaced.
    #[error("replacing bundle `{path}`")]
    Replace {
        /// The folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What a bundle is made from.
#[derive(Clone, Copy, Debug)]
pub struct Making<'a> {
    /// The labelled data.
    pub manifest: &'a Manifest,
    /// How the weights were made.
    pub recipe: &'a Recipe,
    /// The weights.
    pub weights: &'a Tensors,
    /// Folder of the neural decoders, for the canary clip.
    pub decoders: &'a Path,
    /// Share of AI tracks that probabilities suppose.
    pub prior: f64,
    /// What the verdicts may be used for.
    pub purpose: Purpose,
    /// The second engine, where the bundle is to have one.
    pub separator: Option<Separator<'a>>,
    /// Cache of the evaluation grid of both engines, for the card.
    pub grid: Option<&'a Path>,
}

/// What a bundle achieves.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The screen's table and the guards.
    pub report: Report,
    /// Both engines on the test split; none without a second one.
    pub engines: Vec<engines::Line>,
    /// How well the separator takes held-out pieces apart; none without one.
    pub quality: Option<Quality>,
    /// What has been measured of the grid.
    pub grid: Option<Grid>,
}

/// Calibrates, judges and writes the bundle to `out`, which is replaced whole; returns its digest and what it achieves.
pub fn calibrate(
    making: &Making<'_>,
    key: &SecretKey,
    out: &Path,
) -> Result<(Digest, Judgement), CalibrateError> {
    let mut bundle = draft(making.recipe, making.purpose);
    let split = |split| -> Vec<Entry> { making.manifest.of(split).cloned().collect() };
    let known = score_all(
        making.manifest,
        &split(Split::Calibrate),
        &bundle,
        making.weights,
    )?;
    let test = score_all(
        making.manifest,
        &split(Split::Test),
        &bundle,
        making.weights,
    )?;
    let train = guard_fit(making.manifest, &bundle, making.weights)?;
    for (tracks, split) in [(&known, Split::Calibrate), (&test, Split::Test)] {
        require_both(tracks, split)?;
    }
    let line = platt::fit(
        &scores(&known, Label::Ai),
        &scores(&known, Label::Human),
        making.prior,
    )?;
    let Line {
        slope,
        intercept,
        prior,
    } = line;
    bundle.screen.calibration = Calibration {
        slope,
        intercept,
        prior,
    };
    set_thresholds(
        &mut bundle,
        &scores(&known, Label::Human),
        &scores(&test, Label::Human),
    )?;
    let likely_ai = bundle.likely_ai().map_or(f64::INFINITY, |tier| tier.score);
    let report = report(
        &train,
        &test,
        Rule {
            likely_ai,
            slope,
            intercept: line.at(0.5).intercept,
        },
    );
    if !report.may_be_believed() {
        return Err(CalibrateError::Guards {
            table: report.text(),
        });
    }
    let separator = making.separator.as_ref();
    let quality = separator.map(|separator| separator.quality(making.decoders));
    let quality = quality.transpose()?;
    let engines = match separator {
        Some(separator) => {
            let splits = [&train[..], &known, &test];
            second::calibrate(making, separator, &mut bundle, splits)?
        }
        None => Vec::new(),
    };
    let judgement = Judgement {
        report,
        engines,
        quality,
        grid: measured_grid(making, &bundle)?,
    };
    let contents = contents(making, &mut bundle, &judgement)?;
    let digest = replace(out, bundle, &contents, key)?;
    Ok((digest, judgement))
}

/// The grid of the engines as the bundle now calibrates them, as far as it has been measured.
fn measured_grid(
    making: &Making<'_>,
    bundle: &BundleManifest,
) -> Result<Option<Grid>, CalibrateError> {
    let (Some(separator), Some(cache)) = (&making.separator, making.grid) else {
        return Ok(None);
    };
    let subject = Subject::new(
        bundle.clone(),
        making.weights.clone(),
        separator.weights.clone(),
    )?;
    let slices = grid::kept(&subject, cache, grid::PIECES)?;
    Ok(Some(grid::grid(&subject, &slices)))
}

/// Scores the tracks that guards and baseline are fitted on: the first of each label, in the manifest's order, however that
/// is sorted.
pub fn guard_fit(
    manifest: &Manifest,
    bundle: &BundleManifest,
    weights: &Tensors,
) -> Result<Vec<Scored>, ScoreError> {
    let (mut humans, mut positives) = (0, 0);
    let wanted = |entry: &&Entry| {
        let seen = match entry.label {
            Label::Human => &mut humans,
            Label::Ai => &mut positives,
        };
        *seen += 1;
        *seen <= GUARD_FIT_TRACKS / 2
    };
    let entries: Vec<Entry> = manifest.of(Split::Train).filter(wanted).cloned().collect();
    score_all(manifest, &entries, bundle, weights)
}

/// A manifest that says how tracks are scored and nothing yet of what scores mean.
pub fn draft(recipe: &Recipe, purpose: Purpose) -> BundleManifest {
    let undecided = Tier {
        name: LIKELY_AI_TIER.to_owned(),
        score: 0.0,
        humans: 1,
        false_positives: 1,
        fpr_bound_95: 1.0,
    };
    BundleManifest {
        format: FORMAT,
        name: recipe.name.clone(),
        version: recipe.version,
        purpose,
        screen: Screen {
            architecture: recipe.architecture.clone(),
            weights: WEIGHTS.to_owned(),
            preprocessing: recipe.preprocessing.clone(),
            windows: recipe.windows.clone(),
            level: recipe.level.clone(),
            aggregate: recipe.aggregate,
            calibration: Calibration {
                slope: 1.0,
                intercept: 0.0,
                prior: 0.5,
            },
            features: recipe.features.clone(),
            embedding: recipe.embedding.then(|| Embedding {
                values: pooled_width(&recipe.architecture),
            }),
        },
        residual: None,
        gate: Gate {
            unsure: None,
            positives_from: None,
        },
        verdicts: Verdicts {
            likely_ai_tier: undecided.name.clone(),
            tiers: vec![undecided],
            no_evidence_below: None,
        },
        epsilon: Epsilon {
            f32: EPSILON_F32,
            tf32: None,
            bf16: None,
            f16: None,
        },
        picture: recipe.picture,
        canary: Canary {
            clip: CLIP.to_owned(),
            scores: Vec::new(),
        },
        model_card: CARD.to_owned(),
        files: Vec::new(),
    }
}

fn pooled_width(architecture: &Architecture) -> u32 {
    match architecture {
        Architecture::CnnV1(cnn) => cnn.pooled(),
    }
}

fn require_both(tracks: &[Scored], split: Split) -> Result<(), CalibrateError> {
    if tracks.is_empty() {
        return Err(CalibrateError::Nothing { split });
    }
    for label in [Label::Human, Label::Ai] {
        if scores(tracks, label).is_empty() {
            return Err(CalibrateError::Empty { split, label });
        }
    }
    Ok(())
}

fn scores(tracks: &[Scored], label: Label) -> Vec<f64> {
    tracks
        .iter()
        .filter(|track| track.entry.label == label)
        .map(|track| track.score)
        .collect()
}

/// Thresholds from the human tracks of the calibrate split; their rates are counted on those of the test split, which set nothing.
fn set_thresholds(
    bundle: &mut BundleManifest,
    calibrate: &[f64],
    test: &[f64],
) -> Result<(), CalibrateError> {
    bundle.verdicts = verdicts(calibrate, test).ok_or(CalibrateError::TooFew {
        found: calibrate.len(),
    })?;
    let band = bundle
        .verdicts
        .tiers
        .first()
        .zip(bundle.verdicts.tiers.last())
        .map(|(loosest, likely)| Band {
            low: loosest.score,
            high: likely.score,
        });
    bundle.gate.unsure = band.filter(|band| band.low < band.high);
    Ok(())
}

/// The operating points up to that of `likely_ai`; none where human tracks are too few for it.
pub(super) fn verdicts(calibrate: &[f64], test: &[f64]) -> Option<Verdicts> {
    let strictest = tiers::rate_of(LIKELY_AI_TIER);
    let wanted = |fitted: &Fitted| tiers::rate_of(fitted.name) >= strictest;
    let fitted: Vec<Tier> = tiers::fit(calibrate, test)
        .into_iter()
        .filter(wanted)
        .map(tier)
        .collect();
    let has_likely = fitted
        .last()
        .is_some_and(|tier| tier.name == LIKELY_AI_TIER);
    let low = fitted.first()?.score;
    has_likely.then(|| Verdicts {
        likely_ai_tier: LIKELY_AI_TIER.to_owned(),
        tiers: fitted,
        no_evidence_below: Some(low),
    })
}

fn tier(fitted: Fitted) -> Tier {
    Tier {
        name: fitted.name.to_owned(),
        score: fitted.score,
        humans: fitted.counted.trials,
        false_positives: fitted.counted.hits,
        fpr_bound_95: fitted.counted.bound_95,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_rise_and_their_bounds_hold_the_manifests_rules() {
        let recipe = Recipe::default();
        let mut bundle = draft(&recipe, Purpose::Demonstration);
        let calibrate: Vec<f64> = (0..240).map(|i| f64::from(i) * 0.01).collect();
        let test: Vec<f64> = (0..420).map(|i| f64::from(i) * 0.006).collect();
        set_thresholds(&mut bundle, &calibrate, &test).unwrap();
        let tiers = &bundle.verdicts.tiers;
        assert!(tiers.windows(2).all(|pair| pair[0].score <= pair[1].score
            && pair[0].false_positives >= pair[1].false_positives));
        assert!(
            tiers
                .iter()
                .all(|tier| tier.fpr_bound_95 >= tier.false_positives as f64 / 420.0)
        );
        assert_eq!(bundle.gate.unsure.unwrap().high, tiers[2].score);
    }
}
