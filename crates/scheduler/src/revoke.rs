//! Revoking, from the call to the stored intent: what a device made in a span of time is not to count. First an object
//! in storage, which a rebuild honours; then the intent, in one transaction that also puts each job record it names, so
//! that an intent of unknown outcome parks publish. What follows in the shards is `revoking`'s.
//!
//! From the call on no named job begins to publish and the node is given nothing new, so that the set of jobs that may
//! hold what is revoked cannot grow. A call whose object or intent cannot be written is told so, and nothing is held.

use crate::desk::{Asked, Change, Record, Unit, UnitEnd};
use crate::event::{Revoke, StorageOutcome};
use crate::invariants::{Seen, says};
use crate::key::RecordKey;
use crate::limits::{DEVICE_NAME_BYTES_MAX, REVOCATIONS_MAX, REVOKED_JOBS_MAX};
use crate::mutants::{self, Mutant};
use crate::record::{self, Progress, RevocationRecord, ShardRecord};
use crate::reign::{Reign, Step, Turn, overloaded};
use crate::routing::works_for;
use crate::state::{Job, JobNo, RevNo, RevStep, Revocation, Slot};
use crate::{Action, Answer, JobKey, NodeKey, RevocationKey};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use types::{Code, Problem, TenantId};

/// Calls that may ask for one revocation while its intent is on its way: more than people do, fewer than a loop.
const SAME_REVOCATIONS_MAX: usize = 16;

impl Reign {
    pub(crate) fn revoke(&mut self, turn: &mut Turn<'_>, asked: &Asked, wish: &Revoke) -> Step {
        let key = RevocationKey {
            tenant: asked.caller.tenant.clone(),
            revocation: wish.revocation.clone(),
        };
        if let Err(what) = span_fits(wish) {
            return Step::refuse(Code::InvalidRequest, format!("revoke `{key}`: {what}"));
        }
        let record = self.wished(asked, wish);
        if let Some(no) = self.revocation_names.get(&key).copied() {
            return self.revoked_before(no, asked, &record);
        }
        if !self.may_be_revoked(&record) {
            return Step::refuse(Code::NotFound, format!("find node `{}`", record.node));
        }
        if record.jobs.len() > REVOKED_JOBS_MAX || self.revocations.len() >= REVOCATIONS_MAX {
            let what = format!(
                "revoke `{key}`: more than {REVOKED_JOBS_MAX} jobs or {REVOCATIONS_MAX} revocations"
            );
            return Step::refuse(Code::Overloaded, what);
        }
        self.begin_marking(turn, key, record, asked);
        Step::Held
    }

    /// What a call asks for, with the jobs that may hold it.
    fn wished(&self, asked: &Asked, wish: &Revoke) -> RevocationRecord {
        let mut record = RevocationRecord {
            node: NodeKey {
                tenant: asked.caller.tenant.clone(),
                node: wish.node.clone(),
            },
            device: wish.device.clone(),
            from: wish.from,
            to: wish.to,
            jobs: Vec::new(),
            progress: Progress::Open,
            by: asked.caller.actor.clone(),
            at: asked.at,
            reason: crate::cancel::shortened(&wish.reason),
        };
        record.jobs = self.jobs_touched(&record);
        record
    }

    /// Whether the node is the caller's: one that is known, or one of the fleet that was dropped and left parts. Parts do
    /// not say whose node made them, so that a tenant may not name one that it never had.
    fn may_be_revoked(&self, record: &RevocationRecord) -> bool {
        let fleet = record.node.tenant == TenantId::default();
        self.node_names.contains_key(&record.node) || (fleet && !record.jobs.is_empty())
    }

    /// Open jobs that the node works for and that hold a part or grant which the revocation ends, or may hold one by a
    /// write under way.
    fn jobs_touched(&self, record: &RevocationRecord) -> Vec<JobKey> {
        let pending = self.desk.pending_shards();
        let pending = pending.filter(|(_, shard)| touches(record, shard));
        let pending: BTreeSet<JobNo> = pending.map(|(job, _)| job).collect();
        let holds = |no: &JobNo, job: &Job| {
            let mut shards = job.shards.values();
            let held = shards.any(|shard| touches(record, &shard.stored.record));
            pending.contains(no) || held
        };
        let open = self
            .jobs
            .iter()
            .filter(|(_, job)| job.is_open() && works_for(&record.node, &job.key));
        let touched = open.filter(|(no, job)| holds(no, job));
        touched.map(|(_, job)| job.key.clone()).collect()
    }

