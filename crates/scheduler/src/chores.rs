//! What the core itself wants of shard records: grants withdrawn or shrunk, tracks accused. Wishes gather per shard
//! and are written as one change once the record is free; a wish whose grant has ended meanwhile is void.

use crate::NodeKey;
use crate::desk::UnitEnd;
use crate::limits::{
    BEGUN_DOUBLED_MAX, BEGUN_UNNAMED, COUNT_NODES_EVERY, DEAF_AFTER, GRANT_LIVES,
    GRANTS_PER_SHARD_MAX, TAIL_LOOKS_MAX,
};
use crate::mutants::{self, Mutant};
use crate::record::{AloneDeath, Care, Death, Failure, FailureCause, Grant, ShardRecord};
use crate::reign::Reign;
use crate::state::{GrantId, Holding, Job, JobNo, Node, NodeNo, Slot, cut};
use crate::suspects;
use crate::tail::Helped;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use types::{Attempt, Millis, Ordinal, TrackSet};

/// Tracks that were in hand at a death, and whose it was.
#[derive(Debug, Clone)]
pub(crate) struct Accused {
    pub(crate) cause: FailureCause,
    pub(crate) tracks: TrackSet,
}

/// Why a grant is taken away, or what is to be noted in a shard; carried out when its record is free to change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chores {
    /// Grants to end.
    pub(crate) withdraw: BTreeMap<Attempt, Withdrawal>,
    /// Grants to shrink: their end becomes the lesser of the two.
    pub(crate) shrink: BTreeMap<Attempt, Ordinal>,
    /// Deaths at which tracks were in hand whose grant lives on.
    pub(crate) accuse: Vec<Accused>,
}

impl Chores {
    /// Notes tracks that a death had in hand. One death is one accusation; those beyond what a shard has grants are joined with
    /// the last.
    pub(crate) fn accuse(&mut self, accused: Accused) {
        let full = self.accuse.len() >= GRANTS_PER_SHARD_MAX;
        match self.accuse.last_mut() {
            Some(last) if full => last.tracks = last.tracks.union(&accused.tracks),
            Some(_) | None => self.accuse.push(accused),
        }
    }

    /// Takes back what was tried and not done; the earlier reason of a withdrawal stands.
    pub(crate) fn put_back(&mut self, tried: Self) {
        for (attempt, why) in tried.withdraw {
            self.withdraw.insert(attempt, why);
        }
        for (attempt, end) in tried.shrink {
            let wish = self.shrink.entry(attempt).or_insert(end);
            *wish = end.min(*wish);
        }
        tried.accuse.into_iter().for_each(|one| self.accuse(one));
    }
}

