//! The store of the cluster: the model, and what can go wrong between it and a coordinator. Every transaction that lands is
//! shown to the oracle, whatever its sender hears.

use std::collections::BTreeMap;

use scheduler::{
    Compare, Op, Outcome, ReadId, ReadOutcome, Reading, RecordKey, Refusal, Revision, StoredEntry,
    Txn, WriteId,
};
use store_model::{End, KeyRange, LateId, Model};
use types::{Code, Epoch, Generation, Millis};

use crate::agenda::{Happening, Who};
use crate::mutants::{self, ShellMutant};
use crate::struck;
use crate::trail::Trail;
use crate::world::World;

/// The leadership key.
pub(crate) const LEADER: &str = "leader";
/// How long a leadership lives without renewal.
pub(crate) const LEADER_LIVES: Millis = Millis(5_000);

/// What a coordinator asks of the store.
#[derive(Clone, Debug)]
pub(crate) enum StoreAsk {
    /// With what was read of it before, where it is read in two steps.
    Read(ReadId, Reading, Seen),
    /// With when it was sent.
    Write(WriteId, Txn, Millis),
    Lead,
    Keep(Epoch),
}

/// What was read of some keys before the rest, and as of when.
pub(crate) type Seen = Option<(Revision, Vec<StoredEntry>)>;

/// What it hears.
#[derive(Clone, Debug)]
pub(crate) enum StoreBack {
    Read(ReadId, ReadOutcome),
    Written(WriteId, Outcome),
    Led(Option<Epoch>),
    Kept(bool),
}

/// The store.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) model: Model,
    pub(crate) down_until: Millis,
    pub(crate) full_until: Millis,
    pub(crate) late: BTreeMap<LateId, (Txn, Millis)>,
    /// As it was some time ago.
    pub(crate) backup: Option<Model>,
    pub(crate) trail: Trail,
}

/// What becomes of a write.
enum Fate {
    Done,
    Unheard,
    Lost,
    Late,
    NotApplied,
}

/// How much later a late write may land.
const LATE_MAX: u64 = 40_000;

impl Shelf {
    /// The reign that leads by the store.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.model.get(LEADER).map(|leader| Epoch(leader.made.0))
    }

    fn read(&self, reading: &Reading, page: usize) -> ReadOutcome {
        match reading {
            Reading::Keys(keys) => ReadOutcome::Page {
                entries: self.entries(keys),
                next: None,
                revision: Revision(self.model.revision().0),
            },
            Reading::Prefix {
                prefix,
                after,
                at,
                limit,
            } => {
                let range = KeyRange {
                    prefix: prefix.clone(),
                    after: after.clone(),
                    limit: page.min(*limit),
                    at: at.map(|at| store_model::Revision(at.0)),
                };
                match self.model.range(&range) {
                    Err(_) => ReadOutcome::Compacted,
                    Ok(page) => ReadOutcome::Page {
                        entries: page.entries.into_iter().map(entry).collect(),
                        next: page.next,
                        revision: Revision(page.revision.0),
                    },
                }
            }
        }
    }

    /// All records of a generation.
    pub(crate) fn all(&self, generation: Generation) -> Vec<StoredEntry> {
        let everything = KeyRange {
            prefix: String::new(),
            after: None,
            limit: usize::MAX,
            at: None,
        };
        let read = self.model.range(&everything);
        let entries = read.into_iter().flat_map(|page| page.entries);
        let of_generation =
            entries.filter(|entry| RecordKey::parse(generation, &entry.key).is_ok());
        of_generation.map(entry).collect()
    }

    fn entries(&self, keys: &[String]) -> Vec<StoredEntry> {
        let found = keys.iter().filter_map(|key| self.model.get(key));
        found.map(entry).collect()
    }

    /// Executes a transaction as a store that answers would.
    fn write(&mut self, now: Millis, txn: &Txn) -> Outcome {
        self.model.advance(now);
        let end = self.model.write(&transaction(txn));
        outcome(txn, end)
    }
}

