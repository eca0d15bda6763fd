//! Conversions of what several services speak: callers, enums, ranges, policies, specifications, devices, ledgers.
//! From the wire they may fail and say on which field; to the wire they cannot.

use types::{
    ActorId, Device, DeviceKind, GateChoice, Generation, JobSpec, Ledger, Policy, Purpose, Range,
    RetryOf, ShardPlan, Share, Stage, StageUse, Stages, TenantId, TrackSet, UnixMillis, Verdict,
};

use crate::field::{FieldError, enumerated, nested, parsed};
use crate::v1;

/// Whose request it is and who makes it, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose data the call may touch.
    pub tenant: TenantId,
    /// Who asks.
    pub actor: ActorId,
}

impl TryFrom<v1::Caller> for Caller {
    type Error = FieldError;
    fn try_from(wire: v1::Caller) -> Result<Self, FieldError> {
        Ok(Self {
            tenant: parsed("tenant", &wire.tenant)?,
            actor: parsed("actor", &wire.actor)?,
        })
    }
}

impl From<Caller> for v1::Caller {
    fn from(caller: Caller) -> Self {
        Self {
            tenant: caller.tenant.into(),
            actor: caller.actor.into(),
        }
    }
}

/// The caller of a request.
///
/// # Errors
/// When it is missing or names no tenant or actor.
pub fn caller(wire: Option<v1::Caller>) -> Result<Caller, FieldError> {
    nested("caller", wire)
}

/// Both directions of an enum whose wire form has one value more: the refused `UNSPECIFIED`.
macro_rules! enum_pair {
    ($domain:ident, $wire:ident { $($variant:ident),+ $(,)? }) => {
        impl TryFrom<v1::$wire> for $domain {
            type Error = FieldError;
            fn try_from(wire: v1::$wire) -> Result<Self, FieldError> {
                match wire {
                    v1::$wire::Unspecified => Err(unspecified(wire.as_str_name())),
                    $(v1::$wire::$variant => Ok(Self::$variant),)+
                }
            }
        }

        impl From<$domain> for v1::$wire {
            fn from(domain: $domain) -> Self {
                match domain { $($domain::$variant => Self::$variant,)+ }
            }
        }
    };
}

enum_pair!(
    Verdict,
    Verdict {
        LikelyAi,
        NoEvidence,
        Inconclusive,
        Unscannable
    }
);
enum_pair!(
    Stage,
    Stage {
        Decode,
        Screen,
        Residual
    }
);
enum_pair!(Stages, Stages { Screen, Both });
enum_pair!(
    GateChoice,
    Gate {
        Unsure,
        Positives,
        Both,
        All
    }
);
enum_pair!(
    Purpose,
    Purpose {
        Demonstration,
        Production
    }
);
enum_pair!(DeviceKind, DeviceKind { Cpu, Cuda });

fn unspecified(name: &str) -> FieldError {
    FieldError::new("", format!("is {name}"))
}

impl TryFrom<v1::OrdinalRange> for Range {
    type Error = FieldError;
    fn try_from(wire: v1::OrdinalRange) -> Result<Self, FieldError> {
        Self::new(wire.first, wire.end)
            .map_err(|error| FieldError::new("", format!("is invalid: {error}")))
    }
}

impl From<Range> for v1::OrdinalRange {
    fn from(range: Range) -> Self {
        Self {
            first: range.first,
            end: range.end,
        }
    }
}

/// A set of tracks from its ranges, which must be sorted, disjoint and not empty.
///
/// # Errors
/// When they are not.
pub fn track_set(path: &str, wire: &[v1::OrdinalRange]) -> Result<TrackSet, FieldError> {
    let ranges = wire.iter().map(|range| Range {
        first: range.first,
        end: range.end,
    });
    TrackSet::from_ranges(ranges.collect())
        .map_err(|error| FieldError::new(path, format!("is invalid: {error}")))
}

/// The ranges of a set of tracks.
#[must_use]
pub fn ranges(set: &TrackSet) -> Vec<v1::OrdinalRange> {
    set.ranges().iter().map(|range| (*range).into()).collect()
}

impl TryFrom<v1::Policy> for Policy {
    type Error = FieldError;
    fn try_from(wire: v1::Policy) -> Result<Self, FieldError> {
        Ok(Self {
            stages: enumerated::<v1::Stages, _>("stages", wire.stages)?,
            accept_demonstration: wire.accept_demonstration,
            thumbnails: wire.thumbnails,
            embeddings: wire.embeddings,
            max_escalation: wire.max_escalation_ppm.map(share).transpose()?,
            gate: wire
                .gate
                .map(|gate| enumerated::<v1::Gate, _>("gate", gate))
                .transpose()?,
        })
    }
}

fn share(ppm: u32) -> Result<Share, FieldError> {
    Share::new(ppm)
        .map_err(|error| FieldError::new("max_escalation_ppm", format!("is invalid: {error}")))
}

