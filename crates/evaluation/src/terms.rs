//! The residual's score: a sum over features, fitted on labelled tracks, and judged on tracks that the fit has not seen.

use crate::logistic::Logistic;
use crate::platt::targets;
use crate::split::parts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Ridge per row: a score of twenty features shall not rest on the chances of a few hundred tracks.
const RIDGE: f64 = 1e-2;
/// Fits of which each leaves a fifth of the tracks out.
pub const FOLDS: usize = 5;
/// A feature counts where its deviation among tracks is at least so many times what devices may differ by in it. What a device may change then
/// moves a term by a third of its weight at most; below, the term would tell devices apart and not tracks.
pub const RESOLVED: f64 = 3.0;

/// A feature that a fit may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Place of the feature in the vector.
    pub place: usize,
    /// How far two devices that both count as right may differ in it, in its unit.
    pub tolerance: f64,
}

/// One term of the score: `weight * (value - mean) / scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Place of the feature in the vector.
    pub place: usize,
    /// Its weight.
    pub weight: f64,
    /// Its mean over the tracks that were fitted on.
    pub mean: f64,
    /// Its deviation over them; above zero.
    pub scale: f64,
}

/// The score of a feature vector.
#[must_use]
pub fn score(terms: &[Term], features: &[f64]) -> f64 {
    let of = |term: &Term| {
        let value = features.get(term.place).copied().unwrap_or(term.mean);
        term.weight * (value - term.mean) / term.scale
    };
    terms.iter().map(of).sum()
}

/// Places of the candidates whose deviation among `rows` stands out of their tolerance, see [`RESOLVED`].
#[must_use]
pub fn resolved(rows: &[&[f64]], candidates: &[Candidate]) -> Vec<usize> {
    let stands_out =
        |candidate: &&Candidate| deviation(rows, candidate.place) >= RESOLVED * candidate.tolerance;
    let kept = candidates.iter().filter(stands_out);
    kept.map(|candidate| candidate.place).collect()
}

fn deviation(rows: &[&[f64]], place: usize) -> f64 {
    let count = rows.len().max(1) as f64;
    let mean = rows.iter().map(|row| row[place]).sum::<f64>() / count;
    let squares = rows.iter().map(|row| (row[place] - mean).powi(2));
    (squares.sum::<f64>() / count).sqrt()
}

/// Fits the features at `places`. A feature that never varies is left out.
#[must_use]
pub fn fit(rows: &[&[f64]], ai: &[bool], places: &[usize]) -> Vec<Term> {
    let taken: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| places.iter().map(|&place| row[place]).collect())
        .collect();
    let fitted = Logistic::fit(&taken, &targets(ai), RIDGE);
    places
        .iter()
        .zip(fitted.terms())
        .filter(|(_, (weight, _, _))| *weight != 0.0)
        .map(|(&place, (weight, mean, scale))| Term {
            place,
            weight,
            mean,
            scale,
        })
        .collect()
}

/// The score of each track by a fit that saw neither it nor any of its cluster, so that what rests on these scores is not
/// flattered. `None` where a fit would lack a class.
#[must_use]
pub fn cross_fit(
    rows: &[&[f64]],
    ai: &[bool],
    clusters: &[u32],
    places: &[usize],
) -> Option<Vec<f64>> {
    let fold = parts(clusters, ai, 0, FOLDS);
    let mut scores = vec![0.0; rows.len()];
    for out in 0..FOLDS {
        let kept: Vec<usize> = (0..rows.len()).filter(|&at| fold[at] != out).collect();
        let labels: Vec<bool> = kept.iter().map(|&at| ai[at]).collect();
        if labels.iter().all(|ai| *ai) || labels.iter().all(|ai| !ai) {
            return None;
        }
        let seen: Vec<&[f64]> = kept.iter().map(|&at| rows[at]).collect();
        let terms = fit(&seen, &labels, places);
        for at in (0..rows.len()).filter(|&at| fold[at] == out) {
            scores[at] = score(&terms, rows[at]);
        }
    }
    Some(scores)
}

