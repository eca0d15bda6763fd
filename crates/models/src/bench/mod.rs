//! `trackscan-worker bench`: what one device does of each stage, by batch, in one number format: decoding, mel, screen, residual, and the
//! whole path of one track. Prints a table and, where asked for, writes the same as JSON.
//!
//! Called by the worker's `main`. It runs the engine that serves, in this process, one stage after the other: what a node gains by
//! doing them beside each other is not in it. Number formats need processes of their own, since libtorch takes TensorFloat-32 or leaves
//! it once and for all; so it is one for each run.

mod clock;
mod plan;
mod report;
mod sound;

pub use report::{Report, Row};

use crate::mel::{Mel, MelError};
use crate::{TorchEngine, device};
use ::engine::{Engine, EngineError, Load, Segment};
use bundle::features::DEVIATION_LEAST;
use bundle::{Bundle, BundleError, Grid, Heard, Residual, Segments};
use clock::{Clock, Times};
use plan::{Plan, Stage};
use sound::{Sound, SoundError};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use tch::{TchError, Tensor};
use types::{DeviceKind, Digest, Dtype};

/// Largest batch that is tried: beyond it host memory is what is measured.
const BATCH_MAX: u32 = 4_096;

/// Flags of `bench`.
#[derive(Debug, clap::Args)]
pub struct Bench {
    /// The bundle's folder; whether it is signed is not looked at.
    bundle: PathBuf,
    /// A sound file; without one a piece is composed.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Seconds of the composed piece.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Kind of device: `cpu` or `cuda`.
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
    /// Which of its kind.
    #[arg(long, default_value_t = 0)]
    index: u32,
    /// Number format.
    #[arg(long, default_value = "f32")]
    dtype: Dtype,
    /// Stages to measure; all where nothing is said.
    #[arg(long, value_enum, value_delimiter = ',', num_args = 1)]
    stages: Vec<Stage>,
    /// Windows per batch; by default a few sizes that suit the device.
    #[arg(long, value_delimiter = ',', num_args = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(BATCH_MAX)))]
    batches: Vec<u32>,
    /// Segments per batch; by default a few sizes that suit the device.
    #[arg(long, value_delimiter = ',', num_args = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(BATCH_MAX)))]
    segment_batches: Vec<u32>,
    /// Passes that are counted, after one that is not; the median is printed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Threads of one tensor operation on the processor; a quarter of the cores where nothing is said.
    #[arg(long)]
    threads: Option<NonZeroU32>,
    /// File for the same as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The bundle's manifest could not be read.
    #[error("reading the bundle `{path}`")]
    Read {
        /// Its folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bundle is refused.
    #[error("opening the bundle")]
    Bundle(#[from] BundleError),
    /// The engine failed.
    #[error("running the engine")]
    Engine(#[from] EngineError),
    /// The sound could not be made or decoded.
    #[error("preparing the sound")]
    Sound(#[from] SoundError),
    /// The mel transform could not be made.
    #[error("preparing the mel transform")]
    Mel(#[from] MelError),
    /// libtorch refused.
    #[error("running the mel transform")]
    Torch(#[from] TchError),
    /// The report could not be printed or written.
    #[error("writing the report")]
    Write(#[source] std::io::Error),
    /// The sound is too short for what is to be measured.
    #[error("{seconds} s of sound have no window of this bundle")]
    TooShort {
        /// Its length.
        seconds: f64,
    },
}

/// Measures, prints and writes.
///
/// # Errors
/// [`BenchError`]. A batch that does not fit the device is no error: its row says so.
pub fn run(flags: &Bench) -> Result<(), BenchError> {
    let mut stand = Stand::new(flags)?;
    let report = Report {
        bundle: stand.bundle.digest.to_string(),
        device: stand.engine.info().device.name.clone(),
        kind: flags.device.to_string(),
        dtype: flags.dtype.to_string(),
        threads: device::threads(flags.threads),
        rounds: flags.rounds,
        rows: stand.rows(&Plan::of(flags))?,
    };
    report.print().map_err(BenchError::Write)?;
    match &flags.json {
        Some(path) => report.write(path).map_err(BenchError::Write),
        None => Ok(()),
    }
}

/// What is measured, and on what.
struct Stand {
    bundle: Bundle,
    engine: TorchEngine,
    mel: Mel,
    torch: tch::Device,
    sound: Sound,
    clock: Clock,
    /// Mono at the screen's rate.
    mono: Vec<f32>,
    /// Interleaved at the residual's rate, scaled; empty without a residual.
    stereo: Vec<f32>,
}

impl Stand {
    fn new(flags: &Bench) -> Result<Self, BenchError> {
        let path = flags.bundle.join(bundle::MANIFEST_FILE);
        let manifest = std::fs::read(&path).map_err(|source| BenchError::Read {
            path: flags.bundle.display().to_string(),
            source,
        })?;
        let digest = Digest::of(&manifest);
        let engine = TorchEngine::load(&wanted(flags, digest), flags.threads)?;
        let bundle = Bundle::open_pinned(&flags.bundle, digest)?;
        let torch = torch_device(flags);
        let sound = Sound::of(flags.file.as_deref(), flags.seconds)?;
        let mono = sound.mono(engine.info().window.rate_hz)?;
        let mut stereo = match &engine.info().residual {
            Some(info) => sound.stereo(info)?,
            None => Vec::new(),
        };
        scale(&mut stereo);
        Ok(Self {
            mel: Mel::new(&bundle.manifest.screen.preprocessing, torch)?,
            torch,
            clock: Clock::new(flags.rounds),
            bundle,
            engine,
            sound,
            mono,
            stereo,
        })
    }

    fn rows(&mut self, plan: &Plan) -> Result<Vec<Row>, BenchError> {
        let mut rows = self.screen_rows(plan)?;
        if self.engine.info().residual.is_some() {
            rows.extend(self.residual_rows(plan)?);
        }
        if plan.asks(Stage::Path) {
            let row = self.whole()?;
            rows.push(self.holding(row));
        }
        Ok(rows)
    }

    /// What the first engine does.
    fn screen_rows(&mut self, plan: &Plan) -> Result<Vec<Row>, BenchError> {
        let mut rows = Vec::new();
        if plan.asks(Stage::Decode) {
            rows.push(self.decode_mono()?);
        }
        for batch in &plan.windows {
            if plan.asks(Stage::Mel) {
                rows.push(self.holding(self.mel(*batch)?));
            }
            if plan.asks(Stage::Screen) {
                let row = self.screen(*batch)?;
                rows.push(self.holding(row));
            }
        }
        Ok(rows)
    }

    /// What the second engine does.
    fn residual_rows(&mut self, plan: &Plan) -> Result<Vec<Row>, BenchError> {
        let mut rows = Vec::new();
        if plan.asks(Stage::Decode) {
            rows.push(self.decode_stereo()?);
        }
        if plan.asks(Stage::Residual) {
            for batch in &plan.segments {
                let row = self.residual(*batch)?;
                rows.push(self.holding(row));
            }
        }
        Ok(rows)
    }

    /// The row with what the device's memory holds now.
    fn holding(&self, row: Row) -> Row {
        let info = self.engine.info();
        row.holding(device::held_bytes(info.device.kind, info.device.index))
    }

    /// Seconds of the sound.
    fn seconds(&self) -> f64 {
        self.mono.len() as f64 / f64::from(self.engine.info().window.rate_hz)
    }

    fn decode_mono(&self) -> Result<Row, BenchError> {
        let rate_hz = self.engine.info().window.rate_hz;
        let times = self.clock.time(|| {
            self.sound
                .mono(rate_hz)
                .map(|_| ())
                .map_err(BenchError::from)
        })?;
        Ok(Row::of(
            "decode for the screen",
            None,
            self.seconds(),
            times,
        ))
    }

    fn decode_stereo(&self) -> Result<Row, BenchError> {
        let Some(info) = self.engine.info().residual.clone() else {
            return Ok(Row::absent("decode for the residual"));
        };
        let times = self.clock.time(|| {
            self.sound
                .stereo(&info)
                .map(|_| ())
                .map_err(BenchError::from)
        })?;
        Ok(Row::of(
            "decode for the residual",
            None,
            self.seconds(),
            times,
        ))
    }

    /// So many windows of the sound, from its begin on and again from there, and the seconds that they hear.
    fn windows(&self, batch: usize) -> Result<(Vec<f32>, f64), BenchError> {
        let spec = self.engine.info().window;
        let starts: Vec<_> = spec.starts(self.mono.len() as u64).collect();
        if starts.is_empty() {
            let seconds = self.seconds();
            return Err(BenchError::TooShort { seconds });
        }
        let starts = starts.into_iter().cycle().take(batch);
        let pcm = starts
            .flat_map(|start| spec.cut(&self.mono, start))
            .collect();
        let new = spec.stride_samples() as f64 / f64::from(spec.rate_hz);
        Ok((pcm, new * batch as f64))
    }

    fn mel(&self, batch: usize) -> Result<Row, BenchError> {
        let (pcm, seconds) = self.windows(batch)?;
        let pass = || -> Result<(), BenchError> {
            let rows = Tensor::f_from_slice(&pcm)?
                .f_view([batch as i64, -1])?
                .f_to_device(self.torch)?;
            let mel = tch::no_grad(|| self.mel.windows(&rows))?;
            // A device answers once it is through.
            mel.f_sum(None::<tch::Kind>)?.f_double_value(&[])?;
            Ok(())
        };
        match self.clock.time(pass) {
            Ok(times) => Ok(Row::of("mel", Some(batch), seconds, times)),
            Err(BenchError::Torch(error)) if crate::fault::is_out_of_memory(&error.to_string()) => {
                Ok(Row::too_large("mel", batch))
            }
            Err(error) => Err(error),
        }
    }

    fn screen(&mut self, batch: usize) -> Result<Row, BenchError> {
        let (pcm, seconds) = self.windows(batch)?;
        let (clock, engine) = (&self.clock, &mut self.engine);
        let times = clock.time(|| {
            engine
                .screen(&pcm, batch)
                .map(|_| ())
                .map_err(BenchError::from)
        });
        row("screen", batch, seconds, times)
    }

    /// So many segments of the sound, as those of the bundle's choice follow each other, and the seconds that they hear.
    fn segments(&self, residual: &Residual, batch: usize) -> (Vec<f32>, Vec<Segment>, f64) {
        let Some(info) = self.engine.info().residual.clone() else {
            return (Vec::new(), Vec::new(), 0.0);
        };
        let channels = info.channels as usize;
        let heard = Heard {
            samples: self.mono.len() as u64,
            rate_hz: self.engine.info().window.rate_hz,
            windows: &[],
        };
        let grid = Grid {
            rate_hz: info.rate_hz,
            segment: info.segment as u64,
            overlap: residual.overlap,
        };
        let starts = Segments::All.choose(grid, &heard);
        let (mut pcm, mut segments) = (Vec::new(), Vec::new());
        for start in starts.into_iter().cycle().take(batch) {
            let from = usize::try_from(start)
                .unwrap_or(usize::MAX)
                .saturating_mul(channels);
            let own = self.stereo.get(from..).unwrap_or_default();
            let own = &own[..own.len().min(info.values())];
            let samples = own.len() / channels;
            let before = (info.segment - samples) / 2;
            let end = pcm.len() + info.values();
            pcm.resize(pcm.len() + before * channels, 0.0);
            pcm.extend_from_slice(own);
            pcm.resize(end, 0.0);
            segments.push(Segment {
                before,
                samples,
                mean: 0.0,
                deviation: 1.0,
            });
        }
        let seconds = segments
            .iter()
            .map(|segment| segment.samples)
            .sum::<usize>();
        (pcm, segments, seconds as f64 / f64::from(info.rate_hz))
    }

    fn residual(&mut self, batch: usize) -> Result<Row, BenchError> {
        let Some(section) = self.bundle.manifest.residual.clone() else {
            return Ok(Row::absent("residual"));
        };
        let (pcm, segments, seconds) = self.segments(&section, batch);
        let (clock, engine) = (&self.clock, &mut self.engine);
        let times = clock.time(|| {
            engine
                .residual(&pcm, &segments)
                .map(|_| ())
                .map_err(BenchError::from)
        });
        row("residual", batch, seconds, times)
    }

    /// One track from its bytes to both scores, with the batches and the choice of segments that serving has.
    fn whole(&mut self) -> Result<Row, BenchError> {
        let spec = self.engine.info().window;
        let batch = self.engine.info().max_batch;
        let residual = self.engine.info().residual.clone();
        let section = self.bundle.manifest.residual.clone();
        let per_pass = residual.as_ref().map_or(1, |info| info.max_batch);
        let asked = section.zip(residual).map(|(section, info)| {
            let (pcm, segments, _) = self.segments(&section, self.chosen(&section, &info));
            (pcm, segments, info)
        });
        let seconds = self.seconds();
        let Self {
            engine,
            sound,
            clock,
            ..
        } = self;
        let times = clock.time(|| -> Result<(), BenchError> {
            let mono = sound.mono(spec.rate_hz)?;
            let windows: Vec<_> = spec.starts(mono.len() as u64).collect();
            for part in windows.chunks(batch) {
                let pcm: Vec<f32> = part
                    .iter()
                    .flat_map(|start| spec.cut(&mono, *start))
                    .collect();
                engine.screen(&pcm, part.len())?;
            }
            let Some((pcm, segments, info)) = &asked else {
                return Ok(());
            };
            sound.stereo(info)?;
            for (at, part) in segments.chunks(per_pass).enumerate() {
                let from = at * per_pass * info.values();
                engine.residual(&pcm[from..from + part.len() * info.values()], part)?;
            }
            Ok(())
        });
        times.map(|times| Row::of("whole path of the track", None, seconds, times))
    }

    /// How many segments the bundle takes of the sound.
    fn chosen(&self, section: &Residual, info: &::engine::ResidualInfo) -> usize {
        let heard = Heard {
            samples: self.mono.len() as u64,
            rate_hz: self.engine.info().window.rate_hz,
            windows: &[],
        };
        let grid = Grid {
            rate_hz: info.rate_hz,
            segment: info.segment as u64,
            overlap: section.overlap,
        };
        section.segments.choose(grid, &heard).len()
    }
}

fn wanted(flags: &Bench, bundle: Digest) -> Load {
    let largest = flags.batches.iter().copied().max();
    Load {
        bundle_dir: flags.bundle.display().to_string(),
        bundle,
        device: flags.device,
        index: flags.index,
        dtype: Some(flags.dtype),
        slots: 0,
        max_batch: largest,
    }
}

fn torch_device(flags: &Bench) -> tch::Device {
    match flags.device {
        DeviceKind::Cpu => tch::Device::Cpu,
        DeviceKind::Cuda => tch::Device::Cuda(flags.index as usize),
    }
}

/// A row of a batch that ran, or of one that did not fit.
fn row(
    stage: &'static str,
    batch: usize,
    seconds: f64,
    times: Result<Times, BenchError>,
) -> Result<Row, BenchError> {
    match times {
        Ok(times) => Ok(Row::of(stage, Some(batch), seconds, times)),
        Err(BenchError::Engine(EngineError::OutOfMemory { .. } | EngineError::NoRoom { .. })) => {
            Ok(Row::too_large(stage, batch))
        }
        Err(error) => Err(error),
    }
}

/// Brings samples to mean 0 and deviation 1, all channels together.
fn scale(pcm: &mut [f32]) {
    let count = pcm.len().max(1) as f64;
    let mean = pcm.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let power = pcm
        .iter()
        .map(|value| (f64::from(*value) - mean).powi(2))
        .sum::<f64>();
    let deviation = (power / count).sqrt().max(DEVIATION_LEAST);
    for value in pcm {
        *value = ((f64::from(*value) - mean) / deviation) as f32;
    }
}

/// The file's last part, for the decoder.
fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
