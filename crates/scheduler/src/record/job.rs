//! A job's record: the one thing that decides whether its shards may change.

use super::VerdictCounts;
use alloc::string::String;
use types::{ActorId, Digest, Generation, JobSpec, Ledger, Requirements, UnixMillis};

/// Where a job stands. From `Publishing` on, no grant, commit, revocation or cancel is accepted.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum JobState {
    /// Work is granted and counted.
    #[n(0)]
    Running,
    /// Nothing new is granted; what nodes have in hand still counts.
    #[n(1)]
    Paused,
    /// Every track has its row; the manifest is being written.
    #[n(2)]
    Publishing,
    /// The manifest of that name is the result.
    #[n(3)]
    Published(#[n(0)] ManifestName),
    /// Ended without a result.
    #[n(4)]
    Cancelled(#[n(0)] Closing),
}

impl JobState {
    /// Whether grants, commits and cancels may still come.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        match self {
            Self::Running | Self::Paused => true,
            Self::Publishing | Self::Published(_) | Self::Cancelled(_) => false,
        }
    }

    /// Whether it ended, with or without a result.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        match self {
            Self::Published(_) | Self::Cancelled(_) => true,
            Self::Running | Self::Paused | Self::Publishing => false,
        }
    }
}

/// The name of a manifest within its job.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    minicbor::Encode,
    minicbor::Decode,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct ManifestName {
    /// 1 for the first; a later one replaces rows by reference.
    #[n(0)]
    pub version: u32,
    /// The generation in which it was written.
    #[n(1)]
    pub generation: Generation,
    /// SHA-256 of its bytes.
    #[n(2)]
    pub sha256: Digest,
}

/// Who ended a job and why.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Closing {
    /// Who did it.
    #[n(0)]
    pub by: ActorId,
    /// When, for display.
    #[n(1)]
    pub at: UnixMillis,
    /// Why, in the words of whoever did it; at most [`Closing::REASON_BYTES_MAX`] bytes.
    #[n(2)]
    pub reason: String,
}

impl Closing {
    /// Longest reason kept: a sentence, not a log.
    pub const REASON_BYTES_MAX: usize = 512;
}

/// Order among jobs.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    minicbor::Encode,
    minicbor::Decode,
    serde::Serialize,
    serde::Deserialize,
)]
#[cbor(index_only)]
pub enum Lane {
    /// One track that somebody waits for: next batch.
    #[n(0)]
    Interactive,
    /// New arrivals of a catalog.
    #[n(1)]
    Ingest,
    /// Whole catalogs.
    #[default]
    #[n(2)]
    Batch,
}

/// What the shard records of a job add up to. Derived, never counted on its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Totals {
    /// Tracks of the list.
    #[n(0)]
    pub tracks: u64,
    /// Tracks with a counted terminal row.
    #[n(1)]
    pub done: u64,
    /// Tracks in live grants without a counted row.
    #[n(2)]
    pub granted: u64,
    /// Root shards of the list.
    #[n(3)]
    pub shards: u32,
    /// Root shards whose every track is covered.
    #[n(4)]
    pub shards_done: u32,
    /// Parts that count, escalation parts included.
    #[n(5)]
    pub parts: u32,
    /// How the terminal rows ended.
    #[n(6)]
    pub verdicts: VerdictCounts,
    /// What the counted parts cost.
    #[n(7)]
    pub ledger: Ledger,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct JobRecord {
    /// What it was asked to do; storage holds the same.
    #[n(0)]
    pub spec: JobSpec,
    /// SHA-256 of the specification object in storage: what a repeated submit is compared with.
    #[n(1)]
    pub spec_sha256: Digest,
    /// Where it stands.
    #[n(2)]
    pub state: JobState,
    /// Its lane.
    #[n(3)]
    pub lane: Lane,
    /// Within the lane, higher goes first.
    #[n(4)]
    pub priority: i32,
    /// Who last changed the state.
    #[n(5)]
    pub changed_by: ActorId,
    /// When, for display.
    #[n(6)]
    pub changed_at: UnixMillis,
    /// Totals at the moment of closing, since shard keys go afterwards. `None` while open.
    #[n(7)]
    pub totals: Option<Totals>,
    /// By when the result is wanted, by wall clock: among equals of lane and priority the earliest goes first. Only an
    /// order among deadlines, so that no clock decides anything.
    #[n(8)]
    pub deadline: Option<UnixMillis>,
    /// What a node must have to be given its tracks.
    #[n(9)]
    #[cbor(default)]
    pub requires: Requirements,
}
