//! The rule from window scores to a verdict: pure, in double precision, the same on every machine. The agent calls
//! it once a track has ended; evaluation calls it with other rules. It reads no clock and no file.

use crate::gate::{Gated, Reach};
use crate::manifest::{Aggregate, Calibration, Manifest};
use types::{
    Code, Dtype, GateChoice, InconclusiveReason, Policy, Purpose, Score, Stages, Verdict, Warning,
};

/// One scored window of a track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackWindow {
    /// The network's logit.
    pub logit: f32,
    /// Root mean square of the window's samples in dB against full scale; minus infinity for digital silence.
    pub rms_db: f32,
}

/// What is known of a track once it has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence<'a> {
    /// Its windows, in order.
    pub windows: &'a [TrackWindow],
    /// Number format that the scores were computed in.
    pub dtype: Dtype,
}

/// What the job's policy says about verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The stages that run.
    pub stages: Stages,
    /// Whether verdicts of a demonstration bundle are given.
    pub accept_demonstration: bool,
    /// What the gate takes, where that is not left to the bundle.
    pub gate: Option<GateChoice>,
}

impl From<&Policy> for Rules {
    fn from(policy: &Policy) -> Self {
        Self {
            stages: policy.stages,
            accept_demonstration: policy.accept_demonstration,
            gate: policy.gate,
        }
    }
}

/// An edge that a score can lie close to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Between `no_evidence` or `inconclusive` and `likely_ai`.
    LikelyAi,
    /// Between `no_evidence` and `inconclusive`.
    NoEvidence,
    /// A border of the gate.
    Gate,
}

/// What is said of a track, and on what it rests.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What is said.
    pub verdict: Verdict,
    /// Why nothing is; present exactly with `inconclusive`.
    pub reason: Option<InconclusiveReason>,
    /// Why the track could not be scanned; present exactly with `unscannable`.
    pub code: Option<Code>,
    /// The track's score with its probability and prior; absent where no window was heard.
    pub score: Option<Score>,
    /// The strictest tier that the score reaches: its false positive rate and bound stand in the bundle.
    pub tier: Option<String>,
    /// Whether the gate sends the track on to the residual.
    pub escalate: bool,
    /// How far the score lies from what the gate asks for first; present exactly where the track is sent on.
    pub distance: Option<f64>,
    /// How far it may lie on another device; present exactly where the gate sends the track on there or here.
    pub reach: Option<Reach>,
    /// An edge within the bundle's epsilon of the score, where there is one.
    pub borderline: Option<Edge>,
    /// Reservations that follow from the windows.
    pub warnings: Vec<Warning>,
}

/// Decides what is said of a track. The bundle's manifest must have passed its checks.
#[must_use]
pub fn decide(bundle: &Manifest, evidence: &Evidence<'_>, rules: Rules) -> Decision {
    let floor = bundle.screen.level.silent_below_db;
    let heard: Vec<f64> = evidence
        .windows
        .iter()
        .filter(|window| f64::from(window.rms_db) >= floor)
        .map(|window| f64::from(window.logit))
        .collect();
    if heard.iter().any(|logit| !logit.is_finite()) {
        return Decision::unscannable(Code::ScoreNotFinite);
    }
    let Some(score) = aggregate(bundle.screen.aggregate, &heard) else {
        return Decision::unheard(evidence.windows.is_empty());
    };
    let mut decision = judge(bundle, score, heard.len(), rules);
    let epsilon = bundle.epsilon.of(evidence.dtype).unwrap_or(f64::INFINITY);
    decision.borderline = edge_near(bundle, score, epsilon, rules.gate);
    decision.reach = Gated::of(bundle, rules.gate).reach(score, epsilon);
    let least = bundle.screen.level.least_windows as usize;
    if heard.len() < least {
        let too_short = evidence.windows.len() < least;
        decision.withhold(if too_short {
            InconclusiveReason::TooShort
        } else {
            InconclusiveReason::Silent
        });
        decision.escalate = false;
        decision.distance = None;
        decision.reach = None;
    }
    decision
}

