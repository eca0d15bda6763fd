//! A deterministic engine without a network: scores are a function of the PCM's bytes. For tests of all that is around an engine.
//!
//! Certain sample patterns in a window make it misbehave ([`Trick`]); [`StubOptions`] adds delays and a failing canary.
//! Used by `stub-worker` and by tests; no shipped binary contains a call of it.

use std::path::PathBuf;
use std::time::Duration;

use bundle::WindowSpec;
use bundle::features::RESIDUAL_V1;
use types::{Device, DeviceKind, Digest, Dtype};

use crate::protocol::Load;
use crate::seam::{
    Canary, Engine, EngineError, EngineInfo, ResidualCanary, ResidualInfo, Segment, SegmentScore,
    WindowScore,
};

/// What the stub can be made to do by samples that a test puts into a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// The process ends at once, as by a fault in native code.
    Die,
    /// The call never returns.
    Hang,
    /// The device says that it is beyond use.
    DeviceFault,
    /// The window does not fit, in a batch or alone.
    OutOfMemory,
    /// The score is NaN.
    NotFinite,
}

impl Trick {
    /// Each trick.
    pub const ALL: [Self; 5] = [
        Self::Die,
        Self::Hang,
        Self::DeviceFault,
        Self::OutOfMemory,
        Self::NotFinite,
    ];

    /// Eight 16-bit samples that call for the trick where they stand in a window, or in one channel of a segment whose track has
    /// mean 0 and deviation 1, one after another. They survive any lossless file at [`StubOptions::rate_hz`], mono; music does
    /// not hold them by chance.
    pub fn pattern(self) -> [i16; 8] {
        let number: i16 = match self {
            Self::Die => 1_001,
            Self::Hang => 1_002,
            Self::DeviceFault => 1_003,
            Self::OutOfMemory => 1_004,
            Self::NotFinite => 1_005,
        };
        [
            12_345, -12_345, 23_456, -23_456, 31_000, -31_000, number, -number,
        ]
    }

    /// The pattern as samples in ±1.
    pub fn samples(self) -> [f32; 8] {
        self.pattern().map(|sample| f32::from(sample) / 32_768.0)
    }
}

/// How a stub behaves beside its scores.
#[derive(Clone, Debug, PartialEq)]
pub struct StubOptions {
    /// Rate of the PCM that it hears, Hz.
    pub rate_hz: u32,
    /// Simulated time for each window.
    pub window_time: Duration,
    /// While a file of this path exists, canaries fail.
    pub canary_fails_if: Option<PathBuf>,
    /// While a file of this path exists, the residual's network finds no room.
    pub no_room_if: Option<PathBuf>,
    /// Most windows of one batch.
    pub max_batch: usize,
}

impl Default for StubOptions {
    fn default() -> Self {
        Self {
            rate_hz: 16_000,
            window_time: Duration::ZERO,
            canary_fails_if: None,
            no_room_if: None,
            max_batch: 16,
        }
    }
}

impl StubOptions {
    /// Reads `TRACKSCAN_STUB_RATE_HZ`, `TRACKSCAN_STUB_WINDOW_MS`, `TRACKSCAN_STUB_CANARY_FAILS_IF`, `TRACKSCAN_STUB_NO_ROOM_IF`
    /// and `TRACKSCAN_STUB_MAX_BATCH` by `get`; what is absent or no number keeps its default.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str| get(name).and_then(|text| text.parse::<u32>().ok());
        let plain = Self::default();
        Self {
            rate_hz: number("TRACKSCAN_STUB_RATE_HZ").unwrap_or(plain.rate_hz),
            window_time: number("TRACKSCAN_STUB_WINDOW_MS")
                .map_or(plain.window_time, |ms| Duration::from_millis(ms.into())),
            canary_fails_if: get("TRACKSCAN_STUB_CANARY_FAILS_IF").map(PathBuf::from),
            no_room_if: get("TRACKSCAN_STUB_NO_ROOM_IF").map(PathBuf::from),
            max_batch: number("TRACKSCAN_STUB_MAX_BATCH")
                .map_or(plain.max_batch, |max| max.max(1) as usize),
        }
    }
}

/// The engine.
#[derive(Debug)]
pub struct StubEngine {
    options: StubOptions,
    info: EngineInfo,
    canary: Canary,
    residual_canary: ResidualCanary,
}

/// Frames of the stub's segments: half a second at its usual rate.
const SEGMENT: usize = 8_192;
/// Most of them in a batch.
const SEGMENTS_MAX: usize = 4;
/// Rows of the stub's pictures.
const PICTURE_ROWS: usize = 16;
/// Length of its feature vectors.
const FEATURES: usize = 4;
/// Length of its embeddings.
const EMBEDDING: usize = 8;

