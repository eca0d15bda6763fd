//! Quotas: how many live grants, tracks and running jobs a tenant may have at once. Derived from stored records each time
//! it is asked, never counted on its own; what is being written may go beyond it by what it carries.

use crate::blocked::Blocked;
use crate::config::Quota;
use crate::mutants::{self, Mutant};
use crate::reign::Reign;
use crate::state::JobNo;
use types::TenantId;

/// What a tenant may still be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) grants: u64,
    pub(crate) tracks: u64,
}

impl Room {
    pub(crate) const fn is_empty(&self) -> bool {
        self.grants == 0 || self.tracks == 0
    }
}

impl Reign {
    /// What the tenant may still be given beside what it holds.
    pub(crate) fn room(&self, tenant: &TenantId) -> Room {
        let quota = self.config.quota(tenant);
        let left =
            |most: Option<u64>, has: u64| most.map_or(u64::MAX, |most| most.saturating_sub(has));
        if quota == Quota::default() || mutants::on(Mutant::QuotaIgnored) {
            return Room {
                grants: u64::MAX,
                tracks: u64::MAX,
            };
        }
        let mine = self.jobs.values().filter(|job| job.key.tenant == *tenant);
        let (mut grants, mut tracks) = (0, 0);
        for job in mine.filter(|job| job.is_open()) {
            grants += job.tally.live_grants;
            tracks += job.tally.totals.granted;
        }
        Room {
            grants: left(quota.grants_max.map(u64::from), grants),
            tracks: left(quota.tracks_max, tracks),
        }
    }

    /// Whether the job is beyond the jobs that its tenant may have running at once: those before it in line are served.
    pub(crate) fn is_beyond_quota(&self, no: JobNo) -> bool {
        let Some(job) = self.jobs.get(&no) else {
            return false;
        };
        let Some(most) = self.config.quota(&job.key.tenant).jobs_max else {
            return false;
        };
        let ahead = self.line.iter().take_while(|place| place.no != no);
        let mine = |place: &&crate::state::InLine| {
            let other = self.jobs.get(&place.no);
            other.is_some_and(|other| other.key.tenant == job.key.tenant)
        };
        ahead.filter(mine).count() >= most as usize
    }

    /// The quota that keeps a job from being given more, where one does.
    pub(crate) fn quota_reached(&self, no: JobNo) -> Option<Blocked> {
        let tenant = &self.jobs.get(&no)?.key.tenant;
        if self.is_beyond_quota(no) {
            return Some(Blocked::QuotaJobs);
        }
        match self.room(tenant) {
            Room { grants: 0, .. } => Some(Blocked::QuotaGrants),
            Room { tracks: 0, .. } => Some(Blocked::QuotaTracks),
            Room { .. } => None,
        }
    }
}
