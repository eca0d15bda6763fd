//! What a step is punished for: the stems' error as the package counts it, and that of their sum, as samples and in a compressed spectrum.
//!
//! Called by each step of a run. Samples weigh what is loud, and a generator leaves its traces between the loud parts of a spectrum; a power of
//! its magnitudes well below one lets those places count ([Ephrat et al. 2018](https://arxiv.org/abs/1804.03619) compress by 0.3 for that reason).

use tch::{Kind, TchError, Tensor};

use super::SeparatorFitting;
use crate::mel::hann;

/// Samples of a transform, of which the next begins half of it later: 46 ms, in which partials of most notes lie apart.
const SPAN: u32 = 2_048;
/// The power of a magnitude.
const POWER: f64 = 0.3;
/// Added to a magnitude's square: a magnitude a hundred thousand times below a full one is silence.
const SILENCE: f64 = 1e-8;

/// Counts errors.
#[derive(Debug)]
pub(super) struct Loss {
    window: Tensor,
    sum: f64,
    spectrum: f64,
}

impl Loss {
    pub(super) fn new(fitting: &SeparatorFitting) -> Result<Self, TchError> {
        Ok(Self {
            window: hann(SPAN)?,
            sum: fitting.sum,
            spectrum: fitting.spectrum,
        })
    }

    /// Of stems that were found against those that were played, `[B, stems, channels, samples]` each.
    pub(super) fn of(&self, found: &Tensor, played: &Tensor) -> Result<Tensor, TchError> {
        let add = |stems: &Tensor| stems.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
        let (found_sum, played_sum) = (add(found)?, add(played)?);
        let mut loss = apart(found, played)?;
        if self.sum > 0.0 {
            loss = loss.f_add(&apart(&found_sum, &played_sum)?.f_mul_scalar(self.sum)?)?;
        }
        if self.spectrum > 0.0 {
            let compressed = apart(
                &self.compressed(&found_sum)?,
                &self.compressed(&played_sum)?,
            )?;
            loss = loss.f_add(&compressed.f_mul_scalar(self.spectrum)?)?;
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

    fn loss(sum: f64, spectrum: f64) -> Loss {
        let mut fitting = SeparatorRecipe::default().fitting;
        (fitting.sum, fitting.spectrum) = (sum, spectrum);
        Loss::new(&fitting).unwrap()
    }

    fn value(loss: &Loss, found: &Tensor, played: &Tensor) -> f64 {
        loss.of(found, played).unwrap().double_value(&[])
    }

    fn noise() -> Tensor {
        tch::manual_seed(1);
        Tensor::randn([1, 4, 1, 16_384], (Kind::Float, Device::Cpu))
    }

    #[test]
    fn what_moves_from_one_stem_to_another_costs_the_stems_and_not_their_sum() {
        let played = noise();
        let found = played.roll([1], [1]);
        let stems = value(&loss(0.0, 0.0), &found, &played);
        assert!(stems > 0.5);
        assert!((value(&loss(8.0, 8.0), &found, &played) - stems).abs() < 1e-3);
        assert!(value(&loss(8.0, 8.0), &played, &played) < 1e-6);
    }

    #[test]
    fn a_quiet_error_costs_more_between_the_loud_parts_of_a_spectrum() {
        let tone = |hz: f64, level: f64| {
            let turns = Tensor::arange(16_384, (Kind::Double, Device::Cpu)) * (hz / 44_100.0);
            let wave: Tensor = (turns * std::f64::consts::TAU).sin() * level;
            wave.to_kind(Kind::Float).view([1, 1, 1, 16_384])
        };
        let music = tone(1_000.0, 1.0);
        let heard = |error: &Tensor| &music + error;
        let cost = |hz: f64| value(&loss(0.0, 1.0), &heard(&tone(hz, 0.01)), &music);
        let samples = |hz: f64| value(&loss(1.0, 0.0), &heard(&tone(hz, 0.01)), &music);
        assert!((samples(1_000.0) / samples(3_000.0) - 1.0).abs() < 0.05);
        assert!(cost(3_000.0) > 2.0 * cost(1_000.0));
    }
}
