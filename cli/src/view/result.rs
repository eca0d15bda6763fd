//! Views of published rows, of a result's verification and of throughput. A probability is never printed without the
//! prior that it was calibrated at, and rows of a demonstration bundle say so.

use super::{Verdicts, fields, short, size, span};
use crate::output::{Paint, Records, View, table};
use crate::timeline;
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A stage's score over a track.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ScoreView {
    /// Natural-log odds before calibration.
    logit: f32,
    /// Calibrated probability that a machine made the track, at `prior`.
    probability: f32,
    /// Share of machine-made tracks that the probability was calibrated at.
    prior: f32,
    /// Windows or segments that entered.
    windows: u32,
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
    fn text(&self) -> String {
        format!("{:.3} at prior {:.2}", self.probability, self.prior)
    }
}

/// A window of the timeline.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct WindowView {
    /// Start of the window in milliseconds.
    pub(crate) start_ms: u32,
    /// Natural-log odds of the window.
    pub(crate) logit: f32,
}

/// A tag that claims where the track comes from.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct TagView {
    /// Where it stood.
    tag: String,
    /// What it says: text of whoever made the file.
    value: String,
}

/// One track's row.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RowView {
    /// Position in the list.
    ordinal: u32,
    /// The agency's id.
    pub(crate) track_id: String,
    /// Source by name.
    source: String,
    /// Object within the source.
    key: String,
    /// ISRC of the snapshot.
    isrc: String,
    /// What the supplier declared.
    declared_ai: String,
    /// `likely_ai`, `no_evidence`, `inconclusive` or `unscannable`.
    verdict: String,
    /// What `--truth` knows of it; absent without that flag, empty where the file does not name the track.
    #[serde(skip_serializing_if = "Option::is_none")]
    truth: Option<String>,
    /// Why it is inconclusive or unscannable.
    reason: String,
    /// Particulars of the reason.
    detail: String,
    /// The screen's score.
    screen: Option<ScoreView>,
    /// The residual's score.
    residual: Option<ScoreView>,
    /// The screen's windows.
    timeline: Vec<WindowView>,
    /// The bundle's feature vector.
    features: Vec<f32>,
    /// The score lies within the bundle's tolerance of an edge.
    borderline: bool,
    /// Reservations.
    warnings: Vec<String>,
    /// Decoded length in milliseconds.
    duration_ms: Option<u64>,
    /// The file's own sample rate.
    sample_rate_hz: Option<u32>,
    /// The file's own channels.
    channels: Option<u32>,
    /// Codec.
    codec: String,
    /// Bytes of the object.
    bytes: Option<u64>,
    /// SHA-256 of the object where it was read whole.
    content_sha256: String,
    /// Tags that claim a provenance.
    provenance: Vec<TagView>,
    /// Digest of the bundle.
    bundle: String,
    /// The device that scored.
    device: String,
    /// Processor time of decoding in microseconds.
    decode_us: u64,
    /// Device time of the screen in microseconds.
    screen_us: u64,
    /// Device time of the residual in microseconds.
    residual_us: u64,
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
    /// Puts what is known of the track beside its verdict.
    pub(crate) fn set_truth(&mut self, known: &BTreeMap<String, String>) {
        self.truth = Some(known.get(&self.key).cloned().unwrap_or_default());
    }

    fn verdict_text(&self) -> String {
        match self.reason.as_str() {
            "" => self.verdict.clone(),
            reason => format!("{} {reason}", self.verdict),
        }
    }

    fn notes(&self) -> String {
        let borderline = self.borderline.then(|| "borderline".to_owned());
        borderline
            .into_iter()
            .chain(self.warnings.iter().cloned())
            .collect::<Vec<_>>()
            .join(",")
    }

    fn probability(&self) -> String {
        self.screen
            .as_ref()
            .map_or_else(String::new, |s| format!("{:.3}", s.probability))
    }

    fn length(&self) -> String {
        self.duration_ms.map_or_else(String::new, |ms| {
            format!("{}:{:02}", ms / 60_000, ms / 1_000 % 60)
        })
    }
}

/// `result get JOB`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RowList {
    /// The job.
    pub(crate) job: String,
    /// `demonstration` or `production`.
    pub(crate) purpose: String,
    /// There are more rows than were asked for.
    pub(crate) truncated: bool,
    /// In the order of the list.
    pub(crate) rows: Vec<RowView>,
}

