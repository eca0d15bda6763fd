//! The residual branch of a layer: a few steps of dilated convolution over time in fewer channels, each gated, scaled by
//! channel and added. In the frequency branch every frequency is a row of its own, whose norms know nothing of others.

use super::conv::{Conv, GroupNorm, Steps, gelu};
use bundle::separator::DConvConfig;
use tch::nn::Path;
use tch::{Device, TchError, Tensor};

/// Width of the dilated convolutions.
const KERNEL: i64 = 3;
/// Values of the rows that go through a branch together on a processor: 800 kB, which with what is made of them stays near a
/// second-level cache of 1 MB. Measured from two rows to all, this is within 5 % of the best for each layer.
const CACHED_VALUES: i64 = 200_000;
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
                let at_once = bins_at_once(map.device(), batch * channels * frames).min(bins);
                let parts = map.f_split(at_once, 2)?;
                let parts = parts.iter().map(|part| self.bins(part));
                Tensor::f_cat(&parts.collect::<Result<Vec<_>, _>>()?, 2)
            }
            _ => self.rows(map),
        }
    }

    /// Over some frequencies of a map, `[B, C, bins, frames]`.
    fn bins(&self, map: &Tensor) -> Result<Tensor, TchError> {
        let size = map.size();
        let rows = map
            .f_permute([0, 2, 1, 3])?
            .f_reshape([-1, size[1], size[3]])?;
        self.rows(&rows)?
            .f_view([size[0], size[2], size[1], size[3]])?
            .f_permute([0, 2, 1, 3])
    }
}

/// How many frequencies go through a branch together. Each is a row of its own, so that on a processor few at a time keep a
/// dozen passes over the same values within its cache.
fn bins_at_once(device: Device, values_of_one: i64) -> i64 {
    match device {
        Device::Cpu => (CACHED_VALUES / values_of_one).max(1),
        Device::Cuda(_) | Device::Mps | Device::Vulkan => i64::MAX,
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
