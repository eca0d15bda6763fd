//! A small bundle for tests of whatever opens, carries or decides by bundles: sound in every rule, with weights that are
//! all zero, so that every logit is zero and no verdict means anything. No shipped process calls this.

use crate::features::{RESIDUAL_V1, RESIDUAL_VERSION};
use crate::manifest::{
    Aggregate, Architecture, Band, Calibration, Canary, CanaryScore, CnnV1, Epsilon, FORMAT,
    FORMAT_RESIDUAL, Fusion, FusionV1, Gate, LevelRule, Manifest, MelNorm, Picture, Pooling,
    Preprocessing, Residual, ResidualCalibration, ResidualCanary, Screen, Segments, Separator,
    Term, Tier, Verdicts, WindowFeature, Windows,
};
use crate::separator::{
    Activation, Config, DConvConfig, FrequencyEmbedding, NormKind, Order, Positions,
    TransformerConfig,
};
use crate::{Clip, Contents, Overlap, SecretKey, TensorData, Tensors};
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

/// The sample with a residual, and its files. The weights are those of no network: whoever builds one refuses them.
#[must_use]
pub fn both() -> (Manifest, Contents) {
    let manifest = Manifest {
        format: FORMAT_RESIDUAL,
        residual: Some(residual()),
        ..manifest()
    };
    let weights = Tensors(vec![TensorData {
        name: "encoder.0.conv.weight".to_owned(),
        shape: vec![2, 3],
        values: vec![0.0; 6],
    }]);
    let mut contents = contents();
    contents.insert("separator.safetensors".to_owned(), weights.to_bytes());
    (manifest, contents)
}

/// Three segments of a track. The residual's score is its `snr_db` a hundredfold; the verdict rests on the sum of both scores.
fn residual() -> Residual {
    let epsilon = Epsilon {
        f32: 1e-6,
        tf32: None,
        bf16: None,
        f16: None,
    };
    Residual {
        architecture: Separator::HtDemucs(separator()),
        weights: "separator.safetensors".to_owned(),
        origin: None,
        epsilon,
        segments: Segments::Spread { count: 3 },
        overlap: Overlap::default(),
        canary: Some(ResidualCanary {
            features: vec![0.0; RESIDUAL_V1.len()],
            epsilon,
        }),
        calibration: Some(ResidualCalibration {
            features: RESIDUAL_VERSION.to_owned(),
            terms: vec![Term {
                feature: "snr_db".to_owned(),
                weight: 1.0,
                mean: 0.0,
                scale: 0.01,
            }],
            probability: screen().calibration,
            fusion: Fusion::V1(FusionV1 {
                screen: 1.0,
                residual: 1.0,
                intercept: 0.0,
                prior: 0.5,
            }),
            verdicts: verdicts(),
            humans: Vec::new(),
        }),
    }
}

/// A small separator's description, sound in every rule.
#[must_use]
pub fn separator() -> Config {
    Config {
        sources: vec!["voice".into(), "rest".into()],
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
        frequency_embedding: Some(FrequencyEmbedding {
            weight: 0.2,
            scale: 10.0,
        }),
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
