//! Views of revocations: what is not to count.

use super::time;
use crate::output::{Paint, Records, View};
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;

/// `node revoke`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Revoked {
    /// Its name.
    revocation: String,
    /// Open jobs that may hold what is revoked; none of them publishes before they do not.
    jobs: u32,
    /// It had been asked for before.
    existing: bool,
}

impl From<v1::RevokeResponse> for Revoked {
    fn from(wire: v1::RevokeResponse) -> Self {
        Self {
            revocation: wire.revocation,
            jobs: wire.jobs,
            existing: wire.existing,
        }
    }
}

impl View for Revoked {
    fn names(&self) -> Vec<String> {
        vec![self.revocation.clone()]
    }

    fn records(&self) -> Records {
        Records {
            header: vec!["REVOCATION", "JOBS", "EXISTING"],
            rows: vec![vec![
                self.revocation.clone(),
                self.jobs.to_string(),
                self.existing.to_string(),
            ]],
        }
    }

    fn table(&self, _: Paint) -> String {
        let verb = if self.existing {
            "asked for before"
        } else {
            "stored"
        };
        format!(
            "revocation/{} {verb}\n  {} open jobs held what it names; their tracks are scanned again",
            self.revocation, self.jobs
        )
    }
}

/// A revocation.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RevocationView {
    /// Its name.
    revocation: String,
    /// The node.
    node: String,
    /// `cuda:1`; empty for all of the node's.
    device: String,
    /// RFC 3339, by the coordinator's clock.
    from: String,
    /// RFC 3339, itself included.
    to: String,
    /// The open jobs that held it.
    jobs: Vec<String>,
    /// `open` while records may hold what it names, then `done`.
    state: String,
    /// Who asked for it.
    actor: String,
    /// RFC 3339.
    asked_at: String,
    /// Why.
    reason: String,
}

impl From<v1::Revocation> for RevocationView {
    fn from(wire: v1::Revocation) -> Self {
        let state = if wire.done { "done" } else { "open" };
        Self {
            revocation: wire.revocation,
            node: wire.node,
            device: wire.device,
            from: time(wire.from_ms),
            to: time(wire.to_ms),
            jobs: wire.jobs,
            state: state.to_owned(),
            actor: wire.actor,
            asked_at: time(wire.at_ms),
            reason: wire.reason,
        }
    }
}

/// `node revocations`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RevocationList {
    /// Newest first.
    revocations: Vec<RevocationView>,
}

impl From<v1::ListRevocationsResponse> for RevocationList {
    fn from(wire: v1::ListRevocationsResponse) -> Self {
        Self {
            revocations: wire.revocations.into_iter().map(Into::into).collect(),
        }
    }
}

impl View for RevocationList {
    fn names(&self) -> Vec<String> {
        let name = |one: &RevocationView| one.revocation.clone();
        self.revocations.iter().map(name).collect()
    }

    fn records(&self) -> Records {
        let row = |one: &RevocationView| {
            vec![
                one.revocation.clone(),
                one.node.clone(),
                one.device.clone(),
                one.from.clone(),
                one.to.clone(),
                one.state.clone(),
                one.jobs.len().to_string(),
                one.reason.clone(),
            ]
        };
        Records {
            header: vec![
                "REVOCATION",
                "NODE",
                "DEVICE",
                "FROM",
                "TO",
                "STATE",
                "JOBS",
                "REASON",
            ],
            rows: self.revocations.iter().map(row).collect(),
        }
    }
}
