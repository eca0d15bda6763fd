//! The tensors of a separator's network by name and shape: what its weights hold, no less and no more. Asked of a bundle before
//! anything as large as the weights is built, by whoever registers one or loads one to serve. Pure.
//!
//! `models` makes its parameters under the same names; a test there holds the two lists against each other.

use super::{Config, Order, Positions};
use std::collections::BTreeMap;

/// Shapes by name.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// Width of the dilated convolutions of a residual branch.
const DCONV_KERNEL: i64 = 3;

/// Why weights are not those of a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The network has a place that the file has no tensor for.
    #[error("the weights have no tensor `{0}`")]
    Missing(String),
    /// The file has a tensor that the network has no place for.
    #[error("the weights have a tensor `{0}` that the network does not know")]
    Unexpected(String),
    /// Same name, other shape.
    #[error("tensor `{name}` has shape {found:?}; the network needs {needed:?}")]
    Shape {
        /// Its name.
        name: String,
        /// In the file.
        found: Vec<usize>,
        /// In the network.
        needed: Vec<usize>,
    },
}

/// Whether these are the tensors of a network.
///
/// # Errors
/// [`Misfit`], of the first tensor by name: one too many before one that lacks or has another shape.
pub(super) fn check(config: &Config, found: &Shapes) -> Result<(), Misfit> {
    compare(of(config), found)
}

/// The same of any network, by the tensors that it needs.
///
/// # Errors
/// As [`check`].
pub(crate) fn compare(needed: Shapes, found: &Shapes) -> Result<(), Misfit> {
    let extra = found.keys().find(|name| !needed.contains_key(*name));
    if let Some(name) = extra {
        return Err(Misfit::Unexpected(name.clone()));
    }
    needed
        .into_iter()
        .try_for_each(|(name, needed)| match found.get(&name) {
            None => Err(Misfit::Missing(name)),
            Some(found) if *found == needed => Ok(()),
            Some(found) => Err(Misfit::Shape {
                name,
                found: found.clone(),
                needed,
            }),
        })
}

/// The tensors of a network.
pub(super) fn of(config: &Config) -> Shapes {
    let mut list = List(Shapes::new());
    for branch in [Branch::of_maps(config), Branch::of_lines(config)] {
        for layer in 0..config.depth {
            list.encoder(config, &branch, layer);
            list.decoder(config, &branch, layer);
        }
    }
    if config.frequency_embedding.is_some() {
        let shape = [config.frequencies(1), config.channels];
        list.put("freq_emb.embedding.weight", &shape);
    }
    if config.bottom_channels.is_some() {
        list.bottom(config);
    }
    list.transformer(config);
    list.0
}

/// One of the two branches of layers.
struct Branch {
    prefix: &'static str,
    /// Channels of its input.
    input: i64,
    /// Its convolutions go over frequencies and frames rather than over places.
    over_maps: bool,
}

impl Branch {
    fn of_maps(config: &Config) -> Self {
        Self {
            prefix: "",
            input: config.spectrum_channels(),
            over_maps: true,
        }
    }

    fn of_lines(config: &Config) -> Self {
        Self {
            prefix: "t",
            input: config.audio_channels,
            over_maps: false,
        }
    }

    /// A convolution's weight that strides along the branch's axis.
    fn along(&self, ends: [i64; 2], kernel: i64) -> Vec<i64> {
        match self.over_maps {
            true => vec![ends[0], ends[1], kernel, 1],
            false => vec![ends[0], ends[1], kernel],
        }
    }

    /// One that sees so many neighbours on each side in every direction.
    fn around(&self, ends: [i64; 2], context: i64) -> Vec<i64> {
        let size = 1 + 2 * context;
        match self.over_maps {
            true => vec![ends[0], ends[1], size, size],
            false => vec![ends[0], ends[1], size],
        }
    }
}

struct List(Shapes);

