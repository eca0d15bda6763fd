//! Which node may take which tracks: whose it is, what it runs, what its devices are, what it has loaded. Asked for each
//! pull and for each explanation, so that the two cannot drift.

use crate::blocked::Blocked;
use crate::limits::{BACK_OFF_FIRST, BACK_OFF_SPENT, OTHER_NODE_WAIT, SHUNNED_PER_NODE_MAX};
use crate::mutants::{self, Mutant};
use crate::pull::stage_of;
use crate::quota::Stock;
use crate::record::{JobRecord, NodeRecord};
use crate::reign::Reign;
use crate::settle::doubled;
use crate::state::{Job, JobNo, Node, Shunned};
use crate::{JobKey, NodeKey};
use alloc::vec::Vec;
use types::{Device, Millis, NodeId, ShardId, Stage, Stages, TenantId};

/// Nodes of the default tenant are the operator's fleet and work for everybody; a tenant's own nodes work for it alone.
pub(crate) fn works_for(node: &NodeKey, job: &JobKey) -> bool {
    let fleet = node.tenant == TenantId::default();
    fleet || node.tenant == job.tenant || mutants::on(Mutant::OwnNodeShared)
}

impl Reign {
    /// The job that an agent names. Names of jobs are issued and unique among all tenants, so that an agent of the fleet
    /// need not say whose a job is; a job that the node does not work for is not there for it.
    pub(crate) fn job_of_agent(&self, node: &NodeKey, job: &types::JobId) -> Option<JobNo> {
        let no = *self.job_ids.get(job)?;
        let known = self.jobs.get(&no)?;
        works_for(node, &known.key).then_some(no)
    }

    /// Nodes that could take the shard's suspects that died alone; empty where there is no such suspect.
    pub(crate) fn able(&self, now: Millis, no: JobNo, shard: ShardId) -> Vec<NodeId> {
        let job = self.jobs.get(&no).filter(|job| {
            let entry = job.shards.get(&shard);
            let mut suspects = entry.iter().flat_map(|shard| &shard.stored.record.suspects);
            suspects.any(|suspect| !suspect.alone.is_empty())
        });
        let Some(job) = job else {
            return Vec::new();
        };
        let able = |node: &&Node| self.is_able(now, node, job, shard);
        let nodes = self.nodes.values().filter(able);
        nodes.map(|node| node.key.node.clone()).collect()
    }

    /// Those of the able nodes that the shard's suspects wait for: none once they have waited long enough.
    pub(crate) fn waited_for<'a>(
        &self,
        now: Millis,
        no: JobNo,
        shard: ShardId,
        able: &'a [NodeId],
    ) -> &'a [NodeId] {
        let entry = self.jobs.get(&no).and_then(|job| job.shards.get(&shard));
        match entry.is_some_and(|entry| now < entry.hold.until + OTHER_NODE_WAIT) {
            true => able,
            false => &[],
        }
    }

    /// Whether a node could take tracks of a shard if it asked.
    pub(crate) fn is_able(&self, now: Millis, node: &Node, job: &Job, shard: ShardId) -> bool {
        let free = node.serves(now) && !self.is_revoked(node) && node.all_out().is_none();
        free && node.runs_of(job, stage_of(shard)) && node.may_take_now(now, job)
    }

    /// Whether a job has tracks waiting that a node could take now, within what its tenant may have.
    pub(crate) fn could_serve(
        &self,
        now: Millis,
        node: &Node,
        (no, job): (JobNo, &Job),
        stock: &Stock,
    ) -> bool {
        let waits = |stage| job.waits_for(stage) && self.has_room_at(node, job, stage);
        let waits = waits(Stage::Screen) || waits(Stage::Residual);
        waits && node.may_take_now(now, job) && self.quota_reached(stock, no).is_none()
    }

    /// Why a sound node without grants has none.
    pub(crate) fn why_idle(&self, now: Millis, node: &Node) -> Blocked {
        let stock = self.stock();
        let job = |no: JobNo| Some((no, self.jobs.get(&no)?));
        let mut running = self.line.iter().filter_map(|place| job(place.no));
        let mut refused = running.clone();
        if running.any(|job| self.could_serve(now, node, job, &stock)) {
            return Blocked::NotYetPulled;
        }
        if refused.any(|(_, job)| node.refuses_what_waits(job)) {
            let node = node.key.node.clone();
            return Blocked::NodeRefusesBundle { node };
        }
        Blocked::NothingToDo
    }
}

