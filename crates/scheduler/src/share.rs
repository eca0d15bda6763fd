//! Fair share: which tenant is served next. Each tenant with backlog is owed the same device time; the one that has
//! had least goes first. What it had is what its counted parts cost and what its live grants will, by what its tracks
//! cost so far. A tenant that had no backlog meanwhile begins where the others stand: idleness is no credit.
//!
//! Lanes go before shares as long as that takes a tenant no further than 5 % of a window ahead of the one that waits
//! longest, so that an urgent track need not wait for its turn and nobody lives in the fast lane. A pure order over
//! what is stored; a new leader begins with nobody owing anything.

use crate::mutants::{self, Mutant};
use crate::quota::Stock;
use crate::record::{Lane, ShardRecord};
use crate::reign::Reign;
use crate::state::{InLine, Job, JobNo, Node};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use types::{Digest, Ledger, Millis, TenantId};

/// What a track is taken to cost before any of a job is done: a second of a device.
const COST_UNKNOWN_US: u64 = 1_000_000;
/// A tenant's lanes count while it is no further ahead than the window divided by this.
const LEAD_PART: u64 = 20;

/// What each tenant has had.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    by_tenant: BTreeMap<TenantId, Share>,
    /// Where the tenant stood that was served last: whoever comes begins there.
    level: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Share {
    /// Device time of counted parts, in microseconds, with what was lifted.
    served_us: u64,
    backlog: bool,
}

/// What each tenant in line has had once some tracks are taken back, and the least of those that wait for a node.
#[derive(Debug)]
pub(crate) struct Standing {
    had: BTreeMap<TenantId, u64>,
    least: u64,
    lead: u64,
}

impl Standing {
    /// Whether a tenant's lanes count: it is not too far ahead of the one that waits longest.
    pub(crate) fn lanes_count(&self, tenant: &TenantId) -> bool {
        let mine = self.had.get(tenant).copied().unwrap_or_default();
        mine.saturating_sub(self.least) <= self.lead
    }
}

/// Where a job stands for one pull; the order of the fields is the order of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    lane: Lane,
    had_us: u64,
    /// The lane that it has, where a tenant that is ahead has none.
    own_lane: Lane,
    priority: core::cmp::Reverse<i32>,
    deadline: types::UnixMillis,
    /// Its bundle is to be loaded first.
    loads: bool,
    line: InLine,
}

impl Shares {
    /// Charges what a change of a shard's record newly counts.
    pub(crate) fn charge(
        &mut self,
        tenant: &TenantId,
        old: Option<&ShardRecord>,
        new: &ShardRecord,
    ) {
        let before = old.map_or(0, device_time);
        let spent = device_time(new).saturating_sub(before);
        if spent > 0 {
            let share = self.by_tenant.entry(tenant.clone()).or_default();
            share.served_us = share.served_us.saturating_add(spent);
        }
    }
}

/// Device time of a record's parts, at least a microsecond a track, so that even work that costs nothing takes turns.
fn device_time(record: &ShardRecord) -> u64 {
    let parts = record.parts.iter();
    let cost = parts.map(|part| device_us(&part.ledger).max(u64::from(part.rows)));
    cost.fold(0, u64::saturating_add)
}

/// Device time of the stages that run on devices.
pub(crate) const fn device_us(ledger: &Ledger) -> u64 {
    ledger
        .screen
        .device_us
        .saturating_add(ledger.residual.device_us)
}

impl Job {
    /// Whether it has tracks that nobody holds.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.ready.is_empty() || !self.fresh.is_empty()
    }

    /// Device time that its live grants will take, by what its tracks cost so far.
    fn owed_us(&self) -> u64 {
        let granted = self.tally.totals.granted;
        granted.saturating_mul(self.track_us())
    }

    /// Device time that one of its tracks takes to go through a stage, by what they cost so far, those that wait for the
    /// other stage among them.
    fn track_us(&self) -> u64 {
        let spent = device_us(&self.tally.totals.ledger);
        match self.tally.passed {
            0 => COST_UNKNOWN_US,
            passed => (spent / passed).max(1),
        }
    }
}

impl Reign {
    /// Running jobs in the order in which a node is served that has these bundles loaded; without a node, as any would be.
    pub(crate) fn in_order(
        &self,
        now: Millis,
        node: Option<&Node>,
        loaded: &[Digest],
        stock: &Stock,
    ) -> Vec<JobNo> {
        let had = self.had();
        let least = self.least_had(now, node, &had, stock);
        let lead = self.lead_us();
        let place = |line: &InLine| {
            let job = self.jobs.get(&line.no)?;
            let had_us = had.get(&job.key.tenant).copied().unwrap_or_default();
            let had_us = if mutants::on(Mutant::ShareIgnored) {
                0
            } else {
                had_us
            };
            let ahead = had_us.saturating_sub(least) > lead;
            Some(Place {
                lane: if ahead { Lane::Batch } else { line.lane },
                had_us,
                own_lane: line.lane,
                priority: line.priority,
                deadline: line.deadline,
                loads: !loaded.contains(&job.record()?.spec.bundle),
                line: *line,
            })
        };
        let mut places: Vec<Place> = self.line.iter().filter_map(place).collect();
        places.sort_unstable();
        places.into_iter().map(|place| place.line.no).collect()
    }

