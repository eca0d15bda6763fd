//! What the shell may look at: stored state only, in order, without copies of what is large. Looking changes nothing
//! and is never a reason to write.

use crate::invariants::Invariant;
use crate::key::RecordKey;
use crate::record::{
    JobRecord, NodeRecord, RevocationRecord, ShardRecord, Totals, encode, encode_shard,
};
use crate::reign::{Core, Reign};
use crate::state::{Job, Node};
use crate::{Caller, Commit, JobKey, NodeKey, Revision, RevocationKey};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use types::{Attempt, Code, Millis, Ordinal, Range, ShardId, TenantId, TrackSet};

/// One job.
#[derive(Debug, Clone, Copy)]
pub struct JobView<'a> {
    /// Its name.
    pub key: &'a JobKey,
    /// Its record.
    pub record: &'a JobRecord,
    /// What its shard records add up to; of a closed job, at its closing.
    pub totals: Totals,
    /// Rises with every change of any of its records.
    pub revision: Revision,
    /// Whether a cancel is on its way.
    pub cancelling: bool,
}

/// One shard.
#[derive(Debug, Clone)]
pub struct ShardView<'a> {
    /// Its name.
    pub shard: ShardId,
    /// Its tracks.
    pub extent: TrackSet,
    /// Its record; `None` while it has not left the queue.
    pub record: Option<&'a ShardRecord>,
    /// Tracks that a part covers.
    pub covered: u64,
}

/// One node.
#[derive(Debug, Clone)]
pub struct NodeView<'a> {
    /// Its name.
    pub key: &'a NodeKey,
    /// Its record.
    pub record: &'a NodeRecord,
    /// Whether this leader has heard of its session within the life of a grant.
    pub live: bool,
    /// When this leader last heard of it.
    pub last_beat: Option<Millis>,
    /// It finishes what it has and takes nothing new, by its own word.
    pub draining: bool,
    /// Devices that are out of service, with the code of why.
    pub devices_out: &'a [(String, Code)],
    /// Its live grants.
    pub grants: Vec<HeldView<'a>>,
}

/// One revocation.
#[derive(Debug, Clone, Copy)]
pub struct RevocationView<'a> {
    /// Its name.
    pub key: &'a RevocationKey,
    /// Its record.
    pub record: &'a RevocationRecord,
}

/// A live grant of a node.
#[derive(Debug, Clone)]
pub struct HeldView<'a> {
    /// The job.
    pub job: &'a JobKey,
    /// The shard.
    pub shard: ShardId,
    /// The attempt.
    pub attempt: Attempt,
    /// Its ordinals.
    pub range: Range,
    /// Tracks of it without a row.
    pub open: u64,
    /// What the last beat that named it had in hand; `None` before one did.
    pub in_hand: Option<&'a TrackSet>,
    /// What is wanted back.
    pub yield_at: Option<Ordinal>,
    /// May be withdrawn from then on.
    pub expires: Millis,
}