/// Why a grant ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    /// Given back or never taken up: costs nothing.
    Free,
    /// A failure that costs.
    Failed(FailureCause),
    /// The node died with these tracks of the grant in hand, `alone` when it had nothing else.
    Died {
        in_hand: Option<TrackSet>,
        alone: bool,
        death: Death,
    },
}

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

    /// Notes tracks that a dead worker or an earlier life of the agent had in hand.
    pub(crate) fn accuse(&mut self, id: GrantId, accused: Accused) {
        let slot = Slot::Shard(id.job, id.shard);
        self.chores.entry(slot).or_default().accuse(accused);
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
        let closing = self.jobs.get(&no).is_some_and(Job::is_closing);
        if self.chores_hold.is_some() || closing || !self.desk.is_free(slot) {
            return;
        }
        let Some(chores) = self.chores.remove(&slot) else {
            return;
        };
        let before = self.shard_record(no, shard);
        let job = self.jobs.get(&no);
        let extent = job.and_then(|job| job.extent(shard)).unwrap_or_default();
        let whole = job.is_some_and(|job| job.is_whole(shard));
        let after = done(&before, &chores, &extent, whole);
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

    /// Withdraws the lapsed grants of other nodes before a node is served, whatever waits beside them: what the dead
    /// hold may go first in line, or fill its tenant's quota. Whether there were any.
    pub(crate) fn bury_the_silent(&mut self, now: Millis, asking: NodeNo) -> bool {
        let lately = |at: Millis| now.since(at) < COUNT_NODES_EVERY;
        if self.buried.is_some_and(lately) || mutants::on(Mutant::SilentKept) {
            return false;
        }
        self.buried = Some(now);
        let lapsed: Vec<NodeNo> = self
            .nodes
            .iter()
            .filter(|(no, node)| **no != asking && has_lapsed(node, now))
            .map(|(no, _)| *no)
            .collect();
        let mut any = false;
        for no in lapsed {
            any |= self.bury(now, no);
        }
        any
    }

    /// Looks, now and then, for work that others will not soon be through with, for the node that has asked in vain for
    /// longest: nodes that ask in step are helped in turn, whichever of them comes first. Whether any was taken away at once.
    pub(crate) fn reclaim(&mut self, now: Millis, hungry: NodeNo) -> bool {
        if !self.unhelped.contains(&hungry) {
            self.unhelped.push_back(hungry);
        }
        let lately = |at: Millis| now.since(at) < COUNT_NODES_EVERY;
        if self.reclaimed.is_some_and(lately) || mutants::on(Mutant::SilentKept) {
            return false;
        }
        self.reclaimed = Some(now);
        // Until something is found nothing changes, and each of them looks at the same.
        let mut tail = None;
        for _ in 0..TAIL_LOOKS_MAX {
            let Some(next) = self.next_unhelped(now, hungry) else {
                return false;
            };
            if !self.could_be_helped(now, next) {
                continue;
            }
            let tail = tail.get_or_insert_with(|| self.tail(now));
            match self.help_tail(now, next, tail) {
                Helped::Not => {}
                Helped::Asked => return false,
                Helped::Taken => return true,
            }
        }
        false
    }

    /// The first in line for the tail that still wants work; the one that asks now does.
    fn next_unhelped(&mut self, now: Millis, asking: NodeNo) -> Option<NodeNo> {
        loop {
            let next = self.unhelped.pop_front()?;
            let wants = |node: &Node| node.hungry_since.is_some() && node.serves(now);
            if next == asking || self.nodes.get(&next).is_some_and(wants) {
                return Some(next);
            }
        }
    }

    /// An agent is heard. Where none was for some beats it was this coordinator that was deaf, and no node is to blame:
    /// every grant gets a full life once, as under a new leader.
    pub(crate) fn listen(&mut self, now: Millis) {
        let silence = now.since(self.heard);
        self.heard = now;
        if silence <= DEAF_AFTER {
            return;
        }
        let holdings = self
            .nodes
            .values_mut()
            .flat_map(|node| node.holdings.values_mut());
        for holding in holdings {
            holding.expires = holding.expires.max(now + GRANT_LIVES);
            // What it did meanwhile is not known: it did not stand still.
            holding.moved_at = now;
        }
    }

    /// Takes all lapsed grants of a silent node away, with what it had in hand under suspicion: those of paused jobs too,
    /// since they fill their tenant's quota as others do.
    fn bury(&mut self, now: Millis, no: NodeNo) -> bool {
        let Some(node) = self.nodes.get(&no) else {
            return false;
        };
        let lapsed = node
            .holdings
            .iter()
            .filter(|(id, holding)| holding.expires <= now && self.is_open(id.job));
        let lapsed: Vec<(GrantId, Withdrawal)> = lapsed
            .map(|(id, _)| (*id, self.died(node, *id, Death::Silent)))
            .collect();
        let any = !lapsed.is_empty();
        for (id, why) in lapsed {
            self.withdraw(id, why);
        }
        any
    }

    /// How a grant of a dead node ends: with what the last beat had in hand. A hand that was empty altogether says
    /// nothing: a track that takes its machine down before the next beat is named by none, so that every track is
    /// suspect that may have begun since.
    pub(crate) fn died(&self, node: &Node, id: GrantId, death: Death) -> Withdrawal {
        let holding = node.holdings.get(&id);
        // What is flushed at once is in hand until it counts, and nobody dies of a row that is made.
        let through =
            holding.is_some_and(|own| own.unflushed > 0 && u64::from(own.unflushed) == own.open);
        if through && self.is_whole(id) {
            return Withdrawal::Died {
                in_hand: Some(TrackSet::new()),
                alone: false,
                death,
            };
        }
        let idle = |holding: &Holding| holding.in_hand.as_ref().is_none_or(TrackSet::is_empty);
        let all_idle = node.holdings.values().all(idle);
        let known = holding.filter(|_| !all_idle);
        Withdrawal::Died {
            in_hand: known
                .and_then(|holding| holding.in_hand.clone())
                .or_else(|| mutants::on(Mutant::UnnamedNotInHand).then(TrackSet::new)),
            alone: self.was_tried_alone(node, id),
            death,
        }
    }

    /// Whether nothing ran on the node but one track that the grant is for. Beats are seconds old; this holds all the
    /// same, since an agent names a suspect before it runs it, and nothing else begins until a later beat is answered.
    fn was_tried_alone(&self, node: &Node, id: GrantId) -> bool {
        let in_hand = |holding: &Holding| holding.in_hand.as_ref().map(TrackSet::len);
        let only = node.holdings.iter().all(|(other, holding)| {
            let mine = u64::from(*other == id);
            in_hand(holding) == Some(mine)
        });
        only && self.is_trial(node, id)
    }

    /// Whether what the node has in hand of a grant is one suspect that the grant is to try: the last of its tracks, or one
    /// that it names to be run alone.
    fn is_trial(&self, node: &Node, id: GrantId) -> bool {
        let Some(grant) = self.grant_of(node, id) else {
            return false;
        };
        let in_hand = node.holdings.get(&id).and_then(|own| own.in_hand.as_ref());
        match (&grant.apart, in_hand) {
            (Some(apart), Some(in_hand)) => in_hand.is_within(apart),
            (Some(_), None) => false,
            (None, _) => {
                let last = self.open_tracks(id.job, id.shard, id.attempt) == 1;
                grant.care == Care::Apart && last
            }
        }
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

/// The record once the chores are done; a grant of a shard that is not divided is given back `whole` or not at all.
fn done(before: &ShardRecord, chores: &Chores, extent: &TrackSet, whole: bool) -> ShardRecord {
    let mut after = before.clone();
    let covered = before.covered();
    for Accused { cause, tracks } in &chores.accuse {
        let open = tracks.intersection(extent).difference(&covered);
        suspects::accuse(&mut after.suspects, &open, None);
        count(&mut after, *cause);
    }
    for (attempt, end) in &chores.shrink {
        if let Some(grant) = after
            .grants
            .iter_mut()
            .find(|grant| grant.attempt == *attempt)
        {
            let part_of_it = whole && *end > grant.range.first;
            let end = if part_of_it { grant.range.end } else { *end };
            grant.range = cut(grant.range, end);
        }
    }
    for (attempt, why) in &chores.withdraw {
        if let Some(at) = after
            .grants
            .iter()
            .position(|grant| grant.attempt == *attempt)
        {
            let grant = after.grants.remove(at);
            let open = extent.difference(&covered);
            blame(&mut after, &grant, why, (&open, whole));
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

/// Notes why a grant ended; `open` is what the shard has left to do, divided or `whole`.
fn blame(
    record: &mut ShardRecord,
    grant: &Grant,
    why: &Withdrawal,
    (open, whole): (&TrackSet, bool),
) {
    match why {
        Withdrawal::Free => {}
        Withdrawal::Failed(cause) => count(record, *cause),
        Withdrawal::Died {
            in_hand,
            alone,
            death,
        } => {
            count(record, FailureCause::NodeLost);
            let granted = open.intersection(&TrackSet::from(grant.range));
            let suspects = match in_hand {
                Some(in_hand) => granted.intersection(in_hand),
                None if whole => first_begun(record, &granted),
                None => granted,
            };
            let alone = *alone && suspects.len() == 1;
            let alone = alone.then(|| AloneDeath {
                node: grant.node.clone(),
                death: *death,
            });
            if !mutants::on(Mutant::DeathForgotten) {
                suspects::accuse(&mut record.suspects, &suspects, alone.as_ref());
            }
        }
    }
}

/// The tracks that an agent runs first of a grant that is not divided, in the order in which it runs them, twice as many at each
/// death: all of it would be run one by one for a node that was switched off, and whoever kills before a beat names it is
/// among them at last.
fn first_begun(record: &ShardRecord, granted: &TrackSet) -> TrackSet {
    let mut failures = record.failures.iter();
    let lost = failures.find(|failure| failure.cause == FailureCause::NodeLost);
    let deaths = lost.map_or(0, |failure| failure.count);
    let most = BEGUN_UNNAMED << deaths.saturating_sub(1).min(BEGUN_DOUBLED_MAX);
    granted.iter().take(most).collect()
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
