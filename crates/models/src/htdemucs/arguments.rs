//! From the arguments of a checkpoint, as JSON, to a [`Config`]. Called for checkpoints and by tests.
//!
//! Each is read by name, within bounds; one that is missing, unknown or asks for what is not built here is refused, since
//! a default of another version would change the network without a word. Never runs anything that a file says.

use bundle::separator::{
    Activation, Config, DConvConfig, FrequencyEmbedding, NormKind, Order, Positions,
    TransformerConfig, Unfit, bounds,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Most characters of a value that a refusal repeats.
const SHOWN_MAX: usize = 60;

/// Arguments that say how a network was trained or begins, or concern what is refused below: no output depends on them.
const WITHOUT_EFFECT: [&str; 19] = [
    "wiener_iters",
    "end_iters",
    "wiener_residual",
    "multi_freqs_depth",
    "emb_smooth",
    "time_stride",
    "dconv_init",
    "t_dropout",
    "t_weight_decay",
    "t_lr",
    "t_cape_mean_normalize",
    "t_cape_augment",
    "t_cape_glob_loc_scale",
    "t_mask_type",
    "t_mask_random_seed",
    "t_sparse_attn_window",
    "t_global_window",
    "t_sparsity",
    "rescale",
];

/// Why a checkpoint's arguments are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// The network cannot be built without it.
    #[error("the checkpoint does not state `{0}`")]
    Missing(&'static str),
    /// No argument of this class that is known here.
    #[error("the checkpoint has an argument `{0}` that is not known")]
    Unknown(String),
    /// A value of the wrong kind, out of bounds, or one that asks for what is not built here.
    #[error("argument `{argument}` is {found}; {needed} is needed")]
    Value {
        /// Its name.
        argument: &'static str,
        /// As found, shortened.
        found: String,
        /// In words.
        needed: String,
    },
    /// Arguments that contradict each other.
    #[error("the arguments do not fit each other: {0}")]
    Conflict(String),
}

impl From<Unfit> for ArgumentError {
    fn from(Unfit(words): Unfit) -> Self {
        Self::Conflict(words)
    }
}

/// The named arguments that nobody has read yet.
struct Reader<'a>(BTreeMap<&'a str, &'a Value>);

impl<'a> Reader<'a> {
    fn take(&mut self, name: &'static str) -> Result<&'a Value, ArgumentError> {
        self.0.remove(name).ok_or(ArgumentError::Missing(name))
    }

    fn count(
        &mut self,
        name: &'static str,
        range: RangeInclusive<i64>,
    ) -> Result<i64, ArgumentError> {
        let value = self.take(name)?;
        let found = value.as_i64().filter(|count| range.contains(count));
        let needed = || format!("a whole number from {} to {}", range.start(), range.end());
        found.ok_or_else(|| refused(name, value, needed()))
    }

    fn size(
        &mut self,
        name: &'static str,
        range: RangeInclusive<i64>,
    ) -> Result<usize, ArgumentError> {
        Ok(usize::try_from(self.count(name, range)?).unwrap_or(0))
    }

    fn number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<f64>,
    ) -> Result<f64, ArgumentError> {
        let value = self.take(name)?;
        let found = value.as_f64().filter(|number| range.contains(number));
        let needed = || format!("a number from {} to {}", range.start(), range.end());
        found.ok_or_else(|| refused(name, value, needed()))
    }

    fn flag(&mut self, name: &'static str) -> Result<bool, ArgumentError> {
        let value = self.take(name)?;
        value
            .as_bool()
            .ok_or_else(|| refused(name, value, "true or false".to_owned()))
    }

    /// A number of groups, or a flag that means one or none.
    fn groups(&mut self, name: &'static str) -> Result<Option<i64>, ArgumentError> {
        let value = self.take(name)?;
        match value.as_bool().map(i64::from).or_else(|| value.as_i64()) {
            Some(0) => Ok(None),
            Some(groups @ 1..=bounds::WIDTH_MAX) => Ok(Some(groups)),
            Some(_) | None => Err(refused(name, value, "a flag or a number of groups".into())),
        }
    }

    /// An argument of which only some values are built here.
    fn only(
        &mut self,
        name: &'static str,
        fits: impl Fn(&Value) -> bool,
        needed: &str,
    ) -> Result<(), ArgumentError> {
        let value = self.take(name)?;
        if fits(value) {
            Ok(())
        } else {
            Err(refused(name, value, needed.to_owned()))
        }
    }
}

fn refused(argument: &'static str, value: &Value, needed: String) -> ArgumentError {
    ArgumentError::Value {
        argument,
        found: value.to_string().chars().take(SHOWN_MAX).collect(),
        needed,
    }
}

/// The network that a checkpoint's positional and named arguments ask for.
///
/// # Errors
/// [`ArgumentError`] where one is missing, unknown, out of bounds or asks for what is not built here.
pub fn config_of(
    positional: &[Value],
    named: &Map<String, Value>,
) -> Result<Config, ArgumentError> {
    let mut left = Reader(
        named
            .iter()
            .map(|(name, value)| (name.as_str(), value))
            .collect(),
    );
    match positional {
        [] => {}
        // The class takes the stems' names first; nobody passes more than them by place.
        [sources] if !named.contains_key("sources") => {
            left.0.insert("sources", sources);
        }
        [sources] => {
            return Err(refused("sources", sources, "one list, not two".to_owned()));
        }
        [_, second, ..] => {
            let needed = "no second argument by place".to_owned();
            return Err(refused("sources", second, needed));
        }
    }
    refuse_what_is_not_built(&mut left)?;
    let config = config(&mut left)?;
    for name in WITHOUT_EFFECT {
        left.0.remove(name);
    }
    match left.0.keys().next() {
        Some(name) => Err(ArgumentError::Unknown((*name).to_owned())),
        None => {
            config.check()?;
            Ok(config)
        }
    }
}

fn refuse_what_is_not_built(left: &mut Reader<'_>) -> Result<(), ArgumentError> {
    let off = |value: &Value| value == &Value::Bool(false);
    let nothing = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    left.only("cac", |value| value == &Value::Bool(true), "true")?;
    left.only("channels_time", Value::is_null, "null")?;
    left.only("multi_freqs", nothing, "none")?;
    left.only("t_sparse_self_attn", off, "false")?;
    left.only("t_sparse_cross_attn", off, "false")?;
    left.only("t_auto_sparsity", off, "false")?;
    // A random shift at run time would give another result each time.
    left.only("t_sin_random_shift", |value| value.as_i64() == Some(0), "0")?;
    // The class itself takes it for true where a file does not say; no tensor depends on it.
    if left.0.contains_key("use_train_segment") {
        left.only(
            "use_train_segment",
            |value| value == &Value::Bool(true),
            "true",
        )?;
    }
    Ok(())
}

fn config(left: &mut Reader<'_>) -> Result<Config, ArgumentError> {
    let rate_hz = left.count("samplerate", bounds::RATE_HZ)?;
    let dconv_mode = left.count("dconv_mode", 0..=3)?;
    let dconv_depth = left.count("dconv_depth", bounds::DCONV_DEPTH)?;
    Ok(Config {
        sources: sources(left)?,
        audio_channels: left.count("audio_channels", bounds::AUDIO_CHANNELS)?,
        rate_hz,
        segment: segment(left, rate_hz)?,
        nfft: left.count("nfft", bounds::NFFT)?,
        depth: left.size("depth", bounds::DEPTH)?,
        channels: left.count("channels", bounds::WIDTH)?,
        growth: left.count("growth", bounds::GROWTH)?,
        kernel: left.count("kernel_size", bounds::KERNEL)?,
        stride: left.count("stride", bounds::STRIDE)?,
        rewrite: left.flag("rewrite")?,
        context_encoder: left.count("context_enc", bounds::CONTEXT)?,
        context_decoder: left.count("context", bounds::CONTEXT)?,
        norm_starts: left.size("norm_starts", bounds::WIDTH_OR_NONE)?,
        norm_groups: left.count("norm_groups", bounds::WIDTH)?,
        frequency_embedding: frequency_embedding(left)?,
        dconv: DConvConfig {
            encoders: dconv_mode & 1 != 0,
            decoders: dconv_mode & 2 != 0,
            depth: usize::try_from(dconv_depth.abs()).unwrap_or(0),
            dilate: dconv_depth > 0,
            compress: left.number("dconv_comp", bounds::DCONV_COMPRESS)?,
        },
        bottom_channels: Some(left.count("bottom_channels", bounds::WIDTH_OR_NONE)?)
            .filter(|channels| *channels > 0),
        transformer: transformer(left)?,
    })
}

fn sources(left: &mut Reader<'_>) -> Result<Vec<String>, ArgumentError> {
    let value = left.take("sources")?;
    let names = value.as_array().and_then(|names| {
        let names = names.iter().map(|name| name.as_str().map(str::to_owned));
        names.collect::<Option<Vec<_>>>()
    });
    names
        .filter(|names| (1..=bounds::SOURCES_MAX).contains(&names.len()))
        .ok_or_else(|| {
            let needed = format!("a list of 1 to {} names", bounds::SOURCES_MAX);
            refused("sources", value, needed)
        })
}

/// Samples of a segment, rounded down as the class does: seconds are a number or a fraction of whole numbers.
fn segment(left: &mut Reader<'_>, rate_hz: i64) -> Result<i64, ArgumentError> {
    let value = left.take("segment")?;
    let samples = match fraction(value) {
        Some((above, below)) => above
            .checked_mul(rate_hz)
            .filter(|_| below > 0)
            .map(|product| product / below),
        None => value
            .as_f64()
            .filter(|seconds| (0.0..=bounds::SEGMENT_SECONDS_MAX).contains(seconds))
            .map(|seconds| (seconds * rate_hz as f64) as i64),
    };
    let longest = (bounds::SEGMENT_SECONDS_MAX * rate_hz as f64) as i64;
    samples
        .filter(|samples| (1..=longest).contains(samples))
        .ok_or_else(|| {
            let needed = format!(
                "seconds up to {}, as number or fraction",
                bounds::SEGMENT_SECONDS_MAX
            );
            refused("segment", value, needed)
        })
}

/// `{"_type": "fraction", "numerator": 39, "denominator": 5}`.
fn fraction(value: &Value) -> Option<(i64, i64)> {
    if value.get("_type")? != "fraction" {
        return None;
    }
    Some((
        value.get("numerator")?.as_i64()?,
        value.get("denominator")?.as_i64()?,
    ))
}

fn frequency_embedding(left: &mut Reader<'_>) -> Result<Option<FrequencyEmbedding>, ArgumentError> {
    let weight = left.number("freq_emb", bounds::EMBEDDING_WEIGHT)?;
    let scale = left.number("emb_scale", bounds::EMBEDDING_SCALE)?;
    Ok((weight > 0.0).then_some(FrequencyEmbedding { weight, scale }))
}

fn transformer(left: &mut Reader<'_>) -> Result<TransformerConfig, ArgumentError> {
    let norm_in_group = left.groups("t_norm_in_group")?.map(NormKind::Group);
    let norm_out = left.flag("t_norm_out")?;
    Ok(TransformerConfig {
        layers: left.size("t_layers", bounds::LAYERS)?,
        cross_first: left.flag("t_cross_first")?,
        heads: left.count("t_heads", bounds::WIDTH)?,
        hidden_scale: left.number("t_hidden_scale", bounds::HIDDEN_SCALE)?,
        positions: positions(left)?,
        max_period: left.number("t_max_period", bounds::MAX_PERIOD)?,
        position_weight: left.number("t_weight_pos_embed", bounds::POSITION_WEIGHT)?,
        // The flag for all channels of a place wins over the one for groups, as in the class.
        norm_in: if left.flag("t_norm_in")? {
            Some(NormKind::Layer)
        } else {
            norm_in_group
        },
        norm: left
            .groups("t_group_norm")?
            .map_or(NormKind::Layer, NormKind::Group),
        order: if left.flag("t_norm_first")? {
            Order::First { norm_out }
        } else {
            Order::Last
        },
        layer_scale: left.flag("t_layer_scale")?,
        activation: if left.flag("t_gelu")? {
            Activation::Gelu
        } else {
            Activation::Relu
        },
    })
}

fn positions(left: &mut Reader<'_>) -> Result<Positions, ArgumentError> {
    let stored = left.count("t_max_positions", bounds::POSITIONS)?;
    let value = left.take("t_emb")?;
    match value.as_str() {
        Some("sin") => Ok(Positions::Sines),
        Some("scaled") => Ok(Positions::Stored(stored)),
        Some(_) | None => Err(refused("t_emb", value, "`sin` or `scaled`".to_owned())),
    }
}
