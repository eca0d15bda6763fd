//! From what decoder, hash and worker said of a track to its row. Pure: what is said of a track is the bundle's rule, what
//! goes into the row is the policy's.

use agent_core::Reach;
use bundle::{Bundle, Decision, Evidence, Rules, TrackWindow, decide};
use engine::{LoadedResidual, TrackScore};
use types::{
    CatalogRow, Code, Digest, Dtype, Embedding, JobSpec, Ledger, StageUse, Stages, TimelinePoint,
    TrackRow, UnixMillis, Verdict, Warning,
};

use crate::news::{Reading, Refusal};
use audio::protocol::Summary;

/// A row with what it cost and when it was made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MadeRow {
    pub(crate) row: TrackRow,
    pub(crate) ledger: Ledger,
    /// When the track was taken up, and when its row was made.
    pub(crate) from: UnixMillis,
    pub(crate) to: UnixMillis,
    /// When the device began with it, if it did.
    pub(crate) scored_from: Option<UnixMillis>,
}

/// What the screen gave of a track.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Screened {
    pub(crate) row: TrackRow,
    pub(crate) ledger: Ledger,
    /// What the gate says of the track.
    pub(crate) gate: AtGate,
}

/// What the gate says of a track. Distances are whole numbers that are ordered like the distances themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtGate {
    /// It goes on: how far it lies from what the gate takes first, and where it may lie on other devices.
    Onward {
        /// Its distance here.
        distance: u64,
        /// Its distances elsewhere.
        reach: Reach,
    },
    /// It does not, and on another device it might.
    Spared {
        /// The least distance that it would have there.
        nearest: u64,
    },
    /// It goes on nowhere.
    Past,
}

/// The device that scored, as rows and rules need it.
#[derive(Clone, Debug)]
pub(crate) struct Scorer {
    /// Its name.
    pub(crate) device: String,
    /// Number format.
    pub(crate) dtype: Dtype,
    /// Rate at which it hears, Hz.
    pub(crate) rate_hz: u32,
    /// Samples from one frame to the next.
    pub(crate) hop: u32,
    /// How it hears tracks for the residual, where it does.
    pub(crate) residual: Option<LoadedResidual>,
}

/// The row of a track that was scored.
pub(crate) fn scored(
    track: &CatalogRow,
    spec: &JobSpec,
    bundle: &Bundle,
    scorer: &Scorer,
    (summary, reading, sha256): (&Summary, &Reading, Digest),
    score: TrackScore,
) -> Screened {
    let windows: Vec<TrackWindow> = score
        .timeline
        .iter()
        .map(|point| TrackWindow {
            logit: point.logit,
            rms_db: point.rms_db,
        })
        .collect();
    let evidence = Evidence {
        windows: &windows,
        dtype: scorer.dtype,
    };
    let decision = decide(&bundle.manifest, &evidence, Rules::from(&spec.policy));
    let gate = at_gate(spec.policy.stages, &decision);
    // What goes on may yet come to any verdict.
    let told = !matches!(decision.verdict, Verdict::NoEvidence) || gate.is_onward();
    let embedding = Some(score.embedding).filter(|bits| spec.policy.embeddings && !bits.is_empty());
    let mut row = blank(track, spec.bundle);
    row.verdict = decision.verdict;
    row.reason = decision.reason;
    row.code = decision.code;
    row.screen = decision.score;
    row.timeline = timeline(&score.timeline, scorer);
    row.features = if told { score.features } else { Vec::new() };
    row.thumbnail = score.picture.filter(|_| told && spec.policy.thumbnails);
    row.embedding = embedding.map(Embedding);
    row.mean = Some(score.mean as f32);
    row.deviation = Some(score.deviation as f32);
    row.borderline = decision.borderline.is_some();
    row.warnings = sorted(summary.warnings.iter().chain(&decision.warnings));
    row.duration_ms = Some(summary.duration_ms);
    row.sample_rate_hz = Some(summary.source_rate_hz);
    row.channels = Some(summary.source_channels);
    row.codec = Some(summary.codec.clone());
    row.bytes = reading.bytes;
    row.content_sha256 = Some(sha256);
    row.provenance = summary.provenance.clone();
    row.device = scorer.device.clone();
    row.decode_us = summary.cpu_us;
    row.screen_us = (score.device_seconds * 1e6) as u64;
    let screen = StageUse {
        device_us: row.screen_us,
        cpu_us: (score.cpu_seconds * 1e6) as u64,
        tracks: u64::from(row.screen.is_some()),
        audio_ms: summary.duration_ms,
        ..StageUse::default()
    };
    let ledger = Ledger {
        screen,
        ..decoding(row.decode_us, summary.duration_ms, reading)
    };
    let mut made = Screened { row, ledger, gate };
    made.keep_in_scale();
    made
}

impl Screened {
    /// A track goes on only where its mean and deviation are numbers that bring its segments to scale; no music's are none.
    fn keep_in_scale(&mut self) {
        let scale = [self.row.mean, self.row.deviation];
        let boundless = !scale.iter().flatten().all(|value| value.is_finite());
        if !boundless {
            return;
        }
        if std::mem::replace(&mut self.gate, AtGate::Past).is_onward() {
            self.row.verdict = Verdict::Unscannable;
            self.row.reason = None;
            self.row.code = Some(Code::ScoreNotFinite);
        }
    }
}