impl World {
    /// A coordinator asks the store; the answer comes later, or is overdue.
    pub(crate) fn ask_store(&mut self, who: usize, no: u64, ask: StoreAsk) {
        let life = self.coordinators[who].life;
        if !self
            .links
            .passes(Who::Coordinator(who), Who::Store, self.now)
        {
            return;
        }
        let at = self.now + self.latency();
        self.agenda
            .plan(at, Happening::Store { who, life, no, ask });
    }

    pub(crate) fn store_reached(&mut self, who: usize, life: u64, no: u64, ask: StoreAsk) {
        let down = self.shelf.down_until > self.now;
        self.shelf.model.advance(self.now);
        let held_up = self.maybe_overtaken(who, &ask);
        let back = match ask {
            StoreAsk::Read(id, reading, seen) => {
                self.store_read((who, life, no), id, reading, seen, down)
            }
            StoreAsk::Write(id, txn, sent) => self.store_write(id, &txn, sent, down),
            StoreAsk::Lead if down => None,
            StoreAsk::Lead => {
                let name = format!("c{who}");
                let led = self.shelf.model.lead(self.now, LEADER, &name, LEADER_LIVES);
                Some(StoreBack::Led(led.ok().map(|led| Epoch(led.epoch.0))))
            }
            StoreAsk::Keep(_) if down => None,
            StoreAsk::Keep(epoch) => {
                let epoch = store_model::Revision(epoch.0);
                let kept = self.shelf.model.keep_leading(self.now, LEADER, epoch);
                Some(StoreBack::Kept(kept))
            }
        };
        let Some(back) = back else { return };
        if !self
            .links
            .passes(Who::Store, Who::Coordinator(who), self.now)
        {
            return;
        }
        let at = self.now + self.latency() + held_up;
        let back = Happening::StoreBack {
            who,
            life,
            no,
            back,
        };
        self.agenda.plan(at, back);
    }

    fn store_read(
        &mut self,
        (who, life, no): (usize, u64, u64),
        id: ReadId,
        reading: Reading,
        seen: Seen,
        down: bool,
    ) -> Option<StoreBack> {
        let (unread, torn) = (self.mix.store.unread, self.mix.store.torn);
        self.tally.faults += u64::from(down);
        if down || self.strikes(unread, struck::READ_UNANSWERED) {
            let cause = String::from("no answer");
            return Some(StoreBack::Read(id, ReadOutcome::Unavailable { cause }));
        }
        if let Reading::Keys(keys) = &reading
            && keys.len() > 1
            && self.strikes(torn, struck::READ_TORN)
        {
            // Keys are read one after the other: the world goes on between two of them.
            let (now, later) = keys.split_at(keys.len() / 2);
            let (at, mut read) = seen.unwrap_or((Revision(self.shelf.model.revision().0), vec![]));
            read.extend(self.shelf.entries(now));
            let ask = StoreAsk::Read(id, Reading::Keys(later.to_vec()), Some((at, read)));
            let at = self.now + self.latency();
            self.agenda
                .plan(at, Happening::Store { who, life, no, ask });
            return None;
        }
        let mut outcome = self.shelf.read(&reading, self.mix.page);
        if let ReadOutcome::Page {
            entries, revision, ..
        } = &mut outcome
            && let Some((at, mut read)) = seen
        {
            read.append(entries);
            (*entries, *revision) = (read, at);
        }
        Some(StoreBack::Read(id, outcome))
    }

    fn store_write(
        &mut self,
        id: WriteId,
        txn: &Txn,
        sent: Millis,
        down: bool,
    ) -> Option<StoreBack> {
        let full = self.shelf.full_until > self.now;
        let outcome = match self.fate(down || full) {
            Fate::Done => self.land(txn, sent),
            Fate::Unheard => {
                self.land(txn, sent);
                unknown()
            }
            Fate::Lost => unknown(),
            Fate::Late => {
                self.park(txn, sent);
                unknown()
            }
            Fate::NotApplied => Outcome::NotApplied {
                code: if full {
                    Code::StoreFull
                } else {
                    Code::StoreUnavailable
                },
                cause: String::new(),
            },
        };
        // An outcome that is not known may also be no answer at all.
        let silent = matches!(outcome, Outcome::Unknown { .. }) && self.dice.happens(5_000);
        (!silent).then_some(StoreBack::Written(id, outcome))
    }

