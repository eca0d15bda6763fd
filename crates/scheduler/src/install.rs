//! What follows from a record being stored: the derived state beside it (tallies, queues, holdings) and the next
//! step of its job. Called for every record that was written or read; the only place where stored state changes.

use crate::backoff;
use crate::chores::Withdrawal;
use crate::desk::Record;
use crate::limits::{GRANT_LIVES, GRANTS_PER_SHARD_MAX};
use crate::mutants::{self, Mutant};
use crate::pulled::flush;
use crate::record::{
    Death, Grant, JobRecord, JobState, NodeRecord, PartKind, RevocationRecord, ShardRecord,
    Standing,
};
use crate::reign::{Reign, Turn};
use crate::revoking::made_shard;
use crate::state::{
    EscalationPart, GrantId, Holding, Job, JobNo, Node, NodeNo, RevNo, Shard, Slot, Terms,
    Versioned,
};
use crate::tally;
use crate::{Flush, JobKey, NodeKey, Revision, StepDown};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;
use types::{Attempt, Millis, Range, Session, ShardId, TrackSet};

impl Reign {
    /// Takes a record as stored.
    pub(crate) fn install(
        &mut self,
        turn: &mut Turn<'_>,
        slot: Slot,
        record: Record,
        revision: Revision,
    ) {
        match (slot, record) {
            (Slot::Job(no), Record::Job(record)) => self.install_job(turn, no, *record, revision),
            (Slot::Node(no), Record::Node(record)) => self.install_node(no, *record, revision),
            (Slot::Shard(no, shard), Record::Shard(record)) => {
                self.install_shard(turn.now, no, shard, *record, revision);
                self.seen(no, revision);
            }
            (Slot::Revocation(no), Record::Revocation(record)) => {
                self.install_revocation(turn, no, *record, revision);
            }
            (Slot::Shard(no, shard), Record::Gone) => self.remove_shard(no, shard),
            (Slot::Job(no), Record::Gone) => self.remove_job(no),
            (Slot::Node(no), Record::Gone) => self.remove_node(no),
            (Slot::Revocation(no), Record::Gone) => self.remove_revocation(no),
            (Slot::Job(_) | Slot::Node(_) | Slot::Shard(..) | Slot::Revocation(_), _) => {
                debug_assert!(false, "a slot holds records of its own kind");
            }
        }
    }

    /// A key is not in the store. Where a record of it was known, and is not of a closed job, somebody else wrote to
    /// the store: nothing is safe to decide any more.
    pub(crate) fn vanished(&mut self, turn: &mut Turn<'_>, slot: Slot, path: &str) {
        let job = |no: JobNo| self.jobs.get(&no);
        let lost = match slot {
            Slot::Job(no) => job(no).is_some_and(|job| job.stored.is_some()),
            Slot::Node(no) => self
                .nodes
                .get(&no)
                .is_some_and(|node| node.stored.is_some()),
            Slot::Revocation(no) => self
                .revocations
                .get(&no)
                .is_some_and(|entry| entry.stored.is_some()),
            Slot::Shard(no, shard) => job(no).is_some_and(|job| {
                let closed = job.record().is_some_and(|record| record.state.is_closed());
                job.shards.contains_key(&shard) && !closed
            }),
        };
        if lost {
            self.over = Some(StepDown::Unreadable {
                key: path.to_string(),
                cause: "the record is gone".to_string(),
            });
        } else if !matches!(slot, Slot::Revocation(_)) {
            // An intent that was never stored is not gone: it is staged again, and whoever asked for it waits.
            self.install(turn, slot, Record::Gone, Revision(0));
        }
    }

    /// Whether a job of another tenant has this name.
    pub(crate) fn is_name_of_other(&self, key: &JobKey) -> bool {
        self.job_ids.contains_key(&key.job) && !self.job_names.contains_key(key)
    }

    /// The number of a job that may not be stored yet.
    pub(crate) fn job_entry(&mut self, key: &JobKey) -> JobNo {
        if let Some(no) = self.job_names.get(key) {
            return *no;
        }
        let no = JobNo(self.next_no());
        self.job_names.insert(key.clone(), no);
        self.job_ids.insert(key.job.clone(), no);
        self.jobs.insert(no, Job::new(key.clone()));
        no
    }

