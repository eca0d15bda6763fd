//! The verdict of a track that was separated: by both engines where the bundle says what a residual means, else by the screen.

use bundle::features::{RESIDUAL_V1, place};
use bundle::{
    Calibration, Edge, Epsilon, FORMAT_RESIDUAL, Fused, Fusion, FusionV1, Manifest, Overlap,
    Residual, ResidualCalibration, ResidualCanary, Rules, Screened, Segments, Separated, Separator,
    Term, Tier, Verdicts, fuse, sample,
};
use types::{Code, Dtype, InconclusiveReason, Purpose, Score, Stages, Verdict};

#[path = "common/separator.rs"]
mod separator;

const RULES: Rules = Rules {
    stages: Stages::Both,
    accept_demonstration: false,
    gate: None,
};

fn epsilon(f32: f64) -> Epsilon {
    Epsilon {
        f32,
        tf32: None,
        bf16: None,
        f16: None,
    }
}

/// Residual score `(snr_db - 20) / 5`; fused score twice that and half the screen's, less one.
fn calibration(fusion: Fusion) -> ResidualCalibration {
    ResidualCalibration {
        features: "residual-v1".to_owned(),
        terms: vec![Term {
            feature: "snr_db".to_owned(),
            weight: 1.0,
            mean: 20.0,
            scale: 5.0,
        }],
        probability: Calibration {
            slope: 2.0,
            intercept: 0.0,
            prior: 0.3,
        },
        fusion,
        verdicts: Verdicts {
            tiers: vec![Tier {
                name: "fused".to_owned(),
                score: 3.0,
                humans: 1_000,
                false_positives: 1,
                fpr_bound_95: 0.005,
            }],
            likely_ai_tier: "fused".to_owned(),
            no_evidence_below: Some(-1.0),
        },
        humans: Vec::new(),
    }
}

fn both() -> Fusion {
    Fusion::V1(FusionV1 {
        screen: 0.5,
        residual: 2.0,
        intercept: -1.0,
        prior: 0.1,
    })
}

fn manifest(calibration: Option<ResidualCalibration>) -> Manifest {
    let residual = Residual {
        architecture: Separator::HtDemucs(separator::config()),
        weights: "separator.safetensors".to_owned(),
        origin: None,
        epsilon: epsilon(1e-4),
        segments: Segments::All,
        overlap: Overlap::default(),
        canary: Some(ResidualCanary {
            features: vec![0.0; RESIDUAL_V1.len()],
            epsilon: epsilon(1e-3),
        }),
        calibration,
    };
    Manifest {
        format: FORMAT_RESIDUAL,
        residual: Some(residual),
        ..sample::manifest()
    }
}

fn fused_in(bundle: &Manifest, screen: f32, snr_db: f32, dtype: Dtype) -> Fused {
    let mut features = [0.0; RESIDUAL_V1.len()];
    features[place("snr_db").expect("it is in the table")] = snr_db;
    let screened = Screened {
        score: Score {
            logit: screen,
            probability: 0.5,
            prior: 0.5,
            windows: 9,
        },
        dtype: Dtype::F32,
    };
    let separated = Separated {
        features: &features,
        segments: 4,
        dtype,
    };
    fuse(bundle, screened, separated, RULES)
}

fn fused(bundle: &Manifest, screen: f32, snr_db: f32) -> Fused {
    fused_in(bundle, screen, snr_db, Dtype::F32)
}

#[test]
fn both_scores_make_the_verdict_and_each_can_turn_it() {
    let bundle = manifest(Some(calibration(both())));
    let check = |screen: f32, snr_db: f32, verdict: Verdict, score: f32| {
        let found = fused(&bundle, screen, snr_db);
        assert_eq!(found.verdict, verdict, "{screen} {snr_db}: {found:?}");
        let judged = found.score.expect("it was judged");
        assert!((judged.logit - score).abs() < 1e-5, "{judged:?}");
        assert_eq!(judged.prior, 0.1);
    };
    check(0.0, 20.0, Verdict::Inconclusive, -1.0);
    check(0.0, 32.0, Verdict::LikelyAi, 3.8);
    check(8.0, 20.0, Verdict::LikelyAi, 3.0);
    check(-1.0, 19.0, Verdict::NoEvidence, -1.9);
}

