//! What a residual's features mean, as measured on known tracks: weights of the features, the probability of their sum, the fusion with the
//! screen, operating points of the fused score, and the spread of human tracks.
//!
//! Called by calibration. Pure. Weights come from tracks of the train split, probability, fusion and edges from the calibrate split, rates
//! from the test split, so that nothing is counted where it was fitted.

use bundle::features::{RESIDUAL_V1, RESIDUAL_VERSION};
use bundle::{Calibration, Fusion, FusionV1, ResidualCalibration, Spread, Term, Verdicts};

use super::calibrate::{line_of, odds, verdicts};
use super::logistic::Logistic;

/// Ridge of the features' weights, per row: twenty features of which many say the same.
const RIDGE: f64 = 1e-2;
/// A feature that varies less over all tracks than this share of its span is left out.
const STILL: f64 = 1e-6;
/// Shares of human tracks that lie below the low and above the high value of a spread.
const TAIL: f64 = 0.05;

/// A track with both engines' evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Whether it carries a decoder's error.
    pub positive: bool,
    /// The screen's score.
    pub screen: f64,
    /// The residual's feature vector.
    pub features: Vec<f32>,
}

/// The splits of known tracks.
#[derive(Clone, Copy, Debug)]
pub struct Splits<'a> {
    /// Those that weights are fitted on.
    pub train: &'a [Known],
    /// Those that probability, fusion and edges come from.
    pub calibrate: &'a [Known],
    /// Those that rates are counted on.
    pub test: &'a [Known],
}

/// The residual could not be calibrated.
#[derive(Debug, thiserror::Error)]
pub enum FusionError {
    /// A split lacks a class.
    #[error("calibrating the residual: a split lacks a class")]
    Empty,
    /// A higher score does not mean a higher chance.
    #[error(
        "calibrating the residual: the slope is {0:.3}, so it tells nothing on the calibrate split"
    )]
    Slope(f64),
}

/// Fits the calibration, at a share of `prior` of AI tracks.
///
/// # Errors
/// Where a split lacks a class, or the residual tells nothing.
pub fn fit(splits: Splits<'_>, prior: f64) -> Result<ResidualCalibration, FusionError> {
    for split in [splits.train, splits.calibrate, splits.test] {
        let positives = split.iter().filter(|track| track.positive).count();
        if positives == 0 || positives == split.len() {
            return Err(FusionError::Empty);
        }
    }
    let mut calibration = ResidualCalibration {
        features: RESIDUAL_VERSION.to_owned(),
        terms: terms(splits.train),
        probability: Calibration {
            slope: 1.0,
            intercept: 0.0,
            prior,
        },
        fusion: Fusion::ResidualAlone,
        verdicts: Verdicts {
            likely_ai_tier: String::new(),
            tiers: Vec::new(),
            no_evidence_below: None,
        },
        humans: spreads(splits.calibrate),
    };
    let scores: Vec<(f64, bool)> = splits
        .calibrate
        .iter()
        .map(|track| (calibration.score(&track.features), track.positive))
        .collect();
    let (slope, intercept) = line_of(&scores);
    if !(slope > 0.0 && slope.is_finite()) {
        return Err(FusionError::Slope(slope));
    }
    calibration.probability.slope = slope;
    calibration.probability.intercept = intercept + odds(prior);
    let rule = fusion(splits.calibrate, &calibration, prior);
    let humans = |split: &[Known]| -> Vec<f64> {
        let humans = split.iter().filter(|track| !track.positive);
        humans
            .map(|track| fused(&rule, track.screen, calibration.score(&track.features)))
            .collect()
    };
    let (verdicts, _) = verdicts(&humans(splits.calibrate), &humans(splits.test));
    Ok(ResidualCalibration {
        fusion: Fusion::V1(rule),
        verdicts,
        ..calibration
    })
}

/// The fused score by a rule.
#[must_use]
pub fn fused(rule: &FusionV1, screen: f64, residual: f64) -> f64 {
    rule.screen * screen + rule.residual * residual + rule.intercept
}

/// Weights of the features that vary, each centred and scaled.
fn terms(train: &[Known]) -> Vec<Term> {
    let mut terms: Vec<Term> = (0..RESIDUAL_V1.len())
        .filter(|&at| RESIDUAL_V1[at].calibrates)
        .filter_map(|at| {
            let values: Vec<f64> = train
                .iter()
                .map(|track| f64::from(track.features[at]))
                .collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            let scale = (squares / values.len() as f64).sqrt();
            (scale > STILL * RESIDUAL_V1[at].span).then(|| Term {
                feature: RESIDUAL_V1[at].name.to_owned(),
                weight: 0.0,
                mean,
                scale,
            })
        })
        .collect();
    let rows: Vec<Vec<f64>> = train.iter().map(|track| row(&terms, track)).collect();
    let targets: Vec<f64> = train
        .iter()
        .map(|track| f64::from(u8::from(track.positive)))
        .collect();
    let weights = linear(&Logistic::fit(&rows, &targets, RIDGE), terms.len()).0;
    for (term, weight) in terms.iter_mut().zip(weights) {
        term.weight = weight;
    }
    terms
}

fn row(terms: &[Term], track: &Known) -> Vec<f64> {
    let place = |term: &Term| bundle::features::place(&term.feature).unwrap_or(0);
    terms
        .iter()
        .map(|term| (f64::from(track.features[place(term)]) - term.mean) / term.scale)
        .collect()
}

