//! Messages between agent and worker, in CBOR with numbered fields so that either side may be one version ahead.
//!
//! One Unix stream socket carries them, each behind a length ([`crate::frames`]). [`ToWorker::AttachRing`] travels with three
//! file descriptors (ring, data eventfd, space eventfd). A worker answers every `Load`, `AttachRing` and `Canary`.
//!
//! A track gives two answers, since its slot is free before its last window is scored:
//! - of the slot: [`FromWorker::Drained`] after `EndOfTrack`, [`FromWorker::Aborted`] after `AbortTrack`, or at any time
//!   [`FromWorker::RingLost`];
//! - of the track: [`FromWorker::Scored`] of a screen, [`FromWorker::Separated`] of a residual, or [`FromWorker::TrackFailed`],
//!   none of them after `Aborted`, nor of tracks that [`FromWorker::NoRoom`] tells of.
//!
//! Messages about the residual go only to a worker whose [`Loaded`] says that it has one: an older one says so of none.

use minicbor::{Decode, Encode};
use types::{Code, Device, DeviceKind, Digest, Dtype, Thumbnail};

/// What the agent says.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum ToWorker {
    /// Load this bundle on this device. First message of a worker's life, and the only `Load`.
    #[n(0)]
    Load(#[n(0)] Load),
    /// Slot `slot` reads from the ring whose three descriptors come with this message; an older ring is dropped.
    #[n(1)]
    AttachRing {
        /// The slot, below the `slots` of [`Load`].
        #[n(0)]
        slot: u32,
    },
    /// What the ring of `slot` carries from now on is the track `token`. The slot must be idle.
    #[n(2)]
    Track {
        /// The slot.
        #[n(0)]
        slot: u32,
        /// The agent's name for this try of this track; never reused in a worker's life.
        #[n(1)]
        token: u64,
        /// Most samples that the ring may carry; absent: any number. More is `TOO_LONG`: the decoder should have said so.
        #[n(2)]
        samples_max: Option<u64>,
        /// For how long its ring may be left empty, milliseconds, besides what its sound and [`ToWorker::Excuse`] allow; absent: for
        /// ever. Longer is `DECODE_STALLED`: no limit inside a decoder ends one that a file has taken over.
        #[n(3)]
        patience_ms: Option<u64>,
    },
    /// The decoder said that the track has `frames` frames; all of them are in the ring or already read.
    #[n(3)]
    EndOfTrack {
        /// The slot.
        #[n(0)]
        slot: u32,
        /// The track.
        #[n(1)]
        token: u64,
        /// Frames at the output rate.
        #[n(2)]
        frames: u64,
    },
    /// Forget the track (its decoder failed): what its ring holds is thrown away.
    #[n(4)]
    AbortTrack {
        /// The slot.
        #[n(0)]
        slot: u32,
        /// The track.
        #[n(1)]
        token: u64,
    },
    /// Screen the bundle's canary clip now and compare. Asked for a part with rows of the screen.
    #[n(5)]
    Canary {
        /// Comes back in the answer.
        #[n(0)]
        nonce: u64,
    },
    /// End after the batch in hand.
    #[n(6)]
    Stop,
    /// The decoder of the track was not to blame for so much of the time for which its ring was empty: it waited for its source.
    #[n(7)]
    Excuse {
        /// The slot.
        #[n(0)]
        slot: u32,
        /// The track.
        #[n(1)]
        token: u64,
        /// How long, milliseconds.
        #[n(2)]
        wait_ms: u64,
    },
    /// What the ring of `slot` carries from now on is the track `token`, at the residual's rate and channels, interleaved: take
    /// segments of it apart. The slot must be idle. Else as [`ToWorker::Track`].
    #[n(8)]
    Separate {
        /// The slot.
        #[n(0)]
        slot: u32,
        /// The agent's name for this try of this track.
        #[n(1)]
        token: u64,
        /// Which segments, and what brings the track to scale.
        #[n(2)]
        pass: ResidualPass,
        /// Most values that the ring may carry, those of each channel counted; absent: any number.
        #[n(3)]
        samples_max: Option<u64>,
        /// As in [`ToWorker::Track`].
        #[n(4)]
        patience_ms: Option<u64>,
    },
    /// Separate the residual's canary now and compare; answered like [`ToWorker::Canary`]. Asked for a part with rows of the residual.
    #[n(9)]
    ResidualCanary {
        /// Comes back in the answer.
        #[n(0)]
        nonce: u64,
    },
}

/// What the first pass over a track, and the bundle, say about its residual.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ResidualPass {
    /// First frames of the segments, at the residual's rate, rising: those that `bundle::Segments::choose` gives; at
    /// most `bundle::TRACK_SEGMENTS_MAX`.
    #[n(0)]
    pub starts: Vec<u64>,
    /// Mean of the track as one channel, of full scale: [`TrackScore::mean`].
    #[n(1)]
    pub mean: f64,
    /// Its standard deviation, of full scale: [`TrackScore::deviation`].
    #[n(2)]
    pub deviation: f64,
}

