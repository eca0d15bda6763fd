//! What the core itself wants of shard records: grants withdrawn or shrunk, tracks accused. Wishes gather per shard
//! and are written as one change once the record is free; a wish whose grant has ended meanwhile is void.

use crate::NodeKey;
use crate::desk::UnitEnd;
use crate::limits::{COUNT_NODES_EVERY, GRANTS_PER_SHARD_MAX};
use crate::mutants::{self, Mutant};
use crate::record::{AloneDeath, Death, Failure, FailureCause, Grant, JobState, ShardRecord};
use crate::reign::Reign;
use crate::state::{Chores, GrantId, Job, JobNo, Node, NodeNo, Slot, Withdrawal, cut};
use crate::suspects;
use alloc::vec;
use alloc::vec::Vec;
use types::{Millis, Ordinal, TrackSet};

impl Reign {
    /// Ends a grant as soon as its record is free.
    pub(crate) fn withdraw(&mut self, id: GrantId, why: Withdrawal) {
        let slot = Slot::Shard(id.job, id.shard);
        let chores = self.chores.entry(slot).or_default();
        // The first reason stands: a later one is a consequence.
        chores.withdraw.entry(id.attempt).or_insert(why);
        self.chore(slot);
    }

    /// Shrinks a grant to what lies before `end`; an earlier wish for less stands.
    pub(crate) fn shrink(&mut self, id: GrantId, end: Ordinal) {
        let slot = Slot::Shard(id.job, id.shard);
        let chores = self.chores.entry(slot).or_default();
        let wish = chores.shrink.entry(id.attempt).or_insert(end);
        let first = !mutants::on(Mutant::YieldExtends);
        *wish = if first { end.min(*wish) } else { end };
        self.chore(slot);
    }

    /// Notes tracks that a dead worker had in hand.
    pub(crate) fn accuse(&mut self, id: GrantId, tracks: TrackSet) {
        let slot = Slot::Shard(id.job, id.shard);
        let chores = self.chores.entry(slot).or_default();
        // One worker's death is one accusation; more than a shard has grants are joined.
        if chores.accuse.len() < GRANTS_PER_SHARD_MAX {
            chores.accuse.push(tracks);
        }
        self.chore(slot);
    }

    /// Writes what is wished of a record, if it is free to change.
    pub(crate) fn chore(&mut self, slot: Slot) {
        let Slot::Shard(no, shard) = slot else {
            return;
        };
        // An escalation shard whose part was revoked is wished nothing any more.
        let there = |job: &Job| job.is_open() && job.exists(shard);
        if !self.jobs.get(&no).is_some_and(there) {
            self.chores.remove(&slot);
            return;
        }
        if self.chores_hold.is_some() || !self.desk.is_free(slot) {
            return;
        }
        let Some(chores) = self.chores.remove(&slot) else {
            return;
        };
        let before = self.shard_record(no, shard);
        let extent = self.jobs.get(&no).and_then(|job| job.extent(shard));
        let after = done(&before, &chores, &extent.unwrap_or_default());
        if after == before {
            return;
        }
        // A violation is counted; the wish is dropped rather than repeated for ever.
        if let Ok(unit) = self.shard_unit(no, shard, after) {
            self.doing.insert(slot, chores);
            self.desk.stage(vec![unit], None);
        }
    }

    /// A change of a record is back: what it was to do is done, or is wished again.
    pub(crate) fn chores_ended(&mut self, slot: Slot, ended: &UnitEnd) {
        let Some(doing) = self.doing.remove(&slot) else {
            return;
        };
        match ended {
            UnitEnd::Applied(_) => {}
            UnitEnd::Refused | UnitEnd::NotApplied(..) => {
                self.chores.entry(slot).or_default().put_back(doing);
            }
        }
    }

    /// Everything wished of the shards of one job.
    pub(crate) fn job_chores(&mut self, job: JobNo) {
        let slots = self.chores.keys().filter(|slot| slot.job() == Some(job));
        for slot in slots.copied().collect::<Vec<_>>() {
            self.chore(slot);
        }
    }

    /// Everything wished.
    pub(crate) fn all_chores(&mut self) {
        for slot in self.chores.keys().copied().collect::<Vec<_>>() {
            self.chore(slot);
        }
    }

    /// Withdraws the lapsed grants of other nodes for a node that found too little; whether there were any.
    pub(crate) fn reclaim(&mut self, now: Millis, hungry: NodeNo) -> bool {
        let lately = |at: Millis| now.since(at) < COUNT_NODES_EVERY;
        if self.reclaimed.is_some_and(lately) {
            return false;
        }
        self.reclaimed = Some(now);
        let lapsed: Vec<NodeNo> = self
            .nodes
            .iter()
            .filter(|(no, node)| **no != hungry && has_lapsed(node, now))
            .map(|(no, _)| *no)
            .collect();
        let mut any = false;
        for no in lapsed {
            any |= self.bury(now, no);
        }
        any || self.help_tail(now, hungry)
    }