impl List {
    fn put(&mut self, name: &str, shape: &[i64]) {
        // A shape of a checked configuration has no size below one.
        let sizes = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0));
        self.0.insert(name.to_owned(), sizes.collect());
    }

    /// A weight, and a bias for each channel of what comes out.
    fn pair(&mut self, name: &str, weight: &[i64], bias: i64) {
        self.put(&format!("{name}.weight"), weight);
        self.put(&format!("{name}.bias"), &[bias]);
    }

    fn linear(&mut self, name: &str, from: i64, to: i64) {
        self.pair(name, &[to, from], to);
    }

    fn norm(&mut self, name: &str, channels: i64) {
        self.pair(name, &[channels], channels);
    }

    fn norm_if(&mut self, wanted: bool, name: &str, channels: i64) {
        if wanted {
            self.norm(name, channels);
        }
    }

    fn encoder(&mut self, config: &Config, branch: &Branch, layer: usize) {
        let path = format!("{}encoder.{layer}", branch.prefix);
        let (inner, norms) = (config.width(layer), config.has_norm(layer));
        let outer = outer(config, layer, branch.input);
        let conv = branch.along([inner, outer], config.kernel);
        self.pair(&format!("{path}.conv"), &conv, inner);
        self.norm_if(norms, &format!("{path}.norm1"), inner);
        if config.dconv.encoders {
            self.dconv(config, &path, inner);
        }
        if config.rewrite {
            let gated = branch.around([2 * inner, inner], config.context_encoder);
            self.pair(&format!("{path}.rewrite"), &gated, 2 * inner);
            self.norm_if(norms, &format!("{path}.norm2"), 2 * inner);
        }
    }

    /// Decoders are named in the order in which they work, from the innermost layer on.
    fn decoder(&mut self, config: &Config, branch: &Branch, layer: usize) {
        let path = format!("{}decoder.{}", branch.prefix, config.depth - 1 - layer);
        let (inner, norms) = (config.width(layer), config.has_norm(layer));
        let outer = outer(config, layer, config.stems() * branch.input);
        if config.rewrite {
            let gated = branch.around([2 * inner, inner], config.context_decoder);
            self.pair(&format!("{path}.rewrite"), &gated, 2 * inner);
            self.norm_if(norms, &format!("{path}.norm1"), 2 * inner);
        }
        if config.dconv.decoders {
            self.dconv(config, &path, inner);
        }
        let conv = branch.along([inner, outer], config.kernel);
        self.pair(&format!("{path}.conv_tr"), &conv, outer);
        self.norm_if(norms, &format!("{path}.norm2"), outer);
    }

    /// Places 2 and 5 of a step are an activation and a gate, without tensors.
    fn dconv(&mut self, config: &Config, path: &str, channels: i64) {
        let hidden = (channels as f64 / config.dconv.compress) as i64;
        for step in 0..config.dconv.depth {
            let path = format!("{path}.dconv.layers.{step}");
            let narrow = [hidden, channels, DCONV_KERNEL];
            self.pair(&format!("{path}.0"), &narrow, hidden);
            self.norm(&format!("{path}.1"), hidden);
            let widen = [2 * channels, hidden, 1];
            self.pair(&format!("{path}.3"), &widen, 2 * channels);
            self.norm(&format!("{path}.4"), 2 * channels);
            self.put(&format!("{path}.6.scale"), &[channels]);
        }
    }

    /// Between each branch and a transformer of another width.
    fn bottom(&mut self, config: &Config) {
        let width = config.transformer_width();
        let last = config.width(config.depth - 1);
        for suffix in ["", "_t"] {
            let up = format!("channel_upsampler{suffix}");
            self.pair(&up, &[width, last, 1], width);
            let down = format!("channel_downsampler{suffix}");
            self.pair(&down, &[last, width, 1], last);
        }
    }

    fn transformer(&mut self, config: &Config) {
        let width = config.transformer_width();
        let transformer = &config.transformer;
        if let Positions::Stored(stored) = transformer.positions {
            let name = "crosstransformer.position_embeddings.embedding.weight";
            self.put(name, &[stored, width]);
        }
        for suffix in ["", "_t"] {
            let norm_in = format!("crosstransformer.norm_in{suffix}");
            self.norm_if(transformer.norm_in.is_some(), &norm_in, width);
            for layer in 0..transformer.layers {
                let path = format!("crosstransformer.layers{suffix}.{layer}");
                // Layers look within their branch and across in turn.
                let across = layer % 2 != usize::from(transformer.cross_first);
                self.attention(config, &path, across);
                self.feed_forward(config, &path, across);
            }
        }
    }

    /// The three matrices of query, key and value lie in one tensor.
    fn attention(&mut self, config: &Config, path: &str, across: bool) {
        let width = config.transformer_width();
        let name = if across { "cross_attn" } else { "self_attn" };
        self.put(
            &format!("{path}.{name}.in_proj_weight"),
            &[3 * width, width],
        );
        self.put(&format!("{path}.{name}.in_proj_bias"), &[3 * width]);
        self.linear(&format!("{path}.{name}.out_proj"), width, width);
    }

    fn feed_forward(&mut self, config: &Config, path: &str, across: bool) {
        let (width, transformer) = (config.transformer_width(), &config.transformer);
        let hidden = (width as f64 * transformer.hidden_scale) as i64;
        self.linear(&format!("{path}.linear1"), width, hidden);
        self.linear(&format!("{path}.linear2"), hidden, width);
        self.norm(&format!("{path}.norm1"), width);
        self.norm(&format!("{path}.norm2"), width);
        self.norm_if(across, &format!("{path}.norm3"), width);
        let norm_out = transformer.order == Order::First { norm_out: true };
        self.norm_if(norm_out, &format!("{path}.norm_out"), width);
        if transformer.layer_scale {
            self.put(&format!("{path}.gamma_1.scale"), &[width]);
            self.put(&format!("{path}.gamma_2.scale"), &[width]);
        }
    }
}

/// Channels of a layer on the side away from the transformer.
fn outer(config: &Config, layer: usize, outermost: i64) -> i64 {
    layer
        .checked_sub(1)
        .map_or(outermost, |below| config.width(below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn weights_that_lack_have_too_much_or_another_shape_are_told_by_name() {
        let config = sample::separator();
        let sound = of(&config);
        assert_eq!(check(&config, &sound), Ok(()));
        let changed = |change: &dyn Fn(&mut Shapes)| {
            let mut shapes = sound.clone();
            change(&mut shapes);
            check(&config, &shapes)
        };
        let name = || "encoder.0.conv.weight".to_owned();
        assert_eq!(
            changed(&|shapes| drop(shapes.remove(&name()))),
            Err(Misfit::Missing(name()))
        );
        assert_eq!(
            changed(&|shapes| drop(shapes.insert("more".to_owned(), vec![1]))),
            Err(Misfit::Unexpected("more".to_owned()))
        );
        assert_eq!(
            changed(&|shapes| drop(shapes.insert(name(), vec![8, 4, 8]))),
            Err(Misfit::Shape {
                name: name(),
                found: vec![8, 4, 8],
                needed: vec![8, 4, 8, 1],
            })
        );
        assert_eq!(
            changed(&|shapes| shapes.clear()),
            Err(Misfit::Missing("channel_downsampler.bias".to_owned()))
        );
    }
}
