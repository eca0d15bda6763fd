//! What answers of the store show against what is held and what was shown before: the I12 of every day. A store that shows less
//! than it did was set back, and the reign ends over it; a record that differs at the revision held is counted.

use crate::desk::{Group, Record};
use crate::invariants::{self, Violation};
use crate::record;
use crate::reign::Reign;
use crate::settle::decode;
use crate::state::Slot;
use crate::{Revision, StepDown, StoredEntry};
use alloc::string::String;
use alloc::vec::Vec;

impl Reign {
    /// The store stands at this revision, or did.
    pub(crate) fn hear(&mut self, revision: Revision) {
        self.desk.heard = self.desk.heard.max(revision);
    }

    /// An answer shows a revision below one that was known before it was asked for: the store is not the one that it was,
    /// and nothing is safe to decide any more.
    pub(crate) fn set_back(&mut self, group: &Group, shown: Revision) {
        let mut changes = group.units.iter().flat_map(|unit| &unit.changes);
        let key = changes.next().map(|change| change.path.clone());
        self.over = Some(was_set_back(key.unwrap_or_default(), shown, group.floor));
    }

    /// I12 of a record that was read: at the revision at which it is held it is the one that is held.
    pub(crate) fn check_held(&mut self, slot: Slot, entry: &StoredEntry) {
        if self.revision(slot) != Some(entry.revision) {
            return;
        }
        let (held, stored) = (self.held(slot), decode(slot, &entry.value).ok());
        let stored = stored.as_ref().and_then(encoded);
        self.count_broken(invariants::held_is_stored(&entry.key, held, stored));
    }

    /// A record as it is held, in the form in which it is stored.
    fn held(&self, slot: Slot) -> Option<Vec<u8>> {
        Some(match slot {
            Slot::Job(no) => record::encode(self.jobs.get(&no)?.record()?),
            Slot::Node(no) => record::encode(self.nodes.get(&no)?.record()?),
            Slot::Shard(no, shard) => {
                let shard = self.jobs.get(&no)?.shards.get(&shard)?;
                record::encode(&shard.stored.record)
            }
            Slot::Revocation(no) => {
                let entry = self.revocations.get(&no)?;
                record::encode(&entry.stored.as_ref()?.record)
            }
        })
    }

    /// Counts an invariant that does not hold.
    pub(crate) fn count_broken(&mut self, judged: Result<(), Violation>) {
        if let Err(violation) = judged {
            *self.violations.entry(violation.invariant).or_default() += 1;
        }
    }
}

/// Why a reign ends over a store that was set back.
pub(crate) fn was_set_back(key: String, shown: Revision, known: Revision) -> StepDown {
    let cause = alloc::format!(
        "the store shows revision {} and stood at {} before: it was set back",
        shown.0,
        known.0
    );
    StepDown::Unreadable { key, cause }
}

fn encoded(record: &Record) -> Option<Vec<u8>> {
    match record {
        Record::Job(record) => Some(record::encode(record.as_ref())),
        Record::Node(record) => Some(record::encode(record.as_ref())),
        Record::Shard(record) => Some(record::encode(record.as_ref())),
        Record::Revocation(record) => Some(record::encode(record.as_ref())),
        Record::Gone => None,
    }
}
