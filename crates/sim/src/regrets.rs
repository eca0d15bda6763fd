//! Second thoughts about escalations: people revoke what made an escalation shard, or the terminal part of the same flush alone,
//! just as a part of the shard counts, and the store is lost just as another shard over the same tracks has a part of its own.
//! What decides is what storage and the judge's books say, never what a core believes.

use scheduler::JobKey;
use scheduler::record::{Part, PartKind};
use types::{Millis, NodeId, ShardId, UnixMillis};

use crate::agenda::Happening;
use crate::depot::Object;
use crate::world::World;

/// Chance in ten thousand that the store is lost when storage holds parts of two escalation shards over one track.
const LOST_THEN: u32 = 5_000;
/// How soon: before the parts' job can end.
const SOON: u64 = 50;

impl World {
    /// A part begins to count: where it is one of an escalation shard, somebody may doubt what made the shard.
    pub(crate) fn maybe_regretted(&mut self, job: &JobKey, shard: ShardId) {
        let ShardId::Escalation { .. } = shard else {
            return;
        };
        if self.calm || !self.dice.happens(self.mix.regret) {
            return;
        }
        let Some(part) = self.made_of(job, shard).cloned() else {
            return;
        };
        let alone = self.beside(job, shard, &part);
        let alone = alone.filter(|_| self.dice.happens(5_000));
        if let Some((from, to)) = alone.map(|at| (at, at)).or_else(|| span(&part)) {
            self.doubt(part, from, to);
        }
    }

    /// A moment at which the terminal part of the same flush was made and the escalation part was not: revoked then, it falls
    /// alone, and what went on stays gone on.
    fn beside(&self, job: &JobKey, shard: ShardId, onward: &Part) -> Option<UnixMillis> {
        let root = (job.clone(), ShardId::Root(shard.root()));
        let mut parts = self.oracle.shards.get(&root)?.parts.iter();
        let flushed =
            |part: &&Part| part.kind == PartKind::Terminal && part.attempt == onward.attempt;
        let (first, last) = span(parts.find(flushed)?)?;
        let (from, to) = span(onward)?;
        [first, last].into_iter().find(|at| *at < from || *at > to)
    }

    fn doubt(&mut self, part: Part, from: UnixMillis, to: UnixMillis) {
        let node: NodeId = part.node;
        self.revoke(node, None, (from, to));
    }

    /// An object was put: where another one of its root's escalation shards has a part over one of its tracks, the store may
    /// be lost now.
    pub(crate) fn maybe_lost(&mut self, object: &Object) {
        if self.calm || !self.has_sibling(object) || !self.dice.happens(LOST_THEN) {
            return;
        }
        let at = self.now + Millis(self.dice.between(1, SOON));
        self.agenda.plan(at, Happening::StoreLost);
    }

    fn has_sibling(&self, object: &Object) -> bool {
        let Some(made_of) = object.escalation else {
            return false;
        };
        let parts = self.depot.parts_of(self.generation);
        parts.iter().any(|other| {
            let of_root = (&other.job, other.shard.root()) == (&object.job, object.shard.root());
            let another = other.escalation.is_some_and(|digest| digest != made_of);
            of_root && another && other.tracks.intersects(&object.tracks)
        })
    }
}

/// When a part was made, by its node's clock.
fn span(part: &Part) -> Option<(UnixMillis, UnixMillis)> {
    let from = part.made.iter().map(|made| made.from.min(made.to)).min();
    let to = part.made.iter().map(|made| made.to.max(made.from)).max();
    from.zip(to)
}
