//! The escalation budget of a job, as far as the coordinator keeps it: which shards it makes indivisible, and how many tracks of
//! each may yet go on to the residual. Asked by whatever grants, shrinks and counts; which tracks go on is chosen by the agent
//! that has screened them all.
//!
//! The choice must not depend on who came first, so a root shard of a job with a budget is granted whole, to one node at a time,
//! and given back whole; what is left of the number follows from the parts that count, never from a counter.

use crate::event::Commit;
use crate::mutants::{self, Mutant};
use crate::record::{PartKind, ShardRecord};
use crate::state::Job;
use types::{ShardId, TrackSet};

impl Job {
    /// Whether all that is left of a shard is granted together, or nothing of it.
    pub(crate) fn is_whole(&self, shard: ShardId) -> bool {
        self.escalations_of(shard).is_some()
    }

    /// How many tracks of a root shard may go on to the residual; none where there is no bound.
    fn escalations_of(&self, shard: ShardId) -> Option<u32> {
        let ShardId::Root(root) = shard else {
            return None;
        };
        let spec = &self.record()?.spec;
        spec.policy.escalations_of(spec.plan.range(root)?)
    }

    /// How many of them may yet: those in a part that counts have gone on already.
    pub(crate) fn escalations_left(&self, shard: ShardId, record: &ShardRecord) -> Option<u32> {
        let most = self.escalations_of(shard)?;
        let sent = record
            .parts
            .iter()
            .filter(|part| part.kind == PartKind::Escalation);
        let sent: u32 = sent.map(|part| part.rows).fold(0, u32::saturating_add);
        match mutants::on(Mutant::BudgetTwice) {
            true => Some(most),
            false => Some(most.saturating_sub(sent)),
        }
    }

    /// Whether a commit of a shard keeps the budget of its job, where it has one; else what is wrong. `open` are the tracks of
    /// its grant without a row.
    pub(crate) fn keeps_budget(
        &self,
        commit: &Commit,
        record: &ShardRecord,
        open: &TrackSet,
    ) -> Result<(), &'static str> {
        let Some(most) = self.escalations_left(commit.shard, record) else {
            return Ok(());
        };
        let claimed = commit.parts.iter();
        let claimed = claimed.fold(TrackSet::new(), |all, part| all.union(&part.tracks));
        if !open.is_within(&claimed) {
            return Err("its job has an escalation budget, and it leaves tracks of its grant out");
        }
        let onward = commit
            .parts
            .iter()
            .filter(|part| part.kind == PartKind::Escalation);
        let onward: u64 = onward.map(|part| part.tracks.len()).sum();
        if onward > u64::from(most) {
            return Err("it sends on more tracks than its job's escalation budget has left");
        }
        Ok(())
    }
}
