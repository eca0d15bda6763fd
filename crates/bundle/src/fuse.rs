//! The rule from both engines' scores to a verdict: pure, in double precision, the same on every machine. Called once a track has
//! been separated, by the agent and by evaluation. Without a calibration of the residual the screen's verdict stands.

use crate::decide::{Edge, Rules};
use crate::features::RESIDUAL_V1;
use crate::features::place;
use crate::manifest::{Fusion, Manifest, ResidualCalibration, Verdicts};
use types::{Code, Dtype, InconclusiveReason, Purpose, Score, Verdict};

/// What the residual gave of a track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Separated<'a> {
    /// Its feature vector: the mean over its segments.
    pub features: &'a [f32],
    /// How many segments were separated.
    pub segments: u32,
    /// Number format that they were separated in.
    pub dtype: Dtype,
}

/// What the screen had given of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Screened {
    /// Its score.
    pub score: Score,
    /// Number format that it was computed in.
    pub dtype: Dtype,
}

/// What is said of a track that was separated, and on what it rests.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused {
    /// What is said.
    pub verdict: Verdict,
    /// Why nothing is; present exactly with `inconclusive`.
    pub reason: Option<InconclusiveReason>,
    /// Why the track could not be scanned; present exactly with `unscannable`.
    pub code: Option<Code>,
    /// The residual's own score with its probability and prior; absent without a calibration.
    pub residual: Option<Score>,
    /// The score that the verdict rests on, with its probability and prior: that of the fusion, without a calibration the screen's.
    pub score: Option<Score>,
    /// The strictest tier that this score reaches.
    pub tier: Option<String>,
    /// An edge within what devices may differ by, where there is one.
    pub borderline: Option<Edge>,
}

/// Decides what is said of a track that was separated. The bundle's manifest must have passed its checks.
#[must_use]
pub fn fuse(bundle: &Manifest, screen: Screened, residual: Separated<'_>, rules: Rules) -> Fused {
    let finite = residual.features.iter().all(|value| value.is_finite());
    if !finite || !screen.score.logit.is_finite() {
        return Fused::unscannable(Code::ScoreNotFinite);
    }
    if residual.features.len() != RESIDUAL_V1.len() || residual.segments == 0 {
        return Fused::unscannable(Code::Internal);
    }
    let section = bundle.residual.as_ref();
    let mut fused = match section.and_then(|section| section.calibration.as_ref()) {
        None => Fused::of(
            &bundle.verdicts,
            screen.score,
            bundle.epsilon.of(screen.dtype).unwrap_or(f64::INFINITY),
        ),
        Some(calibration) => calibrated(bundle, calibration, screen, residual),
    };
    let mut scores = [fused.residual, fused.score].into_iter().flatten();
    if scores.any(|score| !score.logit.is_finite()) {
        return Fused::unscannable(Code::ScoreNotFinite);
    }
    match bundle.purpose {
        Purpose::Demonstration if !rules.accept_demonstration => {
            fused.verdict = Verdict::Inconclusive;
            fused.reason = Some(InconclusiveReason::DemonstrationBundle);
        }
        Purpose::Demonstration | Purpose::Production => {}
    }
    fused
}

fn calibrated(
    bundle: &Manifest,
    calibration: &ResidualCalibration,
    screen: Screened,
    residual: Separated<'_>,
) -> Fused {
    let score = calibration.score(residual.features);
    let own = Score {
        logit: score as f32,
        probability: calibration.probability.probability(score) as f32,
        prior: calibration.probability.prior as f32,
        windows: residual.segments,
    };
    let (weights, judged) = match &calibration.fusion {
        Fusion::ResidualAlone => ([0.0, 1.0], own),
        Fusion::V1(rule) => {
            let odds = rule.screen * f64::from(screen.score.logit)
                + rule.residual * score
                + rule.intercept;
            let judged = Score {
                logit: odds as f32,
                probability: (1.0 / (1.0 + (-odds).exp())) as f32,
                prior: rule.prior as f32,
                windows: residual.segments,
            };
            ([rule.screen, rule.residual], judged)
        }
    };
    let epsilon = bundle.epsilon.of(screen.dtype).unwrap_or(f64::INFINITY);
    let reach = calibration.reach(bundle, residual.dtype);
    let off = zero_or(weights[0], epsilon) + zero_or(weights[1], reach);
    Fused {
        residual: Some(own),
        ..Fused::of(&calibration.verdicts, judged, off)
    }
}

