//! What a unit that the store has taken changed, said to the audit trail: once, and before anything that rests on it leaves.
//! Called as its outcome is settled, before its records are installed.

use crate::desk::{Change, Record, Unit};
use crate::invariants;
use crate::mutants::{self, Mutant};
use crate::record::{JobState, Progress};
use crate::reign::{Reign, Turn};
use crate::state::Slot;
use crate::{Action, RecordKey};
use types::ActorId;

impl Reign {
    pub(crate) fn audit(&mut self, turn: &mut Turn<'_>, unit: &Unit) {
        let before = turn.actions.len();
        let ticket = unit.ticket.and_then(|no| self.desk.tickets.get(&no));
        if ticket.is_none() && mutants::on(Mutant::ChangeUnaudited) {
            return;
        }
        let caller = ticket.map(|ticket| &ticket.asked.caller.actor);
        for change in &unit.changes {
            self.audit_change(turn, change, caller);
        }
        let lines = turn.actions.len() - before;
        self.applied = self.applied.saturating_add(lines as u64);
    }

    fn audit_change(&self, turn: &mut Turn<'_>, change: &Change, caller: Option<&ActorId>) {
        let by = caller.or_else(|| change.record.by());
        for what in &change.says {
            let Some(key) = self.key_of(change.slot) else {
                return;
            };
            turn.actions.push(Action::Audit {
                by: by.cloned(),
                change: invariants::Change {
                    key,
                    what: what.clone(),
                },
            });
        }
    }

    fn key_of(&self, slot: Slot) -> Option<RecordKey> {
        Some(match slot {
            Slot::Job(no) => RecordKey::Job(self.jobs.get(&no)?.key.clone()),
            Slot::Node(no) => RecordKey::Node(self.nodes.get(&no)?.key.clone()),
            Slot::Shard(no, shard) => RecordKey::Shard(self.jobs.get(&no)?.key.clone(), shard),
            Slot::Revocation(no) => RecordKey::Revocation(self.revocations.get(&no)?.key.clone()),
        })
    }
}

impl Record {
    /// Who made it, where the record says so itself: a cancel or a revocation that no call waits for any more.
    fn by(&self) -> Option<&ActorId> {
        match self {
            Self::Job(job) => match &job.state {
                JobState::Cancelled(closing) => Some(&closing.by),
                JobState::Running
                | JobState::Paused
                | JobState::Publishing
                | JobState::Published(_) => None,
            },
            Self::Revocation(revocation) => match revocation.progress {
                Progress::Open => Some(&revocation.by),
                Progress::Closed => None,
            },
            Self::Node(_) | Self::Shard(_) | Self::Gone => None,
        }
    }
}
