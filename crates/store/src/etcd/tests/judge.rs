//! Whether what clients heard of one store can be true: a judge of histories.
//!
//! Revisions order all writes. The judge takes the store's own record of changes, finds the write that made each of them, replays these
//! through the model in that order, and holds every outcome and every reading against it. A write of unknown outcome may have landed once, or
//! not. Whoever heard something before somebody else began may not know more than that one.

use std::collections::BTreeSet;

use store_model as model;
use types::Epoch;

use crate::{Change, Compare, Entry, KeyRange, Op, Outcome, Page, Refusal, Revision, Txn};

/// What one client did and heard, and when by a clock that all share.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) begun: u64,
    pub(super) ended: u64,
    pub(super) did: Did,
}

/// What was done.
#[derive(Clone, Debug)]
pub(super) enum Did {
    Wrote { txn: Txn, outcome: Outcome },
    Read { range: KeyRange, page: Page },
    Got { key: String, entry: Option<Entry> },
    Led { epoch: Epoch },
}

/// The store's record: what each transaction changed, in order.
pub(super) type Record = Vec<(Revision, Vec<Change>)>;

/// Judges a history that began when the store had come to `base`.
pub(super) fn judge(base: Revision, record: &Record, events: &[Event]) -> Result<(), String> {
    let mut judge = Judge {
        model: model::Model::new(),
        events,
        owners: vec![None; record.len()],
        record,
    };
    judge.model.go_on_above(out(base));
    for n in 0..record.len() {
        judge.replay(n)?;
    }
    let last = record.last().map_or(base, |(revision, _)| *revision);
    let heard = events.iter().filter_map(heard_revision).max();
    judge.model.go_on_above(out(heard.unwrap_or(last)));
    events.iter().try_for_each(|event| judge.check(event))
}

struct Judge<'a> {
    model: model::Model,
    events: &'a [Event],
    record: &'a Record,
    /// Which event made each entry of the record.
    owners: Vec<Option<usize>>,
}

const fn out(revision: Revision) -> model::Revision {
    model::Revision(revision.0)
}

/// The revision that a client has certainly seen.
fn heard_revision(event: &Event) -> Option<Revision> {
    match &event.did {
        Did::Wrote {
            outcome: Outcome::Applied { revision },
            ..
        } => Some(*revision),
        Did::Read { page, .. } => Some(page.revision),
        Did::Led { epoch } => Some(Revision(epoch.0)),
        Did::Wrote { .. } | Did::Got { .. } => None,
    }
}

