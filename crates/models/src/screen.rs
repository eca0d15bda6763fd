//! The screen's network, `cnn_v1`: from log-mel windows to a logit and a pooled vector each. [`ScreenNet`] is the network
//! with its parameters in a [`tch::nn::VarStore`], for training and as the reference; [`Folded`] is the same function with
//! batch norm folded into the convolutions, for serving.
//!
//! Tensor names: `blocks.N.conv.weight`, `blocks.N.norm.{weight,bias,running_mean,running_var}`, `hidden.{weight,bias}`,
//! `head.{weight,bias}`.

use bundle::{CnnV1, Pooling};
use tch::nn::init::{FanInOut, Init, NonLinearity, NormalOrUniform};
use tch::nn::{Path, VarStore};
use tch::{Kind, TchError, Tensor};

/// Added to a variance before its root is taken.
const NORM_EPSILON: f64 = 1e-5;
/// Share of a batch's statistics in the running ones.
const NORM_MOMENTUM: f64 = 0.1;
/// Start of weights before a ReLU.
const KAIMING: Init = Init::Kaiming {
    dist: NormalOrUniform::Normal,
    fan: FanInOut::FanIn,
    non_linearity: NonLinearity::ReLU,
};

/// Whether a pass trains: batch statistics and dropout, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics are used and the running ones move; values are dropped.
    Train,
    /// Running statistics; nothing is dropped.
    Infer,
}

/// What a network makes of a batch of windows.
#[derive(Debug)]
pub struct Output {
    /// `[B]`, natural-log odds.
    pub logits: Tensor,
    /// `[B, pooled width]`: the vector before the dense layers, which is also the embedding.
    pub pooled: Tensor,
}

#[derive(Debug)]
struct Block {
    conv: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    variance: Tensor,
}

#[derive(Debug)]
struct Dense {
    weight: Tensor,
    bias: Tensor,
}

/// The network over its parameters.
#[derive(Debug)]
pub struct ScreenNet {
    blocks: Vec<Block>,
    hidden: Dense,
    head: Dense,
    pooling: Pooling,
    dropout: f64,
}

impl ScreenNet {
    /// Makes the network's parameters under `path` with random starts (seeded by `tch::manual_seed`).
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn new(path: &Path<'_>, cnn: &CnnV1) -> Result<Self, TchError> {
        let widths = std::iter::once(1).chain(cnn.channels.iter().map(|c| i64::from(*c)));
        let pairs = widths.clone().zip(widths.skip(1));
        let blocks = pairs
            .enumerate()
            .map(|(at, (from, to))| Block::new(&(path / "blocks" / at), from, to));
        Ok(Self {
            blocks: blocks.collect::<Result<_, _>>()?,
            hidden: Dense::new(
                &(path / "hidden"),
                i64::from(cnn.pooled()),
                i64::from(cnn.hidden),
            )?,
            head: Dense::new(&(path / "head"), i64::from(cnn.hidden), 1)?,
            pooling: cnn.pooling,
            dropout: cnn.dropout,
        })
    }

    /// Scores windows of log-mel, `[B, bands, frames]`.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn forward(&self, mel: &Tensor, mode: Mode) -> Result<Output, TchError> {
        let mut map = as_map(mel)?;
        for block in &self.blocks {
            map = block.forward(&map, mode)?;
        }
        let pooled = pool(&map, self.pooling)?;
        let train = matches!(mode, Mode::Train);
        let hidden = self
            .hidden
            .forward(&pooled.f_dropout(self.dropout, train)?)?
            .f_relu()?;
        let logits = self
            .head
            .forward(&hidden.f_dropout(self.dropout, train)?)?
            .f_squeeze_dim(1)?;
        Ok(Output { logits, pooled })
    }
}

impl Block {
    fn new(path: &Path<'_>, from: i64, to: i64) -> Result<Self, TchError> {
        let norm = path / "norm";
        Ok(Self {
            conv: (path / "conv").f_var("weight", &[to, from, 3, 3], KAIMING)?,
            scale: norm.f_ones("weight", &[to])?,
            shift: norm.f_zeros("bias", &[to])?,
            mean: norm.f_zeros_no_train("running_mean", &[to])?,
            variance: norm.f_ones_no_train("running_var", &[to])?,
        })
    }

    fn forward(&self, map: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        let map = convolve(map, &self.conv, None)?;
        let train = matches!(mode, Mode::Train);
        let norm = (
            Some(&self.scale),
            Some(&self.shift),
            Some(&self.mean),
            Some(&self.variance),
        );
        let map = map.f_batch_norm(
            norm.0,
            norm.1,
            norm.2,
            norm.3,
            train,
            NORM_MOMENTUM,
            NORM_EPSILON,
            false,
        )?;
        halve(&map)?.f_relu()
    }

