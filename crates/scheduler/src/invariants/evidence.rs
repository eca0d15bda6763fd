//! Invariants over what more than one record shows: a job's states, stored objects, transactions, shares, an agent's
//! renewals. Each predicate takes its evidence from whoever has it: the core, a test's store, the simulator, a counter.

use super::{Invariant, Violation, hold};
use crate::record::{JobRecord, JobState, Part};
use crate::reign::Core;
use crate::settle::decode;
use crate::state::Slot;
use crate::{JobKey, RecordKey, StoredEntry};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use types::{Digest, Epoch, JobSpec, Millis, is_renewed};

/// I5: the object that a part names is in storage, with its size and digest. `None` where there is no such object.
///
/// # Errors
/// Names the part whose object is not.
pub fn part_is_stored(part: &Part, object: Option<(u64, Digest)>) -> Result<(), Violation> {
    let there = object == Some((part.bytes, part.sha256));
    hold(there, Invariant::I5, || {
        format!(
            "part {:?} of attempt {} has {object:?}",
            part.sha256, part.attempt
        )
    })
}

/// I6: no object that was judged an orphan is named by a part that counts.
///
/// # Errors
/// Names the part.
pub fn orphan_is_unnamed<'a>(
    orphan: Digest,
    mut counting: impl Iterator<Item = &'a Part>,
) -> Result<(), Violation> {
    let named = counting.any(|part| part.sha256 == orphan);
    hold(!named, Invariant::I6, || {
        format!("orphan {orphan:?} counts")
    })
}

/// I7: a part that is about to count was never collected.
///
/// # Errors
/// Names the part.
pub fn counted_was_not_collected(part: &Part, collected: bool) -> Result<(), Violation> {
    hold(!collected, Invariant::I7, || {
        format!("part {:?} counts and was collected", part.sha256)
    })
}

/// I10: a job's record says what its key says.
///
/// # Errors
/// Names both.
pub fn job_is_its_tenants(key: &JobKey, spec: &JobSpec) -> Result<(), Violation> {
    let same = spec.tenant == key.tenant && spec.job == key.job;
    hold(same, Invariant::I10, || {
        format!("`{key}` holds job `{}/{}`", spec.tenant, spec.job)
    })
}

/// I11: a transaction that was applied is of the reign that led when it was.
///
/// # Errors
/// Names both reigns.
pub fn applied_in_its_reign(txn: Epoch, leading: Epoch) -> Result<(), Violation> {
    hold(txn == leading, Invariant::I11, || {
        format!("a write of epoch {txn} was applied in epoch {leading}")
    })
}

/// I12 of one record: what is held of a revision is what the store has of it, both in their stored form.
///
/// # Errors
/// Names the key.
pub fn held_is_stored(
    key: &str,
    held: Option<Vec<u8>>,
    stored: Option<Vec<u8>>,
) -> Result<(), Violation> {
    hold(held == stored, Invariant::I12, || {
        format!("`{key}` is held as another than the store has")
    })
}

/// I14: what tenants had while all of them had backlog is even: each within 5 % of an even part, or within `grants_us` (one
/// grant for each device), whichever is larger. In microseconds of device time.
///
/// # Errors
/// Says what they had.
pub fn shares_are_even(had_us: &[u64], grants_us: u64) -> Result<(), Violation> {
    let whole: u64 = had_us.iter().copied().fold(0, u64::saturating_add);
    let even = whole.checked_div(had_us.len() as u64).unwrap_or_default();
    let slack = (even / 20).max(grants_us);
    let fair = had_us.iter().all(|had| had.abs_diff(even) <= slack);
    hold(fair, Invariant::I14, || format!("tenants had {had_us:?}"))
}

/// I15: a job has ended. To be asked after the faults have stopped and a bounded number of steps.
///
/// # Errors
/// Says where it stands.
pub fn job_has_ended(record: &JobRecord) -> Result<(), Violation> {
    hold(record.state.is_closed(), Invariant::I15, || {
        format!("job `{}` stands at {:?}", record.spec.job, record.state)
    })
}

