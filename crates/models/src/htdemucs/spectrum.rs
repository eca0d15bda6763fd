//! Between a segment and its complex spectrum, real and imaginary parts as channels. A segment is reflected at both ends so
//! that frame `t` is centred half a hop behind sample `t * hop`; the highest bin is left out, and comes back as zero.

use crate::mel::hann;
use tch::{Device, Kind, TchError, Tensor};

use bundle::separator::Config;

/// Frames that hold a sample: a frame begins every quarter of a transform.
const OVERLAP: i64 = 4;

#[derive(Debug)]
pub(super) struct Spectrum {
    nfft: i64,
    hop: i64,
    samples: i64,
    frames: i64,
    analysis: Tensor,
    /// The window again, divided by the sum of its squares over the frames that hold a sample.
    synthesis: Tensor,
}

impl Spectrum {
    pub(super) fn new(config: &Config, device: Device) -> Result<Self, TchError> {
        let window = hann(u32::try_from(config.nfft).unwrap_or(u32::MAX))?;
        let by_hop = window.f_to_kind(Kind::Double)?.f_view([OVERLAP, -1])?;
        let weight = by_hop
            .f_square()?
            .f_sum_dim_intlist([0i64].as_slice(), true, None::<Kind>)?;
        let synthesis = by_hop.f_div(&weight)?.f_view([-1])?;
        Ok(Self {
            nfft: config.nfft,
            hop: config.hop(),
            samples: config.segment,
            frames: config.frames(),
            analysis: window.f_to_device(device)?,
            synthesis: synthesis.f_to_kind(Kind::Float)?.f_to_device(device)?,
        })
    }

    pub(super) fn device(&self) -> Device {
        self.analysis.device()
    }

    /// Samples before the first of the segment.
    fn margin(&self) -> i64 {
        self.hop / 2 * 3
    }

    /// `[B, C, samples]` to `[B, 2 C, bins, frames]`.
    pub(super) fn analyse(&self, mix: &Tensor) -> Result<Tensor, TchError> {
        let behind = self.margin() + self.frames * self.hop - self.samples;
        let spectrum = mix
            .f_reflection_pad1d([self.margin(), behind])?
            .f_unfold(2, self.nfft, self.hop)?
            .f_mul(&self.analysis)?
            .f_fft_rfft(None, -1, "ortho")?
            .f_narrow(3, 0, self.nfft / 2)?;
        let size = mix.size();
        spectrum
            .f_view_as_real()?
            .f_permute([0, 1, 4, 3, 2])?
            .f_reshape([size[0], 2 * size[1], self.nfft / 2, self.frames])
    }

    /// `[B, stems * 2 C, bins, frames]` to `[B, stems * C, samples]`.
    pub(super) fn synthesise(&self, spectrum: &Tensor) -> Result<Tensor, TchError> {
        let size = spectrum.size();
        let channels = size[1] / 2;
        let frames = spectrum
            .f_view([size[0] * channels, 2, size[2], size[3]])?
            .f_permute([0, 3, 2, 1])?
            .f_contiguous()?
            .f_view_as_complex()?
            .f_fft_irfft(self.nfft, -1, "ortho")?
            .f_mul(&self.synthesis)?;
        self.overlap_add(&frames)?
            .f_narrow(1, self.margin(), self.samples)?
            .f_reshape([size[0], channels, self.samples])
    }

    /// `[N, frames, nfft]` to `[N, (frames + 3) * hop]`.
    fn overlap_add(&self, frames: &Tensor) -> Result<Tensor, TchError> {
        let rows = frames.size()[0];
        let pieces = frames
            .f_view([rows, self.frames, OVERLAP, self.hop])?
            .f_unbind(2)?;
        let mut sum = Tensor::f_zeros(
            [rows, self.frames + OVERLAP - 1, self.hop],
            (Kind::Float, frames.device()),
        )?;
        for (late, piece) in (0..).zip(&pieces) {
            let after = OVERLAP - 1 - late;
            sum = sum.f_add(&piece.f_constant_pad_nd([0, 0, late, after])?)?;
        }
        sum.f_view([rows, -1])
    }
}
