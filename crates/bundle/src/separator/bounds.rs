//! Within what each number of a separator lies. One table for the reader of a checkpoint's arguments and for the check of a
//! manifest, so that neither believes what the other refuses. Wide enough for every published network, narrow enough that
//! no product of them overflows and no layer asks for more memory than a machine has.

use std::ops::RangeInclusive;

/// Widest layer; the published ones have 512 channels at most, and a square of this is still few megabytes.
pub const WIDTH_MAX: i64 = 1_024;
/// Most stems; the published ones have six at most.
pub const SOURCES_MAX: usize = 16;
/// Longest name of a stem, bytes: it stands in tables.
pub const SOURCE_BYTES_MAX: usize = 64;
/// Longest segment in seconds; memory grows with it, and the published ones have 7.8.
pub const SEGMENT_SECONDS_MAX: f64 = 60.0;

/// Samples per second, up to the fastest music file that is decoded.
pub const RATE_HZ: RangeInclusive<i64> = 1..=384_000;
/// Channels of the mix, up to those of a file that is decoded.
pub const AUDIO_CHANNELS: RangeInclusive<i64> = 1..=8;
/// Samples of a transform; the published ones have 4,096.
pub const NFFT: RangeInclusive<i64> = 16..=65_536;
/// Layers of an encoder: six of stride 4 leave less than one frequency of the longest transform.
pub const DEPTH: RangeInclusive<i64> = 1..=6;
/// Channels of a layer, groups of channels, heads.
pub const WIDTH: RangeInclusive<i64> = 1..=WIDTH_MAX;
/// As [`WIDTH`], or none.
pub const WIDTH_OR_NONE: RangeInclusive<i64> = 0..=WIDTH_MAX;
/// Factor of channels from layer to layer; the published ones have 2.
pub const GROWTH: RangeInclusive<i64> = 1..=8;
/// Width of a convolution; the published ones have 8.
pub const KERNEL: RangeInclusive<i64> = 2..=64;
/// Step of a convolution; the published ones have 4.
pub const STRIDE: RangeInclusive<i64> = 1..=32;
/// Neighbours that a gated convolution sees; the published ones have 1 at most.
pub const CONTEXT: RangeInclusive<i64> = 0..=8;
/// Share of the frequency embedding; the published ones have 0.2.
pub const EMBEDDING_WEIGHT: RangeInclusive<f64> = 0.0..=1_000.0;
/// Factor between a stored embedding and the used one; the published ones have 10.
pub const EMBEDDING_SCALE: RangeInclusive<f64> = 1e-6..=1e6;
/// Steps of a residual branch; below zero, without dilation. The published ones have 2.
pub const DCONV_DEPTH: RangeInclusive<i64> = -8..=8;
/// Channels of a layer over those inside its branch; the published ones have 8.
pub const DCONV_COMPRESS: RangeInclusive<f64> = 1.0..=1_024.0;
/// Layers of a transformer's branch; the published ones have five.
pub const LAYERS: RangeInclusive<i64> = 1..=24;
/// Width of the feed-forward part over the transformer's; the published ones have 4.
pub const HIDDEN_SCALE: RangeInclusive<f64> = 0.0..=8.0;
/// Stored places; the published ones would have 10,000.
pub const POSITIONS: RangeInclusive<i64> = 1..=1 << 20;
/// Longest period of the sines; the published ones have 10,000.
pub const MAX_PERIOD: RangeInclusive<f64> = 1.0..=1e9;
/// Factor of the places; the published ones have 1.
pub const POSITION_WEIGHT: RangeInclusive<f64> = -1e3..=1e3;
