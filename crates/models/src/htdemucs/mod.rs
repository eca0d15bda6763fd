//! HTDemucs: a separator of two branches, one over the complex spectrum and one over samples, with a transformer between
//! their encoders and decoders. Written for the package's published checkpoints: the same function, the same names of
//! tensors, one segment length. Called by whoever separates; cutting tracks into segments is [`apply`]'s work.
//!
//! Never masks, never shifts at random, never reads code from a file. Nothing here switches gradients off: callers that
//! infer do that ([`apply`] does). Segments of a batch know nothing of each other.

pub mod apply;
mod arguments;
mod attention;
mod checkpoint;
mod conv;
mod dconv;
mod layer;
mod position;
mod spectrum;
mod transformer;

pub use self::checkpoint::{CLASS, Checkpoint, CheckpointError};
pub use arguments::{ArgumentError, config_of};
pub use bundle::separator::Config;

use crate::params::{self, ParamError};
use conv::{Axis, Conv};
use layer::{Decoder, Encoder, Shape};
use spectrum::Spectrum;
use tch::nn::{Init, Path, VarStore};
use tch::{Device, Kind, TchError, Tensor};
use transformer::Transformer;

/// Added to a deviation before it divides.
const LEAST_DEVIATION: f64 = 1e-5;

/// Encoder and decoder of one branch, by layer from the input on.
#[derive(Debug)]
struct Branch {
    encoders: Vec<Encoder>,
    decoders: Vec<Decoder>,
}

/// The convolutions of one width between a branch and the transformer.
#[derive(Debug)]
struct Bottom {
    up: Conv,
    down: Conv,
}

/// The network over its parameters.
#[derive(Debug)]
pub struct HtDemucs {
    config: Config,
    spectrum: Spectrum,
    frequency: Branch,
    time: Branch,
    /// `[bins, channels]`, of the first layer.
    embedding: Option<Tensor>,
    bottom: Option<(Bottom, Bottom)>,
    transformer: Transformer,
}

/// A network that serves, whose parameters come from a checkpoint's tensors: frozen, computing in `kind` but for the transform and what
/// scales its input and output, which are in single precision always.
///
/// # Errors
/// When a tensor is missing, surplus, of another shape or not finite, or libtorch refuses.
pub fn load(
    config: &Config,
    weights: &bundle::Tensors,
    device: Device,
    kind: Kind,
) -> Result<(VarStore, HtDemucs), ParamError> {
    let store = VarStore::new(device);
    let net = HtDemucs::new(&store.root(), config)?;
    params::load(&store, weights)?;
    params::freeze(&store, kind)?;
    Ok((store, net))
}

/// Whether a network can be built and takes the tensors of a checkpoint, tried on the processor.
///
/// # Errors
/// As [`load`].
pub fn check_fit(config: &Config, weights: &bundle::Tensors) -> Result<(), ParamError> {
    load(config, weights, Device::Cpu, Kind::Float).map(|_| ())
}

impl HtDemucs {
    /// Makes the network's parameters under `path` with random starts (seeded by `tch::manual_seed`).
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn new(path: &Path<'_>, config: &Config) -> Result<Self, TchError> {
        let width = config.transformer_width();
        let last = config.width(config.depth - 1);
        let bottom = |suffix: &str| -> Result<Bottom, TchError> {
            let one = || Axis::Time.around(0);
            let name = |word: &str| path / format!("channel_{word}sampler{suffix}");
            Ok(Bottom {
                up: Conv::new(&name("up"), last, width, one())?,
                down: Conv::new(&name("down"), width, last, one())?,
            })
        };
        Ok(Self {
            spectrum: Spectrum::new(config, path.device())?,
            frequency: Branch::new(path, "", config, Axis::Frequency)?,
            time: Branch::new(path, "t", config, Axis::Time)?,
            embedding: embedding(path, config)?,
            bottom: match config.bottom_channels {
                Some(_) => Some((bottom("")?, bottom("_t")?)),
                None => None,
            },
            transformer: Transformer::new(&(path / "crosstransformer"), config)?,
            config: config.clone(),
        })
    }

