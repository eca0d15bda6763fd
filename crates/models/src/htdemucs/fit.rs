//! Whether arguments that are each within bounds fit each other: what the package's class would only find out by a shape that
//! does not, or build as another network than the one written here. Called by `arguments` alone.

use super::arguments::{ArgumentError, WIDTH_MAX};
use super::config::{Config, NormKind, Positions};

/// Whether a configuration can be built.
///
/// # Errors
/// [`ArgumentError::Conflict`].
pub(super) fn check(config: &Config) -> Result<(), ArgumentError> {
    let conflict = |words: String| Err(ArgumentError::Conflict(words));
    if config.kernel != 2 * config.stride || config.kernel % 4 != 0 {
        return conflict("a kernel is twice its stride, and a multiple of 4".into());
    }
    if config.nfft % 8 != 0 {
        return conflict("the transform's length is a multiple of 8".into());
    }
    // Reflected samples stand before and behind a segment: at most one hop and a half, and what fills the last frame.
    if config.segment <= 3 * config.hop() {
        return conflict("a segment is longer than three hops".into());
    }
    if config.width(config.depth - 1) > WIDTH_MAX {
        return conflict(format!("no layer has more than {WIDTH_MAX} channels"));
    }
    if config.channels as f64 / config.dconv.compress < 1.0 {
        return conflict("a residual branch has a channel".into());
    }
    check_frequencies(config)?;
    check_groups(config)?;
    check_transformer(config)
}

/// The branches stay apart as long as each layer has more frequencies than its kernel.
fn check_frequencies(config: &Config) -> Result<(), ArgumentError> {
    for layer in 0..config.depth {
        let bins = config.frequencies(layer);
        if bins <= config.kernel || bins % config.stride != 0 {
            return Err(ArgumentError::Conflict(format!(
                "layer {layer} has {bins} frequencies, which a kernel of {} does not divide",
                config.kernel
            )));
        }
    }
    Ok(())
}

fn check_groups(config: &Config) -> Result<(), ArgumentError> {
    for layer in config.norm_starts.min(config.depth)..config.depth {
        let below = match layer.checked_sub(1) {
            Some(below) => config.width(below),
            None => config.stems() * config.audio_channels,
        };
        let widths = [config.width(layer), below];
        if widths.iter().any(|width| width % config.norm_groups != 0) {
            return Err(ArgumentError::Conflict(format!(
                "the {} groups of layer {layer} do not divide its channels",
                config.norm_groups
            )));
        }
    }
    Ok(())
}

fn check_transformer(config: &Config) -> Result<(), ArgumentError> {
    let transformer = &config.transformer;
    let width = config.transformer_width();
    let conflict = |words: &str| Err(ArgumentError::Conflict(words.to_owned()));
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
