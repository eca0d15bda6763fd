//! One layer of the transformer: attention within a branch or to the other one, and a feed-forward part, with norms before
//! or behind them. Rows are `[B, places, width]`.

use super::conv::{GroupNorm, Linear, NORM_EPSILON, gelu, linear};
use bundle::separator::{Activation, NormKind, Order, TransformerConfig};
use tch::nn::{Init, Path};
use tch::{TchError, Tensor};

/// Start of the scales; training moves them.
const SCALE_START: f64 = 1e-4;

/// A norm of rows.
#[derive(Debug)]
pub(super) enum Norm {
    /// Over the channels of each place.
    Layer { weight: Tensor, bias: Tensor },
    /// Over all places and each group of channels.
    Group(GroupNorm),
}

impl Norm {
    pub(super) fn new(path: &Path<'_>, kind: NormKind, width: i64) -> Result<Self, TchError> {
        match kind {
            NormKind::Layer => Ok(Self::Layer {
                weight: path.f_ones("weight", &[width])?,
                bias: path.f_zeros("bias", &[width])?,
            }),
            NormKind::Group(groups) => GroupNorm::new(path, groups, width).map(Self::Group),
        }
    }

    pub(super) fn forward(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Layer { weight, bias } => {
                rows.f_layer_norm(weight.size(), Some(weight), Some(bias), NORM_EPSILON, true)
            }
            Self::Group(norm) => norm.forward_rows(rows),
        }
    }
}

/// Attention of several heads; the three matrices of query, key and value lie in one tensor.
#[derive(Debug)]
struct Attention {
    weight: Tensor,
    bias: Tensor,
    out: Linear,
    heads: i64,
    width: i64,
}

impl Attention {
    fn new(path: &Path<'_>, width: i64, heads: i64) -> Result<Self, TchError> {
        let bound = (3.0 / (2.0 * width as f64)).sqrt();
        let start = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        Ok(Self {
            weight: path.f_var("in_proj_weight", &[3 * width, width], start)?,
            bias: path.f_zeros("in_proj_bias", &[3 * width])?,
            out: Linear::new(&(path / "out_proj"), width, width)?,
            heads,
            width,
        })
    }

    /// From each place of `rows` to all of `seen`.
    fn forward(&self, rows: &Tensor, seen: &Tensor) -> Result<Tensor, TchError> {
        let query = self.projected(rows, 0, 1)?;
        let both = self.projected(seen, 1, 2)?;
        self.attend(&query[0], &both[0], &both[1])
    }

    /// From each place to all of the same rows.
    fn forward_self(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        let three = self.projected(rows, 0, 3)?;
        self.attend(&three[0], &three[1], &three[2])
    }

    /// Some of query, key and value, by heads: `[B, heads, places, width / heads]` each.
    fn projected(&self, rows: &Tensor, first: i64, count: i64) -> Result<Vec<Tensor>, TchError> {
        let cut = |tensor: &Tensor| tensor.f_narrow(0, first * self.width, count * self.width);
        let size = rows.size();
        linear(rows, &cut(&self.weight)?, &cut(&self.bias)?)?
            .f_view([size[0], size[1], count, self.heads, self.width / self.heads])?
            .f_permute([2, 0, 3, 1, 4])?
            .f_unbind(0)
    }

    fn attend(&self, query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor, TchError> {
        let heads = Tensor::f_scaled_dot_product_attention(
            query,
            key,
            value,
            None::<&Tensor>,
            0.0,
            false,
            None,
            false,
        )?;
        let size = query.size();
        let rows = heads
            .f_transpose(1, 2)?
            .f_reshape([size[0], size[2], self.width])?;
        self.out.forward(&rows)
    }
}

/// What a layer looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looks {
    /// Its own branch.
    Within,
    /// The other one.
    Across,
}

