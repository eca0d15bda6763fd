//! Views of jobs.

use super::{Bound, Flags, Verdicts, age, fields, policy, purpose, short, size, span, time};
use crate::output::{Paint, Records, View};
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;
use types::{GateChoice, Policy, Share};

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
    /// Which stages run, `screen` or `both`; empty where the job's policy cannot be read.
    pub(crate) stages: String,
    /// Which tracks go on to the residual: `unsure`, `positives`, `both` or `all`; empty where the job leaves it to its bundle.
    pub(crate) gate: String,
    /// Most tracks that may go on to the residual, as a share of the list; absent where the job has no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_escalation: Option<f64>,
    /// Tracks of the list.
    pub(crate) tracks: u64,
    /// Tracks with a committed row.
    pub(crate) tracks_done: u64,
    /// Tracks that nodes hold.
    pub(crate) tracks_granted: u64,
    /// Committed rows by verdict.
    pub(crate) verdicts: Verdicts,
    /// Tracks that the screen gave a score; while the job runs, those that wait for their residual among them.
    pub(crate) tracks_screened: u64,
    /// Flags, and how many wrong ones the bundle's bound allows; absent where the bundle was not asked for it, as in listings, or could
    /// not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flags: Option<Flags>,
    /// Root shards.
    pub(crate) shards: u32,
    /// Shards all of whose tracks are committed.
    pub(crate) shards_done: u32,
    /// Audio scanned, in seconds.
    pub(crate) audio_seconds: f64,
    /// `interactive`, `ingest` or `batch`.
    pub(crate) lane: String,
    /// Within the lane of its tenant, higher goes first.
    pub(crate) priority: i32,
    /// By when it is wanted, RFC 3339; empty where it is wanted by no time.
    pub(crate) deadline: String,
    /// What its nodes must have.
    pub(crate) requires: RequirementsView,
    /// The job whose unscannable tracks it scans again; empty where it is none.
    pub(crate) retry_of: String,
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
    /// What its verdicts go by.
    #[serde(skip)]
    pub(crate) rules: Option<bundle::Rules>,
    /// Where the flags' bound was asked for.
    #[serde(skip)]
    bound: Option<Bound>,
}

/// What a node must have to be given a job's tracks.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RequirementsView {
    /// `cpu` or `cuda`; empty for any.
    device: String,
    /// Bytes of memory of each of its devices in service.
    memory_bytes: u64,
    /// Whether it must have the bundle loaded already.
    bundle_loaded: bool,
}

impl From<v1::Requirements> for RequirementsView {
    fn from(wire: v1::Requirements) -> Self {
        let device = match wire.device() {
            v1::DeviceKind::Unspecified => "",
            v1::DeviceKind::Cpu => "cpu",
            v1::DeviceKind::Cuda => "cuda",
        };
        Self {
            device: device.to_owned(),
            memory_bytes: wire.memory_bytes,
            bundle_loaded: wire.bundle_loaded,
        }
    }
}

impl RequirementsView {
    /// As people read it; empty where any node will do.
    fn words(&self) -> String {
        let device = (!self.device.is_empty()).then(|| format!("{} only", self.device));
        let memory =
            (self.memory_bytes > 0).then(|| format!("{} a device", size(self.memory_bytes)));
        let loaded = self.bundle_loaded.then(|| "bundle loaded".to_owned());
        let words = [device, memory, loaded].into_iter().flatten();
        words.collect::<Vec<_>>().join(", ")
    }
}

fn lane(rank: &v1::Rank) -> &'static str {
    match rank.lane() {
        v1::Lane::Interactive => "interactive",
        v1::Lane::Ingest => "ingest",
        v1::Lane::Batch => "batch",
        v1::Lane::Unspecified => "unknown",
    }
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
        let rank = wire.rank.unwrap_or_default();
        let policy = policy(&spec);
        let steering = policy.as_ref().map(Steering::of).unwrap_or_default();
        Self {
            job: spec.job,
            state: state(wire.state).to_owned(),
            catalog: spec.catalog,
            list: spec.list,
            bundle: format!("{}@{}", wire.bundle_name, wire.bundle_version),
            bundle_digest: spec.bundle,
            purpose: purpose(wire.purpose),
            stages: steering.stages.to_owned(),
            gate: steering.gate.to_owned(),
            max_escalation: steering.max_escalation,
            tracks: u64::from(spec.rows),
            tracks_done: wire.tracks_done,
            tracks_granted: wire.tracks_granted,
            verdicts: wire.verdicts.into(),
            tracks_screened: wire.tracks_screened,
            flags: None,
            shards: wire.shards,
            shards_done: wire.shards_done,
            audio_seconds: wire.audio_ms as f64 / 1_000.0,
            lane: lane(&rank).to_owned(),
            priority: rank.priority(),
            deadline: time(rank.deadline_ms()),
            requires: wire.requires.unwrap_or_default().into(),
            retry_of: spec.retry.unwrap_or_default().job,
            actor: spec.actor,
            submitted_at: time(spec.submitted_at_ms),
            ended_at: time(wire.ended_at_ms),
            manifest: manifest.object,
            manifest_sha256: manifest.sha256,
            cancel_reason: wire.cancel_reason,
            revision: wire.revision,
            submitted_at_ms: spec.submitted_at_ms,
            rules: policy.as_ref().map(Into::into),
            bound: None,
        }
    }
}

/// What a job's policy says of its stages, in the words of `scan submit`.
#[derive(Debug, Default)]
struct Steering {
    stages: &'static str,
    gate: &'static str,
    max_escalation: Option<f64>,
}

