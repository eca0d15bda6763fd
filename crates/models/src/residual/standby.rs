//! The residual of a loaded bundle, ready to be asked: what is known of it without its weights, and its network from the first
//! question on. A node that only screens never pays for a separator, which is twenty times as large as its screen.

use super::{Measured, canary_segment, info};
use crate::params::ParamError;
use crate::{device, fault};
use ::engine::{EngineError, ResidualCanary, ResidualInfo, Segment, SegmentScore};
use bundle::features::RESIDUAL_V1;
use bundle::{Bundle, Residual};
use types::{DeviceKind, Dtype};

/// Segments of a batch on the processor: more of them take more memory and no less time.
const BATCH_CPU: usize = 1;
/// Segments of a batch on a GPU: each takes hundreds of megabytes there, and a batch that does not fit is halved.
const BATCH_CUDA: usize = 16;

/// A residual that waits for its first question.
#[derive(Debug)]
pub(crate) struct Standby {
    info: ResidualInfo,
    canary: Option<ResidualCanary>,
    torch: tch::Device,
    dtype: Dtype,
    net: Option<Measured>,
}

impl Standby {
    /// What a bundle's residual is on a device; none where the bundle has none, gives no epsilon for this number format, or has a
    /// separator that no ring serves.
    pub(crate) fn of(bundle: &Bundle, opened: &device::Opened, dtype: Dtype) -> Option<Self> {
        let residual = bundle.manifest.residual.as_ref()?;
        let batch = match opened.device.kind {
            DeviceKind::Cpu => BATCH_CPU,
            DeviceKind::Cuda => BATCH_CUDA,
        };
        let info = info(residual, batch);
        if info.is_none() || residual.epsilon.of(dtype).is_none() {
            tracing::warn!(bundle = %bundle.digest.short(), %dtype, "the bundle's residual is not served on this device");
            return None;
        }
        let info = info?;
        Some(Self {
            canary: canary(bundle, residual, &info, dtype),
            info,
            torch: opened.torch,
            dtype,
            net: None,
        })
    }

    /// How segments are cut.
    pub(crate) fn info(&self) -> &ResidualInfo {
        &self.info
    }

    /// What the device must reproduce.
    pub(crate) fn canary(&self) -> Option<&ResidualCanary> {
        self.canary.as_ref()
    }

    /// As [`::engine::Engine::residual`].
    pub(crate) fn separate(
        &mut self,
        bundle: &Bundle,
        pcm: &[f32],
        segments: &[Segment],
    ) -> Result<Vec<SegmentScore>, EngineError> {
        let batch = segments.len();
        if batch == 0 || pcm.len() != batch * self.info.values() {
            let detail = format!("{} values are not {batch} segments", pcm.len());
            return Err(EngineError::Device { detail });
        }
        if self.net.is_none() {
            self.net = Some(self.load(bundle)?);
        }
        let net = self.net.as_ref().expect("it has just been loaded");
        let vectors = net
            .features(pcm, segments)
            .map_err(|error| fault::of_batch(&error, batch))?;
        let score = |features| SegmentScore { features };
        Ok(vectors.into_iter().map(score).collect())
    }

    fn load(&self, bundle: &Bundle) -> Result<Measured, EngineError> {
        let refuse = |detail: String| EngineError::Bundle {
            path: bundle.dir.display().to_string(),
            detail,
        };
        let weights = bundle
            .residual_weights()
            .map_err(|error| refuse(error.problem().to_string()))?;
        let (Some(residual), Some(weights)) = (&bundle.manifest.residual, weights) else {
            return Err(refuse("it has no residual".to_owned()));
        };
        if self.torch == tch::Device::Cpu {
            device::keep_large_memory();
        }
        let kind = device::kind(self.dtype);
        Measured::new(residual, &weights, self.torch, kind).map_err(|error| match error {
            ParamError::Torch(error) => fault::of_load(&error),
            ParamError::Missing(_)
            | ParamError::Unexpected(_)
            | ParamError::Shape { .. }
            | ParamError::NotFinite(_) => refuse(error.to_string()),
        })
    }
}

fn canary(
    bundle: &Bundle,
    residual: &Residual,
    info: &ResidualInfo,
    dtype: Dtype,
) -> Option<ResidualCanary> {
    let known = residual.canary.as_ref()?;
    let (pcm, segment) = canary_segment(&bundle.clip, info);
    let single = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
    Some(ResidualCanary {
        pcm,
        segment,
        features: single(&known.features),
        spans: RESIDUAL_V1
            .iter()
            .map(|feature| feature.span as f32)
            .collect(),
        epsilon: known.epsilon.of(dtype)? as f32,
    })
}
