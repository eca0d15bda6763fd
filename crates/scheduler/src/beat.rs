//! Beats: a sign of life that renews the grants it names and only those. A grant missing from two beats that began
//! after it was stored returns to the queue; a busy agent is not a dead one, and an answer never waits for a write.

use crate::chores::{Accused, Withdrawal};
use crate::desk::Asked;
use crate::event::{Beat, Cause, Held, Released};
use crate::limits::{
    DEVICE_NAME_BYTES_MAX, DEVICES_PER_NODE_MAX, GRANT_LIVES, GRANTS_PER_NODE_MAX,
};
use crate::mutants::{self, Mutant};
use crate::pull::stage_of;
use crate::record::{Duty, FailureCause, Grant, JobState};
use crate::reign::{Reign, Step};
use crate::state::{GrantId, Holding, Job, JobNo, Node, NodeNo};
use crate::{Answer, BeatAnswer, Flush, GrantOrder, Order};
use alloc::format;
use alloc::vec::Vec;
use types::{Attempt, Code, JobId, Millis, Session, ShardId, Stage, TrackSet};

/// Beats in a row that a grant may be missing from before it returns to the queue.
const MISSED_MAX: u8 = 2;

impl Reign {
    pub(crate) fn beat(&mut self, now: Millis, asked: &Asked, beat: &Beat) -> Step {
        let no = match self.seated(asked, &beat.node, beat.session) {
            Ok(no) => no,
            Err(step) => return step,
        };
        let most = 2 * GRANTS_PER_NODE_MAX;
        if beat.held.len() > most || beat.released.len() > most {
            return Step::refuse(
                Code::InvalidRequest,
                format!("beat of node `{}`: more than {most} grants", beat.node),
            );
        }
        self.listen(now);
        let named = self.named(no, beat);
        if self.counts(no, beat) {
            self.note_beat(now, no, beat);
            self.renew(now, no, beat, &named);
            self.note_missing(no, beat);
            self.take_back(now, no, beat);
            self.preempt(now, no);
        } else if mutants::on(Mutant::YieldExtends) {
            self.renew(now, no, beat, &named);
        }
        Step::Answer(Ok(self.beat_answer(no, beat, &named)))
    }

    /// The grants that a beat names, in its order; `None` where their job is not there for the node.
    fn named(&self, no: NodeNo, beat: &Beat) -> Vec<Option<GrantId>> {
        // Grants of one job stand together as a rule: its name is looked up once.
        let mut last: Option<(&JobId, Option<JobNo>)> = None;
        let node = self.nodes.get(&no);
        let mut named = Vec::with_capacity(beat.held.len());
        for held in &beat.held {
            let job = match last {
                Some((same, job)) if *same == held.job => job,
                Some(_) | None => node.and_then(|node| self.job_of_agent(&node.key, &held.job)),
            };
            last = Some((&held.job, job));
            named.push(job.map(|job| GrantId {
                job,
                shard: held.shard,
                attempt: held.attempt,
            }));
        }
        named
    }

    /// A late or repeated beat is answered but changes nothing.
    fn counts(&self, no: NodeNo, beat: &Beat) -> bool {
        self.nodes
            .get(&no)
            .is_some_and(|node| beat.number > node.beat)
    }

    fn note_beat(&mut self, now: Millis, no: NodeNo, beat: &Beat) {
        if let Some(node) = self.nodes.get_mut(&no) {
            node.last_beat = Some(now);
            node.beat = beat.number;
            node.draining = beat.draining;
            node.storage_trouble = beat.storage_trouble;
            node.devices_out.clone_from(&beat.devices_out);
            node.devices_out
                .retain(|(device, _)| device.len() <= DEVICE_NAME_BYTES_MAX);
            node.devices_out.truncate(DEVICES_PER_NODE_MAX);
            for holding in node.holdings.values_mut() {
                holding.beats = holding.beats.saturating_add(1);
            }
        }
    }

    /// Renews what the beat names, and takes its answers to `yield at`, its dead workers and what an earlier life of the
    /// agent had in hand.
    fn renew(&mut self, now: Millis, no: NodeNo, beat: &Beat, named: &[Option<GrantId>]) {
        let Some(node) = self.nodes.get_mut(&no) else {
            return;
        };
        let before = node.deaths_seen;
        let (mut told, mut dropped) = (Vec::new(), Vec::new());
        for (held, id) in beat.held.iter().zip(named) {
            let holding = id.as_ref().and_then(|id| node.holdings.get_mut(id));
            let (Some(id), Some(holding)) = (id, holding) else {
                continue;
            };
            let lost = holding.renew(now, beat, held);
            if !lost.is_empty() {
                dropped.push((*id, lost));
            }
            if held.yielded_at.is_some() || !held.deaths.is_empty() {
                told.push((*id, held));
            }
        }
        for (id, tracks) in dropped {
            let cause = FailureCause::NodeLost;
            self.accuse(id, Accused { cause, tracks });
        }
        for (id, held) in told {
            if let Some(end) = held.yielded_at {
                self.shrink(id, end);
            }
            self.note_deaths(no, id, held, before);
        }
    }

