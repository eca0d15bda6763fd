//! The recipe of a separator: which network, on how much of the generator's music, for how many steps. Plain data; a JSON file may replace
//! the default, which is the demonstration bundle's.

use bundle::separator::{
    Activation, Config, DConvConfig, FrequencyEmbedding, NormKind, Order, Positions,
    TransformerConfig,
};
use bundle::{Overlap, Segments};
use corpus::RATE_HZ;
use corpus::stems::STEMS;
use serde::{Deserialize, Serialize};

use super::{SeparatorError, start};

/// Most pieces: half a day of composing, and a terabyte of stems at the longest.
const PIECES_MAX: u32 = 100_000;
/// Longest piece in seconds: a minute of four stereo stems is 42 MB in the cache.
const SECONDS_MAX: f32 = 60.0;
/// Most that an error of the sum may weigh: beyond, stems hardly count.
const WEIGHT_MAX: f64 = 100.0;
/// Most segments of a step: each takes hundreds of megabytes while gradients are kept.
const BATCH_MAX: u32 = 64;

/// Everything that decides what the training of a separator does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeparatorRecipe {
    /// The network. Its stems are the generator's, at the generator's rate.
    pub architecture: Config,
    /// Which segments of a track the bundle will separate.
    pub segments: Segments,
    /// How they lie over each other.
    pub overlap: Overlap,
    /// How weights are fitted.
    pub fitting: SeparatorFitting,
}

/// How weights are fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeparatorFitting {
    /// Seed of the pieces, of the start and of every draw.
    pub seed: u64,
    /// Whether the network starts by giving the mix back, an equal share in each stem, instead of from draws alone.
    pub gives_back: bool,
    /// Pieces to learn from.
    pub pieces: u32,
    /// Length of a piece in seconds.
    pub seconds: f32,
    /// Rounds in all. A checkpoint ends each.
    pub rounds: u32,
    /// Steps of a round.
    pub steps_per_round: u32,
    /// Segments of a step.
    pub batch: u32,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Decay of weights per step, as a share of the learning rate.
    pub weight_decay: f64,
    /// Share of the running mean that each step leaves of what it was, once it has settled.
    pub average: f64,
    /// Chance that each stem of a segment comes from a piece of its own.
    pub remix: f32,
    /// Chance that noise lies over the mix, which belongs to no stem: separators that never heard any put it into the stems.
    pub noise: f32,
    /// Chance that the error of a neural decoder lies over the mix, and in no stem: what a generator leaves is to end in the residual. Only
    /// decoders that training may meet; the one that is held out stays unheard.
    pub error: f32,
    /// Weight of the error of the stems' sum beside that of the stems: what separates badly shall at least not be lost.
    pub sum: f64,
    /// Weight of the error of the residual's compressed spectrum: magnitudes alone, since what a generator left can be found but not foretold
    /// to the sample.
    pub residual: f64,
    /// Chance that a segment is one of a labelled piece of the split `train`, as composed or as a positive, through its codec. Its stems are
    /// not known, only what is to be left.
    pub labelled: f32,
}

impl Default for SeparatorRecipe {
    fn default() -> Self {
        Self {
            architecture: architecture(),
            // Two of 3 s say nearly as much of a track as all of them, and cost a second of one core.
            segments: Segments::Spread { count: 2 },
            overlap: Overlap::default(),
            fitting: SeparatorFitting {
                seed: 1,
                gives_back: true,
                pieces: 160,
                seconds: 8.0,
                rounds: 60,
                steps_per_round: 20,
                batch: 3,
                learning_rate: 2e-3,
                weight_decay: 1e-2,
                average: 0.995,
                remix: 0.5,
                noise: 0.0,
                error: 0.5,
                sum: 1.0,
                residual: 16.0,
                labelled: 0.6,
            },
        }
    }
}