/// What to load and where.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Load {
    /// Folder of a bundle that the agent has verified.
    #[n(0)]
    pub bundle_dir: String,
    /// The digest that the bundle must have.
    #[n(1)]
    pub bundle: Digest,
    /// Kind of device.
    #[n(2)]
    pub device: DeviceKind,
    /// Which of its kind.
    #[n(3)]
    pub index: u32,
    /// Number format; absent: the engine's choice for the device.
    #[n(4)]
    pub dtype: Option<Dtype>,
    /// Decoder slots that will be attached, at most [`SLOTS_MAX`].
    #[n(5)]
    pub slots: u32,
    /// Largest batch wanted; absent: the engine's choice.
    #[n(6)]
    pub max_batch: Option<u32>,
}

/// Most decoder slots per worker: a ring of PCM and one window or segment (2.8 MB) each, so that 256 stay under two gigabytes of
/// host memory.
pub const SLOTS_MAX: u32 = 256;

/// What the worker says.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum FromWorker {
    /// The bundle is loaded. Tracks may follow.
    #[n(0)]
    Loaded(#[n(0)] Loaded),
    /// The bundle could not be loaded; the worker ends. Comes for `Load`, and at any time after it where files of the bundle that are
    /// read when they are first needed are not what they were.
    #[n(1)]
    LoadFailed {
        /// Why, in words.
        #[n(0)]
        detail: String,
        /// The bundle is to blame rather than the device: the same load fails on any node.
        #[n(1)]
        bundle: bool,
    },
    /// The ring of `slot` is attached and the slot idle.
    #[n(2)]
    Ready {
        /// The slot.
        #[n(0)]
        slot: u32,
    },
    /// All samples of the track are read, as many as were announced and none beyond. Its slot is idle.
    #[n(9)]
    Drained {
        /// The slot.
        #[n(0)]
        slot: u32,
        /// The track.
        #[n(1)]
        token: u64,
    },
    /// The track was read to its end and scored.
    #[n(3)]
    Scored {
        /// The track.
        #[n(0)]
        token: u64,
        /// What was measured.
        #[n(1)]
        score: TrackScore,
    },
    /// The track was read to its end and its segments taken apart.
    #[n(11)]
    Separated {
        /// The track.
        #[n(0)]
        token: u64,
        /// What was measured.
        #[n(1)]
        residual: TrackResidual,
    },
    /// The track cannot be scored; its neighbours are not touched.
    #[n(4)]
    TrackFailed {
        /// The track.
        #[n(0)]
        token: u64,
        /// Why: `RING_VIOLATION`, `TOO_LONG`, `DECODE_STALLED`, `NO_SAMPLES`, `SCORE_NOT_FINITE` or `DEVICE_OUT_OF_MEMORY`.
        #[n(1)]
        code: Code,
        /// The circumstances, in words.
        #[n(2)]
        detail: String,
    },
    /// An aborted track is forgotten. Its slot is idle, its ring empty.
    #[n(5)]
    Aborted {
        /// The track.
        #[n(0)]
        token: u64,
        /// The slot.
        #[n(1)]
        slot: u32,
    },
    /// The ring lied, carried too much or stayed empty for too long, and is dropped: a new one must be attached before the
    /// slot is used again.
    #[n(10)]
    RingLost {
        /// The slot.
        #[n(0)]
        slot: u32,
        /// The track.
        #[n(1)]
        token: u64,
    },
    /// The outcome of either stage's canary.
    #[n(6)]
    CanaryResult {
        /// From the request.
        #[n(0)]
        nonce: u64,
        /// Whether each logit or feature lay within the bundle's ε.
        #[n(1)]
        ok: bool,
        /// Largest difference seen, of features in shares of their spans; infinite if a logit was missing or not a number.
        #[n(2)]
        worst: f32,
        /// What was wrong, empty if nothing was.
        #[n(3)]
        reason: String,
    },
    /// A sign of life from the loop itself, at least every [`BEAT_MS`] unless a batch is running.
    #[n(7)]
    Beat(#[n(0)] WorkerStats),
    /// The residual's network finds no room on the device: tracks that were in hand for their residual are forgotten without an
    /// answer, as is a canary of the residual that was asked for. The slots' answers come as ever, and tracks for their screen go
    /// on. Each later question for a residual is tried anew.
    #[n(12)]
    NoRoom {
        /// The device's own words.
        #[n(0)]
        detail: String,
    },
    /// The device failed; the worker ends after this.
    #[n(8)]
    DeviceFailed {
        /// The device's own words.
        #[n(0)]
        detail: String,
    },
}

/// Longest silence of a healthy, idle worker, milliseconds.
pub const BEAT_MS: u64 = 1_000;

/// What a worker says once its bundle is loaded.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Loaded {
    /// The bundle.
    #[n(0)]
    pub bundle: Digest,
    /// Where.
    #[n(1)]
    pub device: Device,
    /// Number format in use.
    #[n(2)]
    pub dtype: Dtype,
    /// Windows per batch at most.
    #[n(3)]
    pub max_batch: u32,
    /// Rate at which rings must carry mono PCM, Hz.
    #[n(4)]
    pub rate_hz: u32,
    /// STFT hop, samples: with the rate it turns frames into seconds.
    #[n(5)]
    pub hop: u32,
    /// Frames of one window.
    #[n(6)]
    pub window_frames: u32,
    /// How rings must carry tracks for the residual; absent where the bundle has none, or the worker knows of none.
    #[n(7)]
    pub residual: Option<LoadedResidual>,
}

