//! The engine on libtorch: PCM windows in, logits, pictures and feature vectors out; segments in, the residual's features out. One
//! per worker, one device each; the worker's loop (`engine::serve`) owns it, cuts tracks for it and splits batches that do not fit.

use crate::describe;
use crate::device::{self, Opened};
use crate::fault;
use crate::mel::Mel;
use crate::params;
use crate::residual::Standby;
use crate::screen::{self, Folded};
use ::engine::{
    Canary, Engine, EngineError, EngineInfo, Load, ResidualCanary, Segment, SegmentScore,
    WindowScore,
};
use bundle::{Architecture, Bundle, Tensors};
use half::f16;
use std::num::NonZeroU32;
use std::path::Path;
use tch::{TchError, Tensor};
use types::{DeviceKind, Dtype};

/// Windows of a batch on the processor where none is asked for. Measured from 1 to 16 the processor time of a window is
/// the same; few keep the memory small and a track's answer near.
const BATCH_CPU: usize = 4;
/// Windows of a batch on a GPU where none is asked for: enough to fill one, at about 10 MB a window far below 8 GB.
const BATCH_CUDA: usize = 256;
/// Largest batch that is believed: a thousand windows of PCM are half a gigabyte of host memory.
const BATCH_MAX: usize = 1_024;

/// One bundle on one device: its screen, and its residual where it has one.
#[derive(Debug)]
pub struct TorchEngine {
    info: EngineInfo,
    canary: Canary,
    /// Without the screen's weights, which lie in `net`.
    bundle: Bundle,
    residual: Option<Standby>,
    device: tch::Device,
    mel: Mel,
    net: Folded,
}

impl TorchEngine {
    /// Loads what the agent asks for, with at most `threads` threads for an operation on the processor. Comes before any
    /// other call of libtorch in the process.
    ///
    /// # Errors
    /// [`EngineError::Bundle`] when the bundle is refused or does not fit its architecture; [`EngineError::Device`] when
    /// the device is absent or fails.
    pub fn load(wanted: &Load, threads: Option<NonZeroU32>) -> Result<Self, EngineError> {
        let dtype = wanted.dtype.unwrap_or(Dtype::F32);
        let opened = device::open(wanted.device, wanted.index, dtype).map_err(|error| {
            EngineError::Device {
                detail: error.to_string(),
            }
        })?;
        device::set_threads(threads);
        device::keep_memory();
        let refuse = |detail: String| EngineError::Bundle {
            path: wanted.bundle_dir.clone(),
            detail,
        };
        let bundle = Bundle::open_pinned(Path::new(&wanted.bundle_dir), wanted.bundle)
            .and_then(|bundle| bundle.check_fit().map(|()| bundle))
            .map_err(|error| refuse(error.problem().to_string()))?;
        let wanted_batch = wanted.max_batch.map(|batch| batch as usize);
        Self::new(bundle, opened, dtype, wanted_batch).map_err(|error| match error {
            NewError::Torch(error) => EngineError::Device {
                detail: fault::first_words(&error.to_string()),
            },
            NewError::Bundle(detail) => refuse(detail),
        })
    }

    /// An engine of an opened bundle on an opened device; `batch` bounds its batches.
    fn new(
        bundle: Bundle,
        opened: Opened,
        dtype: Dtype,
        batch: Option<usize>,
    ) -> Result<Self, NewError> {
        let screen = &bundle.manifest.screen;
        let epsilon = bundle.manifest.epsilon.of(dtype);
        let epsilon = epsilon
            .ok_or_else(|| NewError::Bundle(format!("the bundle has no epsilon for {dtype}")))?;
        let mel = Mel::new(&screen.preprocessing, opened.torch).map_err(|error| match error {
            crate::mel::MelError::Filters(error) => NewError::Bundle(error.to_string()),
            crate::mel::MelError::Torch(error) => NewError::Torch(error),
        })?;
        let Architecture::CnnV1(cnn) = &screen.architecture;
        let (_store, net) = screen::load(cnn, &bundle.screen, opened.torch)?;
        let residual = Standby::of(&bundle, &opened, dtype);
        Ok(Self {
            info: EngineInfo {
                residual: residual.as_ref().map(|standby| standby.info().clone()),
                ..info(&bundle, &opened, dtype, batch)
            },
            canary: canary(&bundle, epsilon),
            residual,
            device: opened.torch,
            net: Folded::new(&net, device::kind(dtype))?,
            mel,
            bundle: Bundle {
                screen: Tensors(Vec::new()),
                ..bundle
            },
        })
    }