impl AtGate {
    /// Whether the track goes on.
    pub(crate) const fn is_onward(self) -> bool {
        match self {
            Self::Onward { .. } => true,
            Self::Spared { .. } | Self::Past => false,
        }
    }
}

/// What the gate says of a track in a job of these stages.
fn at_gate(stages: Stages, decision: &Decision) -> AtGate {
    match (stages, decision.reach) {
        (Stages::Screen, Some(_) | None) | (Stages::Both, None) => AtGate::Past,
        (Stages::Both, Some(reach)) => {
            let nearest = in_order(reach.nearest);
            let distance = decision.distance.filter(|_| decision.escalate);
            distance.map_or(AtGate::Spared { nearest }, |distance| AtGate::Onward {
                distance: in_order(distance),
                reach: Reach {
                    nearest,
                    farthest: in_order(reach.farthest),
                    certain: reach.certain,
                },
            })
        }
    }
}

/// A distance as a whole number: the bits of a number that is not negative are ordered like it.
fn in_order(distance: f64) -> u64 {
    distance.abs().to_bits()
}

/// The row of a track that was not scored, with what is known of it.
pub(crate) fn unscannable(
    track: &CatalogRow,
    spec: &JobSpec,
    refusal: Refusal,
    reading: &Reading,
) -> (TrackRow, Ledger) {
    let mut row = rejected(track, spec, refusal.code, Some(refusal.detail));
    row.bytes = reading.bytes.or(track.bytes);
    row.provenance = refusal.provenance;
    row.decode_us = refusal.cpu_us;
    row.content_sha256 = refusal.sha256;
    let ledger = decoding(row.decode_us, 0, reading);
    (row, ledger)
}

/// The row of a track of which nothing is known but why it is not scanned.
pub(crate) fn rejected(
    track: &CatalogRow,
    spec: &JobSpec,
    code: Code,
    detail: Option<String>,
) -> TrackRow {
    let mut row = blank(track, spec.bundle);
    row.code = Some(code);
    row.detail = detail.filter(|text| !text.is_empty());
    row.bytes = track.bytes;
    row
}

fn timeline(points: &[engine::WindowPoint], scorer: &Scorer) -> Vec<TimelinePoint> {
    let start = |frame: u64| frame.saturating_mul(scorer.hop.into());
    points
        .iter()
        .map(|point| TimelinePoint {
            start_ms: millis(start(point.start), scorer.rate_hz),
            logit: point.logit,
            rms_db: Some(point.rms_db).filter(|level| level.is_finite()),
        })
        .collect()
}

/// Where a sample lies, in milliseconds from the start of the track.
pub(crate) fn millis(sample: u64, rate_hz: u32) -> u32 {
    let ms = sample.saturating_mul(1_000) / u64::from(rate_hz.max(1));
    u32::try_from(ms).unwrap_or(u32::MAX)
}

fn sorted<'a>(warnings: impl Iterator<Item = &'a Warning>) -> Vec<Warning> {
    let mut all: Vec<Warning> = warnings.copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What reading and decoding a track cost; the decoder's processor time and the track's length are told apart.
pub(crate) fn decoding(cpu_us: u64, audio_ms: u64, reading: &Reading) -> Ledger {
    let mut ledger = Ledger::default();
    // What a decoder says is believed within what it can be.
    let room_us = reading.room_us.min(reading.wall_us);
    ledger.decode.device_us = reading.wall_us - room_us;
    ledger.decode.cpu_us = cpu_us;
    ledger.decode.wait_us = room_us.saturating_add(reading.drain_us);
    ledger.decode.bytes = reading.served;
    ledger.decode.tracks = 1;
    ledger.decode.audio_ms = audio_ms;
    ledger
}

/// A row that says only which track it is of, and that it was not scanned.
fn blank(track: &CatalogRow, bundle: Digest) -> TrackRow {
    TrackRow {
        ordinal: track.ordinal,
        track_id: track.track_id.clone(),
        source: track.source.clone(),
        key: track.key.clone(),
        isrc: track.isrc.clone(),
        declared_ai: track.declared_ai,
        verdict: Verdict::Unscannable,
        reason: None,
        code: None,
        detail: None,
        screen: None,
        residual: None,
        fused: None,
        residual_features: Vec::new(),
        segments: Vec::new(),
        timeline: Vec::new(),
        features: Vec::new(),
        thumbnail: None,
        embedding: None,
        mean: None,
        deviation: None,
        borderline: false,
        warnings: Vec::new(),
        duration_ms: None,
        sample_rate_hz: None,
        channels: None,
        codec: None,
        bytes: None,
        content_sha256: None,
        provenance: Vec::new(),
        bundle,
        device: String::new(),
        decode_us: 0,
        screen_us: 0,
        residual_us: 0,
    }
}

#[cfg(test)]
mod tests;
