//! What is kept of a bundle's second engine, at another prior. Called where a new version fits no residual of its own, so that all
//! probabilities of it suppose one share of ai tracks. Pure; moves log odds and nothing else: no track gets another verdict.

use super::Asked;
use bundle::{Fusion, Residual, ResidualCalibration};
use evaluation::platt::odds;

/// Keeps what the base says of the residual, at the prior, and says so: a new screen is worth having without a new residual. A tier that
/// was asked for is then the screen's alone.
pub(super) fn keep(section: &mut Residual, prior: f64, asked: &Asked, why: &str) -> String {
    let Some(own) = &mut section.calibration else {
        return format!("the bundle has no calibration of the residual: {why}");
    };
    move_to(prior, own);
    let rest = if asked.likely_ai_tier.is_some() {
        format!(
            "; verdicts of both engines rest on {}, on which --likely-ai-tier has no effect",
            own.verdicts.likely_ai_tier
        )
    } else {
        String::new()
    };
    format!(
        "the bundle keeps its calibration of the residual, moved to the prior, and with it the base's thresholds of both engines, which were set beside the base's screen{rest}: {why}"
    )
}

/// Moves the residual's probability and the fused score to a prior. The fused score is log odds at its prior, so that its thresholds move
/// as far as it does.
pub(super) fn move_to(prior: f64, own: &mut ResidualCalibration) {
    own.probability.intercept += odds(prior) - odds(own.probability.prior);
    own.probability.prior = prior;
    if let Fusion::V1(rule) = &mut own.fusion {
        let by = odds(prior) - odds(rule.prior);
        rule.intercept += by;
        rule.prior = prior;
        let tiers = own.verdicts.tiers.iter_mut().map(|tier| &mut tier.score);
        let edges = tiers.chain(&mut own.verdicts.no_evidence_below);
        edges.for_each(|edge| *edge += by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labelled::Judge;
    use bundle::features::{RESIDUAL_V1, place};
    use bundle::{Fused, Manifest};
    use types::Score;

    const PRIOR: f64 = 0.02;

    fn fused(manifest: &Manifest, logit: f32, snr_db: f32) -> Fused {
        let mut features = vec![0.0; RESIDUAL_V1.len()];
        features[place("snr_db").unwrap()] = snr_db;
        Judge::new(manifest, None).fused(f64::from(logit), &features)
    }

    fn calibration(manifest: &mut Manifest) -> &mut ResidualCalibration {
        let residual = manifest.residual.as_mut().unwrap();
        residual.calibration.as_mut().unwrap()
    }

    fn log_odds(own: &ResidualCalibration, score: f64) -> f64 {
        odds(own.probability.probability(score))
    }

    /// The sample: residual at a prior of 0.3, fusion at 0.1.
    fn both() -> [Manifest; 2] {
        let base = crate::report::calibrated();
        let mut moved = base.clone();
        move_to(PRIOR, calibration(&mut moved));
        [base, moved]
    }

    #[test]
    fn another_prior_moves_the_fused_score_and_no_verdict() {
        let [base, moved] = both();
        let by = odds(PRIOR) - odds(0.1);
        for step in 0..200 {
            let (screen, snr) = (
                (step % 14) as f32 * 0.7 - 4.3,
                (step / 14) as f32 * 1.3 + 12.1,
            );
            let (before, now) = (fused(&base, screen, snr), fused(&moved, screen, snr));
            assert_eq!(
                (before.verdict, before.reason, before.tier),
                (now.verdict, now.reason, now.tier),
                "{screen} {snr}"
            );
            let score = |score: Option<Score>| f64::from(score.unwrap().logit);
            let apart = score(now.score) - score(before.score) - by;
            assert!(apart.abs() < 1e-5, "{apart}");
        }
    }

    #[test]
    fn another_prior_moves_the_log_odds_of_the_residual_by_the_priors_own() {
        let [mut base, mut moved] = both();
        for score in [-2.0, 0.0, 1.5] {
            let before = log_odds(calibration(&mut base), score);
            let now = log_odds(calibration(&mut moved), score);
            assert!((now - before - odds(PRIOR) + odds(0.3)).abs() < 1e-9);
        }
        assert_eq!(calibration(&mut moved).probability.prior, PRIOR);
    }

    #[test]
    fn the_prior_that_it_has_already_changes_nothing() {
        let [_, mut moved] = both();
        let before = calibration(&mut moved).clone();
        move_to(PRIOR, calibration(&mut moved));
        assert_eq!(*calibration(&mut moved), before);
    }

    #[test]
    fn the_residual_alone_keeps_its_thresholds_which_are_no_log_odds() {
        let mut base = crate::report::calibrated();
        let own = calibration(&mut base);
        own.fusion = Fusion::ResidualAlone;
        let before = own.verdicts.clone();
        move_to(PRIOR, own);
        assert_eq!((&own.verdicts, own.probability.prior), (&before, PRIOR));
    }
}
