//! The residual of a loaded bundle, ready to be asked: what is known of it without its weights, and its network from the first
//! question on. A node that only screens never pays for a separator, which is twenty times as large as its screen.

use super::{Measured, canary_segment, info};
use crate::params::ParamError;
use crate::{device, fault, memory};
use ::engine::{EngineError, ResidualCanary, ResidualInfo, Segment, SegmentScore};
use bundle::features::RESIDUAL_V1;
use bundle::{Bundle, Residual, Separator};
use std::path::PathBuf;
use types::{DeviceKind, Dtype};

/// Segments of a batch on the processor: more of them take more memory and no less time.
const BATCH_CPU: usize = 1;
/// Segments of a batch on a GPU: each takes hundreds of megabytes there, and a batch that does not fit is halved.
const BATCH_CUDA: usize = 16;

/// Single precision values that a segment takes on a processor at its largest moment, for each of its samples and each channel of the network's
/// first layer: at the published size, 343,980 samples and 48 channels, a segment more in a batch took 0.5 to 0.65 GB.
const VALUES_OF_A_SEGMENT: u64 = 10;
/// Copies of the weights while the network is built: as read, and in it.
const WEIGHTS_HELD: u64 = 2;
const MIB: u64 = 1 << 20;

/// A residual that waits for its first question.
#[derive(Debug)]
pub(crate) struct Standby {
    info: ResidualInfo,
    canary: Option<ResidualCanary>,
    torch: tch::Device,
    dtype: Dtype,
    /// Where the kernel's files are found.
    root: PathBuf,
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
            root: PathBuf::from("/"),
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
        if self.torch == tch::Device::Cpu {
            self.find_room(bundle)?;
        }
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

    /// Whether the processor's memory has room for the separator, asked before a byte of it is taken: where it has none the kernel may end this
    /// process amid a track instead of refusing.
    fn find_room(&self, bundle: &Bundle) -> Result<(), EngineError> {
        let needed = bundle
            .manifest
            .residual
            .as_ref()
            .map_or(0, |residual| need(bundle, residual));
        let short = memory::left(&self.root).filter(|left| *left < needed);
        short.map_or(Ok(()), |left| {
            let (needed, left) = (needed / MIB, left / MIB);
            Err(EngineError::NoRoom {
                detail: format!(
                    "it needs {needed} MiB, and this machine or the worker's control group has {left} MiB left"
                ),
            })
        })
    }
}

/// Bytes that a residual takes on a processor beyond what is loaded, from the first weight that is read to the end of its first batch.
fn need(bundle: &Bundle, residual: &Residual) -> u64 {
    let Separator::HtDemucs(config) = &residual.architecture;
    let mut files = bundle.manifest.files.iter();
    let weights = files.find(|file| file.name == residual.weights);
    let cells = config
        .segment
        .unsigned_abs()
        .saturating_mul(config.channels.unsigned_abs());
    let values = cells.saturating_mul(VALUES_OF_A_SEGMENT * BATCH_CPU as u64);
    values
        .saturating_mul(size_of::<f32>() as u64)
        .saturating_add(WEIGHTS_HELD * weights.map_or(0, |file| file.bytes))
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

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::{PublicKey, Trust};
    use std::fs;
    use std::path::Path;

    fn demonstration() -> Bundle {
        let bundles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bundles");
        let key = fs::read_to_string(bundles.join("demo.pub")).unwrap();
        let key: PublicKey = key.trim().parse().unwrap();
        Bundle::open(&bundles.join("demo"), &Trust::new([key])).unwrap()
    }

    #[test]
    fn a_separator_waits_for_room_on_the_processor_instead_of_being_ended_for_it() {
        let bundle = demonstration();
        let opened = device::open(DeviceKind::Cpu, 0, Dtype::F32).unwrap();
        let mut standby = Standby::of(&bundle, &opened, Dtype::F32).unwrap();
        let root = tempfile::tempdir().unwrap();
        let meminfo = root.path().join("proc/meminfo");
        fs::create_dir(root.path().join("proc")).unwrap();
        standby.root = root.path().to_owned();
        let silence = vec![0.0; standby.info().values()];
        let segment = [Segment {
            before: 0,
            samples: standby.info().segment,
            mean: 0.0,
            deviation: 1.0,
        }];

        fs::write(&meminfo, "MemAvailable: 20480 kB\n").unwrap();
        let refused = standby.separate(&bundle, &silence, &segment).unwrap_err();
        let EngineError::NoRoom { detail } = &refused else {
            panic!("{refused}");
        };
        assert!(detail.contains("20 MiB left"), "{detail}");
        assert!(standby.net.is_none());

        fs::write(&meminfo, "MemAvailable: 1048576 kB\n").unwrap();
        let found = standby.separate(&bundle, &silence, &segment).unwrap();
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn the_need_grows_with_segment_and_network() {
        let bundle = demonstration();
        let residual = bundle.manifest.residual.clone().unwrap();
        let own = need(&bundle, &residual);
        assert!((32 * MIB..384 * MIB).contains(&own), "{own}");
        let mut published = residual;
        let Separator::HtDemucs(config) = &mut published.architecture;
        (config.segment, config.channels) = (343_980, 48);
        let large = need(&bundle, &published);
        assert!((512 * MIB..1_024 * MIB).contains(&large), "{large}");
    }
}