impl Job {
    /// Whether it has tracks for a stage that nobody holds: roots come first among the shards that are ready.
    fn waits_for(&self, stage: Stage) -> bool {
        let ends = [self.ready.first(), self.ready.last()];
        let ready = ends.into_iter().flatten().any(|id| stage_of(*id) == stage);
        ready || (stage == stage_of(ShardId::Root(0)) && !self.fresh.is_empty())
    }
}

impl Node {
    /// Whether it runs a stage with the job's bundle.
    pub(crate) fn runs_of(&self, job: &Job, stage: Stage) -> bool {
        let refuses = |record: &JobRecord| self.refuses(record, stage);
        self.runs(stage) && !job.record().is_some_and(refuses)
    }

    /// Whether tracks of a job wait for a stage that it runs, but not with the job's bundle.
    fn refuses_what_waits(&self, job: &Job) -> bool {
        let refused = |stage| {
            let runs = self.runs(stage) && job.waits_for(stage);
            runs && !self.runs_of(job, stage)
        };
        works_for(&self.key, &job.key) && (refused(Stage::Screen) || refused(Stage::Residual))
    }

    fn refuses(&self, record: &JobRecord, stage: Stage) -> bool {
        self.refused_bundles.contains(&(record.spec.bundle, stage))
    }

    /// Whether the job may be given to it at this time, whatever the shard.
    pub(crate) fn may_take_now(&self, now: Millis, job: &Job) -> bool {
        self.may_take(job) && self.shuns(now, &job.key).is_none()
    }

    /// Until when it gets nothing of a job whose source it could not reach.
    pub(crate) fn shuns(&self, now: Millis, job: &JobKey) -> Option<Millis> {
        let shunned = self.shunned.get(job);
        shunned
            .map(|shunned| shunned.until)
            .filter(|until| *until > now)
    }

    /// It could not reach what a job is read from or written to: its other work goes on, and other nodes may try.
    pub(crate) fn shun(&mut self, now: Millis, job: &JobKey) {
        if self.shuns(now, job).is_some() {
            return;
        }
        let times = self
            .shunned
            .get(job)
            .map_or(1, |shunned| shunned.times.saturating_add(1));
        let until = now + doubled(BACK_OFF_FIRST, BACK_OFF_SPENT, times);
        self.shunned.insert(job.clone(), Shunned { until, times });
        if self.shunned.len() > SHUNNED_PER_NODE_MAX {
            let first = self.shunned.iter().min_by_key(|(_, shunned)| shunned.until);
            let first = first.map(|(job, _)| job.clone());
            first.and_then(|job| self.shunned.remove(&job));
        }
    }

    /// Whether the job may be given to it, whatever the shard.
    pub(crate) fn may_take(&self, job: &Job) -> bool {
        let runs = self.runs_of(job, Stage::Screen) || self.runs_of(job, Stage::Residual);
        let meets = |record: &JobRecord| self.meets(record).is_ok();
        runs && works_for(&self.key, &job.key) && job.record().is_some_and(meets)
    }

    /// Whether it has what a job requires, else what it lacks. Every device in service must have it, since a node gives
    /// a grant's tracks to whichever is free.
    pub(crate) fn meets(&self, record: &JobRecord) -> Result<(), Blocked> {
        if mutants::on(Mutant::RequirementsIgnored) {
            return Ok(());
        }
        let both = record.spec.policy.stages == Stages::Both;
        if both && !self.record().is_some_and(NodeRecord::knows_both_stages) {
            let stage = Stage::Screen;
            return Err(Blocked::NoNodeForStage { stage });
        }
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
        if requires.bundle_loaded && !self.bundles.contains(&bundle) {
            return Err(Blocked::NoNodeWithBundle);
        }
        Ok(())
    }

    /// The same for a stage, or why it gets none of a job that it could take at another time.
    pub(crate) fn lacks(
        &self,
        now: Millis,
        (job, record): (&JobKey, &JobRecord),
        stage: Stage,
    ) -> Option<Blocked> {
        let refused = self.refuses(record, stage);
        let until = self.shuns(now, job);
        let waits = until.map(|until| Blocked::BackOff { until });
        let refused = refused.then_some(Blocked::BundleRefused);
        refused.or(self.meets(record).err()).or(waits)
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