impl Judge<'_> {
    /// Finds who made an entry of the record and does the same to the model.
    fn replay(&mut self, n: usize) -> Result<(), String> {
        let (revision, changes) = &self.record[n];
        let owner = self.owner(*revision, changes);
        let owner = owner.ok_or_else(|| format!("revision {revision} was made by nobody"))?;
        self.owners[n] = Some(owner);
        let Did::Wrote { txn, .. } = &self.events[owner].did else {
            return Err(format!("revision {revision} was made by a reading"));
        };
        self.check_fence(*revision, txn)?;
        self.model.go_on_above(model::Revision(revision.0 - 1));
        let before = self.model.revision();
        let end = self.model.write(&unfenced(txn));
        let expected = model::End::Applied {
            revision: out(*revision),
        };
        if end != expected {
            return Err(format!(
                "revision {revision}: {txn:?} could only end with {end:?}"
            ));
        }
        let made = self.model.changes("", before, usize::MAX);
        let made = made.map_err(|gone| gone.to_string())?;
        let made: BTreeSet<_> = made.into_iter().map(|c| (c.key, c.value)).collect();
        let seen: BTreeSet<_> = changes
            .iter()
            .map(|c| (c.key.clone(), c.value.clone()))
            .collect();
        match made == seen {
            true => Ok(()),
            false => Err(format!(
                "revision {revision} changed {seen:?}, not {made:?}"
            )),
        }
    }

    /// Who was told this revision, or else whose unknown write says what was changed.
    fn owner(&self, revision: Revision, changes: &[Change]) -> Option<usize> {
        let told = |event: &Event| match &event.did {
            Did::Wrote {
                txn,
                outcome: Outcome::Applied { revision: told },
            } => *told == revision && puts_all(txn, changes),
            Did::Wrote { .. } | Did::Read { .. } | Did::Got { .. } | Did::Led { .. } => false,
        };
        let untold = |(n, event): &(usize, &Event)| match &event.did {
            Did::Wrote {
                txn,
                outcome: Outcome::Unknown { .. },
            } => puts_all(txn, changes) && !self.owners.contains(&Some(*n)),
            Did::Wrote { .. } | Did::Read { .. } | Did::Got { .. } | Did::Led { .. } => false,
        };
        let known = self.events.iter().position(told);
        known.or_else(|| self.events.iter().enumerate().find(untold).map(|(n, _)| n))
    }

    /// A write under an epoch lands within its reign.
    fn check_fence(&self, revision: Revision, txn: &Txn) -> Result<(), String> {
        let epochs = txn.compares.iter().filter_map(|compare| match compare {
            Compare::Leads(epoch) => Some(*epoch),
            Compare::At { .. } | Compare::Absent { .. } => None,
        });
        for epoch in epochs {
            let later = self.events.iter().any(|event| match event.did {
                Did::Led { epoch: other } => epoch < other && other.0 < revision.0,
                Did::Wrote { .. } | Did::Read { .. } | Did::Got { .. } => false,
            });
            if later || revision.0 <= epoch.0 {
                return Err(format!(
                    "revision {revision} was written under ended epoch {epoch}"
                ));
            }
        }
        Ok(())
    }

    fn check(&self, event: &Event) -> Result<(), String> {
        let (lowest, highest) = self.window(event);
        let wrong = |what: String| {
            Err(format!(
                "{what} (between {lowest} and {highest}): {event:?}"
            ))
        };
        match &event.did {
            Did::Wrote { txn, outcome } => self.check_outcome(event, txn, outcome, lowest, highest),
            Did::Read { range, page } => {
                if page.revision < lowest || page.revision > highest {
                    return wrong("a reading of another time".to_owned());
                }
                match self.page(range, page.revision) == *page {
                    true => Ok(()),
                    false => wrong("a reading of what was not so".to_owned()),
                }
            }
            Did::Got { key, entry } => {
                let so = |revision| self.entry(key, revision) == *entry;
                match self.states(lowest, highest).any(so) {
                    true => Ok(()),
                    false => wrong("a key was read as it never was then".to_owned()),
                }
            }
            Did::Led { .. } => Ok(()),
        }
    }

    fn check_outcome(
        &self,
        event: &Event,
        txn: &Txn,
        outcome: &Outcome,
        lowest: Revision,
        highest: Revision,
    ) -> Result<(), String> {
        let landed = self.landed(event);
        let fits = match (outcome, landed) {
            (Outcome::Applied { revision }, Some(landed)) => {
                *revision == landed && lowest < landed && landed <= highest
            }
            (Outcome::Applied { revision }, None) => {
                let nothing = txn.ops.iter().all(|op| self.changes_nothing(op, *revision));
                let held = self.first_failing(txn, *revision).is_none();
                nothing && held && lowest <= *revision && *revision <= highest
            }
            (Outcome::Refused(Refusal::Epoch), None) => true,
            (Outcome::Refused(Refusal::Key(key)), None) => {
                let refused = |revision| self.first_failing(txn, revision) == Some(key);
                self.states(lowest, highest).any(refused)
            }
            (Outcome::NotApplied(_), landed) => landed.is_none(),
            (Outcome::Unknown { .. }, Some(landed)) => lowest < landed,
            (Outcome::Unknown { .. }, None) => true,
            (Outcome::Refused(_), Some(_)) => false,
        };
        match fits {
            true => Ok(()),
            false => Err(format!(
                "an outcome that cannot be, between {lowest} and {highest}, landed {landed:?}: {event:?}"
            )),
        }
    }

    /// Where a write landed.
    fn landed(&self, event: &Event) -> Option<Revision> {
        let own = |owner: &Option<usize>| {
            owner.is_some_and(|owner| std::ptr::eq(&raw const self.events[owner], event))
        };
        let n = self.owners.iter().position(own)?;
        Some(self.record[n].0)
    }

    /// The revisions between which an event took effect: after what was known before it began, before what began after it ended.
    fn window(&self, event: &Event) -> (Revision, Revision) {
        let before = self.events.iter().filter(|other| other.ended < event.begun);
        let lowest = before.filter_map(heard_revision).max().unwrap_or_default();
        let owned = self.record.iter().zip(&self.owners);
        let after = owned.filter_map(|((revision, _), owner)| {
            let later = self.events[(*owner)?].begun > event.ended;
            later.then_some(Revision(revision.0 - 1))
        });
        let highest = after.min().unwrap_or(Revision(self.model.revision().0));
        (lowest, highest)
    }

    /// One revision of each state that the store was in between two.
    fn states(&self, lowest: Revision, highest: Revision) -> impl Iterator<Item = Revision> {
        let within = move |revision: &Revision| lowest < *revision && *revision <= highest;
        let changes = self
            .record
            .iter()
            .map(|(revision, _)| *revision)
            .filter(within);
        std::iter::once(lowest).chain(changes)
    }

    fn page(&self, range: &KeyRange, at: Revision) -> Page {
        let wanted = model::KeyRange {
            prefix: range.prefix.clone(),
            after: range.after.clone(),
            limit: range.limit,
            at: Some(out(at)),
        };
        let page = self.model.range(&wanted).unwrap_or(model::Page {
            revision: model::Revision(0),
            entries: Vec::new(),
            next: None,
        });
        Page {
            revision: Revision(page.revision.0),
            entries: page.entries.into_iter().map(entry).collect(),
            next: page.next,
        }
    }

    fn entry(&self, key: &str, at: Revision) -> Option<Entry> {
        let range = KeyRange {
            limit: 1,
            ..KeyRange::prefix(key)
        };
        let page = self.page(&range, at);
        page.entries.into_iter().find(|entry| entry.key == key)
    }

    fn changes_nothing(&self, op: &Op, at: Revision) -> bool {
        match op {
            Op::Put { .. } => false,
            Op::Delete { key } => self.entry(key, at).is_none(),
        }
    }

    /// The key of the first compare that does not hold.
    fn first_failing<'t>(&self, txn: &'t Txn, at: Revision) -> Option<&'t String> {
        txn.compares.iter().find_map(|compare| match compare {
            Compare::At { key, revision } => {
                let found = self.entry(key, at).map(|entry| entry.revision);
                (found != Some(*revision)).then_some(key)
            }
            Compare::Absent { key } => self.entry(key, at).map(|_| key),
            Compare::Leads(_) => None,
        })
    }
}