/// I16: running and paused may follow each other; from them cancelled, and from running publishing; published only from
/// publishing; a job that publishes or is closed is not written for anything else, not even the same again: whoever holds a
/// revision of it holds the last. So cancel and publish exclude each other.
///
/// # Errors
/// Names both states.
pub fn job_change(before: Option<&JobRecord>, after: &JobRecord) -> Result<(), Violation> {
    use JobState::{Cancelled, Paused, Published, Publishing, Running};
    let Some(before) = before else {
        let begins = matches!(after.state, Running);
        return hold(begins, Invariant::I16, || {
            format!("a job begins as {:?}", after.state)
        });
    };
    let may = match (&before.state, &after.state) {
        (Running | Paused, Running | Paused | Cancelled(_)) => true,
        (Running, Publishing) | (Publishing, Published(_)) => true,
        (Running | Paused | Publishing | Published(_) | Cancelled(_), _) => false,
    };
    hold(may, Invariant::I16, || {
        format!("{:?} became {:?}", before.state, after.state)
    })
}

/// I19: an agent sends a commit only while, by its own clock, its grant was granted or renewed within a grant's life: by the
/// function that the agent's core asks too, of times that whoever judges keeps itself.
///
/// # Errors
/// Says how old the renewal is.
pub fn commit_is_renewed(
    now: Millis,
    renewed_at: Option<Millis>,
    grant_lives: Millis,
) -> Result<(), Violation> {
    let lives = is_renewed(now, renewed_at, grant_lives);
    hold(lives, Invariant::I19, || {
        format!("a commit at {now} under a grant renewed at {renewed_at:?}")
    })
}

/// I20: two runs of the same events gave the same trace.
///
/// # Errors
/// Names the first line that differs.
pub fn traces_agree<T: PartialEq>(one: &[T], other: &[T]) -> Result<(), Violation> {
    let differs = one.iter().zip(other).position(|(a, b)| a != b);
    let same = differs.is_none() && one.len() == other.len();
    hold(same, Invariant::I20, || {
        let at = differs.unwrap_or(one.len().min(other.len()));
        format!("the traces differ at {at}")
    })
}

impl Core {
    /// I12: what this leader holds is what the store holds at a revision at which nothing of it is being written.
    /// `entries` are those of a linearizable read of the generation; holds while this core does not lead.
    ///
    /// # Errors
    /// Names the key that differs.
    pub fn agrees_with(&self, entries: &[StoredEntry]) -> Result<(), Violation> {
        let Some(reign) = self.shown() else {
            return Ok(());
        };
        let read: BTreeSet<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        for (slot, path) in reign.held_paths() {
            let there = reign.desk.is_dirty(slot) || read.contains(path.as_str());
            hold(there, Invariant::I12, || {
                format!("`{path}` is held and not in the store")
            })?;
        }
        for entry in entries {
            let slot = reign.slot_of(&entry.key);
            let known = slot.and_then(|slot| reign.revision(slot));
            let decodes = slot.is_none_or(|slot| decode(slot, &entry.value).is_ok());
            let busy = slot.is_some_and(|slot| reign.desk.is_dirty(slot));
            let same = busy || (known == Some(entry.revision) && decodes);
            hold(same, Invariant::I12, || {
                format!(
                    "`{}` is at {:?}, held at {known:?}",
                    entry.key, entry.revision
                )
            })?;
        }
        Ok(())
    }
}