    /// Takes all lapsed grants of a silent node away, with what it had in hand under suspicion.
    fn bury(&mut self, now: Millis, no: NodeNo) -> bool {
        let Some(node) = self.nodes.get(&no) else {
            return false;
        };
        let alone = self.had_one_in_hand(no);
        let lapsed: Vec<(GrantId, Option<TrackSet>)> = node
            .holdings
            .iter()
            .filter(|(id, holding)| holding.expires <= now && self.is_grantable(id.job))
            .map(|(id, holding)| (*id, holding.in_hand.clone()))
            .collect();
        for (id, in_hand) in &lapsed {
            let in_hand = in_hand.clone();
            let death = Death::Silent;
            self.withdraw(
                *id,
                Withdrawal::Died {
                    in_hand,
                    alone,
                    death,
                },
            );
        }
        !lapsed.is_empty()
    }

    /// Whether a node had one track in hand and nothing else. What no beat has named yet is in hand whole: a track may
    /// take its machine down before the first beat.
    pub(crate) fn had_one_in_hand(&self, no: NodeNo) -> bool {
        let Some(node) = self.nodes.get(&no) else {
            return false;
        };
        let each = node.holdings.iter().map(|(id, holding)| {
            let known = holding.in_hand.as_ref().map(TrackSet::len);
            let unnamed = || match mutants::on(Mutant::UnnamedNotInHand) {
                true => 0,
                false => self.uncovered(no, *id),
            };
            known.unwrap_or_else(unnamed)
        });
        each.sum::<u64>() == 1
    }

    /// Tracks of a live grant without a row.
    fn uncovered(&self, no: NodeNo, id: GrantId) -> u64 {
        let grant = self.live_grant(no, id);
        let shard = self
            .jobs
            .get(&id.job)
            .and_then(|job| job.shards.get(&id.shard));
        let extent = self.jobs.get(&id.job).and_then(|job| job.extent(id.shard));
        let (Some(grant), Some(shard), Some(extent)) = (grant, shard, extent) else {
            return 0;
        };
        let granted = extent.intersection(&TrackSet::from(grant.range));
        granted.difference(&shard.covered).len()
    }

    fn is_grantable(&self, job: JobNo) -> bool {
        let record = self.jobs.get(&job).and_then(Job::record);
        record.is_some_and(|record| record.state == JobState::Running)
    }

    /// A node has left: all that it held goes back at no cost.
    pub(crate) fn left(&mut self, key: &NodeKey) {
        let node = self.node_names.get(key).and_then(|no| self.nodes.get(no));
        let held: Vec<GrantId> = node
            .iter()
            .flat_map(|node| node.holdings.keys().copied())
            .collect();
        for id in held {
            self.withdraw(id, Withdrawal::Free);
        }
    }

    /// Withdraws what nodes hold that had left before this reign began.
    pub(crate) fn left_before(&mut self) {
        let gone = |node: &&Node| node.record().is_none_or(|record| record.left);
        let keys: Vec<NodeKey> = self
            .nodes
            .values()
            .filter(gone)
            .map(|node| node.key.clone())
            .collect();
        for key in keys {
            self.left(&key);
        }
    }
}

fn has_lapsed(node: &Node, now: Millis) -> bool {
    node.holdings.values().any(|holding| holding.expires <= now)
}

/// The record once the chores are done.
fn done(before: &ShardRecord, chores: &Chores, extent: &TrackSet) -> ShardRecord {
    let mut after = before.clone();
    let covered = before.covered();
    for tracks in &chores.accuse {
        let open = tracks.intersection(extent).difference(&covered);
        suspects::accuse(&mut after.suspects, &open, None);
        count(&mut after, FailureCause::WorkerLost);
    }
    for (attempt, end) in &chores.shrink {
        if let Some(grant) = after
            .grants
            .iter_mut()
            .find(|grant| grant.attempt == *attempt)
        {
            grant.range = cut(grant.range, *end);
        }
    }
    for (attempt, why) in &chores.withdraw {
        if let Some(at) = after
            .grants
            .iter()
            .position(|grant| grant.attempt == *attempt)
        {
            let grant = after.grants.remove(at);
            blame(&mut after, &grant, why, &covered);
        }
    }
    after
        .grants
        .retain(|grant| has_work(grant, extent, &covered));
    after
}

/// Whether a grant still names a track of the shard without a row.
pub(crate) fn has_work(grant: &Grant, extent: &TrackSet, covered: &TrackSet) -> bool {
    let granted = extent.intersection(&TrackSet::from(grant.range));
    !granted.difference(covered).is_empty()
}

fn blame(record: &mut ShardRecord, grant: &Grant, why: &Withdrawal, covered: &TrackSet) {
    match why {
        Withdrawal::Free => {}
        Withdrawal::Failed(cause) => count(record, *cause),
        Withdrawal::Died {
            in_hand,
            alone,
            death,
        } => {
            count(record, FailureCause::NodeLost);
            let granted = TrackSet::from(grant.range);
            let suspects = in_hand
                .as_ref()
                .map_or(granted.clone(), |set| set.intersection(&granted));
            let open = suspects.difference(covered);
            let alone = *alone && open.len() == 1;
            let alone = alone.then(|| AloneDeath {
                node: grant.node.clone(),
                death: *death,
            });
            if !mutants::on(Mutant::DeathForgotten) {
                suspects::accuse(&mut record.suspects, &open, alone.as_ref());
            }
        }
    }
}

fn count(record: &mut ShardRecord, cause: FailureCause) {
    match record
        .failures
        .iter_mut()
        .find(|failure| failure.cause == cause)
    {
        Some(failure) => failure.count = failure.count.saturating_add(1),
        None => record.failures.push(Failure { cause, count: 1 }),
    }
}
