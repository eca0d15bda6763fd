//! Preemption: while tracks wait of a job that goes first by lane or priority, a beat's answer asks the node for the
//! grant that it needs least, by `yield at` its first track. What it has begun it finishes; the rest returns to the queue
//! at no cost, and its next pull gets what waits. No more is asked back, over all nodes, than waits.

use crate::limits::{PREEMPT_COUNTS, SHARDS_SEEN_PER_PULL_MAX};
use crate::pull::stage_of;
use crate::quota::Stock;
use crate::record::JobState;
use crate::reign::Reign;
use crate::state::{GrantId, InLine, Job, JobNo, NodeNo};
use core::cell::OnceCell;
use types::{Millis, ShardId, TenantId};

/// Tracks that a grant was asked to give back, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) tracks: u64,
    pub(crate) at: Millis,
}

impl Reign {
    /// Asks a node that beats for its least urgent grant where more urgent tracks wait.
    pub(crate) fn preempt(&mut self, now: Millis, no: NodeNo) {
        if self.line.len() < 2 {
            return;
        }
        let Some((id, place)) = self.least_urgent(no) else {
            return;
        };
        self.preempted
            .retain(|_, asked| now.since(asked.at) < PREEMPT_COUNTS);
        let waits = self.urgent_tracks(now, no, id, &place);
        let asked: u64 = self.preempted.values().map(|asked| asked.tracks).sum();
        if waits > asked {
            self.ask_back(now, no, id);
        }
    }

    /// The node's grant that stands last in line and has tracks that it has not begun; one that is given back whole or not at
    /// all only before anything of it is. Suspects are tried where they are:
    /// asked back each time before one of them has run, they would be through nowhere.
    fn least_urgent(&self, no: NodeNo) -> Option<(GrantId, InLine)> {
        let node = self.nodes.get(&no)?;
        let own = node
            .holdings
            .iter()
            .filter(|(id, holding)| holding.yield_at.is_none() && self.not_begun(no, **id) > 0)
            .filter(|(id, _)| {
                let grant = self.grant_of(node, **id);
                grant.is_some_and(|grant| !grant.tries())
            })
            .filter(|(id, holding)| holding.is_unbegun() || !self.is_whole(**id));
        let placed = own.filter_map(|(id, _)| {
            let job = self.jobs.get(&id.job)?;
            let running = job.record()?.state == JobState::Running;
            running.then_some((*id, job.in_line(id.job)?))
        });
        placed.max_by_key(|(_, place)| *place)
    }

    pub(crate) fn is_whole(&self, id: GrantId) -> bool {
        let job = self.jobs.get(&id.job);
        job.is_some_and(|job| job.is_whole(id.shard))
    }

    /// Tracks of a live grant that have no row and are not in hand.
    pub(crate) fn not_begun(&self, no: NodeNo, id: GrantId) -> u64 {
        let open = self.open_tracks(id.job, id.shard, id.attempt);
        let holding = self.nodes.get(&no).and_then(|node| node.holdings.get(&id));
        let in_hand = holding.and_then(|holding| holding.in_hand.as_ref());
        open.saturating_sub(in_hand.map_or(0, types::TrackSet::len))
    }

    /// Tracks that wait, that this node could take, and that go before what it holds at that place.
    fn urgent_tracks(&self, now: Millis, no: NodeNo, id: GrantId, mine: &InLine) -> u64 {
        let (Some(node), Some(holder)) = (self.nodes.get(&no), self.jobs.get(&id.job)) else {
            return 0;
        };
        let before = self
            .line
            .iter()
            .take_while(|place| (place.lane, place.priority) < (mine.lane, mine.priority));
        // What is asked of every job comes last and is found out once: both walk over all of them.
        let (stock, standing) = (OnceCell::new(), OnceCell::new());
        let stock = || stock.get_or_init(|| self.stock());
        let lanes_count = |tenant: &TenantId| {
            let standing = standing.get_or_init(|| {
                let taken = (holder, self.not_begun(no, id));
                self.standing_without(now, node, taken, stock())
            });
            standing.lanes_count(tenant)
        };
        let is_urgent = |place: &InLine, job: &Job| {
            let same = job.key.tenant == holder.key.tenant;
            let by_lane = place.lane < mine.lane && (same || lanes_count(&job.key.tenant));
            by_lane || (same && place.lane == mine.lane)
        };
        let takes = |place: &InLine, job: &Job| {
            let first = job.ready.first().copied().unwrap_or(ShardId::Root(0));
            self.is_able(now, node, job, first)
                && self.has_room_at(node, job, stage_of(first))
                && !stock().is_beyond(&self.config, &job.key.tenant, place.no)
                && self.has_room_without(stock(), (place.no, job), holder)
        };
        let mut waiting = before.filter_map(|place| {
            self.looks.one();
            let job = self.jobs.get(&place.no)?;
            let asks = job.has_waiting() && is_urgent(place, job) && takes(place, job);
            asks.then_some(job)
        });
        waiting.next().map_or(0, waiting_tracks)
    }

    /// Whether a job may be given something once a grant of the holder is back: one of its tenant's makes room.
    fn has_room_without(&self, stock: &Stock, (no, job): (JobNo, &Job), holder: &Job) -> bool {
        holder.key.tenant == job.key.tenant || self.quota_reached(stock, no).is_none()
    }

    fn ask_back(&mut self, now: Millis, no: NodeNo, id: GrantId) {
        let first = self.live_grant(no, id).map(|grant| grant.range.first);
        let tracks = self.not_begun(no, id);
        let node = self.nodes.get_mut(&no);
        let holding = node.and_then(|node| node.holdings.get_mut(&id));
        if let (Some(first), Some(holding)) = (first, holding) {
            holding.yield_at = Some(first);
            self.preempted.insert(id, Asked { tracks, at: now });
        }
    }
}

/// Tracks of a job that nobody holds, as far as one pull would look.
fn waiting_tracks(job: &Job) -> u64 {
    let free = |id: &ShardId| {
        let extent = job.extent(*id).unwrap_or_default();
        let known = job.shards.get(id);
        known.map_or(extent.len(), |shard| shard.free(&extent).len())
    };
    let ready = job.ready.iter().copied();
    let fresh = job.fresh.iter().map(ShardId::Root);
    let seen = ready.chain(fresh).take(SHARDS_SEEN_PER_PULL_MAX);
    seen.map(|id| free(&id)).sum()
}
