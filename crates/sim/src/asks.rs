//! From the agent's words to the scheduler's: the requests that its shell makes.

use agent_core::{BeatCall, DeviceNo, PullCall};
use scheduler::record::{PartKind, VerdictCounts};
use scheduler::{
    AgentInfo, Beat, Caller, Canary, CanaryVerdict, Cause, Commit, Held, PartClaim, Pull, Released,
    Request, WorkerDeath,
};
use types::{Device, Ledger, Session, ShardId, Stage, StageUse};

use crate::agent::Agent;
use crate::before;
use crate::depot::Object;
use crate::parts::Saved;
use crate::truth::{self, GENERATION, Row};

/// Device time that a track is said to have cost: what the core takes one to cost before it knows.
pub(crate) const TRACK_US: u64 = 1_000_000;

impl Agent {
    /// For whom it speaks.
    pub(crate) fn caller(&self) -> Caller {
        Caller {
            tenant: self.tenant.clone(),
            ..Caller::default()
        }
    }
}

pub(crate) fn introduction(agent: &Agent) -> AgentInfo {
    let devices = (0..).zip(&agent.bench).map(|(index, _)| Device {
        kind: agent.kind,
        index,
        name: agent.kind.to_string(),
        memory_bytes: agent.memory_bytes,
    });
    AgentInfo {
        node: agent.node.clone(),
        nonce: agent.nonce,
        version: String::from(before::version(agent.older)),
        devices: devices.collect(),
        stages: agent.stages.clone(),
        sources: Vec::new(),
        accepts_sources: true,
        decoders: 2,
    }
}

pub(crate) fn pull(agent: &Agent, call: &PullCall) -> Pull {
    let bundles = match agent.preloaded {
        true => truth::bundles().to_vec(),
        false => call.bundles.clone(),
    };
    Pull {
        node: agent.node.clone(),
        session: call.session,
        number: call.number,
        tracks_per_1000_s: call.tracks_per_1000_s,
        want_tracks: call.want_tracks,
        bundles,
    }
}

pub(crate) fn beat(agent: &Agent, call: &BeatCall) -> Request {
    Request::Beat(Beat {
        node: agent.node.clone(),
        session: call.session,
        number: call.number,
        held: call.held.iter().map(hold).collect(),
        released: call.released.iter().map(released).collect(),
        devices_out: call
            .devices_out
            .iter()
            .map(|(device, code)| (device_name(agent, *device), *code))
            .collect(),
        storage_trouble: call.storage_trouble.filter(|_| !agent.older),
        draining: call.draining,
    })
}

fn hold(held: &agent_core::Held) -> Held {
    let deaths = held.deaths.iter().map(|death| WorkerDeath {
        number: death.number,
        tracks: death.tracks.clone(),
    });
    Held {
        job: held.key.job.clone(),
        shard: held.key.shard,
        attempt: held.key.attempt,
        in_hand: held.in_hand.clone(),
        yielded_at: held.yielded_at,
        deaths: deaths.collect(),
        unflushed: held.unflushed,
    }
}

fn released(released: &agent_core::Released) -> Released {
    Released {
        job: released.key.job.clone(),
        shard: released.key.shard,
        attempt: released.key.attempt,
        cause: match released.cause {
            agent_core::Cause::Drain => Cause::Drain,
            agent_core::Cause::DeviceOut => Cause::DeviceOut,
            agent_core::Cause::Bundle => Cause::Bundle,
            agent_core::Cause::Storage | agent_core::Cause::NoRoom => Cause::Storage,
        },
    }
}

pub(crate) fn device_name(agent: &Agent, device: DeviceNo) -> String {
    format!("{}:{}", agent.kind, device.0)
}

/// The same claim each time: all of it follows from what was saved.
pub(crate) fn commit(agent: &Agent, saved: &Saved, session: Session) -> Commit {
    Commit {
        node: agent.node.clone(),
        session,
        job: saved.grant.job.clone(),
        generation: saved
            .objects
            .first()
            .map_or(GENERATION, |object| object.generation),
        shard: saved.grant.shard,
        attempt: saved.grant.attempt,
        parts: saved
            .objects
            .iter()
            .map(|object| {
                claim(
                    object,
                    saved.device.map(|device| device_name(agent, device)),
                )
            })
            .collect(),
    }
}

/// What so many rows are said to have cost.
fn ledger(stage: Stage, rows: u64) -> Ledger {
    let used = StageUse {
        tracks: rows,
        device_us: TRACK_US * rows,
        ..StageUse::default()
    };
    let mut ledger = Ledger::default();
    match stage {
        Stage::Decode | Stage::Screen => ledger.screen = used,
        Stage::Residual => ledger.residual = used,
    }
    ledger
}

/// What a part claims of one of its objects.
pub(crate) fn claim(object: &Object, device: Option<String>) -> PartClaim {
    let stage = match object.shard {
        ShardId::Root(_) => Stage::Screen,
        ShardId::Escalation { .. } => Stage::Residual,
    };
    let rows = object.rows.len() as u64;
    let unscannable = |(_, row): &&(u32, Row)| matches!(row, Row::Unscannable(_));
    let failed = object.rows.iter().filter(unscannable).count() as u64;
    let withheld = |(_, row): &&(u32, Row)| matches!(row, Row::Withheld { .. });
    let withheld = object.rows.iter().filter(withheld).count() as u64;
    let verdicts = match object.kind {
        PartKind::Escalation => VerdictCounts::default(),
        PartKind::Terminal => VerdictCounts {
            no_evidence: rows - failed - withheld,
            inconclusive: withheld,
            unscannable: failed,
            ..VerdictCounts::default()
        },
    };
    let canary = |device: &String| Canary {
        device: device.clone(),
        stage,
        verdict: CanaryVerdict::Good,
    };
    PartClaim {
        kind: object.kind,
        tracks: object.tracks.clone(),
        sha256: object.sha256,
        rows: u32::try_from(rows).unwrap_or(u32::MAX),
        bytes: object.size_and_digest().0,
        verdicts,
        ledger: ledger(stage, rows),
        made: object.made.clone(),
        canaries: device.iter().map(canary).collect(),
    }
}