/// Columns of a drawn timeline in the table of many rows.
const TIMELINE_COLUMNS: usize = 20;

impl View for RowList {
    fn names(&self) -> Vec<String> {
        self.rows.iter().map(|r| r.track_id.clone()).collect()
    }

    fn records(&self) -> Records {
        let row = |r: &RowView| {
            let score = r.screen.as_ref();
            vec![
                r.ordinal.to_string(),
                r.track_id.clone(),
                r.source.clone(),
                r.key.clone(),
                r.isrc.clone(),
                r.verdict.clone(),
                r.reason.clone(),
                r.probability(),
                score.map_or_else(String::new, |s| s.prior.to_string()),
                self.purpose.clone(),
                r.borderline.to_string(),
                r.warnings.join(" "),
                r.length(),
                r.codec.clone(),
            ]
        };
        let header = vec![
            "ORDINAL",
            "TRACK_ID",
            "SOURCE",
            "KEY",
            "ISRC",
            "VERDICT",
            "REASON",
            "PROBABILITY",
            "PRIOR",
            "PURPOSE",
            "BORDERLINE",
            "WARNINGS",
            "LENGTH",
            "CODEC",
        ];
        Records {
            header,
            rows: self.rows.iter().map(row).collect(),
        }
    }

    fn table(&self, _: Paint) -> String {
        let told = self.rows.iter().any(|r| r.truth.is_some());
        let row = |r: &RowView| {
            let drawn = timeline::draw(&r.timeline, TIMELINE_COLUMNS, Paint::plain());
            let truth = told.then(|| r.truth.clone().unwrap_or_default());
            let head = [r.key.clone(), r.verdict_text()].into_iter().chain(truth);
            head.chain([
                r.probability(),
                drawn,
                r.length(),
                r.codec.clone(),
                r.notes(),
            ])
            .collect()
        };
        let truth = told.then_some("TRUTH");
        let header = ["KEY", "VERDICT"].into_iter().chain(truth);
        let header = header
            .chain(["P", "TIMELINE", "LENGTH", "CODEC", "NOTES"])
            .collect();
        let rows = table(Records {
            header,
            rows: self.rows.iter().map(row).collect(),
        });
        let prior = self
            .rows
            .iter()
            .find_map(|r| r.screen.as_ref())
            .map(|s| s.prior);
        let prior = prior.map_or_else(String::new, |p| {
            format!(
                "\nP: calibrated probability of machine generation at a prior of {p:.2}; {}",
                timeline::LEGEND
            )
        });
        let purpose = demonstration(&self.purpose);
        let more = if self.truncated {
            "\nmore rows follow: raise --limit, or use scanctl result export"
        } else {
            ""
        };
        format!("{rows}{prior}{purpose}{more}")
    }
}

fn demonstration(purpose: &str) -> &'static str {
    if purpose == "demonstration" {
        "\nThis is a demonstration bundle: it has never heard real music, and its verdicts decide nothing."
    } else {
        ""
    }
}

/// `result get JOB TRACK`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RowDetail {
    /// `demonstration` or `production`.
    pub(crate) purpose: String,
    /// The row.
    pub(crate) row: RowView,
}

impl View for RowDetail {
    fn names(&self) -> Vec<String> {
        vec![self.row.track_id.clone()]
    }

    fn records(&self) -> Records {
        let list = RowList {
            job: String::new(),
            purpose: self.purpose.clone(),
            truncated: false,
            rows: vec![self.row.clone()],
        };
        list.records()
    }

