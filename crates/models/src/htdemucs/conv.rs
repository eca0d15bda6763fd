//! Convolutions along frequency or time, plain and transposed, and group norms: the smallest parts of the network, with
//! the tensor names that PyTorch gives them.

use tch::nn::{Init, Path};
use tch::{Device, Kind, TchError, Tensor};

/// Added to a variance before its root is taken.
pub(super) const NORM_EPSILON: f64 = 1e-5;

/// Along which axis a layer of a branch strides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    /// Maps are `[B, C, frequencies, frames]`, and frames are left alone.
    Frequency,
    /// Maps are `[B, C, places]`.
    Time,
}

/// How a convolution goes over a map.
#[derive(Debug)]
pub(super) struct Steps {
    size: Vec<i64>,
    stride: Vec<i64>,
    padding: Vec<i64>,
    dilation: Vec<i64>,
    transposed: bool,
}

impl Axis {
    /// Steps of a map along the axis.
    pub(super) fn length(self, map: &Tensor) -> i64 {
        let from_behind = match self {
            Self::Frequency => 2,
            Self::Time => 1,
        };
        map.size()
            .iter()
            .rev()
            .nth(from_behind - 1)
            .copied()
            .unwrap_or(0)
    }

    /// Along the axis alone.
    pub(super) fn along(self, size: i64, stride: i64, padding: i64) -> Steps {
        let pick = |value, else_value| match self {
            Self::Frequency => vec![value, else_value],
            Self::Time => vec![value],
        };
        Steps {
            size: pick(size, 1),
            stride: pick(stride, 1),
            padding: pick(padding, 0),
            dilation: pick(1, 1),
            transposed: false,
        }
    }

    /// So many neighbours on each side in every direction.
    pub(super) fn around(self, context: i64) -> Steps {
        let all = |value| match self {
            Self::Frequency => vec![value, value],
            Self::Time => vec![value],
        };
        Steps {
            size: all(1 + 2 * context),
            stride: all(1),
            padding: all(context),
            dilation: all(1),
            transposed: false,
        }
    }
}

impl Steps {
    /// With gaps between the places that are seen; the output is as long as the input.
    pub(super) fn dilated(size: i64, dilation: i64) -> Self {
        Self {
            size: vec![size],
            stride: vec![1],
            padding: vec![dilation * (size / 2)],
            dilation: vec![dilation],
            transposed: false,
        }
    }

    /// The other way round: from a step to the places that it came from.
    pub(super) fn transposed(self) -> Self {
        Self {
            transposed: true,
            ..self
        }
    }
}

/// A convolution with a bias.
#[derive(Debug)]
pub(super) struct Conv {
    weight: Tensor,
    bias: Tensor,
    steps: Steps,
}

impl Conv {
    pub(super) fn new(path: &Path<'_>, from: i64, to: i64, steps: Steps) -> Result<Self, TchError> {
        let ends = if steps.transposed {
            [from, to]
        } else {
            [to, from]
        };
        let shape = [&ends, steps.size.as_slice()].concat();
        let start = start(from * steps.size.iter().product::<i64>());
        Ok(Self {
            weight: path.f_var("weight", &shape, start)?,
            bias: path.f_var("bias", &[to], start)?,
            steps,
        })
    }

    pub(super) fn kind(&self) -> Kind {
        self.weight.kind()
    }

    pub(super) fn forward(&self, map: &Tensor) -> Result<Tensor, TchError> {
        let steps = &self.steps;
        map.f_convolution(
            &self.weight,
            Some(&self.bias),
            steps.stride.as_slice(),
            steps.padding.as_slice(),
            steps.dilation.as_slice(),
            steps.transposed,
            vec![0; steps.size.len()].as_slice(),
            1,
        )
    }
}

/// A matrix with a bias.
#[derive(Debug)]
pub(super) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(super) fn new(path: &Path<'_>, from: i64, to: i64) -> Result<Self, TchError> {
        Ok(Self {
            weight: path.f_var("weight", &[to, from], start(from))?,
            bias: path.f_var("bias", &[to], start(from))?,
        })
    }

    pub(super) fn forward(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        linear(rows, &self.weight, &self.bias)
    }
}

/// Rows times a matrix, plus a bias. On a processor, once parameters are frozen, oneDNN multiplies: libtorch's usual library
/// took twice the time on the AMD processor where this was measured.
pub(super) fn linear(rows: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor, TchError> {
    let serves = !weight.requires_grad() && !rows.requires_grad();
    if serves && rows.device() == Device::Cpu && rows.kind() == Kind::Float {
        rows.f_to_mkldnn(None::<Kind>)?
            .f_mkldnn_linear(weight, Some(bias))?
            .f_to_dense(None::<Kind>, false)
    } else {
        rows.f_linear(weight, Some(bias))
    }
}

/// Mean and variance over all places and each group of channels.
#[derive(Debug)]
pub(super) struct GroupNorm {
    groups: i64,
    weight: Tensor,
    bias: Tensor,
}

impl GroupNorm {
    pub(super) fn new(path: &Path<'_>, groups: i64, channels: i64) -> Result<Self, TchError> {
        Ok(Self {
            groups,
            weight: path.f_ones("weight", &[channels])?,
            bias: path.f_zeros("bias", &[channels])?,
        })
    }

    /// Of a map with its channels behind the batch.
    pub(super) fn forward(&self, map: &Tensor) -> Result<Tensor, TchError> {
        map.f_group_norm(
            self.groups,
            Some(&self.weight),
            Some(&self.bias),
            NORM_EPSILON,
            true,
        )
    }

    /// Of rows `[B, places, C]`.
    pub(super) fn forward_rows(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        self.forward(&rows.f_transpose(1, 2)?)?.f_transpose(1, 2)
    }
}

/// A norm where there is one.
pub(super) fn norm_or_not(norm: Option<&GroupNorm>, map: Tensor) -> Result<Tensor, TchError> {
    norm.map_or(Ok(map.shallow_clone()), |norm| norm.forward(&map))
}

pub(super) fn gelu(map: &Tensor) -> Result<Tensor, TchError> {
    map.f_gelu("none")
}

/// PyTorch's own start of convolutions and matrices: uniform, by the number of values that one output is made of.
fn start(values: i64) -> Init {
    let bound = (values as f64).sqrt().recip();
    Init::Uniform {
        lo: -bound,
        up: bound,
    }
}
