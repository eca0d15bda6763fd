//! The tail of a job: a node has nothing to do while others hold more than they will soon be through with. Slow holders
//! are asked, by `yield at`, for half of what they have not begun; a grant that makes no progress is withdrawn, and that
//! costs. Nothing is done twice for speed alone. Looked for only when a node asks in vain, and seldom.

use crate::chores::Withdrawal;
use crate::limits::{RESIDUAL_STANDS, SPLIT_WORTH, SPLITS_MAX, TRACK_UNMEASURED, YIELD_TOLD_MAX};
use crate::pull::stage_of;
use crate::quota::Stock;
use crate::record::{FailureCause, Grant, JobState};
use crate::reign::Reign;
use crate::state::{GrantId, Holding, Job, Node, NodeNo};
use alloc::vec::Vec;
use core::cmp::Reverse;
use types::{Millis, Ordinal, ShardId, Stage, TrackSet};

/// What was found for a node that asked in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Helped {
    /// Nothing.
    Not,
    /// Others are asked for tracks.
    Asked,
    /// Tracks were taken away at once.
    Taken,
}

/// What the nodes hold that others may get, at one moment.
pub(crate) struct Tail {
    /// Grants that make no progress, with who holds them.
    stalled: Vec<(NodeNo, GrantId)>,
    /// Nodes that will be busy for long, the slowest first.
    slow: Vec<NodeNo>,
    /// Of how many of them something is asked.
    most: usize,
    stock: Stock,
}

impl Reign {
    /// Whether there is a job of which the node could be given anything; without one a look at the tail is in vain.
    pub(crate) fn could_be_helped(&self, now: Millis, hungry: NodeNo) -> bool {
        let Some(node) = self.nodes.get(&hungry) else {
            return false;
        };
        let runs = node.runs(Stage::Screen) || node.runs(Stage::Residual);
        let mut running = self.line.iter().filter_map(|place| {
            self.looks.one();
            self.jobs.get(&place.no)
        });
        runs && running.any(|job| node.may_take_now(now, job))
    }

    /// Looks over what all nodes hold, whoever may get it.
    pub(crate) fn tail(&self, now: Millis) -> Tail {
        let wanting = self
            .nodes
            .values()
            .filter(|node| node.hungry_since.is_some());
        Tail {
            stalled: self.stalled(now),
            slow: self.slow(now),
            most: wanting.count().clamp(1, SPLITS_MAX),
            stock: self.stock(),
        }
    }

    fn stalled(&self, now: Millis) -> Vec<(NodeNo, GrantId)> {
        let stands = |(id, holding): &(&GrantId, &Holding)| {
            now.since(holding.moved_at) >= self.may_stand(id.shard)
        };
        let mut stalled = Vec::new();
        for (no, node) in &self.nodes {
            // Where nothing moves, what waits behind the rest is stuck with it.
            let all = node.holdings.iter().all(|own| stands(&own));
            let own = node.holdings.iter();
            let own = own.filter(|own| all || (own.1.works() && stands(own)));
            stalled.extend(own.map(|(id, _)| (*no, *id)));
        }
        stalled
    }

    /// How long a grant of that shard may show no progress and be sound: the residual of one track may take hours.
    fn may_stand(&self, shard: ShardId) -> Millis {
        let span = self.config.stalled_after;
        match stage_of(shard) {
            Stage::Decode | Stage::Screen => span,
            Stage::Residual => Millis(span.0.saturating_mul(RESIDUAL_STANDS)),
        }
    }

    fn slow(&self, now: Millis) -> Vec<NodeNo> {
        let live = self.nodes.iter().filter(|(_, node)| node.is_live(now));
        let mut slow: Vec<(Reverse<u64>, NodeNo)> = live
            .map(|(no, node)| (Reverse(self.millis_to_go(node)), *no))
            .filter(|(to_go, _)| to_go.0 >= SPLIT_WORTH.0)
            .collect();
        slow.sort_unstable();
        slow.into_iter().map(|(_, no)| no).collect()
    }

    /// Frees tracks for a node that asked in vain.
    pub(crate) fn help_tail(&mut self, now: Millis, hungry: NodeNo, tail: &Tail) -> Helped {
        let taken = self.withdraw_stalled(now, hungry, tail);
        let asked = self.split(now, hungry, tail);
        match (taken, asked) {
            (true, _) => Helped::Taken,
            (false, true) => Helped::Asked,
            (false, false) => Helped::Not,
        }
    }

    fn withdraw_stalled(&mut self, now: Millis, hungry: NodeNo, tail: &Tail) -> bool {
        let others = tail.stalled.iter().filter(|(no, _)| *no != hungry);
        let stalled: Vec<GrantId> = others
            .map(|(_, id)| *id)
            .filter(|id| self.could_run(now, hungry, *id))
            .collect();
        for id in &stalled {
            self.withdraw(*id, Withdrawal::Failed(FailureCause::Stalled));
        }
        !stalled.is_empty()
    }

    /// Asks the slowest holders for half of what they have not begun: one grant each, as many as nodes are hungry. Whether
    /// any is asked.
    fn split(&mut self, now: Millis, hungry: NodeNo, tail: &Tail) -> bool {
        let mut any = false;
        let others = tail.slow.iter().filter(|no| **no != hungry);
        for no in others.take(tail.most) {
            if let Some((id, at)) = self.half_of(now, *no, hungry, &tail.stock) {
                self.want_back(*no, id, at);
                any = true;
            }
        }
        any
    }