    /// The same function in inference as one convolution with a bias, computed in double precision.
    fn fold(&self) -> Result<FoldedBlock, TchError> {
        let double = |tensor: &Tensor| tensor.f_to_kind(Kind::Double);
        let root = double(&self.variance)?
            .f_add_scalar(NORM_EPSILON)?
            .f_sqrt()?;
        let factor = double(&self.scale)?.f_div(&root)?;
        let weight = double(&self.conv)?.f_mul(&factor.f_view([-1, 1, 1, 1])?)?;
        let bias = double(&self.shift)?.f_sub(&double(&self.mean)?.f_mul(&factor)?)?;
        Ok(FoldedBlock {
            weight: weight.f_to_kind(Kind::Float)?,
            bias: bias.f_to_kind(Kind::Float)?,
        })
    }
}

impl Dense {
    fn new(path: &Path<'_>, from: i64, to: i64) -> Result<Self, TchError> {
        Ok(Self {
            weight: path.f_var("weight", &[to, from], KAIMING)?,
            bias: path.f_zeros("bias", &[to])?,
        })
    }

    fn forward(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        rows.f_linear(&self.weight, Some(&self.bias))
    }

    fn cast(&self, kind: Kind) -> Result<Self, TchError> {
        Ok(Self {
            weight: self.weight.f_detach()?.f_to_kind(kind)?,
            bias: self.bias.f_detach()?.f_to_kind(kind)?,
        })
    }
}

/// Windows as a map of one channel, `[B, 1, bands, frames]`, with channels as the fastest running place. On processors
/// max-pooling takes a tenth of the time so, and with one channel nothing but the stated strides says which order is
/// meant: the order of the input is that of every map after it.
fn as_map(mel: &Tensor) -> Result<Tensor, TchError> {
    mel.f_contiguous()?.f_unsqueeze(3)?.f_permute([0, 3, 1, 2])
}

/// A convolution's weight in the order of [`as_map`].
fn channels_last(weight: &Tensor) -> Result<Tensor, TchError> {
    let size = weight.size();
    let rows = weight.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    rows.f_view([size[0], size[2], size[3], size[1]])?
        .f_permute([0, 3, 1, 2])
}

/// A 3×3 convolution that keeps the map's size.
fn convolve(map: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
    map.f_conv2d(weight, bias, [1, 1], [1, 1], [1, 1], 1)
}

/// The largest of each 2×2 cells. It stands before the ReLU, which gives the same and looks at a quarter of the values.
fn halve(map: &Tensor) -> Result<Tensor, TchError> {
    map.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)
}

fn pool(map: &Tensor, pooling: Pooling) -> Result<Tensor, TchError> {
    let area = [2i64, 3];
    let mean = map.f_mean_dim(area.as_slice(), false, None::<Kind>)?;
    match pooling {
        Pooling::Mean => Ok(mean),
        Pooling::MeanMax => Tensor::f_cat(&[mean, map.f_amax(area.as_slice(), false)?], 1),
    }
}

#[derive(Debug)]
struct FoldedBlock {
    weight: Tensor,
    bias: Tensor,
}

/// The network as it serves: batch norm folded, no gradients, one number format.
#[derive(Debug)]
pub struct Folded {
    blocks: Vec<FoldedBlock>,
    hidden: Dense,
    head: Dense,
    pooling: Pooling,
    kind: Kind,
}

impl Folded {
    /// Folds a network for serving in `kind`, on the device where its parameters are.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn new(net: &ScreenNet, kind: Kind) -> Result<Self, TchError> {
        tch::no_grad(|| {
            let blocks = net.blocks.iter().map(|block| block.fold()?.cast(kind));
            Ok(Self {
                blocks: blocks.collect::<Result<_, _>>()?,
                hidden: net.hidden.cast(kind)?,
                head: net.head.cast(kind)?,
                pooling: net.pooling,
                kind,
            })
        })
    }

    /// Scores windows of log-mel, `[B, bands, frames]`; the output is in single precision.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn forward(&self, mel: &Tensor) -> Result<Output, TchError> {
        tch::no_grad(|| {
            let mut map = as_map(&mel.f_to_kind(self.kind)?)?;
            for block in &self.blocks {
                map = halve(&convolve(&map, &block.weight, Some(&block.bias))?)?.f_relu()?;
            }
            let pooled = pool(&map, self.pooling)?;
            let hidden = self.hidden.forward(&pooled)?.f_relu()?;
            let logits = self.head.forward(&hidden)?.f_squeeze_dim(1)?;
            Ok(Output {
                logits: logits.f_to_kind(Kind::Float)?,
                pooled: pooled.f_to_kind(Kind::Float)?,
            })
        })
    }
}

impl FoldedBlock {
    fn cast(&self, kind: Kind) -> Result<Self, TchError> {
        Ok(Self {
            weight: channels_last(&self.weight.f_to_kind(kind)?)?,
            bias: self.bias.f_to_kind(kind)?,
        })
    }
}

/// A network whose parameters come from a bundle's weights.
///
/// # Errors
/// When the weights do not fit the architecture exactly, or libtorch refuses.
pub fn load(
    cnn: &CnnV1,
    weights: &bundle::Tensors,
    device: tch::Device,
) -> Result<(VarStore, ScreenNet), crate::params::ParamError> {
    let store = VarStore::new(device);
    let net = ScreenNet::new(&store.root(), cnn)?;
    crate::params::load(&store, weights)?;
    Ok((store, net))
}
