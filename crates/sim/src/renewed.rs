//! The judge of renewals: once faults have stopped, no answer of the leader to a beat keeps a grant that has long ended.

use scheduler::record::ShardRecord;
use scheduler::{BeatAnswer, GrantOrder, JobKey, Order};
use types::{Millis, ShardId};

use crate::world::World;

/// How long a leader may not know that a grant has ended, once its store answers: many times its longest wait before it
/// asks again, by the slowest clock.
const KNOWN_WITHIN: Millis = Millis(30_000);

/// How long an agent may name a grant that it can do nothing for: a few beats, by the slowest clock, and the wait for a
/// coordinator that does not answer.
const IDLE_WITHIN: Millis = Millis(120_000);

impl World {
    /// An agent beats: where all its devices are out, it keeps nothing that it has neither made nor in hand.
    pub(crate) fn judge_held(&mut self, who: usize, call: &agent_core::BeatCall) {
        let one = &self.agents[who];
        let out = one.bench.iter().all(|bench| bench.out);
        let mut held = call.held.iter();
        let idle = held.find(|held| held.in_hand.is_empty() && held.unflushed == 0);
        let Some(idle) = idle.filter(|_| out && self.calm) else {
            self.agents[who].idle_since = None;
            return;
        };
        let what = format!("a{who} keeps {:?} and has no device", idle.key);
        let since = *self.agents[who].idle_since.get_or_insert(self.now);
        let long = self.now.since(since) > IDLE_WITHIN;
        self.hold(!long, "I15", || what);
    }

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
