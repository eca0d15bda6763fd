//! Views of why a job, a shard or a node stands where it stands.

use super::{JobView, NodeView};
use crate::output::{Paint, Records, View, plain, table};
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;

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

impl From<v1::Reason> for ReasonView {
    fn from(wire: v1::Reason) -> Self {
        Self {
            code: wire.code,
            cause: wire.cause,
            fix: wire.fix,
            tracks: wire.tracks,
        }
    }
}

impl ReasonView {
    /// The reason as people read it.
    pub(crate) fn lines(&self) -> String {
        let held = match self.tracks {
            0 => String::new(),
            tracks => format!("\n  tracks held up: {tracks}"),
        };
        let (code, cause, fix) = (plain(&self.code), plain(&self.cause), plain(&self.fix));
        format!("{code}: {cause}{held}\n  fix: {fix}")
    }
}

fn records(reasons: &[ReasonView]) -> Records {
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
        rows: reasons.iter().map(row).collect(),
    }
}

fn told(reasons: &[ReasonView]) -> String {
    if reasons.is_empty() {
        return "nothing holds it up".to_owned();
    }
    let lines: Vec<String> = reasons.iter().map(ReasonView::lines).collect();
    lines.join("\n")
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
        Self {
            status: wire.job.unwrap_or_default().into(),
            reasons: wire.reasons.into_iter().map(Into::into).collect(),
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
        records(&self.reasons)
    }

    fn table(&self, _: Paint) -> String {
        let head = format!(
            "job {} is {}: {} of {} tracks done",
            self.status.job, self.status.state, self.status.tracks_done, self.status.tracks
        );
        let reasons = told(&self.reasons);
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

/// `node explain`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct NodeExplained {
    /// The node's name.
    node: String,
    /// Its state.
    state: String,
    /// Why it does no work, the heaviest first; empty where it does.
    reasons: Vec<ReasonView>,
}

impl From<v1::GetNodeResponse> for NodeExplained {
    fn from(wire: v1::GetNodeResponse) -> Self {
        let node = NodeView::from(wire.node.unwrap_or_default());
        Self {
            node: node.name,
            state: node.state,
            reasons: wire.reasons.into_iter().map(Into::into).collect(),
        }
    }
}

impl View for NodeExplained {
    fn names(&self) -> Vec<String> {
        self.reasons.iter().map(|r| r.code.clone()).collect()
    }

    fn records(&self) -> Records {
        records(&self.reasons)
    }

    fn table(&self, _: Paint) -> String {
        format!(
            "node {} is {}\n{}",
            self.node,
            self.state,
            told(&self.reasons)
        )
    }
}
