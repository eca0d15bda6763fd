//! The judge judged: it lets a true history pass and finds each lie that is planted in one.

use types::Epoch;

use super::judge::{Did, Event, Record, judge};
use crate::{Change, Entry, KeyRange, Outcome, Page, Refusal, Revision, Txn};

const BASE: Revision = Revision(2);

fn put(key: &str, value: &str) -> Change {
    Change {
        key: key.to_owned(),
        value: Some(value.into()),
    }
}

fn wrote(begun: u64, txn: Txn, outcome: Outcome) -> Event {
    Event {
        begun,
        ended: begun + 1,
        did: Did::Wrote { txn, outcome },
    }
}

fn applied(revision: u64) -> Outcome {
    Outcome::Applied {
        revision: Revision(revision),
    }
}

fn unknown() -> Outcome {
    Outcome::Unknown {
        cause: "silence".into(),
    }
}

fn got(begun: u64, value: &str, revision: u64) -> Event {
    let entry = Some(Entry {
        key: "k".into(),
        value: value.into(),
        revision: Revision(revision),
    });
    Event {
        begun,
        ended: begun + 1,
        did: Did::Got {
            key: "k".into(),
            entry,
        },
    }
}

/// Two writes, the second guarded by the first, and a reading of it.
fn history() -> (Record, Vec<Event>) {
    let record = vec![
        (Revision(3), vec![put("k", "a")]),
        (Revision(4), vec![put("k", "b")]),
    ];
    let guarded = Txn::default().at("k", Revision(3)).put("k", "b");
    let events = vec![
        wrote(0, Txn::default().put("k", "a"), applied(3)),
        wrote(2, guarded, applied(4)),
        got(4, "b", 4),
    ];
    (record, events)
}

#[track_caller]
fn lie(words: &str, plant: impl FnOnce(&mut Record, &mut Vec<Event>)) {
    let (mut record, mut events) = history();
    plant(&mut record, &mut events);
    let found = judge(BASE, &record, &events).expect_err("the lie is found");
    assert!(found.contains(words), "{found}");
}

#[test]
fn a_true_history_passes_whatever_became_of_the_unknown() {
    let (mut record, mut events) = history();
    assert_eq!(judge(BASE, &record, &events), Ok(()));
    events.push(wrote(6, Txn::default().put("k", "c"), unknown()));
    assert_eq!(judge(BASE, &record, &events), Ok(()));
    record.push((Revision(9), vec![put("k", "c")]));
    assert_eq!(judge(BASE, &record, &events), Ok(()));
}

#[test]
fn each_planted_lie_is_found() {
    lie("cannot be", |record, _| drop(record.pop()));
    lie("by nobody", |record, _| {
        record.push((Revision(5), vec![put("k", "x")]))
    });
    lie("never was", |_, events| events[2] = got(4, "a", 3));
    lie("could only end", |_, events| {
        let guard = Txn::default().at("k", Revision(2)).put("k", "b");
        events[1] = wrote(2, guard, applied(4));
    });
    lie("cannot be", |_, events| {
        let refusal = Outcome::Refused(Refusal::Key("k".into()));
        let guard = Txn::default().at("k", Revision(4)).put("k", "z");
        events.push(wrote(6, guard, refusal));
    });
    lie("by nobody", |record, events| {
        events[0] = wrote(0, Txn::default().put("k", "a"), unknown());
        record.push((Revision(5), vec![put("k", "a")]));
    });
    lie("another time", |_, events| {
        let page = Page {
            revision: Revision(3),
            entries: Vec::new(),
            next: None,
        };
        let range = KeyRange::prefix("k");
        let did = Did::Read { range, page };
        events.push(Event {
            begun: 6,
            ended: 7,
            did,
        });
    });
    lie("ended epoch", |_, events| {
        let late = Txn::under(Epoch(1)).at("k", Revision(3)).put("k", "b");
        events[1] = wrote(2, late, applied(4));
        let did = Did::Led { epoch: Epoch(2) };
        events.push(Event {
            begun: 0,
            ended: 1,
            did,
        });
    });
}