/// What a worker says of its residual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LoadedResidual {
    /// Rate at which rings must carry PCM for it, Hz.
    #[n(0)]
    pub rate_hz: u32,
    /// Channels, interleaved: 1 or 2.
    #[n(1)]
    pub channels: u32,
    /// Frames of a segment.
    #[n(2)]
    pub segment: u64,
    /// Segments per batch at most.
    #[n(3)]
    pub max_batch: u32,
}

/// What the residual of a track gave.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TrackResidual {
    /// Frames read, at the residual's rate.
    #[n(0)]
    pub frames: u64,
    /// One point per segment, in time order; at least one.
    #[n(1)]
    pub segments: Vec<SegmentPoint>,
    /// Mean of the segments' feature vectors, each counting alike.
    #[n(2)]
    pub features: Vec<f32>,
    /// Seconds for which the engine worked on this track's segments (a batch is split evenly among its segments).
    #[n(3)]
    pub device_seconds: f64,
    /// Processor seconds of the worker in that time, all threads.
    #[n(4)]
    pub cpu_seconds: f64,
}

/// One segment's features and place.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SegmentPoint {
    /// First frame of the track that it holds, at the residual's rate.
    #[n(0)]
    pub start: u64,
    /// Frames of the track that it holds.
    #[n(1)]
    pub samples: u32,
    /// Its feature vector, in the order of `bundle::features`.
    #[n(2)]
    pub features: Vec<f32>,
}

/// What one pass over a track gave.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TrackScore {
    /// Samples read, at the window's rate.
    #[n(0)]
    pub samples: u64,
    /// One point per window, in time order.
    #[n(1)]
    pub timeline: Vec<WindowPoint>,
    /// Mean of all samples.
    #[n(2)]
    pub mean: f64,
    /// Sample standard deviation (divisor n - 1) of all samples; 0 for one sample.
    #[n(3)]
    pub deviation: f64,
    /// Largest absolute sample.
    #[n(4)]
    pub peak: f32,
    /// Mean of the feature vectors of the windows that are not silent; empty if all are.
    #[n(5)]
    pub features: Vec<f32>,
    /// Mean of their embeddings, as f16 bits; empty if all are silent or the bundle has none.
    #[n(6)]
    pub embedding: Vec<u16>,
    /// The track's mel thumbnail, if the engine draws one and a window was heard.
    #[n(7)]
    pub picture: Option<Thumbnail>,
    /// Seconds for which the engine worked on this track's windows (a batch is split evenly among its windows).
    #[n(8)]
    pub device_seconds: f64,
    /// Processor seconds of the worker in that time, all threads.
    #[n(9)]
    pub cpu_seconds: f64,
}

/// One window's score and place.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
pub struct WindowPoint {
    /// First frame of the window (frames of the whole track, `hop` samples apart).
    #[n(0)]
    pub start: u64,
    /// The network's answer.
    #[n(1)]
    pub logit: f32,
    /// Root mean square of the window's samples, dB against full scale; minus infinity for digital silence.
    #[n(2)]
    pub rms_db: f32,
}

/// Where a worker's time went since it was loaded, seconds. The parts sum to its wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, Decode)]
pub struct WorkerStats {
    /// Waiting for PCM or messages with nothing to do but with a track in hand.
    #[n(0)]
    pub wait_seconds: f64,
    /// Copying PCM out of rings and cutting windows.
    #[n(1)]
    pub read_seconds: f64,
    /// Inside the engine.
    #[n(2)]
    pub engine_seconds: f64,
    /// Writing answers to the agent.
    #[n(3)]
    pub answer_seconds: f64,
    /// Windows screened.
    #[n(4)]
    pub windows: u64,
    /// Batches run.
    #[n(5)]
    pub batches: u64,
    /// Times a batch was split because it did not fit.
    #[n(6)]
    pub splits: u64,
    /// Tracks scored, by either stage.
    #[n(7)]
    pub tracks: u64,
    /// Segments separated.
    #[n(8)]
    #[cbor(default)]
    pub segments: u64,
}
