//! What a step is punished for: the stems' error as the package counts it, that of their sum, and how far the residual is from what it is to
//! hold.
//!
//! Called by each step of a run. The residual is compared by the magnitudes of its spectrum, not by its samples: a generator's error can be found
//! in a mix, but which way it went cannot be foretold, and a network that must foretell it leaves nothing out. A power of the magnitudes well
//! below one lets what is quiet count ([Ephrat et al. 2018](https://arxiv.org/abs/1804.03619) compress by 0.3 for that reason). The squared distance
//! has its least at the mean, so that a trace that is only likely leaves a residual as faint.

use tch::{Kind, TchError, Tensor};

use super::SeparatorFitting;
use super::batch::Batch;
use crate::mel::hann;

/// Samples of a transform, of which the next begins half of it later: 46 ms, in which partials of most notes lie apart.
const SPAN: u32 = 2_048;
/// The power of a magnitude.
const POWER: f64 = 0.3;
/// Added to a magnitude's square, so that nothing hangs on what is far below all errors: 60 dB below a full magnitude.
const SILENCE: f64 = 1e-6;

/// Counts errors.
#[derive(Debug)]
pub(super) struct Loss {
    window: Tensor,
    sum: f64,
    residual: f64,
}

impl Loss {
    pub(super) fn new(fitting: &SeparatorFitting) -> Result<Self, TchError> {
        Ok(Self {
            window: hann(SPAN)?,
            sum: fitting.sum,
            residual: fitting.residual,
        })
    }

    /// Of the stems that were found in a batch, `[B, stems, channels, samples]`.
    pub(super) fn of(&self, found: &Tensor, batch: &Batch) -> Result<Tensor, TchError> {
        let wrong = found.f_sub(&batch.stems)?.f_abs()?.f_mul(&batch.known)?;
        let mut loss = wrong.f_mean(Kind::Float)?;
        let sum = found.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
        if self.sum > 0.0 {
            loss = loss.f_add(&apart(&sum, &batch.sum)?.f_mul_scalar(self.sum)?)?;
        }
        if self.residual > 0.0 {
            let left = self.compressed(&batch.mix.f_sub(&sum)?)?;
            let right = self.compressed(&batch.mix.f_sub(&batch.sum)?)?;
            let wrong = left.f_sub(&right)?.f_square()?.f_mean(Kind::Float)?;
            loss = loss.f_add(&wrong.f_mul_scalar(self.residual)?)?;
        }
        Ok(loss)
    }

    /// Magnitudes of the spectrum to the power of [`POWER`], `[B, channels, transforms, bins]`.
    fn compressed(&self, sound: &Tensor) -> Result<Tensor, TchError> {
        let span = i64::from(SPAN);
        sound
            .f_unfold(-1, span, span / 2)?
            .f_mul(&self.window)?
            .f_fft_rfft(None, -1, "ortho")?
            .f_view_as_real()?
            .f_square()?
            .f_sum_dim_intlist([-1i64].as_slice(), false, None::<Kind>)?
            .f_add_scalar(SILENCE)?
            .f_pow_tensor_scalar(POWER / 2.0)
    }
}

/// The mean distance of two values.
fn apart(one: &Tensor, other: &Tensor) -> Result<Tensor, TchError> {
    one.f_sub(other)?.f_abs()?.f_mean(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::separator::SeparatorRecipe;
    use tch::Device;

    fn loss(sum: f64, residual: f64) -> Loss {
        let mut fitting = SeparatorRecipe::default().fitting;
        (fitting.sum, fitting.residual) = (sum, residual);
        Loss::new(&fitting).unwrap()
    }

    fn noise(shape: &[i64], level: f64) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu)) * level
    }

    /// Stems that were played, a mix of them under `error`, and whether the stems are known.
    fn batch(error: &Tensor, known: f64) -> Batch {
        let stems = noise(&[1, 4, 1, 16_384], 0.5);
        let sum = stems.sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
        Batch {
            mix: &sum + error,
            sum,
            stems,
            known: Tensor::full([1, 1, 1, 1], known, (Kind::Float, Device::Cpu)),
        }
    }

    #[test]
    fn what_moves_from_one_stem_to_another_costs_known_stems_and_not_their_sum() {
        let silence = Tensor::zeros([1, 1, 16_384], (Kind::Float, Device::Cpu));
        let of = |loss: Loss, known: f64| {
            tch::manual_seed(1);
            let batch = batch(&silence, known);
            let found = batch.stems.roll([1], [1]);
            loss.of(&found, &batch).unwrap().double_value(&[])
        };
        let stems = of(loss(0.0, 0.0), 1.0);
        assert!(stems > 0.2);
        assert!((of(loss(8.0, 8.0), 1.0) - stems).abs() < 1e-2);
        assert!(of(loss(8.0, 8.0), 0.0) < 1e-2);
    }

    #[test]
    fn a_residual_like_the_error_costs_less_than_none_and_more_than_the_error_itself() {
        tch::manual_seed(1);
        let error = noise(&[1, 1, 16_384], 0.1);
        let batch = batch(&error, 0.0);
        let of = |residual: &Tensor| {
            let found = (&batch.mix - residual).unsqueeze(1) / 4.0;
            let found = found.expand([1, 4, 1, 16_384], false);
            loss(0.0, 1.0).of(&found, &batch).unwrap().double_value(&[])
        };
        let (same, alike) = (of(&error), of(&noise(&[1, 1, 16_384], 0.1)));
        let none = of(&(&error * 0.0));
        assert!(same < 1e-3, "{same}");
        assert!(same < alike && alike < 0.5 * none, "{same} {alike} {none}");
    }
}
