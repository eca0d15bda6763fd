//! The judge of renewals: once faults have stopped, no answer of the leader to a beat keeps a grant that has long ended.

use scheduler::record::ShardRecord;
use scheduler::{BeatAnswer, GrantOrder, JobKey, Order};
use types::{Millis, ShardId};

use crate::world::World;

/// How long a leader may not know that a grant has ended, once its store answers: many times its longest wait before it
/// asks again, by the slowest clock.
const KNOWN_WITHIN: Millis = Millis(30_000);

impl World {
    /// Notes the attempts that a change ends.
    pub(crate) fn note_ended(
        &mut self,
        job: &JobKey,
        shard: ShardId,
        before: &ShardRecord,
        after: &ShardRecord,
    ) {
        let live = |grant: &&scheduler::record::Grant| after.grant(grant.attempt).is_none();
        for grant in before.grants.iter().filter(live) {
            let key = (job.clone(), shard, grant.attempt);
            self.oracle.ended.insert(key, self.now);
        }
    }

    pub(crate) fn judge_renewals(&mut self, beaten: &BeatAnswer) {
        let calm = self.calm_since();
        let long = |at: Millis| self.now.since(at.max(calm.unwrap_or(self.now))) > KNOWN_WITHIN;
        let renews = |given: &&GrantOrder| given.order != Order::Stop;
        let over = beaten.orders.iter().filter(renews).find(|given| {
            let key = (self.job_key(&given.job), given.shard, given.attempt);
            self.oracle.ended.get(&key).is_some_and(|at| long(*at))
        });
        let what = over.map(|given| {
            format!(
                "{}/{}#{} is renewed and has long ended",
                given.job, given.shard, given.attempt
            )
        });
        if let Some(what) = what {
            self.violated("I4", what);
        }
    }
}
