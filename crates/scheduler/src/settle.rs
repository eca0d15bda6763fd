//! What becomes of writes. Applied: the records are installed and the calls answered. Refused: a group is tried
//! again one by one, a single change is read and judged. Not applied: certainly nothing happened, so the callers
//! are told. Unknown: the keys stay parked until the outcome is settled.
//!
//! An unknown write is settled by the same transaction sent again: applied, it holds now and the first copy can no
//! longer land; refused, one of its compares has failed for good (revisions only rise, and no key is deleted while
//! its guards hold), so that a read then shows whether a copy had landed. A read alone settles nothing.

use crate::desk::{Change, Group, GroupStep, ReadFor, Record, Ticket, TicketNo, Unit, UnitEnd};
use crate::limits::{STORE_RETRY_FIRST, STORE_RETRY_MAX};
use crate::mutants::{self, Mutant};
use crate::record::{self, RecordError};
use crate::reign::{Reign, Turn};
use crate::state::{JobNo, Slot};
use crate::{
    Action, Outcome, ReadId, ReadOutcome, Reading, Refusal, Request, Revision, StepDown,
    StoredEntry, WriteId,
};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use types::{Code, Millis, Problem};

impl Reign {
    /// A write came back.
    pub(crate) fn written(&mut self, turn: &mut Turn<'_>, id: WriteId, outcome: Outcome) {
        let known = self.desk.groups.get(&id);
        if known.is_none_or(|group| group.step != GroupStep::Written) {
            return;
        }
        let Some(group) = self.desk.groups.remove(&id) else {
            return;
        };
        match outcome {
            Outcome::Applied { revision } if revision <= group.floor => {
                self.set_back(&group, revision);
            }
            Outcome::Applied { revision } => {
                self.hear(revision);
                self.store_trouble = None;
                self.store_failures = 0;
                self.settle(turn, group, |_| UnitEnd::Applied(revision));
            }
            Outcome::Refused(Refusal::Epoch) => self.over = Some(StepDown::EpochEnded),
            Outcome::Refused(Refusal::Key(_)) => self.refused(turn, id, group),
            Outcome::NotApplied { code, cause } if !group.doubt => {
                self.store_trouble = Some((code, cause.clone()));
                self.store_failures = self.store_failures.saturating_add(1);
                self.chores_hold = Some(turn.now + store_wait(self.store_failures));
                self.settle(turn, group, |_| UnitEnd::NotApplied(code, cause.clone()));
            }
            Outcome::NotApplied { code, cause } => {
                self.store_trouble = Some((code, cause));
                self.again(turn, id, group);
            }
            Outcome::Unknown { .. } if mutants::on(Mutant::UnknownIsDone) => {
                self.settle(turn, group, |_| UnitEnd::Applied(Revision(id.0)));
            }
            Outcome::Unknown { cause } if mutants::on(Mutant::UnknownIsRefused) => {
                let code = Code::StoreUnavailable;
                self.settle(turn, group, |_| UnitEnd::NotApplied(code, cause.clone()));
            }
            Outcome::Unknown { .. } if mutants::on(Mutant::ReadTrusted) => {
                self.read_group(turn, id, group);
            }
            Outcome::Unknown { cause } => {
                self.store_trouble = Some((Code::StoreUnavailable, cause));
                let group = Group {
                    doubt: true,
                    ..group
                };
                self.again(turn, id, group);
            }
        }
    }

    /// Parks a group until it is sent again.
    fn again(&mut self, turn: &Turn<'_>, id: WriteId, mut group: Group) {
        group.tries = group.tries.saturating_add(1);
        group.step = GroupStep::Again(turn.now + store_wait(group.tries));
        self.desk.groups.insert(id, group);
    }

    fn refused(&mut self, turn: &mut Turn<'_>, id: WriteId, group: Group) {
        if !group.doubt && group.units.len() > 1 {
            for unit in group.units.into_iter().rev() {
                self.desk.queue.push_front(Unit {
                    alone: true,
                    ..unit
                });
            }
            return;
        }
        self.read_group(turn, id, group);
    }

