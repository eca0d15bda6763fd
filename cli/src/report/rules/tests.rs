//! Bundles for the report's tests, and what the rules of one say.

use super::*;
use bundle::separator::{
    Activation, Config, DConvConfig, NormKind, Order, Positions, TransformerConfig,
};
use bundle::{Epsilon, FusionV1, Overlap, Residual, Segments, Tier, sample};

pub(crate) fn policy() -> Policy {
    Policy {
        accept_demonstration: true,
        ..Policy::default()
    }
}

/// The rules of a manifest that passes its checks.
pub(crate) fn of(manifest: &Manifest, policy: Policy) -> Rules {
    let text = serde_json::to_string(manifest).unwrap();
    Rules::read(&text, Digest::of(text.as_bytes()), policy).unwrap()
}

/// The sample bundle, with the files that its manifest lists.
pub(crate) fn manifest() -> Manifest {
    let mut manifest = sample::manifest();
    manifest.files = sample::contents()
        .iter()
        .map(|(name, bytes)| bundle::FileEntry {
            name: name.clone(),
            bytes: bytes.len() as u64,
            sha256: Digest::of(bytes),
        })
        .collect();
    manifest
}

/// The sample with a separator, a calibration of its residual and what known-human tracks measure.
pub(crate) fn calibrated() -> Manifest {
    let mut manifest = manifest();
    manifest.format = bundle::FORMAT_RESIDUAL;
    manifest.residual = Some(residual());
    let file = bundle::FileEntry {
        name: "separator.safetensors".to_owned(),
        bytes: 1,
        sha256: Digest::of(b"x"),
    };
    manifest.files.push(file);
    manifest.files.sort_by(|a, b| a.name.cmp(&b.name));
    manifest
}

fn residual() -> Residual {
    let epsilon = Epsilon {
        f32: 1e-3,
        tf32: None,
        bf16: None,
        f16: None,
    };
    Residual {
        architecture: Separator::HtDemucs(separator()),
        weights: "separator.safetensors".to_owned(),
        origin: None,
        epsilon,
        segments: Segments::Spread { count: 4 },
        overlap: Overlap::default(),
        canary: None,
        calibration: Some(calibration()),
    }
}

/// Residual score `(snr_db - 20) / 5`; fused score twice that and half the screen's, less one.
fn calibration() -> ResidualCalibration {
    let spread = |feature: &str| Spread {
        feature: feature.to_owned(),
        low: -50.0,
        middle: -45.0,
        high: -41.0,
    };
    let tier = |name: &str, score: f64, false_positives: u64, fpr_bound_95: f64| Tier {
        name: name.to_owned(),
        score,
        humans: 3_000,
        false_positives,
        fpr_bound_95,
    };
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
        fusion: Fusion::V1(FusionV1 {
            screen: 0.5,
            residual: 2.0,
            intercept: -1.0,
            prior: 0.1,
        }),
        verdicts: Verdicts {
            tiers: vec![
                tier("fused_1e-2", 2.0, 30, 0.0135),
                tier("fused_1e-3", 4.0, 0, 0.000_998),
            ],
            likely_ai_tier: "fused_1e-2".to_owned(),
            no_evidence_below: Some(-1.0),
        },
        humans: RESIDUAL_V1[..14]
            .iter()
            .map(|feature| spread(feature.name))
            .collect(),
    }
}

fn separator() -> Config {
    Config {
        sources: vec!["voice".to_owned(), "rest".to_owned()],
        audio_channels: 2,
        rate_hz: 44_100,
        segment: 4_410,
        nfft: 512,
        depth: 2,
        channels: 8,
        growth: 2,
        kernel: 8,
        stride: 4,
        rewrite: true,
        context_encoder: 0,
        context_decoder: 1,
        norm_starts: 4,
        norm_groups: 4,
        frequency_embedding: None,
        dconv: DConvConfig {
            encoders: true,
            decoders: true,
            depth: 2,
            dilate: true,
            compress: 8.0,
        },
        bottom_channels: Some(16),
        transformer: TransformerConfig {
            layers: 2,
            cross_first: false,
            heads: 4,
            hidden_scale: 4.0,
            positions: Positions::Sines,
            max_period: 10_000.0,
            position_weight: 1.0,
            norm_in: Some(NormKind::Layer),
            norm: NormKind::Layer,
            order: Order::First { norm_out: true },
            layer_scale: true,
            activation: Activation::Gelu,
        },
    }
}

#[test]
fn a_manifest_that_is_another_or_is_none_is_refused() {
    let text = serde_json::to_string(&manifest()).unwrap();
    let digest = Digest::of(text.as_bytes());
    assert!(Rules::read(&text, digest, policy()).is_ok());
    let other = Rules::read(&format!("{text} "), digest, policy());
    assert_eq!(other.unwrap_err().code, Code::BundleDigestMismatch);
    for bad in [
        "{}",
        "<html>",
        &text.replace("\"prior\":0.5", "\"prior\":5"),
    ] {
        let refused = Rules::read(bad, Digest::of(bad.as_bytes()), policy());
        assert_eq!(refused.unwrap_err().code, Code::BundleInvalid, "{bad}");
    }
}

#[test]
fn evidence_is_what_a_score_adds_to_the_prior() {
    let rules = of(&manifest(), policy());
    // The sample: slope 1.5, intercept -0.5, prior one half, whose log odds are zero.
    assert!((rules.screen().evidence(2.0) - 2.5).abs() < 1e-12);
    let mut rare = manifest();
    rare.screen.calibration.prior = 0.01;
    let rare = of(&rare, policy());
    assert!(rare.screen().evidence(2.0) > rules.screen().evidence(2.0) + 4.0);
}

#[test]
fn a_window_is_as_long_as_its_frames() {
    assert_eq!(of(&manifest(), policy()).window_ms(), 512);
    assert_eq!(of(&manifest(), policy()).segment_ms(), 0);
}

#[test]
fn a_separated_track_is_judged_by_both_engines_where_the_bundle_calibrates_them() {
    let rules = of(&calibrated(), policy());
    assert_eq!(
        (rules.judge(true).name, rules.judge(false).name),
        ("fusion-v1", "screen")
    );
    assert_eq!(of(&manifest(), policy()).judge(true).name, "screen");
    // A score of such a fusion is log odds at its prior already.
    assert!((rules.judge(true).evidence(0.0) - 9f64.ln()).abs() < 1e-12);
    assert_eq!(rules.segment_ms(), 100);
    let snr = bundle::features::place("snr_db").unwrap();
    assert_eq!(rules.adds(snr, 30.0), Some(2.0));
    assert_eq!(rules.adds(0, 30.0), None);
}
