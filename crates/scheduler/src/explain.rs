//! The walk that finds which reasons hold why work does not run. Read-only, from the same state that decides, so
//! that an explanation cannot drift from the decision.

use crate::blocked::{Blocked, Reason};
use crate::limits::{FAILURES_PER_CAUSE, GRANTS_PER_NODE_MAX, GRANTS_PER_SHARD_MAX, REASONS_MAX};
use crate::pull::stage_of;
use crate::record::{Care, Duty, JobState};
use crate::reign::{Core, Reign};
use crate::routing::works_for;
use crate::state::{Held, Job, JobNo, ManifestStep, Node, NodeNo, Shard, Slot};
use crate::{JobKey, NodeKey};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use types::{Millis, ShardId, Stage, TrackSet};

impl Core {
    /// Why a job, or one shard of it, stands where it stands: the heaviest reason first, never empty. `None` where
    /// there is no such job or shard.
    #[must_use]
    pub fn explain(
        &self,
        now: Millis,
        job: &JobKey,
        shard: Option<ShardId>,
    ) -> Option<Vec<Reason>> {
        let Some(reign) = self.leading() else {
            return Some(vec![whole(Blocked::NotLeading)]);
        };
        let no = reign.job_no(job)?;
        let job = reign.jobs.get(&no).filter(|job| job.stored.is_some())?;
        let mut reasons = match shard {
            None => reign.why_job(now, no, job),
            Some(shard) if job.exists(shard) => reign.why_shard(now, no, job, shard),
            Some(_) => return None,
        };
        reasons.truncate(REASONS_MAX);
        Some(reasons)
    }

    /// Why a node does no work; empty where it does. `None` where no such node is known.
    #[must_use]
    pub fn explain_node(&self, now: Millis, node: &NodeKey) -> Option<Vec<Reason>> {
        let Some(reign) = self.leading() else {
            return Some(vec![whole(Blocked::NotLeading)]);
        };
        let no = reign.node_names.get(node)?;
        Some(reign.why_node(now, *no))
    }
}

const fn whole(blocked: Blocked) -> Reason {
    Reason { blocked, tracks: 0 }
}

impl Reign {
    /// Why a pull that was free to take work found none.
    pub(crate) fn idle_reason(&self, now: Millis, no: NodeNo) -> Blocked {
        let first = self.why_node(now, no).into_iter().next();
        first.map_or(Blocked::NothingToDo, |reason| reason.blocked)
    }

    fn why_job(&self, now: Millis, no: JobNo, job: &Job) -> Vec<Reason> {
        let mut reasons = self.why_state(no, job);
        let running = job
            .record()
            .is_some_and(|record| record.state == JobState::Running);
        if running {
            reasons.extend(self.why_waiting(now, no, job));
            reasons.extend(self.why_held(now, no, None));
        }
        if reasons.is_empty() {
            reasons.push(whole(Blocked::WriteUnderWay));
        }
        reasons
    }