    /// The number of a node that may not be stored yet.
    pub(crate) fn node_entry(&mut self, key: &NodeKey) -> NodeNo {
        if let Some(no) = self.node_names.get(key) {
            return *no;
        }
        let no = NodeNo(self.next_no());
        self.node_names.insert(key.clone(), no);
        self.nodes.insert(no, Node::new(key.clone()));
        no
    }

    fn install_job(
        &mut self,
        turn: &mut Turn<'_>,
        no: JobNo,
        record: JobRecord,
        revision: Revision,
    ) {
        let Some(job) = self.jobs.get_mut(&no) else {
            return;
        };
        if job.stored.is_none() {
            let shards = record.spec.plan.shards();
            job.fresh = TrackSet::from(Range {
                first: 0,
                end: shards,
            });
            job.tally.totals.tracks = u64::from(record.spec.plan.rows);
            job.tally.totals.shards = shards;
        }
        if let Some(old) = job.in_line(no) {
            self.line.remove(&old);
        }
        let judged = job.record().map_or(Ok(()), |before| {
            crate::invariants::job_change(Some(before), &record)
        });
        let was = job.record().map(|record| record.state.clone());
        let state = record.state.clone();
        job.stored = Some(Versioned { record, revision });
        let place = job.in_line(no);
        self.count_broken(judged);
        self.seen(no, revision);
        self.mirrored_state(no, &state);
        match state.is_open() {
            true => self.open.insert(no),
            false => self.open.remove(&no),
        };
        let served = state == JobState::Running
            || (state == JobState::Paused && mutants::on(Mutant::PausedServed));
        if let (true, Some(place)) = (served, place) {
            self.line.insert(place);
            self.work += 1;
        }
        if was.as_ref() != Some(&state) && matches!(self.phase, crate::reign::Phase::Leading) {
            self.entered(turn, no, &state);
        }
    }

    fn install_node(&mut self, no: NodeNo, record: NodeRecord, revision: Revision) {
        if let Some(node) = self.nodes.get_mut(&no) {
            node.stored = Some(Versioned { record, revision });
        }
    }

    fn install_revocation(
        &mut self,
        turn: &mut Turn<'_>,
        no: RevNo,
        record: RevocationRecord,
        revision: Revision,
    ) {
        let Some(entry) = self.revocations.get_mut(&no) else {
            return;
        };
        let before = entry.stored.replace(Versioned { record, revision });
        let leads = matches!(self.phase, crate::reign::Phase::Leading);
        let (open, closed) = (entry.is_open(), entry.is_closed());
        if leads && open && before.is_none() {
            self.revocation_opened(no);
        }
        if leads && closed {
            self.revocation_closed(turn, no);
        }
    }

    fn install_shard(
        &mut self,
        now: Millis,
        no: JobNo,
        id: ShardId,
        mut record: ShardRecord,
        revision: Revision,
    ) {
        // A hundred thousand of these are kept: without room to grow.
        record.grants.shrink_to_fit();
        record.parts.shrink_to_fit();
        let Some(job) = self.jobs.get_mut(&no) else {
            return;
        };
        let extent = job.extent(id).unwrap_or_default();
        let flush = flush(job, id, &record);
        let covered = record.covered();
        let before = (job.ready.len(), job.waiting(id, &extent));
        let old = job.shards.remove(&id);
        if matches!(self.phase, crate::reign::Phase::Leading) {
            let before = old.as_ref().map(|old| &old.stored.record);
            self.shares.charge(&job.key.tenant, before, &record);
        }
        if let Some(old) = &old {
            let (was, granted) = (&old.stored.record, old.granted);
            let had = tally::contribution(id, was, &extent, &old.covered, granted);
            job.tally.remove(&had);
        }
        let live = live_grants(old.as_deref(), &record, (&extent, &covered), flush);
        let granted = live.iter().map(|live| live.terms.open).sum();
        let adds = tally::contribution(id, &record, &extent, &covered, granted);
        job.tally.add(&adds);
        if let ShardId::Root(root) = id {
            job.fresh.remove(Range {
                first: root,
                end: root.saturating_add(1),
            });
            job.note_escalations(root, &record);
        }
        let ended = ended_grants(old.as_deref(), &record);
        self.note_revoked(no, id, &record);
        let Some(job) = self.jobs.get_mut(&no) else {
            return;
        };
        let shard = Shard {
            hold: backoff::hold(now, old.as_deref(), &record),
            granted,
            waiting: extent.len().saturating_sub(covered.len() + granted),
            stored: Versioned { record, revision },
            covered,
        };
        job.shards.insert(id, Box::new(shard));
        job.note_ready(id, &extent);
        let (shards, tracks) = before;
        if job.ready.len() > shards || job.waiting(id, &extent) > tracks {
            self.work += 1;
        }
        for grant in ended {
            self.drop_holding(no, id, &grant);
        }
        for live in live {
            self.note_holding(now, no, id, &live);
            if live.begins {
                self.return_if_late(no, id, &live.grant);
            }
        }
    }

