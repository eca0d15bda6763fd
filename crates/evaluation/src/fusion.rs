//! One score from two engines: log odds that are linear in both, with no weight below zero.

use crate::logistic::Logistic;
use crate::platt::{Flat, shift, targets};

/// Ridge of the fit, per row: the two scores go together, and their weights shall not run apart for it.
const RIDGE: f64 = 1e-3;

/// `screen * (screen's score) + residual * (residual's score) + intercept`: log odds at the prior.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fusion {
    /// Weight of the screen's score; not below zero.
    pub screen: f64,
    /// Weight of the residual's score; not below zero.
    pub residual: f64,
    /// Added to both.
    pub intercept: f64,
    /// The share of positives that the log odds suppose.
    pub prior: f64,
}

impl Fusion {
    /// The log odds of a track.
    #[must_use]
    pub fn score(&self, screen: f64, residual: f64) -> f64 {
        self.screen * screen + self.residual * residual + self.intercept
    }
}

/// Fits both weights at `prior`. An engine whose weight comes out below zero tells nothing that the other does not: it gets
/// zero, and the other is fitted alone. Rows of the three slices belong together; both classes have a track.
///
/// # Errors
/// [`Flat`] where neither engine tells anything.
pub fn fit(screen: &[f64], residual: &[f64], ai: &[bool], prior: f64) -> Result<Fusion, Flat> {
    let both: Vec<Vec<f64>> = screen
        .iter()
        .zip(residual)
        .map(|(screen, residual)| vec![*screen, *residual])
        .collect();
    let (weights, intercept) = Logistic::fit(&both, &targets(ai), RIDGE).raw();
    let (mut fused, shift) = (
        Fusion {
            screen: weights.first().copied().unwrap_or(0.0),
            residual: weights.get(1).copied().unwrap_or(0.0),
            intercept,
            prior,
        },
        shift(ai, prior),
    );
    if fused.screen < 0.0 {
        fused = Fusion {
            screen: 0.0,
            ..alone(residual, ai, prior, |residual| [0.0, residual])
        };
    } else if fused.residual < 0.0 {
        fused = alone(screen, ai, prior, |screen| [screen, 0.0]);
    }
    let sum = fused.screen + fused.residual;
    let sound = fused.screen >= 0.0 && fused.residual >= 0.0 && sum > 0.0 && sum.is_finite();
    if !sound || !fused.intercept.is_finite() {
        return Err(Flat { slope: sum });
    }
    fused.intercept += shift;
    Ok(fused)
}

fn alone(scores: &[f64], ai: &[bool], prior: f64, weights: impl Fn(f64) -> [f64; 2]) -> Fusion {
    let rows: Vec<Vec<f64>> = scores.iter().map(|&score| vec![score]).collect();
    let (slope, intercept) = Logistic::fit(&rows, &targets(ai), RIDGE).line();
    let [screen, residual] = weights(slope);
    Fusion {
        screen,
        residual,
        intercept,
        prior,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auc::auc;
    use crate::dice::Dice;

    /// Tracks of two noisy scores, the second of which may tell nothing.
    fn tracks(tells: [f64; 2]) -> (Vec<f64>, Vec<f64>, Vec<bool>) {
        let mut dice = Dice::new(4, "fusion");
        let mut noise = || (0..6).map(|_| dice.below(1_000) as f64).sum::<f64>() / 1_000.0 - 3.0;
        let ai: Vec<bool> = (0..800).map(|at| at % 2 == 0).collect();
        let mut score = |by: f64| -> Vec<f64> {
            ai.iter()
                .map(|&ai| if ai { by + noise() } else { noise() })
                .collect()
        };
        let (screen, residual) = (score(tells[0]), score(tells[1]));
        (screen, residual, ai)
    }

    fn area(scores: &[f64], ai: &[bool]) -> f64 {
        let side = |wanted: bool| -> Vec<f64> {
            let of = scores.iter().zip(ai).filter(|(_, ai)| **ai == wanted);
            of.map(|(score, _)| *score).collect()
        };
        auc(&side(true), &side(false)).unwrap().value
    }

    #[test]
    fn two_engines_that_both_tell_tell_more_together() {
        let (screen, residual, ai) = tracks([0.7, 0.7]);
        let fusion = fit(&screen, &residual, &ai, 0.5).unwrap();
        let fused: Vec<f64> = screen
            .iter()
            .zip(&residual)
            .map(|(s, r)| fusion.score(*s, *r))
            .collect();
        assert!(area(&fused, &ai) > area(&screen, &ai) + 0.03);
        assert!(fusion.screen > 0.0 && fusion.residual > 0.0);
        let rare = fit(&screen, &residual, &ai, 0.01).unwrap();
        assert!((rare.intercept - fusion.intercept - (0.01f64 / 0.99).ln()).abs() < 1e-9);
    }

    #[test]
    fn an_engine_that_tells_the_wrong_way_round_gets_no_weight() {
        let (screen, residual, ai) = tracks([1.0, -1.0]);
        let fusion = fit(&screen, &residual, &ai, 0.5).unwrap();
        assert_eq!(fusion.residual, 0.0);
        assert!(fusion.screen > 0.0);
        let fusion = fit(&residual, &screen, &ai, 0.5).unwrap();
        assert_eq!(fusion.screen, 0.0);
        assert!(fusion.residual > 0.0);
        assert!(fit(&residual, &residual, &ai, 0.5).is_err());
    }
}