fn entry(entry: model::Entry) -> Entry {
    Entry {
        key: entry.key,
        value: entry.value,
        revision: Revision(entry.revision.0),
    }
}

/// Whether a transaction puts exactly the values that were put. Values are never repeated, so that they name their write; a transaction that only
/// removes is known by its keys.
fn puts_all(txn: &Txn, changes: &[Change]) -> bool {
    let put = |change: &&Change| change.value.is_some();
    let puts = txn
        .ops
        .iter()
        .filter(|op| matches!(op, Op::Put { .. }))
        .count();
    let said = |change: &Change| {
        txn.ops.iter().any(|op| match (op, &change.value) {
            (Op::Put { key, value }, Some(seen)) => *key == change.key && value == seen,
            (Op::Delete { key }, None) => *key == change.key,
            (Op::Put { .. }, None) | (Op::Delete { .. }, Some(_)) => false,
        })
    };
    puts == changes.iter().filter(put).count() && changes.iter().all(said)
}

/// The transaction for the model, which knows of no leadership here.
fn unfenced(txn: &Txn) -> model::Txn {
    let compares = txn.compares.iter().filter_map(|compare| match compare {
        Compare::At { key, revision } => Some(model::Compare::At {
            key: key.clone(),
            revision: out(*revision),
        }),
        Compare::Absent { key } => Some(model::Compare::Absent { key: key.clone() }),
        Compare::Leads(_) => None,
    });
    let ops = txn.ops.iter().map(|op| match op {
        Op::Put { key, value } => model::Op::Put {
            key: key.clone(),
            value: value.clone(),
            lease: None,
        },
        Op::Delete { key } => model::Op::Delete { key: key.clone() },
    });
    model::Txn {
        compares: compares.collect(),
        ops: ops.collect(),
    }
}
