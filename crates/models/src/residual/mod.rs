//! The residual on libtorch: segments of many tracks in, what their stems leave of them out, as the feature vector that
//! `bundle::features` names. Called by the engine, and by whoever makes or checks a bundle ([`known_features`]).
//!
//! Each segment is judged by itself: nothing is laid over its neighbours, and what lies beside it is not heard. Features are
//! taken of single precision output, whatever format the network computes in. Never cuts a track and never judges a vector.

mod measure;
mod standby;

pub use measure::sums;
pub(crate) use standby::Standby;

use crate::htdemucs::{self, HtDemucs};
use crate::params::ParamError;
use ::engine::{ResidualInfo, Segment};
use bundle::{Clip, RESIDUAL_CHANNELS_MAX, RESIDUAL_RATE_HZ_LEAST, Residual, Separator, Tensors};
use tch::nn::VarStore;
use tch::{Device, Kind, TchError, Tensor};

/// How segments are cut for a bundle's residual, in batches of at most `max_batch`. None of a separator that no ring serves or whose
/// rate does not hold the bands, which no manifest may have.
#[must_use]
pub fn info(residual: &Residual, max_batch: usize) -> Option<ResidualInfo> {
    let Separator::HtDemucs(config) = &residual.architecture;
    let served = (1..=RESIDUAL_CHANNELS_MAX).contains(&config.audio_channels)
        && config.rate_hz as f64 >= RESIDUAL_RATE_HZ_LEAST;
    Some(ResidualInfo {
        rate_hz: u32::try_from(config.rate_hz).ok()?,
        channels: u32::try_from(config.audio_channels).ok()?,
        segment: usize::try_from(config.segment).ok()?,
        max_batch,
    })
    .filter(|_| served)
}

/// A separator that measures.
#[derive(Debug)]
pub struct Measured {
    net: HtDemucs,
    _store: VarStore,
    hann: Tensor,
}

impl Measured {
    /// The separator of a bundle, computing in `kind`.
    ///
    /// # Errors
    /// When the weights do not fit the network, or libtorch refuses.
    pub fn new(
        residual: &Residual,
        weights: &Tensors,
        device: Device,
        kind: Kind,
    ) -> Result<Self, ParamError> {
        let Separator::HtDemucs(config) = &residual.architecture;
        let (store, net) = htdemucs::load(config, weights, device, kind)?;
        Ok(Self {
            net,
            _store: store,
            hann: measure::hann(device)?,
        })
    }

    /// As [`Measured::new`], in single precision on the processor: what other devices are compared with.
    ///
    /// # Errors
    /// As there.
    pub fn on_processor(residual: &Residual, weights: &Tensors) -> Result<Self, ParamError> {
        Self::new(residual, weights, Device::Cpu, Kind::Float)
    }

    /// The feature vectors of segments that lie one after another in `pcm`, interleaved and scaled.
    ///
    /// # Errors
    /// When libtorch refuses: shapes, or no room on the device.
    pub fn features(&self, pcm: &[f32], segments: &[Segment]) -> Result<Vec<Vec<f32>>, TchError> {
        let config = self.net.config();
        let shape = [segments.len() as i64, config.segment, config.audio_channels];
        tch::no_grad(|| {
            let mix = Tensor::f_from_slice(pcm)?
                .f_view(shape)?
                .f_to_device(self.net.device())?
                .f_transpose(1, 2)?
                .f_contiguous()?;
            let sum = self.net.forward(&mix)?.f_sum_dim_intlist(
                [1i64].as_slice(),
                false,
                None::<Kind>,
            )?;
            let pairs = mix.f_unbind(0)?.into_iter().zip(sum.f_unbind(0)?);
            let measured = pairs.zip(segments).map(|((mix, sum), segment)| {
                let heard = |tensor: &Tensor| {
                    tensor.f_narrow(1, segment.before as i64, segment.samples as i64)
                };
                let rate = config.rate_hz as f64;
                let sums = measure::sums_by(&self.hann, &heard(&mix)?, &heard(&sum)?, rate)?;
                let sums = bundle::features::Sums {
                    deviation: segment.deviation,
                    ..sums
                };
                Ok(sums.features().iter().map(|value| *value as f32).collect())
            });
            measured.collect()
        })
    }
}

/// The canary of a residual: the screen's clip as it stands, heard at the residual's rate and on each channel, cut or padded to one
/// segment.
#[must_use]
pub fn canary_segment(clip: &Clip, info: &ResidualInfo) -> (Vec<f32>, Segment) {
    let samples = clip.0.len().min(info.segment);
    let before = (info.segment - samples) / 2;
    let channels = info.channels as usize;
    let mut pcm = vec![0.0; before * channels];
    for sample in &clip.0[..samples] {
        pcm.extend(std::iter::repeat_n(*sample, channels));
    }
    pcm.resize(info.values(), 0.0);
    let segment = Segment {
        before,
        samples,
        mean: 0.0,
        deviation: 1.0,
    };
    (pcm, segment)
}

/// The known features of a bundle's clip, for whoever makes a bundle: in single precision on a processor, by the code that serves.
/// None where no worker could serve the residual.
///
/// # Errors
/// When the weights do not fit the network, or libtorch refuses.
pub fn known_features(
    residual: &Residual,
    weights: &Tensors,
    clip: &Clip,
) -> Result<Option<Vec<f64>>, ParamError> {
    let Some(info) = info(residual, 1) else {
        return Ok(None);
    };
    let (pcm, segment) = canary_segment(clip, &info);
    let net = Measured::on_processor(residual, weights)?;
    let features = net.features(&pcm, &[segment])?.pop();
    Ok(features.map(|vector| vector.into_iter().map(f64::from).collect()))
}
