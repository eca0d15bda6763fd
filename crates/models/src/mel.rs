//! Log-mel on libtorch, in batches: the same code for serving, training, evaluation and the tests. Windows come with
//! their context (half a transform before the first frame and after the last), so that no frame is ever padded here;
//! what lies beyond a track's ends is zeros, put there by whoever cuts ([`bundle::WindowSpec`]).
//!
//! Every operation is differentiable and no gradient is switched off here: callers that infer do that.

pub mod filters;

use bundle::{MelNorm, Preprocessing};
use filters::{EmptyBand, Filters};
use tch::{Device, Kind, TchError, Tensor};

/// Why a mel transform cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MelError {
    /// The filter bank has an empty band.
    #[error("making the filter bank")]
    Filters(#[from] EmptyBand),
    /// libtorch refused.
    #[error("making the mel transform")]
    Torch(#[from] TchError),
}

/// A mel transform on one device.
#[derive(Debug)]
pub struct Mel {
    parameters: Preprocessing,
    /// Periodic Hann window, `n_fft` values.
    hann: Tensor,
    /// `[kept bins, bands]`.
    filters: Tensor,
    first_bin: i64,
    bins: i64,
}

impl Mel {
    /// The transform that a bundle's preprocessing names.
    ///
    /// # Errors
    /// When a band reaches no bin, or the device has no room.
    pub fn new(parameters: &Preprocessing, device: Device) -> Result<Self, MelError> {
        let bank = Filters::new(parameters)?;
        let (bins, bands) = (bank.bins as i64, bank.bands as i64);
        let filters = Tensor::f_from_slice(&bank.weights)?.f_view([bins, bands])?;
        Ok(Self {
            parameters: parameters.clone(),
            hann: hann(parameters.n_fft)?.f_to_device(device)?,
            filters: filters.f_to_kind(Kind::Float)?.f_to_device(device)?,
            first_bin: bank.first_bin as i64,
            bins,
        })
    }

    /// Mel power of windows with their context: `[B, samples]` to `[B, frames, bands]`, where
    /// `frames = 1 + (samples - n_fft) / hop`.
    ///
    /// # Errors
    /// When libtorch refuses: shapes, or no room on the device.
    pub fn power(&self, pcm: &Tensor) -> Result<Tensor, TchError> {
        let (n_fft, hop) = (
            i64::from(self.parameters.n_fft),
            i64::from(self.parameters.hop),
        );
        let frames = pcm.f_unfold(1, n_fft, hop)?.f_mul(&self.hann)?;
        let spectrum =
            frames
                .f_fft_rfft(None, -1, "backward")?
                .f_narrow(2, self.first_bin, self.bins)?;
        let parts = spectrum.f_view_as_real()?;
        let (real, imaginary) = (parts.f_select(3, 0)?, parts.f_select(3, 1)?);
        let power = real.f_square()?.f_addcmul(&imaginary, &imaginary)?;
        power.f_matmul(&self.filters)
    }

    /// `log10(max(power, floor))`, of the same shape.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn log(&self, power: &Tensor) -> Result<Tensor, TchError> {
        power.f_clamp_min(self.parameters.floor)?.f_log10()
    }

    /// From [`Mel::log`] to what the network sees: scaled, normed, `[B, bands, frames]`.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn scaled(&self, log: &Tensor) -> Result<Tensor, TchError> {
        let scaled = log
            .f_sub_scalar(self.parameters.shift)?
            .f_mul_scalar(self.parameters.gain)?;
        let normed = match self.parameters.norm {
            MelNorm::None => scaled,
            MelNorm::WindowMean => {
                scaled.f_sub(&scaled.f_mean_dim([1i64, 2].as_slice(), true, None::<Kind>)?)?
            }
        };
        normed.f_transpose(1, 2)
    }

    /// What the network sees of windows with their context: `[B, samples]` to `[B, bands, frames]`.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn windows(&self, pcm: &Tensor) -> Result<Tensor, TchError> {
        self.scaled(&self.log(&self.power(pcm)?)?)
    }

    /// Log-mel of a whole track in memory, `[samples]` to `[bands, frames]`, with zeros beyond its ends and before any
    /// norm: what every window of the track is a part of.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn track(&self, pcm: &Tensor) -> Result<Tensor, TchError> {
        let margin = i64::from(self.parameters.n_fft) / 2;
        let padded = pcm.f_constant_pad_nd([margin, margin])?.f_unsqueeze(0)?;
        self.log(&self.power(&padded)?)?
            .f_squeeze_dim(0)?
            .f_transpose(0, 1)
    }

    /// What this transform was made from.
    #[must_use]
    pub fn parameters(&self) -> &Preprocessing {
        &self.parameters
    }
}

/// A periodic Hann window, computed in double precision.
pub(crate) fn hann(n_fft: u32) -> Result<Tensor, TchError> {
    let value = |at: u32| {
        let turn = std::f64::consts::TAU * f64::from(at) / f64::from(n_fft);
        (0.5 - 0.5 * turn.cos()) as f32
    };
    Tensor::f_from_slice(&(0..n_fft).map(value).collect::<Vec<f32>>())
}