impl Core {
    /// The jobs of a tenant, by name.
    pub fn jobs<'a>(&'a self, tenant: &'a TenantId) -> impl Iterator<Item = JobView<'a>> + 'a {
        self.all_jobs().filter(move |job| job.key.tenant == *tenant)
    }

    /// The jobs of every tenant, by name: for what looks after the whole installation, never for an answer.
    pub fn all_jobs(&self) -> impl Iterator<Item = JobView<'_>> {
        let reign = self.shown();
        let names = reign.into_iter().flat_map(|reign| reign.job_names.values());
        let jobs = names.filter_map(move |no| reign?.jobs.get(no));
        jobs.filter_map(job_view)
    }

    /// One job.
    #[must_use]
    pub fn job(&self, key: &JobKey) -> Option<JobView<'_>> {
        let reign = self.shown()?;
        job_view(reign.jobs.get(&reign.job_no(key)?)?)
    }

    /// Shards of an open job: those with a record, by name. The others are arithmetic; see [`Core::shard`].
    pub fn shards<'a>(&'a self, key: &JobKey) -> impl Iterator<Item = ShardView<'a>> + 'a {
        let reign = self.shown();
        let job = reign.and_then(|reign| reign.jobs.get(&reign.job_no(key)?));
        let ids = job.into_iter().flat_map(|job| job.shards.keys());
        ids.filter_map(move |id| shard_view(job?, *id))
    }

    /// One shard of an open job, whether it has a record or not.
    #[must_use]
    pub fn shard(&self, key: &JobKey, shard: ShardId) -> Option<ShardView<'_>> {
        let reign = self.shown()?;
        shard_view(reign.jobs.get(&reign.job_no(key)?)?, shard)
    }

    /// The tenant of the job that a commit names, where the commit may come to count: its node holds the attempt, or the attempt is
    /// one that is not stored yet. One that ended never counts, nor does any in a job that has closed.
    #[must_use]
    pub fn committing(&self, caller: &Caller, commit: &Commit) -> Option<&TenantId> {
        let reign = self.leading()?;
        let node = NodeKey {
            tenant: caller.tenant.clone(),
            node: commit.node.clone(),
        };
        let job = reign.jobs.get(&reign.job_of_agent(&node, &commit.job)?)?;
        if job.record().is_some_and(|record| record.state.is_closed()) {
            return None;
        }
        let record = job
            .shards
            .get(&commit.shard)
            .map(|shard| &shard.stored.record);
        let may_count = record.is_none_or(|record| match record.grant(commit.attempt) {
            Some(grant) => grant.tenant == node.tenant && grant.node == node.node,
            None => commit.attempt > record.last_attempt,
        });
        may_count.then_some(&job.key.tenant)
    }

    /// Jobs and grants that this reign has looked at so far to decide who is served with what: its work, by no clock.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.leading().map_or(0, |reign| reign.looks.count())
    }

    /// The nodes of a tenant, by name.
    pub fn nodes<'a>(
        &'a self,
        now: Millis,
        tenant: &'a TenantId,
    ) -> impl Iterator<Item = NodeView<'a>> + 'a {
        self.all_nodes(now)
            .filter(move |node| node.key.tenant == *tenant)
    }

    /// The nodes of every tenant, by name: for what looks after the whole installation, never for an answer.
    pub fn all_nodes(&self, now: Millis) -> impl Iterator<Item = NodeView<'_>> {
        let reign = self.shown();
        let names = reign
            .into_iter()
            .flat_map(|reign| reign.node_names.values());
        let nodes = names.filter_map(move |no| reign?.nodes.get(no));
        nodes.filter_map(move |node| reign?.node_view(now, node))
    }

    /// One node.
    #[must_use]
    pub fn node(&self, now: Millis, key: &NodeKey) -> Option<NodeView<'_>> {
        let reign = self.shown()?;
        reign.node_view(now, reign.nodes.get(reign.node_names.get(key)?)?)
    }

    /// The stored revocations of a tenant's nodes, by name: open ones are being carried out, closed ones are a mark on
    /// what was published before them.
    pub fn revocations<'a>(
        &'a self,
        tenant: &'a TenantId,
    ) -> impl Iterator<Item = RevocationView<'a>> + 'a {
        let reign = self.shown();
        let names = reign.into_iter().flat_map(|reign| &reign.revocation_names);
        let of_tenant = names.filter(move |(key, _)| key.tenant == *tenant);
        of_tenant.filter_map(move |(key, no)| {
            let stored = reign?.revocations.get(no)?.stored.as_ref()?;
            Some(RevocationView {
                key,
                record: &stored.record,
            })
        })
    }

    /// Every record that the core knows as stored, in the form in which it would write it and by its key. None before the stored state is read.
    #[must_use]
    pub fn records(&self) -> BTreeMap<String, Vec<u8>> {
        let Some(reign) = self.shown() else {
            return BTreeMap::new();
        };
        let mut records = BTreeMap::new();
        let mut keep = |key: RecordKey, value: Vec<u8>| {
            records.insert(key.path(reign.generation), value);
        };
        for job in reign.jobs.values() {
            if let Some(record) = job.record() {
                keep(RecordKey::Job(job.key.clone()), encode(record));
            }
            for (id, shard) in &job.shards {
                let key = RecordKey::Shard(job.key.clone(), *id);
                let form = reign.config.shard_form;
                keep(key, encode_shard(&shard.stored.record, form));
            }
        }
        for node in reign.nodes.values() {
            if let Some(record) = node.record() {
                keep(RecordKey::Node(node.key.clone()), encode(record));
            }
        }
        for entry in reign.revocations.values() {
            if let Some(record) = entry.stored.as_ref().map(|stored| &stored.record) {
                keep(RecordKey::Revocation(entry.key.clone()), encode(record));
            }
        }
        records
    }

    /// Changes that would have broken an invariant and were not made, and records that did not agree with what is held of them,
    /// by invariant: those of [`Invariant::COUNTED`]. Empty, or there is a bug.
    #[must_use]
    pub fn violations(&self) -> BTreeMap<Invariant, u64> {
        let Some(reign) = self.shown() else {
            return BTreeMap::new();
        };
        let mut counted = reign.violations.clone();
        let orphans = reign.orphans_named.load(Ordering::Relaxed);
        if orphans > 0 {
            *counted.entry(Invariant::I6).or_default() += orphans;
        }
        counted
    }

    /// Changes of records that this reign knows to be stored: as many lines as the audit trail has of it.
    #[must_use]
    pub fn changes_applied(&self) -> u64 {
        self.leading().map_or(0, |reign| reign.applied)
    }

    /// Whether a change of the record at this key is staged, under way or in doubt.
    #[must_use]
    pub fn is_changing(&self, key: &RecordKey) -> bool {
        let reign = self.leading();
        reign.is_some_and(|reign| {
            let slot = reign.slot_at(key);
            slot.is_some_and(|slot| reign.desk.is_dirty(slot))
        })
    }
}