    /// A pull's write may land after its node has left or begun another session: nobody knows of the grant, and it goes
    /// back at no cost once the record is free. What recovery finds of an earlier session was answered, and may be worked on.
    fn return_if_late(&mut self, job: JobNo, shard: ShardId, grant: &Grant) {
        let key = NodeKey {
            tenant: grant.tenant.clone(),
            node: grant.node.clone(),
        };
        let node = self.node_names.get(&key).and_then(|no| self.nodes.get(no));
        let late = node
            .and_then(Node::record)
            .is_some_and(|record| record.left || grant.session < record.session);
        if late && matches!(self.phase, crate::reign::Phase::Leading) {
            let chores = self.chores.entry(Slot::Shard(job, shard)).or_default();
            let why = chores.withdraw.entry(grant.attempt);
            why.or_insert(Withdrawal::Free);
        }
    }

    /// Forgets a shard whose key was removed, as only those of closed jobs are.
    fn remove_shard(&mut self, no: JobNo, id: ShardId) {
        let Some(job) = self.jobs.get_mut(&no) else {
            return;
        };
        let Some(shard) = job.shards.remove(&id) else {
            return;
        };
        job.ready.remove(&id);
        for grant in shard.stored.record.grants {
            self.drop_holding(no, id, &grant);
        }
    }

    fn drop_holding(&mut self, job: JobNo, shard: ShardId, grant: &Grant) {
        let id = GrantId {
            job,
            shard,
            attempt: grant.attempt,
        };
        let key = NodeKey {
            tenant: grant.tenant.clone(),
            node: grant.node.clone(),
        };
        let no = self.node_names.get(&key);
        if let Some(node) = no.and_then(|no| self.nodes.get_mut(no)) {
            node.holdings.remove(&id);
        }
    }

    /// A live grant was stored, or found by recovery: it lives from now on, whoever granted it. One that was there before
    /// lives on under the record's new terms.
    fn note_holding(&mut self, now: Millis, job: JobNo, shard: ShardId, live: &Live) {
        let Live {
            grant,
            terms,
            begins,
        } = live;
        let id = GrantId {
            job,
            shard,
            attempt: grant.attempt,
        };
        let key = NodeKey {
            tenant: grant.tenant.clone(),
            node: grant.node.clone(),
        };
        let no = self.node_entry(&key);
        let Some(node) = self.nodes.get_mut(&no) else {
            return;
        };
        if *begins {
            let holding = new_holding(now, grant.session, *terms);
            node.holdings.insert(id, holding);
        } else if let Some(holding) = node.holdings.get_mut(&id) {
            holding.terms = *terms;
        }
    }

    /// Drops all holdings of a closed job: its grants count no more.
    pub(crate) fn drop_job_holdings(&mut self, job: JobNo) {
        for node in self.nodes.values_mut() {
            node.holdings.retain(|id, _| id.job != job);
        }
        self.chores.retain(|slot, _| slot.job() != Some(job));
    }
}

/// A live grant of a record that was stored.
struct Live {
    grant: Grant,
    terms: Terms,
    /// It was not there before.
    begins: bool,
}

const fn new_holding(now: Millis, session: Session, terms: Terms) -> Holding {
    Holding {
        terms,
        named: 0,
        expires: Millis(now.0.saturating_add(GRANT_LIVES.0)),
        beats: 0,
        missed: 0,
        session,
        in_hand: None,
        death: Death::Replaced,
        yield_at: None,
        yield_told: 0,
        moved_at: now,
        unflushed: 0,
        open: 0,
    }
}