    /// Takes the workers' deaths that came after number `told`, which earlier beats have told. One that took tracks of
    /// several grants stands under one number in each.
    fn note_deaths(&mut self, no: NodeNo, id: GrantId, held: &Held, told: u64) {
        let news = held.deaths.iter().filter(|death| death.number > told);
        for death in news.take(DEVICES_PER_NODE_MAX) {
            if let Some(node) = self.nodes.get_mut(&no) {
                node.deaths_seen = node.deaths_seen.max(death.number);
            }
            let (cause, tracks) = (FailureCause::WorkerLost, death.tracks.clone());
            self.accuse(id, Accused { cause, tracks });
        }
    }

    /// Counts beats that did not name a grant. The first beat after it was stored may have begun before, so it
    /// does not count. The first beat of a new session names all that its agent has found of an earlier life: what is
    /// missing from it is gone at once.
    fn note_missing(&mut self, no: NodeNo, beat: &Beat) {
        if mutants::on(Mutant::LostGrantKept) {
            return;
        }
        let Some(node) = self.nodes.get_mut(&no) else {
            return;
        };
        for holding in node.holdings.values_mut() {
            if holding.named != beat.number
                && (holding.beats >= 2 || holding.session < beat.session)
            {
                holding.missed = holding.missed.saturating_add(1);
            }
        }
        let Some(node) = self.nodes.get(&no) else {
            return;
        };
        let missing = |holding: &Holding| {
            holding.missed >= MISSED_MAX || (holding.missed > 0 && holding.session < beat.session)
        };
        let gone = node.holdings.iter().filter(|(_, holding)| missing(holding));
        let gone: Vec<(GrantId, Withdrawal)> = gone
            .map(|(id, holding)| (*id, self.why_missing(node, *id, holding, beat.session)))
            .collect();
        for (id, why) in gone {
            self.withdraw(id, why);
        }
    }

    /// Why a missing grant goes: its agent never took it up, or died with it in an earlier session.
    fn why_missing(
        &self,
        node: &Node,
        id: GrantId,
        holding: &Holding,
        session: Session,
    ) -> Withdrawal {
        if holding.session == session {
            Withdrawal::Free
        } else {
            self.died(node, id, holding.death)
        }
    }

    /// Takes back what the node gives back.
    fn take_back(&mut self, now: Millis, no: NodeNo, beat: &Beat) {
        for released in &beat.released {
            let Released {
                job,
                shard,
                attempt,
                cause,
            } = released;
            let Some(id) = self.grant_id(no, job, *shard, *attempt) else {
                continue;
            };
            match cause {
                Cause::Bundle => self.refuse_bundle(no, id),
                Cause::Storage => self.shun(now, no, id),
                Cause::Drain
                | Cause::BackPressure
                | Cause::Preempted
                | Cause::WorkerLost
                | Cause::DeviceOut => {}
            }
            let held = self
                .nodes
                .get(&no)
                .is_some_and(|node| node.holdings.contains_key(&id));
            if held {
                self.withdraw(id, withdrawal(*cause));
            }
        }
    }

    /// What cannot be screened with cannot be loaded; what cannot be separated with may still screen.
    fn refuse_bundle(&mut self, no: NodeNo, id: GrantId) {
        let bundle = self
            .jobs
            .get(&id.job)
            .and_then(Job::record)
            .map(|r| r.spec.bundle);
        if let (Some(bundle), Some(node)) = (bundle, self.nodes.get_mut(&no)) {
            node.refused_bundles.insert((bundle, stage_of(id.shard)));
            node.refused_bundles.insert((bundle, Stage::Residual));
        }
    }

    fn shun(&mut self, now: Millis, no: NodeNo, id: GrantId) {
        let job = self.jobs.get(&id.job).map(|job| &job.key);
        if let (Some(job), Some(node)) = (job, self.nodes.get_mut(&no)) {
            node.shun(now, job);
        }
    }

