//! The core's views of jobs, shards and nodes as people see them.

use proto::v1;
use scheduler::record::{Duty, FailureCause, JobRecord, JobState, Totals, VerdictCounts};
use scheduler::{JobView, NodeView, Reason, Revision, ShardView};
use types::{Device, Millis, UnixMillis};

use super::rank::{rank_out, requirements_out};
use crate::app::manifest_path;
use crate::shelf::BundleRecord;

/// A job taken out of the core, so that the rest can be asked without holding it.
#[derive(Debug, Clone)]
pub(crate) struct JobSeen {
    pub(crate) record: JobRecord,
    pub(crate) totals: Totals,
    pub(crate) revision: Revision,
}

impl From<JobView<'_>> for JobSeen {
    fn from(view: JobView<'_>) -> Self {
        Self {
            record: view.record.clone(),
            totals: view.totals,
            revision: view.revision,
        }
    }
}

/// A job.
pub(crate) fn job(seen: &JobSeen, bundle: Option<&BundleRecord>) -> v1::Job {
    let JobSeen {
        record,
        totals,
        revision,
    } = seen;
    let purpose = bundle.map_or(v1::Purpose::Unspecified, |bundle| bundle.purpose.into());
    v1::Job {
        bundle_name: bundle.map(|bundle| bundle.name.clone()).unwrap_or_default(),
        bundle_version: bundle
            .map(|bundle| bundle.version.to_string())
            .unwrap_or_default(),
        purpose: purpose.into(),
        state: state(&record.state).into(),
        tracks_done: totals.done,
        verdicts: Some(counts(&totals.verdicts)),
        tracks_granted: totals.granted,
        shards: totals.shards,
        shards_done: totals.shards_done,
        ended_at_ms: if record.state.is_closed() {
            record.changed_at.0
        } else {
            0
        },
        // What is read a second time for its residual is not scanned twice.
        audio_ms: totals.ledger.screen.audio_ms,
        tracks_screened: totals.ledger.screen.tracks,
        revision: revision.0,
        manifest: manifest(record),
        cancel_reason: match &record.state {
            JobState::Cancelled(closing) => closing.reason.clone(),
            JobState::Running
            | JobState::Paused
            | JobState::Publishing
            | JobState::Published(_) => String::new(),
        },
        rank: Some(rank_out(record)),
        requires: Some(requirements_out(&record.requires)),
        spec: Some(record.spec.clone().into()),
    }
}

const fn state(state: &JobState) -> v1::JobState {
    match state {
        JobState::Running => v1::JobState::Running,
        JobState::Paused => v1::JobState::Paused,
        JobState::Publishing => v1::JobState::Publishing,
        JobState::Published(_) => v1::JobState::Published,
        JobState::Cancelled(_) => v1::JobState::Cancelled,
    }
}

fn manifest(record: &JobRecord) -> Option<v1::Manifest> {
    let JobState::Published(name) = record.state else {
        return None;
    };
    Some(v1::Manifest {
        object: manifest_path(record)?.to_string(),
        sha256: name.sha256.to_string(),
        version: name.version,
    })
}

/// Counts of verdicts.
pub(crate) const fn counts(counts: &VerdictCounts) -> v1::VerdictCounts {
    v1::VerdictCounts {
        likely_ai: counts.likely_ai,
        no_evidence: counts.no_evidence,
        inconclusive: counts.inconclusive,
        unscannable: counts.unscannable,
    }
}

/// A reason why work does not run.
pub(crate) fn reason(reason: &Reason) -> v1::Reason {
    v1::Reason {
        code: reason.blocked.code().to_owned(),
        cause: reason.blocked.to_string(),
        fix: reason.blocked.fix().to_owned(),
        tracks: reason.tracks,
    }
}