/// A product in which a weight of zero hides even what is not bounded.
fn zero_or(weight: f64, value: f64) -> f64 {
    if weight == 0.0 { 0.0 } else { weight * value }
}

impl Fused {
    fn unscannable(code: Code) -> Self {
        Self {
            verdict: Verdict::Unscannable,
            reason: None,
            code: Some(code),
            residual: None,
            score: None,
            tier: None,
            borderline: None,
        }
    }

    /// The verdict of a score, which devices may differ in by `epsilon`.
    fn of(verdicts: &Verdicts, score: Score, epsilon: f64) -> Self {
        let at = f64::from(score.logit);
        let likely = verdicts.likely_ai().map(|tier| tier.score);
        let (verdict, reason) = verdicts.of(at);
        let edges = [
            (Edge::LikelyAi, likely),
            (Edge::NoEvidence, verdicts.no_evidence_below),
        ];
        let near = edges
            .into_iter()
            .filter_map(|(edge, place)| place.map(|place| (edge, (at - place).abs())))
            .filter(|(_, distance)| *distance <= epsilon)
            .min_by(|a, b| a.1.total_cmp(&b.1));
        Self {
            verdict,
            reason,
            code: None,
            residual: None,
            score: Some(score),
            tier: verdicts.reached(at),
            borderline: near.map(|(edge, _)| edge),
        }
    }
}

impl Verdicts {
    /// What a score means by the tiers alone, and why nothing where it means nothing.
    #[must_use]
    pub fn of(&self, score: f64) -> (Verdict, Option<InconclusiveReason>) {
        let likely = self.likely_ai().map_or(f64::INFINITY, |tier| tier.score);
        if score >= likely {
            return (Verdict::LikelyAi, None);
        }
        if self.no_evidence_below.is_some_and(|low| score >= low) {
            return (
                Verdict::Inconclusive,
                Some(InconclusiveReason::BetweenThresholds),
            );
        }
        (Verdict::NoEvidence, None)
    }

    /// The strictest tier that a score reaches.
    #[must_use]
    pub fn reached(&self, score: f64) -> Option<String> {
        let tier = self.tiers.iter().rfind(|tier| score >= tier.score);
        tier.map(|tier| tier.name.clone())
    }
}

impl ResidualCalibration {
    /// The residual's score of a feature vector: higher means more like generated audio.
    #[must_use]
    pub fn score(&self, features: &[f32]) -> f64 {
        let value = |name: &str| place(name).and_then(|at| features.get(at));
        let terms = self.terms.iter().filter_map(|term| {
            let value = f64::from(*value(&term.feature)?);
            Some(term.weight * (value - term.mean) / term.scale)
        });
        terms.sum()
    }

    /// How far the score may differ between devices: each feature by the canary's share of its span. Without one, by anything.
    fn reach(&self, bundle: &Manifest, dtype: Dtype) -> f64 {
        let canary = bundle
            .residual
            .as_ref()
            .and_then(|section| section.canary.as_ref());
        let Some(epsilon) = canary.and_then(|canary| canary.epsilon.of(dtype)) else {
            return f64::INFINITY;
        };
        let reach = |at: usize| epsilon * RESIDUAL_V1[at].span;
        let terms = self
            .terms
            .iter()
            .map(|term| place(&term.feature).map_or(0.0, reach) * term.weight.abs() / term.scale);
        terms.sum()
    }
}
