//! The coordinator over gRPC: conversions between the agent's words and the wire's. Where a call goes, and how long it may take, is `reach`'s.
//!
//! Answers that make no sense count as no answer, with a warning: the coordinator may be of another version.

use agent_core::{
    BeatCall, Beaten, CallError, Care, Cause, CommitOutcome, Committed, Flush, GrantKey,
    GrantOrder, Granted, Held, Joined, Order, PullCall, Rank, Released,
};
use async_trait::async_trait;
use proto::field::{FieldError, nested, parsed, required};
use proto::leader::Coordinators;
use proto::v1::{self, agents_client::AgentsClient};
use storage::PartKind;
use tonic::transport::Channel;
use types::{
    ActorId, Attempt, Code, Digest, Epoch, Generation, JobSpec, Millis, NodeId, Range, Session,
    ShardId, Stage, TenantId, UnixMillis, VERSION, VERSION_BEFORE,
};

use crate::claim::{Claim, ClaimedPart, Verdicts};
use crate::clock::FleetClock;
use crate::coordinator::{Coordinator, GrantInfo, Introduction, Work};
use crate::reach::Reach;

/// The client.
#[derive(Clone, Debug)]
pub struct GrpcCoordinator {
    reach: Reach,
    node: NodeId,
    /// Names of the devices, by number.
    devices: Vec<String>,
    /// Set by what the coordinator says.
    clock: FleetClock,
}

impl GrpcCoordinator {
    /// A client that connects at its first call, and again whenever it must, to whichever of them leads.
    ///
    /// # Errors
    /// When an address is none.
    pub fn new(
        coordinators: Coordinators,
        node: NodeId,
        devices: Vec<String>,
        clock: FleetClock,
    ) -> Result<Self, tonic::transport::Error> {
        Ok(Self {
            reach: Reach::new(coordinators, node.clone())?,
            node,
            devices,
            clock,
        })
    }

    fn caller(&self) -> Option<v1::Caller> {
        let actor = ActorId::new(self.node.as_str()).unwrap_or_default();
        Some(
            proto::Caller {
                tenant: TenantId::default(),
                actor,
            }
            .into(),
        )
    }

    fn node(&self) -> String {
        self.node.to_string()
    }

    /// Joins as an agent of a version. A coordinator knows no later version than its own: one of the series before is joined under
    /// that series' name.
    async fn join_as(
        &self,
        version: &str,
        node: &Introduction,
    ) -> Result<v1::JoinResponse, CallError> {
        let request = v1::JoinRequest {
            caller: self.caller(),
            node: self.node(),
            version: version.to_owned(),
            devices: node.devices.iter().cloned().map(Into::into).collect(),
            stages: stages(&node.stages),
            decoders: node.decoders,
            sources: node.sources.iter().map(ToString::to_string).collect(),
            accepts_sources: node.accepts_sources,
            nonce: node.nonce,
        };
        let send = |mut client: AgentsClient<Channel>| {
            let request = request.clone();
            async move { client.join(request).await }
        };
        self.reach.ask("Join", send).await
    }
}

#[async_trait]
impl Coordinator for GrpcCoordinator {
    async fn join(&self, node: &Introduction) -> Result<Joined, CallError> {
        let answer = match self.join_as(VERSION, node).await {
            Err(CallError::Refused(Code::VersionMismatch)) => {
                self.join_as(VERSION_BEFORE, node).await?
            }
            answer => answer?,
        };
        self.clock.set(UnixMillis(answer.wall_ms));
        Ok(Joined {
            session: Session(answer.session),
            beat_every: Millis(answer.beat_every_ms.into()),
            grant_lives: Millis(answer.grant_lives_ms.into()),
        })
    }

