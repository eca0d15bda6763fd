//! What follows from a stored revocation: shard by shard, one transaction each, which frees the tracks, ends every live
//! grant of the node, and puts a tombstone at the key of each escalation shard whose part falls, also where it never had
//! one. It closes when no record of a named job, stored or on its way, holds such a part or grant; until then none of
//! them begins to publish. A new leader takes it up from the record alone.

use crate::desk::{Record, Unit, UnitEnd};
use crate::limits::{REVOKING_MAX, TOMBSTONES_PER_WRITE_MAX};
use crate::mutants::{self, Mutant};
use crate::record::{Part, PartKind, Progress, RevocationRecord, ShardRecord, Standing};
use crate::reign::{Reign, Turn};
use crate::revoke::touches;
use crate::state::{JobNo, Node, RevNo, RevStep, Revocation, Slot};
use alloc::vec;
use alloc::vec::Vec;
use types::ShardId;

impl Reign {
    /// Whether a revocation on its way keeps the job from publishing.
    pub(crate) fn is_revoking(&self, job: JobNo) -> bool {
        let counts = |entry: &&Revocation| !mutants::on(Mutant::IntentAlone) || entry.is_open();
        let mut held = self.not_closed().filter(counts);
        held.any(|entry| entry.jobs.contains(&job))
    }

    /// Whether a revocation on its way keeps the node from new work.
    pub(crate) fn is_revoked(&self, node: &Node) -> bool {
        let of_node = |record: &RevocationRecord| record.node == node.key;
        self.not_closed()
            .any(|entry| entry.record().is_some_and(of_node))
    }

    /// Revocations from their call to their closing: few at a time, so that asking is cheap.
    fn not_closed(&self) -> impl Iterator<Item = &Revocation> {
        self.going.iter().filter_map(|no| self.revocations.get(no))
    }

    /// Stored revocations that may change the records of a job.
    pub(crate) fn open_revocations(&self, job: JobNo) -> Vec<&RevocationRecord> {
        let open = self.not_closed().filter(|entry| entry.is_open());
        let naming = open.filter(|entry| entry.jobs.contains(&job));
        naming.filter_map(Revocation::record).collect()
    }

    fn revoked_by(&self, no: RevNo) -> Option<&RevocationRecord> {
        self.revocations.get(&no)?.record()
    }

    /// An open revocation is stored: looks for all that it ends.
    pub(crate) fn revocation_opened(&mut self, no: RevNo) {
        let Some(record) = self.revoked_by(no).cloned() else {
            return;
        };
        let jobs = self.named_jobs(&record);
        let mut todo = alloc::collections::BTreeSet::new();
        for job in &jobs {
            let shards = self.jobs.get(job).into_iter().flat_map(|job| &job.shards);
            let found = shards.filter(|(_, shard)| touches(&record, &shard.stored.record));
            todo.extend(found.map(|(id, _)| (*job, *id)));
        }
        if let Some(entry) = self.revocations.get_mut(&no) {
            entry.jobs = jobs;
            entry.todo = todo;
            entry.step = RevStep::Stored;
        }
    }

    /// A shard's record is stored: notes it where an open revocation ends something in it.
    pub(crate) fn note_revoked(&mut self, job: JobNo, shard: ShardId, record: &ShardRecord) {
        for no in &self.going {
            let Some(entry) = self.revocations.get_mut(no) else {
                continue;
            };
            let names = entry.is_open() && entry.jobs.contains(&job);
            if names && entry.record().is_some_and(|by| touches(by, record)) {
                entry.todo.insert((job, shard));
            }
        }
    }

    /// Goes on with every revocation that is not closed, or with those that name a job.
    pub(crate) fn go_on_revoking(&mut self, job: Option<JobNo>) {
        if self.going.is_empty() {
            return;
        }
        for no in self.going.clone() {
            let entry = self.revocations.get(&no);
            let names = |job: JobNo| entry.is_some_and(|entry| entry.jobs.contains(&job));
            if job.is_none_or(names) {
                self.go_on(no);
            }
        }
    }

    fn go_on(&mut self, no: RevNo) {
        if self.chores_hold.is_some() {
            return;
        }
        self.stage_intent(no);
        let open = self
            .revocations
            .get(&no)
            .is_some_and(|entry| entry.is_open());
        if open && !self.desk.is_dirty(Slot::Revocation(no)) {
            self.revoke_shards(no);
            self.close(no);
        }
    }

    /// Stages the changes of shards that are free to change, a bounded number at once.
    fn revoke_shards(&mut self, no: RevNo) {
        let Some(entry) = self.revocations.get(&no) else {
            return;
        };
        let Some(record) = entry.record().cloned() else {
            return;
        };
        for (job, shard) in entry.todo.iter().copied().collect::<Vec<_>>() {
            if self.revoking.len() >= REVOKING_MAX {
                return;
            }
            self.revoke_shard(no, &record, job, shard);
        }
    }

    fn revoke_shard(
        &mut self,
        no: RevNo,
        revocation: &RevocationRecord,
        job: JobNo,
        shard: ShardId,
    ) {
        let slot = Slot::Shard(job, shard);
        let before = self.shard_record(job, shard);
        if !self.is_open(job) || !touches(revocation, &before) {
            return self.forget_revoked(no, job, shard);
        }
        let fall = Fall::of(revocation, &before, shard);
        let mut slots = fall.tombstones.iter().map(|id| Slot::Shard(job, *id));
        let free = self.desk.is_free(slot) && slots.all(|slot| self.desk.is_free(slot));
        if !free {
            return;
        }
        // A violation is counted, and the revocation stays open rather than lie.
        if let Some(unit) = self.fall_unit(job, shard, fall) {
            self.forget_revoked(no, job, shard);
            self.revoking.insert(slot, no);
            self.desk.stage(vec![unit], None);
        }
    }

