//! The agents' messages into the core's requests, and the core's answers back.

use crate::clock;
use proto::field::{FieldError, enumerated, parsed, required};
use proto::v1;
use scheduler::record::{Care, Made, PartKind, VerdictCounts};
use scheduler::{
    AgentInfo, Beat, BeatAnswer, Canary, CanaryVerdict, Cause, Commit, CommitAnswer, CommitOutcome,
    Escalation, Flush, GrantOrder, Granted, Held, JoinAnswer, Order, PartClaim, Pull, Released,
    WorkerDeath,
};
use types::{Attempt, Code, Device, Generation, Millis, PullNo, Session, Stage, UnixMillis};

/// A join.
pub(crate) fn join(wire: v1::JoinRequest) -> Result<AgentInfo, FieldError> {
    Ok(AgentInfo {
        node: parsed("node", &wire.node)?,
        nonce: wire.nonce,
        version: wire.version,
        devices: proto::field::each::<_, Device>("devices", wire.devices)?,
        stages: list("stages", wire.stages, |path, stage| {
            enumerated::<v1::Stage, Stage>(path, stage)
        })?,
        sources: list("sources", wire.sources, |path, name| parsed(path, &name))?,
        accepts_sources: wire.accepts_sources,
        decoders: wire.decoders,
    })
}

/// The answer to a join.
pub(crate) fn joined(answer: JoinAnswer) -> v1::JoinResponse {
    v1::JoinResponse {
        session: answer.session.0,
        epoch: answer.epoch.0,
        generation: answer.generation.0,
        beat_every_ms: millis(answer.beat_every),
        grant_lives_ms: millis(answer.grant_lives),
        version: types::VERSION.to_owned(),
        wall_ms: clock::wall().0,
    }
}

/// A pull.
pub(crate) fn pull(wire: v1::PullRequest) -> Result<Pull, FieldError> {
    Ok(Pull {
        node: parsed("node", &wire.node)?,
        session: Session(wire.session),
        number: PullNo(wire.pull),
        tracks_per_1000_s: wire.tracks_per_1000_seconds,
        want_tracks: wire.want_tracks,
        bundles: list("bundles", wire.bundles, |path, digest| {
            parsed(path, &digest)
        })?,
    })
}

/// A grant.
pub(crate) fn grant(grant: Granted) -> v1::Grant {
    v1::Grant {
        job: grant.job.job.into(),
        shard: grant.shard.to_string(),
        attempt: grant.attempt.0,
        epoch: grant.epoch.0,
        generation: grant.generation.0,
        ordinals: Some(grant.range.into()),
        tracks: proto::ranges(&grant.tracks),
        care: care(grant.care).into(),
        flush: flush(grant.flush).into(),
        escalation: grant.escalation.map(escalation),
        rank: Some(super::rank::rank_of(grant.lane, grant.priority)),
        escalations_max: grant.escalations_max,
        apart: proto::ranges(&grant.apart),
    }
}

const fn care(care: Care) -> v1::Care {
    match care {
        Care::Normal => v1::Care::Normal,
        Care::Apart => v1::Care::Apart,
        Care::Reject => v1::Care::Reject,
    }
}

const fn flush(flush: Flush) -> v1::Flush {
    match flush {
        Flush::AsConfigured => v1::Flush::AsConfigured,
        Flush::AtEnd => v1::Flush::AtEnd,
    }
}

fn escalation(part: Escalation) -> v1::EscalationPart {
    v1::EscalationPart {
        root: part.root,
        attempt: part.attempt.0,
        first: part.first,
        sha256: part.sha256.to_string(),
    }
}

/// A beat.
pub(crate) fn beat(wire: v1::BeatRequest) -> Result<Beat, FieldError> {
    Ok(Beat {
        node: parsed("node", &wire.node)?,
        session: Session(wire.session),
        number: wire.beat,
        held: list("held", wire.held, |path, one| {
            held(one).map_err(|error| error.within(path))
        })?,
        released: list("released", wire.released, |path, one| {
            released(one).map_err(|error| error.within(path))
        })?,
        devices_out: list("devices_out", wire.devices_out, |path, out| {
            Ok((
                out.device,
                parsed::<Code>(&format!("{path}.code"), &out.code)?,
            ))
        })?,
        storage_trouble: proto::field::parsed_if_any("storage_trouble", &wire.storage_trouble)?,
        draining: wire.draining,
    })
}

fn held(wire: v1::Held) -> Result<Held, FieldError> {
    Ok(Held {
        job: parsed("job", &wire.job)?,
        shard: parsed("shard", &wire.shard)?,
        attempt: Attempt(wire.attempt),
        in_hand: proto::track_set("in_hand", &wire.in_hand)?,
        yielded_at: wire.yielded_at,
        deaths: list("deaths", wire.deaths, |path, death| {
            let tracks = proto::track_set(&format!("{path}.tracks"), &death.tracks)?;
            Ok(WorkerDeath {
                number: death.number,
                tracks,
            })
        })?,
        unflushed: wire.unflushed,
    })
}

fn released(wire: v1::Released) -> Result<Released, FieldError> {
    Ok(Released {
        job: parsed("job", &wire.job)?,
        shard: parsed("shard", &wire.shard)?,
        attempt: Attempt(wire.attempt),
        cause: cause(wire.cause)?,
    })
}