    async fn pull(&self, call: &PullCall) -> Result<Work, CallError> {
        let request = v1::PullRequest {
            caller: self.caller(),
            node: self.node(),
            session: call.session.0,
            pull: call.number.0,
            tracks_per_1000_seconds: call.tracks_per_1000_s,
            want_tracks: call.want_tracks,
            bundles: call.bundles.iter().map(ToString::to_string).collect(),
        };
        let send = |mut client: AgentsClient<Channel>| {
            let request = request.clone();
            async move { client.pull(request).await }
        };
        let answer = self.reach.ask("Pull", send).await?;
        understood("Pull", work(answer))
    }

    async fn beat(&self, call: &BeatCall) -> Result<Beaten, CallError> {
        let out = call.devices_out.iter().filter_map(|(device, code)| {
            let device = self.devices.get(device.0 as usize)?.clone();
            Some(v1::DeviceOut {
                device,
                code: code.to_string(),
            })
        });
        let request = v1::BeatRequest {
            caller: self.caller(),
            node: self.node(),
            session: call.session.0,
            beat: call.number,
            held: call.held.iter().map(held).collect(),
            released: call.released.iter().map(released).collect(),
            devices_out: out.collect(),
            storage_trouble: call
                .storage_trouble
                .map_or_else(String::new, |code| code.to_string()),
            draining: call.draining,
        };
        let send = |mut client: AgentsClient<Channel>| {
            let request = request.clone();
            async move { client.beat(request).await }
        };
        let answer = self.reach.ask("Beat", send).await?;
        self.clock.set(UnixMillis(answer.wall_ms));
        understood("Beat", beaten(answer))
    }

    async fn commit(&self, session: Session, claim: &Claim) -> Result<Committed, CallError> {
        let request = v1::CommitRequest {
            caller: self.caller(),
            node: self.node(),
            session: session.0,
            job: claim.grant.job.to_string(),
            generation: claim.generation.0,
            shard: claim.grant.shard.to_string(),
            attempt: claim.grant.attempt.0,
            parts: claim.parts.iter().map(part).collect(),
        };
        let send = |mut client: AgentsClient<Channel>| {
            let request = request.clone();
            async move { client.commit(request).await }
        };
        let answer = self.reach.ask("Commit", send).await?;
        understood("Commit", committed(answer))
    }

    async fn leave(&self, session: Session) -> Result<(), CallError> {
        let request = v1::LeaveRequest {
            caller: self.caller(),
            node: self.node(),
            session: session.0,
        };
        let send = |mut client: AgentsClient<Channel>| {
            let request = request.clone();
            async move { client.leave(request).await }
        };
        self.reach.ask("Leave", send).await.map(|_| ())
    }
}

fn understood<T>(call: &'static str, answer: Result<T, FieldError>) -> Result<T, CallError> {
    answer.map_err(|error| {
        tracing::warn!(call, %error, "the coordinator's answer makes no sense");
        CallError::Unanswered
    })
}

// Inwards.

fn work(wire: v1::PullResponse) -> Result<Work, FieldError> {
    let jobs = wire
        .jobs
        .into_iter()
        .map(|job| nested::<_, JobSpec>("jobs.spec", job.spec));
    let jobs = jobs.collect::<Result<Vec<_>, _>>()?;
    let sources = wire
        .sources
        .into_iter()
        .map(|source| Ok((parsed("sources.name", &source.name)?, source.folder.into())));
    Ok(Work {
        grants: wire
            .grants
            .into_iter()
            .map(|wire| grant(wire, &jobs))
            .collect::<Result<_, _>>()?,
        again_after: Millis(wire.again_after_ms.into()),
        sources: sources.collect::<Result<_, FieldError>>()?,
    })
}