    /// Where tenants stand for a node once so many tracks of a job are taken back from it. Judged before that, the same
    /// tracks would go to and fro for ever.
    pub(crate) fn standing_without(
        &self,
        now: Millis,
        node: &Node,
        (holder, taken): (&Job, u64),
        stock: &Stock,
    ) -> Standing {
        let mut had = self.had();
        if let Some(had) = had.get_mut(&holder.key.tenant) {
            *had = had.saturating_sub(taken.saturating_mul(holder.track_us()));
        }
        let least = self.least_had(now, Some(node), &had, stock);
        Standing {
            had,
            least,
            lead: self.lead_us(),
        }
    }

    /// What each tenant in line has had and will have by its live grants.
    fn had(&self) -> BTreeMap<TenantId, u64> {
        let mut had: BTreeMap<TenantId, u64> = BTreeMap::new();
        for job in self.line.iter().filter_map(|line| self.jobs.get(&line.no)) {
            self.looks.one();
            let owed = job.owed_us();
            match had.get_mut(&job.key.tenant) {
                Some(sum) => *sum = sum.saturating_add(owed),
                None => {
                    let served = self.shares.by_tenant.get(&job.key.tenant);
                    let served = served.map_or(self.shares.level, |share| share.served_us);
                    had.insert(job.key.tenant.clone(), served.saturating_add(owed));
                }
            }
        }
        had
    }

    /// What the tenant has had that waits longest: among those with work that the node could take, since one that waits
    /// for another node or for its own quota gains nothing when others stand back.
    fn least_had(
        &self,
        now: Millis,
        node: Option<&Node>,
        had: &BTreeMap<TenantId, u64>,
        stock: &Stock,
    ) -> u64 {
        let waits = |line: &InLine| {
            self.looks.one();
            let job = self.jobs.get(&line.no)?;
            let served = match node {
                Some(node) => self.could_serve(now, node, (line.no, job), stock),
                None => job.has_waiting() && self.quota_reached(stock, line.no).is_none(),
            };
            served.then(|| had.get(&job.key.tenant).copied())?
        };
        let waiting = self.line.iter().filter_map(waits);
        waiting.min().unwrap_or_default()
    }

    fn window_us(&self) -> u64 {
        let devices = self.served.map_or(1, |served| served.devices.max(1));
        let window = self.config.share_window.0.saturating_mul(1_000);
        window.saturating_mul(devices)
    }

    fn lead_us(&self) -> u64 {
        self.window_us() / LEAD_PART
    }

    /// Notes which tenants have backlog: who newly has begins where the others stand, and nobody is owed more than a
    /// window.
    pub(crate) fn note_backlog(&mut self) {
        let mut backlog: BTreeMap<TenantId, (bool, u64)> = BTreeMap::new();
        for job in self.line.iter().filter_map(|line| self.jobs.get(&line.no)) {
            let (any, owed) = backlog.entry(job.key.tenant.clone()).or_default();
            *any |= job.has_waiting();
            *owed = owed.saturating_add(job.owed_us());
        }
        let floor = self.shares.level.saturating_sub(self.window_us());
        let level = self.shares.level;
        // Who is not in line is kept only while it is ahead of whoever comes.
        self.shares.by_tenant.retain(|tenant, share| {
            share.backlog &= backlog.contains_key(tenant);
            backlog.contains_key(tenant) || share.served_us > level
        });
        for (tenant, (has, owed)) in backlog {
            let share = self.shares.by_tenant.entry(tenant).or_default();
            let least = if has && !share.backlog { level } else { floor };
            // Where it stands is what it was served and what its live grants will take: both count towards the level.
            share.served_us = share.served_us.max(least.saturating_sub(owed));
            share.backlog = has;
        }
    }

    /// A tenant is being given so many tracks of a job: whoever comes later begins where it stands with them.
    pub(crate) fn note_served(&mut self, job: JobNo, tracks: u32) {
        let Some(job) = self.jobs.get(&job) else {
            return;
        };
        let late = mutants::on(Mutant::LevelLate);
        let tracks = if late { 0 } else { u64::from(tracks) };
        let given = tracks.saturating_mul(job.track_us());
        let had = self.had().get(&job.key.tenant).copied();
        let stands = had.unwrap_or_default().saturating_add(given);
        self.shares.level = self.shares.level.max(stands);
    }
}
