//! What an operator may set of the core's policy. Bounds that keep it sound are `limits` and no configuration.

use crate::limits::{JOBS_MAX, NODES_MAX, WORK_PER_PULL};
use crate::record::Form;
use alloc::collections::BTreeMap;
use serde::{Deserialize, Serialize};
use types::{Millis, TenantId};

/// The core's policy. The default is that of one tenant on its own machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// What a tenant missed longer ago than this is not made up for, and 5 % of it is how far ahead of its share a
    /// tenant's lanes may take it.
    pub share_window: Millis,
    /// Work that one answer to a pull aims at, by the node's measured rate.
    pub grant_work: Millis,
    /// What a tenant may have at once, unless it is named in `quotas`.
    pub quota: Quota,
    /// What some tenants may have at once.
    pub quotas: BTreeMap<TenantId, Quota>,
    /// A grant that its node names in beats and that makes no progress for this long is given to another node that has
    /// nothing to do. Longer than the longest track takes to be screened; a grant of an escalation shard has
    /// [`RESIDUAL_STANDS`](crate::limits::RESIDUAL_STANDS) times as long.
    pub stalled_after: Millis,
    /// Closed jobs are dropped, the longest closed first, where more jobs than this are known.
    pub jobs_kept: usize,
    /// Nodes that left or fell silent are dropped where more nodes than this are known.
    pub nodes_kept: usize,
    /// How shard records are written: long, unless the store is one that no version before 0.2 reads.
    /// Journals of those versions do not name it.
    #[serde(default)]
    pub shard_form: Form,
}

/// What one tenant may have at once. `None` is no bound. What is stored counts, and what answers on their way will give.
/// Tracks that a revocation frees within a live grant may go beyond it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Live grants.
    pub grants_max: Option<u32>,
    /// Tracks in live grants without a row.
    pub tracks_max: Option<u64>,
    /// Running jobs that are given work; the others wait in line.
    pub jobs_max: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            share_window: Millis(600_000),
            grant_work: WORK_PER_PULL,
            quota: Quota::default(),
            quotas: BTreeMap::new(),
            stalled_after: Millis(900_000),
            jobs_kept: JOBS_MAX / 2,
            nodes_kept: NODES_MAX / 2,
            shard_form: Form::Long,
        }
    }
}

impl Config {
    pub(crate) fn quota(&self, tenant: &TenantId) -> Quota {
        self.quotas.get(tenant).copied().unwrap_or(self.quota)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_names_no_form_writes_the_long_one() {
        let policy = Config {
            shard_form: Form::Brief,
            ..Config::default()
        };
        let mut told = serde_json::to_value(&policy).unwrap();
        assert_eq!(
            serde_json::from_value::<Config>(told.clone()).unwrap(),
            policy
        );
        told.as_object_mut().unwrap().remove("shard_form").unwrap();
        let read: Config = serde_json::from_value(told).unwrap();
        assert_eq!(read, Config::default());
    }
}