fn grant(wire: v1::Grant, jobs: &[JobSpec]) -> Result<GrantInfo, FieldError> {
    let spec = jobs.iter().find(|spec| spec.job.as_str() == wire.job);
    let spec = spec
        .ok_or_else(|| FieldError::new("grants.job", "has no brief"))?
        .clone();
    let key = key(&wire.job, &wire.shard, wire.attempt)?;
    let escalation = escalation(key.shard, wire.escalation)?;
    let granted = Granted {
        key,
        range: nested::<_, Range>("grants.ordinals", wire.ordinals)?,
        tracks: proto::track_set("grants.tracks", &wire.tracks)?,
        bundle: spec.bundle,
        shard_tracks: spec.plan.shard_tracks,
        care: care(wire.care)?,
        apart: proto::track_set("grants.apart", &wire.apart)?,
        flush: flush(wire.flush)?,
        escalations_max: wire.escalations_max,
        rank: wire.rank.map_or_else(Rank::default, rank),
    };
    Ok(GrantInfo {
        granted,
        spec,
        epoch: Epoch(wire.epoch),
        generation: Generation(wire.generation),
        escalation,
    })
}

/// The digest of the escalation part that a shard is made of; none of a root shard. What else is told of the part stands in the
/// shard's name too.
fn escalation(
    shard: ShardId,
    wire: Option<v1::EscalationPart>,
) -> Result<Option<Digest>, FieldError> {
    const PATH: &str = "grants.escalation";
    match (shard, wire) {
        (ShardId::Root(_), None) => Ok(None),
        (ShardId::Root(_), Some(_)) => {
            Err(FieldError::new(PATH, "is of a shard that is made of none"))
        }
        (ShardId::Escalation { .. }, None) => Err(FieldError::new(PATH, "is missing")),
        (shard @ ShardId::Escalation { .. }, Some(part)) => {
            let of = ShardId::Escalation {
                root: part.root,
                attempt: Attempt(part.attempt),
                first: part.first,
            };
            if of != shard {
                return Err(FieldError::new(PATH, format!("is of shard `{of}`")));
            }
            parsed("grants.escalation.sha256", &part.sha256).map(Some)
        }
    }
}

/// Where a grant stands among others. A lane of a later version is none of the fast ones.
fn rank(wire: v1::Rank) -> Rank {
    let lane = match v1::Lane::try_from(wire.lane) {
        Ok(v1::Lane::Interactive) => 0,
        Ok(v1::Lane::Ingest) => 1,
        Ok(v1::Lane::Batch) => 2,
        Ok(v1::Lane::Unspecified) | Err(_) => return Rank::default(),
    };
    Rank {
        lane,
        priority: std::cmp::Reverse(wire.priority.unwrap_or_default()),
    }
}

fn key(job: &str, shard: &str, attempt: u32) -> Result<GrantKey, FieldError> {
    Ok(GrantKey {
        job: parsed("job", job)?,
        shard: parsed("shard", shard)?,
        attempt: Attempt(attempt),
    })
}

fn known<W: TryFrom<i32>>(path: &str, number: i32) -> Result<W, FieldError> {
    W::try_from(number)
        .map_err(|_| FieldError::new(path, format!("has the unknown value {number}")))
}

fn unspecified(path: &str) -> FieldError {
    FieldError::new(path, "is UNSPECIFIED")
}

fn care(number: i32) -> Result<Care, FieldError> {
    match known("care", number)? {
        v1::Care::Unspecified => Err(unspecified("care")),
        v1::Care::Normal => Ok(Care::Normal),
        v1::Care::Apart => Ok(Care::Apart),
        v1::Care::Reject => Ok(Care::Reject),
    }
}

fn flush(number: i32) -> Result<Flush, FieldError> {
    match known("flush", number)? {
        v1::Flush::Unspecified => Err(unspecified("flush")),
        v1::Flush::AsConfigured => Ok(Flush::AsConfigured),
        v1::Flush::AtEnd => Ok(Flush::AtEnd),
    }
}

fn beaten(wire: v1::BeatResponse) -> Result<Beaten, FieldError> {
    let about = |wire: v1::GrantOrder| {
        Ok(GrantOrder {
            key: key(&wire.job, &wire.shard, wire.attempt)?,
            order: order(wire.order)?,
            flush: flush(wire.flush)?,
        })
    };
    let orders = wire
        .orders
        .into_iter()
        .map(about)
        .collect::<Result<_, FieldError>>()?;
    Ok(Beaten {
        orders,
        pull_now: wire.pull_now,
        drain: wire.drain,
    })
}