impl From<Policy> for v1::Policy {
    fn from(policy: Policy) -> Self {
        Self {
            stages: v1::Stages::from(policy.stages).into(),
            accept_demonstration: policy.accept_demonstration,
            thumbnails: policy.thumbnails,
            embeddings: policy.embeddings,
            max_escalation_ppm: policy.max_escalation.map(Share::ppm),
            gate: policy.gate.map(|gate| v1::Gate::from(gate).into()),
        }
    }
}

impl TryFrom<v1::JobSpec> for JobSpec {
    type Error = FieldError;
    fn try_from(wire: v1::JobSpec) -> Result<Self, FieldError> {
        if wire.shard_tracks == 0 {
            return Err(FieldError::new("shard_tracks", "is 0"));
        }
        Ok(Self {
            tenant: parsed("tenant", &wire.tenant)?,
            actor: parsed("actor", &wire.actor)?,
            job: parsed("job", &wire.job)?,
            generation: Generation(wire.generation),
            catalog: parsed("catalog", &wire.catalog)?,
            list: parsed("list", &wire.list)?,
            plan: ShardPlan {
                rows: wire.rows,
                shard_tracks: wire.shard_tracks,
            },
            bundle: parsed("bundle", &wire.bundle)?,
            policy: nested("policy", wire.policy)?,
            submitted_at: UnixMillis(wire.submitted_at_ms),
            retry: wire
                .retry
                .map(|retry| nested("retry", Some(retry)))
                .transpose()?,
        })
    }
}

impl TryFrom<v1::RetryOf> for RetryOf {
    type Error = FieldError;
    fn try_from(wire: v1::RetryOf) -> Result<Self, FieldError> {
        Ok(Self {
            job: parsed("job", &wire.job)?,
            version: wire.version,
            generation: Generation(wire.generation),
            manifest: parsed("manifest", &wire.manifest)?,
            list: parsed("list", &wire.list)?,
        })
    }
}

impl From<RetryOf> for v1::RetryOf {
    fn from(retry: RetryOf) -> Self {
        Self {
            job: retry.job.into(),
            version: retry.version,
            generation: retry.generation.0,
            manifest: retry.manifest.to_string(),
            list: retry.list.to_string(),
        }
    }
}

impl From<JobSpec> for v1::JobSpec {
    fn from(spec: JobSpec) -> Self {
        Self {
            tenant: spec.tenant.into(),
            actor: spec.actor.into(),
            job: spec.job.into(),
            generation: spec.generation.0,
            catalog: spec.catalog.into(),
            list: spec.list.to_string(),
            rows: spec.plan.rows,
            shard_tracks: spec.plan.shard_tracks,
            bundle: spec.bundle.to_string(),
            policy: Some(spec.policy.into()),
            submitted_at_ms: spec.submitted_at.0,
            retry: spec.retry.map(Into::into),
        }
    }
}

impl TryFrom<v1::Device> for Device {
    type Error = FieldError;
    fn try_from(wire: v1::Device) -> Result<Self, FieldError> {
        Ok(Self {
            kind: enumerated::<v1::DeviceKind, _>("kind", wire.kind)?,
            index: wire.index,
            name: wire.name,
            memory_bytes: wire.memory_bytes,
        })
    }
}

impl From<Device> for v1::Device {
    fn from(device: Device) -> Self {
        Self {
            kind: v1::DeviceKind::from(device.kind).into(),
            index: device.index,
            name: device.name,
            memory_bytes: device.memory_bytes,
        }
    }
}

/// One stage's use on a device; `device` is empty where devices are summed.
#[must_use]
pub fn stage_use(stage: Stage, device: &str, used: &StageUse) -> v1::StageUse {
    v1::StageUse {
        stage: v1::Stage::from(stage).into(),
        device: device.to_owned(),
        device_us: used.device_us,
        energy_mj: used.energy_mj,
        tracks: used.tracks,
        audio_ms: used.audio_ms,
        bytes: used.bytes,
        cpu_us: used.cpu_us,
        wait_us: used.wait_us,
    }
}

impl TryFrom<v1::StageUse> for (Stage, StageUse) {
    type Error = FieldError;
    fn try_from(wire: v1::StageUse) -> Result<Self, FieldError> {
        let used = StageUse {
            device_us: wire.device_us,
            energy_mj: wire.energy_mj,
            tracks: wire.tracks,
            audio_ms: wire.audio_ms,
            bytes: wire.bytes,
            cpu_us: wire.cpu_us,
            wait_us: wire.wait_us,
        };
        Ok((enumerated::<v1::Stage, _>("stage", wire.stage)?, used))
    }
}

/// A ledger as one entry per stage, devices summed.
#[must_use]
pub fn uses(ledger: &Ledger) -> Vec<v1::StageUse> {
    Stage::ALL
        .iter()
        .map(|stage| stage_use(*stage, "", ledger.stage(*stage)))
        .collect()
}

/// The ledger that entries sum to.
///
/// # Errors
/// When an entry has no stage.
pub fn ledger(path: &str, wire: Vec<v1::StageUse>) -> Result<Ledger, FieldError> {
    let mut sum = Ledger::default();
    for (stage, used) in crate::field::each::<_, (Stage, StageUse)>(path, wire)? {
        let entry = sum.stage_mut(stage);
        *entry = entry.plus(used);
    }
    Ok(sum)
}