impl Decision {
    fn bare(verdict: Verdict) -> Self {
        Self {
            verdict,
            reason: None,
            code: None,
            score: None,
            tier: None,
            escalate: false,
            distance: None,
            reach: None,
            borderline: None,
            warnings: Vec::new(),
        }
    }

    fn unscannable(code: Code) -> Self {
        Self {
            code: Some(code),
            ..Self::bare(Verdict::Unscannable)
        }
    }

    fn unheard(no_window: bool) -> Self {
        let (reason, warning) = if no_window {
            (InconclusiveReason::TooShort, Warning::ShorterThanWindow)
        } else {
            (InconclusiveReason::Silent, Warning::Silent)
        };
        Self {
            reason: Some(reason),
            warnings: vec![warning],
            ..Self::bare(Verdict::Inconclusive)
        }
    }

    fn withhold(&mut self, reason: InconclusiveReason) {
        self.verdict = Verdict::Inconclusive;
        self.reason = Some(reason);
    }
}

fn judge(bundle: &Manifest, score: f64, windows: usize, rules: Rules) -> Decision {
    let (verdict, reason) = bundle.verdicts.of(score);
    let mut decision = Decision::bare(verdict);
    decision.reason = reason;
    decision.score = Some(scored(&bundle.screen.calibration, score, windows));
    decision.tier = bundle.verdicts.reached(score);
    decision.distance = Gated::of(bundle, rules.gate).distance(score);
    decision.escalate = decision.distance.is_some();
    match rules.stages {
        Stages::Screen if decision.escalate => {
            decision.withhold(InconclusiveReason::ResidualNotRun)
        }
        Stages::Screen | Stages::Both => {}
    }
    match bundle.purpose {
        Purpose::Demonstration if !rules.accept_demonstration => {
            decision.withhold(InconclusiveReason::DemonstrationBundle);
        }
        Purpose::Demonstration | Purpose::Production => {}
    }
    decision
}

fn scored(calibration: &Calibration, score: f64, windows: usize) -> Score {
    Score {
        logit: score as f32,
        probability: calibration.probability(score) as f32,
        prior: calibration.prior as f32,
        windows: u32::try_from(windows).unwrap_or(u32::MAX),
    }
}

impl Calibration {
    /// The probability of a track score at the calibration's prior.
    #[must_use]
    pub fn probability(&self, score: f64) -> f64 {
        1.0 / (1.0 + (-(self.slope * score + self.intercept)).exp())
    }

    /// The track score of a probability: the inverse of [`Calibration::probability`].
    #[must_use]
    pub fn score_of(&self, probability: f64) -> f64 {
        ((probability / (1.0 - probability)).ln() - self.intercept) / self.slope
    }
}

/// The track score of heard windows, summed in order; none without windows.
fn aggregate(rule: Aggregate, logits: &[f64]) -> Option<f64> {
    if logits.is_empty() {
        return None;
    }
    match rule {
        Aggregate::Mean => Some(logits.iter().sum::<f64>() / logits.len() as f64),
        Aggregate::Median => {
            let mut sorted = logits.to_vec();
            sorted.sort_by(f64::total_cmp);
            let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
            Some(f64::midpoint(low, high))
        }
    }
}

/// The nearest edge within epsilon. Mean and median move no further than the window that moves most,
/// so the epsilon of a window's logit is also that of the track score. A dtype that the bundle gives no epsilon for
/// is not run; here it makes every row borderline.
fn edge_near(
    bundle: &Manifest,
    score: f64,
    epsilon: f64,
    gate: Option<GateChoice>,
) -> Option<Edge> {
    let edges = [
        (Edge::LikelyAi, bundle.likely_ai().map(|tier| tier.score)),
        (Edge::NoEvidence, bundle.verdicts.no_evidence_below),
    ];
    let gate = Gated::of(bundle, gate);
    let edges = edges
        .into_iter()
        .filter_map(|(edge, at)| at.map(|at| (edge, at)));
    let all = edges.chain(gate.edges().map(|at| (Edge::Gate, at)));
    all.map(|(edge, at)| (edge, (score - at).abs()))
        .filter(|(_, distance)| *distance <= epsilon)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(edge, _)| edge)
}
