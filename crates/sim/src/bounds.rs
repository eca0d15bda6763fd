//! Bounds: the judge of what one transaction may hold, and a note of each bound of the cores that only large jobs reach, so that one
//! that no run reaches is seen. And the fault that fills a shard's suspects: a node is lost with very many tracks that lie apart.

use scheduler::limits::{GROUP_OPS_MAX, SUSPECT_RUNS_MAX};
use scheduler::record::ShardRecord;
use scheduler::{Answer, Flush, Op, Txn};
use types::{Millis, Problem};

use crate::faults::Kind;
use crate::mix::Large;
use crate::world::World;

/// Compares in one transaction, the epoch's with them, and its puts and deletes: what an etcd server takes by default.
const OPERATIONS_MAX: usize = 128;
/// Bytes in one transaction: what such a server takes by default.
const BYTES_MAX: usize = 1_536 * 1_024;
/// Bytes of a compare or an operation beside its key and value: tags, lengths, revisions.
const OVERHEAD_BYTES: usize = 32;
/// A node that is lost with what it was just given is back within this, in ms.
const BACK_MAX: u64 = 5_000;

/// A transaction has as many compares as the core puts into one.
const GROUP_FILLED: &str = "group filled";
/// A shard has so many parts that its grants flush once.
const FLUSHED_ONCE: &str = "flushed once";
/// A shard has as many runs of suspects as its record may.
const SUSPECTS_FILLED: &str = "suspects filled";

/// The name of each bound that only large jobs reach.
#[must_use]
pub const fn bounds() -> [&'static str; 3] {
    [GROUP_FILLED, FLUSHED_ONCE, SUSPECTS_FILLED]
}

impl World {
    fn reached(&mut self, bound: &'static str) {
        *self.tally.reached.entry(bound).or_default() += 1;
    }

    /// A transaction is sent: a store would take it.
    pub(crate) fn judge_size(&mut self, txn: &Txn) {
        let (compares, ops) = (txn.compares.len() + 1, txn.ops.len());
        let bytes = bytes(txn);
        let fits = compares <= OPERATIONS_MAX && ops <= OPERATIONS_MAX && bytes <= BYTES_MAX;
        self.hold(fits, "I18", || {
            format!("a transaction has {compares} compares, {ops} operations and {bytes} bytes")
        });
        if txn.compares.len() == GROUP_OPS_MAX {
            self.reached(GROUP_FILLED);
        }
    }

    /// A leader answers an agent.
    pub(crate) fn note_flush(&mut self, answer: &Answer) {
        let at_end = |flush: Flush| flush == Flush::AtEnd;
        let given = matches!(answer, Answer::Pulled(given)
            if given.grants.iter().any(|one| at_end(one.flush)));
        let told = matches!(answer, Answer::Beaten(told)
            if told.orders.iter().any(|one| at_end(one.flush)));
        if given || told {
            self.reached(FLUSHED_ONCE);
        }
    }

    /// A shard's record has landed.
    pub(crate) fn note_suspects(&mut self, before: &ShardRecord, after: &ShardRecord) {
        let full = |record: &ShardRecord| record.suspects.len() == SUSPECT_RUNS_MAX;
        if full(after) && !full(before) {
            self.reached(SUSPECTS_FILLED);
        }
    }

    /// Whether a node is lost with what this answer gives it, before it named any of it: where that lies in more runs than a
    /// record keeps apart.
    pub(crate) fn is_lost_with(&mut self, who: usize, answer: &Result<Answer, Problem>) -> bool {
        let Ok(Answer::Pulled(pulled)) = answer else {
            return false;
        };
        let strikes = self.mix.large == Some(Large::Scattered) && !self.calm;
        let mut grants = pulled.grants.iter();
        let lost = strikes && grants.any(|one| one.tracks.ranges().len() > SUSPECT_RUNS_MAX);
        if lost {
            let back_in = Millis(self.dice.between(200, BACK_MAX));
            self.struck(Kind::CrashAgent.name());
            self.crash_agent(who, back_in);
        }
        lost
    }
}

fn bytes(txn: &Txn) -> usize {
    let compares = txn.compares.iter().map(|compare| compare.key().len());
    let ops = txn.ops.iter().map(|op| match op {
        Op::Put { key, value } => key.len() + value.len(),
        Op::Delete { key } => key.len(),
    });
    compares.chain(ops).map(|one| one + OVERHEAD_BYTES).sum()
}
