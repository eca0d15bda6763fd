//! What a residual's features mean, as measured on known tracks: weights of the features, the probability of their sum, the fusion with the
//! screen, operating points of the fused score, and the spread of human tracks.
//!
//! Called by calibration. Pure. Weights come from tracks of the train split, probability, fusion and edges from the calibrate split, rates
//! from the test split, so that nothing is counted where it was fitted.

use bundle::features::{RESIDUAL_V1, RESIDUAL_VERSION, calibrating};
use bundle::{Calibration, Fusion, FusionV1, ResidualCalibration, Spread, Term};
use evaluation::platt::{self, Flat};
use evaluation::{fusion, terms};

use super::calibrate::verdicts;

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
    /// Too few human tracks for the operating point that verdicts rest on.
    #[error(
        "calibrating the residual: the calibrate split has {found} separated human tracks; {}",
        evaluation::tiers::needs()
    )]
    TooFew {
        /// How many it has.
        found: usize,
    },
    /// A higher score does not mean a higher chance.
    #[error("calibrating the residual on the calibrate split")]
    Flat(#[from] Flat),
}

/// Fits the calibration, at a share of `prior` of AI tracks, of features in which devices may differ by `epsilon` of their spans.
///
/// # Errors
/// Where a split lacks a class, has too few human tracks, or neither engine tells anything.
pub fn fit(
    splits: Splits<'_>,
    prior: f64,
    epsilon: f64,
) -> Result<ResidualCalibration, FusionError> {
    for split in [splits.train, splits.calibrate, splits.test] {
        let positives = labels(split).iter().filter(|ai| **ai).count();
        if positives == 0 || positives == split.len() {
            return Err(FusionError::Empty);
        }
    }
    let weights = weights(splits.train, epsilon);
    let [known, test] = [splits.calibrate, splits.test].map(|split| scores(&weights, split));
    let line = platt::fit(&known.residual(true), &known.residual(false), prior)?;
    let rule = fusion::fit(&known.screen, &known.residual, &known.ai, prior)?;
    let humans = known.fused_humans(&rule);
    let found = humans.len();
    Ok(ResidualCalibration {
        features: RESIDUAL_VERSION.to_owned(),
        terms: weights.iter().map(term).collect(),
        probability: Calibration {
            slope: line.slope,
            intercept: line.intercept,
            prior: line.prior,
        },
        fusion: Fusion::V1(FusionV1 {
            screen: rule.screen,
            residual: rule.residual,
            intercept: rule.intercept,
            prior: rule.prior,
        }),
        verdicts: verdicts(&humans, &test.fused_humans(&rule))
            .ok_or(FusionError::TooFew { found })?,
        humans: spreads(splits.calibrate),
    })
}

fn labels(split: &[Known]) -> Vec<bool> {
    split.iter().map(|track| track.positive).collect()
}

fn wide(features: &[f32]) -> Vec<f64> {
    features.iter().map(|value| f64::from(*value)).collect()
}

fn weights(train: &[Known], epsilon: f64) -> Vec<terms::Term> {
    let rows: Vec<Vec<f64>> = train.iter().map(|track| wide(&track.features)).collect();
    let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
    let candidates: Vec<terms::Candidate> = calibrating(epsilon)
        .map(|(place, tolerance)| terms::Candidate { place, tolerance })
        .collect();
    terms::fit(&rows, &labels(train), &terms::resolved(&rows, &candidates))
}

fn term(fitted: &terms::Term) -> Term {
    Term {
        feature: RESIDUAL_V1[fitted.place].name.to_owned(),
        weight: fitted.weight,
        mean: fitted.mean,
        scale: fitted.scale,
    }
}

/// Both engines' scores of a split, track by track.
struct Scores {
    screen: Vec<f64>,
    residual: Vec<f64>,
    ai: Vec<bool>,
}

fn scores(weights: &[terms::Term], split: &[Known]) -> Scores {
    let residual = |track: &Known| terms::score(weights, &wide(&track.features));
    Scores {
        screen: split.iter().map(|track| track.screen).collect(),
        residual: split.iter().map(residual).collect(),
        ai: labels(split),
    }
}

impl Scores {
    fn residual(&self, ai: bool) -> Vec<f64> {
        let of_class = self
            .residual
            .iter()
            .zip(&self.ai)
            .filter(|(_, own)| **own == ai);
        of_class.map(|(score, _)| *score).collect()
    }

    fn fused_humans(&self, rule: &fusion::Fusion) -> Vec<f64> {
        let both = self.screen.iter().zip(&self.residual).zip(&self.ai);
        let humans = both.filter(|(_, ai)| !**ai);
        humans
            .map(|((screen, residual), _)| rule.score(*screen, *residual))
            .collect()
    }
}

/// The fused score by a bundle's rule.
#[must_use]
pub fn fused(rule: &FusionV1, screen: f64, residual: f64) -> f64 {
    rule.screen * screen + rule.residual * residual + rule.intercept
}

/// What human tracks measure of each feature.
fn spreads(known: &[Known]) -> Vec<Spread> {
    let spread = |(at, feature): (usize, &bundle::features::Feature)| {
        let humans = known.iter().filter(|track| !track.positive);
        let values: Vec<f64> = humans.map(|track| f64::from(track.features[at])).collect();
        terms::spread(&values).map(|spread| Spread {
            feature: feature.name.to_owned(),
            low: spread.low,
            middle: spread.middle,
            high: spread.high,
        })
    };
    RESIDUAL_V1.iter().enumerate().filter_map(spread).collect()
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
            1e-4,
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
        assert!(matches!(fit(splits, 0.5, 1e-4), Err(FusionError::Empty)));
    }
}