#[test]
fn the_residual_has_a_probability_of_its_own_at_its_prior() {
    let found = fused(&manifest(Some(calibration(both()))), 0.0, 25.0);
    let own = found.residual.expect("it was separated");
    assert_eq!((own.logit, own.prior, own.windows), (1.0, 0.3, 4));
    assert!((own.probability - 0.880_797).abs() < 1e-5);
    let score = found.score.expect("it was judged");
    assert!((score.probability - 0.731_058_6).abs() < 1e-5);
}

#[test]
fn a_rule_of_the_residual_alone_does_not_hear_the_screen() {
    let bundle = manifest(Some(calibration(Fusion::ResidualAlone)));
    let found = [-9.0, 0.0, 9.0].map(|screen| fused(&bundle, screen, 40.0));
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(found[0].verdict, Verdict::LikelyAi);
    assert_eq!(found[0].tier.as_deref(), Some("fused"));
    assert_eq!(found[0].score, found[0].residual);
}

#[test]
fn without_a_calibration_the_screen_s_verdict_stands() {
    let bundle = manifest(None);
    for (screen, verdict) in [(-3.0, Verdict::NoEvidence), (2.5, Verdict::LikelyAi)] {
        for snr_db in [-10.0, 60.0] {
            let found = fused(&bundle, screen, snr_db);
            assert_eq!((found.verdict, found.residual), (verdict, None));
            assert_eq!(found.score.map(|score| score.logit), Some(screen));
        }
    }
}

#[test]
fn a_score_within_what_devices_may_differ_by_is_borderline() {
    let bundle = manifest(Some(calibration(both())));
    // A thousandth of 100 dB moves the residual's score by 0.02 and the fused one by 0.04.
    let near = fused(&bundle, 0.0, 29.95);
    assert!((near.score.expect("it was judged").logit - 2.98).abs() < 1e-4);
    assert_eq!(near.borderline, Some(Edge::LikelyAi));
    assert_eq!(fused(&bundle, 0.0, 29.5).borderline, None);
    let elsewhere = fused_in(&bundle, 0.0, 29.5, Dtype::Bf16);
    assert!(
        elsewhere.borderline.is_some(),
        "no epsilon for it is stated"
    );
}

#[test]
fn odds_that_are_no_number_are_no_verdict_whatever_the_bundle_is_for() {
    fn with(change: fn(&mut ResidualCalibration)) -> Manifest {
        let mut changed = calibration(both());
        change(&mut changed);
        manifest(Some(changed))
    }
    let bundles = [
        // A score beyond all numbers, one beyond those of single precision, and weights that leave nothing of the odds.
        with(|calibration| calibration.terms[0].weight = f64::MAX),
        with(|calibration| calibration.terms[0].weight = 1e40),
        with(|calibration| {
            calibration.fusion = Fusion::V1(FusionV1 {
                screen: f64::MAX,
                residual: f64::MAX,
                intercept: 0.0,
                prior: 0.1,
            });
        }),
    ];
    for mut bundle in bundles {
        for purpose in [Purpose::Production, Purpose::Demonstration] {
            bundle.purpose = purpose;
            let found = fused(&bundle, -9.0, 60.0);
            assert_eq!(found.verdict, Verdict::Unscannable, "{found:?}");
            assert_eq!(found.code, Some(Code::ScoreNotFinite));
            assert_eq!((found.reason, found.score), (None, None));
        }
    }
}

#[test]
fn odd_features_are_typed_and_demonstrations_say_nothing() {
    let mut bundle = manifest(Some(calibration(both())));
    let odd = fused(&bundle, 0.0, f32::NAN);
    assert_eq!(odd.verdict, Verdict::Unscannable);
    assert_eq!(odd.code, Some(Code::ScoreNotFinite));
    let screened = Screened {
        score: Score {
            logit: 0.0,
            probability: 0.5,
            prior: 0.5,
            windows: 1,
        },
        dtype: Dtype::F32,
    };
    let separated = Separated {
        features: &[0.0; 3],
        segments: 1,
        dtype: Dtype::F32,
    };
    let short = fuse(&bundle, screened, separated, RULES);
    assert_eq!(short.code, Some(Code::Internal));
    bundle.purpose = Purpose::Demonstration;
    let withheld = fused(&bundle, 9.0, 60.0);
    assert_eq!(
        withheld.reason,
        Some(InconclusiveReason::DemonstrationBundle)
    );
    let accepted = Rules {
        accept_demonstration: true,
        ..RULES
    };
    let separated = Separated {
        features: &[0.0; RESIDUAL_V1.len()],
        ..separated
    };
    assert_eq!(fuse(&bundle, screened, separated, accepted).reason, None);
}
