//! What a job's bundle says of scores: the rule that a verdict rests on, its thresholds with their bounds, the scales of pictures
//! and timelines, what known-human tracks measure. Read from the signed manifest, whose SHA-256 must be the job's bundle.

use crate::bound::Stated;
use bundle::features::RESIDUAL_V1;
use bundle::{
    Calibration, Fusion, Gated, Manifest, ResidualCalibration, Separator, Spread, Term, Verdicts,
};
use types::{Code, Digest, Policy, Problem, Purpose};

/// A job's bundle and policy.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The signed manifest.
    pub(crate) manifest: Manifest,
    /// Its SHA-256, which names the bundle.
    pub(crate) digest: Digest,
    /// What the job was asked to do.
    pub(crate) policy: Policy,
}

/// One rule by which scores become verdicts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judge<'a> {
    /// Its name.
    pub(crate) name: &'static str,
    /// What its scores count in.
    pub(crate) unit: &'static str,
    /// Its thresholds.
    pub(crate) verdicts: &'a Verdicts,
    /// From its scores to probabilities.
    pub(crate) calibration: Calibration,
}

impl Rules {
    /// Reads a manifest.
    ///
    /// # Errors
    /// `BUNDLE_DIGEST_MISMATCH` where it is not the one that `digest` names, `BUNDLE_INVALID` where this version cannot read it.
    pub(crate) fn read(text: &str, digest: Digest, policy: Policy) -> Result<Self, Problem> {
        let found = Digest::of(text.as_bytes());
        if found != digest {
            let said = format!("read the bundle `{digest}`: its manifest has digest {found}");
            return Err(Problem::new(Code::BundleDigestMismatch, said));
        }
        let invalid = |why: String| {
            let said = format!("read the manifest of the bundle `{digest}`: {why}");
            Problem::new(Code::BundleInvalid, said)
        };
        let manifest: Manifest =
            serde_json::from_str(text).map_err(|why| invalid(why.to_string()))?;
        manifest
            .check()
            .map_err(|why| invalid(types::chain(&why)))?;
        Ok(Self {
            manifest,
            digest,
            policy,
        })
    }

    /// The rule of the screen alone.
    pub(crate) fn screen(&self) -> Judge<'_> {
        Judge {
            name: "screen",
            unit: "the screen's score: log odds before calibration",
            verdicts: &self.manifest.verdicts,
            calibration: self.manifest.screen.calibration,
        }
    }

    /// The rule of both engines, where the bundle has one.
    pub(crate) fn fusion(&self) -> Option<Judge<'_>> {
        let calibration = self.residual()?;
        let (name, unit, odds) = match &calibration.fusion {
            Fusion::V1(rule) => (
                "fusion-v1",
                "the fused score: log odds at its prior",
                // Such a score is log odds already.
                Calibration {
                    slope: 1.0,
                    intercept: 0.0,
                    prior: rule.prior,
                },
            ),
            Fusion::ResidualAlone => (
                "residual-alone",
                "the residual's score: a sum of weighed features",
                calibration.probability,
            ),
        };
        Some(Judge {
            name,
            unit,
            verdicts: &calibration.verdicts,
            calibration: odds,
        })
    }

    /// The rule that a track's verdict rests on: without a calibration of the residual the screen's stands.
    pub(crate) fn judge(&self, fused: bool) -> Judge<'_> {
        let both = self.fusion().filter(|_| fused);
        both.unwrap_or_else(|| self.screen())
    }

    /// What the residual's features mean, where somebody has measured it.
    pub(crate) fn residual(&self) -> Option<&ResidualCalibration> {
        self.manifest.residual.as_ref()?.calibration.as_ref()
    }

    /// What known-human tracks measure of a feature.
    pub(crate) fn spread(&self, feature: &str) -> Option<&Spread> {
        let humans = &self.residual()?.humans;
        humans.iter().find(|spread| spread.feature == feature)
    }

    /// What a feature, by its place, adds to the residual's score; none of one that the calibration does not use.
    pub(crate) fn adds(&self, place: usize, value: f64) -> Option<f64> {
        let name = RESIDUAL_V1.get(place)?.name;
        let terms: &[Term] = &self.residual()?.terms;
        let term = terms.iter().find(|term| term.feature == name)?;
        Some(term.weight * (value - term.mean) / term.scale)
    }

    /// What the job's gate sends on to the residual.
    pub(crate) fn gate(&self) -> Gated {
        Gated::of(&self.manifest, self.policy.gate)
    }

    /// The tiers that flags of the job rest on, with their bounds.
    pub(crate) fn stated(&self) -> Stated<'_> {
        Stated::of(&self.manifest, (&self.policy).into())
    }

    /// Whether the bundle is for demonstration.
    pub(crate) fn is_demonstration(&self) -> bool {
        match self.manifest.purpose {
            Purpose::Demonstration => true,
            Purpose::Production => false,
        }
    }

    /// How long a window of the screen is, in milliseconds.
    pub(crate) fn window_ms(&self) -> u64 {
        let screen = &self.manifest.screen;
        let samples = u64::from(screen.windows.frames) * u64::from(screen.preprocessing.hop);
        samples * 1_000 / u64::from(screen.preprocessing.rate_hz.max(1))
    }

    /// How long a separated segment is, in milliseconds.
    pub(crate) fn segment_ms(&self) -> u64 {
        let Some(residual) = &self.manifest.residual else {
            return 0;
        };
        let Separator::HtDemucs(config) = &residual.architecture;
        let samples = u64::try_from(config.segment).unwrap_or(0);
        samples * 1_000 / u64::try_from(config.rate_hz).unwrap_or(1).max(1)
    }
}

impl Judge<'_> {
    /// How strongly a score speaks for a machine, whatever the prior: log odds less those of the prior. Scores of different
    /// rules are put in one order by it.
    pub(crate) fn evidence(&self, score: f64) -> f64 {
        let Calibration {
            slope,
            intercept,
            prior,
        } = self.calibration;
        slope * score + intercept - (prior / (1.0 - prior)).ln()
    }

    /// The score of the threshold for `likely_ai`.
    pub(crate) fn likely_from(&self) -> Option<f64> {
        self.verdicts.likely_ai().map(|tier| tier.score)
    }
}

#[cfg(test)]
pub(crate) mod tests;