/// A shard.
pub(crate) fn shard(view: &ShardView<'_>) -> v1::ShardView {
    let record = view.record;
    let grants = record.into_iter().flat_map(|record| &record.grants);
    let suspects = record.into_iter().flat_map(|record| &record.suspects);
    let failures = record.into_iter().flat_map(|record| &record.failures);
    v1::ShardView {
        shard: view.shard.to_string(),
        tracks: view.extent.len(),
        tracks_done: view.covered,
        attempts: record.map_or(0, |record| record.last_attempt.0),
        grants: grants
            .map(|grant| v1::GrantView {
                attempt: grant.attempt.0,
                node: grant.node.to_string(),
                ordinals: Some(grant.range.into()),
            })
            .collect(),
        parts: record.map_or(0, |record| {
            u32::try_from(record.parts.len()).unwrap_or(u32::MAX)
        }),
        suspects: suspects
            .map(|suspect| v1::Suspect {
                tracks: Some(suspect.tracks.into()),
                deaths: suspect.deaths.into(),
            })
            .collect(),
        failures: failures
            .map(|failure| v1::FailureView {
                cause: cause(failure.cause).to_owned(),
                count: failure.count.into(),
            })
            .collect(),
    }
}

const fn cause(cause: FailureCause) -> &'static str {
    match cause {
        FailureCause::NodeLost => "NODE_LOST",
        FailureCause::WorkerLost => "WORKER_LOST",
        FailureCause::DeviceOut => "DEVICE_OUT",
        FailureCause::Bundle => "BUNDLE",
        FailureCause::Storage => "STORAGE",
        FailureCause::Stalled => "STALLED",
    }
}

/// A node. `wall` and `now` are the same moment by both clocks.
pub(crate) fn node(view: &NodeView<'_>, now: Millis, wall: UnixMillis) -> v1::Node {
    let ago = |at: Millis| i64::try_from(now.since(at).0).unwrap_or(i64::MAX);
    v1::Node {
        name: view.key.node.to_string(),
        state: node_state(view).into(),
        session: view.record.session.0,
        version: view.record.version.clone(),
        devices: view
            .record
            .devices
            .iter()
            .map(|device| device_status(view, device))
            .collect(),
        sources: view
            .record
            .sources
            .iter()
            .map(ToString::to_string)
            .collect(),
        decoders: view.record.decoders,
        joined_at_ms: view.record.joined_at.0,
        last_beat_ms: view
            .last_beat
            .map_or(0, |at| wall.0.saturating_sub(ago(at))),
        tracks_granted: view.grants.iter().map(|grant| grant.open).sum(),
        tracks_in_hand: view
            .grants
            .iter()
            .filter_map(|grant| grant.in_hand)
            .map(types::TrackSet::len)
            .sum(),
    }
}

fn node_state(view: &NodeView<'_>) -> v1::NodeState {
    match view.record.duty {
        _ if view.record.left => v1::NodeState::Left,
        _ if !view.live => v1::NodeState::Lost,
        Duty::Draining => v1::NodeState::Draining,
        Duty::Cordoned => v1::NodeState::Cordoned,
        Duty::Serving if view.draining => v1::NodeState::Draining,
        Duty::Serving => v1::NodeState::Ready,
    }
}

fn device_status(view: &NodeView<'_>, device: &Device) -> v1::DeviceStatus {
    let shown = device.to_string();
    let out = view.devices_out.iter().find(|(name, _)| *name == shown);
    v1::DeviceStatus {
        device: Some(device.clone().into()),
        out: out.map(|(_, code)| code.to_string()).unwrap_or_default(),
    }
}

/// A node's grants.
pub(crate) fn node_grants(view: &NodeView<'_>) -> Vec<v1::NodeGrant> {
    let grants = view.grants.iter().map(|grant| v1::NodeGrant {
        job: grant.job.job.to_string(),
        shard: grant.shard.to_string(),
        attempt: grant.attempt.0,
        ordinals: Some(grant.range.into()),
        in_hand: grant.in_hand.map(proto::ranges).unwrap_or_default(),
    });
    grants.collect()
}