impl StubEngine {
    /// A stub that claims to have loaded what `load` asks for. Nothing is opened.
    pub fn new(options: StubOptions, load: &Load) -> Self {
        let device = Device {
            kind: load.device,
            index: load.index,
            name: "stub".to_owned(),
            memory_bytes: 0,
        };
        let info = EngineInfo {
            bundle: load.bundle,
            window: WindowSpec {
                rate_hz: options.rate_hz,
                n_fft: 1_024,
                hop: 256,
                frames: 64,
                stride: 64,
            },
            device,
            dtype: load.dtype.unwrap_or(Dtype::F32),
            max_batch: options.max_batch,
            picture_rows: PICTURE_ROWS,
            silent_below_db: -70.0,
            residual: Some(ResidualInfo {
                rate_hz: options.rate_hz,
                channels: 2,
                segment: SEGMENT,
                max_batch: SEGMENTS_MAX,
            }),
        };
        let canary = canary(&info.window);
        Self {
            options,
            info,
            canary,
            residual_canary: residual_canary(),
        }
    }

    /// A stub on the CPU with default options.
    pub fn plain() -> Self {
        let load = Load {
            bundle_dir: String::new(),
            bundle: Digest::of(b"stub"),
            device: DeviceKind::Cpu,
            index: 0,
            dtype: None,
            slots: 0,
            max_batch: None,
        };
        Self::new(StubOptions::default(), &load)
    }

    /// The logit of a window, between -6 and 6: a hash of its bytes.
    pub fn logit(window: &[f32]) -> f32 {
        // FNV-1a over the samples' bits: stable across machines and easy to compute in a test.
        let hash = window
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, sample| {
                (hash ^ u64::from(sample.to_bits())).wrapping_mul(0x0100_0000_01b3)
            });
        (hash >> 40) as f32 / (1_u32 << 24) as f32 * 12.0 - 6.0
    }

    /// The features of a segment, between -1 and 1: hashes of its values.
    pub fn features(segment: &[f32]) -> Vec<f32> {
        let first = Self::logit(segment) / 6.0;
        (0..RESIDUAL_V1.len())
            .map(|at| first / (at + 1) as f32)
            .collect()
    }

    fn is_sick(&self) -> bool {
        let path = self.options.canary_fails_if.as_ref();
        path.is_some_and(|path| path.exists())
    }

    fn finds_room(&self) -> Result<(), EngineError> {
        let path = self.options.no_room_if.as_ref();
        match path.is_some_and(|path| path.exists()) {
            true => Err(EngineError::NoRoom {
                detail: "out of memory".to_owned(),
            }),
            false => Ok(()),
        }
    }

    /// Puts a trick into both canaries.
    #[cfg(test)]
    pub(crate) fn poison_canaries(&mut self, trick: Trick) {
        let samples = trick.samples();
        self.canary.pcm[..samples.len()].copy_from_slice(&samples);
        for (at, sample) in samples.into_iter().enumerate() {
            self.residual_canary.pcm[2 * at] = sample;
        }
    }

    fn work(&self, items: usize) {
        let time = self.options.window_time * u32::try_from(items).unwrap_or(u32::MAX);
        if !time.is_zero() {
            std::thread::sleep(time);
        }
    }

    fn misbehave(&self, trick: Trick, batch: usize) -> Result<(), EngineError> {
        match trick {
            Trick::Die => std::process::abort(),
            Trick::Hang => loop {
                std::thread::park();
            },
            Trick::DeviceFault => Err(EngineError::Device {
                detail: "an illegal memory access was met".to_owned(),
            }),
            Trick::OutOfMemory => Err(EngineError::OutOfMemory {
                batch,
                detail: "out of memory".to_owned(),
            }),
            Trick::NotFinite => Ok(()),
        }
    }
}

impl Engine for StubEngine {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn canary(&self) -> &Canary {
        &self.canary
    }

    fn screen(&mut self, pcm: &[f32], batch: usize) -> Result<Vec<WindowScore>, EngineError> {
        let size = self.info.window.samples();
        debug_assert_eq!(pcm.len(), batch * size);
        for window in pcm.chunks_exact(size) {
            if let Some(trick) = trick_in(window) {
                self.misbehave(trick, batch)?;
            }
        }
        self.work(batch);
        let offset = if self.is_sick() { 1.0 } else { 0.0 };
        Ok(pcm
            .chunks_exact(size)
            .map(|window| score(window, offset))
            .collect())
    }

    fn residual_canary(&self) -> Option<&ResidualCanary> {
        Some(&self.residual_canary)
    }

