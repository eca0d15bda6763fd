//! Sums over a segment from which its features follow: powers by band, over time and in all, in double precision where they
//! add up. The same operations on every device, so that only the separator can differ.

use bundle::features::{BAND_EDGES_HZ, BANDS, FRAME, Powers, Sums, TRANSFORM, TRANSFORM_STEP};
use std::ops::Range;
use tch::{Device, Kind, TchError, Tensor};

/// Values before those of bands and frames: mix, sum and residual by power, mix and residual by magnitude, and the two of phase.
const SINGLES: usize = 7;

/// A periodic Hann window of a transform, in double precision.
pub(super) fn hann(device: Device) -> Result<Tensor, TchError> {
    let value = |at: usize| {
        let turn = std::f64::consts::TAU * at as f64 / TRANSFORM as f64;
        0.5 - 0.5 * turn.cos()
    };
    let values: Vec<f64> = (0..TRANSFORM).map(value).collect();
    Tensor::f_from_slice(&values)?.f_to_device(device)
}

/// The sums of a segment's mix and of the sum of its stems, each `[channels, samples]` in single precision, of a track that was
/// divided by 1. At least one sample.
///
/// # Errors
/// When libtorch refuses: shapes, or no room on the device.
pub fn sums(mix: &Tensor, sum: &Tensor, rate_hz: f64) -> Result<Sums, TchError> {
    tch::no_grad(|| sums_by(&hann(mix.device())?, mix, sum, rate_hz))
}

pub(super) fn sums_by(
    hann: &Tensor,
    mix: &Tensor,
    sum: &Tensor,
    rate_hz: f64,
) -> Result<Sums, TchError> {
    let (mix, sum) = (mix.f_to_kind(Kind::Double)?, sum.f_to_kind(Kind::Double)?);
    let rest = mix.f_sub(&sum)?;
    let frames = frames(&rest)?;
    let [of_mix, of_sum] = [&mix, &sum].map(|signal| spectrum(signal, hann));
    let (of_mix, of_sum) = (of_mix?, of_sum?);
    let of_rest = of_mix.f_sub(&of_sum)?;
    let powers = [power(&of_mix)?, power(&of_sum)?, power(&of_rest)?];
    // Real part of one times the conjugate of the other: both parts' products.
    let in_phase = of_mix.f_mul(&of_sum)?.f_sum(None::<Kind>)?;
    let magnitudes = powers[0].f_mul(&powers[1])?.f_sqrt()?.f_sum(None::<Kind>)?;
    let mut numbers = vec![
        mean_square(&mix)?,
        mean_square(&sum)?,
        mean_square(&rest)?,
        mix.f_abs()?.f_mean(None::<Kind>)?,
        rest.f_abs()?.f_mean(None::<Kind>)?,
        in_phase,
        magnitudes,
    ];
    for band in 0..BANDS {
        for power in &powers {
            let bins = bins(band, rate_hz);
            let part = power.f_narrow(2, bins.start as i64, bins.len() as i64)?;
            numbers.push(part.f_sum(None::<Kind>)?);
        }
    }
    let numbers = Tensor::f_cat(&[Tensor::f_stack(&numbers, 0)?, frames], 0)?;
    let values = Vec::<f64>::try_from(&numbers.f_to_device(Device::Cpu)?)?;
    Ok(collected(&values, unit(&of_mix)))
}

/// From the values in their order to sums with their units.
fn collected(values: &[f64], unit: f64) -> Sums {
    let (singles, others) = values.split_at(SINGLES);
    let (bands, frames) = others.split_at(3 * BANDS);
    let powers = |at: usize| Powers {
        mix: bands[3 * at] * unit,
        sum: bands[3 * at + 1] * unit,
        rest: bands[3 * at + 2] * unit,
    };
    Sums {
        bands: std::array::from_fn(powers),
        whole: Powers {
            mix: singles[0],
            sum: singles[1],
            rest: singles[2],
        },
        mix_magnitude: singles[3],
        rest_magnitude: singles[4],
        in_phase: singles[5] * unit,
        magnitudes: singles[6] * unit,
        frames: frames.to_vec(),
        deviation: 1.0,
    }
}

