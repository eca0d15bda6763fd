//! Answers to pulls, from the stored records: the same for the first time a number is asked and for each repetition,
//! also by a new leader.

use crate::desk::Asked;
use crate::event::Pull;
use crate::limits::{FED_AGAIN, PARTS_BEFORE_FLUSH_ONCE, PULL_AGAIN};
use crate::record::ShardRecord;
use crate::reign::{Reign, Turn};
use crate::reply::node_key;
use crate::state::{GrantId, Job, NodeNo};
use crate::{Answer, Escalation, Flush, Granted, PullAnswer};
use alloc::vec::Vec;
use types::{Problem, PullNo, ShardId, TrackSet};

impl Reign {
    /// The answer to a pull, from the stored records: those of its grants that live.
    pub(crate) fn pull_answer(&self, no: NodeNo, number: PullNo) -> Answer {
        let mut grants = Vec::new();
        let mut jobs = Vec::new();
        let node = self.nodes.get(&no);
        for id in node.iter().flat_map(|node| node.holdings.keys()) {
            let Some(granted) = self.granted(no, *id, number) else {
                continue;
            };
            let spec = self
                .jobs
                .get(&id.job)
                .and_then(Job::record)
                .map(|r| &r.spec);
            if let Some(spec) = spec.filter(|spec| !jobs.contains(*spec)) {
                jobs.push(spec.clone());
            }
            grants.push(granted);
        }
        let again_after = if grants.is_empty() {
            PULL_AGAIN
        } else {
            FED_AGAIN
        };
        Answer::Pulled(PullAnswer {
            number,
            grants,
            jobs,
            again_after,
            reason: None,
        })
    }

    fn granted(&self, no: NodeNo, id: GrantId, number: PullNo) -> Option<Granted> {
        let job = self.jobs.get(&id.job)?;
        let session = self.nodes.get(&no)?.record()?.session;
        let shard = job.shards.get(&id.shard)?;
        let record = &shard.stored.record;
        let grant = record.grant(id.attempt)?;
        if grant.pull != number || grant.session != session {
            return None;
        }
        let within = job
            .extent(id.shard)?
            .intersection(&TrackSet::from(grant.range));
        let tracks = within.difference(&shard.covered);
        let apart = grant.apart.as_ref();
        Some(Granted {
            job: job.key.clone(),
            shard: id.shard,
            attempt: id.attempt,
            epoch: self.epoch,
            generation: self.generation,
            range: grant.range,
            apart: apart.map_or_else(TrackSet::new, |apart| apart.intersection(&tracks)),
            tracks,
            care: grant.care,
            flush: flush(job, id.shard, record),
            escalations_max: job.escalations_left(id.shard, record),
            escalation: escalation(job, id.shard),
            lane: job.record()?.lane,
            priority: job.record()?.priority,
        })
    }

    /// A pull's grants are stored: answer it, and whoever repeated it.
    pub(crate) fn pull_stored(&mut self, turn: &mut Turn<'_>, asked: &Asked, pull: &Pull) {
        let key = node_key(&asked.caller, &pull.node);
        let Some(no) = self.node_names.get(&key).copied() else {
            return turn.answer(asked.call, Err(crate::reign::overloaded()));
        };
        let calls = self.end_pull(no);
        let answer = self.pull_answer(no, pull.number);
        for call in calls.into_iter().chain([asked.call]) {
            turn.answer(call, Ok(answer.clone()));
        }
    }

    /// A pull's grants were not stored: whoever repeated it asks again, and its number is free again.
    pub(crate) fn pull_unstored(
        &mut self,
        turn: &mut Turn<'_>,
        asked: &Asked,
        pull: &Pull,
        why: &Problem,
    ) {
        let key = node_key(&asked.caller, &pull.node);
        let Some(no) = self.node_names.get(&key).copied() else {
            return;
        };
        for call in self.end_pull(no) {
            turn.answer(call, Err(why.clone()));
        }
        if let Some(node) = self.nodes.get_mut(&no)
            && node.pulled == pull.number
        {
            node.pulled = PullNo(pull.number.0.saturating_sub(1));
        }
    }

    fn end_pull(&mut self, no: NodeNo) -> Vec<crate::CallId> {
        let pulling = self.nodes.get_mut(&no).and_then(|node| node.pulling.take());
        pulling.map_or_else(Vec::new, |(_, calls)| calls)
    }
}

/// When the shard's grants flush.
pub(crate) fn flush(job: &Job, shard: ShardId, record: &ShardRecord) -> Flush {
    if record.parts.len() >= PARTS_BEFORE_FLUSH_ONCE || job.is_whole(shard) {
        Flush::AtEnd
    } else {
        Flush::AsConfigured
    }
}

fn escalation(job: &Job, shard: ShardId) -> Option<Escalation> {
    let ShardId::Escalation {
        root,
        attempt,
        first,
    } = shard
    else {
        return None;
    };
    let sha256 = job.escalations.get(&shard)?.sha256;
    Some(Escalation {
        root,
        attempt,
        first,
        sha256,
    })
}
