//! What agents send: it arrives as it was meant, or is refused by the field that is wrong, and never breaks anything.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use types::{Digest, Ledger, ShardId, TrackSet};

use super::*;

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9._-]{0,20}"
}

fn shard() -> impl Strategy<Value = ShardId> {
    prop_oneof![
        any::<u32>().prop_map(ShardId::Root),
        (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(root, attempt, first)| {
            ShardId::Escalation {
                root,
                attempt: Attempt(attempt),
                first,
            }
        }),
    ]
}

fn tracks() -> impl Strategy<Value = TrackSet> {
    vec(0u32..5_000, 1..60).prop_map(|ordinals| ordinals.into_iter().collect())
}

fn claim() -> impl Strategy<Value = PartClaim> {
    let numbers = (any::<u32>(), any::<u64>(), any::<[u64; 4]>());
    let spans = vec((any::<i64>(), any::<i64>(), "[a-z]{1,6}:[0-9]"), 0..4);
    let kind = prop_oneof![Just(PartKind::Terminal), Just(PartKind::Escalation)];
    (kind, tracks(), numbers, spans, any::<bool>()).prop_map(
        |(kind, tracks, (rows, bytes, counts), spans, good)| PartClaim {
            kind,
            sha256: Digest::of(&bytes.to_le_bytes()),
            tracks,
            rows,
            bytes,
            verdicts: VerdictCounts {
                likely_ai: counts[0],
                no_evidence: counts[1],
                inconclusive: counts[2],
                unscannable: counts[3],
            },
            ledger: Ledger::default(),
            canaries: spans
                .iter()
                .map(|(_, _, device)| Canary {
                    device: device.clone(),
                    stage: Stage::Screen,
                    verdict: if good {
                        CanaryVerdict::Good
                    } else {
                        CanaryVerdict::Bad
                    },
                })
                .collect(),
            made: spans
                .into_iter()
                .map(|(from, to, device)| Made {
                    stage: Stage::Screen,
                    device,
                    from: UnixMillis(from),
                    to: UnixMillis(to),
                })
                .collect(),
        },
    )
}

/// A part as an agent sends it.
fn sent(claim: &PartClaim) -> v1::Part {
    let kind = match claim.kind {
        PartKind::Terminal => v1::PartKind::Terminal,
        PartKind::Escalation => v1::PartKind::Escalation,
    };
    let stage = |stage: Stage| i32::from(v1::Stage::from(stage));
    v1::Part {
        kind: kind.into(),
        tracks: proto::ranges(&claim.tracks),
        sha256: claim.sha256.to_string(),
        rows: claim.rows,
        bytes: claim.bytes,
        verdicts: Some(crate::wire::jobs::counts(&claim.verdicts)),
        ledger: proto::uses(&claim.ledger),
        made: claim
            .made
            .iter()
            .map(|made| v1::Made {
                stage: stage(made.stage),
                device: made.device.clone(),
                from_ms: made.from.0,
                to_ms: made.to.0,
            })
            .collect(),
        canaries: claim
            .canaries
            .iter()
            .map(|canary| v1::Canary {
                stage: stage(canary.stage),
                device: canary.device.clone(),
                good: canary.verdict == CanaryVerdict::Good,
            })
            .collect(),
    }
}

/// A message as it comes out of the wire's bytes.
fn wired<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).expect("what was encoded decodes")
}

proptest! {
    #[test]
    fn a_commit_arrives_as_it_was_meant(
        names in (name(), name()),
        shard in shard(),
        numbers in (any::<u64>(), any::<u32>(), any::<u32>()),
        parts in vec(claim(), 0..3),
    ) {
        let message = v1::CommitRequest {
            caller: None,
            node: names.0.clone(),
            session: numbers.0,
            job: names.1.clone(),
            generation: numbers.1,
            shard: shard.to_string(),
            attempt: numbers.2,
            parts: parts.iter().map(sent).collect(),
        };
        let meant = Commit {
            node: names.0.parse().unwrap(),
            session: Session(numbers.0),
            job: names.1.parse().unwrap(),
            generation: Generation(numbers.1),
            shard,
            attempt: Attempt(numbers.2),
            parts,
        };
        prop_assert_eq!(commit(wired(&message)), Ok(meant));
    }

    #[test]
    fn a_beat_arrives_as_it_was_meant(
        node in name(),
        job in name(),
        shard in shard(),
        attempt in any::<u32>(),
        in_hand in tracks(),
        yielded_at in any::<Option<u32>>(),
        draining in any::<bool>(),
    ) {
        let message = v1::BeatRequest {
            caller: None,
            node: node.clone(),
            session: 3,
            beat: 5,
            held: vec![v1::Held {
                job: job.clone(),
                shard: shard.to_string(),
                attempt,
                in_hand: proto::ranges(&in_hand),
                yielded_at,
                deaths: vec![v1::WorkerDeath { number: 1, tracks: proto::ranges(&in_hand) }],
                unflushed: 7,
            }],
            released: vec![v1::Released {
                job: job.clone(),
                shard: shard.to_string(),
                attempt,
                cause: v1::ReleaseCause::Storage.into(),
            }],
            devices_out: vec![v1::DeviceOut { device: "cuda:0".into(), code: "CANARY_FAILED".into() }],
            storage_trouble: "STORAGE_FULL".into(),
            draining,
        };
        let job: types::JobId = job.parse().unwrap();
        let meant = Beat {
            node: node.parse().unwrap(),
            session: Session(3),
            number: 5,
            held: vec![Held {
                job: job.clone(),
                shard,
                attempt: Attempt(attempt),
                deaths: vec![WorkerDeath { number: 1, tracks: in_hand.clone() }],
                in_hand,
                yielded_at,
                unflushed: 7,
            }],
            released: vec![Released { job, shard, attempt: Attempt(attempt), cause: Cause::Storage }],
            devices_out: vec![("cuda:0".into(), Code::CanaryFailed)],
            storage_trouble: Some(Code::StorageFull),
            draining,
        };
        prop_assert_eq!(beat(wired(&message)), Ok(meant));
    }

    #[test]
    fn whatever_bytes_come_they_are_taken_or_refused_and_never_more(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = bytes.as_slice();
        let _ = v1::JoinRequest::decode(bytes).map(join);
        let _ = v1::PullRequest::decode(bytes).map(pull);
        let _ = v1::BeatRequest::decode(bytes).map(beat);
        let _ = v1::CommitRequest::decode(bytes).map(commit);
    }

    #[test]
    fn a_message_with_one_wrong_field_is_refused_by_that_field(claim in claim(), number in 3i32..) {
        let part = v1::Part { kind: number, ..sent(&claim) };
        let message = v1::CommitRequest {
            node: "n".into(),
            job: "j".into(),
            shard: "1".into(),
            parts: vec![sent(&claim), part],
            ..v1::CommitRequest::default()
        };
        prop_assert_eq!(commit(message).unwrap_err().path, "parts[1].kind");
    }
}