/// What a bin's squares are multiplied by, so that those of white noise add up to its power: of `[channels, transforms, bins, 2]`.
fn unit(spectrum: &Tensor) -> f64 {
    let size = spectrum.size();
    // The sum of a periodic Hann window's squares is three eighths of its length; bins stand for two sides.
    let length = TRANSFORM as f64;
    2.0 / (length * length * 0.375 * (size[0] * size[1]) as f64)
}

/// `[channels, samples]` to `[channels, transforms, bins, 2]`.
fn spectrum(signal: &Tensor, hann: &Tensor) -> Result<Tensor, TchError> {
    let samples = usize::try_from(signal.size()[1]).unwrap_or(0);
    let steps = samples.saturating_sub(TRANSFORM).div_ceil(TRANSFORM_STEP);
    let padding = steps * TRANSFORM_STEP + TRANSFORM - samples;
    signal
        .f_constant_pad_nd([0, padding as i64])?
        .f_unfold(1, TRANSFORM as i64, TRANSFORM_STEP as i64)?
        .f_mul(hann)?
        .f_fft_rfft(None, -1, "backward")?
        .f_view_as_real()
}

fn power(spectrum: &Tensor) -> Result<Tensor, TchError> {
    let both = [-1i64];
    spectrum
        .f_square()?
        .f_sum_dim_intlist(both.as_slice(), false, None::<Kind>)
}

fn mean_square(signal: &Tensor) -> Result<Tensor, TchError> {
    signal.f_square()?.f_mean(None::<Kind>)
}

/// Bins of a band: those whose frequency lies from its lower edge up to its upper one, which is left out.
fn bins(band: usize, rate_hz: f64) -> Range<usize> {
    let first = |edge: f64| (edge * TRANSFORM as f64 / rate_hz).ceil() as usize;
    first(BAND_EDGES_HZ[band])..first(BAND_EDGES_HZ[band + 1])
}

/// Power of each whole frame over all channels: `[frames]`.
fn frames(rest: &Tensor) -> Result<Tensor, TchError> {
    let (channels, samples) = (rest.size()[0], rest.size()[1]);
    let frames = samples / FRAME as i64;
    rest.f_narrow(1, 0, frames * FRAME as i64)?
        .f_reshape([channels, frames, FRAME as i64])?
        .f_square()?
        .f_mean_dim([0i64, 2].as_slice(), false, None::<Kind>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_lie_side_by_side_and_each_has_bins_at_every_rate_that_holds_them() {
        for rate_hz in [32_000.0, 44_100.0, 96_000.0] {
            for band in 0..BANDS {
                assert!(!bins(band, rate_hz).is_empty(), "{band} at {rate_hz}");
                assert!(bins(band, rate_hz).end <= TRANSFORM / 2 + 1);
            }
        }
        assert_eq!(bins(0, 44_100.0), 4..12);
        assert_eq!(bins(1, 44_100.0).start, 12);
    }

    #[test]
    fn a_tone_has_its_power_in_its_band_alone() {
        let tone: Vec<f32> = (0..44_100)
            .map(|at| (std::f64::consts::TAU * 1_000.0 * f64::from(at) / 44_100.0).sin() as f32)
            .collect();
        let mix = Tensor::from_slice(&tone).view([1, -1]);
        let found = sums(&mix, &(&mix * 0.5), 44_100.0).unwrap();
        assert!((found.whole.mix - 0.5).abs() < 1e-4);
        // Half of the first and of the last transform is under a window that no other one makes up for.
        assert!(
            (found.bands[3].mix - 0.5).abs() < 0.06,
            "{:?}",
            found.bands[3]
        );
        assert!(found.bands[5].mix < 1e-6);
        assert!((found.bands[3].rest / found.bands[3].mix - 0.25).abs() < 1e-9);
        assert!((found.in_phase / found.magnitudes - 1.0).abs() < 1e-9);
    }
}