/// What a feature measures of known-human tracks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// The value that one in twenty tracks lies below.
    pub low: f64,
    /// The middle value.
    pub middle: f64,
    /// The value that one in twenty tracks lies above.
    pub high: f64,
}

/// The spread of values; `None` without any.
#[must_use]
pub fn spread(values: &[f64]) -> Option<Spread> {
    let mut rising = values.to_vec();
    rising.sort_by(f64::total_cmp);
    let last = rising.len().checked_sub(1)?;
    let at = |share: f64| rising[(share * last as f64).round() as usize];
    Some(Spread {
        low: at(0.05),
        middle: at(0.5),
        high: at(0.95),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auc::auc;
    use crate::dice::Dice;

    /// Tracks of `width` features of which the first tells by `by`; each in a cluster of its own.
    fn tracks(count: usize, width: usize, by: f64) -> (Vec<Vec<f64>>, Vec<bool>, Vec<u32>) {
        let mut dice = Dice::new(9, "terms");
        let ai: Vec<bool> = (0..count).map(|at| at % 2 == 0).collect();
        let rows = ai
            .iter()
            .map(|&ai| {
                let mut row: Vec<f64> = (0..width)
                    .map(|_| {
                        (0..4)
                            .map(|_| dice.below(1_000) as f64 / 500.0)
                            .sum::<f64>()
                    })
                    .collect();
                row[0] += if ai { by } else { 0.0 };
                row
            })
            .collect();
        (rows, ai, (0..count as u32).collect())
    }

    fn area(scores: &[f64], ai: &[bool]) -> f64 {
        let side = |wanted: bool| -> Vec<f64> {
            let of = scores.iter().zip(ai).filter(|(_, ai)| **ai == wanted);
            of.map(|(score, _)| *score).collect()
        };
        auc(&side(true), &side(false)).unwrap().value
    }

    #[test]
    fn the_feature_that_tells_carries_the_score() {
        let (rows, ai, _) = tracks(600, 4, 2.0);
        let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        let terms = fit(&rows, &ai, &[0, 2, 3]);
        let weight = |place| terms.iter().find(|t| t.place == place).unwrap().weight;
        assert!(weight(0) > 5.0 * weight(2).abs(), "{terms:?}");
        assert!(terms.iter().all(|term| term.place != 1));
    }

    #[test]
    fn features_that_tell_nothing_flatter_the_fit_and_not_the_cross_fit() {
        let (rows, ai, clusters) = tracks(80, 20, 0.0);
        let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        let places: Vec<usize> = (0..20).collect();
        let terms = fit(&rows, &ai, &places);
        let own: Vec<f64> = rows.iter().map(|row| score(&terms, row)).collect();
        let crossed = cross_fit(&rows, &ai, &clusters, &places).unwrap();
        assert!(area(&own, &ai) > 0.65, "{}", area(&own, &ai));
        assert!(area(&crossed, &ai) < 0.62, "{}", area(&crossed, &ai));
    }

    #[test]
    fn a_feature_that_varies_by_no_more_than_devices_do_does_not_count() {
        let (rows, _, _) = tracks(600, 3, 0.0);
        let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        let of = deviation(&rows, 1);
        let candidate = |tolerance| Candidate {
            place: 1,
            tolerance,
        };
        let kept = |tolerance| resolved(&rows, &[candidate(tolerance)]);
        assert_eq!(kept(of / (RESOLVED + 0.1)), [1]);
        assert!(kept(of / (RESOLVED - 0.1)).is_empty());
        assert!(kept(of * 30.0).is_empty());
    }

    #[test]
    fn a_cross_fit_without_a_class_is_none() {
        let (rows, ai, _) = tracks(10, 2, 1.0);
        let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        let one = vec![0; 10];
        assert_eq!(cross_fit(&rows, &ai, &one, &[0, 1]), None);
    }

    #[test]
    fn a_spread_is_the_middle_nine_in_ten() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        let expected = Spread {
            low: 5.0,
            middle: 50.0,
            high: 95.0,
        };
        assert_eq!(spread(&values), Some(expected));
        assert_eq!(spread(&[]), None);
    }
}