    /// What it was built from.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where its parameters are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.spectrum.device()
    }

    /// Separates segments: `[B, channels, segment]` in single precision to `[B, stems, channels, segment]`.
    ///
    /// # Errors
    /// When libtorch refuses: shapes, or no room on the device.
    pub fn forward(&self, mix: &Tensor) -> Result<Tensor, TchError> {
        let map = Scaled::of(&self.spectrum.analyse(mix)?, &[1, 2, 3])?;
        let line = Scaled::of(mix, &[1, 2])?;
        let (of_map, of_line) = self.stems(&map.tensor, &line.tensor)?;
        let of_map = self.spectrum.synthesise(&map.back(&of_map)?)?;
        let sum = line.back(&of_line)?.f_add(&of_map)?;
        sum.f_view([
            mix.size()[0],
            self.config.stems(),
            self.config.audio_channels,
            self.config.segment,
        ])
    }

    /// Both branches, from scaled input to scaled output, in the parameters' number format.
    fn stems(&self, map: &Tensor, line: &Tensor) -> Result<(Tensor, Tensor), TchError> {
        let kind = self.frequency.encoders[0].kind();
        let mut line = Encoded::of(&line.f_to_kind(kind)?);
        let mut map = Encoded::of(&map.f_to_kind(kind)?);
        for (at, encoder) in self.frequency.encoders.iter().enumerate() {
            map.add(encoder.forward(map.last())?);
            if at == 0 {
                self.embed(&mut map)?;
            }
        }
        for encoder in &self.time.encoders {
            line.add(encoder.forward(line.last())?);
        }
        let (of_map, of_line) = self.between(map.last(), line.last())?;
        Ok((
            self.frequency.decode(of_map, map, Axis::Frequency)?,
            self.time.decode(of_line, line, Axis::Time)?,
        ))
    }

    /// Tells the first layer's output which frequency is which.
    fn embed(&self, map: &mut Encoded) -> Result<(), TchError> {
        if let (Some(tensor), Some(embedding)) = (&self.embedding, self.config.frequency_embedding)
        {
            let factor = embedding.weight * embedding.scale;
            let by_bin = tensor.f_mul_scalar(factor)?.f_transpose(0, 1)?;
            let told = map.last().f_add(&by_bin.f_unsqueeze(-1)?)?;
            map.replace_last(told);
        }
        Ok(())
    }

    fn between(&self, map: &Tensor, line: &Tensor) -> Result<(Tensor, Tensor), TchError> {
        let Some((of_map, of_line)) = &self.bottom else {
            return self.transformer.forward(map, line);
        };
        let size = map.size();
        let wide = of_map
            .up
            .forward(&map.f_flatten(2, 3)?)?
            .f_view([size[0], -1, size[2], size[3]])?;
        let (wide, line) = self
            .transformer
            .forward(&wide, &of_line.up.forward(line)?)?;
        let map = of_map.down.forward(&wide.f_flatten(2, 3)?)?;
        Ok((map.f_view(size.as_slice())?, of_line.down.forward(&line)?))
    }
}

impl Branch {
    fn new(path: &Path<'_>, prefix: &str, config: &Config, axis: Axis) -> Result<Self, TchError> {
        let input = match axis {
            Axis::Frequency => config.spectrum_channels(),
            Axis::Time => config.audio_channels,
        };
        let shape = |layer: usize, outermost: i64| Shape {
            config,
            axis,
            layer,
            outer: layer
                .checked_sub(1)
                .map_or(outermost, |below| config.width(below)),
        };
        let encoders = path / format!("{prefix}encoder");
        let decoders = path / format!("{prefix}decoder");
        let encoder = |layer| Encoder::new(&(&encoders / layer), shape(layer, input));
        let decoder = |layer| {
            // Decoders are named in the order in which they work.
            let name = config.depth - 1 - layer;
            Decoder::new(&(&decoders / name), shape(layer, config.stems() * input))
        };
        Ok(Self {
            encoders: (0..config.depth).map(encoder).collect::<Result<_, _>>()?,
            decoders: (0..config.depth).map(decoder).collect::<Result<_, _>>()?,
        })
    }

    /// Back to the input's length, with what the encoders made; each of it is dropped once it is used.
    fn decode(&self, map: Tensor, encoded: Encoded, axis: Axis) -> Result<Tensor, TchError> {
        let Encoded(mut made) = encoded;
        let mut map = map;
        for decoder in self.decoders.iter().rev() {
            let skip = made.pop().expect("each encoder made something");
            let before = made.last().expect("the input is there");
            map = decoder.forward(&map, &skip, axis.length(before))?;
        }
        Ok(map)
    }
}

/// A branch's input and what each of its encoders made of it.
struct Encoded(Vec<Tensor>);

impl Encoded {
    fn of(input: &Tensor) -> Self {
        Self(vec![input.shallow_clone()])
    }

    fn last(&self) -> &Tensor {
        self.0.last().expect("the input is there")
    }

    fn add(&mut self, made: Tensor) {
        self.0.push(made);
    }

    fn replace_last(&mut self, made: Tensor) {
        self.0.pop();
        self.0.push(made);
    }
}

/// Something brought to mean zero and deviation one, and the way back.
struct Scaled {
    tensor: Tensor,
    mean: Tensor,
    deviation: Tensor,
}

impl Scaled {
    fn of(tensor: &Tensor, dims: &[i64]) -> Result<Self, TchError> {
        let (deviation, mean) = tensor.f_std_mean_correction(dims, 1, true)?;
        let scaled = tensor
            .f_sub(&mean)?
            .f_div(&deviation.f_add_scalar(LEAST_DEVIATION)?)?;
        Ok(Self {
            tensor: scaled,
            mean,
            deviation,
        })
    }

    fn back(&self, scaled: &Tensor) -> Result<Tensor, TchError> {
        let scaled = scaled.f_to_kind(Kind::Float)?;
        self.mean.f_addcmul(&scaled, &self.deviation)
    }
}

fn embedding(path: &Path<'_>, config: &Config) -> Result<Option<Tensor>, TchError> {
    let Some(embedding) = config.frequency_embedding else {
        return Ok(None);
    };
    let start = Init::Randn {
        mean: 0.0,
        stdev: 1.0 / embedding.scale,
    };
    let shape = [config.frequencies(1), config.channels];
    (path / "freq_emb" / "embedding")
        .f_var("weight", &shape, start)
        .map(Some)
}