impl Invariant {
    /// Every invariant of the protocol, in order.
    pub const ALL: &'static [Self] = &[
        Self::I1,
        Self::I2,
        Self::I3,
        Self::I4,
        Self::I5,
        Self::I6,
        Self::I7,
        Self::I8,
        Self::I9,
        Self::I10,
        Self::I11,
        Self::I12,
        Self::I13,
        Self::I14,
        Self::I15,
        Self::I16,
        Self::I17,
        Self::I18,
        Self::I19,
        Self::I20,
    ];

    /// Those that a core counts in production, where one does not hold: see [`Core::violations`]. The evidence of the others is
    /// elsewhere, or shows only over a whole history.
    pub const COUNTED: &'static [Self] = &[
        Self::I1,
        Self::I2,
        Self::I3,
        Self::I4,
        Self::I6,
        Self::I8,
        Self::I9,
        Self::I10,
        Self::I12,
        Self::I13,
        Self::I16,
        Self::I18,
        Self::Internal,
    ];

    /// Where it is held, beside the predicate here: who refuses or counts what would break it.
    #[must_use]
    pub const fn holder(self) -> &'static str {
        match self {
            Self::I1 | Self::I2 | Self::I3 | Self::I4 | Self::I8 | Self::I13 | Self::I18 => {
                "scheduler: every change of a shard is checked before it is written"
            }
            Self::I5 => "agent and storage: a part is read back before it is committed",
            Self::I6 => "scheduler: nothing that a record names is given back to be deleted",
            Self::I7 => "scheduler: what may be deleted is proved from ended attempts",
            Self::I9 => "scheduler: every manifest is checked before it is asked for",
            Self::I10 => "scheduler: keys are made of the caller's tenant",
            Self::I11 => "store: every transaction compares its epoch",
            Self::I12 => "scheduler: every outcome installs what it wrote or what was read",
            Self::I14 => "scheduler: who had least goes first",
            Self::I15 => "nobody alone: the simulator and the random histories show it",
            Self::I16 => {
                "scheduler: a job's record decides alone, and its changes are counted against this"
            }
            Self::I17 => "scheduler: a write known to be applied says its changes to the trail",
            Self::I19 => "agent-core: a commit waits for a renewal",
            Self::I20 => "scheduler, agent-core: pure, and shown by replay",
            Self::Internal => "this program",
        }
    }
}

impl crate::reign::Reign {
    /// Every record that is held as stored, with its key.
    fn held_paths(&self) -> impl Iterator<Item = (Slot, String)> + '_ {
        let jobs = self.jobs.iter().filter(|(_, job)| job.stored.is_some());
        let jobs = jobs.map(|(no, job)| (Slot::Job(*no), RecordKey::Job(job.key.clone())));
        let nodes = self.nodes.iter().filter(|(_, node)| node.stored.is_some());
        let nodes = nodes.map(|(no, node)| (Slot::Node(*no), RecordKey::Node(node.key.clone())));
        let revocations = self.revocations.iter();
        let revocations =
            revocations
                .filter(|(_, entry)| entry.stored.is_some())
                .map(|(no, entry)| {
                    let key = RecordKey::Revocation(entry.key.clone());
                    (Slot::Revocation(*no), key)
                });
        let shards = self.jobs.iter().flat_map(|(no, job)| {
            let of_job = job.shards.keys();
            of_job.map(|id| {
                (
                    Slot::Shard(*no, *id),
                    RecordKey::Shard(job.key.clone(), *id),
                )
            })
        });
        let all = jobs.chain(nodes).chain(revocations).chain(shards);
        all.map(|(slot, key)| (slot, key.path(self.generation)))
    }

    fn slot_of(&self, path: &str) -> Option<Slot> {
        self.slot_at(&RecordKey::parse(self.generation, path).ok()?)
    }

    /// The place of the record at a key, where it is known.
    pub(crate) fn slot_at(&self, key: &RecordKey) -> Option<Slot> {
        match key {
            RecordKey::Job(key) => self.job_no(key).map(Slot::Job),
            RecordKey::Node(key) => self.node_names.get(key).map(|no| Slot::Node(*no)),
            RecordKey::Revocation(key) => {
                let no = self.revocation_names.get(key)?;
                Some(Slot::Revocation(*no))
            }
            RecordKey::Shard(key, shard) => {
                let no = self.job_no(key)?;
                Some(Slot::Shard(no, *shard))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn each_invariant_has_its_number_once_and_a_holder() {
        for (at, invariant) in Invariant::ALL.iter().enumerate() {
            assert_eq!(invariant.to_string(), format!("I{}", at + 1));
            assert!(!invariant.holder().is_empty());
        }
    }

    #[test]
    fn shares_are_even_within_5_percent_or_a_grant_for_each_device() {
        for (had, grants, even) in [
            (&[100, 100][..], 0, true),
            (&[105, 95], 0, true),
            (&[106, 94], 0, false),
            (&[120, 80], 0, false),
            (&[120, 80], 20, true),
            (&[], 0, true),
        ] {
            assert_eq!(shares_are_even(had, grants).is_ok(), even, "{had:?}");
        }
    }
}
