//! Whether the numbers of a separator lie within their bounds and fit each other: what the package's class would only find
//! out by a shape that does not, or build as another network than the one written here. Called by `Config::check` alone.

use super::bounds::{self, WIDTH_MAX};
use super::{Config, DConvConfig, NormKind, Positions, TransformerConfig};
use std::fmt::Debug;
use std::ops::RangeInclusive;

/// The rule that a separator breaks, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub String);

type Checked = Result<(), Unfit>;

fn require(holds: bool, words: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Unfit(words())) }
}

fn within<T: PartialOrd + Debug>(name: &str, value: T, range: RangeInclusive<T>) -> Checked {
    require(range.contains(&value), || {
        format!("`{name}` is from {:?} to {:?}", range.start(), range.end())
    })
}

/// A count of layers or places in the terms of its bounds; beyond them where it is beyond an `i64`.
fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Whether a configuration can be built.
///
/// # Errors
/// [`Unfit`].
pub(super) fn check(config: &Config) -> Checked {
    check_bounds(config)?;
    check_dconv_bounds(&config.dconv)?;
    check_transformer_bounds(&config.transformer)?;
    check_shape(config)?;
    check_frequencies(config)?;
    check_groups(config)?;
    check_transformer(config)
}

fn check_bounds(config: &Config) -> Checked {
    check_sources(&config.sources)?;
    within("rate_hz", config.rate_hz, bounds::RATE_HZ)?;
    within(
        "audio_channels",
        config.audio_channels,
        bounds::AUDIO_CHANNELS,
    )?;
    let longest = (bounds::SEGMENT_SECONDS_MAX * config.rate_hz as f64) as i64;
    within("segment", config.segment, 1..=longest)?;
    within("nfft", config.nfft, bounds::NFFT)?;
    within("depth", count(config.depth), bounds::DEPTH)?;
    within("channels", config.channels, bounds::WIDTH)?;
    within("growth", config.growth, bounds::GROWTH)?;
    within("kernel", config.kernel, bounds::KERNEL)?;
    within("stride", config.stride, bounds::STRIDE)?;
    within("context_encoder", config.context_encoder, bounds::CONTEXT)?;
    within("context_decoder", config.context_decoder, bounds::CONTEXT)?;
    within(
        "norm_starts",
        count(config.norm_starts),
        bounds::WIDTH_OR_NONE,
    )?;
    within("norm_groups", config.norm_groups, bounds::WIDTH)?;
    if let Some(embedding) = config.frequency_embedding {
        let weight = embedding.weight;
        require(weight > 0.0, || {
            "a frequency embedding has a weight above 0".into()
        })?;
        within(
            "frequency_embedding.weight",
            weight,
            bounds::EMBEDDING_WEIGHT,
        )?;
        within(
            "frequency_embedding.scale",
            embedding.scale,
            bounds::EMBEDDING_SCALE,
        )?;
    }
    let bottom = config.bottom_channels.unwrap_or(1);
    within("bottom_channels", bottom, bounds::WIDTH)
}

fn check_sources(sources: &[String]) -> Checked {
    within(
        "the number of sources",
        sources.len(),
        1..=bounds::SOURCES_MAX,
    )?;
    let sound = |name: &String| {
        (1..=bounds::SOURCE_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control)
    };
    require(sources.iter().all(sound), || {
        format!(
            "names of sources have 1 to {} bytes and no control characters",
            bounds::SOURCE_BYTES_MAX
        )
    })
}

fn check_dconv_bounds(dconv: &DConvConfig) -> Checked {
    let deepest = *bounds::DCONV_DEPTH.end();
    within("dconv.depth", count(dconv.depth), 0..=deepest)?;
    within("dconv.compress", dconv.compress, bounds::DCONV_COMPRESS)
}

fn check_transformer_bounds(transformer: &TransformerConfig) -> Checked {
    within(
        "transformer.layers",
        count(transformer.layers),
        bounds::LAYERS,
    )?;
    within("transformer.heads", transformer.heads, bounds::WIDTH)?;
    let hidden = transformer.hidden_scale;
    within("transformer.hidden_scale", hidden, bounds::HIDDEN_SCALE)?;
    if let Positions::Stored(stored) = transformer.positions {
        within("transformer.positions", stored, bounds::POSITIONS)?;
    }
    let period = transformer.max_period;
    within("transformer.max_period", period, bounds::MAX_PERIOD)?;
    let weight = transformer.position_weight;
    within(
        "transformer.position_weight",
        weight,
        bounds::POSITION_WEIGHT,
    )?;
    let kinds = [Some(transformer.norm), transformer.norm_in];
    for kind in kinds.into_iter().flatten() {
        if let NormKind::Group(groups) = kind {
            within("the groups of a transformer's norm", groups, bounds::WIDTH)?;
        }
    }
    Ok(())
}

fn check_shape(config: &Config) -> Checked {
    let stride_fits = config.kernel == 2 * config.stride && config.kernel % 4 == 0;
    require(stride_fits, || {
        "a kernel is twice its stride, and a multiple of 4".into()
    })?;
    let quartered = config.nfft % 8 == 0;
    require(quartered, || {
        "the transform's length is a multiple of 8".into()
    })?;
    // Reflected samples stand before and behind a segment: at most one hop and a half, and what fills the last frame.
    let long_enough = config.segment > 3 * config.hop();
    require(long_enough, || "a segment is longer than three hops".into())?;
    require(config.width(config.depth - 1) <= WIDTH_MAX, || {
        format!("no layer has more than {WIDTH_MAX} channels")
    })?;
    require(
        config.channels as f64 / config.dconv.compress >= 1.0,
        || "a residual branch has a channel".into(),
    )
}

/// The branches stay apart as long as each layer has more frequencies than its kernel.
fn check_frequencies(config: &Config) -> Checked {
    for layer in 0..config.depth {
        let bins = config.frequencies(layer);
        if bins <= config.kernel || bins % config.stride != 0 {
            return Err(Unfit(format!(
                "layer {layer} has {bins} frequencies, which a kernel of {} does not divide",
                config.kernel
            )));
        }
    }
    Ok(())
}

fn check_groups(config: &Config) -> Checked {
    for layer in config.norm_starts.min(config.depth)..config.depth {
        let below = match layer.checked_sub(1) {
            Some(below) => config.width(below),
            None => config.stems() * config.audio_channels,
        };
        let widths = [config.width(layer), below];
        if widths.iter().any(|width| width % config.norm_groups != 0) {
            return Err(Unfit(format!(
                "the {} groups of layer {layer} do not divide its channels",
                config.norm_groups
            )));
        }
    }
    Ok(())
}

fn check_transformer(config: &Config) -> Checked {
    let transformer = &config.transformer;
    let width = config.transformer_width();
    let conflict = |words: &str| Err(Unfit(words.to_owned()));
    let groups = [Some(transformer.norm), transformer.norm_in];
    let divides = |kind: &NormKind| match kind {
        NormKind::Layer => true,
        NormKind::Group(groups) => width % groups == 0,
    };
    if width % 4 != 0 || width % transformer.heads != 0 {
        return conflict("the transformer's width is a multiple of 4 and of its heads");
    }
    if !groups.iter().flatten().all(divides) {
        return conflict("the transformer's groups divide its width");
    }
    match transformer.positions {
        Positions::Stored(stored) if stored < config.places(config.depth) => {
            conflict("the transformer has a stored place for each of a segment")
        }
        Positions::Stored(_) | Positions::Sines => Ok(()),
    }
}
