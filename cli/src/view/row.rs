//! The view of one track's row, as every output of results shows it.

use super::prior;
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A stage's score over a track.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ScoreView {
    /// Natural-log odds before calibration.
    pub(super) logit: f32,
    /// Calibrated probability that a machine made the track, at `prior`.
    pub(super) probability: f32,
    /// Share of machine-made tracks that the probability was calibrated at.
    pub(super) prior: f32,
    /// Windows or segments that entered.
    pub(super) windows: u32,
}

impl From<v1::Score> for ScoreView {
    fn from(wire: v1::Score) -> Self {
        Self {
            logit: wire.logit,
            probability: wire.probability,
            prior: wire.prior,
            windows: wire.windows,
        }
    }
}

impl ScoreView {
    pub(super) fn text(&self) -> String {
        let prior = prior::text(self.prior);
        format!("{:.3} at prior {prior}", self.probability)
    }
}

/// A window of the timeline.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct WindowView {
    /// Start of the window in milliseconds.
    pub(crate) start_ms: u32,
    /// Natural-log odds of the window.
    pub(crate) logit: f32,
    /// Root mean square in dB against full scale; absent of digital silence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rms_db: Option<f32>,
}

/// A segment that was separated.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct SegmentView {
    /// Start of the segment in milliseconds.
    pub(super) start_ms: u32,
    /// Its feature vector.
    pub(super) features: Vec<f32>,
}

/// A tag that claims where the track comes from.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct TagView {
    /// Where it stood.
    pub(super) tag: String,
    /// What it says: text of whoever made the file.
    pub(super) value: String,
}

/// One track's row.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RowView {
    /// Position in the list.
    pub(super) ordinal: u32,
    /// The agency's id.
    pub(crate) track_id: String,
    /// Source by name.
    pub(super) source: String,
    /// Object within the source.
    pub(super) key: String,
    /// ISRC of the snapshot.
    pub(super) isrc: String,
    /// What the supplier declared.
    pub(super) declared_ai: String,
    /// `likely_ai`, `no_evidence`, `inconclusive` or `unscannable`.
    pub(super) verdict: String,
    /// What `--truth` knows of it; absent without that flag, empty where the file does not name the track.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) truth: Option<String>,
    /// Why it is inconclusive or unscannable.
    pub(super) reason: String,
    /// Particulars of the reason.
    pub(super) detail: String,
    /// The screen's score.
    pub(super) screen: Option<ScoreView>,
    /// The residual's own score.
    pub(super) residual: Option<ScoreView>,
    /// The score of both engines, on which the verdict of a separated track rests.
    pub(super) fused: Option<ScoreView>,
    /// The residual's feature vector of the track.
    pub(super) residual_features: Vec<f32>,
    /// The segments that were separated.
    pub(super) segments: Vec<SegmentView>,
    /// The screen's windows.
    pub(super) timeline: Vec<WindowView>,
    /// The bundle's feature vector.
    pub(super) features: Vec<f32>,
    /// The score lies within the bundle's tolerance of an edge, or of the cut of an escalation budget.
    pub(super) borderline: bool,
    /// Reservations.
    pub(super) warnings: Vec<String>,
    /// Decoded length in milliseconds.
    pub(super) duration_ms: Option<u64>,
    /// The file's own sample rate.
    pub(super) sample_rate_hz: Option<u32>,
    /// The file's own channels.
    pub(super) channels: Option<u32>,
    /// Codec.
    pub(super) codec: String,
    /// Bytes of the object.
    pub(super) bytes: Option<u64>,
    /// SHA-256 of the object where it was read whole.
    pub(super) content_sha256: String,
    /// Tags that claim a provenance.
    pub(super) provenance: Vec<TagView>,
    /// Digest of the bundle.
    pub(super) bundle: String,
    /// The device that scored.
    pub(super) device: String,
    /// Processor time of decoding in microseconds.
    pub(super) decode_us: u64,
    /// Device time of the screen in microseconds.
    pub(super) screen_us: u64,
    /// Device time of the residual in microseconds.
    pub(super) residual_us: u64,
}

impl From<v1::Row> for RowView {
    fn from(wire: v1::Row) -> Self {
        let verdict = match wire.verdict() {
            v1::Verdict::LikelyAi => "likely_ai",
            v1::Verdict::NoEvidence => "no_evidence",
            v1::Verdict::Inconclusive => "inconclusive",
            v1::Verdict::Unscannable => "unscannable",
            v1::Verdict::Unspecified => "unknown",
        };
        let window = |p: v1::TimelinePoint| WindowView {
            start_ms: p.start_ms,
            logit: p.logit,
            rms_db: p.rms_db,
        };
        let segment = |s: v1::ResidualSegment| SegmentView {
            start_ms: s.start_ms,
            features: s.features,
        };
        let tag = |t: v1::Tag| TagView {
            tag: t.name,
            value: t.value,
        };
        Self {
            ordinal: wire.ordinal,
            track_id: wire.track_id,
            source: wire.source,
            key: wire.key,
            isrc: wire.isrc,
            declared_ai: wire.declared_ai,
            verdict: verdict.to_owned(),
            truth: None,
            reason: wire.reason,
            detail: wire.detail,
            screen: wire.screen.map(Into::into),
            residual: wire.residual.map(Into::into),
            fused: wire.fused.map(Into::into),
            residual_features: wire.residual_features,
            segments: wire.segments.into_iter().map(segment).collect(),
            timeline: wire.timeline.into_iter().map(window).collect(),
            features: wire.features,
            borderline: wire.borderline,
            warnings: wire.warnings,
            duration_ms: wire.duration_ms,
            sample_rate_hz: wire.sample_rate_hz,
            channels: wire.channels,
            codec: wire.codec,
            bytes: wire.bytes,
            content_sha256: wire.content_sha256,
            provenance: wire.provenance.into_iter().map(tag).collect(),
            bundle: wire.bundle,
            device: wire.device,
            decode_us: wire.decode_us,
            screen_us: wire.screen_us,
            residual_us: wire.residual_us,
        }
    }
}

impl RowView {
    /// Puts what is known of the track beside its verdict, and tells whether anything is.
    pub(crate) fn set_truth(&mut self, known: &BTreeMap<String, String>) -> bool {
        let truth = known.get(&self.key);
        self.truth = Some(truth.cloned().unwrap_or_default());
        truth.is_some()
    }

    pub(super) fn verdict_text(&self) -> String {
        match self.reason.as_str() {
            "" => self.verdict.clone(),
            reason => format!("{} {reason}", self.verdict),
        }
    }

    pub(super) fn notes(&self) -> String {
        let borderline = self.borderline.then(|| "borderline".to_owned());
        borderline
            .into_iter()
            .chain(self.warnings.iter().cloned())
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The score that the verdict rests on: that of both engines where both ran, else the screen's.
    pub(super) fn score(&self) -> Option<&ScoreView> {
        self.fused.as_ref().or(self.screen.as_ref())
    }

    /// The probabilities of the screen and of the residual, each by itself.
    pub(super) fn by_engine(&self) -> [String; 2] {
        [&self.screen, &self.residual].map(|score| probability(score.as_ref()))
    }

    pub(super) fn probability(&self) -> String {
        probability(self.score())
    }

    pub(super) fn length(&self) -> String {
        self.duration_ms.map_or_else(String::new, |ms| {
            format!("{}:{:02}", ms / 60_000, ms / 1_000 % 60)
        })
    }
}

fn probability(score: Option<&ScoreView>) -> String {
    score.map_or_else(String::new, |score| format!("{:.3}", score.probability))
}