fn cause(number: i32) -> Result<Cause, FieldError> {
    match wire_enum::<v1::ReleaseCause>("cause", number)? {
        v1::ReleaseCause::Unspecified => {
            Err(FieldError::new("cause", "is RELEASE_CAUSE_UNSPECIFIED"))
        }
        v1::ReleaseCause::Drain => Ok(Cause::Drain),
        v1::ReleaseCause::BackPressure => Ok(Cause::BackPressure),
        v1::ReleaseCause::Preempted => Ok(Cause::Preempted),
        v1::ReleaseCause::WorkerLost => Ok(Cause::WorkerLost),
        v1::ReleaseCause::DeviceOut => Ok(Cause::DeviceOut),
        v1::ReleaseCause::Bundle => Ok(Cause::Bundle),
        v1::ReleaseCause::Storage => Ok(Cause::Storage),
    }
}

/// The answer to a beat.
pub(crate) fn beaten(answer: BeatAnswer) -> v1::BeatResponse {
    v1::BeatResponse {
        epoch: answer.epoch.0,
        orders: answer.orders.into_iter().map(grant_order).collect(),
        pull_now: answer.pull_now,
        drain: answer.drain,
        wall_ms: clock::wall().0,
    }
}

fn grant_order(about: GrantOrder) -> v1::GrantOrder {
    v1::GrantOrder {
        job: about.job.into(),
        shard: about.shard.to_string(),
        attempt: about.attempt.0,
        order: Some(order(about.order)),
        flush: flush(about.flush).into(),
    }
}

fn order(order: Order) -> v1::Order {
    use v1::order::Order as Wire;
    let wire = match order {
        Order::Continue => Wire::Continue(v1::Continue {}),
        Order::YieldAt { at } => Wire::YieldAt(at),
        Order::Stop => Wire::Stop(v1::Stop {}),
    };
    v1::Order { order: Some(wire) }
}

/// A commit.
pub(crate) fn commit(wire: v1::CommitRequest) -> Result<Commit, FieldError> {
    Ok(Commit {
        node: parsed("node", &wire.node)?,
        session: Session(wire.session),
        job: parsed("job", &wire.job)?,
        generation: Generation(wire.generation),
        shard: parsed("shard", &wire.shard)?,
        attempt: Attempt(wire.attempt),
        parts: list("parts", wire.parts, |path, one| {
            part(one).map_err(|error| error.within(path))
        })?,
    })
}

fn part(wire: v1::Part) -> Result<PartClaim, FieldError> {
    let verdicts = required("verdicts", wire.verdicts)?;
    Ok(PartClaim {
        kind: part_kind(wire.kind)?,
        tracks: proto::track_set("tracks", &wire.tracks)?,
        sha256: parsed("sha256", &wire.sha256)?,
        rows: wire.rows,
        bytes: wire.bytes,
        verdicts: counts(&verdicts),
        ledger: proto::ledger("ledger", wire.ledger)?,
        made: list("made", wire.made, |path, one| {
            made(one).map_err(|error| error.within(path))
        })?,
        canaries: list("canaries", wire.canaries, |path, one| {
            canary(one).map_err(|error| error.within(path))
        })?,
    })
}

fn part_kind(number: i32) -> Result<PartKind, FieldError> {
    match wire_enum::<v1::PartKind>("kind", number)? {
        v1::PartKind::Unspecified => Err(FieldError::new("kind", "is PART_KIND_UNSPECIFIED")),
        v1::PartKind::Terminal => Ok(PartKind::Terminal),
        v1::PartKind::Escalation => Ok(PartKind::Escalation),
    }
}

fn made(wire: v1::Made) -> Result<Made, FieldError> {
    Ok(Made {
        stage: enumerated::<v1::Stage, _>("stage", wire.stage)?,
        device: wire.device,
        from: UnixMillis(wire.from_ms),
        to: UnixMillis(wire.to_ms),
    })
}

fn canary(wire: v1::Canary) -> Result<Canary, FieldError> {
    Ok(Canary {
        device: wire.device,
        stage: enumerated::<v1::Stage, _>("stage", wire.stage)?,
        verdict: if wire.good {
            CanaryVerdict::Good
        } else {
            CanaryVerdict::Bad
        },
    })
}

/// The answer to a commit.
pub(crate) fn committed(answer: CommitAnswer) -> v1::CommitResponse {
    let outcome = match answer.outcome {
        CommitOutcome::Counted => v1::CommitOutcome::Counted,
        CommitOutcome::DoneAlready => v1::CommitOutcome::DoneAlready,
        CommitOutcome::Superseded => v1::CommitOutcome::Superseded,
    };
    v1::CommitResponse {
        outcome: outcome.into(),
        order: Some(order(answer.order)),
    }
}

/// Counts from the wire.
const fn counts(wire: &v1::VerdictCounts) -> VerdictCounts {
    VerdictCounts {
        likely_ai: wire.likely_ai,
        no_evidence: wire.no_evidence,
        inconclusive: wire.inconclusive,
        unscannable: wire.unscannable,
    }
}

/// Each element of a repeated field, its path naming the position.
fn list<W, D>(
    path: &str,
    wire: Vec<W>,
    one: impl Fn(&str, W) -> Result<D, FieldError>,
) -> Result<Vec<D>, FieldError> {
    wire.into_iter()
        .enumerate()
        .map(|(at, wire)| one(&format!("{path}[{at}]"), wire))
        .collect()
}

fn wire_enum<W: TryFrom<i32>>(path: &str, number: i32) -> Result<W, FieldError> {
    W::try_from(number)
        .map_err(|_| FieldError::new(path, format!("has the unknown value {number}")))
}

pub(crate) fn millis(span: Millis) -> u32 {
    u32::try_from(span.0).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