fn job_view(job: &Job) -> Option<JobView<'_>> {
    let record = job.record()?;
    Some(JobView {
        key: &job.key,
        record,
        totals: record.totals.unwrap_or(job.tally.totals),
        revision: job.seen,
        cancelling: job.cancelling.is_some(),
    })
}

fn shard_view(job: &Job, shard: ShardId) -> Option<ShardView<'_>> {
    let known = job.shards.get(&shard);
    Some(ShardView {
        shard,
        extent: job.extent(shard)?,
        record: known.map(|known| &known.stored.record),
        covered: known.map_or(0, |known| known.covered.len()),
    })
}

impl Reign {
    fn node_view<'a>(&'a self, now: Millis, node: &'a Node) -> Option<NodeView<'a>> {
        Some(NodeView {
            key: &node.key,
            record: node.record()?,
            live: node.is_live(now),
            last_beat: node.last_beat,
            draining: node.draining,
            devices_out: &node.devices_out,
            grants: self.held_views(node),
        })
    }

    fn held_views<'a>(&'a self, node: &'a Node) -> Vec<HeldView<'a>> {
        let view = |(id, holding): (&crate::state::GrantId, &'a crate::state::Holding)| {
            let job = self.jobs.get(&id.job)?;
            let record = &job.shards.get(&id.shard)?.stored.record;
            Some(HeldView {
                job: &job.key,
                shard: id.shard,
                attempt: id.attempt,
                range: record.grant(id.attempt)?.range,
                open: self.open_tracks(id.job, id.shard, id.attempt),
                in_hand: holding.in_hand.as_ref(),
                yield_at: holding.yield_at,
                expires: holding.expires,
            })
        };
        node.holdings.iter().filter_map(view).collect()
    }
}
