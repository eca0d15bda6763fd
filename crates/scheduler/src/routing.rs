//! Which node may take which tracks: whose it is, what it runs, what its devices are, what it has loaded. Asked for each
//! pull and for each explanation, so that the two cannot drift.

use crate::blocked::Blocked;
use crate::limits::OTHER_NODE_WAIT;
use crate::pull::stage_of;
use crate::record::JobRecord;
use crate::reign::Reign;
use crate::state::{Job, JobNo, Node};
use crate::{JobKey, NodeKey};
use alloc::vec::Vec;
use types::{Device, Millis, NodeId, ShardId, TenantId};

/// Nodes of the default tenant are the operator's fleet and work for everybody; a tenant's own nodes work for it alone.
pub(crate) fn works_for(node: &NodeKey, job: &JobKey) -> bool {
    node.tenant == job.tenant || node.tenant == TenantId::default()
}

impl Reign {
    /// The job that an agent names. Names of jobs are issued and unique among all tenants, so that an agent of the fleet
    /// need not say whose a job is; a job that the node does not work for is not there for it.
    pub(crate) fn job_of_agent(&self, node: &NodeKey, job: &types::JobId) -> Option<JobNo> {
        let no = *self.job_ids.get(job)?;
        let known = self.jobs.get(&no)?;
        works_for(node, &known.key).then_some(no)
    }

    /// Nodes that could take the shard's suspects that died alone on one; empty where there is no such suspect, or
    /// where they have waited long enough for another node.
    pub(crate) fn others(&self, now: Millis, no: JobNo, shard: ShardId) -> Vec<NodeId> {
        let entry = self.jobs.get(&no).and_then(|job| job.shards.get(&shard));
        let waiting = entry.filter(|entry| {
            let suspects = &entry.stored.record.suspects;
            let alone = suspects.iter().any(|suspect| !suspect.alone.is_empty());
            alone && now < entry.hold.until + OTHER_NODE_WAIT
        });
        let Some(job) = self.jobs.get(&no).filter(|_| waiting.is_some()) else {
            return Vec::new();
        };
        let able = |node: &&Node| self.is_able(now, node, job, shard);
        let nodes = self.nodes.values().filter(able);
        nodes.map(|node| node.key.node.clone()).collect()
    }

    /// Whether a node could take tracks of a shard if it asked.
    pub(crate) fn is_able(&self, now: Millis, node: &Node, job: &Job, shard: ShardId) -> bool {
        let free = node.serves(now) && !self.is_revoked(node) && node.all_out().is_none();
        free && node.runs(stage_of(shard)) && node.may_take(job)
    }
}

impl Node {
    /// Whether the job may be given to it, whatever the shard.
    pub(crate) fn may_take(&self, job: &Job) -> bool {
        works_for(&self.key, &job.key)
            && job
                .record()
                .is_some_and(|record| self.meets(record).is_ok())
    }

    /// Whether it has what a job requires, else what it lacks. Every device in service must have it, since a node gives
    /// a grant's tracks to whichever is free.
    pub(crate) fn meets(&self, record: &JobRecord) -> Result<(), Blocked> {
        let requires = &record.requires;
        let bundle = record.spec.bundle;
        if let Some(kind) = requires.device
            && !self.each_device(|device| device.kind == kind)
        {
            return Err(Blocked::NoNodeWithDevice { kind });
        }
        let bytes = requires.memory_bytes;
        if bytes > 0 && !self.each_device(|device| device.memory_bytes >= bytes) {
            return Err(Blocked::NoNodeWithMemory { bytes });
        }
        if self.refused_bundles.contains(&bundle) {
            return Err(Blocked::BundleRefused);
        }
        if requires.bundle_loaded && !self.bundles.contains(&bundle) {
            return Err(Blocked::NoNodeWithBundle);
        }
        Ok(())
    }

    fn each_device(&self, fits: impl Fn(&Device) -> bool) -> bool {
        let out = |device: &&Device| {
            let name = alloc::format!("{device}");
            self.devices_out.iter().any(|(out, _)| *out == name)
        };
        let devices = self.record().map_or(&[][..], |record| &record.devices);
        let mut serving = devices.iter().filter(|device| !out(device)).peekable();
        serving.peek().is_some() && serving.all(fits)
    }

    /// Devices in service.
    pub(crate) fn devices_serving(&self) -> u64 {
        let all = self.record().map_or(0, |record| record.devices.len());
        all.saturating_sub(self.devices_out.len()) as u64
    }
}
