//! A small separator's description, sound in every rule, for tests of what surrounds one.

use bundle::separator::{
    Activation, Config, DConvConfig, FrequencyEmbedding, NormKind, Order, Positions,
    TransformerConfig,
};

pub(crate) fn config() -> Config {
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
