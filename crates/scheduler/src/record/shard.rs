//! A shard's record: who may work on which of its tracks, and which parts count. Everything that exactly-once
//! rests on is in here; the rules that may change it are in the core, and `invariants` holds them against it.

use super::RecordError;
use crate::limits;
use alloc::string::String;
use alloc::vec::Vec;
use types::{
    Attempt, DeviceUses, Digest, Epoch, Ledger, NodeId, PullNo, Range, Session, Stage, TenantId,
    TrackSet, UnixMillis,
};

/// Whether the shard still is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Standing {
    /// It is worked on or done.
    #[default]
    #[n(0)]
    Live,
    /// An escalation shard whose part was revoked. The key stays while the job runs, so that "absent" never compares
    /// equal twice.
    #[n(1)]
    Tombstone,
}

/// How a grant's tracks are to be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Care {
    /// Like any.
    #[default]
    #[n(0)]
    Normal,
    /// Suspects: in hand with each other at the most, and with nothing else on that node.
    #[n(1)]
    Apart,
    /// Not to be run: the agent writes their `unscannable` rows.
    #[n(2)]
    Reject,
}

/// The right of one node to work on a range of the shard.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Grant {
    /// The fence: commits name it.
    #[n(0)]
    pub attempt: Attempt,
    /// Whose node it is.
    #[n(1)]
    pub tenant: TenantId,
    /// Who holds it.
    #[n(2)]
    pub node: NodeId,
    /// The session that pulled it. The grant belongs to the node; a later session may go on with it.
    #[n(3)]
    pub session: Session,
    /// The pull that it answers: a repeated pull is answered from the records.
    #[n(4)]
    pub pull: PullNo,
    /// Its tracks, but for those already covered.
    #[n(5)]
    pub range: Range,
    /// How they are to be handled.
    #[n(6)]
    pub care: Care,
    /// Those of them that are in hand alone, with nothing else on the node: the suspects of a shard that is not divided.
    #[n(7)]
    pub apart: Option<TrackSet>,
}

impl Grant {
    /// Whether it is to try suspects, so that its node gets nothing else meanwhile.
    pub(crate) const fn tries(&self) -> bool {
        matches!(self.care, Care::Apart) || self.apart.is_some()
    }
}

/// What a part's rows are.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    minicbor::Encode,
    minicbor::Decode,
    serde::Serialize,
    serde::Deserialize,
)]
#[cbor(index_only)]
pub enum PartKind {
    /// Terminal rows, one for each track.
    #[n(0)]
    Terminal,
    /// Screen rows of tracks that go on to the residual: this part is a shard of its own.
    #[n(1)]
    Escalation,
}

/// How many rows ended how.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    minicbor::Encode,
    minicbor::Decode,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct VerdictCounts {
    /// Rows `likely_ai`.
    #[n(0)]
    pub likely_ai: u64,
    /// Rows `no_evidence`.
    #[n(1)]
    pub no_evidence: u64,
    /// Rows `inconclusive`.
    #[n(2)]
    pub inconclusive: u64,
    /// Rows `unscannable`.
    #[n(3)]
    pub unscannable: u64,
}

impl VerdictCounts {
    /// Both counts together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            likely_ai: self.likely_ai.saturating_add(other.likely_ai),
            no_evidence: self.no_evidence.saturating_add(other.no_evidence),
            inconclusive: self.inconclusive.saturating_add(other.inconclusive),
            unscannable: self.unscannable.saturating_add(other.unscannable),
        }
    }

    /// All rows counted; `None` where the sum exceeds a number.
    #[must_use]
    pub fn sum(&self) -> Option<u64> {
        self.likely_ai
            .checked_add(self.no_evidence)?
            .checked_add(self.inconclusive)?
            .checked_add(self.unscannable)
    }
}

/// Which device ran a stage of a part, and when: what a revocation of a device looks for.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    minicbor::Encode,
    minicbor::Decode,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Made {
    /// The stage.
    #[n(0)]
    pub stage: Stage,
    /// The device on its node, such as `cuda:0`.
    #[n(1)]
    pub device: String,
    /// Begin by the coordinator's clock, as the node knows it; named spans of a revocation are by the same clock.
    #[n(2)]
    pub from: UnixMillis,
    /// End by the same clock.
    #[n(3)]
    pub to: UnixMillis,
}

/// A part that counts.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Part {
    /// The attempt it was made under.
    #[n(0)]
    pub attempt: Attempt,
    /// What its rows are.
    #[n(1)]
    pub kind: PartKind,
    /// The tracks it covers.
    #[n(2)]
    pub tracks: TrackSet,
    /// SHA-256 of the object.
    #[n(3)]
    pub sha256: Digest,
    /// Rows in it: one for each track.
    #[n(4)]
    pub rows: u32,
    /// Its size.
    #[n(5)]
    pub bytes: u64,
    /// How its rows ended; all zero for an escalation part.
    #[n(6)]
    pub verdicts: VerdictCounts,
    /// What it cost.
    #[n(7)]
    pub ledger: Ledger,
    /// The node that made it.
    #[n(8)]
    pub node: NodeId,
    /// The epoch that counted it.
    #[n(9)]
    pub epoch: Epoch,
    /// The devices that made it.
    #[n(10)]
    pub made: Vec<Made>,
}

