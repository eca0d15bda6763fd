//! What an HTDemucs is built from: the arguments of the package's class as plain, checked data, as a manifest states them.
//! Made by `models` from what a checkpoint says about itself, and by whoever reads a manifest; [`Config::check`] holds
//! both to the same [`bounds`]. Nothing here has a default, builds a network or reads a file.
//!
//! Counts are `i64` because libtorch's sizes are; each lies within its bounds, so that no product of them overflows.

pub mod bounds;
mod fit;
pub(crate) mod shapes;

pub use fit::Unfit;
pub use shapes::{Misfit, Shapes};

use serde::{Deserialize, Serialize};

/// An HTDemucs: complex values as channels, no mask, one segment length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names of the stems, in order of the output.
    pub sources: Vec<String>,
    /// Channels of the mix and of each stem.
    pub audio_channels: i64,
    /// Samples per second.
    pub rate_hz: i64,
    /// Samples of the one length that the network takes.
    pub segment: i64,
    /// Samples of a transform; a frame begins every quarter of it.
    pub nfft: i64,
    /// Layers of each encoder and of each decoder.
    pub depth: usize,
    /// Channels after the first layer.
    pub channels: i64,
    /// Factor of channels from layer to layer.
    pub growth: i64,
    /// Width of a convolution along its axis.
    pub kernel: i64,
    /// Step of a convolution along its axis: half of [`Config::kernel`].
    pub stride: i64,
    /// Whether each layer has a gated convolution beside the strided one.
    pub rewrite: bool,
    /// Neighbours on each side that the encoders' gated convolution sees.
    pub context_encoder: i64,
    /// As above, of the decoders.
    pub context_decoder: i64,
    /// The first layer with group norms; layers of decoders count as their encoder's.
    pub norm_starts: usize,
    /// Groups of these norms.
    pub norm_groups: i64,
    /// Weight and scale of the embedding that tells frequencies apart.
    pub frequency_embedding: Option<FrequencyEmbedding>,
    /// The residual branches.
    pub dconv: DConvConfig,
    /// Width of the transformer where it is another than the last layer's.
    pub bottom_channels: Option<i64>,
    /// The transformer between encoders and decoders.
    pub transformer: TransformerConfig,
}

/// What is added to the first layer's output, by frequency.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrequencyEmbedding {
    /// Share of it that is added.
    pub weight: f64,
    /// Factor between the stored tensor and the embedding.
    pub scale: f64,
}

/// Residual branches of dilated convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DConvConfig {
    /// Whether layers of encoders have one.
    pub encoders: bool,
    /// Whether layers of decoders have one.
    pub decoders: bool,
    /// Steps of a branch.
    pub depth: usize,
    /// Whether dilation doubles from step to step.
    pub dilate: bool,
    /// Channels of a layer over channels inside its branch.
    pub compress: f64,
}

/// The transformer of two branches that look at each other in every second layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Layers of each branch.
    pub layers: usize,
    /// Whether the first layer looks at the other branch.
    pub cross_first: bool,
    /// Heads of each attention.
    pub heads: i64,
    /// Width of the feed-forward part over the transformer's.
    pub hidden_scale: f64,
    /// How the time branch knows its places.
    pub positions: Positions,
    /// Longest period of the sines.
    pub max_period: f64,
    /// Factor of both branches' places.
    pub position_weight: f64,
    /// The norm before the first layer.
    pub norm_in: Option<NormKind>,
    /// The norms of each layer.
    pub norm: NormKind,
    /// Where these stand.
    pub order: Order,
    /// Whether what a part adds is scaled by channel.
    pub layer_scale: bool,
    /// Between the two matrices of the feed-forward part.
    pub activation: Activation,
}

/// How the time branch of the transformer knows its places; the frequency branch always has sines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Positions {
    /// Sines and cosines.
    Sines,
    /// A stored embedding of so many places.
    Stored(i64),
}

/// Over what a norm takes mean and variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NormKind {
    /// The channels of each place.
    Layer,
    /// All places and each of so many groups of channels.
    Group(i64),
}

/// Where the norms of a transformer's layer stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Before each part, with or without one more behind the last.
    First {
        /// Whether there is that one.
        norm_out: bool,
    },
    /// Behind each sum.
    Last,
}

/// Between two matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Activation {
    /// With the exact error function.
    Gelu,
    /// Zero below zero.
    Relu,
}

impl Config {
    /// Whether such a network can be built: each value within its bounds, and all of them fitting each other.
    ///
    /// # Errors
    /// [`Unfit`], with the first rule that is broken.
    pub fn check(&self) -> Result<(), Unfit> {
        fit::check(self)
    }

    /// The tensors of such a network.
    #[must_use]
    pub fn shapes(&self) -> Shapes {
        shapes::of(self)
    }

    /// Whether these are the tensors of such a network: each of them, of its shape, and no other.
    ///
    /// # Errors
    /// [`Misfit`], with the first one that is not so.
    pub fn check_shapes(&self, found: &Shapes) -> Result<(), Misfit> {
        shapes::check(self, found)
    }

    /// Samples from one frame of the transform to the next.
    #[must_use]
    pub fn hop(&self) -> i64 {
        self.nfft / 4
    }

    /// Frames of a segment.
    #[must_use]
    pub fn frames(&self) -> i64 {
        ceil_div(self.segment, self.hop())
    }

    /// Channels of a layer's output in the encoders.
    #[must_use]
    pub fn width(&self, layer: usize) -> i64 {
        (0..layer).fold(self.channels, |width, _| width * self.growth)
    }

    /// Channels of the transformer.
    #[must_use]
    pub fn transformer_width(&self) -> i64 {
        self.bottom_channels
            .unwrap_or_else(|| self.width(self.depth - 1))
    }

    /// Frequencies after so many layers.
    #[must_use]
    pub fn frequencies(&self, layers: usize) -> i64 {
        (0..layers).fold(self.nfft / 2, |bins, _| bins / self.stride)
    }

    /// Places of the time branch after so many layers.
    #[must_use]
    pub fn places(&self, layers: usize) -> i64 {
        (0..layers).fold(self.segment, |places, _| ceil_div(places, self.stride))
    }

    /// Channels of the spectrum: two values for each of the mix.
    #[must_use]
    pub fn spectrum_channels(&self) -> i64 {
        2 * self.audio_channels
    }

    /// Whether the strided convolutions of a layer have norms.
    #[must_use]
    pub fn has_norm(&self, layer: usize) -> bool {
        layer >= self.norm_starts
    }

    /// Number of stems.
    #[must_use]
    pub fn stems(&self) -> i64 {
        i64::try_from(self.sources.len()).unwrap_or(i64::MAX)
    }
}

fn ceil_div(value: i64, by: i64) -> i64 {
    (value + by - 1) / by
}
