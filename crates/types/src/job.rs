//! What a job is asked to do: written once to storage at submit, never changed. The coordinator writes it, agents
//! and readers read it.

use crate::verdict::named_enum;
use crate::{
    ActorId, CatalogName, DeviceKind, Digest, Generation, JobId, Range, ShardPlan, Share, TenantId,
    UnixMillis,
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

named_enum! {
    /// Which tracks the gate sends on to the residual, where a job says otherwise than its bundle.
    GateChoice, "gate" {
        /// Those between the gate's two edges; where the bundle has none, between its thresholds for the two verdicts.
        Unsure = "unsure" @ 0,
        /// Those from the gate's edge for positives on; where the bundle has none, from its threshold for `likely_ai` on.
        Positives = "positives" @ 1,
        /// Both of these.
        Both = "both" @ 2,
        /// Every track that is heard.
        All = "all" @ 3,
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
    /// The escalation budget: the share of the list's tracks that may go on to the residual, held shard by shard. Absent: no
    /// bound.
    #[n(4)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_escalation: Option<Share>,
    /// Which tracks the gate sends on. Absent: as the bundle has it.
    #[n(5)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateChoice>,
}

impl Policy {
    /// How many tracks of a root shard with these ordinals may go on to the residual; none where there is no bound.
    #[must_use]
    pub fn escalations_of(&self, shard: Range) -> Option<u32> {
        let share = self.max_escalation?;
        match self.stages {
            Stages::Screen => None,
            Stages::Both => Some(share.of(shard)),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            stages: Stages::Screen,
            accept_demonstration: false,
            thumbnails: true,
            embeddings: false,
            max_escalation: None,
            gate: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What was stored and written before a job could have a budget or a gate of its own.
    #[derive(serde::Serialize, minicbor::Encode)]
    struct Before {
        #[n(0)]
        stages: Stages,
        #[n(1)]
        accept_demonstration: bool,
        #[n(2)]
        thumbnails: bool,
        #[n(3)]
        embeddings: bool,
    }

    fn before() -> Before {
        let Policy {
            stages,
            accept_demonstration,
            thumbnails,
            embeddings,
            max_escalation: None,
            gate: None,
        } = Policy::default()
        else {
            panic!("a policy has neither budget nor gate unless asked for");
        };
        Before {
            stages,
            accept_demonstration,
            thumbnails,
            embeddings,
        }
    }

    #[test]
    fn a_policy_without_budget_and_gate_has_the_bytes_it_had_and_reads_back() {
        let policy = Policy::default();
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(json, serde_json::to_string(&before()).unwrap());
        assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy);
        let cbor = minicbor::to_vec(before()).unwrap();
        assert_eq!(minicbor::to_vec(&policy).unwrap(), cbor);
        assert_eq!(minicbor::decode::<Policy>(&cbor).unwrap(), policy);
    }

    #[test]
    fn a_budget_and_a_gate_read_back_and_a_share_beyond_the_whole_does_not() {
        let policy = Policy {
            stages: Stages::Both,
            max_escalation: Some("0.125".parse().unwrap()),
            gate: Some(GateChoice::Positives),
            ..Policy::default()
        };
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy);
        let cbor = minicbor::to_vec(&policy).unwrap();
        assert_eq!(minicbor::decode::<Policy>(&cbor).unwrap(), policy);
        let beyond = json.replace("125000", "1250000");
        assert!(serde_json::from_str::<Policy>(&beyond).is_err());
    }

    #[test]
    fn only_a_job_of_both_stages_with_a_budget_has_a_number_for_each_shard() {
        let shard = Range { first: 8, end: 16 };
        for (stages, share, expected) in [
            (Stages::Both, Some("0.25"), Some(2)),
            (Stages::Both, None, None),
            (Stages::Screen, Some("0.25"), None),
        ] {
            let policy = Policy {
                stages,
                max_escalation: share.map(|share| share.parse().unwrap()),
                ..Policy::default()
            };
            assert_eq!(policy.escalations_of(shard), expected, "{stages} {share:?}");
        }
    }
}