    fn read_group(&mut self, turn: &mut Turn<'_>, id: WriteId, mut group: Group) {
        group.step = GroupStep::Reading;
        group.floor = self.desk.heard;
        let own = group.units.iter().flat_map(|unit| &unit.changes);
        let jobs = group.units.iter().filter_map(|unit| unit.job.as_ref());
        let mut keys: Vec<String> = own
            .map(|change| change.path.clone())
            .chain(jobs.map(|guard| guard.path.clone()))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let read = self.desk.read_id(ReadFor::Group(id));
        turn.actions.push(Action::Read {
            id: read,
            reading: Reading::Keys(keys),
        });
        self.desk.groups.insert(id, group);
    }

    /// A read came back.
    pub(crate) fn read_back(&mut self, turn: &mut Turn<'_>, id: ReadId, outcome: ReadOutcome) {
        match self.desk.reads.remove(&id) {
            None => {}
            Some(ReadFor::Recovery) => self.recovery_page(turn, outcome),
            Some(ReadFor::Group(write)) => self.group_read(turn, write, outcome),
        }
    }

    fn group_read(&mut self, turn: &mut Turn<'_>, id: WriteId, outcome: ReadOutcome) {
        let Some(mut group) = self.desk.groups.remove(&id) else {
            return;
        };
        match outcome {
            ReadOutcome::Page { revision, .. } if revision < group.floor => {
                self.set_back(&group, revision);
            }
            ReadOutcome::Page {
                entries, revision, ..
            } => {
                self.hear(revision);
                self.judge(turn, group, entries, revision);
            }
            ReadOutcome::Compacted | ReadOutcome::Unavailable { .. } => {
                group.tries = group.tries.saturating_add(1);
                group.step = GroupStep::ReadAgain(turn.now + store_wait(group.tries));
                self.desk.groups.insert(id, group);
            }
            ReadOutcome::Damaged { key, cause } => {
                self.over = Some(StepDown::Unreadable { key, cause });
            }
        }
    }

    /// Decides unit by unit what a refused group came to, and takes over what the store holds where it is not ours.
    fn judge(
        &mut self,
        turn: &mut Turn<'_>,
        group: Group,
        entries: Vec<StoredEntry>,
        read: Revision,
    ) {
        let found: BTreeMap<String, StoredEntry> = entries
            .into_iter()
            .map(|entry| (entry.key.clone(), entry))
            .collect();
        let jobs: Vec<_> = group
            .units
            .iter()
            .filter_map(|unit| unit.job.clone())
            .collect();
        for guard in jobs {
            self.adopt(turn, Slot::Job(guard.job), &guard.path, &found, read);
        }
        for unit in &group.units {
            if landed(unit, &found).is_none() {
                for change in &unit.changes {
                    self.adopt(turn, change.slot, &change.path, &found, read);
                }
            }
        }
        self.settle(turn, group, |unit| {
            let not = match mutants::on(Mutant::ReadTrusted) {
                true => UnitEnd::NotApplied(Code::StoreUnavailable, String::new()),
                false => UnitEnd::Refused,
            };
            landed(unit, &found).map_or(not, UnitEnd::Applied)
        });
    }

    /// Installs what was read where its revision is news.
    fn adopt(
        &mut self,
        turn: &mut Turn<'_>,
        slot: Slot,
        path: &str,
        found: &BTreeMap<String, StoredEntry>,
        read: Revision,
    ) {
        // A job's record may have been put while the read was under way: what is known since then is later.
        let known = self.revision(slot);
        let Some(entry) = found.get(path) else {
            if known.is_none_or(|known| known <= read) {
                self.vanished(turn, slot, path);
            }
            return;
        };
        let stale = known.is_some_and(|known| known >= entry.revision);
        if stale && !mutants::on(Mutant::StaleAdopted) {
            return self.check_held(slot, entry);
        }
        match decode(slot, &entry.value) {
            Ok(record) => self.install(turn, slot, record, entry.revision),
            Err(cause) => {
                self.over = Some(StepDown::Unreadable {
                    key: path.to_string(),
                    cause: cause.to_string(),
                });
            }
        }
    }