    /// How long a node will be busy with what it holds, by its measured rate at each stage.
    fn millis_to_go(&self, node: &Node) -> u64 {
        let to_go = |stage: Stage| {
            let own = node.holdings.keys();
            let own = own.filter(|id| stage_of(id.shard) == stage);
            let open = own.map(|id| self.open_tracks(id.job, id.shard, id.attempt));
            let open: u64 = open.sum();
            match node.rate_at(stage) {
                Some(rate) => open.saturating_mul(1_000_000) / rate,
                None => open.saturating_mul(TRACK_UNMEASURED.0),
            }
        };
        to_go(Stage::Screen).saturating_add(to_go(Stage::Residual))
    }

    /// The node's grant with most tracks that it has not begun, and the ordinal from which on they are wanted back.
    fn half_of(
        &self,
        now: Millis,
        no: NodeNo,
        hungry: NodeNo,
        stock: &Stock,
    ) -> Option<(GrantId, Ordinal)> {
        let node = self.nodes.get(&no)?;
        if node
            .holdings
            .values()
            .any(|holding| holding.yield_at.is_some())
        {
            return None;
        }
        // Suspects are tried where they are: taken back between two deaths, they would be told apart by nobody.
        let tried = |id: &GrantId| {
            let grant = self.live_grant(no, *id);
            grant.is_some_and(Grant::tries)
        };
        let whole = |id: &GrantId| {
            let job = self.jobs.get(&id.job);
            job.is_some_and(|job| job.is_whole(id.shard))
        };
        let own = node
            .holdings
            .keys()
            .filter(|id| self.could_take(now, hungry, **id, stock))
            .filter(|id| !tried(id) && !whole(id));
        let id = *own.max_by_key(|id| (self.not_begun(no, **id), **id))?;
        let left = self.tracks_not_begun(no, id)?;
        let kept = usize::try_from(left.len() / 2).ok()?;
        Some((id, left.iter().nth(kept)?))
    }

    fn tracks_not_begun(&self, no: NodeNo, id: GrantId) -> Option<TrackSet> {
        let grant = self.live_grant(no, id)?;
        let job = self.jobs.get(&id.job)?;
        let extent = job.extent(id.shard)?;
        let open = extent.intersection(&TrackSet::from(grant.range));
        let open = open.difference(&job.shards.get(&id.shard)?.covered);
        let holding = self.nodes.get(&no)?.holdings.get(&id)?;
        Some(match &holding.in_hand {
            Some(in_hand) => open.difference(in_hand),
            None => open,
        })
    }

    fn want_back(&mut self, no: NodeNo, id: GrantId, at: Ordinal) {
        let node = self.nodes.get_mut(&no);
        if let Some(holding) = node.and_then(|node| node.holdings.get_mut(&id)) {
            holding.yield_at = Some(at);
        }
    }

    /// Whether a node could take what another one holds beside what its tenant has.
    fn could_take(&self, now: Millis, no: NodeNo, id: GrantId, stock: &Stock) -> bool {
        self.could_run(now, no, id) && self.quota_reached(stock, id.job).is_none()
    }

    /// Whether a node could take what another one loses: the quota that it fills is free again then.
    fn could_run(&self, now: Millis, no: NodeNo, id: GrantId) -> bool {
        self.looks.one();
        let (Some(node), Some(job)) = (self.nodes.get(&no), self.jobs.get(&id.job)) else {
            return false;
        };
        let running = |job: &Job| {
            job.record()
                .is_some_and(|record| record.state == JobState::Running)
        };
        let able = node.may_take_now(now, job) && self.has_room_at(node, job, stage_of(id.shard));
        running(job) && able
    }
}

impl Holding {
    /// The agent says from where on it has nothing in hand, as it does in every beat from the first time on. A wish that
    /// came later is answered by a lesser end only, or by none once two answers have carried it in vain.
    pub(crate) fn has_yielded(&mut self, more: bool) {
        if self.yield_at.is_none() {
            return;
        }
        if more || self.yield_told >= YIELD_TOLD_MAX {
            self.yield_at = None;
            self.yield_told = 0;
        } else {
            self.yield_told += 1;
        }
    }

    /// Notes what a beat says of its progress.
    pub(crate) fn note_progress(&mut self, now: Millis, in_hand: &TrackSet, unflushed: u32) {
        let open = self.terms.open;
        let same = self.in_hand.as_ref() == Some(in_hand);
        if !same || self.unflushed != unflushed || self.open != open {
            self.moved_at = now;
        }
        self.unflushed = unflushed;
        self.open = open;
    }

    /// Whether nothing of it is begun, by the last beat that named it.
    pub(crate) fn is_unbegun(&self) -> bool {
        let empty = self.in_hand.as_ref().is_some_and(TrackSet::is_empty);
        empty && self.unflushed == 0
    }

    /// Whether it has tracks in hand.
    fn works(&self) -> bool {
        self.in_hand.as_ref().is_some_and(|set| !set.is_empty())
    }
}