fn order(wire: Option<v1::Order>) -> Result<Order, FieldError> {
    use v1::order::Order as Wire;
    match required("order", wire.and_then(|order| order.order))? {
        Wire::Continue(v1::Continue {}) => Ok(Order::Continue),
        Wire::YieldAt(ordinal) => Ok(Order::YieldAt(ordinal)),
        Wire::Stop(v1::Stop {}) => Ok(Order::Stop),
    }
}

fn committed(wire: v1::CommitResponse) -> Result<Committed, FieldError> {
    let outcome = match known("outcome", wire.outcome)? {
        v1::CommitOutcome::Unspecified => return Err(unspecified("outcome")),
        v1::CommitOutcome::Counted => CommitOutcome::Counted,
        v1::CommitOutcome::DoneAlready => CommitOutcome::DoneAlready,
        v1::CommitOutcome::Superseded => CommitOutcome::Superseded,
    };
    Ok(Committed {
        outcome,
        order: order(wire.order)?,
    })
}

// Outwards.

fn held(held: &Held) -> v1::Held {
    let death = |death: &agent_core::WorkerDeath| v1::WorkerDeath {
        number: death.number,
        tracks: proto::ranges(&death.tracks),
    };
    v1::Held {
        job: held.key.job.to_string(),
        shard: held.key.shard.to_string(),
        attempt: held.key.attempt.0,
        in_hand: proto::ranges(&held.in_hand),
        yielded_at: held.yielded_at,
        deaths: held.deaths.iter().map(death).collect(),
        unflushed: held.unflushed,
    }
}

fn released(released: &Released) -> v1::Released {
    let cause = match released.cause {
        Cause::Drain => v1::ReleaseCause::Drain,
        Cause::DeviceOut => v1::ReleaseCause::DeviceOut,
        Cause::Bundle => v1::ReleaseCause::Bundle,
        // Both let the node rest from the job while others take it up.
        Cause::Storage | Cause::NoRoom => v1::ReleaseCause::Storage,
    };
    v1::Released {
        job: released.key.job.to_string(),
        shard: released.key.shard.to_string(),
        attempt: released.key.attempt.0,
        cause: cause.into(),
    }
}

fn stages(stages: &[Stage]) -> Vec<i32> {
    let stages = stages.iter();
    stages.map(|stage| v1::Stage::from(*stage).into()).collect()
}

fn part(claim: &ClaimedPart) -> v1::Part {
    let kind = match claim.kind {
        PartKind::Terminal => v1::PartKind::Terminal,
        PartKind::Escalation => v1::PartKind::Escalation,
    };
    let made = claim.made.iter().map(|made| v1::Made {
        stage: v1::Stage::from(made.stage).into(),
        device: made.device.clone(),
        from_ms: made.from.0,
        to_ms: made.to.0,
    });
    let sung = claim.made.iter().filter(|made| made.stage != Stage::Decode);
    let canaries = sung.map(|made| v1::Canary {
        stage: v1::Stage::from(made.stage).into(),
        device: made.device.clone(),
        good: true,
    });
    v1::Part {
        kind: kind.into(),
        tracks: proto::ranges(&claim.tracks),
        sha256: claim.sha256.to_string(),
        rows: claim.rows,
        bytes: claim.bytes,
        verdicts: Some(verdicts(&claim.verdicts)),
        ledger: proto::uses(&claim.ledger),
        made: made.collect(),
        canaries: canaries.collect(),
    }
}

fn verdicts(counts: &Verdicts) -> v1::VerdictCounts {
    v1::VerdictCounts {
        likely_ai: counts.likely_ai,
        no_evidence: counts.no_evidence,
        inconclusive: counts.inconclusive,
        unscannable: counts.unscannable,
    }
}

#[cfg(test)]
mod tests;