    fn table(&self, paint: Paint) -> String {
        let r = &self.row;
        let score = |s: &Option<ScoreView>| {
            s.as_ref().map_or_else(String::new, |s| {
                format!("{} ({} windows, logit {:.3})", s.text(), s.windows, s.logit)
            })
        };
        let stream = [
            r.codec.clone(),
            r.sample_rate_hz
                .map_or_else(String::new, |hz| format!("{hz} Hz")),
            r.channels
                .map_or_else(String::new, |n| format!("{n} channels")),
            r.bytes.map_or_else(String::new, size),
        ];
        let tags = r
            .provenance
            .iter()
            .map(|t| format!("{}: {}", t.tag, t.value))
            .collect::<Vec<_>>()
            .join("; ");
        let drawn = timeline::draw(&r.timeline, 60, paint);
        let text = fields(&[
            ("track", r.track_id.clone()),
            ("object", format!("{}:{}", r.source, r.key)),
            ("isrc", r.isrc.clone()),
            ("declared", r.declared_ai.clone()),
            ("verdict", r.verdict_text()),
            ("detail", r.detail.clone()),
            ("screen", score(&r.screen)),
            ("residual", score(&r.residual)),
            ("timeline", drawn),
            ("notes", r.notes()),
            ("length", r.length()),
            (
                "stream",
                stream
                    .into_iter()
                    .filter(|s| !s.is_empty())
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
            ("sha256", r.content_sha256.clone()),
            ("provenance", tags),
            ("bundle", short(&r.bundle)),
            ("device", r.device.clone()),
            (
                "cost",
                format!(
                    "decode {:.1} ms CPU, screen {:.1} ms device",
                    r.decode_us as f64 / 1e3,
                    r.screen_us as f64 / 1e3
                ),
            ),
        ]);
        format!("{text}{}", demonstration(&self.purpose))
    }
}

/// `result verify`.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Verified {
    /// The job.
    pub(crate) job: String,
    /// Whether every track has exactly one row and every byte is as published.
    pub(crate) ok: bool,
    /// Tracks of the snapshot.
    pub(crate) rows_expected: u64,
    /// Rows found in the parts.
    pub(crate) rows_found: u64,
    /// Parts read.
    pub(crate) parts: u32,
    /// Bytes hashed.
    pub(crate) bytes_hashed: u64,
    /// Rows by verdict.
    pub(crate) verdicts: Verdicts,
    /// Digest over (ordinal, track, verdict, reason) of all rows: equal for two runs with equal verdicts.
    pub(crate) verdicts_sha256: String,
    /// What is not as it must be, as `CODE subject: cause`; at most a thousand are kept.
    pub(crate) findings: Vec<String>,
    /// All findings, counted.
    pub(crate) findings_total: u64,
}

impl View for Verified {
    fn names(&self) -> Vec<String> {
        vec![self.job.clone()]
    }

    fn records(&self) -> Records {
        let row = vec![
            self.job.clone(),
            self.ok.to_string(),
            self.rows_expected.to_string(),
            self.rows_found.to_string(),
            self.parts.to_string(),
            self.findings_total.to_string(),
            self.verdicts_sha256.clone(),
        ];
        Records {
            header: vec![
                "JOB",
                "OK",
                "ROWS_EXPECTED",
                "ROWS_FOUND",
                "PARTS",
                "FINDINGS",
                "VERDICTS_SHA256",
            ],
            rows: vec![row],
        }
    }

    fn table(&self, paint: Paint) -> String {
        let head = if self.ok {
            paint.colour(
                "32",
                &format!(
                    "result/{} verified: each of {} tracks has exactly one row",
                    self.job, self.rows_expected
                ),
            )
        } else {
            paint.colour(
                "31",
                &format!(
                    "result/{} does not stand: {} findings",
                    self.job, self.findings_total
                ),
            )
        };
        let detail = fields(&[
            (
                "  rows",
                format!("{} found, {} expected", self.rows_found, self.rows_expected),
            ),
            (
                "  parts",
                format!("{}, {} rehashed", self.parts, size(self.bytes_hashed)),
            ),
            (
                "  verdicts",
                format!(
                    "{} likely_ai, {} no_evidence, {} inconclusive, {} unscannable",
                    self.verdicts.likely_ai,
                    self.verdicts.no_evidence,
                    self.verdicts.inconclusive,
                    self.verdicts.unscannable
                ),
            ),
            ("  verdicts_sha256", self.verdicts_sha256.clone()),
        ]);
        let findings = self
            .findings
            .iter()
            .map(|f| format!("\n  {f}"))
            .collect::<String>();
        format!("{head}\n{detail}{findings}")
    }
}

