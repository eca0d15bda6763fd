//! Records that nobody needs any more go when there are more than an operator wants kept: closed jobs, the longest closed
//! first, closed revocations, and nodes that left or have long been silent. What storage holds of a job stays; a cordon is never forgotten.
//!
//! A key is removed only where no copy of the write that made it can still land: "absent" must not compare equal twice.

use crate::What;
use crate::desk::{Change, Group, Record, Unit};
use crate::key::RecordKey;
use crate::limits::{GROUP_OPS_MAX, NODE_GONE, REVOCATIONS_KEPT};
use crate::record::Duty;
use crate::reign::Reign;
use crate::state::{Job, JobNo, Node, NodeNo, RevNo, Slot};
use alloc::vec;
use alloc::vec::Vec;
use types::Millis;

/// Records removed in one go: one group.
const TRIMMED_MAX: usize = GROUP_OPS_MAX - 1;

impl Reign {
    /// Removes the records of the longest closed jobs beyond those that are kept.
    pub(crate) fn trim_jobs(&mut self) {
        let beyond = self.jobs.len().saturating_sub(self.config.jobs_kept);
        if beyond == 0 || self.chores_hold.is_some() {
            return;
        }
        let over = self.jobs.iter().filter(|(_, job)| job.is_over());
        // A closed job's record changes in one way only: those that are dirty are going.
        let (going, idle): (Vec<_>, Vec<_>) =
            over.partition(|(no, _)| self.desk.is_dirty(Slot::Job(**no)));
        let closed = idle.into_iter();
        let closed = closed.filter_map(|(no, job)| Some((job.record()?.changed_at, *no)));
        let mut over: Vec<_> = closed.collect();
        over.sort_unstable();
        over.truncate(beyond.saturating_sub(going.len()).min(TRIMMED_MAX));
        let units: Vec<Unit> = over
            .into_iter()
            .filter_map(|(_, no)| self.gone_job(no))
            .collect();
        self.desk.stage(units, None);
    }

    /// Removes the records of nodes that are gone beyond those that are kept.
    pub(crate) fn trim_nodes(&mut self, now: Millis) {
        let beyond = self.nodes.len().saturating_sub(self.config.nodes_kept);
        if beyond == 0 || self.chores_hold.is_some() {
            return;
        }
        let gone = |node: &Node| !self.is_revoked(node) && node.is_gone(now, self.began);
        let gone = self.nodes.iter().filter(|(_, node)| gone(node));
        // What is being written of one that is gone is that it goes, or that it is back: then another goes a little later.
        let (going, idle): (Vec<_>, Vec<_>) =
            gone.partition(|(no, _)| self.desk.is_dirty(Slot::Node(**no)));
        let idle = idle.into_iter();
        let mut gone: Vec<_> = idle.map(|(no, node)| (node.last_beat, *no)).collect();
        gone.sort_unstable();
        gone.truncate(beyond.saturating_sub(going.len()).min(TRIMMED_MAX));
        let units: Vec<Unit> = gone
            .into_iter()
            .filter_map(|(_, no)| self.gone_node(no))
            .collect();
        self.desk.stage(units, None);
    }

    /// Removes the oldest closed revocation beyond those that are kept. A late copy of its intent rests on revisions of
    /// jobs that have moved since, or made nothing but this mark.
    pub(crate) fn trim_revocations(&mut self) {
        if self.revocations.len() < REVOCATIONS_KEPT || self.chores_hold.is_some() {
            return;
        }
        let closed = self
            .revocations
            .iter()
            .filter(|(_, entry)| entry.is_closed());
        let free = closed.filter(|(no, _)| !self.desk.is_dirty(Slot::Revocation(**no)));
        let oldest = free.min_by_key(|(no, entry)| (entry.record().map(|record| record.at), **no));
        let unit = oldest.and_then(|(no, entry)| {
            let path = RecordKey::Revocation(entry.key.clone()).path(self.generation);
            let revision = entry.stored.as_ref()?.revision;
            Some(removal(Slot::Revocation(*no), path, revision))
        });
        self.desk.stage(unit.into_iter().collect(), None);
    }

    pub(crate) fn remove_revocation(&mut self, no: RevNo) {
        if let Some(entry) = self.revocations.remove(&no) {
            self.revocation_names.remove(&entry.key);
            self.going.remove(&no);
        }
    }

    fn gone_job(&self, no: JobNo) -> Option<Unit> {
        let job = self.jobs.get(&no)?;
        Some(removal(
            Slot::Job(no),
            RecordKey::Job(job.key.clone()).path(self.generation),
            job.stored.as_ref()?.revision,
        ))
    }

    fn gone_node(&self, no: NodeNo) -> Option<Unit> {
        let node = self.nodes.get(&no)?;
        Some(removal(
            Slot::Node(no),
            RecordKey::Node(node.key.clone()).path(self.generation),
            node.stored.as_ref()?.revision,
        ))
    }

    /// Notes records whose first write may have a copy that still lands.
    pub(crate) fn note_doubt(&mut self, group: &Group) {
        let changes = group.units.iter().flat_map(|unit| &unit.changes);
        for change in changes.filter(|change| group.doubt && change.guard.is_none()) {
            match change.slot {
                Slot::Job(no) => _ = self.jobs.get_mut(&no).map(|job| job.doubted = true),
                Slot::Node(no) => _ = self.nodes.get_mut(&no).map(|node| node.doubted = true),
                Slot::Shard(..) | Slot::Revocation(_) => {}
            }
        }
    }

    pub(crate) fn remove_job(&mut self, no: JobNo) {
        if let Some(job) = self.jobs.remove(&no) {
            self.job_names.remove(&job.key);
            self.job_ids.remove(&job.key.job);
        }
    }

    pub(crate) fn remove_node(&mut self, no: NodeNo) {
        if let Some(node) = self.nodes.remove(&no) {
            self.node_names.remove(&node.key);
        }
    }
}

fn removal(slot: Slot, path: alloc::string::String, revision: crate::Revision) -> Unit {
    let change = Change {
        slot,
        path,
        guard: Some(revision),
        value: None,
        says: vec![What::Removed],
        record: Record::Gone,
    };
    Unit::one(change, None)
}

impl Job {
    /// Whether it is closed and nothing but its record is left.
    fn is_over(&self) -> bool {
        let closed = self.record().is_some_and(|record| record.state.is_closed());
        closed && self.shards.is_empty() && self.removing == 0 && !self.doubted
    }
}

impl Node {
    fn is_gone(&self, now: Millis, began: Millis) -> bool {
        let heard = self.last_beat.unwrap_or(began);
        let record = self.record().filter(|record| record.duty == Duty::Serving);
        let away = record.is_some_and(|record| record.left || now.since(heard) >= NODE_GONE);
        away && self.holdings.is_empty() && self.pulling.is_none() && !self.doubted
    }
}