    /// Ends all units of a group, then lets everything go on that waited for them.
    fn settle(&mut self, turn: &mut Turn<'_>, group: Group, end: impl Fn(&Unit) -> UnitEnd) {
        self.note_doubt(&group);
        let mut freed = Vec::new();
        let mut done = Vec::new();
        for unit in group.units {
            let ended = end(&unit);
            self.desk.clean(&unit);
            freed.extend(unit.changes.iter().map(|change| change.slot));
            let ticket = unit.ticket;
            self.unit_ended(turn, unit, &ended);
            done.extend(ticket.and_then(|ticket| self.count(ticket, ended)));
        }
        for ticket in done {
            self.finish(turn, ticket);
        }
        for slot in freed {
            self.freed(turn, slot);
        }
    }

    fn unit_ended(&mut self, turn: &mut Turn<'_>, unit: Unit, ended: &UnitEnd) {
        if matches!(ended, UnitEnd::Applied(_)) {
            self.audit(turn, &unit);
        }
        for change in unit.changes {
            if let (Slot::Shard(job, _), None) = (change.slot, &change.value) {
                self.removal_ended(job);
            }
            self.planned.settle(change.slot);
            self.chores_ended(change.slot, ended);
            self.revoking_ended(change.slot, ended);
            let revocation = match change.slot {
                Slot::Revocation(no) => Some(no),
                Slot::Job(_) | Slot::Node(_) | Slot::Shard(..) => None,
            };
            match ended {
                UnitEnd::Applied(revision) => {
                    self.install(turn, change.slot, change.record, *revision);
                }
                UnitEnd::Refused | UnitEnd::NotApplied(..) => self.not_installed(&change),
            }
            if let Some(no) = revocation {
                self.revocation_ended(turn, no, ended);
            }
        }
    }

    fn removal_ended(&mut self, no: JobNo) {
        if let Some(job) = self.jobs.get_mut(&no) {
            job.removing = job.removing.saturating_sub(1);
        }
    }

    /// Forgets a job or node that never came to be.
    fn not_installed(&mut self, change: &Change) {
        match change.slot {
            Slot::Job(no) => {
                if let Some(job) = self.jobs.get(&no).filter(|job| job.stored.is_none()) {
                    self.job_names.remove(&job.key);
                    self.job_ids.remove(&job.key.job);
                    self.jobs.remove(&no);
                }
            }
            Slot::Node(no) => {
                if let Some(node) = self.nodes.get(&no).filter(|node| node.stored.is_none()) {
                    self.node_names.remove(&node.key);
                    self.nodes.remove(&no);
                }
            }
            Slot::Shard(..) | Slot::Revocation(_) => {}
        }
    }

    fn count(&mut self, no: TicketNo, ended: UnitEnd) -> Option<Ticket> {
        let ticket = self.desk.tickets.get_mut(&no)?;
        match ended {
            UnitEnd::Applied(_) => ticket.applied += 1,
            UnitEnd::Refused => ticket.refused += 1,
            UnitEnd::NotApplied(code, cause) => ticket.failed = Some((code, cause)),
        }
        ticket.open -= 1;
        if ticket.open > 0 {
            return None;
        }
        self.desk.tickets.remove(&no)
    }

    /// All writes of a call are back.
    fn finish(&mut self, turn: &mut Turn<'_>, ticket: Ticket) {
        let Ticket {
            asked,
            applied,
            refused,
            failed,
            ..
        } = ticket;
        let whole = refused == 0 && failed.is_none();
        let some = applied > 0 && matches!(*asked.request, Request::Pull(_));
        if whole || some {
            return self.stored(turn, &asked);
        }
        let failed = failed.map(|(code, cause)| Problem::new(code, cause));
        self.unstored(turn, &asked, failed.as_ref());
        match failed {
            Some(problem) => turn.answer(asked.call, Err(problem)),
            None => self.call(turn, asked),
        }
    }

