//! Where changes of records wait for the store. A change is staged, cut into a group, written, and only then
//! installed; until it is back its slot is *dirty* and every other change of that record waits.
//!
//! A group is one transaction: the epoch leads, each job record stands at the revision last read, and each record
//! changed stands at the revision last read. While groups are under way further changes gather for the next one,
//! so that one synced write carries many changes under load. Called by the reign; decides nothing about records.

use crate::event::{CallId, Caller, ReadId, Revision, WriteId};
use crate::limits::{
    GROUP_BYTES_MAX, GROUP_OPS_MAX, GROUPS_IN_FLIGHT_MAX, WAITING_MAX, WAITING_PER_RECORD_MAX,
};
use crate::mutants::{self, Mutant};
use crate::record::{JobRecord, NodeRecord, RevocationRecord, ShardRecord};
use crate::state::{JobNo, Slot};
use crate::{Action, Compare, Op, Request, Txn, What};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use types::{Code, Epoch, Millis, UnixMillis};

/// A record of any kind.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    Job(Box<JobRecord>),
    Node(Box<NodeRecord>),
    Shard(Box<ShardRecord>),
    Revocation(Box<RevocationRecord>),
    /// The key is removed.
    Gone,
}

/// One record's change.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) slot: Slot,
    pub(crate) path: String,
    /// The revision it must stand at; `None` where the key must be absent.
    pub(crate) guard: Option<Revision>,
    /// The stored form; `None` removes the key.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) record: Record,
    /// What it changes of the record at that revision, for the audit trail: a read on its way may install it before its
    /// outcome is known.
    pub(crate) says: Vec<What>,
}

/// Changes that happen together or not at all, with the job record they rest on.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) changes: Vec<Change>,
    pub(crate) job: Option<JobGuard>,
    pub(crate) ticket: Option<TicketNo>,
    /// To be written in a group of its own: its last group was refused.
    pub(crate) alone: bool,
}

/// A job record at the revision last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobGuard {
    pub(crate) job: JobNo,
    pub(crate) path: String,
    pub(crate) revision: Revision,
}

/// One transaction under way.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) units: Vec<Unit>,
    /// Some copy of it ended unknown and may have landed, or may still.
    pub(crate) doubt: bool,
    pub(crate) tries: u32,
    pub(crate) step: GroupStep,
    /// The highest revision that was known as it was last sent or read: no answer to that lies below it.
    pub(crate) floor: Revision,
}

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupStep {
    /// Written; not back.
    Written,
    /// Its keys are read to see what landed.
    Reading,
    /// To be repeated at that time.
    Again(Millis),
    /// Its keys are to be read again at that time.
    ReadAgain(Millis),
}

/// A call whose answer waits for writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TicketNo(pub(crate) u64);

/// A call as it came, kept so that it can be tried again.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) call: CallId,
    pub(crate) caller: Caller,
    pub(crate) at: UnixMillis,
    pub(crate) request: Box<Request>,
    pub(crate) tries: u8,
}

/// How many of a call's units are still out, and how the others ended.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) asked: Asked,
    pub(crate) open: usize,
    pub(crate) applied: usize,
    pub(crate) refused: usize,
    pub(crate) failed: Option<(Code, String)>,
}

/// How a unit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UnitEnd {
    Applied(Revision),
    Refused,
    NotApplied(Code, String),
}

/// What a read under way is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadFor {
    Recovery,
    Group(WriteId),
}

/// Staged changes, groups under way, and calls that wait.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) queue: VecDeque<Unit>,
    pub(crate) groups: BTreeMap<WriteId, Group>,
    pub(crate) reads: BTreeMap<ReadId, ReadFor>,
    dirty: BTreeSet<Slot>,
    pub(crate) tickets: BTreeMap<TicketNo, Ticket>,
    waiting: BTreeMap<Slot, VecDeque<Asked>>,
    waiting_count: usize,
    last_id: u64,
    /// The highest revision that the store has shown.
    pub(crate) heard: Revision,
}

impl Desk {
    /// A desk whose numbers continue after `last_id`, so that nothing late of an earlier reign is mistaken.
    pub(crate) fn new(last_id: u64) -> Self {
        Self {
            last_id,
            ..Self::default()
        }
    }

