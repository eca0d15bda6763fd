//! A small bundle for tests of whatever opens, carries or decides by bundles: sound in every rule, with weights that are
//! all zero, so that every logit is zero and no verdict means anything. No shipped process calls this.

use crate::manifest::{
    Aggregate, Architecture, Band, Calibration, Canary, CanaryScore, CnnV1, Epsilon, FORMAT, Gate,
    LevelRule, Manifest, MelNorm, Picture, Pooling, Preprocessing, Screen, Tier, Verdicts,
    WindowFeature, Windows,
};
use crate::{Clip, Contents, SecretKey, TensorData, Tensors};
use types::Purpose;

/// The key that tests sign with.
#[must_use]
pub fn key() -> SecretKey {
    SecretKey::from_seed(&[42; 32])
}

/// The sample's manifest: 16 kHz, windows of 32 frames of 256 samples, about half a second each.
#[must_use]
pub fn manifest() -> Manifest {
    Manifest {
        format: FORMAT,
        name: "sample".to_owned(),
        version: 3,
        purpose: Purpose::Production,
        screen: screen(),
        residual: None,
        gate: Gate {
            unsure: Some(Band {
                low: -1.0,
                high: 1.0,
            }),
            positives_from: None,
        },
        verdicts: verdicts(),
        epsilon: Epsilon {
            f32: 1e-3,
            tf32: None,
            bf16: Some(0.05),
            f16: None,
        },
        picture: Picture {
            rows: 8,
            columns: 4,
            low_db: -80.0,
            high_db: 20.0,
        },
        canary: Canary {
            clip: "canary.s16".to_owned(),
            scores: vec![CanaryScore { logit: 0.0 }; 2],
        },
        model_card: "model-card.md".to_owned(),
        files: Vec::new(),
    }
}

fn screen() -> Screen {
    Screen {
        architecture: Architecture::CnnV1(CnnV1 {
            channels: vec![2, 3],
            pooling: Pooling::MeanMax,
            hidden: 4,
            dropout: 0.1,
        }),
        weights: "screen.safetensors".to_owned(),
        preprocessing: Preprocessing {
            rate_hz: 16_000,
            n_fft: 512,
            hop: 256,
            mels: 16,
            low_hz: 100.0,
            high_hz: 7_000.0,
            floor: 1e-8,
            shift: -4.0,
            gain: 0.25,
            norm: MelNorm::None,
        },
        windows: Windows {
            frames: 32,
            stride: 32,
        },
        level: LevelRule {
            silent_below_db: -70.0,
            least_windows: 2,
        },
        aggregate: Aggregate::Mean,
        calibration: Calibration {
            slope: 1.5,
            intercept: -0.5,
            prior: 0.5,
        },
        features: vec![WindowFeature::LevelDb, WindowFeature::FluxDb],
        embedding: None,
    }
}

fn verdicts() -> Verdicts {
    let tier = |name: &str, score: f64, false_positives: u64, fpr_bound_95: f64| Tier {
        name: name.to_owned(),
        score,
        humans: 1_000,
        false_positives,
        fpr_bound_95,
    };
    Verdicts {
        tiers: vec![
            tier("fpr_1e-1", 0.5, 100, 0.117),
            tier("fpr_1e-2", 2.0, 10, 0.017),
        ],
        likely_ai_tier: "fpr_1e-2".to_owned(),
        no_evidence_below: None,
    }
}

/// The sample's files: zero weights of its architecture's shapes, a quiet tone of two windows, a model card.
#[must_use]
pub fn contents() -> Contents {
    let tone = |at: usize| 0.1 * (at as f32 * 0.1).sin();
    let clip: Vec<f32> = (0..63 * 256).map(tone).collect();
    Contents::from([
        ("canary.s16".to_owned(), Clip::bytes_of(&clip)),
        (
            "model-card.md".to_owned(),
            b"# Sample\n\nAll weights are zero.\n".to_vec(),
        ),
        ("screen.safetensors".to_owned(), weights().to_bytes()),
    ])
}

fn weights() -> Tensors {
    let shapes: [(&str, &[usize]); 14] = [
        ("blocks.0.conv.weight", &[2, 1, 3, 3]),
        ("blocks.0.norm.bias", &[2]),
        ("blocks.0.norm.running_mean", &[2]),
        ("blocks.0.norm.running_var", &[2]),
        ("blocks.0.norm.weight", &[2]),
        ("blocks.1.conv.weight", &[3, 2, 3, 3]),
        ("blocks.1.norm.bias", &[3]),
        ("blocks.1.norm.running_mean", &[3]),
        ("blocks.1.norm.running_var", &[3]),
        ("blocks.1.norm.weight", &[3]),
        ("head.bias", &[1]),
        ("head.weight", &[1, 4]),
        ("hidden.bias", &[4]),
        ("hidden.weight", &[4, 6]),
    ];
    let zeros = |(name, shape): (&str, &[usize])| TensorData {
        name: name.to_owned(),
        shape: shape.to_vec(),
        values: vec![0.0; shape.iter().product()],
    };
    Tensors(shapes.into_iter().map(zeros).collect())
}
