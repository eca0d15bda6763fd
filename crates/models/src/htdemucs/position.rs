//! Where a row of the transformer stands: sines of time and frequency for one branch, sines of time for the other.
//! Computed step by step as the package does and on the processor, in single precision, since phases of a thousand places
//! carry its rounding; so they are the same on every device.

use tch::{Device, Kind, TchError, Tensor};

const ON_CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

/// `[1, places, width]`: cosines, then sines.
pub(super) fn sines(places: i64, width: i64, period: f64) -> Result<Tensor, TchError> {
    let half = width / 2;
    let place = Tensor::f_arange(places, ON_CPU)?.f_view([-1, 1])?;
    let exponent = Tensor::f_arange(half, ON_CPU)?.f_div_scalar((half - 1).max(1))?;
    let period = Tensor::f_full([0i64; 0], period, ON_CPU)?.f_pow(&exponent)?;
    let phase = place.f_div(&period)?;
    Tensor::f_cat(&[phase.f_cos()?, phase.f_sin()?], -1)?.f_unsqueeze(0)
}

/// `[1, frames * bins, width]`, frequencies running fastest: one half of the channels tells the frame, the other the
/// frequency, sines and cosines in turn.
pub(super) fn sines_of_maps(
    bins: i64,
    frames: i64,
    width: i64,
    period: f64,
) -> Result<Tensor, TchError> {
    let half = width / 2;
    let log = Tensor::f_full([0i64; 0], period, ON_CPU)?.f_log()?;
    let step = log.f_div_scalar(half)?.f_neg()?;
    let factor = Tensor::f_arange_start_step(0, half, 2, ON_CPU)?
        .f_mul(&step)?
        .f_exp()?;
    let part = |count: i64| -> Result<Tensor, TchError> {
        let phase = Tensor::f_arange(count, ON_CPU)?
            .f_unsqueeze(1)?
            .f_mul(&factor)?;
        let pairs = Tensor::f_stack(&[phase.f_sin()?, phase.f_cos()?], -1)?;
        pairs.f_view([count, half])
    };
    let of_frames = part(frames)?
        .f_unsqueeze(1)?
        .f_expand([frames, bins, half], false)?;
    let of_bins = part(bins)?
        .f_unsqueeze(0)?
        .f_expand([frames, bins, half], false)?;
    Tensor::f_cat(&[of_frames, of_bins], -1)?.f_view([1, frames * bins, width])
}
