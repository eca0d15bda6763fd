//! Quotas: how many live grants, tracks and running jobs a tenant may have at once. Derived from stored records each time
//! it is asked; grants on their way to the store, which no record shows, count from when they are planned.
//!
//! Whoever asks of many jobs takes stock once: one answer walks over all open jobs, and all others follow from it.

use crate::blocked::Blocked;
use crate::config::{Config, Quota};
use crate::mutants::{self, Mutant};
use crate::reign::Reign;
use crate::state::{JobNo, Slot};
use alloc::collections::{BTreeMap, BTreeSet};
use types::{ShardId, TenantId};

/// What a tenant may still be given, or is being given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) grants: u64,
    pub(crate) tracks: u64,
    /// It has nothing in hand yet.
    pub(crate) untouched: bool,
}

impl Room {
    /// Whether so many tracks fit that cannot be divided: more than a quota are given to a tenant that holds nothing, since
    /// they would never be otherwise.
    pub(crate) const fn fits(&self, tracks: u64) -> bool {
        tracks <= self.tracks || self.untouched
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.grants == 0 || self.tracks == 0
    }
}

/// What every tenant holds at one moment. Good until a record changes.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    by_tenant: BTreeMap<TenantId, Held>,
    /// Jobs in line before which few enough of their tenant stand.
    served: BTreeSet<JobNo>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    grants: u64,
    tracks: u64,
    in_line: u64,
}

/// Grants that answers to pulls will give once they are stored, by the shard whose record they change: it has one change
/// at a time. Nothing is noted where there is no quota.
#[derive(Debug, Default)]
pub(crate) struct Planned {
    by_slot: BTreeMap<Slot, (TenantId, Room)>,
    by_tenant: BTreeMap<TenantId, Room>,
}

impl Planned {
    fn note(&mut self, slot: Slot, tenant: &TenantId, takes: Room) {
        let all = self.by_tenant.entry(tenant.clone()).or_default();
        all.grants += takes.grants;
        all.tracks += takes.tracks;
        self.by_slot.insert(slot, (tenant.clone(), takes));
    }

    /// The change of that record is back: what it gave is stored, or was not given.
    pub(crate) fn settle(&mut self, slot: Slot) {
        let Some((tenant, took)) = self.by_slot.remove(&slot) else {
            return;
        };
        if let Some(all) = self.by_tenant.get_mut(&tenant) {
            all.grants = all.grants.saturating_sub(took.grants);
            all.tracks = all.tracks.saturating_sub(took.tracks);
            if *all == Room::default() {
                self.by_tenant.remove(&tenant);
            }
        }
    }
}

impl Stock {
    fn of(&self, tenant: &TenantId) -> Held {
        self.by_tenant.get(tenant).copied().unwrap_or_default()
    }

    /// The tenant's own, made where it is its first; a name is copied once.
    fn entry(&mut self, tenant: &TenantId) -> &mut Held {
        if !self.by_tenant.contains_key(tenant) {
            self.by_tenant.insert(tenant.clone(), Held::default());
        }
        self.by_tenant
            .get_mut(tenant)
            .expect("it is there or was put there")
    }

    /// What the tenant may still be given beside what it holds.
    pub(crate) fn room(&self, config: &Config, tenant: &TenantId) -> Room {
        let quota = config.quota(tenant);
        let left =
            |most: Option<u64>, has: u64| most.map_or(u64::MAX, |most| most.saturating_sub(has));
        if quota == Quota::default() || mutants::on(Mutant::QuotaIgnored) {
            return Room {
                grants: u64::MAX,
                tracks: u64::MAX,
                untouched: true,
            };
        }
        let held = self.of(tenant);
        Room {
            grants: left(quota.grants_max.map(u64::from), held.grants),
            tracks: left(quota.tracks_max, held.tracks),
            untouched: held.tracks == 0,
        }
    }

    /// Whether the job is beyond the jobs that its tenant may have running at once: those before it in line are served.
    pub(crate) fn is_beyond(&self, config: &Config, tenant: &TenantId, no: JobNo) -> bool {
        let Some(most) = config.quota(tenant).jobs_max else {
            return false;
        };
        self.of(tenant).in_line >= u64::from(most) && !self.served.contains(&no)
    }

