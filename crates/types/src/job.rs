//! What a job is asked to do: written once to storage at submit, never changed. The coordinator writes it, agents
//! and readers read it.

use crate::verdict::named_enum;
use crate::{
    ActorId, CatalogName, DeviceKind, Digest, Generation, JobId, ShardPlan, TenantId, UnixMillis,
};
use core::fmt;
use serde::{Deserialize, Serialize};

named_enum! {
    /// Which stages a job runs.
    Stages, "stages" {
        /// The screen over every track; what the gate would send on ends inconclusive.
        Screen = "screen" @ 0,
        /// The screen over every track, the residual where the gate says so.
        Both = "both" @ 1,
    }
}

/// How a job is scanned and what its rows carry.
#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
pub struct Policy {
    /// Which stages run.
    #[n(0)]
    pub stages: Stages,
    /// Verdicts of a demonstration bundle are given rather than withheld.
    #[n(1)]
    pub accept_demonstration: bool,
    /// Rows that are not `no_evidence` carry a mel thumbnail.
    #[n(2)]
    pub thumbnails: bool,
    /// Rows carry the bundle's embedding where it has one.
    #[n(3)]
    pub embeddings: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            stages: Stages::Screen,
            accept_demonstration: false,
            thumbnails: true,
            embeddings: false,
        }
    }
}

/// What a node must have for a job's tracks to be granted to it. Nothing is required by default.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
pub struct Requirements {
    /// The kind that each of its devices in service must be of.
    #[n(0)]
    pub device: Option<DeviceKind>,
    /// Bytes of memory that each of its devices in service must have.
    #[n(1)]
    pub memory_bytes: u64,
    /// Whether its workers must have the bundle loaded already.
    #[n(2)]
    pub bundle_loaded: bool,
}

/// One job, as submitted.
#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
pub struct JobSpec {
    /// Whose job it is.
    #[n(0)]
    pub tenant: TenantId,
    /// Who submitted it.
    #[n(1)]
    pub actor: ActorId,
    /// The job's name.
    #[n(2)]
    pub job: JobId,
    /// The generation it was submitted in.
    #[n(3)]
    pub generation: Generation,
    /// The catalog, for people; the list below is what is scanned.
    #[n(4)]
    pub catalog: CatalogName,
    /// Digest over the list's canonical rows; names the snapshot in storage.
    #[n(5)]
    pub list: Digest,
    /// How the list is cut into shards.
    #[n(6)]
    pub plan: ShardPlan,
    /// The bundle, by digest.
    #[n(7)]
    pub bundle: Digest,
    /// How it is scanned.
    #[n(8)]
    pub policy: Policy,
    /// When it was submitted, for display.
    #[n(9)]
    pub submitted_at: UnixMillis,
    /// The published result whose unscannable tracks it scans again; its list is then a selection of that result's.
    #[n(10)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryOf>,
}

/// A published result, of which a later job scans some tracks again.
#[derive(
    Debug, Clone, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
pub struct RetryOf {
    /// The job that published it.
    #[n(0)]
    pub job: JobId,
    /// The version of its manifest; the later job's is the next one.
    #[n(1)]
    pub version: u32,
    /// The generation in which it was published.
    #[n(2)]
    pub generation: Generation,
    /// SHA-256 of its manifest.
    #[n(3)]
    pub manifest: Digest,
    /// The list that it is the result of.
    #[n(4)]
    pub list: Digest,
}