/// A layer of one branch.
#[derive(Debug)]
pub(super) struct Layer {
    attention: Attention,
    first: Linear,
    second: Linear,
    activation: Activation,
    norm1: Norm,
    norm2: Norm,
    /// Of the feed-forward part in layers that look across and have norms before their parts. With norms behind them the
    /// tensors are there and nothing reads them, as in the package.
    norm3: Option<Norm>,
    norm_out: Option<GroupNorm>,
    gamma_1: Option<Tensor>,
    gamma_2: Option<Tensor>,
    order: Order,
}

impl Layer {
    pub(super) fn new(
        path: &Path<'_>,
        config: &TransformerConfig,
        width: i64,
        looks: Looks,
    ) -> Result<Self, TchError> {
        let hidden = (width as f64 * config.hidden_scale) as i64;
        let norm = |name: &str| Norm::new(&(path / name), config.norm, width);
        let scale = |name: &str| {
            let start = Init::Const(SCALE_START);
            config
                .layer_scale
                .then(|| (path / name).f_var("scale", &[width], start))
                .transpose()
        };
        let (attention, norm3) = match looks {
            Looks::Within => ("self_attn", None),
            Looks::Across => ("cross_attn", Some(norm("norm3")?)),
        };
        Ok(Self {
            attention: Attention::new(&(path / attention), width, config.heads)?,
            first: Linear::new(&(path / "linear1"), width, hidden)?,
            second: Linear::new(&(path / "linear2"), hidden, width)?,
            activation: config.activation,
            norm1: norm("norm1")?,
            norm2: norm("norm2")?,
            norm3,
            norm_out: match config.order {
                Order::First { norm_out: true } => {
                    Some(GroupNorm::new(&(path / "norm_out"), 1, width)?)
                }
                Order::First { norm_out: false } | Order::Last => None,
            },
            gamma_1: scale("gamma_1")?,
            gamma_2: scale("gamma_2")?,
            order: config.order,
        })
    }

    /// One step of a branch; `other` is what the other branch was before this step. Layers that look within ignore it.
    pub(super) fn forward(&self, rows: &Tensor, other: &Tensor) -> Result<Tensor, TchError> {
        match self.order {
            Order::First { .. } => self.norms_first(rows, other),
            Order::Last => self.norms_last(rows, other),
        }
    }

    fn norms_first(&self, rows: &Tensor, other: &Tensor) -> Result<Tensor, TchError> {
        let normed = self.norm1.forward(rows)?;
        let (seen, before) = match &self.norm3 {
            Some(norm3) => {
                let other = self.norm2.forward(other)?;
                (self.attention.forward(&normed, &other)?, norm3)
            }
            None => (self.attention.forward_self(&normed)?, &self.norm2),
        };
        let rows = add(rows, self.gamma_1.as_ref(), &seen)?;
        let fed = self.feed_forward(&before.forward(&rows)?)?;
        let rows = add(&rows, self.gamma_2.as_ref(), &fed)?;
        match &self.norm_out {
            Some(norm) => norm.forward_rows(&rows),
            None => Ok(rows),
        }
    }

    fn norms_last(&self, rows: &Tensor, other: &Tensor) -> Result<Tensor, TchError> {
        let seen = match &self.norm3 {
            Some(_) => self.attention.forward(rows, other)?,
            None => self.attention.forward_self(rows)?,
        };
        let rows = self
            .norm1
            .forward(&add(rows, self.gamma_1.as_ref(), &seen)?)?;
        let fed = self.feed_forward(&rows)?;
        self.norm2
            .forward(&add(&rows, self.gamma_2.as_ref(), &fed)?)
    }

    fn feed_forward(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        let hidden = self.first.forward(rows)?;
        let hidden = match self.activation {
            Activation::Gelu => gelu(&hidden)?,
            Activation::Relu => hidden.f_relu()?,
        };
        self.second.forward(&hidden)
    }
}

/// Adds what a part made, scaled by channel where there are scales.
fn add(rows: &Tensor, scale: Option<&Tensor>, made: &Tensor) -> Result<Tensor, TchError> {
    match scale {
        Some(scale) => rows.f_addcmul(made, scale),
        None => rows.f_add(made),
    }
}
