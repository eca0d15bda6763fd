//! The recipe: what is trained, on what view of the sound, for how long. Plain data; a JSON file may replace the default.

use bundle::{
    Aggregate, Architecture, CnnV1, LevelRule, MelNorm, Picture, Pooling, Preprocessing,
    WindowFeature, Windows,
};
use serde::{Deserialize, Serialize};

/// Everything that decides what training does, besides the labelled data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The bundle's name.
    pub name: String,
    /// The bundle's version.
    pub version: u64,
    /// From PCM to what the network sees.
    pub preprocessing: Preprocessing,
    /// How tracks are cut.
    pub windows: Windows,
    /// The network.
    pub architecture: Architecture,
    /// Which windows are heard.
    pub level: LevelRule,
    /// From window logits to the track score.
    pub aggregate: Aggregate,
    /// Values kept as the feature vector.
    pub features: Vec<WindowFeature>,
    /// Whether the bundle gives each track an embedding: the network's pooled vector, as wide as the architecture says, for policies
    /// that ask for it. Absent means no.
    #[serde(default, skip_serializing_if = "is_no")]
    pub embedding: bool,
    /// Scale of thumbnails.
    pub picture: Picture,
    /// How weights are fitted.
    pub fitting: Fitting,
}

/// How weights are fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fitting {
    /// Seed of the start, of the order of pieces, of crops and dropout.
    pub seed: u64,
    /// Passes over the pieces.
    pub epochs: u32,
    /// Pieces in a step: of each, one version per class.
    pub pieces_per_step: u32,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Decay of weights per step, as a share of the learning rate.
    pub weight_decay: f64,
}

impl Default for Recipe {
    /// The demonstration bundle's.
    fn default() -> Self {
        Self {
            name: "demo".to_owned(),
            version: 3,
            preprocessing: Preprocessing {
                rate_hz: 44_100,
                n_fft: 2_048,
                hop: 512,
                mels: 128,
                low_hz: 30.0,
                // The lowest edge among the codecs at the bitrates used: LAME cuts at 15.1 kHz for 96 kbps.
                high_hz: 14_500.0,
                floor: 1e-8,
                shift: -2.0,
                gain: 0.5,
                norm: MelNorm::WindowMean,
            },
            // 1.5 s: the traces are everywhere, and a fine timeline shows where they are not.
            windows: Windows {
                frames: 128,
                stride: 128,
            },
            architecture: Architecture::CnnV1(CnnV1 {
                channels: vec![8, 16, 32, 64, 64],
                pooling: Pooling::MeanMax,
                hidden: 64,
                dropout: 0.2,
            }),
            level: LevelRule {
                silent_below_db: -70.0,
                least_windows: 1,
            },
            aggregate: Aggregate::Mean,
            features: vec![
                WindowFeature::LevelDb,
                WindowFeature::FlatnessDb,
                WindowFeature::Centroid,
                WindowFeature::FluxDb,
            ],
            embedding: false,
            picture: Picture {
                rows: 32,
                columns: 16,
                low_db: -80.0,
                high_db: 20.0,
            },
            fitting: Fitting {
                seed: 1,
                epochs: 40,
                pieces_per_step: 16,
                learning_rate: 2e-3,
                weight_decay: 1e-2,
            },
        }
    }
}

/// So that a recipe without an embedding reads as before there were any.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
fn is_no(choice: &bool) -> bool {
    !*choice
}

impl Recipe {
    /// The recipe as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a recipe has no map keys that JSON cannot hold")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_survives_its_json_and_an_unknown_field_is_refused() {
        let recipe = Recipe::default();
        assert_eq!(
            serde_json::from_str::<Recipe>(&recipe.to_json()).unwrap(),
            recipe
        );
        let more = recipe.to_json().replacen('{', "{\"epoch\": 3,", 1);
        assert!(serde_json::from_str::<Recipe>(&more).is_err());
    }

    #[test]
    fn an_embedding_is_asked_for_by_a_field_that_is_absent_otherwise() {
        let plain = Recipe::default();
        assert!(!plain.to_json().contains("embedding"));
        let asked = plain.to_json().replacen('{', "{\"embedding\": true,", 1);
        let asked: Recipe = serde_json::from_str(&asked).unwrap();
        assert_eq!(
            asked,
            Recipe {
                embedding: true,
                ..plain
            }
        );
    }
}