    fn revoked_before(&mut self, no: RevNo, asked: &Asked, wish: &RevocationRecord) -> Step {
        let Some(known) = self.revocations.get_mut(&no) else {
            return Step::Answer(Err(overloaded()));
        };
        if !known.record().is_some_and(|record| record.same_span(wish)) {
            let what = format!("revoke `{}`: another revocation has this name", known.key);
            return Step::refuse(Code::AlreadyExists, what);
        }
        if known.stored.is_some() {
            return Step::Answer(Ok(known.answer(true)));
        }
        if known.calls.len() >= SAME_REVOCATIONS_MAX {
            return Step::Answer(Err(overloaded()));
        }
        known.calls.push(asked.call);
        Step::Held
    }

    fn begin_marking(
        &mut self,
        turn: &mut Turn<'_>,
        key: RevocationKey,
        record: RevocationRecord,
        asked: &Asked,
    ) {
        turn.actions.push(Action::MarkRevoked {
            revocation: key.clone(),
            record: Box::new(record.clone()),
        });
        self.trim_revocations();
        let no = self.revocation_entry(&key);
        let jobs = self.named_jobs(&record);
        if let Some(entry) = self.revocations.get_mut(&no) {
            entry.asked = Some(record);
            entry.jobs = jobs;
            entry.calls = vec![asked.call];
        }
    }

    /// The numbers of the jobs that a revocation names, as far as they are known.
    pub(crate) fn named_jobs(&self, record: &RevocationRecord) -> BTreeSet<JobNo> {
        let known = record.jobs.iter().filter_map(|job| self.job_no(job));
        known.collect()
    }

    /// The number of a revocation that may not be stored yet.
    pub(crate) fn revocation_entry(&mut self, key: &RevocationKey) -> RevNo {
        if let Some(no) = self.revocation_names.get(key) {
            return *no;
        }
        let no = RevNo(self.next_no());
        self.going.insert(no);
        self.revocation_names.insert(key.clone(), no);
        self.revocations.insert(no, Revocation::new(key.clone()));
        no
    }

    /// The object was put, or was not.
    pub(crate) fn revocation_marked(
        &mut self,
        turn: &mut Turn<'_>,
        key: &RevocationKey,
        outcome: StorageOutcome<()>,
    ) {
        let Some(no) = self.revocation_names.get(key).copied() else {
            return;
        };
        let Some(entry) = self.revocations.get_mut(&no) else {
            return;
        };
        if entry.step != RevStep::Marking || entry.stored.is_some() {
            return;
        }
        match outcome {
            StorageOutcome::Done(()) => {
                entry.step = RevStep::Marked;
                self.stage_intent(no);
            }
            StorageOutcome::Failed { code, cause } => {
                let what = format!("mark what `{key}` revokes: {cause}");
                self.intent_dropped(turn, no, &Problem::new(code, what));
            }
        }
    }

    /// Stages the intent once each job record that it names is free to be put.
    pub(crate) fn stage_intent(&mut self, no: RevNo) {
        let Some(entry) = self.revocations.get(&no) else {
            return;
        };
        let busy = |job: &JobNo| self.desk.is_dirty(Slot::Job(*job));
        if entry.step != RevStep::Marked || entry.stored.is_some() || entry.jobs.iter().any(busy) {
            return;
        }
        let jobs = entry.jobs.iter().copied();
        let open: Vec<JobNo> = jobs.filter(|job| self.is_open(*job)).collect();
        let Some(mut record) = entry.asked.clone() else {
            return;
        };
        if open.is_empty() {
            record.progress = Progress::Closed;
        }
        let Some(mut unit) = self.revocation_unit(no, record) else {
            return;
        };
        for job in open
            .into_iter()
            .filter(|_| !mutants::on(Mutant::IntentAlone))
        {
            unit.changes.extend(self.same_job(job));
        }
        if let Some(entry) = self.revocations.get_mut(&no) {
            entry.step = RevStep::Staged;
        }
        self.desk.stage(vec![unit], None);
    }