    /// What the job's own record says, and the store.
    fn why_state(&self, no: JobNo, job: &Job) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let state = job.record().map(|record| &record.state);
        match (state, &job.manifest) {
            (Some(JobState::Published(_)), _) => return vec![whole(Blocked::JobPublished)],
            (Some(JobState::Cancelled(_)), _) => return vec![whole(Blocked::JobCancelled)],
            (Some(JobState::Publishing), ManifestStep::Waiting { code, .. }) => {
                reasons.push(whole(Blocked::ManifestFails { code: *code }));
            }
            (Some(JobState::Publishing), ManifestStep::Idle | ManifestStep::Writing { .. }) => {
                reasons.push(whole(Blocked::JobPublishing));
            }
            (Some(JobState::Paused), _) => reasons.push(whole(Blocked::JobPaused)),
            (Some(JobState::Running) | None, _) => {}
        }
        if job.cancelling.is_some() {
            reasons.push(whole(Blocked::JobCancelling));
        }
        if self.is_revoking(no) {
            reasons.push(whole(Blocked::JobRevoking));
        }
        if let Some((code, _)) = &self.store_trouble {
            reasons.push(whole(Blocked::StoreTrouble { code: *code }));
        }
        if self.desk.is_dirty(Slot::Job(no)) {
            reasons.push(whole(Blocked::WriteUnderWay));
        }
        reasons
    }

    /// Why tracks that nobody holds are not taken.
    fn why_waiting(&self, now: Millis, no: JobNo, job: &Job) -> Vec<Reason> {
        let mut by_reason: BTreeMap<Blocked, u64> = BTreeMap::new();
        for (stage, tracks) in waiting_by_stage(job) {
            for Reason { blocked, tracks } in self.why_stage_waits(now, no, job, stage, tracks) {
                *by_reason.entry(blocked).or_default() += tracks;
            }
        }
        heaviest(by_reason)
    }

    fn why_stage_waits(
        &self,
        now: Millis,
        no: JobNo,
        job: &Job,
        stage: Stage,
        tracks: u64,
    ) -> Vec<Reason> {
        if let Some(blocked) = self.why_no_node(now, job, stage) {
            return vec![Reason { blocked, tracks }];
        }
        let shards = job.shards.iter().filter(|(id, _)| stage_of(**id) == stage);
        let mut reasons: Vec<Reason> = shards
            .flat_map(|(id, shard)| self.why_free(now, no, job, *id, Some(shard)))
            .collect();
        let said: u64 = reasons.iter().map(|reason| reason.tracks).sum();
        let rest = tracks.saturating_sub(said);
        if rest > 0 {
            let blocked = self.why_not_taken(now, no);
            reasons.push(Reason {
                blocked,
                tracks: rest,
            });
        }
        reasons
    }

    /// Why no node could take any track of the job that waits for a stage.
    fn why_no_node(&self, now: Millis, job: &Job, stage: Stage) -> Option<Blocked> {
        let ours = |node: &&Node| node.stored.is_some() && works_for(&node.key, &job.key);
        let joined = || self.nodes.values().filter(ours);
        if joined().next().is_none() {
            return Some(Blocked::NoNode);
        }
        let live: Vec<&Node> = joined().filter(|node| node.is_live(now)).collect();
        if live.is_empty() {
            return Some(Blocked::NodesSilent);
        }
        let serving: Vec<&Node> = live.into_iter().filter(|node| node.serves(now)).collect();
        if serving.is_empty() {
            return Some(Blocked::NodesNotServing);
        }
        let running: Vec<&Node> = serving
            .into_iter()
            .filter(|node| node.runs(stage))
            .collect();
        if running.is_empty() {
            return Some(Blocked::NoNodeForStage { stage });
        }
        let sound: Vec<&Node> = running
            .into_iter()
            .filter(|node| node.all_out().is_none())
            .collect();
        if sound.is_empty() {
            return Some(Blocked::DevicesOut);
        }
        let record = job.record()?;
        let lacks = |node: &&Node| node.lacks(now, (&job.key, record), stage);
        let lacking: Vec<Blocked> = sound.iter().filter_map(lacks).collect();
        // Where nodes lack different things, what the first one lacks is as good as any.
        let none = lacking.len() == sound.len();
        lacking.into_iter().next().filter(|_| none)
    }

    /// Why the free tracks of one shard wait, as far as the shard itself is why.
    fn why_free(
        &self,
        now: Millis,
        no: JobNo,
        job: &Job,
        id: ShardId,
        shard: Option<&Shard>,
    ) -> Vec<Reason> {
        let extent = job.extent(id).unwrap_or_default();
        let Some(shard) = shard else {
            return Vec::new();
        };
        let free = shard.free(&extent);
        if free.is_empty() {
            return Vec::new();
        }
        let all = |blocked| {
            vec![Reason {
                blocked,
                tracks: free.len(),
            }]
        };
        if self.desk.is_dirty(Slot::Shard(no, id)) {
            return all(Blocked::WriteUnderWay);
        }
        if shard.stored.record.grants.len() >= GRANTS_PER_SHARD_MAX {
            return all(Blocked::ShardFull);
        }
        self.why_suspects(now, no, id, shard, &free)
    }

    fn why_suspects(
        &self,
        now: Millis,
        no: JobNo,
        id: ShardId,
        shard: &Shard,
        free: &TrackSet,
    ) -> Vec<Reason> {
        let record = &shard.stored.record;
        let spent = record
            .failures
            .iter()
            .find(|failure| failure.count >= FAILURES_PER_CAUSE);
        let able = self.able(now, no, id);
        let others = self.waited_for(now, no, id, &able);
        let waits = shard.hold.until > now;
        if waits && shard.hold.what == Held::All {
            let until = shard.hold.until;
            let blocked = spent.map_or(Blocked::BackOff { until }, |f| Blocked::RetriesSpent {
                cause: f.cause,
            });
            return vec![Reason {
                blocked,
                tracks: free.len(),
            }];
        }
        let mut reasons = Vec::new();
        let suspects = record.suspects.iter();
        for suspect in suspects.filter(|suspect| suspect.care(&able) == Care::Apart) {
            let tracks = free.intersection(&TrackSet::from(suspect.tracks)).len();
            if tracks == 0 {
                continue;
            }
            let blocked = match (waits, spent, suspect.alone.first()) {
                (true, Some(failure), _) => Blocked::RetriesSpent {
                    cause: failure.cause,
                },
                (true, None, _) => Blocked::BackOff {
                    until: shard.hold.until,
                },
                (false, _, Some(alone)) if suspect.has_other(others) => {
                    let node = alone.node.clone();
                    Blocked::WaitsForOtherNode { node }
                }
                (false, _, _) => continue,
            };
            reasons.push(Reason { blocked, tracks });
        }
        reasons
    }

    fn why_not_taken(&self, now: Millis, no: JobNo) -> Blocked {
        let stock = self.stock();
        let order = self.in_order(now, None, &[], &stock);
        let ahead = order.split(|other| *other == no).next().unwrap_or_default();
        if let Some(quota) = self.quota_before(&stock, ahead, no) {
            return quota;
        }
        let mut busy = ahead
            .iter()
            .filter_map(|ahead| Some((ahead, self.jobs.get(ahead)?)))
            .filter(|(ahead, job)| {
                job.has_waiting() && self.quota_reached(&stock, **ahead).is_none()
            });
        let mine = self.jobs.get(&no).map(|job| &job.key.tenant);
        match busy.next() {
            None => Blocked::NotYetPulled,
            // A tenant's jobs are no other one's business.
            Some((_, job)) if Some(&job.key.tenant) != mine => Blocked::OtherTenantFirst,
            Some((_, job)) => Blocked::QueuedBehind {
                job: job.key.job.clone(),
            },
        }
    }

    /// Who has tracks of the job, or of one shard of it, in hand.
    fn why_held(&self, now: Millis, no: JobNo, only: Option<ShardId>) -> Vec<Reason> {
        let mut by_reason: BTreeMap<Blocked, u64> = BTreeMap::new();
        let (mut nodes, mut in_hand) = (0u32, 0u64);
        for node in self.nodes.values() {
            let mine = node
                .holdings
                .iter()
                .filter(|(id, _)| id.job == no && only.is_none_or(|only| only == id.shard));
            let (mut live, mut lapsed) = (0u64, 0u64);
            for (id, holding) in mine {
                let tracks = self.open_tracks(id.job, id.shard, id.attempt);
                *(if holding.expires <= now {
                    &mut lapsed
                } else {
                    &mut live
                }) += tracks;
            }
            if lapsed > 0 {
                by_reason.insert(
                    Blocked::HeldBySilentNode {
                        node: node.key.node.clone(),
                    },
                    lapsed,
                );
            }
            match node.storage_trouble {
                Some(code) if live > 0 => {
                    let node = node.key.node.clone();
                    by_reason.insert(Blocked::NodeStorage { node, code }, live);
                }
                Some(_) | None => {
                    nodes += u32::from(live > 0);
                    in_hand += live;
                }
            }
        }
        if in_hand > 0 {
            by_reason.insert(Blocked::InHand { nodes }, in_hand);
        }
        heaviest(by_reason)
    }

    /// Tracks of a live grant that have no row yet.
    pub(crate) fn open_tracks(&self, no: JobNo, shard: ShardId, attempt: types::Attempt) -> u64 {
        self.looks.one();
        let Some(job) = self.jobs.get(&no) else {
            return 0;
        };
        let (Some(extent), Some(entry)) = (job.extent(shard), job.shards.get(&shard)) else {
            return 0;
        };
        let grant = entry.stored.record.grant(attempt);
        grant.map_or(0, |grant| {
            let granted = extent.intersection(&TrackSet::from(grant.range));
            granted.difference(&entry.covered).len()
        })
    }

    fn why_shard(&self, now: Millis, no: JobNo, job: &Job, id: ShardId) -> Vec<Reason> {
        let mut reasons = self.why_state(no, job);
        let running = job
            .record()
            .is_some_and(|record| record.state == JobState::Running);
        if !running {
            return reasons;
        }
        let extent = job.extent(id).unwrap_or_default();
        let shard = job.shards.get(&id);
        let covered = shard.map_or(0, |shard| shard.covered.len());
        if covered == extent.len() {
            return vec![whole(Blocked::ShardDone)];
        }
        let free = shard
            .map_or(extent.clone(), |shard| shard.free(&extent))
            .len();
        if free > 0 {
            reasons.extend(self.why_shard_waits(now, no, job, id, free));
        }
        reasons.extend(self.why_held(now, no, Some(id)));
        reasons
    }

    fn why_shard_waits(
        &self,
        now: Millis,
        no: JobNo,
        job: &Job,
        id: ShardId,
        tracks: u64,
    ) -> Vec<Reason> {
        if let Some(blocked) = self.why_no_node(now, job, stage_of(id)) {
            return vec![Reason { blocked, tracks }];
        }
        let own = self.why_free(now, no, job, id, job.shards.get(&id).map(Box::as_ref));
        if own.is_empty() {
            return vec![Reason {
                blocked: self.why_not_taken(now, no),
                tracks,
            }];
        }
        own
    }

    fn why_node(&self, now: Millis, no: NodeNo) -> Vec<Reason> {
        let Some(node) = self.nodes.get(&no) else {
            return Vec::new();
        };
        let name = || node.key.node.clone();
        let Some(record) = node.record().filter(|record| !record.left) else {
            return vec![whole(Blocked::NodeLeft { node: name() })];
        };
        let mut reasons = Vec::new();
        if !node.is_live(now) {
            reasons.push(whole(Blocked::NodeSilent { node: name() }));
        }
        match record.duty {
            Duty::Serving => {}
            Duty::Cordoned => reasons.push(whole(Blocked::NodeCordoned { node: name() })),
            Duty::Draining => reasons.push(whole(Blocked::NodeDraining { node: name() })),
        }
        if node.draining && record.duty != Duty::Draining {
            reasons.push(whole(Blocked::NodeDraining { node: name() }));
        }
        if self.is_revoked(node) {
            reasons.push(whole(Blocked::NodeRevoked { node: name() }));
        }
        if let Some(code) = node.all_out() {
            reasons.push(whole(Blocked::NodeDevicesOut { node: name(), code }));
        }
        if let Some(code) = node.storage_trouble {
            reasons.push(whole(Blocked::NodeStorage { node: name(), code }));
        }
        if node.holdings.len() >= GRANTS_PER_NODE_MAX {
            reasons.push(whole(Blocked::NodeFull { node: name() }));
        }
        if reasons.is_empty() {
            // What it makes waits to be counted, be it busy or not.
            let code = self.store_trouble.as_ref().map(|(code, _)| *code);
            let trouble = code.map(|code| Blocked::StoreTrouble { code });
            let idle = || node.holdings.is_empty().then(|| self.why_idle(now, node));
            reasons.extend(trouble.or_else(idle).map(whole));
        }
        reasons
    }
}