    pub(crate) const fn last_id(&self) -> u64 {
        self.last_id
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(crate) fn read_id(&mut self, purpose: ReadFor) -> ReadId {
        let id = ReadId(self.next_id());
        self.reads.insert(id, purpose);
        id
    }

    pub(crate) fn is_dirty(&self, slot: Slot) -> bool {
        self.dirty.contains(&slot)
    }

    /// Whether the record, and the job record it rests on, may change now.
    pub(crate) fn is_free(&self, slot: Slot) -> bool {
        !self.is_dirty(slot) && slot.job().is_none_or(|job| !self.is_dirty(Slot::Job(job)))
    }

    /// Whether any record of the job is dirty.
    pub(crate) fn job_is_dirty(&self, job: JobNo) -> bool {
        self.dirty.iter().any(|slot| slot.job() == Some(job))
    }

    /// Stages units, all for one call where there is one.
    pub(crate) fn stage(&mut self, units: Vec<Unit>, asked: Option<Asked>) {
        let ticket = asked.map(|asked| self.ticket(asked, units.len()));
        for mut unit in units {
            unit.ticket = ticket;
            for change in &unit.changes {
                let fresh = self.dirty.insert(change.slot);
                debug_assert!(fresh, "a dirty record is not changed again");
            }
            self.queue.push_back(unit);
        }
    }

    fn ticket(&mut self, asked: Asked, open: usize) -> TicketNo {
        let no = TicketNo(self.next_id());
        let ticket = Ticket {
            asked,
            open,
            applied: 0,
            refused: 0,
            failed: None,
        };
        self.tickets.insert(no, ticket);
        no
    }

    /// Lets a call wait for a record; gives it back where too many wait.
    pub(crate) fn wait(&mut self, slot: Slot, asked: Asked) -> Result<(), Asked> {
        let line = self.waiting.entry(slot).or_default();
        if line.len() >= WAITING_PER_RECORD_MAX || self.waiting_count >= WAITING_MAX {
            return Err(asked);
        }
        line.push_back(asked);
        self.waiting_count += 1;
        Ok(())
    }

    /// The calls that waited for a record, in their order.
    pub(crate) fn released(&mut self, slot: Slot) -> VecDeque<Asked> {
        let line = self.waiting.remove(&slot).unwrap_or_default();
        self.waiting_count -= line.len();
        line
    }

    /// Marks the records of a unit clean.
    pub(crate) fn clean(&mut self, unit: &Unit) {
        for change in &unit.changes {
            self.dirty.remove(&change.slot);
        }
    }

    /// Every call that has no answer yet, for a step-down.
    pub(crate) fn unanswered(&mut self) -> Vec<CallId> {
        let tickets = core::mem::take(&mut self.tickets).into_values();
        let waiting = core::mem::take(&mut self.waiting).into_values().flatten();
        let mut calls: Vec<CallId> = tickets
            .map(|ticket| ticket.asked.call)
            .chain(waiting.map(|asked| asked.call))
            .collect();
        calls.sort_unstable();
        calls
    }

    /// Cuts groups from the queue while fewer than the bound are under way.
    pub(crate) fn cut(&mut self, epoch: Epoch, actions: &mut Vec<Action>) {
        while self.groups.len() < GROUPS_IN_FLIGHT_MAX && !self.queue.is_empty() {
            let units = cut_one(&mut self.queue);
            let group = Group {
                units,
                doubt: false,
                tries: 0,
                step: GroupStep::Written,
                floor: self.heard,
            };
            self.write(epoch, group, actions);
        }
    }

    /// Sends a group, for the first time or again.
    pub(crate) fn write(&mut self, epoch: Epoch, mut group: Group, actions: &mut Vec<Action>) {
        let id = WriteId(self.next_id());
        group.step = GroupStep::Written;
        group.floor = self.heard;
        actions.push(Action::Write {
            id,
            txn: transaction(epoch, &group.units),
        });
        self.groups.insert(id, group);
    }
}

/// Takes units from the queue that fit one transaction: at least one.
fn cut_one(queue: &mut VecDeque<Unit>) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut guards: BTreeMap<Slot, Option<Revision>> = BTreeMap::new();
    let mut bytes = 0usize;
    while let Some(next) = queue.front() {
        bytes += next.bytes();
        let compares = next.compares();
        let agrees = |(slot, guard)| guards.get(slot).is_none_or(|seen| seen == guard);
        let more = compares
            .iter()
            .filter(|(slot, _)| !guards.contains_key(slot));
        let fits = guards.len() + more.count() <= GROUP_OPS_MAX && bytes <= GROUP_BYTES_MAX;
        let fits = fits || mutants::on(Mutant::GroupUncut);
        let joins = fits && !next.alone && compares.iter().all(agrees);
        if !units.is_empty() && !joins {
            break;
        }
        let alone = next.alone;
        guards.extend(compares);
        units.extend(queue.pop_front());
        if alone {
            break;
        }
    }
    units
}