    fn forget_revoked(&mut self, no: RevNo, job: JobNo, shard: ShardId) {
        if let Some(entry) = self.revocations.get_mut(&no) {
            entry.todo.remove(&(job, shard));
        }
    }

    /// One transaction for a shard and the escalation shards that fall with its parts: theirs first, since the shard's
    /// record is what makes them exist.
    fn fall_unit(&mut self, job: JobNo, shard: ShardId, fall: Fall) -> Option<Unit> {
        let mut changes = Vec::new();
        for id in fall.tombstones {
            let record = tombstone(&self.shard_record(job, id));
            if mutants::on(Mutant::EscalationKeyDeleted) {
                changes.extend(
                    self.removal_unit(job, id)
                        .into_iter()
                        .flat_map(|unit| unit.changes),
                );
                continue;
            }
            changes.extend(self.shard_unit(job, id, record).ok()?.changes);
        }
        let mut unit = self.shard_unit(job, shard, fall.after).ok()?;
        changes.append(&mut unit.changes);
        Some(Unit { changes, ..unit })
    }

    /// A shard's change is back: what was to be revoked in it is, or is tried again.
    pub(crate) fn revoking_ended(&mut self, slot: Slot, ended: &UnitEnd) {
        let (Some(no), Slot::Shard(job, shard)) = (self.revoking.remove(&slot), slot) else {
            return;
        };
        match ended {
            UnitEnd::Applied(_) => {}
            UnitEnd::Refused | UnitEnd::NotApplied(..) => {
                if let Some(entry) = self.revocations.get_mut(&no) {
                    entry.todo.insert((job, shard));
                }
            }
        }
    }

    /// Closes a revocation once nothing that it ends is stored or on its way.
    fn close(&mut self, no: RevNo) {
        let Some(entry) = self.revocations.get(&no) else {
            return;
        };
        let Some(record) = entry.record() else {
            return;
        };
        let on_its_way = |(job, pending): (JobNo, &ShardRecord)| {
            entry.jobs.contains(&job) && touches(record, pending)
        };
        let busy = self.revoking.values().any(|by| *by == no);
        let early = mutants::on(Mutant::RevocationClosesEarly);
        if !early && (busy || !entry.todo.is_empty() || self.desk.pending_shards().any(on_its_way))
        {
            return;
        }
        let closed = RevocationRecord {
            progress: Progress::Closed,
            ..record.clone()
        };
        if let Some(unit) = self.revocation_unit(no, closed) {
            self.desk.stage(vec![unit], None);
        }
    }

    /// A revocation is closed: its jobs may publish, and its node may work again.
    pub(crate) fn revocation_closed(&mut self, turn: &mut Turn<'_>, no: RevNo) {
        self.work += 1;
        self.going.remove(&no);
        let jobs = self.revocations.get(&no).map(|entry| entry.jobs.clone());
        for job in jobs.into_iter().flatten() {
            self.after_shard(turn, job);
        }
    }
}

/// What one shard's record becomes, and which escalation shards fall with it.
struct Fall {
    after: ShardRecord,
    tombstones: Vec<ShardId>,
}

impl Fall {
    fn of(revocation: &RevocationRecord, before: &ShardRecord, shard: ShardId) -> Self {
        let mut tombstones = Vec::new();
        let mut after = before.clone();
        let node = &revocation.node;
        if !mutants::on(Mutant::RevokedGrantKept) {
            after
                .grants
                .retain(|grant| grant.node != node.node || grant.tenant != node.tenant);
        }
        after.parts.retain(|part| {
            // What does not fit this write is found again when it is stored.
            let full = tombstones.len() >= TOMBSTONES_PER_WRITE_MAX;
            if !revocation.covers(part) || (full && part.kind == PartKind::Escalation) {
                return true;
            }
            if !mutants::on(Mutant::CascadeForgotten) {
                tombstones.extend(made_shard(shard, part));
            }
            false
        });
        Self { after, tombstones }
    }
}

/// The escalation shard that a part of a root shard makes, where it makes one.
pub(crate) fn made_shard(shard: ShardId, part: &Part) -> Option<ShardId> {
    match (shard, part.kind) {
        (ShardId::Root(root), PartKind::Escalation) => Some(ShardId::Escalation {
            root,
            attempt: part.attempt,
            first: part.tracks.first()?,
        }),
        (ShardId::Root(_) | ShardId::Escalation { .. }, _) => None,
    }
}

/// What stays at the key of an escalation shard whose part fell: its last attempt, so that no number is given twice and
/// its objects are known for orphans.
fn tombstone(before: &ShardRecord) -> ShardRecord {
    ShardRecord {
        standing: Standing::Tombstone,
        last_attempt: before.last_attempt,
        escalation: before.escalation,
        ..ShardRecord::default()
    }
}

impl crate::desk::Desk {
    /// Shard records on their way to the store, whether or not they have landed.
    pub(crate) fn pending_shards(&self) -> impl Iterator<Item = (JobNo, &ShardRecord)> {
        let going = self.groups.values().flat_map(|group| &group.units);
        let changes = self
            .queue
            .iter()
            .chain(going)
            .flat_map(|unit| &unit.changes);
        changes.filter_map(|change| match (change.slot, &change.record) {
            (Slot::Shard(job, _), Record::Shard(record)) => Some((job, record.as_ref())),
            _ => None,
        })
    }
}
