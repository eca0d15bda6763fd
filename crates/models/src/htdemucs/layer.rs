//! The layers of encoders and decoders, of either branch: a strided convolution, a residual branch, a gated convolution; in
//! the decoders the other way round, on the sum with what the encoder's layer of the same width made.

use super::conv::{Axis, Conv, GroupNorm, gelu, norm_or_not};
use super::dconv::DConv;
use bundle::separator::Config;
use tch::nn::Path;
use tch::{Kind, TchError, Tensor};

/// A convolution to twice the channels, a norm where the layer has norms, and a gate.
#[derive(Debug)]
struct Gated {
    conv: Conv,
    norm: Option<GroupNorm>,
}

impl Gated {
    fn new(
        path: &Path<'_>,
        norm_name: &str,
        channels: i64,
        shape: &Shape<'_>,
        context: i64,
    ) -> Result<Self, TchError> {
        let steps = shape.axis.around(context);
        Ok(Self {
            conv: Conv::new(&(path / "rewrite"), channels, 2 * channels, steps)?,
            norm: shape.norm(&(path / norm_name), 2 * channels)?,
        })
    }

    fn forward(&self, map: &Tensor) -> Result<Tensor, TchError> {
        norm_or_not(self.norm.as_ref(), self.conv.forward(map)?)?.f_glu(1)
    }
}

/// What layers of one index share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape<'a> {
    pub(super) config: &'a Config,
    pub(super) axis: Axis,
    /// Counted from the input, in decoders too.
    pub(super) layer: usize,
    /// Channels on the side of the input, or of the output in a decoder.
    pub(super) outer: i64,
}

impl Shape<'_> {
    /// Channels on the side of the transformer.
    fn inner(&self) -> i64 {
        self.config.width(self.layer)
    }

    fn norm(&self, path: &Path<'_>, channels: i64) -> Result<Option<GroupNorm>, TchError> {
        self.config
            .has_norm(self.layer)
            .then(|| GroupNorm::new(path, self.config.norm_groups, channels))
            .transpose()
    }

    fn dconv(&self, path: &Path<'_>, wanted: bool) -> Result<Option<DConv>, TchError> {
        wanted
            .then(|| DConv::new(&(path / "dconv"), self.inner(), &self.config.dconv))
            .transpose()
    }

    fn gated(
        &self,
        path: &Path<'_>,
        norm_name: &str,
        context: i64,
    ) -> Result<Option<Gated>, TchError> {
        self.config
            .rewrite
            .then(|| Gated::new(path, norm_name, self.inner(), self, context))
            .transpose()
    }
}

/// A layer of an encoder.
#[derive(Debug)]
pub(super) struct Encoder {
    axis: Axis,
    stride: i64,
    conv: Conv,
    norm: Option<GroupNorm>,
    dconv: Option<DConv>,
    gated: Option<Gated>,
}

impl Encoder {
    pub(super) fn new(path: &Path<'_>, shape: Shape<'_>) -> Result<Self, TchError> {
        let config = shape.config;
        let steps = shape
            .axis
            .along(config.kernel, config.stride, config.kernel / 4);
        Ok(Self {
            axis: shape.axis,
            stride: config.stride,
            conv: Conv::new(&(path / "conv"), shape.outer, shape.inner(), steps)?,
            norm: shape.norm(&(path / "norm1"), shape.inner())?,
            dconv: shape.dconv(path, config.dconv.encoders)?,
            gated: shape.gated(path, "norm2", config.context_encoder)?,
        })
    }

    /// The number format that it computes in.
    pub(super) fn kind(&self) -> Kind {
        self.conv.kind()
    }

    pub(super) fn forward(&self, map: &Tensor) -> Result<Tensor, TchError> {
        let map = self.conv.forward(&self.filled(map)?)?;
        let mut map = gelu(&norm_or_not(self.norm.as_ref(), map)?)?;
        if let Some(dconv) = &self.dconv {
            map = dconv.forward(&map)?;
        }
        match &self.gated {
            Some(gated) => gated.forward(&map),
            None => Ok(map),
        }
    }

    /// Zeros behind the end, up to a whole number of strides. Frequencies always are one.
    fn filled(&self, map: &Tensor) -> Result<Tensor, TchError> {
        let missing = (self.stride - self.axis.length(map) % self.stride) % self.stride;
        match self.axis {
            Axis::Time if missing > 0 => map.f_constant_pad_nd([0, missing]),
            Axis::Time | Axis::Frequency => Ok(map.shallow_clone()),
        }
    }
}

/// Whether an activation follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// One follows.
    Inside,
    /// None: this is the output.
    Last,
}

/// A layer of a decoder.
#[derive(Debug)]
pub(super) struct Decoder {
    axis: Axis,
    margin: i64,
    gated: Option<Gated>,
    dconv: Option<DConv>,
    conv: Conv,
    norm: Option<GroupNorm>,
    place: Place,
}

impl Decoder {
    pub(super) fn new(path: &Path<'_>, shape: Shape<'_>) -> Result<Self, TchError> {
        let config = shape.config;
        let steps = shape.axis.along(config.kernel, config.stride, 0);
        Ok(Self {
            axis: shape.axis,
            margin: config.kernel / 4,
            gated: shape.gated(path, "norm1", config.context_decoder)?,
            dconv: shape.dconv(path, config.dconv.decoders)?,
            conv: Conv::new(
                &(path / "conv_tr"),
                shape.inner(),
                shape.outer,
                steps.transposed(),
            )?,
            norm: shape.norm(&(path / "norm2"), shape.outer)?,
            place: if shape.layer == 0 {
                Place::Last
            } else {
                Place::Inside
            },
        })
    }

    /// From a map and what the encoder made at this width to a map of so many steps along the axis.
    pub(super) fn forward(
        &self,
        map: &Tensor,
        skip: &Tensor,
        length: i64,
    ) -> Result<Tensor, TchError> {
        let mut map = map.f_add(skip)?;
        if let Some(gated) = &self.gated {
            map = gated.forward(&map)?;
        }
        if let Some(dconv) = &self.dconv {
            map = dconv.forward(&map)?;
        }
        let map = norm_or_not(self.norm.as_ref(), self.conv.forward(&map)?)?;
        let axis = match self.axis {
            Axis::Frequency => -2,
            Axis::Time => -1,
        };
        let map = map.f_narrow(axis, self.margin, length)?;
        match self.place {
            Place::Inside => gelu(&map),
            Place::Last => Ok(map),
        }
    }
}
