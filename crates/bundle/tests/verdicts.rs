//! The rule from window scores to a verdict, as a table.

use bundle::{Aggregate, Edge, Evidence, Manifest, Rules, TrackWindow, decide, sample};
use proptest::prelude::*;
use types::{Code, Dtype, InconclusiveReason, Purpose, Stages, Verdict, Warning};

const SCREEN: Rules = Rules {
    stages: Stages::Screen,
    accept_demonstration: false,
    gate: None,
};
const BOTH: Rules = Rules {
    stages: Stages::Both,
    accept_demonstration: false,
    gate: None,
};
const ACCEPTED: Rules = Rules {
    stages: Stages::Screen,
    accept_demonstration: true,
    gate: None,
};

fn loud(logits: &[f32]) -> Vec<TrackWindow> {
    logits
        .iter()
        .map(|logit| TrackWindow {
            logit: *logit,
            rms_db: -20.0,
        })
        .collect()
}

fn decided(bundle: &Manifest, windows: &[TrackWindow], rules: Rules) -> bundle::Decision {
    decide(
        bundle,
        &Evidence {
            windows,
            dtype: Dtype::F32,
        },
        rules,
    )
}

/// The sample's edges: gate -1 to 1, tiers at 0.5 and 2, at least two windows.
fn check(
    score: f32,
    rules: Rules,
    verdict: Verdict,
    reason: Option<InconclusiveReason>,
    tier: Option<&str>,
) {
    let decision = decided(&sample::manifest(), &loud(&[score; 3]), rules);
    let found = (decision.verdict, decision.reason, decision.tier.as_deref());
    assert_eq!(
        found,
        (verdict, reason, tier),
        "score {score} under {rules:?}"
    );
}

#[test]
fn a_score_becomes_the_verdict_of_its_side_of_the_edges() {
    let unsure = Some(InconclusiveReason::ResidualNotRun);
    check(-3.0, SCREEN, Verdict::NoEvidence, None, None);
    check(-1.0, SCREEN, Verdict::Inconclusive, unsure, None);
    check(0.6, SCREEN, Verdict::Inconclusive, unsure, Some("fpr_1e-1"));
    check(1.0, SCREEN, Verdict::NoEvidence, None, Some("fpr_1e-1"));
    check(2.0, SCREEN, Verdict::LikelyAi, None, Some("fpr_1e-2"));
    check(0.6, BOTH, Verdict::NoEvidence, None, Some("fpr_1e-1"));
}

#[test]
fn the_gate_can_send_on_positives_for_corroboration() {
    let mut bundle = sample::manifest();
    bundle.gate.positives_from = Some(1.5);
    let decision = decided(&bundle, &loud(&[5.0; 2]), SCREEN);
    assert_eq!(decision.reason, Some(InconclusiveReason::ResidualNotRun));
    assert!(decision.escalate);
    let both = decided(&bundle, &loud(&[5.0; 2]), BOTH);
    assert_eq!((both.verdict, both.escalate), (Verdict::LikelyAi, true));
}

#[test]
fn between_two_thresholds_nothing_is_said() {
    let mut bundle = sample::manifest();
    bundle.gate.unsure = None;
    bundle.verdicts.no_evidence_below = Some(1.2);
    let reason = |score: f32| decided(&bundle, &loud(&[score; 2]), SCREEN).reason;
    assert_eq!(reason(1.1), None);
    assert_eq!(reason(1.2), Some(InconclusiveReason::BetweenThresholds));
    assert_eq!(reason(2.1), None);
}

#[test]
fn a_demonstration_bundle_says_nothing_unless_it_is_accepted() {
    let bundle = Manifest {
        purpose: Purpose::Demonstration,
        ..sample::manifest()
    };
    for score in [-3.0, 0.0, 5.0] {
        let withheld = decided(&bundle, &loud(&[score; 2]), SCREEN);
        assert_eq!(
            withheld.reason,
            Some(InconclusiveReason::DemonstrationBundle),
            "{score}"
        );
        assert_eq!(withheld.verdict, Verdict::Inconclusive);
        assert!(withheld.score.is_some(), "the score is still shown");
        let given = decided(&bundle, &loud(&[score; 2]), ACCEPTED);
        assert_eq!(
            given.verdict,
            decided(&sample::manifest(), &loud(&[score; 2]), SCREEN).verdict
        );
    }
}

