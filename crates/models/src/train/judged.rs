//! What both engines of a bundle say of one labelled track: their scores, the fused score, and the probabilities at a prior of one half.
//!
//! Called by calibration and by the evaluation grid, whose tables [`super::engines`] writes. Pure; decides no verdict.

use bundle::{Calibration, Fusion, Manifest, ResidualCalibration};
use evaluation::platt::{logistic, odds};

use super::fusion::fused;

/// One track with what every engine says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The piece it is a version of.
    pub piece: String,
    /// Whether it carries a decoder's error.
    pub positive: bool,
    /// The coarse baseline's score.
    pub coarse: f64,
    /// The screen's score.
    pub screen: f64,
    /// The residual's score.
    pub residual: f64,
    /// The fused score.
    pub both: f64,
    /// What the scores mean. The coarse baseline is no part of a bundle, and has no probability.
    pub probabilities: Probabilities,
}

/// Probabilities of one track at a prior of one half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probabilities {
    /// By the screen alone.
    pub screen: f64,
    /// By the residual alone.
    pub residual: f64,
    /// By both engines.
    pub both: f64,
}

/// A track before a bundle's rules are asked of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard<'a> {
    /// The piece it is a version of.
    pub piece: String,
    /// Whether it carries a decoder's error.
    pub positive: bool,
    /// The coarse baseline's score.
    pub coarse: f64,
    /// The screen's score.
    pub screen: f64,
    /// The residual's features.
    pub features: &'a [f32],
}

/// The rules of a bundle by which scores become probabilities.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The screen's.
    pub screen: Calibration,
    /// The residual's, with the fusion.
    pub residual: &'a ResidualCalibration,
}

impl<'a> Rules<'a> {
    /// Those of a manifest; none where its residual is not calibrated.
    #[must_use]
    pub fn of(manifest: &'a Manifest) -> Option<Self> {
        let residual = manifest.residual.as_ref()?;
        Some(Self {
            screen: manifest.screen.calibration,
            residual: residual.calibration.as_ref()?,
        })
    }

    /// What they say of a track.
    #[must_use]
    pub fn judge(&self, heard: Heard<'_>) -> Judged {
        let residual = self.residual.score(heard.features);
        let by_screen = at_one_half(&self.screen, heard.screen);
        let by_residual = at_one_half(&self.residual.probability, residual);
        let (both, by_both) = match &self.residual.fusion {
            Fusion::V1(rule) => {
                let both = fused(rule, heard.screen, residual);
                (both, logistic(both - odds(rule.prior)))
            }
            Fusion::ResidualAlone => (residual, by_residual),
        };
        Judged {
            piece: heard.piece,
            positive: heard.positive,
            coarse: heard.coarse,
            screen: heard.screen,
            residual,
            both,
            probabilities: Probabilities {
                screen: by_screen,
                residual: by_residual,
                both: by_both,
            },
        }
    }
}

/// The probability of a score at a prior of one half, whatever prior its line supposes.
fn at_one_half(line: &Calibration, score: f64) -> f64 {
    logistic(line.slope * score + line.intercept - odds(line.prior))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_does_not_depend_on_the_prior_that_its_line_supposes() {
        let line = |prior: f64| Calibration {
            slope: 2.0,
            intercept: 0.5 + odds(prior),
            prior,
        };
        let (even, rare) = (line(0.5), line(0.01));
        assert!((at_one_half(&even, 0.3) - at_one_half(&rare, 0.3)).abs() < 1e-12);
        assert!((at_one_half(&even, -0.25) - 0.5).abs() < 1e-12);
    }
}