    /// Scores windows: `[B, 1 + features + pooled]` in single precision, and the pictures' bytes.
    fn run(&self, pcm: &[f32], batch: usize) -> Result<Vec<WindowScore>, TchError> {
        tch::no_grad(|| {
            let rows = Tensor::f_from_slice(pcm)?
                .f_view([batch as i64, -1])?
                .f_to_device(self.device)?;
            let power = self.mel.power(&rows)?;
            let log = self.mel.log(&power)?;
            let output = self.net.forward(&self.mel.scaled(&log)?)?;
            let features = describe::features(&power, &log, &self.bundle.manifest.screen.features)?;
            let numbers =
                Tensor::f_cat(&[output.logits.f_unsqueeze(1)?, features, output.pooled], 1)?;
            let pictures = describe::pictures(&power, &self.bundle.manifest.picture)?;
            self.scores(&params::values(&numbers)?, &bytes(&pictures)?, batch)
        })
    }

    fn scores(
        &self,
        numbers: &[f32],
        pictures: &[u8],
        batch: usize,
    ) -> Result<Vec<WindowScore>, TchError> {
        let (width, area) = (numbers.len() / batch, pictures.len() / batch);
        let features = self.bundle.manifest.screen.features.len();
        let rows = numbers.chunks_exact(width).zip(pictures.chunks_exact(area));
        let score = |(row, picture): (&[f32], &[u8])| {
            let (kept, pooled) = row.split_at(1 + features);
            let embedded = self.bundle.manifest.screen.embedding.is_some();
            WindowScore {
                logit: kept[0],
                picture: picture.to_vec(),
                features: kept[1..].to_vec(),
                embedding: embedded
                    .then(|| pooled.iter().map(|value| f16::from_f32(*value)).collect()),
            }
        };
        Ok(rows.map(score).collect())
    }
}

impl Engine for TorchEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn canary(&self) -> &Canary {
        &self.canary
    }

    fn screen(&mut self, pcm: &[f32], batch: usize) -> Result<Vec<WindowScore>, EngineError> {
        let samples = batch.checked_mul(self.info.window.samples());
        if batch == 0 || samples != Some(pcm.len()) {
            let detail = format!("{} samples are not {batch} windows", pcm.len());
            return Err(EngineError::Device { detail });
        }
        self.run(pcm, batch)
            .map_err(|error| fault::of_batch(&error, batch))
    }

    fn residual_canary(&self) -> Option<&ResidualCanary> {
        self.residual.as_ref().and_then(Standby::canary)
    }

    fn residual(
        &mut self,
        pcm: &[f32],
        segments: &[Segment],
    ) -> Result<Vec<SegmentScore>, EngineError> {
        match &mut self.residual {
            Some(standby) => standby.separate(&self.bundle, pcm, segments),
            None => Err(EngineError::Device {
                detail: "the bundle has no residual here".to_owned(),
            }),
        }
    }
}

/// Why an engine could not be made.
#[derive(Debug)]
enum NewError {
    Bundle(String),
    Torch(TchError),
}

impl From<TchError> for NewError {
    fn from(error: TchError) -> Self {
        Self::Torch(error)
    }
}

impl From<params::ParamError> for NewError {
    fn from(error: params::ParamError) -> Self {
        match error {
            params::ParamError::Torch(error) => Self::Torch(error),
            params::ParamError::Missing(_)
            | params::ParamError::Unexpected(_)
            | params::ParamError::Shape { .. }
            | params::ParamError::NotFinite(_) => Self::Bundle(error.to_string()),
        }
    }
}

fn info(bundle: &Bundle, opened: &Opened, dtype: Dtype, batch: Option<usize>) -> EngineInfo {
    let usual = match opened.device.kind {
        DeviceKind::Cpu => BATCH_CPU,
        DeviceKind::Cuda => BATCH_CUDA,
    };
    EngineInfo {
        bundle: bundle.digest,
        window: bundle.window(),
        device: opened.device.clone(),
        dtype,
        max_batch: batch.unwrap_or(usual).clamp(1, BATCH_MAX),
        picture_rows: bundle.manifest.picture.rows as usize,
        silent_below_db: bundle.manifest.screen.level.silent_below_db,
        residual: None,
    }
}

fn canary(bundle: &Bundle, epsilon: f64) -> Canary {
    Canary {
        pcm: bundle.clip.0.clone(),
        logits: bundle
            .manifest
            .canary
            .scores
            .iter()
            .map(|score| score.logit as f32)
            .collect(),
        epsilon: epsilon as f32,
    }
}

fn bytes(tensor: &Tensor) -> Result<Vec<u8>, TchError> {
    let flat = tensor
        .f_to_device(tch::Device::Cpu)?
        .f_contiguous()?
        .f_view([-1])?;
    Vec::<u8>::try_from(&flat)
}
