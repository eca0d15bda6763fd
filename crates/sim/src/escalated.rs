//! The judge of escalations: what the gate sends on is scored by the residual and nothing else is, and a job's escalation budget
//! holds shard by shard: never more tracks than its number, and those that are nearest to the gate, whatever was lost, revoked,
//! made again or killed on the way.

use std::collections::BTreeMap;

use agent_core::Escalation;
use types::{Ordinal, Range, ShardId};

use crate::truth::{JobTruth, Nature, Row};
use crate::world::World;

/// Rows of a result, with the shard whose part has them.
pub(crate) type Rows = BTreeMap<Ordinal, (ShardId, Row)>;

/// What became of the tracks of one root shard that the gate would send on.
#[derive(Default)]
struct Chosen {
    /// Whose row is one of an escalation shard.
    sent: Vec<Escalation>,
    withheld: Vec<Escalation>,
    /// Tracks that were given up before they could go on: each may have had the place of another.
    lost: u32,
}

impl World {
    /// A result is published.
    pub(crate) fn judge_escalated(&mut self, truth: &JobTruth, rows: &Rows) {
        for (ordinal, (shard, row)) in rows {
            let onward = matches!(shard, ShardId::Escalation { .. });
            let unsure = truth.nature(*ordinal) == Nature::Unsure;
            let scored = matches!(row, Row::Scored { .. });
            let right = if onward { unsure } else { !(unsure && scored) };
            self.hold(right, "B", || {
                let job = &truth.key;
                format!("track {ordinal} of {job} ends as {row:?} in {shard}")
            });
        }
        let plan = truth.spec.plan;
        for range in (0..plan.shards()).filter_map(|root| plan.range(root)) {
            self.judge_budget(truth, range, &Chosen::of(truth, range, rows));
        }
    }

    fn judge_budget(&mut self, truth: &JobTruth, range: Range, chosen: &Chosen) {
        let most = truth.spec.policy.escalations_of(range);
        let sent = u32::try_from(chosen.sent.len()).unwrap_or(u32::MAX);
        let within = most.is_none_or(|most| sent <= most);
        let full = most.is_some_and(|most| sent + chosen.lost >= most);
        let last = chosen.sent.iter().max();
        let nearest = chosen
            .withheld
            .iter()
            .all(|held| last.is_none_or(|last| last < held));
        let holds = within && (chosen.withheld.is_empty() || (full && nearest));
        self.hold(holds, "B", || {
            let (job, held) = (&truth.key, chosen.withheld.len());
            format!("of {range} of {job} {sent} went on and {held} did not, of {most:?} that may")
        });
    }
}

impl Chosen {
    fn of(truth: &JobTruth, range: Range, rows: &Rows) -> Self {
        let mut chosen = Self::default();
        let of_shard = rows.range(range.first..range.end);
        for (ordinal, (shard, row)) in of_shard {
            let place = truth.escalation(*ordinal);
            match (shard, row) {
                (ShardId::Escalation { .. }, _) => chosen.sent.push(place),
                (ShardId::Root(_), Row::Withheld { .. }) => chosen.withheld.push(place),
                (ShardId::Root(_), Row::Unscannable(_)) => {
                    chosen.lost += u32::from(truth.nature(*ordinal) == Nature::Unsure);
                }
                (ShardId::Root(_), Row::Scored { .. } | Row::Escalated { .. }) => {}
            }
        }
        chosen
    }
}
