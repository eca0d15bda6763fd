//! Views of jobs and of why they stand where they stand.

use super::{Verdicts, age, fields, purpose, short, span, time};
use crate::output::{Paint, Records, View, table};
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;

/// A job: `scan get`, and each line of `scan ls`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct JobView {
    /// The job's name.
    pub(crate) job: String,
    /// `running`, `paused`, `publishing`, `published` or `cancelled`.
    pub(crate) state: String,
    /// The catalog.
    pub(crate) catalog: String,
    /// Digest of the list.
    pub(crate) list: String,
    /// Bundle by name and version.
    pub(crate) bundle: String,
    /// Digest of the bundle.
    pub(crate) bundle_digest: String,
    /// `demonstration` or `production`.
    pub(crate) purpose: String,
    /// Tracks of the list.
    pub(crate) tracks: u64,
    /// Tracks with a committed row.
    pub(crate) tracks_done: u64,
    /// Tracks that nodes hold.
    pub(crate) tracks_granted: u64,
    /// Committed rows by verdict.
    pub(crate) verdicts: Verdicts,
    /// Root shards.
    pub(crate) shards: u32,
    /// Shards all of whose tracks are committed.
    pub(crate) shards_done: u32,
    /// Audio scanned, in seconds.
    pub(crate) audio_seconds: f64,
    /// Who submitted it.
    pub(crate) actor: String,
    /// RFC 3339.
    pub(crate) submitted_at: String,
    /// RFC 3339; empty while it runs.
    pub(crate) ended_at: String,
    /// Object of the manifest; empty before publish.
    pub(crate) manifest: String,
    /// Digest of the manifest; empty before publish.
    pub(crate) manifest_sha256: String,
    /// Why it was cancelled.
    pub(crate) cancel_reason: String,
    /// Rises with each change.
    pub(crate) revision: u64,
    #[serde(skip)]
    submitted_at_ms: i64,
}

pub(crate) fn state(number: i32) -> &'static str {
    match v1::JobState::try_from(number) {
        Ok(v1::JobState::Running) => "running",
        Ok(v1::JobState::Paused) => "paused",
        Ok(v1::JobState::Publishing) => "publishing",
        Ok(v1::JobState::Published) => "published",
        Ok(v1::JobState::Cancelled) => "cancelled",
        Ok(v1::JobState::Unspecified) | Err(_) => "unknown",
    }
}

impl From<v1::Job> for JobView {
    fn from(wire: v1::Job) -> Self {
        let spec = wire.spec.unwrap_or_default();
        let manifest = wire.manifest.unwrap_or_default();
        Self {
            job: spec.job,
            state: state(wire.state).to_owned(),
            catalog: spec.catalog,
            list: spec.list,
            bundle: format!("{}@{}", wire.bundle_name, wire.bundle_version),
            bundle_digest: spec.bundle,
            purpose: purpose(wire.purpose),
            tracks: u64::from(spec.rows),
            tracks_done: wire.tracks_done,
            tracks_granted: wire.tracks_granted,
            verdicts: wire.verdicts.into(),
            shards: wire.shards,
            shards_done: wire.shards_done,
            audio_seconds: wire.audio_ms as f64 / 1_000.0,
            actor: spec.actor,
            submitted_at: time(spec.submitted_at_ms),
            ended_at: time(wire.ended_at_ms),
            manifest: manifest.object,
            manifest_sha256: manifest.sha256,
            cancel_reason: wire.cancel_reason,
            revision: wire.revision,
            submitted_at_ms: spec.submitted_at_ms,
        }
    }
}

impl JobView {
    /// Whether nothing will change any more.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.state.as_str(), "published" | "cancelled")
    }

    fn row(&self) -> Vec<String> {
        let done = if self.tracks == 0 {
            100.0
        } else {
            self.tracks_done as f64 * 100.0 / self.tracks as f64
        };
        let v = &self.verdicts;
        vec![
            self.job.clone(),
            self.catalog.clone(),
            self.state.clone(),
            format!("{}/{} ({done:.0}%)", self.tracks_done, self.tracks),
            v.likely_ai.to_string(),
            v.no_evidence.to_string(),
            v.inconclusive.to_string(),
            v.unscannable.to_string(),
            age(self.submitted_at_ms),
        ]
    }
}

const JOB_HEADER: [&str; 9] = [
    "JOB",
    "CATALOG",
    "STATE",
    "TRACKS",
    "LIKELY_AI",
    "NO_EVIDENCE",
    "INCONCLUSIVE",
    "UNSCANNABLE",
    "AGE",
];

impl View for JobView {
    fn names(&self) -> Vec<String> {
        vec![self.job.clone()]
    }

    fn records(&self) -> Records {
        Records {
            header: JOB_HEADER.to_vec(),
            rows: vec![self.row()],
        }
    }

    fn table(&self, _: Paint) -> String {
        let v = &self.verdicts;
        fields(&[
            ("job", self.job.clone()),
            ("state", self.state.clone()),
            (
                "catalog",
                format!("{} (list {})", self.catalog, short(&self.list)),
            ),
            (
                "bundle",
                format!(
                    "{} (digest {}, {})",
                    self.bundle,
                    short(&self.bundle_digest),
                    self.purpose
                ),
            ),
            (
                "tracks",
                format!(
                    "{} of {} done, {} granted",
                    self.tracks_done, self.tracks, self.tracks_granted
                ),
            ),
            ("likely_ai", v.likely_ai.to_string()),
            ("no_evidence", v.no_evidence.to_string()),
            ("inconclusive", v.inconclusive.to_string()),
            ("unscannable", v.unscannable.to_string()),
            (
                "shards",
                format!("{} of {} done", self.shards_done, self.shards),
            ),
            ("audio", span(self.audio_seconds as u64)),
            (
                "submitted",
                format!("{} by {}", self.submitted_at, self.actor),
            ),
            ("ended", self.ended_at.clone()),
            ("manifest", self.manifest.clone()),
            ("cancelled for", self.cancel_reason.clone()),
        ])
    }
}

