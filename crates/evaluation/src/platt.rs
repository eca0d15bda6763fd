//! From a score to a probability at a stated prior: Platt's line through the log odds.

use crate::logistic::Logistic;

/// A higher score does not mean a higher chance: there is nothing to calibrate.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the slope is {slope:.3}, so the score tells nothing on these tracks")]
pub struct Flat {
    /// What was fitted.
    pub slope: f64,
}

/// `probability = 1 / (1 + exp(-(slope * score + intercept)))` at the prior.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Above zero.
    pub slope: f64,
    /// Added after the slope.
    pub intercept: f64,
    /// The share of positives that the probability supposes.
    pub prior: f64,
}

impl Line {
    /// The probability of a score.
    #[must_use]
    pub fn probability(&self, score: f64) -> f64 {
        logistic(self.slope * score + self.intercept)
    }

    /// The same line at another prior.
    #[must_use]
    pub fn at(&self, prior: f64) -> Self {
        Self {
            intercept: self.intercept - odds(self.prior) + odds(prior),
            prior,
            ..*self
        }
    }
}

/// Natural-log odds of a share strictly between 0 and 1.
#[must_use]
pub fn odds(share: f64) -> f64 {
    (share / (1.0 - share)).ln()
}

/// The share of natural-log odds.
#[must_use]
pub fn logistic(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

/// Platt's targets (in Smola and others, Advances in Large Margin Classifiers, 2000): a class's share with one more seen of
/// each, so that tracks that are told apart wholly do not give a line without end.
pub(crate) fn targets(ai: &[bool]) -> Vec<f64> {
    let positives = ai.iter().filter(|ai| **ai).count() as f64;
    let humans = ai.len() as f64 - positives;
    let (high, low) = ((positives + 1.0) / (positives + 2.0), 1.0 / (humans + 2.0));
    ai.iter().map(|&ai| if ai { high } else { low }).collect()
}

/// What the share of positives among these tracks adds to fitted log odds, and what the prior adds instead.
pub(crate) fn shift(ai: &[bool], prior: f64) -> f64 {
    let positives = ai.iter().filter(|ai| **ai).count() as f64;
    let humans = ai.len() as f64 - positives;
    odds(prior) - (positives / humans).ln()
}

/// Platt's fit with his smoothed targets, at `prior` whatever the tracks' own share is. Both classes have a track.
///
/// # Errors
/// [`Flat`] where the slope is not above zero.
pub fn fit(positives: &[f64], humans: &[f64], prior: f64) -> Result<Line, Flat> {
    let rows: Vec<Vec<f64>> = positives.iter().chain(humans).map(|&s| vec![s]).collect();
    let ai: Vec<bool> = (0..rows.len()).map(|at| at < positives.len()).collect();
    let (slope, intercept) = Logistic::fit(&rows, &targets(&ai), 0.0).line();
    if !(slope > 0.0 && slope.is_finite() && intercept.is_finite()) {
        return Err(Flat { slope });
    }
    Ok(Line {
        slope,
        intercept: intercept + shift(&ai, prior),
        prior,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(middle: f64) -> Vec<f64> {
        (0..200)
            .map(|i| middle + (f64::from(i) - 99.5) / 40.0)
            .collect()
    }

    #[test]
    fn the_line_supposes_the_prior_whatever_the_tracks_own_share_is() {
        let (positives, humans) = (spread(1.0), spread(-1.0));
        let even = fit(&positives, &humans, 0.5).unwrap();
        assert!((even.probability(0.0) - 0.5).abs() < 1e-6, "{even:?}");
        let few: Vec<f64> = positives.iter().copied().step_by(10).collect();
        let skewed = fit(&few, &humans, 0.5).unwrap();
        assert!((skewed.probability(0.0) - 0.5).abs() < 0.05, "{skewed:?}");
        let rare = fit(&positives, &humans, 0.01).unwrap();
        assert!((rare.probability(0.0) - 0.01).abs() < 1e-6, "{rare:?}");
        assert!((rare.at(0.5).intercept - even.intercept).abs() < 1e-9);
    }

    #[test]
    fn a_score_that_tells_nothing_or_the_wrong_way_round_is_refused() {
        assert!(fit(&spread(-1.0), &spread(1.0), 0.5).is_err());
        assert!(fit(&[1.0, 1.0], &[1.0, 1.0], 0.5).is_err());
    }

    #[test]
    fn tracks_that_are_told_apart_wholly_give_a_line_with_an_end() {
        let line = fit(&[5.0; 30], &[-5.0; 30], 0.5).unwrap();
        assert!(line.slope < 10.0 && line.probability(5.0) < 1.0, "{line:?}");
    }
}
