//! The audit trail of a run, and I17 over it: what each transaction that landed changed, and the lines that leaders wrote. What
//! leaders of an ended reign did not hear of has no line; everything else has one.

use std::collections::BTreeSet;

use scheduler::{Change, Op, RecordKey, Txn, invariants};
use types::{Epoch, Generation};

use crate::world::World;

/// What was stored in this generation, by the reign that wrote it, and what was said of it.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    generation: Option<Generation>,
    stored: Vec<(Epoch, Change)>,
    lines: Vec<Change>,
}

impl World {
    /// The trail of this generation: a restore begins another.
    fn trail(&mut self) -> &mut Trail {
        let generation = Some(self.generation);
        if self.shelf.trail.generation != generation {
            self.shelf.trail = Trail {
                generation,
                ..Trail::default()
            };
        }
        &mut self.shelf.trail
    }

    /// What a transaction would change if it landed now.
    pub(crate) fn changes_of(&self, txn: &Txn) -> Vec<Change> {
        let of = |op: &Op| {
            let key = RecordKey::parse(self.generation, op.key()).ok()?;
            let before = self.shelf.model.get(op.key()).map(|entry| entry.value);
            let after = match op {
                Op::Put { value, .. } => Some(value.as_slice()),
                Op::Delete { .. } => None,
            };
            // What does not decode is a violation of its own.
            invariants::changes(&key, before.as_deref(), after).ok()
        };
        txn.ops.iter().filter_map(of).flatten().collect()
    }

    pub(crate) fn note_changes(&mut self, epoch: Epoch, changes: Vec<Change>) {
        let changes = changes.into_iter().map(|change| (epoch, change));
        self.trail().stored.extend(changes);
    }

    /// A coordinator writes a line. What one of an older generation says is the past's.
    pub(crate) fn note_line(&mut self, who: usize, change: Change) {
        if !self.is_of_the_past(who) {
            self.trail().lines.push(change);
        }
    }

    /// I17, at the end of a run.
    pub(crate) fn judge_trail(&mut self) {
        let leads = self.shelf.epoch();
        let mut up = self.coordinators.iter().filter(|one| one.up);
        let leader = up.find(|one| one.reign == leads && one.reign.is_some());
        let trail = &self.shelf.trail;
        let ended: BTreeSet<&Change> = trail
            .stored
            .iter()
            .filter(|(epoch, _)| Some(*epoch) != leads)
            .map(|(_, change)| change)
            .collect();
        let unheard = |change: &Change| {
            ended.contains(change) || leader.is_none_or(|one| one.core.is_changing(&change.key))
        };
        let stored = trail.stored.iter().map(|(_, change)| change);
        let judged = invariants::changes_are_audited(stored, &trail.lines, unheard);
        if let Err(violation) = judged {
            self.violated("I17", violation.what);
        }
    }
}