#[test]
fn what_was_not_heard_is_not_judged() {
    let quiet = |logit| TrackWindow {
        logit,
        rms_db: -90.0,
    };
    let check = |windows: &[TrackWindow], reason, warning: Option<Warning>, scored: bool| {
        let decision = decided(&sample::manifest(), windows, SCREEN);
        assert_eq!(
            (decision.verdict, decision.reason),
            (Verdict::Inconclusive, Some(reason))
        );
        assert_eq!(decision.warnings, warning.into_iter().collect::<Vec<_>>());
        assert_eq!(decision.score.is_some(), scored);
        assert!(!decision.escalate);
    };
    check(
        &[],
        InconclusiveReason::TooShort,
        Some(Warning::ShorterThanWindow),
        false,
    );
    check(
        &[quiet(9.0); 4],
        InconclusiveReason::Silent,
        Some(Warning::Silent),
        false,
    );
    check(&loud(&[9.0]), InconclusiveReason::TooShort, None, true);
    let one_of_three = [loud(&[9.0]), vec![quiet(9.0); 2]].concat();
    check(&one_of_three, InconclusiveReason::Silent, None, true);
}

#[test]
fn silent_windows_do_not_move_the_score() {
    let quiet = TrackWindow {
        logit: -50.0,
        rms_db: f32::NEG_INFINITY,
    };
    let with = [loud(&[3.0, 3.0]), vec![quiet; 10]].concat();
    let score = decided(&sample::manifest(), &with, SCREEN).score.unwrap();
    assert_eq!((score.logit, score.windows), (3.0, 2));
}

#[test]
fn a_score_that_is_not_finite_is_a_code_and_no_verdict() {
    let decision = decided(&sample::manifest(), &loud(&[3.0, f32::NAN]), SCREEN);
    assert_eq!(
        (decision.verdict, decision.code),
        (Verdict::Unscannable, Some(Code::ScoreNotFinite))
    );
    let silent = TrackWindow {
        logit: f32::INFINITY,
        rms_db: -20.0,
    };
    assert_eq!(
        decided(&sample::manifest(), &[silent; 2], SCREEN).verdict,
        Verdict::Unscannable
    );
}

#[test]
fn a_probability_is_platt_s_and_carries_its_prior() {
    let score = decided(&sample::manifest(), &loud(&[1.0, 2.0]), SCREEN)
        .score
        .unwrap();
    let expected = 1.0 / (1.0 + (-(1.5f64 * 1.5 - 0.5)).exp());
    assert!((f64::from(score.probability) - expected).abs() < 1e-6);
    assert_eq!(score.prior, 0.5);
    let calibration = sample::manifest().screen.calibration;
    assert!((calibration.score_of(calibration.probability(0.7)) - 0.7).abs() < 1e-9);
}

#[test]
fn a_score_within_epsilon_of_an_edge_is_borderline() {
    let mut bundle = sample::manifest();
    bundle.verdicts.no_evidence_below = Some(1.5);
    let check = |score: f32, dtype: Dtype, expected: Option<Edge>| {
        let windows = loud(&[score; 2]);
        let decision = decide(
            &bundle,
            &Evidence {
                windows: &windows,
                dtype,
            },
            SCREEN,
        );
        assert_eq!(decision.borderline, expected, "{score} in {dtype:?}");
    };
    check(2.0005, Dtype::F32, Some(Edge::LikelyAi));
    check(1.9995, Dtype::F32, Some(Edge::LikelyAi));
    check(1.998, Dtype::F32, None);
    check(1.998, Dtype::Bf16, Some(Edge::LikelyAi));
    check(1.5, Dtype::F32, Some(Edge::NoEvidence));
    check(-1.0005, Dtype::F32, Some(Edge::Gate));
    check(0.9995, Dtype::F32, Some(Edge::Gate));
    check(0.5, Dtype::F32, None);
    check(-9.0, Dtype::F16, Some(Edge::Gate));
}

#[test]
fn the_median_is_the_middle_or_the_mean_of_the_two_middle_ones() {
    let mut bundle = sample::manifest();
    bundle.screen.aggregate = Aggregate::Median;
    let score = |logits: &[f32]| decided(&bundle, &loud(logits), SCREEN).score.unwrap().logit;
    assert_eq!(score(&[9.0, 1.0, 2.0]), 2.0);
    assert_eq!(score(&[9.0, 1.0, 2.0, 4.0]), 3.0);
}

proptest! {
    #[test]
    fn only_borderline_rows_can_differ_when_every_window_moves_by_less_than_epsilon(
        logits in prop::collection::vec(-4.0f32..4.0, 2..20),
        moves in prop::collection::vec(-0.0009f32..0.0009, 20),
        median in any::<bool>(),
    ) {
        let mut bundle = sample::manifest();
        bundle.screen.aggregate = if median { Aggregate::Median } else { Aggregate::Mean };
        let moved: Vec<f32> = logits.iter().zip(&moves).map(|(logit, by)| logit + by).collect();
        let (a, b) = (decided(&bundle, &loud(&logits), SCREEN), decided(&bundle, &loud(&moved), SCREEN));
        if a.borderline.is_none() {
            prop_assert_eq!((a.verdict, a.reason, a.escalate), (b.verdict, b.reason, b.escalate));
        }
    }
}