    fn residual(
        &mut self,
        pcm: &[f32],
        segments: &[Segment],
    ) -> Result<Vec<SegmentScore>, EngineError> {
        debug_assert_eq!(pcm.len(), segments.len() * SEGMENT * 2);
        self.finds_room()?;
        let pieces = pcm.chunks_exact(SEGMENT * 2).zip(segments);
        let scores = pieces.map(|(segment, scale)| {
            let trick = trick_in(&left_of(segment, scale));
            if let Some(trick) = trick {
                self.misbehave(trick, segments.len())?;
            }
            let mut features = Self::features(segment);
            if self.is_sick() {
                features[0] += RESIDUAL_V1[0].span as f32;
            }
            if trick == Some(Trick::NotFinite) {
                features[0] = f32::NAN;
            }
            Ok(SegmentScore { features })
        });
        let scores = scores.collect::<Result<_, EngineError>>()?;
        self.work(segments.len());
        Ok(scores)
    }
}

fn score(window: &[f32], offset: f32) -> WindowScore {
    let logit = StubEngine::logit(window) + offset;
    let not_finite = trick_in(window) == Some(Trick::NotFinite);
    let column = |at: usize| {
        window
            .get(at)
            .map_or(0, |sample| (sample.abs().min(1.0) * 255.0) as u8)
    };
    WindowScore {
        logit: if not_finite { f32::NAN } else { logit },
        picture: (0..PICTURE_ROWS * 2).map(|at| column(at * 100)).collect(),
        features: (0..FEATURES).map(|at| logit / (at + 1) as f32).collect(),
        embedding: Some(vec![half::f16::from_f32(logit); EMBEDDING]),
    }
}

/// A segment's first channel as it was before it was scaled, in steps of 16 bits.
fn left_of(segment: &[f32], scale: &Segment) -> Vec<f32> {
    let left = segment.iter().step_by(2);
    left.map(|value| {
        let value = f64::from(*value) * scale.deviation + scale.mean;
        ((value * 32_768.0).round() / 32_768.0) as f32
    })
    .collect()
}

fn trick_in(window: &[f32]) -> Option<Trick> {
    let first = Trick::Die.samples()[0];
    let starts = window.windows(8).filter(|eight| eight[0] == first);
    let mut tricks = starts.filter_map(|eight| {
        Trick::ALL
            .into_iter()
            .find(|trick| eight == trick.samples())
    });
    tricks.next()
}

fn canary(spec: &WindowSpec) -> Canary {
    let length = spec.samples() + spec.stride_samples();
    let pcm: Vec<f32> = (0..length)
        .map(|i| ((i * 37 % 1_000) as f32 - 500.0) / 1_000.0)
        .collect();
    let logits = spec
        .starts(length as u64)
        .map(|start| StubEngine::logit(&spec.cut(&pcm, start)))
        .collect();
    Canary {
        pcm,
        logits,
        epsilon: 1e-6,
    }
}

fn residual_canary() -> ResidualCanary {
    let pcm: Vec<f32> = (0..SEGMENT * 2)
        .map(|i| ((i * 41 % 1_000) as f32 - 500.0) / 1_000.0)
        .collect();
    ResidualCanary {
        features: StubEngine::features(&pcm),
        pcm,
        segment: Segment {
            before: 0,
            samples: SEGMENT,
            mean: 0.0,
            deviation: 1.0,
        },
        spans: RESIDUAL_V1
            .iter()
            .map(|feature| feature.span as f32)
            .collect(),
        epsilon: 1e-6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_samples_give_the_same_scores_in_any_batch() {
        let mut stub = StubEngine::plain();
        let size = stub.info().window.samples();
        let pcm: Vec<f32> = (0..size * 3).map(|i| (i as f32).sin()).collect();
        let together = stub.screen(&pcm, 3).unwrap();
        let alone: Vec<WindowScore> = pcm
            .chunks(size)
            .flat_map(|window| stub.screen(window, 1).unwrap())
            .collect();
        assert_eq!(together, alone);
        assert!(together[0].logit != together[1].logit);
    }

    #[test]
    fn each_trick_is_found_where_its_pattern_stands_and_nowhere_else() {
        for trick in Trick::ALL {
            let mut window = vec![0.25; 100];
            window[40..48].copy_from_slice(&trick.samples());
            assert_eq!(trick_in(&window), Some(trick));
            window[47] = 0.0;
            assert_eq!(trick_in(&window), None);
        }
    }

    #[test]
    fn options_are_read_by_name_and_nonsense_keeps_the_default() {
        let env = [
            ("TRACKSCAN_STUB_RATE_HZ", "22050"),
            ("TRACKSCAN_STUB_WINDOW_MS", "soon"),
        ];
        let get = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(
            StubOptions::read(get),
            StubOptions {
                rate_hz: 22_050,
                ..StubOptions::default()
            }
        );
    }
}
