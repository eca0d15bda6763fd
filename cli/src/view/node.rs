//! Views of nodes.

use super::{ReasonView, age, device, fields, size, time};
use crate::output::{Paint, Records, View, table};
use proto::v1;
use schemars::JsonSchema;
use serde::Serialize;

/// A device of a node.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeviceView {
    /// `cpu:0`, `cuda:1`.
    device: String,
    /// Model name.
    name: String,
    /// Memory in bytes.
    memory_bytes: u64,
    /// `serving` or `out`.
    state: String,
    /// Why it is out.
    reason: String,
}

impl From<v1::DeviceStatus> for DeviceView {
    fn from(wire: v1::DeviceStatus) -> Self {
        let state = if wire.out.is_empty() {
            "serving"
        } else {
            "out"
        };
        let name = device(wire.device.as_ref());
        let described = wire.device.unwrap_or_default();
        Self {
            device: name,
            name: described.name,
            memory_bytes: described.memory_bytes,
            state: state.to_owned(),
            reason: wire.out,
        }
    }
}

/// A node.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct NodeView {
    /// Its name.
    pub(super) name: String,
    /// `ready`, `cordoned`, `draining`, `lost` or `left`.
    pub(super) state: String,
    /// Number of this life of its agent.
    session: u64,
    /// Version of its agent.
    version: String,
    /// Its devices.
    devices: Vec<DeviceView>,
    /// Sources that it can read.
    sources: Vec<String>,
    /// Decoder processes.
    decoders: u32,
    /// RFC 3339.
    joined_at: String,
    /// RFC 3339.
    last_beat_at: String,
    /// Tracks it holds grants for.
    tracks_granted: u64,
    /// Tracks it works on.
    tracks_in_hand: u64,
    #[serde(skip)]
    joined_at_ms: i64,
}

impl From<v1::Node> for NodeView {
    fn from(wire: v1::Node) -> Self {
        let state = match wire.state() {
            v1::NodeState::Ready => "ready",
            v1::NodeState::Cordoned => "cordoned",
            v1::NodeState::Draining => "draining",
            v1::NodeState::Lost => "lost",
            v1::NodeState::Left => "left",
            v1::NodeState::Unspecified => "unknown",
        };
        Self {
            name: wire.name,
            state: state.to_owned(),
            session: wire.session,
            version: wire.version,
            devices: wire.devices.into_iter().map(Into::into).collect(),
            sources: wire.sources,
            decoders: wire.decoders,
            joined_at: time(wire.joined_at_ms),
            last_beat_at: time(wire.last_beat_ms),
            tracks_granted: wire.tracks_granted,
            tracks_in_hand: wire.tracks_in_hand,
            joined_at_ms: wire.joined_at_ms,
        }
    }
}

/// `node ls`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct NodeList {
    /// By name.
    pub(crate) nodes: Vec<NodeView>,
}

impl View for NodeList {
    fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|n| n.name.clone()).collect()
    }

    fn records(&self) -> Records {
        let row = |n: &NodeView| {
            let devices = n
                .devices
                .iter()
                .map(|d| format!("{} {}", d.device, d.state))
                .collect::<Vec<_>>()
                .join(", ");
            vec![
                n.name.clone(),
                n.state.clone(),
                devices,
                n.decoders.to_string(),
                n.tracks_granted.to_string(),
                n.version.clone(),
                age(n.joined_at_ms),
            ]
        };
        let header = vec![
            "NAME", "STATE", "DEVICES", "DECODERS", "GRANTED", "VERSION", "AGE",
        ];
        Records {
            header,
            rows: self.nodes.iter().map(row).collect(),
        }
    }
}

/// `node get`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct NodeDetail {
    /// The node.
    node: NodeView,
    /// Its live grants as `job shard attempt [first,end)`.
    grants: Vec<String>,
    /// Why it does no work, the heaviest first; empty where it does.
    reasons: Vec<ReasonView>,
}

impl From<v1::GetNodeResponse> for NodeDetail {
    fn from(wire: v1::GetNodeResponse) -> Self {
        let grant = |g: &v1::NodeGrant| {
            let range = g.ordinals.unwrap_or_default();
            format!(
                "{} {} {} [{},{})",
                g.job, g.shard, g.attempt, range.first, range.end
            )
        };
        Self {
            node: wire.node.unwrap_or_default().into(),
            grants: wire.grants.iter().map(grant).collect(),
            reasons: wire.reasons.into_iter().map(Into::into).collect(),
        }
    }
}

impl View for NodeDetail {
    fn names(&self) -> Vec<String> {
        vec![self.node.name.clone()]
    }

    fn records(&self) -> Records {
        let row = |d: &DeviceView| {
            vec![
                d.device.clone(),
                d.name.clone(),
                size(d.memory_bytes),
                d.state.clone(),
                d.reason.clone(),
            ]
        };
        let header = vec!["DEVICE", "NAME", "MEMORY", "STATE", "REASON"];
        Records {
            header,
            rows: self.node.devices.iter().map(row).collect(),
        }
    }

    fn table(&self, _: Paint) -> String {
        let n = &self.node;
        let head = fields(&[
            ("node", n.name.clone()),
            ("state", n.state.clone()),
            ("session", n.session.to_string()),
            ("version", n.version.clone()),
            ("sources", n.sources.join(", ")),
            ("decoders", n.decoders.to_string()),
            ("joined", n.joined_at.clone()),
            ("last beat", n.last_beat_at.clone()),
            (
                "granted",
                format!("{} tracks, {} in hand", n.tracks_granted, n.tracks_in_hand),
            ),
            ("grants", self.grants.join("; ")),
        ]);
        let devices = table(self.records());
        let reasons: Vec<String> = self.reasons.iter().map(ReasonView::lines).collect();
        match reasons.is_empty() {
            true => format!("{head}\n\n{devices}"),
            false => format!("{head}\n\n{devices}\n\n{}", reasons.join("\n")),
        }
    }
}
