//! What is kept of a window beside its logit: a small picture on the bundle's fixed scale, and the values of its
//! feature vector. Both are made of mel power on the device, so that only bytes and a few numbers travel.

use bundle::{Picture, WindowFeature};
use tch::{Kind, TchError, Tensor};

/// Least power that a decibel is taken of where no floor applies: 300 dB below one.
const LEAST_POWER: f64 = 1e-30;

fn decibel(power: &Tensor, least: f64) -> Result<Tensor, TchError> {
    power.f_clamp_min(least)?.f_log10()?.f_mul_scalar(10.0)
}

fn mean(tensor: &Tensor, dims: &[i64]) -> Result<Tensor, TchError> {
    tensor.f_mean_dim(dims, false, None::<Kind>)
}

/// Pictures of windows: mel power `[B, frames, bands]` to bytes `[B, columns * rows]`, column after column, lowest band
/// first.
///
/// # Errors
/// When libtorch refuses.
pub fn pictures(power: &Tensor, picture: &Picture) -> Result<Tensor, TchError> {
    let size = power.size();
    let (columns, rows) = (i64::from(picture.columns), i64::from(picture.rows));
    let cells = power.f_view([size[0], columns, size[1] / columns, size[2]])?;
    let cells = mean(&cells, &[2])?.f_adaptive_avg_pool1d(rows)?;
    let scale = 255.0 / (picture.high_db - picture.low_db);
    let levels = decibel(&cells, LEAST_POWER)?
        .f_sub_scalar(picture.low_db)?
        .f_mul_scalar(scale)?;
    let bytes = levels
        .f_round()?
        .f_clamp(0.0, 255.0)?
        .f_to_kind(Kind::Uint8)?;
    bytes.f_view([size[0], columns * rows])
}

/// Feature vectors of windows: mel power and its floored logarithm, both `[B, frames, bands]`, to `[B, features]`.
///
/// # Errors
/// When libtorch refuses.
pub fn features(
    power: &Tensor,
    log: &Tensor,
    wanted: &[WindowFeature],
) -> Result<Tensor, TchError> {
    let columns: Vec<Tensor> = wanted
        .iter()
        .map(|one| feature(power, log, *one))
        .collect::<Result<_, _>>()?;
    if columns.is_empty() {
        return Tensor::f_zeros([power.size()[0], 0], (Kind::Float, power.device()));
    }
    Tensor::f_stack(&columns, 1)
}

fn feature(power: &Tensor, log: &Tensor, wanted: WindowFeature) -> Result<Tensor, TchError> {
    let (frames, bands) = (power.size()[1], power.size()[2]);
    match wanted {
        WindowFeature::LevelDb => decibel(&mean(power, &[1, 2])?, LEAST_POWER),
        WindowFeature::FlatnessDb => {
            let geometric = mean(log, &[2])?.f_mul_scalar(10.0)?;
            // The logarithm's own floor under both means keeps silence white.
            let arithmetic = decibel(&mean(&power_of(log)?, &[2])?, LEAST_POWER)?;
            mean(&geometric.f_sub(&arithmetic)?, &[1])
        }
        WindowFeature::Centroid => {
            let place = Tensor::f_arange(bands, (Kind::Float, power.device()))?;
            let by_band = mean(power, &[1])?;
            let weight = by_band
                .f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?
                .f_clamp_min(LEAST_POWER)?;
            by_band
                .f_matmul(&place)?
                .f_div(&weight)?
                .f_div_scalar(bands as f64)
        }
        WindowFeature::FluxDb => {
            let change =
                log.f_narrow(1, 1, frames - 1)?
                    .f_sub(&log.f_narrow(1, 0, frames - 1)?)?;
            mean(&change.f_abs()?, &[1, 2])?.f_mul_scalar(10.0)
        }
    }
}

fn power_of(log: &Tensor) -> Result<Tensor, TchError> {
    log.f_mul_scalar(std::f64::consts::LN_10)?.f_exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::values;
    use WindowFeature::{Centroid, FlatnessDb, FluxDb, LevelDb};

    const ALL: [WindowFeature; 4] = [LevelDb, FlatnessDb, Centroid, FluxDb];

    /// Two frames of four bands.
    fn window(powers: [f32; 8]) -> Tensor {
        Tensor::from_slice(&powers).view([1, 2, 4])
    }

    fn check(powers: [f32; 8], expected: [f32; 4]) {
        let power = window(powers);
        let log = power.clamp_min(1e-8).log10();
        let found = values(&features(&power, &log, &ALL).unwrap()).unwrap();
        for ((name, found), expected) in ALL.iter().zip(&found).zip(&expected) {
            assert!(
                (found - expected).abs() < 1e-3,
                "{name:?} of {powers:?}: {found}, not {expected}"
            );
        }
    }

    #[test]
    fn features_are_what_their_names_say() {
        check([1.0; 8], [0.0, 0.0, 0.375, 0.0]);
        check(
            [0.1, 0.1, 0.1, 0.1, 10.0, 10.0, 10.0, 10.0],
            [7.033, 0.0, 0.375, 20.0],
        );
        check(
            [1.0, 1e-8, 1e-8, 1e-8, 1.0, 1e-8, 1e-8, 1e-8],
            [-6.0206, -53.979, 0.0, 0.0],
        );
    }

    #[test]
    fn a_silent_window_has_finite_features() {
        let power = window([0.0; 8]);
        let found =
            values(&features(&power, &power.clamp_min(1e-8).log10(), &ALL).unwrap()).unwrap();
        assert!(found.iter().all(|value| value.is_finite()), "{found:?}");
    }

    #[test]
    fn a_picture_runs_column_by_column_from_the_lowest_band_on_the_fixed_scale() {
        let scale = Picture {
            rows: 2,
            columns: 2,
            low_db: -20.0,
            high_db: 20.0,
        };
        let power = window([1.0, 1.0, 100.0, 100.0, 0.01, 0.01, 1e6, 1e6]);
        let found = values(&pictures(&power, &scale).unwrap()).unwrap();
        assert_eq!(found, [128.0, 255.0, 0.0, 255.0]);
    }
}