    fn fate(&mut self, refuses: bool) -> Fate {
        let odds = self.mix.store.clone();
        self.tally.faults += u64::from(refuses);
        if refuses || self.strikes(odds.refused, struck::WRITE_REFUSED) {
            Fate::NotApplied
        } else if self.strikes(odds.unheard, struck::WRITE_UNHEARD) {
            Fate::Unheard
        } else if self.strikes(odds.lost, struck::WRITE_LOST) {
            Fate::Lost
        } else if self.strikes(odds.late, struck::WRITE_LATE) {
            Fate::Late
        } else {
            Fate::Done
        }
    }

    /// Executes a transaction and shows it to the oracle where it was applied.
    fn land(&mut self, txn: &Txn, sent: Millis) -> Outcome {
        let leads = self.shelf.epoch();
        let changes = self.changes_of(txn);
        let outcome = self.shelf.write(self.now, txn);
        if matches!(outcome, Outcome::Applied { .. }) {
            self.note_changes(txn.epoch, changes);
            self.judge_write(txn, leads, sent);
        }
        outcome
    }

    fn park(&mut self, txn: &Txn, sent: Millis) {
        let id = self.shelf.model.park(transaction(txn));
        self.shelf.late.insert(id, (txn.clone(), sent));
        let again = self.dice.happens(3_000);
        let at = self.now + Millis(self.dice.between(10, LATE_MAX));
        self.agenda.plan(at, Happening::Lands { id, again });
    }

    /// A write whose answer was lost lands: now, and perhaps once more.
    pub(crate) fn late_landed(&mut self, id: LateId, again: bool) {
        self.shelf.model.advance(self.now);
        let leads = self.shelf.epoch();
        let late = self.shelf.late.get(&id).cloned();
        let changes = late.as_ref().map(|(txn, _)| self.changes_of(txn));
        let end = self.shelf.model.land(id);
        let (Some((txn, sent)), Some(changes)) = (late, changes) else {
            return;
        };
        if let Some(End::Applied { .. }) = end {
            self.note_changes(txn.epoch, changes);
            self.judge_write(&txn, leads, sent);
        }
        if again {
            let at = self.now + Millis(self.dice.between(10, LATE_MAX));
            self.agenda.plan(at, Happening::Lands { id, again: false });
        } else {
            self.shelf.model.drop_late(id);
            self.shelf.late.remove(&id);
        }
    }
}

fn unknown() -> Outcome {
    Outcome::Unknown {
        cause: String::from("no answer"),
    }
}

fn entry(entry: store_model::Entry) -> StoredEntry {
    StoredEntry {
        key: entry.key,
        value: entry.value,
        revision: Revision(entry.revision.0),
    }
}

/// The leadership first, then the compares in their order.
fn transaction(txn: &Txn) -> store_model::Txn {
    let leads = store_model::Compare::Made {
        key: LEADER.to_owned(),
        revision: store_model::Revision(txn.epoch.0),
    };
    let leads = (!mutants::on(ShellMutant::EpochUnchecked)).then_some(leads);
    let own = txn.compares.iter().map(|compare| match compare {
        Compare::At { key, revision } => store_model::Compare::At {
            key: key.clone(),
            revision: store_model::Revision(revision.0),
        },
        Compare::Absent { key } => store_model::Compare::Absent { key: key.clone() },
    });
    let ops = txn.ops.iter().map(|op| match op {
        Op::Put { key, value } => store_model::Op::Put {
            key: key.clone(),
            value: value.clone(),
            lease: None,
        },
        Op::Delete { key } => store_model::Op::Delete { key: key.clone() },
    });
    store_model::Txn {
        compares: leads.into_iter().chain(own).collect(),
        ops: ops.collect(),
    }
}

fn outcome(txn: &Txn, end: End) -> Outcome {
    match end {
        End::Applied { revision } => Outcome::Applied {
            revision: Revision(revision.0),
        },
        End::Refused { compare } => {
            let leads = usize::from(!mutants::on(ShellMutant::EpochUnchecked));
            let own = compare.checked_sub(leads);
            Outcome::Refused(own.map_or(Refusal::Epoch, |own| {
                Refusal::Key(txn.compares[own].key().to_owned())
            }))
        }
    }
}