    /// The quota that keeps a job from being given more, where one does.
    pub(crate) fn reached(&self, config: &Config, tenant: &TenantId, no: JobNo) -> Option<Blocked> {
        if self.is_beyond(config, tenant, no) {
            return Some(Blocked::QuotaJobs);
        }
        match self.room(config, tenant) {
            Room { grants: 0, .. } => Some(Blocked::QuotaGrants),
            Room { tracks: 0, .. } => Some(Blocked::QuotaTracks),
            Room { .. } => None,
        }
    }
}

impl Reign {
    fn has_quotas(&self) -> bool {
        self.config.quota != Quota::default() || !self.config.quotas.is_empty()
    }

    /// Notes what a change of a shard's record will give its tenant.
    pub(crate) fn note_planned(&mut self, no: JobNo, slot: Slot, takes: Room) {
        let tenant = self.jobs.get(&no).map(|job| &job.key.tenant);
        if let Some(tenant) = tenant.filter(|_| self.has_quotas()) {
            self.planned.note(slot, tenant, takes);
        }
    }

    /// Counts what tenants hold and are being given; where there is no quota, nothing needs to be known.
    pub(crate) fn stock(&self) -> Stock {
        let mut stock = Stock::default();
        if !self.has_quotas() {
            return stock;
        }
        for (tenant, planned) in &self.planned.by_tenant {
            let held = stock.entry(tenant);
            held.grants += planned.grants;
            held.tracks += planned.tracks;
        }
        for job in self.open.iter().filter_map(|no| self.jobs.get(no)) {
            self.looks.one();
            let held = stock.entry(&job.key.tenant);
            held.grants += job.tally.live_grants;
            held.tracks += job.tally.totals.granted;
        }
        for place in &self.line {
            self.looks.one();
            let Some(job) = self.jobs.get(&place.no) else {
                continue;
            };
            let most = self.config.quota(&job.key.tenant).jobs_max;
            let held = stock.entry(&job.key.tenant);
            let served = most.is_none_or(|most| held.in_line < u64::from(most));
            held.in_line += 1;
            if served {
                stock.served.insert(place.no);
            }
        }
        stock
    }

    /// The quota that keeps one job from being given more, where one does.
    pub(crate) fn quota_reached(&self, stock: &Stock, no: JobNo) -> Option<Blocked> {
        let tenant = &self.jobs.get(&no)?.key.tenant;
        let reached = stock.reached(&self.config, tenant, no);
        let waits = || self.waits_for_room(stock, no);
        reached.or_else(|| waits().then_some(Blocked::QuotaTracks))
    }

    /// The same, also where it is one of its tenant's jobs ahead of it that waits for room.
    pub(crate) fn quota_before(
        &self,
        stock: &Stock,
        ahead: &[JobNo],
        no: JobNo,
    ) -> Option<Blocked> {
        let tenant = |no: JobNo| self.jobs.get(&no).map(|job| &job.key.tenant);
        let mut ours = ahead.iter().filter(|other| tenant(**other) == tenant(no));
        let waits = ours.any(|other| self.waits_for_room(stock, *other));
        let reached = self.quota_reached(stock, no);
        reached.or_else(|| waits.then_some(Blocked::QuotaTracks))
    }

    /// Whether the next shard of a job cannot be divided and is more than its tenant may be given now: until it fits, nothing
    /// that comes after it is given.
    pub(crate) fn waits_for_room(&self, stock: &Stock, no: JobNo) -> bool {
        let Some(job) = self.jobs.get(&no) else {
            return false;
        };
        let fresh = job.fresh.first().map(ShardId::Root);
        let Some(next) = job.ready.first().copied().or(fresh) else {
            return false;
        };
        let tracks = || {
            let extent = job.extent(next).unwrap_or_default();
            let known = job.shards.get(&next);
            known.map_or(extent.len(), |shard| shard.free(&extent).len())
        };
        job.is_whole(next) && !stock.room(&self.config, &job.key.tenant).fits(tracks())
    }
}