/// The published architecture made small: a quarter of its channels, one channel of sound, a shorter segment, two layers of transformer. The
/// error of a neural decoder lies in the middle of the stereo picture, so one channel is heard.
fn architecture() -> Config {
    Config {
        sources: STEMS.map(str::to_owned).to_vec(),
        audio_channels: 1,
        rate_hz: i64::from(RATE_HZ),
        segment: 3 * i64::from(RATE_HZ),
        nfft: 4_096,
        depth: 4,
        channels: 12,
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
            decoders: false,
            depth: 2,
            dilate: true,
            compress: 4.0,
        },
        bottom_channels: Some(48),
        transformer: TransformerConfig {
            layers: 2,
            cross_first: false,
            heads: 4,
            hidden_scale: 2.0,
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

impl SeparatorRecipe {
    /// The recipe as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a recipe has no map keys that JSON cannot hold")
    }

    /// Whether it can be followed.
    ///
    /// # Errors
    /// [`SeparatorError::Unfit`] or [`SeparatorError::Recipe`] with the first rule that is broken.
    pub fn check(&self) -> Result<(), SeparatorError> {
        let (net, fitting) = (&self.architecture, &self.fitting);
        net.check()?;
        let frames = (fitting.seconds * RATE_HZ as f32) as i64;
        let chance = |share: f32| (0.0..=1.0).contains(&share);
        let rules: [(bool, &'static str, &'static str); 13] = [
            (
                net.sources == STEMS,
                "architecture.sources",
                "are drums, bass, other, vocals",
            ),
            (
                net.rate_hz == i64::from(RATE_HZ),
                "architecture.rate_hz",
                "is 44100",
            ),
            (
                (1..=2).contains(&net.audio_channels),
                "architecture.audio_channels",
                "are 1 or 2",
            ),
            (
                (1..=PIECES_MAX).contains(&fitting.pieces),
                "fitting.pieces",
                "are 1 to 100000",
            ),
            (
                fitting.seconds <= SECONDS_MAX && frames >= net.segment,
                "fitting.seconds",
                "are at most 60, and at least a segment",
            ),
            (fitting.rounds >= 1, "fitting.rounds", "are at least 1"),
            (
                fitting.steps_per_round >= 1,
                "fitting.steps_per_round",
                "are at least 1",
            ),
            (
                (1..=BATCH_MAX).contains(&fitting.batch),
                "fitting.batch",
                "is 1 to 64",
            ),
            (
                fitting.learning_rate > 0.0 && fitting.learning_rate < 1.0,
                "fitting.learning_rate",
                "lies between 0 and 1",
            ),
            (
                (0.0..1.0).contains(&fitting.weight_decay),
                "fitting.weight_decay",
                "is at least 0 and below 1",
            ),
            (
                (0.0..1.0).contains(&fitting.average),
                "fitting.average",
                "is at least 0 and below 1",
            ),
            (
                [
                    fitting.remix,
                    fitting.noise,
                    fitting.error,
                    fitting.labelled,
                ]
                .into_iter()
                .all(chance),
                "fitting.remix, noise, error and labelled",
                "lie between 0 and 1",
            ),
            (
                [fitting.sum, fitting.residual]
                    .iter()
                    .all(|weight| (0.0..=WEIGHT_MAX).contains(weight)),
                "fitting.sum and residual",
                "are 0 to 100",
            ),
        ];
        let broken = rules.into_iter().find(|(holds, ..)| !holds);
        let broken = broken.map(|(_, field, rule)| (field, rule));
        let hindered = || fitting.gives_back.then(|| start::hindrance(net)).flatten();
        match broken.or_else(|| hindered().map(|rule| ("fitting.gives_back", rule))) {
            Some((field, rule)) => Err(SeparatorError::Recipe { field, rule }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_can_be_followed_and_survives_its_json() {
        let recipe = SeparatorRecipe::default();
        recipe.check().unwrap();
        assert_eq!(
            serde_json::from_str::<SeparatorRecipe>(&recipe.to_json()).unwrap(),
            recipe
        );
        let more = recipe.to_json().replacen('{', "{\"epoch\": 3,", 1);
        assert!(serde_json::from_str::<SeparatorRecipe>(&more).is_err());
    }

    #[test]
    fn what_the_generator_cannot_feed_is_refused_by_its_field() {
        let check = |change: fn(&mut SeparatorRecipe), expected: &str| {
            let mut recipe = SeparatorRecipe::default();
            change(&mut recipe);
            let error = recipe.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(|recipe| recipe.architecture.sources.swap(0, 1), "sources");
        check(|recipe| recipe.architecture.rate_hz = 48_000, "rate_hz");
        check(
            |recipe| recipe.architecture.audio_channels = 3,
            "audio_channels",
        );
        check(|recipe| recipe.architecture.depth = 9, "cannot be built");
        check(|recipe| recipe.fitting.seconds = 2.0, "seconds");
        check(|recipe| recipe.fitting.seconds = f32::NAN, "seconds");
        check(|recipe| recipe.fitting.pieces = 0, "pieces");
        check(|recipe| recipe.fitting.batch = 0, "batch");
        check(|recipe| recipe.fitting.rounds = 0, "rounds");
        check(
            |recipe| recipe.fitting.learning_rate = f64::NAN,
            "learning_rate",
        );
        check(|recipe| recipe.architecture.channels = 4, "gives_back");
        check(|recipe| recipe.fitting.average = 1.0, "average");
        check(|recipe| recipe.fitting.noise = 1.5, "noise");
        check(|recipe| recipe.fitting.error = -0.1, "error");
        check(|recipe| recipe.fitting.sum = f64::NAN, "sum");
        check(|recipe| recipe.fitting.residual = -1.0, "residual");
        check(|recipe| recipe.fitting.labelled = 1.1, "labelled");
    }
}