/// A stage on a device.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StageView {
    /// The node.
    node: String,
    /// The device.
    device: String,
    /// `decode`, `screen` or `residual`.
    stage: String,
    /// Tracks that passed.
    tracks: u64,
    /// Audio that passed, in seconds.
    audio_seconds: f64,
    /// Device time in seconds.
    device_seconds: f64,
    /// Processor time in seconds.
    cpu_seconds: f64,
    /// Time the stage waited for its input, in seconds.
    wait_seconds: f64,
    /// Energy in joules; 0 where the device has no counter.
    joules: f64,
    /// Bytes read.
    bytes: u64,
    /// Tracks per device-second.
    tracks_per_second: f64,
    /// Audio seconds per device-second.
    realtime_factor: f64,
}

impl From<v1::StageSummary> for StageView {
    fn from(wire: v1::StageSummary) -> Self {
        let used = wire.r#use.unwrap_or_default();
        Self {
            node: wire.node,
            stage: stage(used.stage).to_owned(),
            device: used.device,
            tracks: used.tracks,
            audio_seconds: used.audio_ms as f64 / 1e3,
            device_seconds: used.device_us as f64 / 1e6,
            cpu_seconds: used.cpu_us as f64 / 1e6,
            wait_seconds: used.wait_us as f64 / 1e6,
            joules: used.energy_mj as f64 / 1e3,
            bytes: used.bytes,
            tracks_per_second: wire.tracks_per_second,
            realtime_factor: wire.realtime_factor,
        }
    }
}

fn stage(number: i32) -> &'static str {
    match v1::Stage::try_from(number) {
        Ok(v1::Stage::Decode) => "decode",
        Ok(v1::Stage::Screen) => "screen",
        Ok(v1::Stage::Residual) => "residual",
        Ok(v1::Stage::Unspecified) | Err(_) => "",
    }
}

/// `result summary`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Summary {
    /// The job.
    job: String,
    /// Tracks with a committed row.
    tracks: u64,
    /// Audio scanned, in seconds.
    audio_seconds: f64,
    /// From submit until now or publish, in seconds.
    wall_seconds: f64,
    /// By node, device and stage.
    stages: Vec<StageView>,
    /// The stage that binds; empty before anything is measured.
    binding: String,
    /// Why it binds.
    binding_reason: String,
}

impl From<v1::SummarizeResponse> for Summary {
    fn from(wire: v1::SummarizeResponse) -> Self {
        let job = wire.job.unwrap_or_default();
        Self {
            job: job.spec.unwrap_or_default().job,
            tracks: job.tracks_done,
            audio_seconds: job.audio_ms as f64 / 1e3,
            wall_seconds: wire.wall_seconds,
            stages: wire.stages.into_iter().map(Into::into).collect(),
            binding: stage(wire.binding).to_owned(),
            binding_reason: wire.binding_reason,
        }
    }
}

impl View for Summary {
    fn names(&self) -> Vec<String> {
        vec![self.job.clone()]
    }

    fn records(&self) -> Records {
        let row = |s: &StageView| {
            vec![
                s.node.clone(),
                s.device.clone(),
                s.stage.clone(),
                s.tracks.to_string(),
                format!("{:.1}", s.audio_seconds),
                format!("{:.2}", s.device_seconds),
                format!("{:.2}", s.cpu_seconds),
                format!("{:.2}", s.wait_seconds),
                format!("{:.2}", s.tracks_per_second),
                format!("{:.1}", s.realtime_factor),
            ]
        };
        let header = vec![
            "NODE",
            "DEVICE",
            "STAGE",
            "TRACKS",
            "AUDIO_S",
            "DEVICE_S",
            "CPU_S",
            "WAIT_S",
            "TRACKS_PER_S",
            "X_REALTIME",
        ];
        Records {
            header,
            rows: self.stages.iter().map(row).collect(),
        }
    }

    fn table(&self, _: Paint) -> String {
        let wall = self.wall_seconds.max(1e-3);
        let head = format!(
            "job {}: {} tracks, {} of audio in {:.1} s; {:.2} tracks/s, {:.1} x real time",
            self.job,
            self.tracks,
            span(self.audio_seconds as u64),
            self.wall_seconds,
            self.tracks as f64 / wall,
            self.audio_seconds / wall
        );
        let binds = if self.binding.is_empty() {
            String::new()
        } else {
            format!("\nbinds: {} ({})", self.binding, self.binding_reason)
        };
        format!("{head}\n{}{binds}", table(self.records()))
    }
}
