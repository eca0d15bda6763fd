//! The two rows of Trackscan: what a catalog says of a track, and what a scan says of it. `catalog` makes the first,
//! agents make the second; `storage` writes both as Parquet. Rows only carry data; nothing here judges it.

use crate::verdict::named_enum;
use crate::{
    Code, Digest, InconclusiveReason, Ordinal, SourceName, TrackId, UnixMillis, Verdict, Warning,
};
use core::fmt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

named_enum! {
    /// What the supplier declared, in the words of DDEX `ContainsAI`. A declaration, never a detection.
    DeclaredAi, "declared_ai" {
        /// Wholly generated.
        All = "All" @ 0,
        /// In part.
        Partly = "Partly" @ 1,
        /// Not at all.
        None = "None" @ 2,
    }
}

/// One accepted track of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogRow {
    /// Position in the snapshot, from 0.
    pub ordinal: Ordinal,
    /// The agency's own id, or one derived from source and key.
    pub track_id: TrackId,
    /// The named storage root.
    pub source: SourceName,
    /// The object within it: canonical, relative, `/`-separated.
    pub key: String,
    /// Size in bytes where known; a listing knows it, a CSV may not.
    pub bytes: Option<u64>,
    /// Digest or version of the content where the manifest states one.
    pub content_id: Option<String>,
    /// When the agency added it.
    pub added_at: Option<UnixMillis>,
    /// International Standard Recording Code.
    pub isrc: Option<String>,
    /// International Standard Musical Work Code.
    pub iswc: Option<String>,
    /// Product code of the release.
    pub upc: Option<String>,
    /// Title of the recording.
    pub title: Option<String>,
    /// Main artist.
    pub artist: Option<String>,
    /// Label.
    pub label: Option<String>,
    /// Who holds the rights.
    pub rights_holder: Option<String>,
    /// Genre as the manifest names it.
    pub genre: Option<String>,
    /// The supplier's declaration.
    pub declared_ai: Option<DeclaredAi>,
    /// Columns the manifest has beyond these.
    pub extra: BTreeMap<String, String>,
}

/// One score of a stage over a track.
#[derive(
    Debug, Clone, Copy, PartialEq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
pub struct Score {
    /// The track's score before calibration, natural-log odds of the network.
    #[n(0)]
    pub logit: f32,
    /// Calibrated probability that a machine made the track, at `prior`.
    #[n(1)]
    pub probability: f32,
    /// Share of machine-made tracks the probability was calibrated at; no output prints one without the other.
    #[n(2)]
    pub prior: f32,
    /// Windows (screen) or segments (residual) that entered.
    #[n(3)]
    pub windows: u32,
}

/// The score of one window.
#[derive(
    Debug, Clone, Copy, PartialEq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
pub struct TimelinePoint {
    /// Where the window begins, in milliseconds from the start of the track.
    #[n(0)]
    pub start_ms: u32,
    /// The window's score before calibration.
    #[n(1)]
    pub logit: f32,
    /// Root mean square of its samples, dB against full scale; absent of digital silence.
    #[n(2)]
    pub rms_db: Option<f32>,
}

/// What the residual gave of one segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResidualSegment {
    /// Where the segment begins, in milliseconds from the start of the track.
    pub start_ms: u32,
    /// Its feature vector, in the order that the bundle's residual version names.
    pub features: Vec<f32>,
}

/// A small picture of the track's mel-spectrogram, on the bundle's fixed scale, row by row from the lowest band.
#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
pub struct Thumbnail {
    /// Bands (rows).
    #[n(0)]
    pub bands: u16,
    /// Columns over the track's whole length.
    #[n(1)]
    pub columns: u16,
    /// `bands × columns` levels.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub levels: Vec<u8>,
}

impl Thumbnail {
    /// Largest picture: the row is kept for years and nobody holds the audio later, but a hundred million are kept.
    pub const MAX_BYTES: usize = 4_096;
}

/// A track's embedding as IEEE 754 half-precision bits.
#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
pub struct Embedding(#[n(0)] pub Vec<u16>);

/// A tag of the file that claims where the recording comes from: attacker-controlled text, never evidence of absence.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
pub struct Provenance {
    /// Where it stood, such as `ID3 TSSE` or `RIFF ISFT`.
    #[n(0)]
    pub tag: String,
    /// What it says, cleaned of control characters and shortened.
    #[n(1)]
    pub value: String,
}

/// What a scan says of one track: exactly one per accepted track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrackRow {
    /// Position in the list.
    pub ordinal: Ordinal,
    /// The track, as the snapshot names it.
    pub track_id: TrackId,
    /// The named storage root.
    pub source: SourceName,
    /// The object within it.
    pub key: String,
    /// As the snapshot has it.
    pub isrc: Option<String>,
    /// The supplier's declaration, beside which the verdict is read.
    pub declared_ai: Option<DeclaredAi>,
    /// What is said.
    pub verdict: Verdict,
    /// Why it is inconclusive; present exactly then.
    pub reason: Option<InconclusiveReason>,
    /// Why it is unscannable; present exactly then.
    pub code: Option<Code>,
    /// The particulars of the code, for people.
    pub detail: Option<String>,
    /// The screen's score; absent where no window was scored.
    pub screen: Option<Score>,
    /// The residual's own score; absent where the residual did not run or the bundle calibrates none.
    pub residual: Option<Score>,
    /// The score of both engines together, on which the verdict of a separated track rests; absent where the residual did not run.
    pub fused: Option<Score>,
    /// The residual's feature vector of the track: the mean over its segments. Empty where the residual did not run.
    #[serde(default)]
    pub residual_features: Vec<f32>,
    /// The segments that were separated, in order.
    #[serde(default)]
    pub segments: Vec<ResidualSegment>,
    /// The screen's windows, in order.
    pub timeline: Vec<TimelinePoint>,
    /// The bundle's feature vector, in the order the bundle names; rows of `no_evidence` have none.
    pub features: Vec<f32>,
    /// A picture for whoever reviews; rows of `no_evidence` have none.
    pub thumbnail: Option<Thumbnail>,
    /// The bundle's embedding where policy asks for it.
    pub embedding: Option<Embedding>,
    /// Mean of the samples as screened.
    pub mean: Option<f32>,
    /// Standard deviation of the samples as screened.
    pub deviation: Option<f32>,
    /// Whether a score lies within the bundle's ε of an edge, or a score that differs by as much would have changed what an escalation
    /// budget chose; only such rows may differ between devices.
    pub borderline: bool,
    /// Reservations, sorted, each once.
    pub warnings: Vec<Warning>,
    /// Decoded length in milliseconds.
    pub duration_ms: Option<u64>,
    /// The file's own sample rate in Hz.
    pub sample_rate_hz: Option<u32>,
    /// The file's own channels.
    pub channels: Option<u16>,
    /// The codec that was decoded, such as `mp3`.
    pub codec: Option<String>,
    /// Bytes of the object.
    pub bytes: Option<u64>,
    /// SHA-256 of the object where it was read whole: of each track that was decoded to its end, and of a refused one all of whose
    /// bytes the decoder had asked for in order.
    pub content_sha256: Option<Digest>,
    /// Tags that claim a provenance.
    pub provenance: Vec<Provenance>,
    /// The bundle that scored.
    pub bundle: Digest,
    /// The device that scored last, such as `cuda:0`; empty where none did.
    pub device: String,
    /// Processor time of decoding, in microseconds.
    pub decode_us: u64,
    /// Device time of the screen, in microseconds: the track's share of its batches.
    pub screen_us: u64,
    /// Device time of the residual, in microseconds.
    pub residual_us: u64,
}