fn ended_grants(old: Option<&Shard>, new: &ShardRecord) -> Vec<Grant> {
    let old = old
        .map(|old| old.stored.record.grants.as_slice())
        .unwrap_or_default();
    let gone = |grant: &&Grant| new.grant(grant.attempt).is_none();
    old.iter().filter(gone).cloned().collect()
}

fn live_grants(
    old: Option<&Shard>,
    new: &ShardRecord,
    (extent, covered): (&TrackSet, &TrackSet),
    flush: Flush,
) -> Vec<Live> {
    let had =
        |grant: &Grant| old.is_some_and(|old| old.stored.record.grant(grant.attempt).is_some());
    let live = |grant: &Grant| Live {
        begins: !had(grant),
        terms: Terms {
            range: grant.range,
            open: tally::open(grant, extent, covered),
            tries: grant.tries(),
            flush,
        },
        grant: grant.clone(),
    };
    new.grants.iter().map(live).collect()
}

/// The names that escalation shards of a root shard may have.
pub(crate) const fn escalations_of(root: u32) -> core::ops::RangeInclusive<ShardId> {
    let least = ShardId::Escalation {
        root,
        attempt: Attempt(0),
        first: 0,
    };
    let most = ShardId::Escalation {
        root,
        attempt: Attempt(u32::MAX),
        first: u32::MAX,
    };
    least..=most
}

impl Job {
    /// Tracks of a shard that are neither covered nor granted.
    fn waiting(&self, id: ShardId, extent: &TrackSet) -> u64 {
        let known = self.shards.get(&id);
        known.map_or(extent.len(), |shard| shard.waiting)
    }

    /// Notes whether a shard has tracks to grant, and whether an escalation shard is done.
    pub(crate) fn note_ready(&mut self, id: ShardId, extent: &TrackSet) {
        let Some(shard) = self.shards.get(&id) else {
            return;
        };
        let record = &shard.stored.record;
        let room = record.grants.len() < GRANTS_PER_SHARD_MAX && record.standing == Standing::Live;
        let lost = mutants::on(Mutant::YieldLost) && !record.grants.is_empty();
        if room && !lost && shard.waiting > 0 {
            self.ready.insert(id);
        } else {
            self.ready.remove(&id);
        }
        if let ShardId::Escalation { .. } = id
            && self.escalations.contains_key(&id)
        {
            if shard.covered.len() < extent.len() {
                self.open_escalations.insert(id);
            } else {
                self.open_escalations.remove(&id);
            }
        }
    }

    /// Takes up the escalation shards that a root record's parts make, and forgets those whose part fell.
    fn note_escalations(&mut self, root: u32, record: &ShardRecord) {
        let made = |part| made_shard(ShardId::Root(root), part);
        let named: BTreeSet<ShardId> = record.parts.iter().filter_map(made).collect();
        let of_root = escalations_of(root);
        let known: Vec<ShardId> = self.escalations.range(of_root).map(|(id, _)| *id).collect();
        for id in known.into_iter().filter(|id| !named.contains(id)) {
            self.escalations.remove(&id);
            self.open_escalations.remove(&id);
            self.ready.remove(&id);
        }
        for part in record
            .parts
            .iter()
            .filter(|part| part.kind == PartKind::Escalation)
        {
            let Some(first) = part.tracks.first() else {
                continue;
            };
            let id = ShardId::Escalation {
                root,
                attempt: part.attempt,
                first,
            };
            if self.escalations.contains_key(&id) {
                continue;
            }
            let made = EscalationPart {
                tracks: part.tracks.clone(),
                sha256: part.sha256,
            };
            if mutants::on(Mutant::EscalationUnseen) {
                continue;
            }
            self.escalations.insert(id, made);
            self.open_escalations.insert(id);
            match self.shards.get_mut(&id) {
                Some(shard) => {
                    shard.waiting = shard.free(&part.tracks).len();
                    self.note_ready(id, &part.tracks);
                }
                None => _ = self.ready.insert(id),
            }
        }
    }
}