impl Unit {
    /// A change of one record.
    pub(crate) fn one(change: Change, job: Option<JobGuard>) -> Self {
        Self {
            changes: alloc::vec![change],
            job,
            ticket: None,
            alone: false,
        }
    }

    fn bytes(&self) -> usize {
        let value = |change: &Change| change.value.as_ref().map_or(0, Vec::len);
        self.changes
            .iter()
            .map(|change| change.path.len() * 2 + value(change))
            .sum()
    }

    /// Every record that the unit compares, with the revision.
    fn compares(&self) -> BTreeMap<Slot, Option<Revision>> {
        let job = self.job.iter();
        let job = job.map(|guard| (Slot::Job(guard.job), Some(guard.revision)));
        let own = self
            .changes
            .iter()
            .map(|change| (change.slot, change.guard));
        job.chain(own).collect()
    }
}

/// The transaction of some units: each key compared once, each change put once.
fn transaction(epoch: Epoch, units: &[Unit]) -> Txn {
    let mut compares = BTreeMap::new();
    let mut ops = Vec::new();
    for unit in units {
        if let Some(guard) = &unit.job
            && !mutants::on(Mutant::JobUnguarded)
        {
            compares.insert(guard.path.clone(), Some(guard.revision));
        }
        for change in &unit.changes {
            compares.insert(change.path.clone(), change.guard);
            let key = change.path.clone();
            ops.push(match &change.value {
                Some(value) => Op::Put {
                    key,
                    value: value.clone(),
                },
                None => Op::Delete { key },
            });
        }
    }
    let compare = |(key, guard)| match guard {
        Some(revision) => Compare::At { key, revision },
        None => Compare::Absent { key },
    };
    Txn {
        epoch,
        compares: compares.into_iter().map(compare).collect(),
        ops,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;
    use types::ShardId;

    const JOB: JobNo = JobNo(0);

    /// A change of a shard that stores so many bytes, under its job's record.
    fn unit(shard: u32, bytes: usize) -> Unit {
        let change = Change {
            slot: Slot::Shard(JOB, ShardId::Root(shard)),
            path: format!("shard/{shard:010}"),
            guard: Some(Revision(1)),
            value: Some(vec![0; bytes]),
            record: Record::Gone,
            says: Vec::new(),
        };
        let job = JobGuard {
            job: JOB,
            path: "job".into(),
            revision: Revision(1),
        };
        Unit::one(change, Some(job))
    }

    /// The transactions that a leader sends at once for that many changes of that many bytes.
    fn sent(changes: u32, bytes: usize) -> Vec<Txn> {
        let mut desk = Desk::default();
        let units = (0..changes).map(|shard| unit(shard, bytes)).collect();
        desk.stage(units, None);
        let mut actions = Vec::new();
        desk.cut(Epoch(1), &mut actions);
        let txn = |action| {
            let Action::Write { txn, .. } = action else {
                panic!("a desk asks for {action:?}");
            };
            txn
        };
        actions.into_iter().map(txn).collect()
    }

    #[test]
    fn a_group_is_cut_where_one_more_key_would_be_compared_than_a_transaction_may_beside_its_epoch()
    {
        for (changes, compared) in [
            // One of them is the job's record, on which all of them rest.
            (126, &[127][..]),
            (127, &[127, 2]),
            (252, &[127, 127]),
            (253, &[127, 127, 2]),
        ] {
            let sent = sent(changes, 100);
            let compares: Vec<usize> = sent.iter().map(|txn| txn.compares.len()).collect();
            assert_eq!(compares, compared, "{changes} changes");
            let ops: usize = sent.iter().map(|txn| txn.ops.len()).sum();
            assert_eq!(ops, changes as usize, "each is written once");
        }
    }

    #[test]
    fn a_group_is_cut_where_its_records_would_pass_a_mebibyte_and_one_that_does_alone_goes_alone() {
        let quarter = GROUP_BYTES_MAX / 4 - 2 * "shard/0000000000".len();
        for (changes, bytes, written) in [
            (4, quarter, &[4][..]),
            (5, quarter, &[4, 1]),
            (4, quarter + 1, &[3, 1]),
            (2, GROUP_BYTES_MAX + 1, &[1, 1]),
        ] {
            let sent = sent(changes, bytes);
            let ops: Vec<usize> = sent.iter().map(|txn| txn.ops.len()).collect();
            assert_eq!(ops, written, "{changes} changes of {bytes} bytes");
        }
    }
}