impl Part {
    /// Adds what it cost to the devices that made it.
    pub fn add_to(&self, uses: &mut DeviceUses) {
        let made = self.made.iter();
        let made: Vec<(Stage, &str)> = made
            .map(|made| (made.stage, made.device.as_str()))
            .collect();
        uses.add(self.node.as_str(), &made, &self.ledger);
    }
}

/// Tracks that were in hand when a node or worker died.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Suspect {
    /// The tracks.
    #[n(0)]
    pub tracks: Range,
    /// Deaths that each of them was in hand at.
    #[n(1)]
    pub deaths: u16,
    /// Most of them that one grant may name: halved by each death.
    #[n(2)]
    pub together: u16,
    /// Deaths with this one alone in hand. Kept for runs of one track only.
    #[n(3)]
    pub alone: Vec<AloneDeath>,
}

/// How a node's death was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Death {
    /// It was silent for longer than a grant lives: the machine went.
    #[n(0)]
    Silent,
    /// A new agent took its place before that: the process went, by whatever hand.
    #[n(1)]
    Replaced,
}

/// A node that died with one track alone in hand.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct AloneDeath {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// How it was seen.
    #[n(1)]
    pub death: Death,
}

/// Why a grant ended without its work.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, minicbor::Encode, minicbor::Decode,
)]
#[cbor(index_only)]
pub enum FailureCause {
    /// The node fell silent or its agent came back without having left. Costs.
    #[n(0)]
    NodeLost,
    /// A worker died. Costs.
    #[n(1)]
    WorkerLost,
    /// A device was taken out. Costs.
    #[n(2)]
    DeviceOut,
    /// The node could not load the bundle. Costs.
    #[n(3)]
    Bundle,
    /// The node could not reach a source or storage. Costs.
    #[n(4)]
    Storage,
    /// The node beat on and made no progress. Costs.
    #[n(5)]
    Stalled,
}

/// Failures of one cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Failure {
    /// The cause.
    #[n(0)]
    pub cause: FailureCause,
    /// How often.
    #[n(1)]
    pub count: u16,
}

/// One shard that has left the queue. Its numbers are those of the long form, which `form` reads beside the brief one.
#[derive(Debug, Clone, Default, PartialEq, Eq, minicbor::Encode)]
pub struct ShardRecord {
    /// Whether it still is one.
    #[n(0)]
    pub standing: Standing,
    /// The last attempt number given. Never lowered.
    #[n(1)]
    pub last_attempt: Attempt,
    /// Live grants, by attempt; disjoint.
    #[n(2)]
    pub grants: Vec<Grant>,
    /// Parts that count, in the order in which they did; disjoint.
    #[n(3)]
    pub parts: Vec<Part>,
    /// Tracks under suspicion, by ordinal.
    #[n(4)]
    pub suspects: Vec<Suspect>,
    /// Failures that cost, by cause.
    #[n(5)]
    pub failures: Vec<Failure>,
    /// SHA-256 of the escalation part that this shard is made of; `None` for a root shard.
    #[n(6)]
    pub escalation: Option<Digest>,
}

impl ShardRecord {
    /// The live grant of that attempt.
    #[must_use]
    pub fn grant(&self, attempt: Attempt) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.attempt == attempt)
    }

    /// Tracks that a part covers.
    #[must_use]
    pub fn covered(&self) -> TrackSet {
        self.parts
            .iter()
            .fold(TrackSet::new(), |all, part| all.union(&part.tracks))
    }

    /// Checks what every record keeps whoever wrote it: called on each value read from the store.
    ///
    /// # Errors
    /// Names the rule that is broken.
    pub fn check(&self) -> Result<(), RecordError> {
        let rule = |holds: bool, text| {
            if holds {
                Ok(())
            } else {
                Err(RecordError::Rule(text))
            }
        };
        rule(
            self.grants.len() <= limits::GRANTS_PER_SHARD_MAX,
            "a shard has at most 16 live grants",
        )?;
        rule(
            self.grants.iter().all(|g| g.attempt <= self.last_attempt),
            "no grant has an attempt above the last",
        )?;
        rule(
            self.parts.iter().all(|p| p.attempt <= self.last_attempt),
            "no part has an attempt above the last",
        )?;
        rule(grants_apart(&self.grants), "live grants are disjoint")?;
        rule(parts_apart(&self.parts), "parts are disjoint")
    }
}

/// Whether no track is in two of the grants.
pub(crate) fn grants_apart(grants: &[Grant]) -> bool {
    let apart = |(at, grant): (usize, &Grant)| {
        let before = grants[..at].iter();
        let mut before = before.map(|before| before.range.intersect(&grant.range));
        before.all(|both| both.is_empty())
    };
    grants.iter().enumerate().all(apart)
}

/// Whether no track is in two of the parts.
pub(crate) fn parts_apart(parts: &[Part]) -> bool {
    let mut seen = TrackSet::new();
    for (at, part) in parts.iter().enumerate() {
        if seen.intersects(&part.tracks) {
            return false;
        }
        if at + 1 < parts.len() {
            seen = seen.union(&part.tracks);
        }
    }
    true
}