    /// A record may change again: calls that waited go first, then what the core itself wants of it.
    ///
    /// What a revocation ends goes before them all: a commit that is let in first is only taken back.
    pub(crate) fn freed(&mut self, turn: &mut Turn<'_>, slot: Slot) {
        match slot {
            Slot::Shard(job, _) | Slot::Job(job) => self.go_on_revoking(Some(job)),
            Slot::Revocation(_) => self.go_on_revoking(None),
            Slot::Node(_) => {}
        }
        for asked in self.desk.released(slot) {
            self.call(turn, asked);
        }
        match slot {
            Slot::Shard(job, _) => {
                self.chore(slot);
                self.after_shard(turn, job);
            }
            Slot::Job(job) => {
                self.job_chores(job);
                self.trim_jobs();
                self.after_shard(turn, job);
            }
            Slot::Node(_) | Slot::Revocation(_) => {}
        }
    }

    /// Sends groups again whose time has come.
    pub(crate) fn repeat_groups(&mut self, turn: &mut Turn<'_>) {
        let due: Vec<WriteId> = self
            .desk
            .groups
            .iter()
            .filter(|(_, group)| group.step.due().is_some_and(|at| at <= turn.now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(group) = self.desk.groups.remove(&id) else {
                continue;
            };
            match group.step {
                GroupStep::Again(_) => self.desk.write(self.epoch, group, turn.actions),
                GroupStep::ReadAgain(_) => self.read_group(turn, id, group),
                GroupStep::Written | GroupStep::Reading => {
                    self.desk.groups.insert(id, group);
                }
            }
        }
    }

    pub(crate) fn groups_deadline(&self) -> Option<Millis> {
        self.desk
            .groups
            .values()
            .filter_map(|group| group.step.due())
            .min()
    }

    pub(crate) fn revision(&self, slot: Slot) -> Option<Revision> {
        match slot {
            Slot::Job(no) => self.jobs.get(&no)?.stored.as_ref().map(|s| s.revision),
            Slot::Node(no) => self.nodes.get(&no)?.stored.as_ref().map(|s| s.revision),
            Slot::Shard(no, shard) => {
                let shard = self.jobs.get(&no)?.shards.get(&shard)?;
                Some(shard.stored.revision)
            }
            Slot::Revocation(no) => {
                let entry = self.revocations.get(&no)?;
                entry.stored.as_ref().map(|s| s.revision)
            }
        }
    }
}

impl GroupStep {
    const fn due(self) -> Option<Millis> {
        match self {
            Self::Again(at) | Self::ReadAgain(at) => Some(at),
            Self::Written | Self::Reading => None,
        }
    }
}

/// The revision at which all changes of a unit stand in the store, where they do: our value, at another revision
/// than the one compared.
fn landed(unit: &Unit, found: &BTreeMap<String, StoredEntry>) -> Option<Revision> {
    let mut at = None;
    for change in &unit.changes {
        let entry = found.get(&change.path);
        match (&change.value, entry) {
            (None, None) => at = at.or(change.guard),
            (Some(value), Some(entry))
                if entry.value == *value && Some(entry.revision) != change.guard =>
            {
                at = Some(entry.revision);
            }
            (None | Some(_), _) => return None,
        }
    }
    at
}

pub(crate) fn decode(slot: Slot, value: &[u8]) -> Result<Record, RecordError> {
    Ok(match slot {
        Slot::Job(_) => Record::Job(Box::new(record::decode(value)?)),
        Slot::Node(_) => Record::Node(Box::new(record::decode(value)?)),
        Slot::Revocation(_) => Record::Revocation(Box::new(record::decode(value)?)),
        Slot::Shard(..) => {
            let shard: record::ShardRecord = record::decode(value)?;
            shard.check()?;
            Record::Shard(Box::new(shard))
        }
    })
}

/// Wait before try number `tries + 1`.
pub(crate) fn store_wait(tries: u32) -> Millis {
    doubled(STORE_RETRY_FIRST, STORE_RETRY_MAX, tries)
}

/// `first`, doubled with each try after the first, at most `max`.
pub(crate) fn doubled(first: Millis, max: Millis, tries: u32) -> Millis {
    let factor = 1u64 << tries.saturating_sub(1).min(32);
    Millis(first.0.saturating_mul(factor).min(max.0))
}