    /// A job's record put again with the same value: its new revision refuses whatever rests on the old one.
    fn same_job(&self, no: JobNo) -> Option<Change> {
        let record = self.jobs.get(&no)?.record()?.clone();
        self.job_unit(no, record)?.changes.pop()
    }

    /// A change of a revocation's record.
    pub(crate) fn revocation_unit(&self, no: RevNo, record: RevocationRecord) -> Option<Unit> {
        let entry = self.revocations.get(&no)?;
        let before = entry.stored.as_ref();
        let before = before.map(|stored| Seen::Revocation(&stored.record));
        let change = Change {
            slot: Slot::Revocation(no),
            path: RecordKey::Revocation(entry.key.clone()).path(self.generation),
            guard: entry.stored.as_ref().map(|stored| stored.revision),
            value: Some(record::encode(&record)),
            says: says(before, Some(Seen::Revocation(&record))),
            record: Record::Revocation(Box::new(record)),
        };
        Some(Unit::one(change, None))
    }

    /// The write of a revocation's record is back: the intent, or its closing.
    pub(crate) fn revocation_ended(&mut self, turn: &mut Turn<'_>, no: RevNo, ended: &UnitEnd) {
        let Some(entry) = self.revocations.get_mut(&no) else {
            return;
        };
        match ended {
            _ if entry.stored.is_some() => {
                entry.step = RevStep::Stored;
                let answer = entry.answer(false);
                for call in core::mem::take(&mut entry.calls) {
                    turn.answer(call, Ok(answer.clone()));
                }
            }
            UnitEnd::Applied(_) | UnitEnd::Refused => entry.step = RevStep::Marked,
            UnitEnd::NotApplied(code, cause) => {
                let problem = Problem::new(*code, cause.clone());
                self.intent_dropped(turn, no, &problem);
            }
        }
    }

    /// The intent was certainly not written: whoever asked is told, and nothing is held any longer.
    fn intent_dropped(&mut self, turn: &mut Turn<'_>, no: RevNo, why: &Problem) {
        let Some(entry) = self.revocations.remove(&no) else {
            return;
        };
        self.revocation_names.remove(&entry.key);
        self.going.remove(&no);
        for call in entry.calls {
            turn.answer(call, Err(why.clone()));
        }
        self.work += 1;
        for job in entry.jobs {
            self.after_shard(turn, job);
        }
    }

    pub(crate) fn is_open(&self, no: JobNo) -> bool {
        self.jobs.get(&no).is_some_and(Job::is_open)
    }
}

/// Whether a record holds a part or a live grant that the revocation ends.
pub(crate) fn touches(revocation: &RevocationRecord, record: &ShardRecord) -> bool {
    let node = &revocation.node;
    let theirs = |grant: &record::Grant| grant.node == node.node && grant.tenant == node.tenant;
    let grants = record.grants.iter().any(theirs) && !mutants::on(Mutant::RevokedGrantKept);
    grants || record.parts.iter().any(|part| revocation.covers(part))
}

fn span_fits(wish: &Revoke) -> Result<(), &'static str> {
    if wish.from > wish.to {
        return Err("the span ends before it begins");
    }
    let named = |name: &alloc::string::String| (1..=DEVICE_NAME_BYTES_MAX).contains(&name.len());
    if wish.device.as_ref().is_some_and(|name| !named(name)) {
        return Err("a device's name has 1 to 64 bytes");
    }
    Ok(())
}

impl Revocation {
    /// What the call that asked for it hears.
    fn answer(&self, existing: bool) -> Answer {
        Answer::Revoked {
            revocation: self.key.clone(),
            jobs: self.record().map_or(0, |record| record.jobs.len()),
            existing,
        }
    }
}