fn heaviest(by_reason: BTreeMap<Blocked, u64>) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = by_reason
        .into_iter()
        .map(|(blocked, tracks)| Reason { blocked, tracks })
        .collect();
    reasons.sort_by_key(|reason| core::cmp::Reverse(reason.tracks));
    reasons
}

fn open_escalation_tracks(job: &Job) -> u64 {
    let open = |id: &ShardId| {
        let extent = job.extent(*id).unwrap_or_default();
        job.shards
            .get(id)
            .map_or(extent.len(), |shard| shard.free(&extent).len())
    };
    job.open_escalations.iter().map(open).sum()
}

/// Tracks that nobody holds, by the stage that they wait for.
fn waiting_by_stage(job: &Job) -> BTreeMap<Stage, u64> {
    let free = |id: ShardId, shard: &Shard| match id {
        ShardId::Root(_) => shard.free(&job.extent(id).unwrap_or_default()).len(),
        ShardId::Escalation { .. } => 0,
    };
    let known: u64 = job.shards.iter().map(|(id, shard)| free(*id, shard)).sum();
    let waiting = [
        (Stage::Screen, fresh_tracks(job) + known),
        (Stage::Residual, open_escalation_tracks(job)),
    ];
    waiting
        .into_iter()
        .filter(|(_, tracks)| *tracks > 0)
        .collect()
}

/// Tracks of root shards that have no key yet.
fn fresh_tracks(job: &Job) -> u64 {
    let Some(record) = job.record() else {
        return 0;
    };
    let plan = record.spec.plan;
    let rows =
        |shard: u32| (u64::from(shard) * u64::from(plan.shard_tracks)).min(u64::from(plan.rows));
    let tracks = |range: &types::Range| rows(range.end) - rows(range.first);
    job.fresh.ranges().iter().map(tracks).sum()
}