/// Weights and intercept of a fit over so many features.
fn linear(fit: &Logistic, width: usize) -> (Vec<f64>, f64) {
    let zeros = vec![0.0; width];
    let intercept = fit.score(&zeros);
    let weights = (0..width).map(|at| {
        let mut one = zeros.clone();
        one[at] = 1.0;
        fit.score(&one) - intercept
    });
    (weights.collect(), intercept)
}

/// Log odds linear in both scores. A score that would count against itself does not count.
fn fusion(known: &[Known], calibration: &ResidualCalibration, prior: f64) -> FusionV1 {
    let pairs: Vec<([f64; 2], bool)> = known
        .iter()
        .map(|track| {
            let residual = calibration.score(&track.features);
            ([track.screen, residual], track.positive)
        })
        .collect();
    let positives = pairs.iter().filter(|(_, positive)| *positive).count() as f64;
    let balance = (positives / (pairs.len() as f64 - positives)).ln();
    let rows: Vec<Vec<f64>> = pairs.iter().map(|(scores, _)| scores.to_vec()).collect();
    let targets: Vec<f64> = pairs
        .iter()
        .map(|(_, positive)| f64::from(u8::from(*positive)))
        .collect();
    let (weights, intercept) = linear(&Logistic::fit(&rows, &targets, 1e-6), 2);
    let shifted = |intercept: f64| intercept + odds(prior);
    let alone = |at: usize| {
        let scores: Vec<(f64, bool)> = pairs.iter().map(|(both, is)| (both[at], *is)).collect();
        let (slope, intercept) = line_of(&scores);
        let mut weights = [0.0; 2];
        // Neither alone need rise either; something must count.
        weights[at] = slope.max(1e-3);
        (weights, shifted(intercept))
    };
    let ([screen, residual], intercept) = if weights[1] <= 0.0 {
        alone(0)
    } else if weights[0] <= 0.0 {
        alone(1)
    } else {
        ([weights[0], weights[1]], shifted(intercept - balance))
    };
    FusionV1 {
        screen,
        residual,
        intercept,
        prior,
    }
}

/// What human tracks measure of each feature.
fn spreads(known: &[Known]) -> Vec<Spread> {
    let spread = |at: usize| {
        let humans = known.iter().filter(|track| !track.positive);
        let mut values: Vec<f64> = humans.map(|track| f64::from(track.features[at])).collect();
        values.sort_by(f64::total_cmp);
        let place = |share: f64| values[(share * (values.len() - 1) as f64).round() as usize];
        Spread {
            feature: RESIDUAL_V1[at].name.to_owned(),
            low: place(TAIL),
            middle: place(0.5),
            high: place(1.0 - TAIL),
        }
    };
    (0..RESIDUAL_V1.len()).map(spread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use corpus::dice::Dice;

    /// Tracks whose first band and whose screen's score move with the class by so many deviations.
    fn tracks(count: usize, seed: u64, screen: f32, residual: f32) -> Vec<Known> {
        let mut dice = Dice::new(seed);
        (0..count)
            .map(|at| {
                let positive = at % 2 == 1;
                let class = f32::from(u8::from(positive));
                let mut features: Vec<f32> = RESIDUAL_V1.iter().map(|_| dice.normal()).collect();
                features[0] += residual * class;
                features[5] = 3.0;
                Known {
                    positive,
                    screen: f64::from(dice.normal() + screen * class),
                    features,
                }
            })
            .collect()
    }

    fn fitted(screen: f32, residual: f32) -> Result<ResidualCalibration, FusionError> {
        let [train, calibrate, test] = [1, 2, 3].map(|seed| tracks(800, seed, screen, residual));
        fit(
            Splits {
                train: &train,
                calibrate: &calibrate,
                test: &test,
            },
            0.2,
        )
    }

    #[test]
    fn both_scores_count_where_both_tell() {
        let found = fitted(1.0, 2.0).unwrap();
        let Fusion::V1(rule) = &found.fusion else {
            panic!("{:?}", found.fusion);
        };
        // Of independent normal scores the log odds are their shifts times the scores.
        assert!((rule.screen - 1.0).abs() < 0.35, "{rule:?}");
        assert!(rule.residual > 0.5, "{rule:?}");
        let best = found
            .terms
            .iter()
            .max_by(|a, b| a.weight.abs().total_cmp(&b.weight.abs()));
        assert_eq!(best.unwrap().feature, RESIDUAL_V1[0].name);
        assert!(
            found.terms.iter().all(|term| term.feature != "mse"),
            "what follows loudness is left out"
        );
        assert!(
            found
                .terms
                .iter()
                .all(|term| term.feature != RESIDUAL_V1[5].name),
            "so is what never varies"
        );
        assert_eq!(found.humans.len(), RESIDUAL_V1.len());
        assert_eq!(found.verdicts.tiers.len(), 3);
        assert!((rule.prior - 0.2).abs() < 1e-9);
    }

    #[test]
    fn a_score_that_would_count_against_itself_does_not_count() {
        let found = fitted(-1.0, 2.0).unwrap();
        let Fusion::V1(rule) = &found.fusion else {
            panic!("{:?}", found.fusion);
        };
        assert!(rule.screen.abs() < 1e-12 && rule.residual > 0.0, "{rule:?}");
    }

    #[test]
    fn a_split_of_one_class_is_refused() {
        let all = tracks(100, 1, 1.0, 1.0);
        let humans: Vec<Known> = all
            .iter()
            .filter(|track| !track.positive)
            .cloned()
            .collect();
        let splits = Splits {
            train: &all,
            calibrate: &humans,
            test: &all,
        };
        assert!(matches!(fit(splits, 0.5), Err(FusionError::Empty)));
    }
}