/// `scan ls`, `result ls`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JobList {
    /// Newest first.
    pub(crate) jobs: Vec<JobView>,
}

impl View for JobList {
    fn names(&self) -> Vec<String> {
        self.jobs.iter().map(|j| j.job.clone()).collect()
    }

    fn records(&self) -> Records {
        Records {
            header: JOB_HEADER.to_vec(),
            rows: self.jobs.iter().map(JobView::row).collect(),
        }
    }
}

/// `scan submit`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Submitted {
    /// The job's name.
    pub(crate) job: String,
    /// The request had been submitted before; this is its job.
    pub(crate) existing: bool,
    /// The job as it stood when the command ended.
    pub(crate) status: JobView,
}

impl View for Submitted {
    fn names(&self) -> Vec<String> {
        vec![self.job.clone()]
    }

    fn records(&self) -> Records {
        self.status.records()
    }

    fn table(&self, paint: Paint) -> String {
        let verb = if self.existing {
            "submitted before"
        } else {
            "submitted"
        };
        if self.status.ended() {
            return self.status.table(paint);
        }
        format!(
            "job/{} {verb}\n  {} tracks; scanctl scan wait {}",
            self.job, self.status.tracks, self.job
        )
    }
}

/// Why work does not run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReasonView {
    /// Stable code.
    code: String,
    /// What it says about what.
    cause: String,
    /// What to do.
    fix: String,
    /// Tracks that it holds up.
    tracks: u64,
}

/// A shard of a job.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ShardDetail {
    /// `17`, or `17.3-512`.
    shard: String,
    /// Tracks.
    tracks: u64,
    /// Tracks with a committed row.
    tracks_done: u64,
    /// Attempts taken.
    attempts: u32,
    /// Parts that count.
    parts: u32,
    /// Live grants as `attempt node [first,end)`.
    grants: Vec<String>,
    /// Tracks suspected of having ended a worker, as `[first,end) (deaths)`.
    suspects: Vec<String>,
}

/// `scan explain`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Explained {
    /// The job.
    status: JobView,
    /// Heaviest first; empty where all runs.
    reasons: Vec<ReasonView>,
    /// Shards in hand or held up, bounded.
    shards: Vec<ShardDetail>,
}

impl From<v1::ExplainJobResponse> for Explained {
    fn from(wire: v1::ExplainJobResponse) -> Self {
        let reason = |r: v1::Reason| ReasonView {
            code: r.code,
            cause: r.cause,
            fix: r.fix,
            tracks: r.tracks,
        };
        Self {
            status: wire.job.unwrap_or_default().into(),
            reasons: wire.reasons.into_iter().map(reason).collect(),
            shards: wire.shards.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::ShardView> for ShardDetail {
    fn from(wire: v1::ShardView) -> Self {
        let grant = |g: &v1::GrantView| {
            let range = g.ordinals.unwrap_or_default();
            format!("{} {} [{},{})", g.attempt, g.node, range.first, range.end)
        };
        let suspect = |s: &v1::Suspect| {
            let tracks = s.tracks.unwrap_or_default();
            format!("[{},{}) ({})", tracks.first, tracks.end, s.deaths)
        };
        Self {
            tracks: wire.tracks,
            tracks_done: wire.tracks_done,
            attempts: wire.attempts,
            parts: wire.parts,
            grants: wire.grants.iter().map(grant).collect(),
            suspects: wire.suspects.iter().map(suspect).collect(),
            shard: wire.shard,
        }
    }
}

impl View for Explained {
    fn names(&self) -> Vec<String> {
        self.reasons.iter().map(|r| r.code.clone()).collect()
    }

    fn records(&self) -> Records {
        let row = |r: &ReasonView| {
            vec![
                r.code.clone(),
                r.tracks.to_string(),
                r.cause.clone(),
                r.fix.clone(),
            ]
        };
        Records {
            header: vec!["CODE", "TRACKS", "CAUSE", "FIX"],
            rows: self.reasons.iter().map(row).collect(),
        }
    }

    fn table(&self, _: Paint) -> String {
        let head = format!(
            "job {} is {}: {} of {} tracks done",
            self.status.job, self.status.state, self.status.tracks_done, self.status.tracks
        );
        let reasons = if self.reasons.is_empty() {
            "nothing holds it up".to_owned()
        } else {
            let line = |r: &ReasonView| {
                format!(
                    "{}: {}\n  tracks held up: {}\n  fix: {}",
                    r.code, r.cause, r.tracks, r.fix
                )
            };
            self.reasons.iter().map(line).collect::<Vec<_>>().join("\n")
        };
        if self.shards.is_empty() {
            return format!("{head}\n{reasons}");
        }
        let row = |s: &ShardDetail| {
            vec![
                s.shard.clone(),
                format!("{}/{}", s.tracks_done, s.tracks),
                s.attempts.to_string(),
                s.parts.to_string(),
                s.grants.join("; "),
                s.suspects.join("; "),
            ]
        };
        let header = vec!["SHARD", "TRACKS", "ATTEMPTS", "PARTS", "GRANTS", "SUSPECTS"];
        let shards = table(Records {
            header,
            rows: self.shards.iter().map(row).collect(),
        });
        format!("{head}\n{reasons}\n\n{shards}")
    }
}