impl Steering {
    fn of(policy: &Policy) -> Self {
        let share = |share: Share| f64::from(share.ppm()) / f64::from(Share::WHOLE);
        Self {
            stages: policy.stages.as_str(),
            gate: policy.gate.map_or("", GateChoice::as_str),
            max_escalation: policy.max_escalation.map(share),
        }
    }
}

impl JobView {
    /// Puts the bundle's bound beside the flags, where it is known.
    pub(crate) fn bounded(mut self, bound: Option<Bound>) -> Self {
        let over = |bound: &Bound| bound.over(self.verdicts.likely_ai, self.tracks_screened);
        self.flags = bound.as_ref().map(over);
        self.bound = bound;
        self
    }

    /// The job as it stands now, beside the bound that was asked for before.
    pub(crate) fn renewed(&mut self, job: v1::Job) {
        *self = Self::from(job).bounded(self.bound.take());
    }

    /// The flags as a table of the job has them.
    fn flagged(&self) -> String {
        let likely_ai = self.verdicts.likely_ai.to_string();
        self.flags.as_ref().map_or(likely_ai, Flags::beside)
    }

    /// The bound on what goes on, as people read it; empty where there is none.
    fn budget(&self) -> String {
        let of_the_list = |share: f64| format!("{share} of the list");
        self.max_escalation.map_or_else(String::new, of_the_list)
    }

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
            self.purpose.clone(),
            age(self.submitted_at_ms),
        ]
    }
}

const JOB_HEADER: [&str; 10] = [
    "JOB",
    "CATALOG",
    "STATE",
    "TRACKS",
    "LIKELY_AI",
    "NO_EVIDENCE",
    "INCONCLUSIVE",
    "UNSCANNABLE",
    "PURPOSE",
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
            ("stages", self.stages.clone()),
            ("gate", self.gate.clone()),
            ("max_escalation", self.budget()),
            ("likely_ai", self.flagged()),
            ("no_evidence", v.no_evidence.to_string()),
            ("inconclusive", v.inconclusive.to_string()),
            ("unscannable", v.unscannable.to_string()),
            (
                "shards",
                format!("{} of {} done", self.shards_done, self.shards),
            ),
            ("rank", format!("{}, priority {}", self.lane, self.priority)),
            ("wanted by", self.deadline.clone()),
            ("requires", self.requires.words()),
            ("retry of", self.retry_of.clone()),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn job(likely_ai: u64, tracks_screened: u64) -> v1::Job {
        v1::Job {
            verdicts: Some(v1::VerdictCounts {
                likely_ai,
                ..v1::VerdictCounts::default()
            }),
            tracks_screened,
            ..v1::Job::default()
        }
    }

    fn flags(view: &JobView) -> Option<(u64, u64, u64)> {
        let flags = view.flags.as_ref()?;
        Some((flags.likely_ai, flags.screened, flags.wrong_at_most))
    }

    #[test]
    fn a_bound_that_was_asked_for_once_stands_beside_the_flags_of_each_later_look() {
        // The sample's is 0.017.
        let bound = super::super::flags::tests::bound();
        let mut view = JobView::from(job(0, 0)).bounded(Some(bound));
        assert_eq!(flags(&view), Some((0, 0, 0)));
        for _ in 0..2 {
            view.renewed(job(3, 100));
            assert_eq!(flags(&view), Some((3, 100, 2)));
        }
        let shown = view.table(Paint::plain());
        let line = "3 of 100 tracks screened; the bound of 1.70 % allows 2 wrong ones";
        assert!(shown.contains(line), "{shown}");
    }

    #[test]
    fn a_job_whose_bound_is_not_known_shows_its_flags_all_the_same() {
        let mut view = JobView::from(job(3, 100)).bounded(None);
        view.renewed(job(4, 100));
        assert_eq!(flags(&view), None);
        let shown = view.table(Paint::plain());
        let line = shown.lines().find(|line| line.starts_with("likely_ai"));
        assert_eq!(line.map(|line| line.ends_with(" 4")), Some(true), "{shown}");
    }

    /// A job of such a policy, as text and as JSON.
    fn under(policy: &Policy) -> (String, serde_json::Value) {
        let spec = v1::JobSpec {
            policy: Some(policy.clone().into()),
            ..v1::JobSpec::default()
        };
        let view = JobView::from(v1::Job {
            spec: Some(spec),
            ..v1::Job::default()
        });
        let json = serde_json::to_value(&view).unwrap();
        (view.table(Paint::plain()), json)
    }

    fn line<'a>(table: &'a str, name: &str) -> Option<&'a str> {
        let mut lines = table.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.trim()))
    }

    #[test]
    fn a_job_says_which_stages_run_and_what_may_go_on() {
        let policy = Policy {
            stages: types::Stages::Both,
            gate: Some(GateChoice::All),
            max_escalation: Some("0.05".parse().unwrap()),
            ..Policy::default()
        };
        let (table, json) = under(&policy);
        assert_eq!(line(&table, "stages"), Some("both"), "{table}");
        assert_eq!(line(&table, "gate"), Some("all"), "{table}");
        let budget = line(&table, "max_escalation");
        assert_eq!(budget, Some("0.05 of the list"), "{table}");
        assert_eq!(json["stages"], "both");
        assert_eq!(json["gate"], "all");
        assert_eq!(json["max_escalation"], 0.05);
    }

    #[test]
    fn a_job_that_leaves_the_gate_to_its_bundle_names_none_and_no_bound() {
        let (table, json) = under(&Policy::default());
        assert_eq!(line(&table, "stages"), Some("screen"), "{table}");
        assert_eq!(line(&table, "gate"), None, "{table}");
        assert_eq!(line(&table, "max_escalation"), None, "{table}");
        assert_eq!(json["gate"], "");
        assert!(json.get("max_escalation").is_none(), "{json}");
    }
}