    fn grant_id(
        &self,
        node: NodeNo,
        job: &JobId,
        shard: ShardId,
        attempt: Attempt,
    ) -> Option<GrantId> {
        let job = self.job_of_agent(&self.nodes.get(&node)?.key, job)?;
        Some(GrantId {
            job,
            shard,
            attempt,
        })
    }

    fn beat_answer(&self, no: NodeNo, beat: &Beat, named: &[Option<GrantId>]) -> Answer {
        let node = self.nodes.get(&no);
        let order = |(held, id): (&Held, &Option<GrantId>)| {
            let holding = id.and_then(|id| Some((id.job, node?.holdings.get(&id)?)));
            GrantOrder {
                job: held.job.clone(),
                shard: held.shard,
                attempt: held.attempt,
                order: match holding {
                    Some((job, holding)) => self.order_of(job, holding),
                    None if mutants::on(Mutant::WithdrawnRenewed) => Order::Continue,
                    None => Order::Stop,
                },
                flush: holding.map_or(Flush::AsConfigured, |(_, holding)| holding.terms.flush),
            }
        };
        let hungry = node.and_then(|node| node.hungry_since);
        let drain = node
            .and_then(Node::record)
            .is_some_and(|r| r.duty == Duty::Draining);
        Answer::Beaten(BeatAnswer {
            epoch: self.epoch,
            orders: beat.held.iter().zip(named).map(order).collect(),
            pull_now: hungry.is_some_and(|since| since < self.work),
            drain,
        })
    }

    /// What a node is to do with a grant, by the stored records.
    pub(crate) fn order(&self, no: NodeNo, id: GrantId) -> Order {
        let holding = self.nodes.get(&no).and_then(|node| node.holdings.get(&id));
        holding.map_or(Order::Stop, |holding| self.order_of(id.job, holding))
    }

    fn order_of(&self, job: JobNo, holding: &Holding) -> Order {
        let state = self.jobs.get(&job).and_then(Job::record).map(|r| &r.state);
        match state {
            Some(JobState::Running) => holding
                .yield_at
                .map_or(Order::Continue, |at| Order::YieldAt { at }),
            Some(JobState::Paused) => Order::YieldAt {
                at: holding.terms.range.first,
            },
            Some(JobState::Publishing | JobState::Published(_) | JobState::Cancelled(_)) | None => {
                Order::Stop
            }
        }
    }

    /// The stored live grant, where this node holds it.
    pub(crate) fn live_grant(&self, no: NodeNo, id: GrantId) -> Option<&Grant> {
        self.grant_of(self.nodes.get(&no)?, id)
    }

    pub(crate) fn grant_of(&self, node: &Node, id: GrantId) -> Option<&Grant> {
        let shard = self.jobs.get(&id.job)?.shards.get(&id.shard)?;
        let grant = shard.stored.record.grant(id.attempt)?;
        (grant.node == node.key.node && grant.tenant == node.key.tenant).then_some(grant)
    }
}

impl Holding {
    /// A beat names it: it lives on. Where a new life of the agent does, which has found a part of it, gives what the last
    /// one had in hand by its last beat and this one has not: it was there as the agent died.
    fn renew(&mut self, now: Millis, beat: &Beat, held: &Held) -> TrackSet {
        // Only what lies in the grant is kept, so that no message makes this grow.
        let range = self.terms.range;
        let in_hand = match held.in_hand.len_within(range) == held.in_hand.len() {
            true => held.in_hand.clone(),
            false => held.in_hand.intersection(&TrackSet::from(range)),
        };
        let before = self.in_hand.as_ref();
        let before = before.filter(|_| self.session < beat.session);
        let lost = before.map_or_else(TrackSet::new, |before| before.difference(&in_hand));
        self.note_progress(now, &in_hand, held.unflushed);
        self.expires = now + GRANT_LIVES;
        self.missed = 0;
        self.named = beat.number;
        self.session = beat.session;
        self.in_hand = Some(in_hand);
        if let Some(end) = held.yielded_at {
            self.has_yielded(end < range.end);
        }
        lost
    }
}

const fn withdrawal(cause: Cause) -> Withdrawal {
    match cause {
        Cause::Drain | Cause::BackPressure | Cause::Preempted => Withdrawal::Free,
        Cause::WorkerLost => Withdrawal::Failed(FailureCause::WorkerLost),
        Cause::DeviceOut => Withdrawal::Failed(FailureCause::DeviceOut),
        Cause::Bundle => Withdrawal::Failed(FailureCause::Bundle),
        Cause::Storage => Withdrawal::Failed(FailureCause::Storage),
    }
}
