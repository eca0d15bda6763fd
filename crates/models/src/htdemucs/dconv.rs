//! The residual branch of a layer: a few steps of dilated convolution over time in fewer channels, each gated, scaled by
//! channel and added. In the frequency branch every frequency is a row of its own, whose norms know nothing of others.

use super::config::DConvConfig;
use super::conv::{Conv, GroupNorm, Steps, gelu};
use tch::nn::Path;
use tch::{TchError, Tensor};

/// Width of the dilated convolutions.
const KERNEL: i64 = 3;
/// Start of the scales; training moves them.
const SCALE_START: f64 = 1e-3;

#[derive(Debug)]
pub(super) struct DConv {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    narrow: Conv,
    narrow_norm: GroupNorm,
    widen: Conv,
    widen_norm: GroupNorm,
    scale: Tensor,
}

impl DConv {
    pub(super) fn new(
        path: &Path<'_>,
        channels: i64,
        config: &DConvConfig,
    ) -> Result<Self, TchError> {
        let hidden = (channels as f64 / config.compress) as i64;
        let steps = (0..config.depth).map(|at| {
            let dilation = if config.dilate { 1 << at } else { 1 };
            Step::new(&(path / "layers" / at), channels, hidden, dilation)
        });
        Ok(Self {
            steps: steps.collect::<Result<_, _>>()?,
        })
    }

    /// Over rows `[R, C, T]`.
    fn rows(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        let mut rows = rows.shallow_clone();
        for step in &self.steps {
            rows = step.add_to(&rows)?;
        }
        Ok(rows)
    }

    /// Over a map of either branch.
    pub(super) fn forward(&self, map: &Tensor) -> Result<Tensor, TchError> {
        match map.size().as_slice() {
            &[batch, channels, bins, frames] => {
                let rows = map
                    .f_permute([0, 2, 1, 3])?
                    .f_reshape([-1, channels, frames])?;
                self.rows(&rows)?
                    .f_view([batch, bins, channels, frames])?
                    .f_permute([0, 2, 1, 3])
            }
            _ => self.rows(map),
        }
    }
}

impl Step {
    fn new(path: &Path<'_>, channels: i64, hidden: i64, dilation: i64) -> Result<Self, TchError> {
        let dilated = Steps::dilated(KERNEL, dilation);
        let one = Steps::dilated(1, 1);
        let start = tch::nn::Init::Const(SCALE_START);
        // Places 2 and 5 are an activation and a gate, without tensors.
        Ok(Self {
            narrow: Conv::new(&(path / 0), channels, hidden, dilated)?,
            narrow_norm: GroupNorm::new(&(path / 1), 1, hidden)?,
            widen: Conv::new(&(path / 3), hidden, 2 * channels, one)?,
            widen_norm: GroupNorm::new(&(path / 4), 1, 2 * channels)?,
            scale: (path / 6).f_var("scale", &[channels], start)?,
        })
    }

    fn add_to(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        let inner = gelu(&self.narrow_norm.forward(&self.narrow.forward(rows)?)?)?;
        let wide = self.widen_norm.forward(&self.widen.forward(&inner)?)?;
        rows.f_addcmul(&self.scale.f_unsqueeze(1)?, &wide.f_glu(1)?)
    }
}
